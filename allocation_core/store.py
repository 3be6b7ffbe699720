"""The slot store: decisions in Redis, one script call a batch of a partition (spec §3, §4).

The twin of `allocation_core.model`: the same guards in the same order, the same words. What is here packs commands
into arguments and calls the scripts of `lua/`; what is decided stands there.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from itertools import chain
from secrets import token_hex
from struct import pack
from typing import Any, NamedTuple, Protocol

import ormsgpack
from msgspec import Struct
from redis.exceptions import NoScriptError, ResponseError

from allocation_core.calendar import DAY_MS, day_of_date, read_token_id
from allocation_core.digests import content_digest, sender_digest
from allocation_core.outcomes import Outcomes
from allocation_core.scripts import Script, load_script
from schemas.commands import ScheduleEntry
from schemas.events import WrittenEvent
from schemas.plain import AnyCommand
from schemas.words import Source, Weekday

Argument = str | bytes | int

_FENCE = load_script("fence")
_DECIDE_BATCH = load_script("decide_batch")
_READ_OUTCOMES = load_script("read_outcomes")
_CHECK = load_script("check")
_CLEAR = load_script("clear")

NOTHING_APPLIED = -1
KEYS_A_DELETION = 500


class Redis(Protocol):
    """What the slot store needs of a Redis client of `redis.asyncio`, one node or a cluster; replies are bytes."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command."""

    def scan_iter(self, match: str, count: int) -> Any:
        """Go through the keys that match."""


class Refusal(Exception):  # noqa: N818  it is the contract's word
    """A script call that was refused; nothing was changed. `found` is what stood there instead."""

    def __init__(self, found: str) -> None:
        super().__init__(f"{self.__doc__} (found {found})")
        self.found = found


class Unfenced(Refusal):
    """The stored generation is lower than the caller's, or none: fence and read the marks again."""


class Superseded(Refusal):
    """The stored generation is higher: another owner has the partition."""


class Rewind(Refusal):
    """The applied offset is not the expected one: Redis lost writes, or was flushed."""


class HalfWritten(Refusal):
    """A script stopped in the middle: the partition's state must be rebuilt."""


class OtherVersion(Refusal):
    """The state was written in another layout."""


_REFUSALS: dict[bytes, type[Refusal]] = {
    b"UNFENCED": Unfenced,
    b"SUPERSEDED": Superseded,
    b"REWIND": Rewind,
    b"HALF_WRITTEN": HalfWritten,
    b"VERSION": OtherVersion,
}


class SlotMoving(ResponseError):  # noqa: N818  nothing is wrong, it must be waited for
    """The partition's keys are on two nodes of a cluster: its slot is being moved key by key. Nothing was changed."""


class Marks(NamedTuple):
    """Where a partition's state stands.

    Attributes:
        applied: the offset of the last record that the state holds, -1 for none.
        digest: of that record, see `record_digest`; empty for none.
        half_written: a script stopped in the middle, so the state is not to be built upon.
    """

    applied: int
    digest: bytes
    half_written: bool


class BatchedCommand(Struct, gc=False):
    """A command, and the record that it stood in."""

    offset: int
    timestamp_ms: int
    key: bytes
    command: AnyCommand


