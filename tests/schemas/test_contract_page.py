"""`docs/contract.md` is what a portal's developer reads: what it says must be so."""

import json
import re
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Self

import pytest

from schemas import topics
from schemas.commands import COMMANDS, CloseSlot, RequestToken
from schemas.events import EVENTS, read_event
from schemas.wire import CONTENT_TYPE, read_command, rfc3339, write_event
from schemas.words import MAX_RECORD_BYTES, RejectionReason
from tests.schemas.test_follow import told

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
KEY = b"blr1/cardiology"


def rows(heading: str) -> list[list[str]]:
    """Give the cells of the table that begins with a row of this text."""
    table = PAGE.split(f"\n{heading}\n", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()[1:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def snippet(language: str, *, under: str = "From your own service") -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.partition(f"\n## {under}\n")[2], re.DOTALL)
    assert found
    return found[1]


def test_the_topics() -> None:
    assert [row[0] for row in rows("| topic | what stands in it | who writes |")] == [
        f"`{topic.name}`" for topic in topics.TOPICS
    ]


def test_every_command_has_an_example_that_is_read_with_and_without_what_may_be_left_out() -> None:
    table = rows("| type | further fields, by example | it |")
    assert [names(row[0]) for row in table] == [[command.__name__] for command in COMMANDS]
    for [name], cell in ((names(row[0]), row[1]) for row in table):
        found = re.match(r"`(\{.*?\})`(;|$)", cell)
        assert found
        data = {"facility_id": "blr1", "department_id": "cardiology"} | json.loads(found[1])
        optional = set(re.findall(r"`(\w+)\?`", cell))
        for left_out in (set[str](), optional):
            command = {
                "specversion": "1.0",
                "id": "1",
                "source": "desk",
                "type": f"opd.{name}.v1",
                "data": {field: value for field, value in data.items() if field not in left_out},
            }
            assert type(read_command(KEY, json.dumps(command).encode(), 0)).__name__ == name
        [model] = [command for command in COMMANDS if command.__name__ == name]
        fields = model.model_fields["data"].annotation.model_fields  # type: ignore[union-attr]  # data are models
        assert data.keys() == fields.keys()
        assert optional - {"weekdays"} == {field for field, info in fields.items() if not info.is_required()}


def test_the_envelope_of_a_command() -> None:
    attributes = [name for row in rows("| attribute | |") for name in names(row[0])]
    assert set(attributes) == set(RequestToken.model_fields)


def test_every_event_is_there_with_its_fields() -> None:
    table = rows("| type | says | further fields |")
    assert [name for row in table for name in names(row[0])] == [event.__name__ for event in EVENTS]
    of_the_token = re.search(r"\*Of the token\*: (.*) \(null", PAGE)
    assert of_the_token
    said = {name: names(row[2].replace("of the token", of_the_token[1])) for row in table for name in names(row[0])}
    for event in EVENTS:
        fields = list(event.model_fields["data"].annotation.model_fields)  # type: ignore[union-attr]  # data are models
        assert [name for name in said[event.__name__] if name != "EMERGENCY"] == fields[2:], event


def test_every_reason_is_there() -> None:
    assert [names(row[0]) for row in rows("| reason | |")] == [[reason] for reason in RejectionReason]


def test_the_largest_record() -> None:
    assert f"{MAX_RECORD_BYTES // 1024} KiB" in PAGE


def test_the_files_linked_are_there() -> None:
    headings = {"#" + heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", PAGE, re.MULTILINE)}
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert link in headings or (Path(__file__).parents[2] / "docs" / link).exists(), link


class FakeKafka:
    """As much of aiokafka as the page uses: takes one command, and answers it with one event."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        fake = self

        class Client:
            def __init__(self, *topics: str, bootstrap_servers: str, auto_offset_reset: str = "latest") -> None:
                assert bootstrap_servers
                assert (topics, auto_offset_reset) in [((), "latest"), (("opd.events.v1",), "earliest")]

            async def __aenter__(self) -> Self:
                return self

            async def __aexit__(self, *_: object) -> None:
                pass

        class AIOKafkaProducer(Client):
            async def send_and_wait(self, topic: str, value: bytes, **others: Any) -> None:
                fake.sent.append((topic, value, others["key"], others["headers"]))

        class AIOKafkaConsumer(Client):
            async def __aiter__(self) -> AsyncIterator[SimpleNamespace]:
                yield SimpleNamespace(value=fake.answer())

        self.module = ModuleType("aiokafka")
        vars(self.module).update(AIOKafkaProducer=AIOKafkaProducer, AIOKafkaConsumer=AIOKafkaConsumer)

    def answer(self) -> bytes:
        [(_, value, key, _)] = self.sent
        command = read_command(key, value, 0)
        rejected = {"command_type": "RequestToken", "reason": "SLOT_CLOSED"}
        data = {"facility_id": "blr1", "department_id": "cardiology"} | rejected
        event = write_event(
            event_id="0-0-0", event_type="CommandRejected", time=rfc3339(0), sequence=1, command=command, data=data
        )
        read_event(event)
        return event


def test_the_python_lines_publish_a_command_and_follow_events(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = FakeKafka()
    monkeypatch.setitem(sys.modules, "aiokafka", kafka.module)
    exec(compile(snippet("python"), "docs/contract.md", "exec"), {})  # noqa: S102  it is our own page
    [(topic, value, key, headers)] = kafka.sent
    assert topic == topics.COMMANDS.name
    assert isinstance(read_command(key, value, 0), RequestToken)
    assert headers == [CONTENT_TYPE]
    assert capsys.readouterr().out.startswith("opd.CommandRejected.v1 {'facility_id': 'blr1'")


class FakePartition:
    """As much of aiokafka as the page's follower uses: one partition of events, which ends."""

    def __init__(self, records: Sequence[tuple[bytes, bytes]]) -> None:
        fake = self
        self.records = list(records)
        self.sought: list[int] = []

        class AIOKafkaConsumer:
            def __init__(self, *, bootstrap_servers: str, enable_auto_commit: bool) -> None:
                assert bootstrap_servers
                assert not enable_auto_commit

            async def __aenter__(self) -> Self:
                return self

            async def __aexit__(self, *_: object) -> None:
                pass

            def assign(self, places: list[tuple[str, int]]) -> None:
                assert places == [(topics.EVENTS.name, 0)]

            def seek(self, _: tuple[str, int], offset: int) -> None:
                fake.sought.append(offset)

            async def __aiter__(self) -> AsyncIterator[SimpleNamespace]:
                for offset in range(fake.sought[-1], len(fake.records)):
                    key, value = fake.records[offset]
                    yield SimpleNamespace(key=key, value=value, offset=offset)

        self.module = ModuleType("aiokafka")
        vars(self.module).update(AIOKafkaConsumer=AIOKafkaConsumer, TopicPartition=lambda *place: place)


def test_the_python_lines_follow_events_each_once_also_when_they_are_run_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, second, third = [told("cardiology", number, offset=number) for number in (1, 2, 3)]
    partition = FakePartition([first, second, first])
    monkeypatch.setitem(sys.modules, "aiokafka", partition.module)
    monkeypatch.chdir(tmp_path)
    page = compile(snippet("python", under="Each event once"), "docs/contract.md", "exec")
    exec(page, {})  # noqa: S102  it is our own page
    partition.records += [second, third]
    exec(page, {})  # noqa: S102
    assert partition.sought == [0, 3]
    assert [int(line.split()[0]) for line in capsys.readouterr().out.splitlines()] == [1, 2, 3]


def test_the_console_s_line_is_a_command_under_its_key() -> None:
    line = re.search(r"echo '(.*)' \|$", snippet("sh"), re.MULTILINE)
    assert line
    header, key, value = line[1].split("|")
    assert header == f"{CONTENT_TYPE[0]}:{CONTENT_TYPE[1].decode()}"
    assert isinstance(read_command(key.encode(), value.encode(), 0), CloseSlot)
    assert f"--topic {topics.COMMANDS.name} " in snippet("sh")
    assert f"--topic {topics.EVENTS.name} " in snippet("sh")
