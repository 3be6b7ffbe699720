"""A saved state takes the place of an older one, or is refused and leaves everything as it was (spec §4)."""

from typing import Any

import pytest
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from allocation_core.digests import department_digest
from allocation_core.loading import Loading
from allocation_core.state import CommandState, DepartmentState, TokenState
from allocation_core.store import Marks, OtherVersion, Rewind, SlotStore, Superseded, Unfenced
from allocation_core.stored_state import StoredPartition
from schemas.words import Source, Status
from tests.core.stored import (
    APPLIED,
    OWNED,
    PARTITION,
    Interrupted,
    Refused,
    close,
    decide,
    everything,
    with_store,
    written,
)


def a_saved_state(department: str = "s", *doctors: str) -> DepartmentState:
    """A department with a doctor has keys under a number of its own, one without is a short record."""
    remembered = {b"s" * 16: CommandState(b"c" * 16, 20_780, None)}
    return DepartmentState(
        f"h/{department}",
        day=20_780,
        sequence=4,
        doctors=[(doctor, {("09:00-10:00", 0): 3}) for doctor in doctors],
        commands=remembered,
    )


def a_department_with_keys(owned: str) -> None:
    """Let number 1 be in use, with more keys than one call can free."""
    written(owned, departments="1")
    with SyncRedis.from_url(owned) as redis:
        redis.mset({f"{PARTITION}:1:{number}": "x" for number in range(9000)})


@pytest.mark.parametrize(
    ("offset", "generation", "refused"),
    [
        (9, OWNED + 1, Refused({}, Unfenced, "5")),
        (9, OWNED - 1, Refused({}, Superseded, "5")),
        (9, OWNED, Refused({"generation": None}, Unfenced, "-1")),
        (9, OWNED, Refused({"version": "0"}, OtherVersion, "0")),
        (9, None, Refused({"version": "0", "generation": None}, OtherVersion, "0")),
        (APPLIED, OWNED, Refused({}, Rewind, "7")),
        (APPLIED, None, Refused({}, Rewind, "7")),
        (9, None, Refused({"clearing": "somebody's"}, Rewind, "7")),
        (9, None, Refused({"clearing": "somebody's", "half": "1", "applied": None}, Rewind, "-1")),
    ],
)
def test_a_loading_is_refused_where_it_does_not_belong(
    offset: int, generation: int | None, refused: Refused, owned: str
) -> None:
    written(owned, **refused.stored)
    before = everything(owned)

    async def ask(_store: SlotStore, redis: Redis) -> None:
        with pytest.raises(refused.refusal) as raised:
            await Loading(redis, 0, offset=offset, generation=generation).load([a_saved_state()], b"saved")
        assert type(raised.value) is refused.refusal
        assert raised.value.found == refused.found

    with_store(owned, ask)
    assert everything(owned) == before


@pytest.mark.parametrize("generation", [None, OWNED])
def test_a_loaded_state_takes_the_place_of_the_one_before(generation: int | None, owned: str) -> None:
    a_department_with_keys(owned)

    async def ask(store: SlotStore, redis: Redis) -> None:
        loading = Loading(redis, 0, offset=APPLIED + 1, generation=generation)
        await loading.load([a_saved_state("s"), a_saved_state("t", "one"), a_saved_state("u", "two")], b"saved")
        stored = StoredPartition(redis, 0)
        assert await stored.marks() == Marks(APPLIED + 1, b"saved", half_written=False)
        names = {name async for name in stored.departments()}
        assert names == {department_digest("h/s").hex(), "h/t", "h/u"}
        for saved in (a_saved_state("s"), a_saved_state("t", "one"), a_saved_state("u", "two")):
            found = await stored.read(saved.name, indexes=True)
            assert (found.state, found.faults) == (saved, [])
        # Nothing is left of what was there: no key, no outcome.
        assert {key.split(b":")[1] for key in everything(owned) if b":" in key} == {b"v", b"d", b"2", b"3"}
        assert await store.outcomes({3: close(3)}, generation=OWNED, expected=APPLIED + 1) == {}
        await decide(store, APPLIED + 2, expected=APPLIED + 1)

    with_store(owned, ask)


def test_what_contradicts_the_rest_is_told_to_who_asks_for_it(owned: str) -> None:
    async def ask(_store: SlotStore, redis: Redis) -> None:
        await Loading(redis, 0, offset=APPLIED + 1).load([a_saved_state("s", "one")], b"saved")
        await redis.delete(f"{PARTITION}:1:s")
        stored = StoredPartition(redis, 0)
        assert len((await stored.read("h/s", indexes=True)).faults) == 1
        assert (await stored.read("h/s", indexes=False)).faults == []

    with_store(owned, ask)