class SlotStore:
    """The state of one partition in Redis.

    Every call but `fence` is refused unless the caller's generation is the one stored and, where it passes one, the
    applied offset is the expected one; a refused call has changed nothing.
    """

    def __init__(self, redis: Redis, partition: int) -> None:
        self._redis = redis
        self._key = partition_key(partition)

    async def fence(self, generation: int) -> Marks:
        """Make the caller's generation of the consumer group the owner, and read the marks.

        Raises:
            Superseded: a higher generation is stored.
            OtherVersion: another layout is stored.
        """
        reply = await self._call(_FENCE, generation)
        return Marks(int(reply[1]), reply[2], reply[3] == b"1")

    async def decide(  # noqa: PLR0913  the marks of §4, each needed by the script
        self,
        commands: Sequence[BatchedCommand],
        *,
        generation: int,
        expected: int,
        committed: int,
        last: int,
        digest: bytes,
    ) -> Mapping[int, list[WrittenEvent]]:
        """Decide a batch and move the applied offset, all or nothing seen from outside.

        Args:
            commands: in log order, all behind `expected`; records that are no command are left out.
            generation: the caller's generation of the group.
            expected: the applied offset that the caller believes in.
            committed: the group's committed offset; outcomes below it are dropped.
            last: the offset of the batch's last record, a command or not; becomes the applied offset.
            digest: of that record.

        Returns:
            The events of each command by its offset.

        Raises:
            Refusal: as the class says; nothing was decided.
        """
        packed = pack_commands(commands)
        reply = await self._call(_DECIDE_BATCH, generation, expected, committed, last, digest, *packed)
        return Outcomes(reply, {command.offset: command.command for command in commands})

    async def outcomes(
        self, commands: Mapping[int, AnyCommand], *, generation: int, expected: int
    ) -> dict[int, list[WrittenEvent]]:
        """Read the stored outcomes of applied commands, by offset; one that is not stored is missing in the answer."""
        reply = await self._call(_READ_OUTCOMES, generation, expected, min(commands), max(commands))
        found: dict[int, list[WrittenEvent]] = {}
        for blob in reply[1:]:
            found |= Outcomes(blob, commands)
        return found

    async def check(self, *, generation: int, expected: int) -> None:
        """Raise a Refusal where the caller is the owner no more, or the state is not where it believes it to be."""
        await self._call(_CHECK, generation, expected)

    async def clear(self, generation: int) -> None:
        """Forget the partition's state, so that it is rebuilt from the log; the generation stays stored."""
        clearing = token_hex(8)
        await self._call(_CLEAR, generation, clearing, "begin")
        keys: list[bytes] = []
        async for key in self._redis.scan_iter(match=f"{self._key}:*", count=1000):
            keys.append(key)
            if len(keys) == KEYS_A_DELETION:
                await self._call(_CLEAR, generation, clearing, "delete", *keys)
                keys.clear()
        if keys:
            await self._call(_CLEAR, generation, clearing, "delete", *keys)
        await self._call(_CLEAR, generation, clearing, "end")

    async def _call(self, script: Script, *arguments: Argument) -> Any:
        return await run_script(self._redis, self._key, script, *arguments)


async def run_script(redis: Redis, key: str, script: Script, *arguments: Argument) -> Any:
    """Call a script on a partition's key.

    Raises:
        Refusal: the script refused.
        SlotMoving: it must wait until all keys are in one place again.
    """
    try:
        reply = await redis.execute_command("EVALSHA", script.sha1, 1, key, *arguments)
    except NoScriptError:
        reply = await redis.execute_command("EVAL", script.text, 1, key, *arguments)
    if isinstance(reply, list) and reply[0] == b"MOVING":
        raise SlotMoving(f"the slot of {key} is being moved key by key, and must be whole again ({reply[1].decode()})")
    if isinstance(reply, list) and reply[0] in _REFUSALS:
        raise _REFUSALS[reply[0]](reply[1].decode())
    return reply


def partition_key(partition: int) -> str:
    """Give the key that a partition's state stands under; its hash tag keeps all of it on one node of a cluster."""
    return f"opd{{{partition}}}"


def record_digest(key: bytes | None, value: bytes | None) -> bytes:
    """Give the digest of a record that is kept beside the applied offset, to know the log again (spec §4)."""
    return blake2b(b"%d\0%b\0%b" % (len(key or b""), key or b"", value or b""), digest_size=16).hexdigest().encode()


_NO_ROWS: tuple[tuple[Any, ...], ...] = ((),) * 10


class _Pool:
    """A pool that a batch names: which of its department's, and the patients to be looked up there."""

    __slots__ = ("day", "field", "patients", "place")

    def __init__(self, date: str, slot: str, place: int) -> None:
        self.day = day_of_date(date)
        self.field = f"{slot} {self.day}"
        self.place = place
        self.patients: list[str] = []


class _Department:
    """A department's part of a batch: its commands' rows, and what they name."""

    __slots__ = ("pools", "rows", "tokens")

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.pools: dict[tuple[str, str], _Pool] = {}
        self.tokens: defaultdict[int, list[int]] = defaultdict(list)

    def pool(self, data: Any) -> _Pool:
        """Give the pool that a command names."""
        key = data.date, data.slot
        pool = self.pools.get(key)
        if pool is None:
            pool = self.pools[key] = _Pool(*key, place=len(self.pools) + 1)
        return pool

    def heads(self, key: bytes) -> list[str | int]:
        """Say how much there is of everything."""
        heads: list[str | int] = [key.decode(), len(self.rows), len(self.pools), len(self.tokens)]
        for pool in self.pools.values():
            heads += (pool.field, pool.day, len(pool.patients))
        for day, named in self.tokens.items():
            heads += (day, len(named))
        return heads


