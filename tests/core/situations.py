"""What random days have reached: every decision by command, event and reason, and the rare situations by name."""

from collections import Counter
from collections.abc import Callable

from allocation_core.calendar import day_of_date
from schemas.commands import Command, RegisterDoctor, RequestToken, SetDoctorAvailability
from schemas.events import Event
from schemas.words import Source
from tests.core.invariants import Books, DepartmentBooks, Place

Situation = Callable[[Command, list[Event], DepartmentBooks], bool]


def _with_its_reason(event: Event) -> str:
    if event.type in {"TokenCancelled", "DoctorAvailabilityChanged"} or "reason" not in event.data:
        return event.type  # their reason is the sender's own words
    return f"{event.type} {event.data['reason']}"


def _types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


def _token(event: Event, books: DepartmentBooks) -> Place | None:
    """The token that an event is about, as it was before the command."""
    data = event.data
    return books.pools[data["date"], data["slot"]].get(data["token_id"]) if event.type.startswith("Token") else None


def _any_token(
    event_type: str, holds: Callable[[Event, Place], bool]
) -> Callable[[Command, list[Event], DepartmentBooks], bool]:
    """Some event of a type is about a token of which something held before the command."""
    return lambda _, events, books: any(
        event.type == event_type and (token := _token(event, books)) is not None and holds(event, token)
        for event in events
    )


def _raised(status: str) -> Situation:
    return _any_token("TokenUpgraded", lambda _, token: token.status == status)


def _waiting_in(event: Event, books: DepartmentBooks) -> int:
    return sum(token.status == "WAITLISTED" for token in books.pools[event.data["date"], event.data["slot"]].values())


def _any_in_full_pool(event_type: str, source: Source | None) -> Situation:
    return lambda _, events, books: any(
        event.type == event_type
        and event.data["source"] == (source or event.data["source"])
        and event.data["position"] <= 1001
        and _waiting_in(event, books) >= 1000
        for event in events
    )


def _emergency_clears_seat(command_type: str) -> Situation:
    return lambda command, events, _: (
        type(command).__name__ == command_type
        and any(event.type == "TokenPreempted" and event.data["reason"] == "EMERGENCY" for event in events)
    )


def _in_closed_pool(event_type: str) -> Situation:
    return lambda _, events, books: any(
        event.type == event_type and (event.data["date"], event.data["slot"]) in books.closed for event in events
    )


def _over_capacity_gives_way(_: Command, events: list[Event], books: DepartmentBooks) -> bool:
    return any(
        event.type == "TokenPreempted"
        and event.data["reason"] == "EMERGENCY"
        and books.over_by.get((event.data["date"], event.data["slot"], event.data["lost_doctor_id"]), 0) > 0
        for event in events
    )


def _pinned_to_absent_doctor(command: Command, events: list[Event], books: DepartmentBooks) -> bool:
    return (
        isinstance(command, RequestToken)
        and command.data.source is Source.EMERGENCY
        and events[0].type == "TokenWaitlisted"
        and (command.data.date, command.data.slot, command.data.doctor_id) in books.away
    )


def _no_news(command: Command, events: list[Event], books: DepartmentBooks) -> bool:
    return isinstance(command, SetDoctorAvailability) and any(
        event.type == "DoctorAvailabilityChanged"
        and not event.data["available"]
        and (event.data["date"], event.data["slot"], event.data["doctor_id"]) in books.away
        for event in events
    )


def _passes_others(_: Command, events: list[Event], books: DepartmentBooks) -> bool:
    return any(
        event.type == "TokenPromoted"
        and (token := _token(event, books)) is not None
        and any(
            other.status == "WAITLISTED" and other.rank < token.rank and other.pin not in (None, token.pin)
            for other in books.pools[token.pool].values()
        )
        for event in events
    )


def _old_pool_left_alone(command: Command, events: list[Event], books: DepartmentBooks) -> bool:
    return (
        isinstance(command, RegisterDoctor)
        and len(events) == 1
        and any(
            day_of_date(date) < books.day - 1
            and (date, slot) not in books.closed
            and any(token.status == "WAITLISTED" and token.suits(command.data.doctor_id) for token in tokens.values())
            for (date, slot), tokens in books.pools.items()
        )
    )


def _another_weekday(command: Command, events: list[Event], books: DepartmentBooks) -> bool:
    return (
        isinstance(command, RequestToken)
        and events[0].data.get("reason") == "SLOT_UNKNOWN"
        and any(slot == command.data.slot for schedule in books.schedules.values() for slot, _ in schedule)
    )


def _repeat_names(forgotten: bool) -> Situation:
    def holds(_: Command, events: list[Event], books: DepartmentBooks) -> bool:
        data = events[0].data
        if data.get("reason") not in {"DUPLICATE_COMMAND", "ID_REUSED"} or "token_id" not in data:
            return False
        date = data["token_id"].split(".")[2]
        return forgotten is (day_of_date(f"{date[:4]}-{date[4:6]}-{date[6:]}") < books.day - 7)

    return holds


