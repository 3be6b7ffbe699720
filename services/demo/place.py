"""Where a demo runs: servers and a state folder of its own, or what it was given, and nothing of others touched."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from allocation_core.store import partition_key
from services.errors import OpdError
from services.history.postgres import LOST
from services.history.schema import drop
from services.redis import is_cluster
from services.settings import Settings
from services.stack.progress import Progress
from services.stack.stack import Stack
from services.stack.system import System, all_services

_log = structlog.stdlib.get_logger(__name__)

ALLOCATORS = 2
PARTITIONS = 4
_SCHEMAS = ("history_schema", "vault_schema", "audit_schema")


class Place:
    """The whole system for one demo.

    Attributes:
        folder: the state folder.
        keep: whether the state outlives the demo; it does after a failure, for a look at it.
    """

    def __init__(  # noqa: PLR0913  what the user may choose
        self,
        run: str,
        *,
        state_dir: Path | None = None,
        keep: bool = False,
        kafka: str | None = None,
        redis: str | None = None,
        redis_server: Path | None = None,
        postgres: str | None = None,
    ) -> None:
        """Nothing is touched yet.

        Args:
            run: a name of this demo alone, for topics and group on a Kafka that others use too.
            state_dir: the state folder, which is kept; a temporary one if left out.
            keep: keep a temporary folder too, and what was written to servers that were given.
            kafka: `host:port` of a running Kafka to use.
            redis: URL of a running Redis to use.
            redis_server: a `redis-server` to start instead of the wheel's Valkey.
            postgres: URL of a running PostgreSQL to use.
        """
        self.folder = state_dir
        self.keep = keep or state_dir is not None
        self._run, self._kafka, self._redis, self._redis_server = run, kafka, redis, redis_server
        self._postgres = postgres

    def check(self) -> None:
        """Look at what was given, before anything is started.

        Raises:
            OpdError: the Redis given does not answer, or is in use.
        """
        if self._redis:
            _refuse_a_used_redis(self._redis)

    @contextmanager
    def system(self, settings: Settings, progress: Progress) -> Iterator[System]:
        """Run the whole system; afterwards leave nothing behind but what is to be kept.

        Raises:
            OpdError: a part cannot be had or does not come up.
        """
        with ExitStack() as cleanup:
            if self._redis:
                cleanup.callback(self._clear_redis, self._redis)
            if self._postgres:
                schemas = {name: f"opd_demo_{self._run}_{name}" for name in _SCHEMAS}
                settings = settings.model_copy(update=schemas)
                cleanup.callback(self._clear_postgres, self._postgres, schemas.values())
            if self._kafka:
                settings = _names_of_its_own(settings, self._run)
                cleanup.callback(self._clear_kafka, self._kafka, settings)
            folder = self.folder = self.folder or Path(tempfile.mkdtemp(prefix="opd-demo-"))
            cleanup.callback(self._clear_folder, folder)
            stack = Stack(
                folder,
                kafka=self._kafka,
                redis=self._redis,
                redis_server=self._redis_server,
                postgres=self._postgres,
                with_postgres=True,
                progress=progress,
            )
            services = all_services(allocators=ALLOCATORS)
            system = System(stack, settings, services, partitions=PARTITIONS, progress=progress)
            try:
                yield cleanup.enter_context(system)
            except OpdError:
                self.keep = self.keep or any(folder.glob("*.log"))
                raise

    def _clear_folder(self, folder: Path) -> None:
        if not self.keep:
            shutil.rmtree(folder, ignore_errors=True)

    def _clear_redis(self, url: str) -> None:
        if self.keep:
            return
        try:
            with _connect(url) as redis:
                for partition in range(PARTITIONS):
                    for key in redis.scan_iter(match=f"{partition_key(partition)}*", count=1000):
                        redis.unlink(key)
        except (RedisError, RedisClusterException) as error:
            _log.warning("the demo's keys are still in Redis", error=str(error))

    def _clear_postgres(self, url: str, schemas: Iterable[str]) -> None:
        if self.keep:
            return
        for schema in schemas:
            try:
                asyncio.run(drop(url, schema))
            except LOST as error:
                _log.warning("the demo's tables are still in PostgreSQL", schema=schema, error=type(error).__name__)

    def _clear_kafka(self, servers: str, settings: Settings) -> None:
        if self.keep:
            return
        try:
            asyncio.run(_delete(servers, settings))
        except KafkaError as error:
            _log.warning("the demo's topics are still in Kafka", commands=settings.commands_topic, error=repr(error))


def _names_of_its_own(settings: Settings, run: str) -> Settings:
    names = ("commands_topic", "events_topic", "dead_letters_topic", "consumer_group")
    return settings.model_copy(update={name: f"opd-demo.{run}.{getattr(settings, name)}" for name in names})


async def _delete(servers: str, settings: Settings) -> None:
    """Delete the topics; Kafka itself forgets a group whose topics are gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    try:
        await admin.start()
        await admin.delete_topics([settings.commands_topic, settings.events_topic, settings.dead_letters_topic])
    finally:
        await admin.close()


def _refuse_a_used_redis(url: str) -> None:
    """An allocator's keys have no name of their own: two systems in one Redis would fence each other."""
    try:
        with _connect(url) as redis:
            used = any(redis.exists(partition_key(partition)) for partition in range(PARTITIONS))
    except (RedisError, RedisClusterException, ValueError) as error:
        raise OpdError(
            f"the Redis of --redis does not answer: {error}\n"
            "try: look whether it runs there, or leave --redis out to have one started"
        ) from error
    if used:
        raise OpdError(
            "the Redis of --redis holds the state of another system, which a demo would disturb\n"
            "try: another database of it (redis://host:port/9), or leave --redis out to have one started"
        )


def _connect(url: str) -> Redis | RedisCluster:
    if is_cluster(url):
        return RedisCluster.from_url(url.replace("+cluster", "", 1))
    return Redis.from_url(url)
