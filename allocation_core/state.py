"""The state of a department in one plain form, whoever keeps it: the model, Redis, a snapshot (I9, spec §4).

Only what cannot be worked out from the rest stands here: how many seats are taken, who waits in which order and who
may come again follow from the tokens. What R3 forgets does not stand here either.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from pydantic_core import from_json, to_json

from allocation_core import calendar, pool
from allocation_core.model import MEMORY_DAYS, Department, FirstSight
from schemas.commands import RequestTokenData
from schemas.words import Source, Status, Weekday

MOST_PREEMPTED = 65_535  # further than that, nobody counts

_WEEKDAYS = tuple(Weekday)

Week = dict[tuple[str, int], int]
PoolKey = tuple[int, str]  # the date as days since 1970-01-01, and the slot
TokenKey = tuple[int, int]  # the date as days since 1970-01-01, and the token_no


class TokenState(NamedTuple):
    """One token.

    Attributes:
        doctor_id: where it has its seat, or had its last one; none while it waits.
        pin: the doctor whom the request named.
        present: the patient has checked in.
        times_preempted: up to `MOST_PREEMPTED`.
    """

    slot: str
    patient_id: str
    source: Source
    status: Status
    doctor_id: str | None
    pin: str | None
    present: bool
    times_preempted: int
    arrival: int


class SessionState(NamedTuple):
    """What was said of one session for its date alone.

    Attributes:
        capacity: the date's own (R17), None for the schedule's.
        away: the doctor is not available (R18).
    """

    capacity: int | None
    away: bool


class CommandState(NamedTuple):
    """What R2 remembers of a command: its content's digest, the day of first sight, the token it led to."""

    digest: bytes
    day: int
    token: TokenKey | None


@dataclass(slots=True)
class DepartmentState:
    """One department.

    Attributes:
        name: `{facility_id}/{department_id}`; where it comes from Redis or a snapshot and has no doctor, it may be the
            hexadecimal `department_digest` of that, which is all that is kept there.
        day: R3's day as days since 1970-01-01; -1 before the first command.
        sequence: the number of its last event.
        arrivals: how many tokens it has issued.
        doctors: doctor_id and week, in the order of registration; a week is capacities by slot and weekday, 0 = Monday.
        token_nos: the last token_no by day.
        closed: the pools that are (R19).
        sessions: by day, slot and doctor_id, those of which something was said for the date.
        tokens: by day and token_no.
        commands: by the digest of source and id.
    """

    name: str
    day: int = -1
    sequence: int = 0
    arrivals: int = 0
    doctors: list[tuple[str, Week]] = field(default_factory=list)
    token_nos: dict[int, int] = field(default_factory=dict)
    closed: set[PoolKey] = field(default_factory=set)
    sessions: dict[tuple[int, str, str], SessionState] = field(default_factory=dict)
    tokens: dict[TokenKey, TokenState] = field(default_factory=dict)
    commands: dict[bytes, CommandState] = field(default_factory=dict)

    def forget(self) -> None:
        """Drop what R3 forgets, whether or not its storage is freed yet."""
        oldest = self.day - MEMORY_DAYS
        self.token_nos = {day: no for day, no in self.token_nos.items() if day >= oldest}
        self.closed = {key for key in self.closed if key[0] >= oldest}
        self.sessions = {key: session for key, session in self.sessions.items() if key[0] >= oldest}
        self.tokens = {key: token for key, token in self.tokens.items() if key[0] >= oldest}
        self.commands = {key: command for key, command in self.commands.items() if command.day >= oldest}


# ---------------------------------------------------------------------------------------------------------- the model


def state_of(department: Department) -> DepartmentState:
    """Give the state that the model's department is in."""
    return DepartmentState(
        name=f"{department.facility_id}/{department.department_id}",
        day=department.day,
        sequence=department.sequence,
        arrivals=department.arrivals,
        doctors=[(doctor.doctor_id, _week_of(doctor)) for doctor in department.doctors.values()],
        token_nos=dict(department.token_nos),
        closed={key for key, pool in department.pools.items() if pool.closed},
        sessions=dict(_sessions_of(department.pools)),
        tokens={(token.pool.day, token.token_no): _token_of(token) for token in department.tokens.values()},
        commands={key: _command_of(first, department) for key, first in department.commands.items()},
    )


