"""What the slot store's scripts refuse, say and leave behind, call by call (spec §4)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

import ormsgpack
import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from allocation_core.digests import department_digest
from allocation_core.loading import Loading
from allocation_core.store import (
    NOTHING_APPLIED,
    HalfWritten,
    Marks,
    OtherVersion,
    Refusal,
    Rewind,
    SlotMoving,
    SlotStore,
    Superseded,
    Unfenced,
    pack_commands,
    record_digest,
)
from allocation_core.stored_state import StoredPartition
from tests.core.stored import (
    APPLIED,
    OWNED,
    PARTITION,
    Ask,
    Interrupted,
    Refused,
    a_batch,
    close,
    decide,
    everything,
    with_store,
    written,
)
from tests.lua_lines import MARK

CALLS: dict[str, Callable[[SlotStore, int, int], Awaitable[Any]]] = {
    "check": lambda store, generation, expected: store.check(generation=generation, expected=expected),
    "decide": lambda store, generation, expected: decide(store, 90, generation=generation, expected=expected, last=90),
    "outcomes": lambda store, generation, expected: store.outcomes(
        {3: close(3)}, generation=generation, expected=expected
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("generation", "expected", "refused"),
    [
        (OWNED + 1, APPLIED, Refused({}, Unfenced, "5")),
        (OWNED, APPLIED, Refused({"generation": None}, Unfenced, "-1")),
        (OWNED - 1, APPLIED, Refused({}, Superseded, "5")),
        (OWNED, APPLIED - 1, Refused({}, Rewind, "7")),
        (OWNED, APPLIED + 1, Refused({}, Rewind, "7")),
        (OWNED, APPLIED, Refused({"applied": None}, Rewind, "-1")),
        (OWNED, APPLIED, Refused({"half": "1"}, HalfWritten, "7")),
        (OWNED, APPLIED, Refused({"half": "1", "applied": None}, HalfWritten, "-1")),
        (OWNED, APPLIED, Refused({"version": "0"}, OtherVersion, "0")),
        # What cannot be read is told before who may read it, and that before where it stands.
        (OWNED + 1, APPLIED, Refused({"version": "0"}, OtherVersion, "0")),
        (OWNED + 1, APPLIED + 1, Refused({"half": "1"}, Unfenced, "5")),
        (OWNED - 1, APPLIED + 1, Refused({"half": "1"}, Superseded, "5")),
        (OWNED, APPLIED + 1, Refused({"half": "1"}, HalfWritten, "7")),
    ],
)
def test_who_asks_for_another_state_than_is_stored_is_refused_and_changes_nothing(
    call: str, generation: int, expected: int, refused: Refused, owned: str
) -> None:
    written(owned, **refused.stored)
    before = everything(owned)

    async def ask(store: SlotStore, _redis: Redis) -> None:
        with pytest.raises(refused.refusal) as raised:
            await CALLS[call](store, generation, expected)
        assert type(raised.value) is refused.refusal
        assert raised.value.found == refused.found

    with_store(owned, ask)
    assert everything(owned) == before


@pytest.mark.parametrize("call", CALLS)
def test_the_owner_is_not_refused(call: str, owned: str) -> None:
    with_store(owned, lambda store, _: CALLS[call](store, OWNED, APPLIED))


def test_an_empty_redis_has_applied_nothing(every_redis: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        assert await StoredPartition(redis, 0).marks() == Marks(NOTHING_APPLIED, b"", half_written=False)
        assert await store.fence(0) == Marks(NOTHING_APPLIED, b"", half_written=False)
        await store.check(generation=0, expected=NOTHING_APPLIED)
        await store.fence(2)
        with pytest.raises(Superseded, match="found 2"):
            await store.fence(1)

    with_store(every_redis, ask)


def test_a_fence_reads_the_marks_and_is_only_ever_raised(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        marks = Marks(APPLIED, b"digest", half_written=False)
        assert await store.fence(OWNED) == marks
        assert await store.fence(OWNED + 5) == marks
        with pytest.raises(Superseded, match="found 10"):
            await store.fence(OWNED + 4)
        await store.check(generation=OWNED + 5, expected=APPLIED)
        written(owned, half="1")
        assert await store.fence(OWNED + 5) == marks._replace(half_written=True)
        assert await StoredPartition(redis, 0).marks() == marks._replace(half_written=True)
        written(owned, version="1")
        with pytest.raises(OtherVersion, match="found 1"):
            await store.fence(OWNED + 6)

    with_store(owned, ask)


def test_partitions_are_each_on_their_own(owned: str) -> None:
    async def ask(store: SlotStore, _redis: Redis) -> None:
        assert await store.fence(1) == Marks(NOTHING_APPLIED, b"", half_written=False)
        await decide(store, 0, expected=NOTHING_APPLIED, generation=1)
        await store.clear(1)

    before = everything(owned)
    with_store(owned, ask, partition=1)
    assert {key: value for key, value in everything(owned).items() if key.startswith(b"opd{0}")} == before


@pytest.mark.parametrize("offsets", [(APPLIED,), (APPLIED + 1, APPLIED + 9)])
def test_a_batch_holds_no_command_that_is_applied_or_behind_its_last(offsets: tuple[int, ...], owned: str) -> None:
    before = everything(owned)

    async def ask(store: SlotStore, _redis: Redis) -> None:
        with pytest.raises(Exception, match="offset outside the batch"):
            await decide(store, *offsets, expected=APPLIED, last=APPLIED + 8)

    with_store(owned, ask)
    assert everything(owned) == before


def longer(packed: bytes) -> bytes:
    return packed + b"\0"


def with_another_head(packed: bytes) -> bytes:
    return ormsgpack.packb([*ormsgpack.unpackb(packed), 0])


def without_its_command(packed: bytes) -> bytes:
    heads = ormsgpack.unpackb(packed)
    return ormsgpack.packb([*heads[:5], 0, *heads[6:]])  # behind the counts, a department: its key, how many commands


@pytest.mark.parametrize(
    ("place", "spoilt", "left_over"),
    [
        (0, with_another_head, "heads"),
        (0, without_its_command, "heads"),
        (1, longer, "numbers"),
        (2, longer, "texts"),
        (3, longer, "digests"),
    ],
)
def test_a_batch_of_which_something_is_left_over_is_not_decided(
    place: int, spoilt: Callable[[bytes], bytes], left_over: str, owned: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever packs otherwise than the script reads is told so before anything is written."""
    packed = list(pack_commands(a_batch(APPLIED + 1)))
    packed[place] = spoilt(packed[place])
    monkeypatch.setattr("allocation_core.store.pack_commands", lambda _: packed)
    before = everything(owned)

    async def ask(store: SlotStore, _redis: Redis) -> None:
        with pytest.raises(ResponseError, match=f"{left_over} left over"):
            await decide(store, APPLIED + 1, expected=APPLIED)

    with_store(owned, ask)
    assert everything(owned) == before


