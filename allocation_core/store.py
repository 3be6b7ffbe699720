"""The slot store: decisions in Redis, one script call a batch of a partition (spec §3, §4).

The twin of `allocation_core.model`: the same guards in the same order, the same words. What is here packs commands
into arguments and calls the scripts of `lua/`; what is decided stands there.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from secrets import token_hex
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
        packed, digests = pack_commands(commands)
        reply = await self._call(_DECIDE_BATCH, generation, expected, committed, last, digest, packed, digests)
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


def pack_commands(commands: Sequence[BatchedCommand]) -> tuple[bytes, bytes]:
    """Give the script's two arguments for a batch: the commands, department by department, and their digests."""
    departments: defaultdict[bytes, list[BatchedCommand]] = defaultdict(list)
    for each in commands:
        departments[each.key].append(each)
    words: list[str | int] = [len(departments)]
    digests: list[bytes] = []
    for key, own in departments.items():
        words += (key.decode(), len(own))
        for each in own:
            command = each.command
            name = type(command).__name__
            words += (name, each.offset, each.timestamp_ms // DAY_MS)
            words += _PACKERS[name](command.data)
            digests += (sender_digest(command), content_digest(command))
    return ormsgpack.packb(words), b"".join(digests)


# Each gives the type's own arguments.
_Words = tuple[str | int, ...]
_PRIORITIES: dict[str, int] = {source: source.priority for source in Source}


@lru_cache(maxsize=4096)
def _pool(date: str, slot: str) -> tuple[int, str]:
    day = day_of_date(date)
    return day, f"{slot} {day}"


def _pack_register_doctor(data: Any) -> _Words:
    return data.doctor_id, "".join(_weeks(data.schedule))


def _weeks(schedule: Sequence[ScheduleEntry]) -> list[str]:
    numbers = {weekday: number for number, weekday in enumerate(Weekday)}
    return [
        f"{entry.slot} {numbers[weekday]} {entry.capacity};"
        for entry in schedule
        for weekday in entry.weekdays or Weekday
    ]


def _pack_request_token(data: Any) -> _Words:
    day, pool = _pool(data.date, data.slot)
    return day, pool, _PRIORITIES[data.source], data.patient_id, data.doctor_id or ""


def _pack_of_a_token(data: Any) -> _Words:
    named = read_token_id(data.token_id, data.facility_id, data.department_id)
    return (named[0], str(named[1])) if named else (-1, "")


def _pack_call_next(data: Any) -> _Words:
    return *_pool(data.date, data.slot), data.doctor_id


def _pack_set_slot_capacity(data: Any) -> _Words:
    return *_pool(data.date, data.slot), data.doctor_id, data.capacity


def _pack_set_doctor_availability(data: Any) -> _Words:
    return day_of_date(data.date), data.slot or "", data.doctor_id, int(data.available)


def _pack_close_slot(data: Any) -> _Words:
    return _pool(data.date, data.slot)


_PACKERS: dict[str, Callable[[Any], _Words]] = {
    "RegisterDoctor": _pack_register_doctor,
    "RequestToken": _pack_request_token,
    "CancelToken": _pack_of_a_token,
    "MarkNoShow": _pack_of_a_token,
    "CheckIn": _pack_of_a_token,
    "CompleteConsultation": _pack_of_a_token,
    "CallNext": _pack_call_next,
    "SetSlotCapacity": _pack_set_slot_capacity,
    "SetDoctorAvailability": _pack_set_doctor_availability,
    "CloseSlot": _pack_close_slot,
}
