"""How a patient is reached, if they wish to be."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from schemas.words import LEFT_OUT

_TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"

PatientNumber = Annotated[
    str,
    Field(
        pattern=r"^[0-9A-Za-z][0-9A-Za-z ./_-]{0,63}$",
        description="The hospital's own number of a patient: it is turned into the patient_id, and goes no further.",
        examples=["MRN 0012345"],
    ),
]


class Contact(BaseModel):
    """A patient's own words and addresses. Neither its text nor an error repeats any of it.

    Attributes:
        name: as they are called.
        language: that they read, as BCP 47 has it: `en`, `hi`, `ar`, `ur`, `pt-BR`, …
        email: an address, if they gave one.
        phone: a number as E.164 has it, if they gave one.
        consent: whether they may be sent messages.
        consent_since: when they said so; the vault notes it.
        quiet_hours: between which local times they are not to be disturbed; `22:00-07:00` goes over midnight.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str | None, LEFT_OUT, Field(min_length=1, max_length=200, examples=["Asha Rao"])] = None
    language: Annotated[
        str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$", description="BCP 47.", examples=["hi"])
    ] = "en"
    email: Annotated[
        str | None,
        LEFT_OUT,
        Field(pattern=r"^[^@\s<>,;\"]{1,64}@[^@\s<>,;\"]{1,189}$", examples=["asha@example.org"]),
    ] = None
    phone: Annotated[
        str | None, LEFT_OUT, Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="E.164.", examples=["+918041234567"])
    ] = None
    consent: Annotated[bool, Field(description="Whether messages may be sent.")]
    consent_since: Annotated[
        datetime | None, LEFT_OUT, Field(description="When they consented; said by us, and not to be given.")
    ] = None
    quiet_hours: Annotated[
        str | None,
        LEFT_OUT,
        Field(pattern=f"^{_TIME}-{_TIME}$", description="Local times without messages.", examples=["22:00-07:00"]),
    ] = None

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.consent and self.email is None and self.phone is None:
            raise ValueError("whoever consents to messages has an email or a phone")
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Show nothing: what is shown ends up in logs."""
        yield from ()