SITUATIONS: dict[str, Situation] = {
    "an emergency waits where 1,000 wait": _any_in_full_pool("TokenWaitlisted", Source.EMERGENCY),
    "a victim waits where 1,000 wait": _any_in_full_pool("TokenPreempted", None),
    "a victim moves to a colleague": lambda command, events, _: (
        isinstance(command, RequestToken) and _types(events) == ["TokenReassigned", "TokenConfirmed"]
    ),
    "an emergency pinned to an absent doctor waits": _pinned_to_absent_doctor,
    "a session over its capacity gives a seat away": _over_capacity_gives_way,
    "raised while waiting: a victim waits": lambda _, events, __: (
        _types(events) == ["TokenUpgraded", "TokenPreempted", "TokenPromoted"]
    ),
    "raised while waiting: a victim moves": lambda _, events, __: (
        _types(events) == ["TokenUpgraded", "TokenReassigned", "TokenPromoted"]
    ),
    "raised while waiting: a free seat": lambda _, events, __: _types(events) == ["TokenUpgraded", "TokenPromoted"],
    "raised while waiting: waits on": lambda _, events, __: (
        _types(events) == ["TokenUpgraded"] and events[0].data["status"] == "WAITLISTED"
    ),
    "raised while waiting: loses its pin": lambda command, events, books: (
        isinstance(command, RequestToken)
        and command.data.doctor_id is None
        and _any_token("TokenUpgraded", lambda _, token: token.status == "WAITLISTED" and token.pin is not None)(
            command, events, books
        )
    ),
    "raised while waiting and present: checked in": lambda _, events, __: (
        events[0].type == "TokenUpgraded" and events[-1].data["status"] == "CHECKED_IN" and len(events) > 1
    ),
    "raised while confirmed": _raised("CONFIRMED"),
    "raised while checked in": _raised("CHECKED_IN"),
    "raised while called": _raised("CALLED"),
    "an absent doctor's emergency takes a colleague's seat": _emergency_clears_seat("SetDoctorAvailability"),
    "a withdrawn slot's emergency takes a colleague's seat": _emergency_clears_seat("RegisterDoctor"),
    "an absent doctor's checked-in patient goes to a colleague": _any_token(
        "TokenReassigned", lambda _, token: token.status == "CHECKED_IN"
    ),
    "an absent doctor's checked-in patient waits": _any_token(
        "TokenPreempted", lambda _, token: token.status == "CHECKED_IN"
    ),
    "a waiting patient who is present is promoted": _any_token(
        "TokenPromoted", lambda event, token: token.present and event.data["reason"] != "UPGRADED"
    ),
    "a withdrawn slot's patient goes to a colleague": lambda command, events, _: (
        isinstance(command, RegisterDoctor) and "TokenReassigned" in _types(events)
    ),
    "a withdrawn slot's patient waits": lambda command, events, _: (
        isinstance(command, RegisterDoctor) and "TokenPreempted" in _types(events)
    ),
    "a registration moves several pools": lambda command, events, _: (
        isinstance(command, RegisterDoctor)
        and len({(event.data["date"], event.data["slot"]) for event in events[1:]}) > 1
    ),
    "a registration leaves an old pool alone": _old_pool_left_alone,
    "a registration finds an override": lambda command, _, books: (
        isinstance(command, RegisterDoctor)
        and any(doctor_id == command.data.doctor_id for _, _, doctor_id in books.overrides)
    ),
    "away from several slots": lambda _, events, __: _types(events).count("DoctorAvailabilityChanged") > 1,
    "hundreds leave at once": lambda command, events, _: (
        isinstance(command, SetDoctorAvailability) and not command.data.available and len(events) > 300
    ),
    "away already": _no_news,
    "promoted past those who wait for another": _passes_others,
    "several promoted at once": lambda _, events, __: _types(events).count("TokenPromoted") > 1,
    "promoted on a date that is over": lambda _, events, books: any(
        event.type == "TokenPromoted" and day_of_date(event.data["date"]) < books.day - 1 for event in events
    ),
    "the patient called before is done": lambda _, events, __: _types(events) == ["TokenCompleted", "TokenCalled"],
    "cancelled in a closed pool": _in_closed_pool("TokenCancelled"),
    "no-show in a closed pool": _in_closed_pool("TokenNoShow"),
    "checked in in a closed pool": _in_closed_pool("TokenCheckedIn"),
    "called in a closed pool": _in_closed_pool("TokenCalled"),
    "completed in a closed pool": _in_closed_pool("TokenCompleted"),
    "1,000 expire at once": lambda _, events, __: _types(events).count("TokenExpired") >= 900,
    "a slot not worked on that weekday": _another_weekday,
    "a repeat is told its token": _repeat_names(forgotten=False),
    "a repeat is told a token already forgotten": _repeat_names(forgotten=True),
}


class Reached:
    """Counts decisions and situations while commands and their events go by."""

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter()
        self.situations: Counter[str] = Counter()
        self._ids: set[tuple[str, ...]] = set()

    def note(self, command: Command, timestamp_ms: int, events: list[Event], books: Books) -> None:
        """Count a command, before it is entered in the books."""
        department = (command.data.facility_id, command.data.department_id)
        before = books.departments.setdefault(department, DepartmentBooks(*department))
        for event in events:
            self.decisions[f"{type(command).__name__}: {_with_its_reason(event)}"] += 1
        for name, holds in SITUATIONS.items():
            self.situations[name] += holds(command, events, before)
        self.situations["an older timestamp"] += timestamp_ms // 86_400_000 < before.day

        key = (*department, command.source, command.id)
        refused_by_r2 = events[0].data.get("reason") in {"DUPLICATE_COMMAND", "ID_REUSED"}
        self.situations["an id is used again after it was forgotten"] += key in self._ids and not refused_by_r2
        self._ids.add(key)
