"""How a department stands in Redis, as the heads of `lua/includes` describe it: taken apart and put together.

What a `DepartmentState` does not hold is what only follows from it: the `Indexes`, which `derive` works out.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import chain
from struct import Struct
from typing import Any, NamedTuple

import ormsgpack

from allocation_core.calendar import date_of_day
from allocation_core.digests import DIGEST_BYTES
from allocation_core.model import MEMORY_DAYS, PAST_DAYS
from allocation_core.state import MOST_PREEMPTED, CommandState, DepartmentState, PoolKey, SessionState, TokenState, Week
from schemas.words import Source, Status

Hashes = Mapping[bytes, list[bytes]]  # what comes after a department's prefix, and the content: field, value, field, …
Content = list[str | bytes | int]
Write = tuple[str, str, Content]  # Redis' word, what comes after the prefix, the arguments

DAYS_A_BUCKET = 4

_SOURCES = tuple(Source)
_STATUSES = tuple(Status)
_TOKEN = Struct(">BBBBBHI11s")
_ISSUED = Struct(">BI")  # how far a token's day is from the day before its command's, and its token_no
_DAY_BYTES, _SEQUENCE_BYTES = 3, 4
_ID_BYTES = 2 * DIGEST_BYTES + _DAY_BYTES
_MOST_IDS = 8  # of a department without a doctor, until it gets keys of its own
_CLASS_UNIT, _PREEMPTED_UNIT = 2**50, 2**34
_SEATED = frozenset({Status.CONFIRMED, Status.CHECKED_IN, Status.CALLED, Status.COMPLETED})
_ACTIVE = frozenset({Status.WAITLISTED, Status.CONFIRMED, Status.CHECKED_IN, Status.CALLED})


class Header(NamedTuple):
    """A department's header; `id` is the number that its keys carry, `first_bucket` the first of its command ids."""

    id: int
    day: int
    sequence: int
    arrivals: int
    doctors: int
    first_bucket: int

    @classmethod
    def unpack(cls, packed: bytes) -> "Header":
        """Read it."""
        return cls(*_unpack_values(packed, len(cls._fields)))


class Invented(NamedTuple):
    """The record of a department without a doctor (`lua/includes/invented.lua`)."""

    day: int
    sequence: int
    commands: dict[bytes, CommandState]

    def pack(self) -> bytes:
        """Give it as Redis keeps it."""
        ids = (sender + _pack_command(command) for sender, command in self.commands.items())
        return self.day.to_bytes(_DAY_BYTES, "big") + self.sequence.to_bytes(_SEQUENCE_BYTES, "big") + b"".join(ids)

    def state(self, name: str) -> DepartmentState:
        """Give the state that it is."""
        return DepartmentState(name, self.day, self.sequence, commands=self.commands)

    @classmethod
    def unpack(cls, packed: bytes) -> "Invented":
        """Read it."""
        day, sequence = packed[:_DAY_BYTES], packed[_DAY_BYTES:][:_SEQUENCE_BYTES]
        ids = (packed[at:][:_ID_BYTES] for at in range(_DAY_BYTES + _SEQUENCE_BYTES, len(packed), _ID_BYTES))
        commands = {known[:DIGEST_BYTES]: _read_command(known[DIGEST_BYTES:]) for known in ids}
        return cls(int.from_bytes(day, "big"), int.from_bytes(sequence, "big"), commands)


class SessionHeader(NamedTuple):
    """What a pool's header says of a session; `override` is -1 where there is none, `called` a token_no or 0."""

    taken: int = 0
    pinned: int = 0
    override: int = -1
    away: int = 0
    called: int = 0


@dataclass(slots=True)
class PoolHeader:
    """A pool's header; `waiting` by class, `sessions` by registration number, those that differ from their schedule."""

    closed: int = 0
    issued: int = 0
    waiting: list[int] = field(default_factory=lambda: [0] * len(Source))
    sessions: dict[int, SessionHeader] = field(default_factory=dict)

    def pack(self) -> bytes:
        """Give it as Redis keeps it."""
        flat = [self.closed, self.issued, *self.waiting]
        for number, session in self.sessions.items():
            flat += (number, *session)
        return ormsgpack.packb(flat)

    @classmethod
    def unpack(cls, packed: bytes) -> "PoolHeader":
        """Read it."""
        closed, issued, *flat = ormsgpack.unpackb(packed)
        waiting, flat = flat[: len(Source)], flat[len(Source) :]
        sessions = {flat[at]: SessionHeader(*flat[at + 1 : at + 6]) for at in range(0, len(flat), 6)}
        return cls(closed, issued, waiting, {n: said for n, said in sessions.items() if said != SessionHeader()})


