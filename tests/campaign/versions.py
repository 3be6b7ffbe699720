"""The allocator as it was before: the last tag's, or else the last commit's before the engine's newest change."""

import re
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from tests.console import ROOT

ENGINE = ("services/allocator", "allocation_core", "schemas")
GUARDS = "allocation_core/lua/includes/guards.lua"


class Version(NamedTuple):
    """A version's name and where its sources stand."""

    name: str
    root: Path


class NoFormerVersionError(Exception):
    """There is none to roll to; the text says why."""


def former_version(folder: Path) -> Version:
    """Put the sources of the former version into a folder.

    Raises:
        NoFormerVersionError: there is no history, or it kept its state in another layout.
    """
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        raise NoFormerVersionError("no git history is here")
    revision = _git("describe", "--tags", "--abbrev=0", check=False).strip()
    if not revision:
        changes = _git("log", "--format=%h", "-2", "--", *ENGINE).split()
        if len(changes) < 2:
            raise NoFormerVersionError("the history has one version of the engine")
        revision = changes[1]
    if _layout(_git("show", f"{revision}:{GUARDS}")) != _layout((ROOT / GUARDS).read_text(encoding="utf-8")):
        raise NoFormerVersionError(f"{revision} keeps its state in another layout")
    with tarfile.open(fileobj=BytesIO(_run("archive", revision))) as tar:
        tar.extractall(folder, filter="data")
    return Version(revision, folder)


def _git(*words: str, check: bool = True) -> str:
    return _run(*words, check=check).decode()


def _run(*words: str, check: bool = True) -> bytes:
    command = ["git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=check).stdout  # noqa: S603 - words are ours


def _layout(guards: str) -> str:
    found = re.search(r'LAYOUT_VERSION = "(\w+)"', guards)
    assert found is not None
    return found[1]
