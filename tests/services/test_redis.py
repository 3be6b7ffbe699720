import asyncio

import pytest
from redis.exceptions import RedisError

from services.redis import connect_redis
from services.stack.ports import LOOPBACK, free_ports


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
def test_a_redis_that_is_not_there_is_an_error_that_is_waited_out(scheme: str) -> None:
    async def ask() -> None:
        redis = connect_redis(f"{scheme}://{LOOPBACK}:{free_ports(1)[0]}")
        with pytest.raises(RedisError, match="connect"):
            await redis.execute_command("EVALSHA", "0" * 40, 1, "opd{0}")
        await redis.aclose()

    asyncio.run(ask())