def _week_of(doctor: pool.Doctor) -> Week:
    return {(slot, _WEEKDAYS.index(weekday)): capacity for (slot, weekday), capacity in doctor.schedule.items()}


def _sessions_of(pools: Mapping[PoolKey, pool.Pool]) -> Iterator[tuple[tuple[int, str, str], SessionState]]:
    for (day, slot), each in pools.items():
        for doctor_id, session in each.sessions.items():
            if session.overridden or not session.available:
                capacity = session.capacity if session.overridden else None
                yield (day, slot, doctor_id), SessionState(capacity, not session.available)


def _token_of(token: pool.Token) -> TokenState:
    return TokenState(
        token.pool.slot,
        token.patient_id,
        token.source,
        token.status,
        None if token.session is None else token.session.doctor.doctor_id,
        token.pin,
        token.present,
        min(token.times_preempted, MOST_PREEMPTED),
        token.arrival,
    )


def _command_of(first: FirstSight, department: Department) -> CommandState:
    named = first.token_id
    token = named and calendar.read_token_id(named, department.facility_id, department.department_id)
    return CommandState(first.digest, first.day, token or None)


def department_of(state: DepartmentState) -> Department:
    """Give a department of the model that is in this state."""
    department = Department(*state.name.split("/"))
    department.day, department.sequence, department.arrivals = state.day, state.sequence, state.arrivals
    for number, (doctor_id, week) in enumerate(state.doctors):
        doctor = department.doctors[doctor_id] = pool.Doctor(doctor_id, number)
        doctor.schedule = {(slot, _WEEKDAYS[weekday]): capacity for (slot, weekday), capacity in week.items()}
    department.token_nos = dict(state.token_nos)
    for key in state.closed:
        _pool(department, key).closed = True
    for (day, slot, doctor_id), said in state.sessions.items():
        session = _pool(department, (day, slot)).session_with(department.doctors[doctor_id])
        session.available = not said.away
        if said.capacity is not None:
            session.override(said.capacity)
    for (day, token_no), token in sorted(state.tokens.items()):
        _put_token(department, day, token_no, token)
    for digest, command in state.commands.items():
        first = department.commands[digest] = FirstSight(command.day, command.digest)
        first.token_id = command.token and _token_id(department, *command.token)
    return department


def _pool(department: Department, key: PoolKey) -> pool.Pool:
    found = department.pools.get(key)
    if found is None:
        day, slot = key
        found = department.pools[key] = pool.Pool(calendar.date_of_day(day), slot)
        for doctor in department.doctors.values():
            found.follow_schedule(doctor)
    return found


def _put_token(department: Department, day: int, token_no: int, state: TokenState) -> None:
    own = _pool(department, (day, state.slot))
    asked = RequestTokenData.model_construct(
        facility_id=department.facility_id,
        department_id=department.department_id,
        date=own.date,
        slot=own.slot,
        patient_id=state.patient_id,
        source=state.source,
        doctor_id=state.pin,
    )
    token = pool.Token(own, _token_id(department, day, token_no), token_no, state.arrival, asked)
    token.present, token.times_preempted = state.present, state.times_preempted
    department.tokens[token.token_id] = token
    session = None if state.doctor_id is None else own.session_with(department.doctors[state.doctor_id])
    own.put_back(token, state.status, session)


def _token_id(department: Department, day: int, token_no: int) -> str:
    date = calendar.date_of_day(day)
    return calendar.token_id(department.facility_id, department.department_id, date, token_no)


# --------------------------------------------------------------------------------------------------------- comparison


