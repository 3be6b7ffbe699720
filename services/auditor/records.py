"""The records that are audited and how they are had, so that nothing else here knows Kafka."""

from enum import StrEnum
from typing import NamedTuple, Protocol


class Kind(StrEnum):
    """Which of the three topics."""

    COMMANDS = "commands"
    EVENTS = "events"
    DEAD_LETTERS = "dead-letters"


class Record(NamedTuple):
    """One record as it stands in a topic.

    Attributes:
        topic: the topic's name.
        timestamp_ms: Kafka's timestamp.
        headers: name and value, in their order.
    """

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Reader(Protocol):
    """Reads one partition of one topic from its beginning to the end that it had when the audit started."""

    def next(self, *, wait: bool = False) -> Record | None:
        """Give the next record, None after the last.

        Args:
            wait: at the end, wait for a record that came after the audit's start, as long as the log allows.
        """

    def close(self) -> None:
        """Read no more."""


class Log(Protocol):
    """The three topics of a system."""

    @property
    def partitions(self) -> int:
        """How many partitions each of the topics has."""

    def read(self, kind: Kind, partition: int) -> Reader:
        """Begin to read a partition of a topic; it may be read more than once."""

    def commands_end(self, partition: int) -> int:
        """Give the offset below which commands stood once the ends of the other topics were known.

        It lies at or above the last command that `read` gives: what is decided between the two is not audited.
        """

    def letters_begin(self, partition: int) -> int:
        """Give the first offset that the dead-letter topic still holds: what stood before has expired."""