def pack_commands(commands: Sequence[BatchedCommand]) -> tuple[bytes, bytes, bytes, bytes]:
    """Give the script's arguments for a batch, as `lua/includes/batch.lua` describes them."""
    departments: defaultdict[bytes, _Department] = defaultdict(_Department)
    for each in commands:
        command, department = each.command, departments[each.key]
        kind, named = _KINDS[type(command).__name__]
        row = kind, each.offset, each.timestamp_ms // DAY_MS, sender_digest(command), content_digest(command)
        department.rows.append(row + named(command.data, department))
    heads: list[str | int] = []
    tokens: list[int] = []
    patients: list[str] = []
    for key, department in departments.items():
        heads += department.heads(key)
        tokens += chain.from_iterable(department.tokens.values())
        patients += chain.from_iterable(pool.patients for pool in department.pools.values())
    rows = chain.from_iterable(department.rows for department in departments.values())
    columns = tuple(zip(*rows, strict=True)) or _NO_ROWS
    kinds, offsets, days, senders, contents, dates, places, numbers, texts, further_texts = columns
    n = len(kinds)
    return (
        ormsgpack.packb([n, len(departments), len(tokens), len(patients), *heads]),
        pack(f">{n}B{n}q{n}i{n}i{n}H{n}q{len(tokens)}q", *kinds, *offsets, *days, *dates, *places, *numbers, *tokens),
        "\0".join((*texts, *further_texts, *patients, "")).encode(),
        b"".join((*senders, *contents)),
    )


# What a command names: day, place of its pool or 0, number, text, further text.
_Named = tuple[int, int, int, str, str]
_PRIORITIES: dict[str, int] = {source: source.priority for source in Source}


def _register_doctor(data: Any, _: _Department) -> _Named:
    return 0, 0, 0, data.doctor_id, "".join(_weeks(data.schedule))


def _weeks(schedule: Sequence[ScheduleEntry]) -> list[str]:
    numbers = {weekday: number for number, weekday in enumerate(Weekday)}
    return [
        f"{entry.slot} {numbers[weekday]} {entry.capacity};"
        for entry in schedule
        for weekday in entry.weekdays or Weekday
    ]


def _request_token(data: Any, department: _Department) -> _Named:
    pool = department.pool(data)
    pool.patients.append(data.patient_id)
    return pool.day, pool.place, _PRIORITIES[data.source], data.patient_id, data.doctor_id or ""


def _of_a_token(data: Any, department: _Department) -> _Named:
    named = read_token_id(data.token_id, data.facility_id, data.department_id)
    if named is None:
        return 0, 0, 0, "", ""
    day, token_no = named
    department.tokens[day].append(token_no)
    return day, 0, token_no, "", ""


def _call_next(data: Any, department: _Department) -> _Named:
    pool = department.pool(data)
    return pool.day, pool.place, 0, data.doctor_id, ""


def _set_slot_capacity(data: Any, department: _Department) -> _Named:
    pool = department.pool(data)
    return pool.day, pool.place, data.capacity, data.doctor_id, ""


def _set_doctor_availability(data: Any, _: _Department) -> _Named:
    return day_of_date(data.date), 0, int(data.available), data.doctor_id, data.slot or ""


def _close_slot(data: Any, department: _Department) -> _Named:
    pool = department.pool(data)
    return pool.day, pool.place, 0, "", ""


# By type: its number, in the contract's order, and what it names.
_KINDS: dict[str, tuple[int, Callable[[Any, _Department], _Named]]] = {
    "RegisterDoctor": (1, _register_doctor),
    "RequestToken": (2, _request_token),
    "CancelToken": (3, _of_a_token),
    "MarkNoShow": (4, _of_a_token),
    "CheckIn": (5, _of_a_token),
    "CompleteConsultation": (6, _of_a_token),
    "CallNext": (7, _call_next),
    "SetSlotCapacity": (8, _set_slot_capacity),
    "SetDoctorAvailability": (9, _set_doctor_availability),
    "CloseSlot": (10, _close_slot),
}
