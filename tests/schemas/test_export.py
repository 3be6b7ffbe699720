"""The exported contract: kept current, valid, whole, and of one mind with the models."""

import copy
import json
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError, validators
from pydantic import ValidationError as ModelValidationError

from schemas import export, topics
from schemas.commands import ANY_COMMAND, COMMANDS
from schemas.events import ANY_EVENT, EVENTS
from schemas.export import (
    FOLDER,
    MESSAGES,
    Message,
    asyncapi,
    example,
    exported,
    json_schema,
    main,
    message_type,
    stale,
)


def as_ecma_262(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    """JSON Schema's `$` is the end of the text, Python's may be a line end before it."""
    if validator.is_type(instance, "string") and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield ValidationError("pattern")


Validator = validators.extend(Draft202012Validator, {"pattern": as_ecma_262})  # type: ignore[no-untyped-call]  # their stubs
SCHEMAS = {message: json_schema(message) for message in MESSAGES}
EXAMPLES = {message: example(message) for message in MESSAGES}
every_message = pytest.mark.parametrize("message", MESSAGES, ids=message_type)


def model_faults(message: Message, document: Any) -> list[tuple[str, Any]]:
    """Give the kinds of fault and the values that the models find in a message, read from JSON."""
    adapter = ANY_COMMAND if message in COMMANDS else ANY_EVENT
    try:
        assert type(adapter.validate_json(json.dumps(document))) is message
    except ModelValidationError as error:
        return [(fault["type"], fault["input"]) for fault in error.errors()]
    return []


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Give every object in a document, the outermost first."""
    if isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from parts(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from parts(part)


def resolve(document: dict[str, Any], reference: str) -> Any:
    part: Any = document
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def test_the_files_in_the_repository_are_current() -> None:
    assert stale(FOLDER) == []


def test_there_is_a_file_for_each_message_and_one_for_the_whole() -> None:
    assert len(MESSAGES) == 27
    assert {path.name for path in FOLDER.iterdir()} == {f"{message_type(m)}.json" for m in MESSAGES} | {"asyncapi.yaml"}


def test_the_same_is_written_every_time() -> None:
    assert exported() == exported()


@every_message
def test_a_schema_is_valid(message: Message) -> None:
    assert SCHEMAS[message]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(SCHEMAS[message])
    for part in parts(SCHEMAS[message]):
        if "$ref" in part:
            assert resolve(SCHEMAS[message], part["$ref"])


@every_message
def test_every_field_is_described(message: Message) -> None:
    schema = SCHEMAS[message]
    for part in parts(schema):
        for name, field in part.get("properties", {}).items():
            assert field.get("description") or resolve(schema, field["$ref"])["description"], name
    assert schema["description"]


@every_message
def test_a_left_out_field_has_no_default_and_is_never_null(message: Message) -> None:
    for part in parts(SCHEMAS[message]):
        assert "default" not in part
        for name, field in part.get("properties", {}).items():
            if "null" in json.dumps(field):
                assert (name, message in EVENTS) == ("doctor_id", True)
                assert name in part["required"]


@every_message
def test_the_example_is_complete_and_valid(message: Message) -> None:
    [made] = SCHEMAS[message]["examples"]
    assert made == example(message)
    assert made.keys() == SCHEMAS[message]["properties"].keys()
    assert (
        made["data"].keys()
        == resolve(SCHEMAS[message], SCHEMAS[message]["properties"]["data"]["$ref"])["properties"].keys()
    )
    assert model_faults(message, made) == []
    Validator(SCHEMAS[message]).validate(made)


def test_weekdays_stand_none_twice() -> None:
    weekdays = SCHEMAS[COMMANDS[0]]["$defs"]["ScheduleEntry"]["properties"]["weekdays"]
    assert (weekdays["minItems"], weekdays["uniqueItems"]) == (1, True)


# What a schema cannot say, and what its descriptions say instead: a slot starts before it ends, a date is in the
# calendar, a slot stands once a weekday, by_token_id and token_id go with some reasons, the subject is the token.
# And to JSON Schema 3.0 is an integer.
def only_the_model_can_tell(faults: list[tuple[str, Any]]) -> bool:
    return all(
        kind == "value_error" or (kind == "int_type" and isinstance(value, float) and value.is_integer())
        for kind, value in faults
    )


VALUES = [
    *(None, True, False, 0, 1, -1, 500, 501, 3.0, 2.5, 1e300, [], {}, [1], {"a": 1}, "", "1.0", "3", "opd/allocator"),
    *("x" * length for length in (32, 33, 64, 65, 128, 129, 200, 201, 256, 257)),
    *("\U0001f3e5" * length for length in (32, 64, 65, 128, 129, 200, 201, 256, 257)),
    *("blr1", "blr1\n", "Blr1", "bl r1", "bl_r1", "cardiology.1", "診", "-", "."),
    *("2026-11-23", "2026-11-23\n", "2026-02-30", "0000-01-01", "20261123", "2026-11-23T02:45:00.000Z"),
    *("09:00-10:00", "09:00-10:00\n", "10:00-09:00", "00:00-24:00", "24:00-24:00", "9:00-10:00", "09:00-10:60"),
    *("MON", ["MON"], ["MON", "MON"], ["MON", "mon"], ["MON", 1], "EMERGENCY", "PAID", "emergency"),
    *("CONFIRMED", "WAITLISTED", "DOCTOR_UNAVAILABLE", "UPGRADED", "SLOT_CLOSED", "TOKEN_UNKNOWN", "CloseSlot"),
    *("1-2-3", "01-2-3", "1-2", "0000000000000001", "1"),
    [{"slot": "09:00-10:00", "capacity": 1}],
    [{"slot": "09:00-10:00", "capacity": 1}] * 2,
    [{"slot": "09:00-10:00", "capacity": 1, "weekdays": []}],
    [{"slot": "09:00-10:00", "capacity": 1, "weekdays": None}],
    [{"slot": "09:00-10:00", "capacity": 1, "rooms": 1}],
    [{"slot": "09:00-10:00"}],
]


VALIDATORS = {message: Validator(schema) for message, schema in SCHEMAS.items()}


def agree(message: Message, document: dict[str, Any]) -> None:
    faults = model_faults(message, document)
    if VALIDATORS[message].is_valid(document):
        assert only_the_model_can_tell(faults), (document, faults)
    else:
        assert faults, document


def mutated(rng: Random, message: Message) -> dict[str, Any]:
    """Give a message's example with one or two things about it changed."""
    document = copy.deepcopy(EXAMPLES[message])
    for _ in range(rng.choice([1, 1, 2])):
        target = rng.choice([part for part in parts(document) if part])
        name = rng.choice([*target, "further"])
        if rng.random() < 0.2:
            target.pop(name, None)
        else:
            target[name] = copy.deepcopy(rng.choice(VALUES))
    return document


@settings(max_examples=1500, deadline=None)
@given(message=st.sampled_from(MESSAGES), rng=st.randoms(use_true_random=False))
def test_schema_and_model_agree(message: Message, rng: Random) -> None:
    agree(message, mutated(rng, message))


@every_message
def test_schema_and_model_agree_about_every_field_and_value(message: Message) -> None:
    made = EXAMPLES[message]
    for name in [*made, "further"]:
        for value in VALUES:
            agree(message, made | {name: value})
    for name in [*made["data"], "further"]:
        for value in VALUES:
            agree(message, made | {"data": made["data"] | {name: value}})


CONTRACT = asyncapi()


def test_the_asyncapi_document_is_what_stands_in_the_file() -> None:
    text = (FOLDER / "asyncapi.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text) == CONTRACT
    assert not re.search(r"[&*]id\d", text), "no YAML anchors: few readers of AsyncAPI like them"


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    references = [part["$ref"] for part in parts(CONTRACT) if "$ref" in part]
    assert len(references) > 100
    for reference in references:
        assert resolve(CONTRACT, reference)


ALLOWED_KEYS = {
    "root": "asyncapi info defaultContentType servers channels operations components",
    "info": "title version description license",
    "server": "host protocol variables",
    "channel": "address description servers messages bindings",
    "operation": "action channel summary",
    "message": "name title summary contentType headers payload bindings examples",
    "example": "headers payload",
    "binding": "topic topicConfiguration key bindingVersion",
    "components": "messages messageBindings schemas",
}


def test_the_asyncapi_document_has_no_key_that_the_format_has_not() -> None:
    messages = CONTRACT["components"]["messages"].values()
    bindings = [part["kafka"] for part in parts(CONTRACT) if "kafka" in part and "bindingVersion" in part["kafka"]]
    objects = {
        "root": [CONTRACT],
        "info": [CONTRACT["info"]],
        "server": CONTRACT["servers"].values(),
        "channel": CONTRACT["channels"].values(),
        "operation": CONTRACT["operations"].values(),
        "message": messages,
        "example": [one for message in messages for one in message["examples"]],
        "binding": bindings,
        "components": [CONTRACT["components"]],
    }
    assert len(bindings) == 5
    for kind, keys in ALLOWED_KEYS.items():
        for one in objects[kind]:
            assert one.keys() <= set(keys.split()), kind


def test_the_channels_are_the_topics_and_hold_every_message() -> None:
    channels = CONTRACT["channels"].values()
    assert [channel["address"] for channel in channels] == [topic.name for topic in topics.TOPICS]
    assert [channel["bindings"]["kafka"]["topic"] for channel in channels] == [topic.name for topic in topics.TOPICS]
    for channel, topic in zip(channels, topics.TOPICS, strict=True):
        assert channel["bindings"]["kafka"]["topicConfiguration"].keys() == topic.config.keys()
    held = [list(channel["messages"]) for channel in channels]
    assert held == [[m.__name__ for m in COMMANDS], [m.__name__ for m in EVENTS], ["DeadLetter"]]
    assert [name for names in held for name in names] == list(CONTRACT["components"]["messages"])


def test_the_operations_are_a_service_s_beside_the_engine() -> None:
    assert {name: (one["action"], one["channel"]["$ref"]) for name, one in CONTRACT["operations"].items()} == {
        "sendCommand": ("send", "#/channels/commands"),
        "receiveEvent": ("receive", "#/channels/events"),
        "receiveDeadLetter": ("receive", "#/channels/deadLetters"),
    }


def test_the_server_is_a_placeholder() -> None:
    [server] = CONTRACT["servers"].values()
    assert server["host"] == "{bootstrapServer}"
    assert server["variables"].keys() == {"bootstrapServer"}


@pytest.mark.parametrize("name", CONTRACT["components"]["messages"])
def test_the_examples_of_the_asyncapi_document_are_valid(name: str) -> None:
    message = CONTRACT["components"]["messages"][name]
    [made] = message["examples"]
    for part in ("headers", "payload"):
        schema = message[part] | {"components": CONTRACT["components"]}
        Validator.check_schema(schema)
        Validator(schema).validate(made[part])
    assert name == "DeadLetter" or message["name"] == made["payload"]["type"]


@pytest.mark.parametrize("name", ["department", "asItCame"])
def test_the_key_s_examples_fit_it(name: str) -> None:
    key = CONTRACT["components"]["messageBindings"][name]["kafka"]["key"]
    for made in key.get("examples", []):
        Validator(key).validate(made)


def test_the_command_line_writes_what_the_check_then_finds_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exported"
    at = ["--folder", str(folder)]
    assert main([*at, "--check"]) == 1
    assert "asyncapi.yaml" in capsys.readouterr().err
    assert main(at) == 0
    assert main([*at, "--check"]) == 0
    (folder / "opd.Gone.v1.json").write_text("{}")
    (folder / "asyncapi.yaml").write_text("")
    assert main([*at, "--check"]) == 1
    assert capsys.readouterr().err == "not current, run `python -m schemas.export`: asyncapi.yaml, opd.Gone.v1.json\n"
    assert main(at) == 0
    assert stale(folder) == []


def test_the_module_is_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["export", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(export.__file__, run_name="__main__")
    assert ended.value.code == 0
