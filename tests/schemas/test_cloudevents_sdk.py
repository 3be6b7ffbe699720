"""The CloudEvents project's own SDK reads what we write, and we read what it writes."""

import json
from datetime import UTC, datetime

import pytest
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from schemas.commands import COMMANDS, Command
from schemas.events import EVENTS, AnyEvent, read_event
from schemas.export import example, message_type
from schemas.wire import CONTENT_TYPE, command_key, read_command, write_event

KEY = b"blr1/cardiology"


def key_of(event: BaseCloudEvent) -> str:
    data = event.get_data()
    assert isinstance(data, dict)
    return f"{data['facility_id']}/{data['department_id']}"


@pytest.mark.parametrize("command", COMMANDS, ids=message_type)
def test_the_sdk_reads_our_commands_and_we_read_what_it_makes_of_them(command: type[Command]) -> None:
    value = json.dumps(example(command)).encode()
    read = from_structured(KafkaMessage(dict([CONTENT_TYPE]), KEY, value), JSONFormat())
    assert (read.get_id(), read.get_source(), read.get_type()) == ("web-81723", "portal/web", message_type(command))
    assert read.get_data() == example(command)["data"]

    written = to_structured(read, JSONFormat(), key_of)
    assert written.headers == dict([CONTENT_TYPE])
    key = str(written.key).encode()
    ours = read_command(key, written.value, 0)
    assert ours == read_command(KEY, value, 0)
    assert command_key(ours) == key


def test_we_read_a_command_that_the_sdk_filled_in() -> None:
    made = CloudEvent(
        {
            "type": "opd.CloseSlot.v1",
            "source": "desk",
            "datacontenttype": "application/json",
            "partitionkey": "blr1/eye",
        },
        {"facility_id": "blr1", "department_id": "eye", "date": "2026-11-23", "slot": "09:00-10:00"},
    )
    written = to_structured(made, JSONFormat())
    read = read_command(str(written.key).encode(), written.value, 0)
    assert read.id == made.get_id()
    assert read.data.department_id == "eye"


@pytest.mark.parametrize("event", EVENTS, ids=message_type)
def test_the_sdk_reads_our_events_and_we_read_what_it_makes_of_them(event: type[AnyEvent]) -> None:
    command = read_command(KEY, json.dumps(example(COMMANDS[0])).encode(), 0)
    made = example(event)
    value = write_event(
        event_id=made["id"],
        event_type=event.__name__,
        time=made["time"],
        sequence=42,
        command=command,
        data=made["data"],
    )
    read = from_structured(KafkaMessage(dict([CONTENT_TYPE]), KEY, value), JSONFormat())
    assert (read.get_id(), read.get_source(), read.get_type()) == ("3-1207-0", "opd/allocator", message_type(event))
    assert read.get_time() == datetime(2026, 11, 23, 2, 45, tzinfo=UTC)
    assert read.get_subject() == made["data"].get("token_id")
    assert read.get_extension("sequence") == "0000000000000042"
    assert read.get_extension("causationid") == "web-81723"
    assert read.get_data() == made["data"]

    rewritten = json.loads(to_structured(read, JSONFormat()).value)
    rewritten["time"] = made["time"]  # the SDK leaves the milliseconds away when they are none
    assert read_event(json.dumps(rewritten).encode()) == read_event(value)
