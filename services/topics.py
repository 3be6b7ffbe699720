"""The topics of the contract in Kafka: made if missing, checked if there (`opd topics`)."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from ssl import SSLCertVerificationError
from typing import Annotated

import structlog
import typer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError, SaslAuthenticationFailed, TopicAlreadyExistsError, for_code

from schemas import topics as contract
from services.errors import OpdError
from services.kafka import kafka_client
from services.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

DEFAULT_PARTITIONS = 4
# A record that is acknowledged stands on so many brokers, where there are as many copies as to lose one.
REPLICAS_TO_SPARE = 3
MIN_INSYNC_REPLICAS = 2
EVENTS_MESSAGE_BYTES = 1_000_000  # what Kafka's own default takes, and a little more than the allocator's batches
DEAD_LETTER_HEADERS_BYTES = 4096


class TopicError(OpdError):
    """{topic}: what keeps the engine from working with it, and what to do."""


@dataclass(frozen=True)
class TopicState:
    """One topic as it is in Kafka.

    Attributes:
        name: its name.
        partitions: how many it has.
        created: whether this call made it.
        notes: what is allowed but worth knowing.
    """

    name: str
    partitions: int
    created: bool = False
    notes: tuple[str, ...] = ()


async def ensure_topics(
    settings: Settings, *, partitions: int | None = None, replication_factor: int = 1, timeout_s: float = 30
) -> list[TopicState]:
    """Create the topics that are missing, then check all three.

    Args:
        settings: where Kafka is and what the topics are called.
        partitions: how many each must have; None takes over what those there have, else `DEFAULT_PARTITIONS`.
        replication_factor: of the topics created.
        timeout_s: how long to wait for Kafka.

    Raises:
        TopicError: Kafka cannot be reached, refuses, or has a topic that does not fit.
    """
    async with _admin(settings, timeout_s) as admin:
        found = await _partition_counts(admin, settings)
        count = partitions or next(iter(found.values()), DEFAULT_PARTITIONS)
        created = [name for name in _by_name(settings) if name not in found]
        if created:
            _refuse_misfits(found, count)
            await _create(admin, settings, created, count, replication_factor)
            await _wait_for_leaders(admin, settings, timeout_s)
        return await _checked(admin, settings, created=created, partitions=partitions)


async def check_topics(settings: Settings, *, timeout_s: float = 30) -> list[TopicState]:
    """Check that all three topics are there and fit; commands, events, dead letters, in this order.

    Raises:
        TopicError: Kafka cannot be reached within `timeout_s`, a topic is missing or does not fit.
    """
    async with _admin(settings, timeout_s) as admin:
        return await _checked(admin, settings)


def topics(
    settings: Settings,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help=f"What each topic must have; if left out: what is there, else {DEFAULT_PARTITIONS}."),
    ] = None,
    replication_factor: Annotated[int, typer.Option(min=1, help="Of the topics created.")] = 1,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait for Kafka.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Create the topics that are missing and check those that are there."""
    states = asyncio.run(
        ensure_topics(settings, partitions=partitions, replication_factor=replication_factor, timeout_s=timeout)
    )
    if as_json:
        typer.echo(json.dumps({"topics": [asdict(state) for state in states]}))
        return
    for state in states:
        done = "created" if state.created else "fits"
        typer.echo(f"{state.name}: {done}, {state.partitions} partitions")
        for note in state.notes:
            typer.echo(f"  note: {note}")


@asynccontextmanager
async def _admin(settings: Settings, timeout_s: float) -> AsyncIterator[AIOKafkaAdminClient]:
    servers = settings.kafka_bootstrap_servers
    await _wait_for_kafka(settings, timeout_s)
    admin = AIOKafkaAdminClient(**kafka_client(settings))
    try:
        await admin.start()
        yield admin
    except (KafkaError, TimeoutError) as error:
        raise TopicError(f"the Kafka at {servers} failed: {error!r}\ntry: again, or look into its log") from error
    finally:
        await admin.close()


