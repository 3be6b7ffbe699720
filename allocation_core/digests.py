"""What stands for a command in the memory of R2: 128 bits for who sent it under which id, 128 for what it said.

And what stands for a name in Redis, which is 128 bits too.

Data is compared as JSON values: each type's fields are joined by U+0000, which no text holds (R1), with "" for what
was left out (no text may be empty), so that spelling does not matter and no two data share a text.
"""

from collections.abc import Callable
from hashlib import blake2b, sha1
from typing import Any

from schemas.plain import AnyCommand

DIGEST_BYTES = 16

_new_hash = blake2b(digest_size=DIGEST_BYTES).copy  # half of what a new one with its parameters costs


def department_digest(name: str) -> bytes:
    """Give what stands for the name of a department without a doctor; `name` may be the digest already, as its hex."""
    # SHA-1 is what Redis offers its scripts; names are too short and too plain for the collisions that it is known for.
    return sha1(name.encode(), usedforsecurity=False).digest()[:DIGEST_BYTES] if "/" in name else bytes.fromhex(name)


def sender_digest(command: AnyCommand) -> bytes:
    """Give the digest of a command's source and id."""
    digest = _new_hash()
    digest.update(f"{command.source}\0{command.id}".encode())
    return digest.digest()


def content_digest(command: AnyCommand) -> bytes:
    """Give the digest of a command's type and data."""
    name = type(command).__name__
    digest = _new_hash()
    digest.update(f"{name}\0{_CONTENTS[name](command.data)}".encode())
    return digest.digest()


def _register_doctor(data: Any) -> str:
    content = [data.doctor_id, data.name]
    for entry in data.schedule:
        content += (entry.slot, str(entry.capacity), ",".join(entry.weekdays or ()))
    return "\0".join(content)


_CONTENTS: dict[str, Callable[[Any], str]] = {
    "RegisterDoctor": _register_doctor,
    "RequestToken": lambda data: f"{data.date}\0{data.slot}\0{data.patient_id}\0{data.source}\0{data.doctor_id or ''}",
    "CancelToken": lambda data: f"{data.token_id}\0{data.reason or ''}",
    "MarkNoShow": lambda data: str(data.token_id),
    "CheckIn": lambda data: str(data.token_id),
    "CompleteConsultation": lambda data: str(data.token_id),
    "CallNext": lambda data: f"{data.doctor_id}\0{data.date}\0{data.slot}",
    "SetSlotCapacity": lambda data: f"{data.doctor_id}\0{data.date}\0{data.slot}\0{data.capacity}",
    "SetDoctorAvailability": lambda data: (
        f"{data.doctor_id}\0{data.date}\0{data.slot or ''}\0{int(data.available)}\0{data.reason or ''}"
    ),
    "CloseSlot": lambda data: f"{data.date}\0{data.slot}",
}
