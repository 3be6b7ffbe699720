"""Whether the trail is whole: read from its first row to its last, and held to the anchors."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import asyncpg

from services.errors import OpdError
from services.history.postgres import LOST, connect
from services.settings import Settings
from services.trail.chain import EMPTY, Head, Noted, following

_ROWS = f"SELECT number, {', '.join(Noted._fields)}, hash FROM trail ORDER BY number"  # noqa: S608  ours


class Checked(NamedTuple):
    """What was found.

    Attributes:
        rows: how many were read, up to the fault if there is one.
        anchors: how many heads they were held to.
        fault: the first row that is not as it was written, and why; None if all are.
    """

    rows: int
    anchors: int
    fault: str | None

    @property
    def said(self) -> str:
        """What is claimed, and over how much."""
        return f"the audit trail is whole, {self.rows:,} rows held to {self.anchors:,} anchors"


class BadAnchors(OpdError):  # noqa: N818  it is what they are
    """The file holds no anchors."""


async def check(settings: Settings) -> Checked:
    """Read the whole trail.

    Raises:
        OpdError: it cannot be read, or the anchors cannot.
    """
    anchors = dict(read_anchors(settings.audit_anchors))
    try:
        connection = await connect(settings.vault_address, settings.audit_schema)
    except LOST as error:
        raise OpdError(f"the audit trail cannot be read: {type(error).__name__}\ntry: look at OPD_VAULT_URL") from None
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return await _check(connection, anchors)
    except asyncpg.UndefinedTableError:
        raise OpdError("there is no audit trail there: no gateway has written one yet\ntry: OPD_AUDIT_SCHEMA") from None
    finally:
        await connection.close()


async def _check(connection: asyncpg.Connection, anchors: dict[int, bytes]) -> Checked:
    head = EMPTY
    async for row in connection.cursor(_ROWS, prefetch=2000):
        fault = _fault(head, row, anchors)
        if fault is not None:
            return Checked(head.number, len(anchors), fault)
        head = Head(row["number"], row["hash"])
    last = max(anchors, default=0)
    if last > head.number:
        return Checked(head.number, len(anchors), f"row {head.number + 1} is missing: an anchor knows row {last}")
    return Checked(head.number, len(anchors), None)


def _fault(head: Head, row: asyncpg.Record, anchors: dict[int, bytes]) -> str | None:
    if row["number"] != head.number + 1:
        return f"row {head.number + 1} is missing"
    if following(head, Noted(*row[1:-1])) != (row["number"], row["hash"]):
        return f"row {row['number']} is not as it was written, or not where"
    if anchors.get(row["number"], row["hash"]) != row["hash"]:
        return f"row {row['number']} is not the one of its anchor: the trail was written anew"
    return None


def read_anchors(file: Path | None) -> Iterator[Head]:
    """Give the heads that gateways told; none without a file.

    Raises:
        BadAnchors: it is no such file.
    """
    if file is None:
        return
    try:
        # A line that is being written is not yet one.
        for line in file.read_text(encoding="ascii").split("\n")[:-1]:
            number, hash_, _ = line.split()
            yield Head(int(number), bytes.fromhex(hash_))
    except (OSError, ValueError) as error:
        raise BadAnchors(
            f"the anchors in {file} cannot be read: {type(error).__name__}\ntry: OPD_AUDIT_ANCHORS"
        ) from None
