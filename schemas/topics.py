"""The topics: what stands in each, under which key (spec §2)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Topic:
    """One topic of the contract.

    Attributes:
        name: the default name; a setting may give another.
        key: what the record key is.
        value: what the record value is.
        config: the topic settings that the engine's promises rest on.
    """

    name: str
    key: str
    value: str
    config: dict[str, str]


# A record batch that has more than this, once unpacked, is not read: one dead letter stands for all of it (ADR 9).
MAX_BATCH_BYTES = 16 * 1024 * 1024
MAX_BATCH_RECORDS = 100_000

_FOR_EVER = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_ROOMY = {"max.message.bytes": str(2 * 1024 * 1024)}
# The largest record that is read still fits with headers appended, however it was compressed before.
_ROOMIEST = {"max.message.bytes": str(MAX_BATCH_BYTES + 1024 * 1024)}

COMMANDS = Topic(
    name="opd.commands.v1",
    key="{facility_id}/{department_id}",
    value="a command: CloudEvents 1.0, structured JSON",
    config={**_FOR_EVER, "message.timestamp.type": "LogAppendTime"},
)
EVENTS = Topic(
    name="opd.events.v1",
    key="{facility_id}/{department_id}",
    value="an event: CloudEvents 1.0, structured JSON",
    config={**_FOR_EVER, **_ROOMY},
)
DEAD_LETTERS = Topic(
    name="opd.dead-letters.v1",
    key="as in the commands topic, byte for byte",
    value="an unreadable record of the commands topic, byte for byte",
    config={**_FOR_EVER, **_ROOMIEST},
)
TOPICS = (COMMANDS, EVENTS, DEAD_LETTERS)
