"""The engines that are held to the contract; each test that asks for `make_engine` runs once for each of them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from redis.asyncio import Redis

from allocation_core.model import Model
from allocation_core.store import NOTHING_APPLIED, SlotStore
from tests.conftest import REDIS_SERVER
from tests.core.conformance import Engine
from tests.core.engines import StoreEngine
from tests.core.stored import APPLIED, OWNED, decide, with_store

SERVERS = ["valkey_server", *(["redis_server"] if REDIS_SERVER else [])]


@pytest.fixture(params=["model", *SERVERS])
def make_engine(request: pytest.FixtureRequest) -> Iterator[Callable[[], Engine]]:
    """What gives an engine that has decided nothing yet: the model, or the slot store on a server that is here."""
    if request.param == "model":
        yield Model
        return
    url = request.getfixturevalue(request.param).url
    with ExitStack() as engines:
        yield lambda: engines.enter_context(StoreEngine(url))


@pytest.fixture
def owned(every_redis: str) -> str:
    """A Redis in which the owner of generation 5 has decided up to offset 7."""

    async def begin(store: SlotStore, _redis: Redis) -> None:
        await store.fence(OWNED)
        await decide(store, 3, APPLIED, expected=NOTHING_APPLIED)

    with_store(every_redis, begin)
    return every_redis
