"""`opd dead-letters` on a real Kafka: what is told of dead letters, and the way back."""

import asyncio
import json
from typing import Any

import pytest
import typer
from pydantic_core import from_json

from services.allocator.kafka import partitioner
from services.dead_letters.command import list_letters, replay, show
from services.dead_letters.letters import DeadLetterError
from services.settings import Settings
from services.topics import ensure_topics
from tests.console import opd, opd_here
from tests.integration.raw import Raw, publish_raw
from tests.integration.running import RunningAllocator, Sent, publish, read_all
from tests.integration.test_allocator import NOW_MS, a_doctor, audited, said

CANARY = "p-canary-4711"
OWN = partitioner(2)(b"h/d")


def told(capsys: pytest.CaptureFixture[str], command: Any, *arguments: Any, **options: Any) -> Any:
    command(*arguments, as_json=True, **options)
    return json.loads(capsys.readouterr().out)


def dead_letters_of(settings: Settings, *sent: Sent) -> list[Any]:
    """Let an allocator answer a doctor and these unreadable records."""
    asyncio.run(ensure_topics(settings, partitions=2))
    publish(settings, [a_doctor("d"), *sent])
    with RunningAllocator(settings):
        read_all(settings, settings.events_topic, 1)
        return read_all(settings, settings.dead_letters_topic, len(sent))


def misplaced() -> Sent:
    """A command that is well but for its partition."""
    headers = [("trace", CANARY.encode()), ("opd-error", b"my own")]
    command = said("d", "RegisterDoctor", 1, doctor_id="b", name=CANARY, schedule=[])
    return command._replace(partition=1 - OWN, headers=headers)


