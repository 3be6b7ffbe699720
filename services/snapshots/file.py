"""The file of a snapshot: gzipped lines of JSON, a header, a line a department, and a checksum (docs/snapshots.md)."""

import gzip
import os
import struct
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json, to_json

from allocation_core.layout import derive
from allocation_core.state import DepartmentState, read_state, write_state
from services.errors import OpdError

VERSION = 2
SUFFIX = ".opd-snapshot.gz"

_COMPRESSION = 6


class SnapshotError(OpdError):
    """A snapshot cannot be had, or not be used: why, and what to do."""


class Header(BaseModel):
    """What a snapshot is of.

    Attributes:
        applied: the offset of the last record that it holds.
        digest: of that record, see `record_digest`.
        committed: the group's committed offset when it was taken, above `applied`: all its events were published.
        created_at: for people alone; RFC 3339.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["opd-snapshot"] = "opd-snapshot"
    version: Literal[1, 2] = 2
    commands_topic: str
    partition: int = Field(ge=0)
    applied: int = Field(ge=0)
    digest: str
    committed: int
    created_at: str

    @property
    def file_name(self) -> str:
        """The name that sorts by partition and offset."""
        return f"{self.commands_topic}-{self.partition}-{self.applied:016d}{SUFFIX}"


class Snapshot:
    """One snapshot's file.

    Attributes:
        path: where it is.
        header: what it is of.
    """

    def __init__(self, path: Path) -> None:
        """Read the header.

        Raises:
            SnapshotError: the file cannot be read, or is no snapshot of this version.
        """
        self.path = path
        with _damage_told(path), gzip.open(path) as file:
            try:
                self.header = Header.model_validate_json(file.readline())
            except ValidationError as error:
                wrong = ", ".join(str(each["loc"][0]) if each["loc"] else "not JSON" for each in error.errors())
                raise _damaged(path, f"it is no snapshot of version {VERSION} ({wrong})") from error

    def departments(self) -> Iterator[DepartmentState]:
        """Give the departments one after the other, and find out at the end whether the file was whole.

        Raises:
            SnapshotError: it was not.
        """
        digest = sha256()
        count = 0
        with _damage_told(self.path), gzip.open(self.path) as file:
            line = file.readline()
            for following in file:
                digest.update(line)
                if count:
                    yield read_state(line)
                line, count = following, count + 1
            end = from_json(line)
            if end != {"departments": count - 1, "sha256": digest.hexdigest()}:
                raise _damaged(self.path, "its checksum is not that of its content")

    def verify(self) -> int:
        """Read it to its end, as a rebuild would; give the number of departments.

        Raises:
            SnapshotError: it is not whole.
        """
        count = 0
        with _damage_told(self.path):
            for state in self.departments():
                derive(state)
                count += 1
        return count


def newest_snapshots(folder: Path, commands_topic: str) -> dict[int, Snapshot]:
    """Give the newest snapshot of each partition of a topic.

    Raises:
        SnapshotError: one of the files cannot be read.
    """
    newest: dict[int, Snapshot] = {}
    for path in folder.glob(f"{commands_topic}-*{SUFFIX}"):
        snapshot = Snapshot(path)
        header = snapshot.header
        known = newest.get(header.partition)
        if header.commands_topic == commands_topic and (known is None or known.header.applied < header.applied):
            newest[header.partition] = snapshot
    return newest


def write_snapshot(folder: Path, header: Header, departments: Iterable[DepartmentState]) -> Path:
    """Write a snapshot; nobody ever sees a part of it under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / header.file_name
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=".", suffix=SUFFIX)  # nobody else may read it
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=_COMPRESSION, mtime=0) as file:
                _write_lines(file, header, departments)
            raw.flush()
            os.fsync(raw.fileno())
        Path(temporary).replace(path)
    except BaseException:  # whatever ended it, Ctrl-C too: half a snapshot is not left lying
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _write_lines(file: gzip.GzipFile, header: Header, departments: Iterable[DepartmentState]) -> None:
    digest = sha256()
    count = -1
    for line in _lines(header, departments):
        digest.update(line)
        file.write(line)
        count += 1
    file.write(to_json({"departments": count, "sha256": digest.hexdigest()}) + b"\n")


def _lines(header: Header, departments: Iterable[DepartmentState]) -> Iterator[bytes]:
    yield header.model_dump_json().encode() + b"\n"
    for state in departments:
        yield write_state(state) + b"\n"


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise SnapshotError(f"{path}: there is no such snapshot\ntry: another folder") from error
    except (OSError, EOFError, zlib.error) as error:
        raise _damaged(path, f"it cannot be read to its end ({type(error).__name__})") from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, struct.error) as error:
        raise _damaged(path, "its content is no state of departments") from error


def _damaged(path: Path, why: str) -> SnapshotError:
    return SnapshotError(f"{path.name}: {why}\ntry: another snapshot, or take a new one with opd snapshot")
