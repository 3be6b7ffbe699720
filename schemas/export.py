"""Writes the contract down for others: a JSON Schema of each message, and asyncapi.yaml for the whole.

`python -m schemas.export` writes `schemas/exported/`; with `--check` it only says whether what is there is current.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import CoreSchema
from pydantic_core.core_schema import WithDefaultSchema

from schemas import topics
from schemas.commands import COMMANDS, CommandEnvelope
from schemas.events import EVENTS, EventEnvelope
from schemas.wire import CONTENT_TYPE, MAX_NESTING
from schemas.words import MAX_RECORD_BYTES

FOLDER = Path(__file__).parent / "exported"
JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Message = type[CommandEnvelope] | type[EventEnvelope]
MESSAGES: tuple[Message, ...] = (*COMMANDS, *EVENTS)
_COMPONENT = "#/components/schemas/{model}"


class _ContractSchema(GenerateJsonSchema):
    """JSON Schema as the contract words it: what may be left out has no default, and no field a second name."""

    def default_schema(self, schema: WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: CoreSchema) -> bool:  # noqa: ARG002  none gets one
        return False


def message_type(message: Message) -> str:
    """Give the CloudEvents type of a message, such as `opd.RequestToken.v1`."""
    return f"opd.{message.__name__}.v1"


def json_schema(message: Message) -> dict[str, Any]:
    """Give a message's JSON Schema (2020-12), with a complete example."""
    schema = message.model_json_schema(schema_generator=_ContractSchema)
    definitions = schema.pop("$defs")
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        "title": message_type(message),
        **{name: part for name, part in schema.items() if name != "title"},
        "examples": [example(message)],
        "$defs": definitions,
    }


def example(message: type[BaseModel]) -> dict[str, Any]:
    """Give a message with every field that it may have, made of the examples of its fields."""
    schema = message.model_json_schema(schema_generator=_ContractSchema)
    made: dict[str, Any] = _example(schema, schema["$defs"])
    return made


def _example(schema: JsonSchemaValue, definitions: dict[str, JsonSchemaValue]) -> Any:
    match schema:
        case {"examples": [first, *_]} | {"const": first} | {"enum": [first, *_]}:
            return first
        case {"$ref": reference}:
            return _example(definitions[reference.removeprefix("#/$defs/")], definitions)
        case {"properties": properties}:
            return {name: _example(part, definitions) for name, part in properties.items()}
        case {"items": items}:
            return [_example(items, definitions)]
        case _:
            return None  # of the type null


