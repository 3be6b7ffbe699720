"""Rows of the trail, and how each is chained to the one before."""

import hashlib
from datetime import datetime
from typing import NamedTuple

from pydantic_core import to_json


class Noted(NamedTuple):
    """One request that was answered.

    Attributes:
        time: when, UTC.
        sub: who, as their token says.
        role: in which part.
        method: of the request.
        route: the endpoint's template.
        facility_id: where, as far as the request got.
        department_id: likewise.
        token_id: the token that the address names.
        patient: `digest_of` the patient whom the request names.
        status: of the answer.
        command: `{partition}-{offset}` of the command that it became.
    """

    time: datetime
    sub: str
    role: str
    method: str
    route: str
    facility_id: str | None
    department_id: str | None
    token_id: str | None
    patient: bytes | None
    status: int
    command: str | None


class Head(NamedTuple):
    """The last row of a trail: its number and its hash; whoever knows it finds any row altered or gone before it."""

    number: int
    hash: bytes

    def __str__(self) -> str:
        """As it stands in an anchor."""
        return f"{self.number} {self.hash.hex()}"


EMPTY = Head(0, bytes(32))


def following(head: Head, noted: Noted) -> Head:
    """Give the head when this row was added."""
    number = head.number + 1
    patient = None if noted.patient is None else noted.patient.hex()
    row = noted._replace(patient=None)
    content = to_json([number, noted.time.isoformat(), *row[1:], patient])
    return Head(number, hashlib.sha256(head.hash + content).digest())


def digest_of(facility_id: str, patient_id: str) -> bytes:
    """Give what stands for a patient: who knows the patient_id finds their rows, and nobody learns it from them."""
    return hashlib.sha256(f"{facility_id}/{patient_id}".encode()).digest()