async def _wait_for_kafka(settings: Settings, timeout_s: float) -> None:
    """Until a server lets us in; aiokafka itself would log an error for each that does not, and not say why."""
    servers = settings.kafka_bootstrap_servers
    deadline = time.monotonic() + timeout_s
    said = False
    while True:
        for server in servers.split(","):
            try:
                async with asyncio.timeout(max(1, deadline - time.monotonic())):
                    await _connect(settings, server)
            except (SSLCertVerificationError, SaslAuthenticationFailed) as error:
                raise TopicError(
                    f"the Kafka at {server} and we do not trust each other: {error}\n"
                    "try: OPD_KAFKA_CA_FILE with who signed its certificate, OPD_KAFKA_USERNAME and its password"
                ) from error
            except (OSError, ValueError, KafkaError) as error:
                last = error
            else:
                return
        if time.monotonic() >= deadline:
            raise TopicError(
                f"no Kafka at {servers} within {timeout_s:g} s: {last}\n"
                "try: look whether it runs, or set OPD_KAFKA_BOOTSTRAP_SERVERS to where it does"
            )
        if not said:
            said = True
            _log.info("waiting for Kafka", at=servers, timeout_s=timeout_s)
        await asyncio.sleep(0.2)


async def _connect(settings: Settings, server: str) -> None:
    host, _, port = server.strip().rpartition(":")
    security = kafka_client(settings)
    del security["bootstrap_servers"]
    connection = await create_conn(host.strip("[]"), int(port), **security)
    connection.close()


def _by_name(settings: Settings) -> dict[str, contract.Topic]:
    names = [settings.commands_topic, settings.events_topic, settings.dead_letters_topic]
    if len(set(names)) < len(names):
        raise TopicError(f"two of the topics have one name: {', '.join(names)}\ntry: other OPD_…_TOPIC settings")
    return dict(zip(names, contract.TOPICS, strict=True))


async def _partition_counts(admin: AIOKafkaAdminClient, settings: Settings) -> dict[str, int]:
    # All topics are asked for: to ask for one by name makes it, on a Kafka that creates topics by itself.
    there = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
    return {name: there[name] for name in _by_name(settings) if name in there}


