"""Who calls: what the claims of a token say, checked."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.words import DepartmentId, DoctorId, FacilityId, PatientId
from services.gateway.permissions import Role

MAX_SUBJECT = 120  # with `gateway/` before it, as long as a command's source may be


class Identity(BaseModel):
    """One caller; claims that are not named here are ignored.

    Attributes:
        sub: who, for the issuer; the commands' source is made of it.
        role: in which part.
        facilities: where; `*` is everywhere.
        departments: in which of their departments; None: in all.
        patient_id: who a patient is, for the engine; no other role has one.
        doctor_id: who a doctor is; likewise.
    """

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    sub: Annotated[str, Field(pattern=r"^[!-~]{1,120}$")]
    # A strict enum takes no text where it is validated from Python, and claims come as that.
    role: Annotated[Role, Field(strict=False)]
    facilities: Literal["*"] | Annotated[list[FacilityId], Field(min_length=1, max_length=100)]
    departments: Annotated[list[DepartmentId], Field(min_length=1, max_length=100)] | None = None
    patient_id: PatientId | None = None
    doctor_id: DoctorId | None = None

    @model_validator(mode="after")
    def _says_who_it_is(self) -> Self:
        for role, claim in ((Role.PATIENT, self.patient_id), (Role.DOCTOR, self.doctor_id)):
            if (self.role == role) != (claim is not None):
                raise ValueError("a patient has a patient_id, a doctor has a doctor_id, and nobody else has one")
        return self

    @property
    def source(self) -> str:
        """The commands' source (R2): two callers' keys never meet."""
        return f"gateway/{self.sub}"

    def covers(self, facility_id: str, department_id: str | None = None) -> bool:
        """Say whether a department is within the claims, or, of a facility, whether anything of it is."""
        return (self.facilities == "*" or facility_id in self.facilities) and (
            department_id is None or self.departments is None or department_id in self.departments
        )