# ------------------------------------------------------------------------------------------------------ what is decided


def test_a_batch_without_commands_moves_the_marks_alone(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        assert dict(await store.decide([], generation=OWNED, expected=7, committed=99, last=9, digest=b"last")) == {}
        assert await StoredPartition(redis, 0).marks() == Marks(9, b"last", half_written=False)
        assert sorted(await store.outcomes({3: close(3)}, generation=OWNED, expected=9)) == [3]

    with_store(owned, ask)


def test_outcomes_of_the_commands_that_are_asked_for_and_of_no_others(owned: str) -> None:
    async def ask(store: SlotStore, _redis: Redis) -> None:
        decided = await decide(store, 8, 9, 12, expected=APPLIED)
        assert len(decided) == 3
        assert list(decided) == [8, 9, 12]
        last = await decide(store, 20, expected=12)
        found = await store.outcomes({offset: close(offset) for offset in (9, 12)}, generation=OWNED, expected=20)
        assert found == {offset: decided[offset] for offset in (9, 12)}
        found = await store.outcomes({offset: close(offset) for offset in (12, 13, 20)}, generation=OWNED, expected=20)
        assert found == {12: decided[12], 20: last[20]}
        assert await store.outcomes({21: close(21)}, generation=OWNED, expected=20) == {}

    with_store(owned, ask)


def test_an_outcome_is_read_of_the_batches_that_hold_it_alone(owned: str) -> None:
    """What an owner that takes over asks for may be little, and what is stored much."""

    async def ask(store: SlotStore, redis: Redis) -> None:
        for offset in (8, 9):
            await decide(store, offset, expected=offset - 1)
        # A batch that cannot be read any more hurts only who needs it.
        await redis.hset(f"{PARTITION}:o", mapping={"7": b"\xc1", "9": b"\xc1"})
        assert sorted(await store.outcomes({8: close(8)}, generation=OWNED, expected=9)) == [8]

    with_store(owned, ask)


def test_what_a_script_that_stopped_in_the_middle_wrote_is_not_built_upon(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        await redis.set(f"{PARTITION}:o", "no hash")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            await decide(store, APPLIED + 1, expected=APPLIED)
        with pytest.raises(HalfWritten, match="found 7"):
            await store.check(generation=OWNED, expected=APPLIED)

    with_store(owned, ask)


# ------------------------------------------------------------------------------------------------------ beginning anew


def test_a_cleared_partition_is_empty_and_still_owned(owned: str) -> None:
    with SyncRedis.from_url(owned) as redis:
        redis.mset({f"{PARTITION}:9:{number}": "x" for number in range(9000)})  # more than one deletion can take
        redis.set("opd{00}:1:p", "another's")

    async def ask(store: SlotStore, redis: Redis) -> None:
        written(owned, half="1", departments="3")
        await store.clear(OWNED)
        await store.check(generation=OWNED, expected=NOTHING_APPLIED)
        assert await store.fence(OWNED) == Marks(NOTHING_APPLIED, b"", half_written=False)
        assert sorted(await redis.keys()) == [b"opd{00}:1:p", b"opd{0}"]
        # No key of before is ever read again: the numbers of departments go on.
        kept = {b"generation": b"5", b"version": b"3", b"half": b"0", b"departments": b"3"}
        assert await redis.hgetall(PARTITION) == kept

    with_store(owned, ask)


def test_a_partition_that_holds_nothing_can_be_cleared(every_redis: str) -> None:
    async def ask(store: SlotStore, _redis: Redis) -> None:
        await store.fence(OWNED)
        await store.clear(OWNED)
        await store.check(generation=OWNED, expected=NOTHING_APPLIED)

    with_store(every_redis, ask)


@pytest.mark.parametrize(("generation", "refusal"), [(OWNED + 1, Unfenced), (OWNED - 1, Superseded)])
def test_only_its_owner_clears_a_partition(generation: int, refusal: type[Refusal], owned: str) -> None:
    before = everything(owned)

    async def ask(store: SlotStore, redis: Redis) -> None:
        with pytest.raises(refusal, match="found 5"):
            await store.clear(generation)
        await redis.flushall()
        with pytest.raises(Unfenced, match="found -1"):
            await store.clear(generation)
        assert not await redis.keys()

    with_store(owned, ask)
    assert before


def test_until_it_is_over_a_clearing_leaves_nothing_to_build_upon(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        async def is_half_written() -> None:
            with pytest.raises(HalfWritten, match="found -1"):
                await decide(store, 0, expected=NOTHING_APPLIED)
            assert (await store.fence(OWNED)).half_written

        await SlotStore(Interrupted(redis, is_half_written), 0).clear(OWNED)
        await decide(store, 0, expected=NOTHING_APPLIED)

    with_store(owned, ask)


def test_a_clearing_that_comes_late_deletes_nothing_that_was_built_since(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        async def another_clears_and_decides() -> None:
            await store.clear(OWNED)
            await decide(store, 0, expected=NOTHING_APPLIED)

        with pytest.raises(HalfWritten, match="found 0"):
            await SlotStore(Interrupted(redis, another_clears_and_decides), 0).clear(OWNED)
        assert sorted(await store.outcomes({0: close(0)}, generation=OWNED, expected=0)) == [0]

    with_store(owned, ask)


def test_a_clearing_that_comes_into_another_one_is_refused(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        async def another_begins() -> None:
            await redis.hset(PARTITION, mapping={"half": "1", "clearing": "another"})

        with pytest.raises(HalfWritten, match="found -1"):
            await SlotStore(Interrupted(redis, another_begins), 0).clear(OWNED)
        assert (await store.fence(OWNED)).half_written

    with_store(owned, ask)


# --------------------------------------------------------------------------------------------------- what operators say


def test_an_operator_marks_a_state_as_not_to_be_built_upon(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        stored = StoredPartition(redis, 0)
        assert await stored.mark_for_rebuild() == APPLIED
        with pytest.raises(HalfWritten):
            await store.check(generation=OWNED, expected=APPLIED)
        written(owned, version="4")
        with pytest.raises(OtherVersion, match="found 4"):
            await stored.mark_for_rebuild()
        with pytest.raises(OtherVersion, match="found 4"):
            await stored.forget_generation()
        written(owned, applied=None)
        with pytest.raises(OtherVersion, match="found 4"):
            await stored.mark_for_rebuild()

    with_store(owned, ask)


def test_an_operator_lets_a_group_that_began_anew_own_a_partition(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        stored = StoredPartition(redis, 0)
        assert await stored.forget_generation() == APPLIED
        assert await stored.forget_generation() is None
        with pytest.raises(Unfenced, match="found -1"):
            await store.check(generation=OWNED, expected=APPLIED)
        assert await stored.mark_for_rebuild() == APPLIED
        assert await store.fence(1) == Marks(APPLIED, b"digest", half_written=True)

    with_store(owned, ask)


def test_of_an_empty_partition_an_operator_changes_nothing(every_redis: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        stored = StoredPartition(redis, 0)
        assert await stored.mark_for_rebuild() is None
        assert await stored.forget_generation() is None
        assert not await redis.keys()
        await store.fence(2)
        assert await stored.mark_for_rebuild() is None
        assert await stored.forget_generation() == NOTHING_APPLIED

    with_store(every_redis, ask)


def test_a_department_that_is_not_there_is_read_as_none(owned: str) -> None:
    async def ask(_store: SlotStore, redis: Redis) -> None:
        stored = StoredPartition(redis, 0)
        assert [name async for name in stored.departments()] == [department_digest("h/d").hex()]
        found = await stored.read("h/e")
        assert found == (Marks(APPLIED, b"digest", half_written=False), 1, None, [])
        written(owned, half="1")
        assert (await stored.read("h/d")).marks == Marks(APPLIED, b"digest", half_written=True)
        written(owned, version="0")
        with pytest.raises(OtherVersion, match="found 0"):
            await stored.read("h/d")
        await redis.flushall()
        assert await stored.read("h/d") == (Marks(NOTHING_APPLIED, b"", half_written=False), 0, None, [])

    with_store(owned, ask)


def test_each_department_is_named_once_however_many_there_are(every_redis: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        await store.fence(OWNED)
        batch = [command for number in range(2001) for command in a_batch(number, department=f"d{number}")]
        await store.decide(batch, generation=OWNED, expected=-1, committed=0, last=2000, digest=b"")
        names = [name async for name in StoredPartition(redis, 0).departments()]
        assert sorted(names) == sorted(department_digest(f"h/d{number}").hex() for number in range(2001))

    with_store(every_redis, ask)


def test_a_department_that_is_moved_while_names_are_read_is_named_once() -> None:
    """Redis gives a field of a growing hash twice now and then; whoever registers a doctor goes from :v to :d."""

    d, e, f = map(department_digest, ("h/d", "h/e", "h/f"))

    class Growing:
        replies: ClassVar = {
            "opd{0}:v": [[b"7", [d, e]], [b"0", [e, f]]],
            "opd{0}:d": [[b"0", [b"h/f", b"h/g"]]],
        }

        async def execute_command(self, _word: str, key: str, *_: Any) -> Any:
            return self.replies[key].pop(0)

        def scan_iter(self, match: str, count: int) -> Any:
            raise NotImplementedError  # departments are found without looking through keys

    async def names() -> list[str]:
        return [name async for name in StoredPartition(Growing(), 0).departments()]

    assert asyncio.run(names()) == [d.hex(), e.hex(), f.hex(), "h/g"]


@pytest.mark.parametrize(
    "call",
    [
        lambda store, _: store.fence(OWNED + 1),
        lambda store, _: store.clear(OWNED),
        lambda store, _: store.check(generation=OWNED, expected=APPLIED),
        lambda store, _: decide(store, APPLIED + 1, expected=APPLIED),
        lambda _, redis: Loading(redis, 0, offset=APPLIED + 1).load([], b"saved"),
        lambda _, redis: StoredPartition(redis, 0).read("h/d"),
        lambda _, redis: StoredPartition(redis, 0).mark_for_rebuild(),
    ],
    ids=["fence", "clear", "check", "decide", "load", "read", "mark"],
)
def test_a_script_that_cannot_reach_all_keys_changes_nothing(call: Ask, owned: str) -> None:
    """As while a cluster moves a slot key by key; here it is a user who may name the partition's first key alone."""
    before = everything(owned)
    with SyncRedis.from_url(owned) as redis:
        redis.execute_command("ACL", "SETUSER", "half", "on", "nopass", f"~{PARTITION}", f"~{MARK}", "+@all")
        try:
            with pytest.raises(SlotMoving):
                with_store(owned.replace("://", "://half:any@"), call)
        finally:
            redis.execute_command("ACL", "DELUSER", "half")
    assert everything(owned) == before


def test_a_redis_that_forgot_the_scripts_is_given_them_again(owned: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        await redis.script_flush()
        await decide(store, APPLIED + 1, expected=APPLIED)
        await redis.script_flush()
        assert (await store.fence(OWNED)).applied == APPLIED + 1

    with_store(owned, ask)


def test_a_record_s_digest_is_the_one_that_other_versions_stored() -> None:
    assert record_digest(b"k", b"v") == b"daaf62ccb12016b645e06a7a2760080b"


def test_a_record_s_digest_tells_key_from_value() -> None:
    records = [(None, None), (b"a", None), (None, b"a"), (b"a", b"b"), (b"ab", b""), (b"", b"ab"), (b"b", b"a")]
    assert len({record_digest(key, value) for key, value in records}) == len(records)
    assert record_digest(b"a", b"b") == record_digest(b"a", b"b")
    assert record_digest(None, None) == record_digest(b"", b"")
