"""What is asked and answered over HTTP, beside the contract's own."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from schemas.commands import DepartmentData, PoolData, Schedule
from schemas.words import (
    LEFT_OUT,
    Available,
    Capacity,
    CommandId,
    Date,
    DepartmentId,
    DoctorId,
    FacilityId,
    Part,
    PatientId,
    Reason,
    Slot,
    Source,
    Status,
    TokenId,
)
from services.gateway.answers import Token
from services.gateway.said import PLACE
from services.vault.contact import Contact, PatientNumber

CommandPlace = Annotated[
    str, Field(pattern=PLACE, description="{partition}-{offset} of the command in the log.", examples=["3-1207"])
]


class Booking(PoolData):
    """For whom a token is wanted: by the engine's opaque id, or by the hospital's own number."""

    patient_id: Annotated[PatientId | None, LEFT_OUT] = None
    patient_number: Annotated[PatientNumber | None, LEFT_OUT] = None
    source: Source
    doctor_id: Annotated[DoctorId | None, LEFT_OUT, Field(description="Only this one will do.")] = None


class CancelBody(Part):
    """Why a token is given back; may be left out as a whole."""

    reason: Annotated[Reason | None, LEFT_OUT] = None


class SessionBody(DepartmentData):
    """Which of the doctor's sessions."""

    date: Date
    slot: Slot


class CapacityBody(SessionBody):
    """How many seats a session has."""

    capacity: Capacity


class AvailabilityBody(DepartmentData):
    """Whether the doctor is there."""

    date: Date
    slot: Annotated[Slot | None, LEFT_OUT, Field(description="Left out: all that doctor's slots that day.")] = None
    available: Available
    reason: Annotated[Reason | None, LEFT_OUT] = None


class ContactBody(Part):
    """Whose contact it is: by the engine's opaque id, or by the hospital's own number; patients leave both out."""

    facility_id: FacilityId
    patient_id: Annotated[PatientId | None, LEFT_OUT] = None
    patient_number: Annotated[PatientNumber | None, LEFT_OUT] = None
    contact: Contact


class KnownContact(BaseModel):
    """How a patient is reached."""

    facility_id: FacilityId
    patient_id: PatientId
    contact: Contact


class Erased(BaseModel):
    """What was destroyed."""

    keys: Annotated[int, Field(description="0: nothing was known of the patient.", examples=[1])]
    contacts: Annotated[int, Field(examples=[1])]


class Pending(BaseModel):
    """A command that was written, and whose outcome is not known yet."""

    status: Annotated[str, Field(examples=["pending"])] = "pending"
    command: CommandPlace
    idempotency_key: CommandId


class TokenEvent(BaseModel):
    """One thing that happened to a token, and how it stood afterwards."""

    id: Annotated[str, Field(examples=["3-1207-0"])]
    type: Annotated[str, Field(examples=["TokenConfirmed"])]
    time: datetime
    source: Source
    status: Status
    doctor_id: DoctorId | None = None
    position: int | None = None
    reason: str | None = None
    from_doctor_id: DoctorId | None = None
    from_source: Source | None = None
    by_token_id: TokenId | None = None


class Estimated(BaseModel):
    """When a patient who is there will be called: half are by `p50`, four in five by `p80`."""

    p50: datetime
    p80: datetime
    as_of: Annotated[datetime, Field(description="When this was said: it changes with what happens.")]


class TokenStory(Token):
    """A token as it stands now, and how it came there."""

    estimate: Annotated[
        Estimated | None,
        Field(description="Today's tokens that have a seat and were not called; left out where nothing can be said."),
    ] = None
    story: list[TokenEvent]


class ListedToken(Token):
    """A token as it stands now."""

    checked_in_at: Annotated[datetime | None, Field(description="When the patient came; left out: not yet.")] = None


class TokenPage(BaseModel):
    """Some tokens, in the order of department, date and number."""

    tokens: list[ListedToken]
    next: Annotated[str | None, Field(description="The `cursor` of the next page, if there is one.")] = None


class KnownDoctor(BaseModel):
    """A doctor as registered last."""

    facility_id: FacilityId
    department_id: DepartmentId
    doctor_id: DoctorId
    name: str
    schedule: Schedule


class Doctors(BaseModel):
    """A department's doctors, in the order of their registration."""

    doctors: list[KnownDoctor]


class Department(BaseModel):
    """A department that has doctors."""

    facility_id: FacilityId
    department_id: DepartmentId
    doctors: Annotated[int, Field(description="How many.", examples=[12])]
    position: Annotated[
        str,
        Field(
            description="Its last event to be seen here: what is read after this, and GET /events behind it "
            "(Last-Event-ID), leave nothing out.",
            examples=["3-1207-0"],
        ),
    ]


class Departments(BaseModel):
    """A facility's departments."""

    departments: list[Department]


class PartitionAtWork(BaseModel):
    """One partition of the three topics, in records."""

    partition: int
    commands: Annotated[int, Field(description="All that were ever sent.")]
    undecided: Annotated[int, Field(description="Sent, and not yet committed as decided.")]
    events: int
    dead_letters: Annotated[int, Field(description="Records that were no commands.")]


class AllocatorAtWork(BaseModel):
    """One allocator, by its name in the consumer group."""

    member: str
    partitions: list[int]


class Audit(BaseModel):
    """What the last `opd verify --report` found."""

    at: datetime
    holds: bool
    commands: int
    invariants: Annotated[dict[str, bool | None], Field(description="By name; null: not looked at.")]


class Operations(BaseModel):
    """How the engine does."""

    partitions: list[PartitionAtWork]
    allocators: list[AllocatorAtWork]
    audit: Annotated[Audit | None, Field(description="Left out: there was none.")] = None


class PoolSession(BaseModel):
    """One doctor's seats."""

    doctor_id: DoctorId
    name: str
    available: bool
    capacity: int
    taken: int


class Waiting(BaseModel):
    """One token of the waitlist."""

    token_id: TokenId
    source: Source
    position: int


class Pool(BaseModel):
    """All sessions of one department, date and slot, and who waits."""

    facility_id: FacilityId
    department_id: DepartmentId
    date: Date
    slot: Slot
    closed: bool
    capacity: Annotated[int, Field(description="Of the doctors who are there.")]
    taken: Annotated[int, Field(description="Seats taken.")]
    waiting: Annotated[int, Field(description="How many wait.")]
    sessions: list[PoolSession]
    estimate: Annotated[
        Estimated | None,
        Field(description="For who takes a token as WALK_IN now; left out where nothing can be said."),
    ] = None
    waitlist: Annotated[list[Waiting] | None, Field(description="For the staff alone.")] = None
