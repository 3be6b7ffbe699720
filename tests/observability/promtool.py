"""`promtool`: of this machine, or out of Debian's package `prometheus`, which is taken apart and not installed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from services.stack.jars import cache_folder

_PACKAGE = "prometheus"
# Read before a test hides what is set outside.
_NEEDED = os.environ.get("OPD_NEED_PROMTOOL") == "1"


def promtool() -> str:
    """Give its path; where there is none the test is skipped, or fails if `OPD_NEED_PROMTOOL` is 1, as in .ci/run."""
    found = shutil.which("promtool")
    kept = cache_folder() / "promtool"
    if found is None and not kept.exists():
        found = _unpacked(kept)
    if found is None and kept.exists():
        found = str(kept)
    if found is None:
        missing = f"no promtool: apt-get install {_PACKAGE}"
        assert not _NEEDED, missing
        pytest.skip(missing)
    return found


def _unpacked(place: Path) -> str | None:
    apt, dpkg = shutil.which("apt-get"), shutil.which("dpkg-deb")
    if apt is None or dpkg is None:
        return None
    place.parent.mkdir(parents=True, exist_ok=True)
    folder = place.with_name(f"{place.name}-{os.getpid()}")
    folder.mkdir()
    try:
        if not _ran(folder, apt, "-qq", "download", _PACKAGE):
            _ran(folder, apt, "-qq", "update")  # an image has no lists yet
            if not _ran(folder, apt, "-qq", "download", _PACKAGE):
                return None
        [package] = folder.glob("*.deb")
        if not _ran(folder, dpkg, "-x", str(package), "all"):
            return None
        (folder / "all" / "usr" / "bin" / "promtool").replace(place)
    finally:
        shutil.rmtree(folder)
    return str(place)


def _ran(folder: Path, *command: str) -> bool:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300).returncode == 0  # noqa: S603  ours
