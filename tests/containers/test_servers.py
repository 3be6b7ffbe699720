"""Servers that somebody else runs (`OPD_TEST_SERVERS=external`): flushed only if they were empty, never killed."""

from pathlib import Path

import pytest
from redis import Redis

from tests import servers


def test_a_given_redis_is_flushed_only_if_nothing_was_in_it(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "KIND", "external")
    monkeypatch.setenv("OPD_TEST_REDIS", redis_url)
    with Redis.from_url(redis_url) as client:
        client.set("somebody's", "own")
        with pytest.raises(pytest.UsageError, match="not empty"), servers.running(servers.redis(tmp_path)):
            pass
        assert client.get("somebody's") == b"own"
        client.delete("somebody's")
        with servers.running(servers.redis(tmp_path)) as given:
            assert given.url == redis_url
            client.set("a test's", "own")
            with pytest.raises(pytest.skip.Exception, match="not ours to kill"):
                given.kill()
        assert client.dbsize() == 0
