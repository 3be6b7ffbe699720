"""A plain FastAPI application whose tokens live in dictionaries: what a booking takes where nothing is kept.

`python -m benchmarks.peers.plain_api PORT`
"""

import sys

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

from benchmarks.peers.desk import Desk
from schemas.words import Date, DepartmentId, DoctorId, FacilityId, PatientId, Slot, Source, Status
from services.stack.ports import LOOPBACK


class Seats(BaseModel):
    """A doctor's seats in a slot."""

    slot: Slot
    capacity: int = Field(ge=0, le=500)


class Doctor(BaseModel):
    """A doctor and the week they work."""

    facility_id: FacilityId
    department_id: DepartmentId
    doctor_id: DoctorId
    name: str = Field(min_length=1, max_length=200)
    schedule: list[Seats]


class Booking(BaseModel):
    """For whom a token is wanted, and where."""

    facility_id: FacilityId
    department_id: DepartmentId
    date: Date
    slot: Slot
    patient_id: PatientId
    source: Source


class Token(Booking):
    """A token as it stands."""

    token_id: str
    token_no: int
    status: Status
    doctor_id: DoctorId | None = None
    position: int | None = None


app = FastAPI()
desks: dict[tuple[str, str], Desk] = {}


@app.post("/doctors")
async def register(doctor: Doctor) -> Doctor:
    """Register a doctor."""
    where = doctor.facility_id, doctor.department_id
    desks.setdefault(where, Desk(*where)).decide("opd.RegisterDoctor.v1", doctor.model_dump())
    return doctor


@app.post("/tokens", status_code=201)
async def book(booking: Booking) -> Token:
    """Ask for a token."""
    desk = desks.get((booking.facility_id, booking.department_id))
    if desk is None:
        raise HTTPException(404, "DEPARTMENT_UNKNOWN")
    kind, said = desk.decide("opd.RequestToken.v1", booking.model_dump())[-1]
    if kind == "CommandRejected":
        raise HTTPException(409, said["reason"])
    return Token(**said)


@app.get("/tokens/{token_id}")
async def read(token_id: str) -> Token:
    """Say how a token stands."""
    facility_id, department_id, *_ = token_id.split(".")
    desk = desks.get((facility_id, department_id))
    token = None if desk is None else desk.tokens.get(token_id)
    if token is None:
        raise HTTPException(404, "TOKEN_UNKNOWN")
    return Token(
        facility_id=facility_id,
        department_id=department_id,
        token_id=token_id,
        **{name: getattr(token, name) for name in ("date", "slot", "token_no", "patient_id")},
        **{name: getattr(token, name) for name in ("source", "status", "doctor_id")},
    )


if __name__ == "__main__":
    uvicorn.run(app, host=LOOPBACK, port=int(sys.argv[1]), access_log=False, log_level="warning")