@dataclass(slots=True)
class Indexes:
    """What Redis keeps of a department though it follows from the rest.

    Attributes:
        worked: by slot and weekday, the sessions: number, capacity, doctor_id, and so on.
        pools: the headers, but for those that say nothing.
        active: by pool, the patients' active tokens.
        lines: by pool and kind (`w`, `w3`, `c1`, `i1`), token numbers and their scores.
    """

    worked: dict[str, list[Any]] = field(default_factory=dict)
    pools: dict[PoolKey, PoolHeader] = field(default_factory=dict)
    active: dict[PoolKey, dict[str, int]] = field(default_factory=dict)
    lines: dict[tuple[int, str, str], dict[int, int]] = field(default_factory=dict)


class Layout:
    """The keys of one department, taken apart."""

    def __init__(self, name: str, header: Header, keys: Hashes) -> None:
        self._name = name
        self._header = header
        self._keys = keys
        oldest = header.day - MEMORY_DAYS
        names = {number[1:]: doctor_id for number, doctor_id in self._hash(b"n") if number[:1] == b"#"}
        self._doctor_ids = {int(number): doctor_id.decode() for number, doctor_id in names.items()}
        pools = {_pool_key(key): packed for key, packed in self._hash(b"p") if b" " in key}
        self._pools = {key: PoolHeader.unpack(packed) for key, packed in pools.items() if key[0] >= oldest}

    def state(self) -> DepartmentState:
        """Give what cannot be worked out from the rest."""
        header = self._header
        weeks = {int(number): _read_week(week.decode()) for number, week in self._hash(b"w")}
        state = DepartmentState(
            self._name,
            header.day,
            header.sequence,
            header.arrivals,
            doctors=[(self._doctor_id(number), weeks.get(number, {})) for number in range(1, header.doctors + 1)],
            token_nos={int(day): int(no) for day, no in self._hash(b"p") if b" " not in day},
            closed={key for key, pool in self._pools.items() if pool.closed},
            sessions=dict(self._sessions()),
        )
        for key in self._keys:
            if key[:1] == b"t":
                state.tokens |= {(int(key[1:]), int(no)): self._token(packed) for no, packed in self._hash(key)}
            elif key[:1] == b"i":
                state.commands |= {sender: _read_command(known) for sender, known in self._hash(key)}
        state.forget()
        return state

    def indexes(self) -> Indexes:
        """Give what follows from the rest, as it stands there."""
        found = Indexes(
            worked={place.decode(): ormsgpack.unpackb(packed) for place, packed in self._hash(b"s")},
            pools={key: pool for key, pool in self._pools.items() if pool != PoolHeader()},
        )
        for key in self._keys:
            place, _, kind = key.rpartition(b":")
            if b" " not in place:
                continue
            day, slot = _pool_key(place)
            if kind == b"a":
                found.active[day, slot] = {patient.decode(): int(no) for patient, no in self._hash(key)}
            else:
                found.lines[day, slot, kind.decode()] = {int(no): int(float(score)) for no, score in self._hash(key)}
        return found

    def _hash(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        flat = self._keys.get(key, [])
        return zip(flat[::2], flat[1::2], strict=True)

    def _doctor_id(self, number: int) -> str:
        return self._doctor_ids.get(number, f"#{number}")

    def _sessions(self) -> Iterator[tuple[tuple[int, str, str], SessionState]]:
        for (day, slot), pool in self._pools.items():
            for number, session in pool.sessions.items():
                if session.override >= 0 or session.away:
                    capacity = session.override if session.override >= 0 else None
                    yield (day, slot, self._doctor_id(number)), SessionState(capacity, session.away == 1)

    def _token(self, packed: bytes) -> TokenState:
        source, status, doctor, pin, present, preempted, arrival, slot = _TOKEN.unpack_from(packed)
        return TokenState(
            slot.decode(),
            packed[_TOKEN.size : -1].decode(),
            _SOURCES[source - 1],
            _STATUSES[status - 1],
            self._doctor_id(doctor) if doctor else None,
            self._doctor_id(pin) if pin else None,
            present == 1,
            preempted,
            arrival,
        )


def derive(state: DepartmentState) -> Indexes:
    """Work out what Redis must keep of a department beside its state."""
    numbers = _numbers(state)
    indexes = Indexes(worked=_worked(state))
    pools: defaultdict[PoolKey, PoolHeader] = defaultdict(PoolHeader)
    for key in state.closed:
        pools[key].closed = 1
    for (day, slot, doctor_id), said in state.sessions.items():
        override = -1 if said.capacity is None else said.capacity
        pools[day, slot].sessions[numbers[doctor_id]] = SessionHeader(override=override, away=int(said.away))
    for (day, no), token in state.tokens.items():
        pool = pools[day, token.slot]
        pool.issued = 1
        if token.status in _ACTIVE:
            indexes.active.setdefault((day, token.slot), {})[token.patient_id] = no
        if line := _line_of(token, numbers):
            indexes.lines.setdefault((day, token.slot, line[0]), {})[no] = line[1]
        _count(pool, no, token, numbers)
    indexes.pools = dict(pools)
    return indexes


def _numbers(state: DepartmentState) -> dict[str | None, int]:
    """Registration numbers by doctor_id; 0 stands for none."""
    return {None: 0} | {doctor_id: number for number, (doctor_id, _) in enumerate(state.doctors, start=1)}


def _worked(state: DepartmentState) -> dict[str, list[Any]]:
    worked: defaultdict[str, list[Any]] = defaultdict(list)
    for number, (doctor_id, week) in enumerate(state.doctors, start=1):
        for (slot, weekday), capacity in week.items():
            worked[f"{slot} {weekday}"] += (number, capacity, doctor_id)
    return dict(worked)


def _line_of(token: TokenState, numbers: Mapping[str | None, int]) -> tuple[str, int] | None:
    """The sorted set that a token stands in and its score there (`lua/includes/words.lua`)."""
    turn = token.source.priority * _CLASS_UNIT + token.arrival
    match token.status:
        case Status.WAITLISTED:
            return f"w{numbers[token.pin] or ''}", turn
        case Status.CONFIRMED:
            spared = MOST_PREEMPTED - token.times_preempted
            return f"c{numbers[token.doctor_id]}", turn + spared * _PREEMPTED_UNIT
        case Status.CHECKED_IN:
            return f"i{numbers[token.doctor_id]}", turn
        case _:
            return None


def _count(pool: PoolHeader, no: int, token: TokenState, numbers: Mapping[str | None, int]) -> None:
    if token.status is Status.WAITLISTED:
        pool.waiting[token.source.priority - 1] += 1
        if token.pin is None:
            return
    number = numbers[token.pin if token.status is Status.WAITLISTED else token.doctor_id]
    session = pool.sessions.get(number, SessionHeader())
    if token.status is Status.WAITLISTED:
        pool.sessions[number] = session._replace(pinned=session.pinned + 1)
    elif token.status in _SEATED:
        called = no if token.status is Status.CALLED else session.called
        pool.sessions[number] = session._replace(taken=session.taken + 1, called=called)


def contradictions(state: DepartmentState, found: Indexes) -> Iterator[str]:
    """Name where the indexes are not what follows from the state; names no patient."""
    doctors = {doctor_id for doctor_id, _ in state.doctors}
    if unknown := _doctors_named(state) - doctors:
        yield f"doctors {', '.join(sorted(unknown))} are named but not registered"
        return
    wanted = derive(state)
    for each in fields(Indexes):
        one, other = getattr(wanted, each.name), getattr(found, each.name)
        for key in sorted(one.keys() | other.keys()):
            if one.get(key) != other.get(key):
                place = " ".join([date_of_day(key[0]), *key[1:]]) if isinstance(key, tuple) else key
                yield f"index {each.name} of {place} contradicts the tokens and doctors"


def _doctors_named(state: DepartmentState) -> set[str]:
    named = {doctor_id for _, _, doctor_id in state.sessions}
    for token in state.tokens.values():
        named |= {doctor_id for doctor_id in (token.doctor_id, token.pin) if doctor_id is not None}
    return named


# ------------------------------------------------------------------------------------------------------------- writing


def header_of(state: DepartmentState, number: int) -> Header:
    """Give a department's header under a number."""
    days = [command.day for command in state.commands.values()]
    first_bucket = min(days, default=max(state.day, 0)) // DAYS_A_BUCKET
    return Header(number, state.day, state.sequence, state.arrivals, len(state.doctors), first_bucket)


def invented(state: DepartmentState) -> Invented | None:
    """Give the record of a department that needs no keys of its own; None where it needs some."""
    if state.doctors or len(state.commands) > _MOST_IDS:
        return None
    return Invented(state.day, state.sequence, state.commands)


def writes(state: DepartmentState) -> Iterator[Write]:
    """Give all that writes a department's keys, in parts of a bounded size."""
    indexes = derive(state)
    hashes: defaultdict[str, Content] = defaultdict(list)
    for number, (doctor_id, week) in enumerate(state.doctors, start=1):
        hashes["n"] += (doctor_id, number, f"#{number}", doctor_id)
        hashes["w"] += (number, _write_week(week))
    for place, worked in indexes.worked.items():
        hashes["s"] += (place, ormsgpack.packb(worked))
    for (day, slot), pool in indexes.pools.items():
        hashes["p"] += (f"{slot} {day}", pool.pack())
    for day, no in state.token_nos.items():
        hashes["p"] += (day, no)
    _add_tokens(hashes, state)
    for sender, command in state.commands.items():
        hashes[f"i{command.day // DAYS_A_BUCKET}"] += (sender, _pack_command(command))
    for (day, slot), patients in indexes.active.items():
        hashes[f"{slot} {day}:a"] += chain.from_iterable(patients.items())
    for suffix, content in hashes.items():
        yield from _in_parts("HSET", suffix, content)
    for (day, slot, kind), line in indexes.lines.items():
        yield from _in_parts(
            "ZADD", f"{slot} {day}:{kind}", [word for no, score in line.items() for word in (score, no)]
        )


def _add_tokens(hashes: defaultdict[str, Content], state: DepartmentState) -> None:
    numbers = _numbers(state)
    for (day, no), token in state.tokens.items():
        hashes[f"t{day}"] += (no, _pack_token(token, numbers))


def _in_parts(word: str, suffix: str, content: Content) -> Iterator[Write]:
    for first in range(0, len(content), 1000):
        yield word, suffix, content[first : first + 1000]


def _pack_token(token: TokenState, numbers: Mapping[str | None, int]) -> bytes:
    fixed = _TOKEN.pack(
        token.source.priority,
        _STATUSES.index(token.status) + 1,
        numbers[token.doctor_id],
        numbers[token.pin],
        int(token.present),
        token.times_preempted,
        token.arrival,
        token.slot.encode(),
    )
    return fixed + token.patient_id.encode() + b"\0"


def _pack_command(command: CommandState) -> bytes:
    packed = command.digest + command.day.to_bytes(_DAY_BYTES, "big")
    if command.token is None:
        return packed
    day, token_no = command.token
    return packed + _ISSUED.pack(day - command.day + PAST_DAYS, token_no)


def _read_command(known: bytes) -> CommandState:
    digest, packed, issued = known[:DIGEST_BYTES], known[DIGEST_BYTES:][:_DAY_BYTES], known[DIGEST_BYTES + _DAY_BYTES :]
    day = int.from_bytes(packed, "big")
    if not issued:
        return CommandState(digest, day, None)
    ahead, token_no = _ISSUED.unpack(issued)
    return CommandState(digest, day, (day - PAST_DAYS + ahead, token_no))


def _unpack_values(packed: bytes, count: int) -> list[Any]:
    values: list[Any] = ormsgpack.unpackb(bytes([0x90 | count]) + packed)
    return values


def _pool_key(field: bytes) -> PoolKey:
    slot, _, day = field.decode().rpartition(" ")
    return int(day), slot


def _read_week(text: str) -> Week:
    entries = [entry.split(" ") for entry in text.split(";") if entry]
    return {(slot, int(weekday)): int(capacity) for slot, weekday, capacity in entries}


def _write_week(week: Week) -> str:
    return "".join(f"{slot} {weekday} {capacity};" for (slot, weekday), capacity in week.items())
