"""The embedded servers."""

from redis import Redis

from services.settings import Settings
from services.stack import KafkaServer, ValkeyServer
from services.stack.probes import probe_kafka, probe_redis


def test_a_server_that_was_killed_comes_back_on_its_port_with_what_it_had(
    valkey_server: ValkeyServer, settings: Settings
) -> None:
    with Redis.from_url(settings.redis_url) as redis:
        redis.set("key", "value")
        redis.execute_command("WAITAOF", 1, 0, 5000)
        valkey_server.kill()
        assert not valkey_server.process.running
        valkey_server.start()
        assert redis.get("key") == b"value"


def test_both_answer_their_probes(kafka_server: KafkaServer, every_redis: str) -> None:
    probe_kafka(kafka_server.address)
    probe_redis(every_redis)