def test_what_became_of_records_is_told_and_what_a_sender_wrote_only_if_asked_for(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Sent(CANARY.encode(), f'{{"{CANARY}'.encode(), headers=[(CANARY, b"1")])
    dead_letters_of(settings, misplaced(), broken, Sent(None, b"\xff\x00"))
    letters = told(capsys, list_letters, settings)["dead_letters"]
    by_error = {each["error"]: each for each in letters}
    assert by_error.keys() == {"in another partition than its key's", "not JSON"}
    assert len(told(capsys, list_letters, settings, since="1h")["dead_letters"]) == 3
    assert told(capsys, list_letters, settings, since="2999-01-01") == {"dead_letters": []}
    first = by_error["in another partition than its key's"]
    assert first["place"] == f"{1 - OWN}-0"
    assert first["source"] == f"{settings.commands_topic}[{1 - OWN}]@0"
    assert (first["key_bytes"], first["headers"]) == (3, 2)
    of_one = told(capsys, list_letters, settings, partition=1 - OWN)["dead_letters"]
    assert {each["partition"] for each in of_one} == {1 - OWN}

    list_letters(settings)
    for each in letters:
        show(settings, each["place"])
        show(settings, each["place"], as_json=True)
    shown = opd("dead-letters", "list", *flags(settings))
    printed = capsys.readouterr()
    assert shown.returncode == 0
    assert shown.stdout.splitlines()[-1] == "3 dead letters"
    assert f"today:   it is a RegisterDoctor; its partition would be {OWN}" in printed.out
    assert CANARY not in shown.stdout + shown.stderr + printed.out + printed.err

    contents = []
    for each in letters:
        contents.append(told(capsys, show, settings, each["place"], raw=True)["raw"])
        show(settings, each["place"], raw=True)
        raw = capsys.readouterr()
        assert "it may name a patient" in raw.err
        assert (CANARY in raw.out) is (each["key_bytes"] is not None)
    assert {"key": None, "value": {"hex": "ff00"}, "headers": []} in contents
    assert [["trace", {"text": CANARY}], ["opd-error", {"text": "my own"}]] in [each["headers"] for each in contents]


def flags(settings: Settings) -> list[str]:
    given = settings.model_dump(exclude_none=True)
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def test_a_readable_one_is_replayed_as_it_was_sent_and_decided_once(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = misplaced()
    dead_letters_of(settings, sent)
    place = f"{1 - OWN}-0"
    replay(settings, [place], dry_run=True)
    assert "1 would be replayed, 0 refused" in capsys.readouterr().out
    assert len(read_all(settings, settings.commands_topic)) == 2

    answer = told(capsys, replay, settings, [place])
    assert answer["letters"] == [
        {"place": place, "replayed": True, "to": f"{settings.commands_topic}[{OWN}]", "command": "RegisterDoctor"}
        | {"fault": ""}
    ]
    replay(settings, everything=True)
    assert "DUPLICATE_COMMAND (R2)" in capsys.readouterr().out
    replayed = [record for record in read_all(settings, settings.commands_topic) if record.partition == OWN][1:]
    assert len(replayed) == 2
    for record in replayed:
        assert (record.key, record.value, list(record.headers)) == (sent.key, sent.value, sent.headers)
    with RunningAllocator(settings):
        events = [from_json(event.value) for event in read_all(settings, settings.events_topic, 3)]
        audited(settings)
    assert [event["type"] for event in events[1:]] == ["opd.DoctorRegistered.v1", "opd.CommandRejected.v1"]
    assert events[2]["data"]["reason"] == "DUPLICATE_COMMAND"


def test_one_that_is_still_unreadable_is_refused_unless_forced(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    asyncio.run(ensure_topics(settings, partitions=2))
    sent = Raw(None, None, NOW_MS, [(b"kept", None), (b"opd-error", b"x"), (b"", b"")])
    publish_raw(settings, [sent], partition=1)
    with RunningAllocator(settings):
        read_all(settings, settings.dead_letters_topic, 1)
        with pytest.raises(typer.Exit) as refused:
            replay(settings, ["1-0"])
        assert refused.value.exit_code == 1
        said = capsys.readouterr()
        assert "0 replayed, 1 refused" in said.out
        assert "1-0: refused, it is still unreadable: no value" in said.err
        assert len(read_all(settings, settings.commands_topic)) == 1

        replay(settings, ["1-0"], force=True)
        _, again = read_all(settings, settings.dead_letters_topic, 2)
        audited(settings)
    assert (again.key, again.value, again.partition) == (None, None, 1)
    assert again.headers[:3] == (("kept", None), ("opd-error", b"x"), ("", b""))
    assert dict(again.headers)["opd-source-offset"] == b"1"


def test_a_large_one_is_replayed_too(settings: Settings) -> None:
    asyncio.run(ensure_topics(settings, partitions=1))
    publish_raw(settings, [Raw(b"h/d", b"large " * 400_000, NOW_MS)], codec="gzip")
    with RunningAllocator(settings):
        read_all(settings, settings.dead_letters_topic, 1)
        replay(settings, everything=True, force=True)
        first, second = read_all(settings, settings.dead_letters_topic, 2)
    assert first.value == second.value


def test_what_is_not_there_is_named(settings: Settings) -> None:
    asyncio.run(ensure_topics(settings, partitions=2))
    for place in ("0-5", "1-0", "7-0", "999999999-999999999999999999"):
        with pytest.raises(DeadLetterError, match=f"no dead letter stands at {place}\ntry: opd dead-letters list"):
            replay(settings, [place])
        with pytest.raises(DeadLetterError, match=f"no dead letter stands at {place}"):
            show(settings, place)
    with pytest.raises(DeadLetterError, match="there is no partition 2\ntry: 0 to 1"):
        list_letters(settings, partition=2)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("show", "zero"), "'zero' is no place"),
        (("replay",), "name dead letters"),
        (("replay", "0-1", "--all"), "name dead letters"),
        (("replay", "0-1", "--since=1h"), "go with --all"),
        (("list", "--since=yesterday"), "give 90s"),
    ],
)
def test_a_wrong_word_is_a_usage_error(words: tuple[str, ...], fault: str) -> None:
    refused = opd_here("dead-letters", *words, COLUMNS="200")
    assert refused.returncode == 2
    assert fault in refused.stderr
