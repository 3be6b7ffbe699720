"""Topics in a real Kafka: made, taken over, refused."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from schemas import topics as contract
from services.settings import Settings
from services.stack.ports import free_ports
from services.topics import TopicError, TopicState, check_topics, ensure_topics, loss_notes
from tests.console import opd
from tests.waiting import until

FITTING = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}


def ensure(settings: Settings, **options: Any) -> list[TopicState]:
    return asyncio.run(ensure_topics(settings, **options))


def check(settings: Settings) -> list[TopicState]:
    return asyncio.run(check_topics(settings))


def make(settings: Settings, name: str, partitions: int, config: dict[str, str]) -> None:
    topic = NewTopic(name, partitions, 1, topic_configs=config)
    asyncio.run(_asked(settings, lambda admin: admin.create_topics([topic])))
    # Kafka says that it is made a moment before it lists it.
    until(lambda: name in asyncio.run(_asked(settings, AIOKafkaAdminClient.list_topics)), f"{name} is listed")


async def _asked(settings: Settings, ask: Callable[[AIOKafkaAdminClient], Awaitable[Any]]) -> Any:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        return await ask(admin)
    finally:
        await admin.close()


def names(settings: Settings) -> list[str]:
    return [settings.commands_topic, settings.events_topic, settings.dead_letters_topic]


def test_missing_topics_are_created_as_the_contract_says(settings: Settings) -> None:
    created = ensure(settings)
    assert created == [TopicState(name, partitions=4, created=True) for name in names(settings)]
    assert check(settings) == [TopicState(name, partitions=4) for name in names(settings)]


def test_a_second_time_nothing_is_created(settings: Settings) -> None:
    ensure(settings, partitions=2)
    assert ensure(settings, partitions=2) == [TopicState(name, partitions=2) for name in names(settings)]


def test_those_that_are_there_decide_how_many_partitions_the_missing_ones_get(settings: Settings) -> None:
    make(settings, settings.commands_topic, 3, contract.COMMANDS.config)
    assert [(topic.partitions, topic.created) for topic in ensure(settings)] == [(3, False), (3, True), (3, True)]


def test_a_missing_topic_is_named(settings: Settings) -> None:
    make(settings, settings.commands_topic, 1, contract.COMMANDS.config)
    make(settings, settings.events_topic, 1, contract.EVENTS.config)
    with pytest.raises(TopicError, match=f"missing in Kafka: {settings.dead_letters_topic}\ntry: opd topics"):
        check(settings)


def test_partition_counts_that_differ_are_refused_and_nothing_is_created(settings: Settings) -> None:
    make(settings, settings.commands_topic, 2, contract.COMMANDS.config)
    make(settings, settings.events_topic, 3, contract.EVENTS.config)
    with pytest.raises(TopicError, match=f"must have 2 partitions each: {settings.events_topic} has 3"):
        ensure(settings)
    with pytest.raises(TopicError, match=f"missing in Kafka: {settings.dead_letters_topic}"):
        check(settings)


def test_another_number_than_the_one_asked_for_is_refused(settings: Settings) -> None:
    ensure(settings, partitions=2)
    with pytest.raises(TopicError, match=f"must have 8 partitions each: {settings.commands_topic} has 2"):
        ensure(settings, partitions=8)


@pytest.mark.parametrize(
    "loss", [{"cleanup.policy": "compact"}, {"retention.ms": "604800000"}, {"retention.bytes": "1000000"}]
)
@pytest.mark.parametrize("which", ["commands_topic", "events_topic"])
def test_a_log_that_may_lose_records_is_refused(settings: Settings, which: str, loss: dict[str, str]) -> None:
    name = getattr(settings, which)
    make(settings, name, 4, FITTING | loss)
    ((key, value),) = loss.items()
    with pytest.raises(TopicError, match=f"{name} may lose records: {key}={value}\ntry: kafka-configs"):
        ensure(settings)


def test_a_senders_own_timestamps_are_noted_but_accepted(settings: Settings) -> None:
    make(settings, settings.commands_topic, 4, FITTING)
    commands, events, dead_letters = ensure(settings)
    assert "LogAppendTime" in commands.notes[0]
    assert not events.notes
    assert not dead_letters.notes


def test_dead_letters_that_may_not_fit_are_noted_with_the_size_that_does(settings: Settings) -> None:
    make(settings, settings.commands_topic, 4, contract.COMMANDS.config)
    make(settings, settings.dead_letters_topic, 4, contract.DEAD_LETTERS.config | {"max.message.bytes": "2097152"})
    _, _, dead_letters = ensure(settings)
    [note] = dead_letters.notes
    assert f"--topic {settings.dead_letters_topic} --add-config max.message.bytes=17825792" in note
    assert [topic.notes for topic in check(settings)] == [(), (), (note,)]


def test_an_events_topic_that_takes_no_batch_is_refused(settings: Settings) -> None:
    make(settings, settings.events_topic, 4, FITTING | {"max.message.bytes": "500000"})
    with pytest.raises(TopicError, match=f"{settings.events_topic} takes 500000 bytes at once.*\ntry: kafka-configs"):
        ensure(settings)


def test_two_topics_of_one_name_are_refused(settings: Settings) -> None:
    same = settings.model_copy(update={"events_topic": settings.commands_topic})
    with pytest.raises(TopicError, match="two of the topics have one name"):
        ensure(same)


def test_more_replicas_than_brokers_is_what_kafka_says(settings: Settings) -> None:
    with pytest.raises(TopicError, match=f"{settings.commands_topic} cannot be created: InvalidReplicationFactor"):
        ensure(settings, replication_factor=3)


def test_no_kafka_is_one_clear_error_after_the_time_given() -> None:
    nowhere = f"127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(TopicError, match=f"no Kafka at {nowhere} within 0.1 s"):
        asyncio.run(check_topics(Settings(kafka_bootstrap_servers=nowhere), timeout_s=0.1))


def test_the_command_shows_what_it_did(settings: Settings) -> None:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in settings.model_dump(exclude_none=True).items()]
    first = opd("topics", "--partitions=2", *flags)
    assert first.returncode == 0
    assert first.stdout.splitlines() == [f"{name}: created, 2 partitions" for name in names(settings)]
    second = opd("topics", "--json", *flags)
    assert json.loads(second.stdout)["topics"][1] == {
        "name": settings.events_topic,
        "partitions": 2,
        "created": False,
        "notes": [],
    }


@pytest.mark.parametrize(
    ("copies", "least", "is_noted"), [(1, "1", False), (2, "1", False), (3, "1", True), (3, "2", False)]
)
def test_copies_that_do_not_count_are_noted(copies: int, least: str, is_noted: bool) -> None:
    notes = loss_notes("commands", {"min.insync.replicas": least}, copies)
    assert bool(notes) == is_noted
    assert all("--topic commands --add-config min.insync.replicas=2" in note for note in notes)
