"""Records as the extension that reads them has them, without what aiokafka makes of each.

aiokafka copies a record into a ConsumerRecord of eleven fields: half of what fetching a record costs. The owners, the
readers of tails and the history need five of them, and what they are copied from has those by the same names. Should
aiokafka go another way one day, ConsumerRecords come again, and all is well but slower.
"""

from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords


def take_bare_records() -> None:
    """Make every consumer of this process give records with offset, timestamp, key, value and headers alone."""
    fetcher.PartitionRecords = _BareRecords  # aiokafka has no other way in


class _BareRecords(PartitionRecords):  # type: ignore[misc]  # aiokafka carries no types
    def _consumer_record(self, _place: Any, record: Any) -> Any:
        return record