def test_each_line_of_a_pool_is_loaded_and_read(owned: str) -> None:
    def token(no: int, status: Status, **of: Any) -> TokenState:
        others = {"doctor_id": None, "pin": None, "present": False, "times_preempted": 0, "arrival": no}
        return TokenState("09:00-10:00", f"p{no}", Source.PAID, status, **{**others, **of})

    saved = a_saved_state("s", "one", "two")
    saved.arrivals, saved.token_nos = 4, {20_780: 4}
    saved.tokens = {
        (20_780, 1): token(1, Status.CONFIRMED, doctor_id="one"),
        (20_780, 2): token(2, Status.CHECKED_IN, doctor_id="two", present=True),
        (20_780, 3): token(3, Status.WAITLISTED),
        (20_780, 4): token(4, Status.WAITLISTED, pin="one"),
    }

    async def ask(_store: SlotStore, redis: Redis) -> None:
        stored = StoredPartition(redis, 0)
        for offset, line in enumerate(("w", "w1", "c1", "i2"), start=APPLIED + 1):
            await Loading(redis, 0, offset=offset).load([saved], b"saved")
            found = await stored.read("h/s", indexes=True)
            assert (found.state, found.faults) == (saved, [])
            assert [await redis.delete(key) async for key in redis.scan_iter(f"*20780:{line}")] == [1]
            faults = (await stored.read("h/s", indexes=True)).faults
            assert faults == [f"index lines of 2026-11-23 09:00-10:00 {line} contradicts the tokens and doctors"]
            assert (await stored.read("h/s", indexes=False)).faults == []

    with_store(owned, ask)


def test_a_large_department_is_loaded_in_several_calls(owned: str) -> None:
    saved = a_saved_state("s", "one")
    saved.commands = {number.to_bytes(16, "big"): CommandState(b"c" * 16, 20_780, None) for number in range(2500)}

    async def ask(_store: SlotStore, redis: Redis) -> None:
        await Loading(redis, 0, offset=APPLIED + 1).load([saved], b"saved")
        found = await StoredPartition(redis, 0).read("h/s", indexes=True)
        assert (found.state, found.faults) == (saved, [])

    with_store(owned, ask)


def test_a_state_that_stands_nowhere_may_be_replaced_by_an_older_one(owned: str) -> None:
    written(owned, half="1")

    async def ask(store: SlotStore, redis: Redis) -> None:
        await Loading(redis, 0, offset=2).load([], b"saved")
        assert await store.fence(OWNED) == Marks(2, b"saved", half_written=False)
        assert [name async for name in StoredPartition(redis, 0).departments()] == []

    with_store(owned, ask)


def test_an_empty_redis_takes_a_saved_state(every_redis: str) -> None:
    async def ask(store: SlotStore, redis: Redis) -> None:
        await Loading(redis, 0, offset=APPLIED).load([a_saved_state("s", "one")], b"saved")
        assert await store.fence(OWNED) == Marks(APPLIED, b"saved", half_written=False)
        found = await StoredPartition(redis, 0).read("h/s", indexes=True)
        assert (found.state, found.faults) == (a_saved_state("s", "one"), [])

    with_store(every_redis, ask)


def test_a_loading_that_comes_late_frees_nothing_that_was_loaded_since(owned: str) -> None:
    a_department_with_keys(owned)

    async def ask(_store: SlotStore, redis: Redis) -> None:
        async def another_is_loaded() -> None:
            await Loading(redis, 0, offset=APPLIED + 2).load([a_saved_state("t", "one")], b"newer")

        late = Loading(Interrupted(redis, another_is_loaded), 0, offset=APPLIED + 1)
        with pytest.raises(Rewind, match="found 9"):
            await late.load([a_saved_state("s", "one")], b"older")
        found = await StoredPartition(redis, 0).read("h/t", indexes=True)
        assert (found.state, found.faults) == (a_saved_state("t", "one"), [])

    with_store(owned, ask)


def test_of_two_loadings_of_one_offset_the_later_one_alone_goes_on(owned: str) -> None:
    async def ask(_store: SlotStore, redis: Redis) -> None:
        one, other = (Loading(redis, 0, offset=APPLIED + 1) for _ in range(2))
        await one._call("begin")
        await other._call("begin")
        with pytest.raises(Rewind, match="found 7"):
            await one._call("end", b"saved")
        await other._call("end", b"saved")

    with_store(owned, ask)
