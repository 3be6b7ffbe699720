"""R2: two commands share a digest exactly if type and data are equal as JSON values.

Both twins ask the same function, so what holds it to the rule is what stands here: the data written out as JSON.
"""

from typing import Any

from allocation_core.digests import content_digest, sender_digest
from tests.core.commands import make_command
from tests.core.days import random_commands

PLACE = {"facility_id": "h", "department_id": "d"}
SESSION = {**PLACE, "doctor_id": "a", "date": "2026-11-23", "slot": "09:00-10:00"}
REQUEST = {**PLACE, "date": "2026-11-23", "slot": "09:00-10:00", "patient_id": "p", "source": "ONLINE"}


def test_the_digests_of_random_days_are_as_many_as_their_data() -> None:
    commands = [command for seed in range(4) for command, _ in random_commands(seed, 5_000)]
    # Ids are remembered for each department alone.
    names = {"facility_id", "department_id"}
    written = [(command.type, command.data.model_dump_json(exclude_unset=True, exclude=names)) for command in commands]
    digests = [content_digest(command) for command in commands]
    assert len(set(zip(written, digests, strict=True))) == len(set(written)) == len(set(digests))
    senders = [(command.source, command.id) for command in commands]
    keys = [sender_digest(command) for command in commands]
    assert len(set(zip(senders, keys, strict=True))) == len(set(senders)) == len(set(keys))


def test_each_field_counts_and_so_does_its_absence() -> None:
    several: list[tuple[str, dict[str, Any]]] = [
        ("RequestToken", REQUEST),
        *(
            ("RequestToken", {**REQUEST, name: value})
            for name, value in (
                ("date", "2026-11-24"),
                ("slot", "10:00-11:00"),
                ("patient_id", "q"),
                ("source", "PAID"),
                ("doctor_id", "a"),
            )
        ),
        ("SetDoctorAvailability", {**SESSION, "available": True}),
        ("SetDoctorAvailability", {**SESSION, "available": False}),
        ("SetDoctorAvailability", {**SESSION, "available": True, "reason": "ill"}),
        ("SetDoctorAvailability", {**SESSION, "available": True, "slot": None}),
        ("SetDoctorAvailability", {**SESSION, "available": True, "slot": None, "reason": "ill"}),
        ("CancelToken", {**PLACE, "token_id": "h.d.20261123.1"}),
        ("CancelToken", {**PLACE, "token_id": "h.d.20261123.1", "reason": "ill"}),
        ("CheckIn", {**PLACE, "token_id": "h.d.20261123.1"}),
        ("MarkNoShow", {**PLACE, "token_id": "h.d.20261123.1"}),
        ("CompleteConsultation", {**PLACE, "token_id": "h.d.20261123.1"}),
        ("CallNext", SESSION),
        ("SetSlotCapacity", {**SESSION, "capacity": 1}),
        ("SetSlotCapacity", {**SESSION, "capacity": 11}),
        *(
            ("RegisterDoctor", {**PLACE, "doctor_id": "a", "name": "A", "schedule": schedule})
            for schedule in (
                [],
                [{"slot": "09:00-10:00", "capacity": 1}],
                [{"slot": "09:00-10:00", "capacity": 1, "weekdays": ["MON"]}],
                [{"slot": "09:00-10:00", "capacity": 1, "weekdays": ["MON", "TUE"]}],
                [{"slot": "09:00-10:00", "capacity": 1, "weekdays": ["TUE", "MON"]}],
                [{"slot": "09:00-10:00", "capacity": 1}, {"slot": "10:00-11:00", "capacity": 1}],
            )
        ),
    ]
    digests = {content_digest(make_command(kind, "c", data)) for kind, data in several}
    assert len(digests) == len(several)
