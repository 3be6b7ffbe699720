"""Other versions of the allocator: one of before, and one that keeps its state in another layout."""

import re
import shutil
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from tests.campaign.fault import CannotBePlayed
from tests.console import ROOT

ENGINE = ("services/allocator", "allocation_core", "schemas")
PACKAGES = ("services", "allocation_core", "schemas")
GUARDS = "allocation_core/lua/includes/guards.lua"
LAYOUT = re.compile(r'LAYOUT_VERSION = "(\w+)"')


class Version(NamedTuple):
    """A version's name and where its sources stand."""

    name: str
    root: Path


def former_version(folder: Path) -> Version:
    """Put the last version into a folder: the last tag's, or else the one before the engine's last change.

    Raises:
        CannotBePlayed: there is no history, or it kept its state in another layout.
    """
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        raise CannotBePlayed("no git history is here")
    tag = _git("describe", "--tags", "--abbrev=0", check=False).split()
    changes = _git("log", "--format=%h", "-2", "--", *ENGINE).split()
    if not tag and len(changes) == 1:
        raise CannotBePlayed("the history has one version of the engine")
    revision = (*tag, *changes[1:])[0]
    if _layout(_git("show", f"{revision}:{GUARDS}")) != _layout((ROOT / GUARDS).read_text(encoding="utf-8")):
        raise CannotBePlayed(f"{revision} keeps its state in another layout, see 'two layouts rolled'")
    with tarfile.open(fileobj=BytesIO(_run("archive", revision))) as tar:
        tar.extractall(folder, filter="data")
    return Version(revision, folder)


def version_of_another_layout(folder: Path) -> Version:
    """Put this version into a folder, with a layout that only it knows."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, dirs_exist_ok=True)
    guards = folder / GUARDS
    text, count = LAYOUT.subn('LAYOUT_VERSION = "another"', guards.read_text(encoding="utf-8"))
    assert count == 1
    guards.write_text(text, encoding="utf-8")
    return Version("another layout", folder)


def _git(*words: str, check: bool = True) -> str:
    return _run(*words, check=check).decode()


def _run(*words: str, check: bool = True) -> bytes:
    command = ["git", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=check).stdout  # noqa: S603 - words are ours


def _layout(guards: str) -> str:
    found = LAYOUT.search(guards)
    assert found is not None
    return found[1]