def differences(expected: DepartmentState, found: DepartmentState) -> Iterator[str]:
    """Name where two states of one department differ, by dates and numbers alone: never a patient."""
    for each in fields(DepartmentState):
        wanted, there = getattr(expected, each.name), getattr(found, each.name)
        if wanted == there:
            continue
        if isinstance(wanted, dict):
            yield from _differing_keys(each.name, wanted, there)
        elif isinstance(wanted, set):
            yield from (f"{each.name} {_spelt(key)}" for key in sorted(wanted ^ there))
        elif isinstance(wanted, list):
            yield from _differing_doctors(wanted, there)
        else:
            yield f"{each.name} is {there}, not {wanted}"


def _differing_keys(name: str, wanted: Mapping[Any, Any], there: Mapping[Any, Any]) -> Iterator[str]:
    for key in sorted(wanted.keys() | there.keys()):
        what = f"{name} {_spelt(key)}"
        if key not in there:
            yield f"{what} is missing"
        elif key not in wanted:
            yield f"{what} is one too many"
        elif wanted[key] != there[key]:
            yield f"{what} differs{_differing_fields(wanted[key], there[key])}"


def _differing_doctors(wanted: list[tuple[str, Week]], there: list[tuple[str, Week]]) -> Iterator[str]:
    if [doctor_id for doctor_id, _ in wanted] != [doctor_id for doctor_id, _ in there]:
        yield "doctors are others, or in another order"
    else:
        yield from (
            f"week of doctor {one[0]} differs" for one, other in zip(wanted, there, strict=True) if one != other
        )


def _differing_fields(wanted: Any, there: Any) -> str:
    if not isinstance(wanted, TokenState | SessionState | CommandState):
        return ""
    differing = [name for name in wanted._fields if getattr(wanted, name) != getattr(there, name)]
    return f": {', '.join(differing)}" if differing else ""


def _spelt(key: Any) -> str:
    if isinstance(key, bytes):
        return key.hex()
    if isinstance(key, tuple):
        return " ".join([calendar.date_of_day(key[0]), *map(str, key[1:])])
    return calendar.date_of_day(key)


# ---------------------------------------------------------------------------------------------------------------- JSON


def write_state(state: DepartmentState) -> bytes:
    """Write a state as one line of JSON without its end; equal states give equal bytes."""
    return to_json(
        {
            "department": state.name,
            "day": state.day,
            "sequence": state.sequence,
            "arrivals": state.arrivals,
            "doctors": [
                [doctor_id, [[*where, capacity] for where, capacity in sorted(week.items())]]
                for doctor_id, week in state.doctors
            ],
            "token_nos": sorted(state.token_nos.items()),
            "closed": sorted(state.closed),
            "sessions": [[*key, *session] for key, session in sorted(state.sessions.items())],
            "tokens": [[*key, *token] for key, token in sorted(state.tokens.items())],
            "commands": [
                [key.hex(), command.digest.hex(), command.day, *(command.token or ())]
                for key, command in sorted(state.commands.items())
            ],
        }
    )


def read_state(line: bytes) -> DepartmentState:
    """Read what `write_state` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        found = from_json(line)
        return DepartmentState(
            name=found["department"],
            day=found["day"],
            sequence=found["sequence"],
            arrivals=found["arrivals"],
            doctors=[
                (doctor_id, {(slot, weekday): capacity for slot, weekday, capacity in week})
                for doctor_id, week in found["doctors"]
            ],
            token_nos=dict(found["token_nos"]),
            closed={(day, slot) for day, slot in found["closed"]},
            sessions={(day, slot, doctor_id): SessionState(*said) for day, slot, doctor_id, *said in found["sessions"]},
            tokens=dict(_read_tokens(found["tokens"])),
            commands=dict(_read_commands(found["commands"])),
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"no department's state: {type(error).__name__}") from error


def _read_tokens(rows: Iterable[Any]) -> Iterator[tuple[TokenKey, TokenState]]:
    for day, no, slot, patient_id, source, status, *rest in rows:
        yield (day, no), TokenState(slot, patient_id, Source(source), Status(status), *rest)


def _read_commands(rows: Iterable[Any]) -> Iterator[tuple[bytes, CommandState]]:
    for key, digest, day, *token in rows:
        named = (token[0], token[1]) if token else None
        yield bytes.fromhex(key), CommandState(bytes.fromhex(digest), day, named)