async def _copies(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """How many brokers keep each topic's least kept partition."""
    there = await admin.describe_topics()
    return {topic["topic"]: min(len(partition["replicas"]) for partition in topic["partitions"]) for topic in there}


async def _create(
    admin: AIOKafkaAdminClient, settings: Settings, names: Sequence[str], partitions: int, replication_factor: int
) -> None:
    by_name = _by_name(settings)
    safe = {"min.insync.replicas": str(MIN_INSYNC_REPLICAS)} if replication_factor >= REPLICAS_TO_SPARE else {}
    new = [NewTopic(name, partitions, replication_factor, topic_configs=by_name[name].config | safe) for name in names]
    answer = await admin.create_topics(new)
    for name, code, message in answer.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise TopicError(f"{name} cannot be created: {for_code(code).__name__}: {message}\ntry: what Kafka says")


async def _wait_for_leaders(admin: AIOKafkaAdminClient, settings: Settings, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    names = _by_name(settings).keys()
    while True:
        there = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
        if all(there.get(name) and all(p["leader"] >= 0 for p in there[name]) for name in names):
            return
        if time.monotonic() > deadline:
            raise TopicError(f"the new topics have no leaders after {timeout_s:g} s\ntry: look into Kafka's log")
        await asyncio.sleep(0.05)


async def _checked(
    admin: AIOKafkaAdminClient, settings: Settings, *, created: Sequence[str] = (), partitions: int | None = None
) -> list[TopicState]:
    found = await _partition_counts(admin, settings)
    if missing := _by_name(settings).keys() - found.keys():
        raise TopicError(f"missing in Kafka: {', '.join(sorted(missing))}\ntry: opd topics, which creates them")
    _refuse_misfits(found, partitions or found[settings.commands_topic])
    configs = await _configs(admin, list(found))
    for name in (settings.commands_topic, settings.events_topic):
        _refuse_loss(name, configs[name])
    _refuse_small_events(settings.events_topic, configs[settings.events_topic])
    copies = await _copies(admin)
    notes = {name: loss_notes(name, configs[name], copies[name]) for name in found}
    notes[settings.commands_topic] += _timestamp_notes(configs[settings.commands_topic])
    notes[settings.dead_letters_topic] += _size_notes(settings.dead_letters_topic, configs[settings.dead_letters_topic])
    return [TopicState(name, count, name in created, notes[name]) for name, count in found.items()]


def _refuse_misfits(found: Mapping[str, int], partitions: int) -> None:
    """Events and dead letters of partition p are those of the commands of partition p."""
    wrong = [f"{name} has {count}" for name, count in found.items() if count != partitions]
    if wrong:
        raise TopicError(
            f"the topics must have {partitions} partitions each: {', '.join(wrong)}\n"
            "try: other names (OPD_COMMANDS_TOPIC, OPD_EVENTS_TOPIC, OPD_DEAD_LETTERS_TOPIC), or delete the wrong one "
            "if it is empty; never add partitions to one in use: departments would change theirs"
        )


def _refuse_loss(name: str, config: Mapping[str, str]) -> None:
    """The log is the truth (spec §4): nothing of it may go."""
    wanted = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
    wrong = [f"{key}={config[key]}" for key, value in wanted.items() if config[key] != value]
    if wrong:
        mended = ",".join(f"{key}={value}" for key, value in wanted.items())
        raise TopicError(f"{name} may lose records: {', '.join(wrong)}\ntry: {_altered(name, mended)}")


def _refuse_small_events(name: str, config: Mapping[str, str]) -> None:
    largest, wanted = int(config["max.message.bytes"]), contract.EVENTS.config["max.message.bytes"]
    if largest < EVENTS_MESSAGE_BYTES:
        raise TopicError(
            f"{name} takes {largest} bytes at once: events come in batches of up to {EVENTS_MESSAGE_BYTES}\n"
            f"try: {_altered(name, f'max.message.bytes={wanted}')}"
        )


def loss_notes(name: str, config: Mapping[str, str], copies: int) -> tuple[str, ...]:
    """Give what may be lost with one broker, though others could have it."""
    if copies < REPLICAS_TO_SPARE or int(config["min.insync.replicas"]) >= MIN_INSYNC_REPLICAS:
        return ()
    mended = _altered(name, f"min.insync.replicas={MIN_INSYNC_REPLICAS}")
    return (f"what is acknowledged may stand on one of its {copies} brokers alone; try: {mended}",)


def _size_notes(name: str, config: Mapping[str, str]) -> tuple[str, ...]:
    """What is read of the commands topic must fit here, with the headers that say why it is here."""
    if int(config["max.message.bytes"]) >= contract.MAX_BATCH_BYTES + DEAD_LETTER_HEADERS_BYTES:
        return ()
    wanted = contract.DEAD_LETTERS.config["max.message.bytes"]
    mended = _altered(name, f"max.message.bytes={wanted}")
    return (f"a large unreadable record would not fit, and its partition would wait until it does; try: {mended}",)


def _altered(name: str, settings: str) -> str:
    return f"kafka-configs.sh --alter --topic {name} --add-config {settings}"


def _timestamp_notes(config: Mapping[str, str]) -> tuple[str, ...]:
    if config["message.timestamp.type"] == "LogAppendTime":
        return ()
    return ("message.timestamp.type is not LogAppendTime: a sender can lie about the time of its commands",)


async def _configs(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    found = {}
    for answer in await admin.describe_configs(resources):
        for code, message, _, name, entries in answer.resources:
            if code:
                raise TopicError(f"the settings of {name} cannot be read: {message}\ntry: what Kafka says")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found