def asyncapi() -> dict[str, Any]:
    """Give the whole contract as an AsyncAPI 3 document, seen from a service that talks with the engine."""
    _, schemas = models_json_schema(
        [(message, "validation") for message in MESSAGES],
        ref_template=_COMPONENT,
        schema_generator=_ContractSchema,
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "OPD token engine",
            "version": "1.0.0",
            "description": (
                "Hands out a hospital outpatient department's tokens. Seen from a service beside the engine: it sends "
                "commands, receives events, and may look at the dead letters."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE[1].decode(),
        "servers": {
            "kafka": {
                "host": "{bootstrapServer}",
                "protocol": "kafka",
                "variables": {
                    "bootstrapServer": {
                        "description": "Where the hospital's Kafka is.",
                        "default": "localhost:9092",
                    }
                },
            }
        },
        "channels": {
            "commands": _channel(
                topics.COMMANDS,
                [message.__name__ for message in COMMANDS],
                f"What the engine is asked. A record of more than {MAX_RECORD_BYTES} bytes, JSON nested over "
                f"{MAX_NESTING} (the outermost object is the first), NaN, an integer beyond 64 bits signed, U+0000, a "
                "lone surrogate, or a byte order mark make a record unreadable: it becomes a dead letter. Of a name "
                "given twice the last counts. One department is one ordered stream: the record's key decides its "
                "partition, by Kafka's default partitioner (murmur2).",
            ),
            "events": _channel(
                topics.EVENTS,
                [message.__name__ for message in EVENTS],
                "What the engine decided: partition p holds the decisions of the commands of partition p, so both "
                "topics have the same number of partitions. An event may come again with the same bytes: drop it, "
                "if its id was seen.",
            ),
            "deadLetters": _channel(
                topics.DEAD_LETTERS,
                ["DeadLetter"],
                "Records of the commands topic that are no command: partition p holds those of partition p.",
            ),
        },
        "operations": {
            "sendCommand": _operation("send", "commands", "Ask the engine for something."),
            "receiveEvent": _operation("receive", "events", "Follow what the engine decides."),
            "receiveDeadLetter": _operation("receive", "deadLetters", "See which records were unreadable, and why."),
        },
        "components": {
            "messages": {message.__name__: _message(message) for message in MESSAGES} | {"DeadLetter": _DEAD_LETTER},
            "messageBindings": {"department": _DEPARTMENT_KEY, "asItCame": _KEY_AS_IT_CAME},
            "schemas": schemas["$defs"] | {"Headers": _HEADERS, "DeadLetterHeaders": _DEAD_LETTER_HEADERS},
        },
    }


_HEADERS = {
    "type": "object",
    "description": "Record headers, UTF-8 text.",
    "properties": {
        CONTENT_TYPE[0]: {
            "description": "CloudEvents' structured JSON mode. The engine writes it, and does not look at a command's.",
            "type": "string",
            "const": CONTENT_TYPE[1].decode(),
        }
    },
}
_DEAD_LETTER_HEADERS = {
    "type": "object",
    "description": "Record headers, UTF-8 text, behind the record's own; of a name that stands twice the last counts.",
    "properties": {
        "opd-error": {
            "description": "Why the record is no command, in names of the schema: no value of the sender's.",
            "type": "string",
        },
        "opd-source-topic": {"description": "The topic that the record stood in.", "type": "string"},
        "opd-source-partition": {
            "description": "Its partition there, in digits.",
            "type": "string",
            "pattern": "^[0-9]+$",
        },
        "opd-source-offset": {"description": "Its offset there, in digits.", "type": "string", "pattern": "^[0-9]+$"},
    },
    "required": ["opd-error", "opd-source-topic", "opd-source-partition", "opd-source-offset"],
}
_KAFKA_BINDING_VERSION = "0.5.0"
_DEPARTMENT_KEY = {
    "kafka": {
        "key": {
            "type": "string",
            "description": f"{topics.COMMANDS.key} in UTF-8, both as in data.",
            "pattern": "^[a-z0-9-]{1,32}/[a-z0-9-]{1,32}$",
            "examples": ["blr1/cardiology"],
        },
        "bindingVersion": _KAFKA_BINDING_VERSION,
    }
}
_KEY_AS_IT_CAME = {
    "kafka": {
        "key": {"description": "The record's key, byte for byte; may be missing."},
        "bindingVersion": _KAFKA_BINDING_VERSION,
    }
}
_DEAD_LETTER = {
    "name": "dead letter",
    "title": "Dead letter",
    "summary": "A record of the commands topic that is no command (R1), byte for byte.",
    "contentType": "application/octet-stream",
    "headers": {"$ref": "#/components/schemas/DeadLetterHeaders"},
    "payload": {"description": "The record's value, byte for byte; may be missing."},
    "bindings": {"$ref": "#/components/messageBindings/asItCame"},
    "examples": [
        {
            "headers": {
                "opd-error": "not JSON",
                "opd-source-topic": topics.COMMANDS.name,
                "opd-source-partition": "3",
                "opd-source-offset": "1208",
            },
            "payload": '{"specversion":"1.0",',
        }
    ],
}


def _channel(topic: topics.Topic, messages: list[str], description: str) -> dict[str, Any]:
    return {
        "address": topic.name,
        "description": description,
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "topicConfiguration": {name: _setting(name, value) for name, value in topic.config.items()},
                "bindingVersion": _KAFKA_BINDING_VERSION,
            }
        },
    }


def _setting(name: str, value: str) -> Any:
    """Give a topic's setting as the Kafka binding types it."""
    if name == "cleanup.policy":
        return value.split(",")
    return int(value) if value.lstrip("-").isdigit() else value


def _operation(action: str, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(message: Message) -> dict[str, Any]:
    return {
        "name": message_type(message),
        "title": message.__name__,
        "summary": message.__doc__,
        "contentType": CONTENT_TYPE[1].decode(),
        "headers": {"$ref": "#/components/schemas/Headers"},
        "payload": {"$ref": f"#/components/schemas/{message.__name__}"},
        "bindings": {"$ref": "#/components/messageBindings/department"},
        "examples": [{"headers": {CONTENT_TYPE[0]: CONTENT_TYPE[1].decode()}, "payload": example(message)}],
    }


def exported() -> dict[str, str]:
    """Give the text of every file of `schemas/exported/`, by its name."""
    import yaml  # noqa: PLC0415  a development dependency: nothing else in the contract needs it

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  the name is the base class's
            return True

    files = {
        f"{message_type(message)}.json": json.dumps(json_schema(message), indent=2, ensure_ascii=False) + "\n"
        for message in MESSAGES
    }
    files["asyncapi.yaml"] = yaml.dump(asyncapi(), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    return files


def write(folder: Path) -> None:
    """Make the folder hold the exported files and nothing else."""
    folder.mkdir(exist_ok=True)
    files = exported()
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def stale(folder: Path) -> list[str]:
    """Give the names of the files that are missing, surplus or not what `write` would write."""
    files = exported()
    there = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()} if folder.is_dir() else {}
    return sorted(name for name in files.keys() | there.keys() if files.get(name) != there.get(name))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with `--check` say which are stale; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m schemas.export", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not current")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to (default: %(default)s)")
    options = parser.parse_args(arguments)
    if not options.check:
        write(options.folder)
        return 0
    names = stale(options.folder)
    if names:
        sys.stderr.write(f"not current, run `python -m schemas.export`: {', '.join(names)}\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
