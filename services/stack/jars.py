"""Kafka's jars: fetched once for all clones of this user, checked against `kafka.lock` before every start.

The lock holds names, versions and sha256 sums, and no host; `python -m services.stack lock` writes it anew.
"""

import fcntl
import hashlib
import os
import sys
import tomllib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.errors import OpdError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

# The exclamation mark keeps log4j's own dependency management from choosing the version of Kafka's jars.
COORDINATES = "org.apache.kafka:kafka_2.13:4.3.0+org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!"
LOCK = Path(__file__).with_name("kafka.lock")
_DOWNLOADS_AT_ONCE = 8


def cache_folder() -> Path:
    """Where downloads are kept for this user: `OPD_CACHE_DIR`, or what the platform has for that."""
    if chosen := os.environ.get("OPD_CACHE_DIR"):
        return Path(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "opd"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opd"


def class_path(report: Callable[[str], None], lock: Path = LOCK) -> list[Path]:
    """The jars of the lock, all there and of the right sum; the missing ones are fetched, `report` hears how far it is.

    Raises:
        OpdError: a jar cannot be had, or what was fetched is not what the lock says.
    """
    repository = cache_folder() / "maven"
    jars = {_path(repository, locked): locked for locked in tomllib.loads(lock.read_text())["dependencies"]}
    repository.mkdir(parents=True, exist_ok=True)
    with (repository / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)  # two first runs at once would write the same files
        missing = [jar for jar, locked in jars.items() if not _is(jar, locked["sha256"])]
        if missing:
            _fetch(missing, jars, repository, report)
    return list(jars)


def _path(repository: Path, locked: dict[str, Any]) -> Path:
    group, artifact, version = locked["groupId"], locked["artifactId"], locked["version"]
    return repository.joinpath(*group.split("."), artifact, version, f"{artifact}-{version}.jar")


def _is(jar: Path, sha256: str) -> bool:
    return jar.exists() and hashlib.sha256(jar.read_bytes()).hexdigest() == sha256


def _fetch(
    missing: list[Path], jars: dict[Path, dict[str, Any]], repository: Path, report: Callable[[str], None]
) -> None:
    context = _maven(repository)

    def fetch(jar: Path) -> None:
        locked = jars[jar]
        jar.unlink(missing_ok=True)
        try:
            component = context.project(locked["groupId"], locked["artifactId"]).at_version(locked["version"])
            component.artifact().resolve()
        except Exception as error:
            raise OpdError(
                f"{jar.name}, a part of Kafka, cannot be fetched: {error}\n"
                "try: again with a network, set OPD_CACHE_DIR to a filled cache, "
                "or name a running Kafka with --kafka HOST:PORT"
            ) from error
        if not _is(jar, locked["sha256"]):
            jar.unlink(missing_ok=True)
            raise OpdError(
                f"{jar.name}, a part of Kafka, was fetched and refused: its sha256 is not the one in {LOCK.name}\n"
                "try: again, or find out what stands between this machine and the Maven repository"
            )

    with ThreadPoolExecutor(_DOWNLOADS_AT_ONCE) as pool:
        for done, _ in enumerate(pool.map(fetch, missing), start=1):
            report(f"fetched {done} of {len(missing)} jars into {repository}")


def _maven(repository: Path) -> "MavenContext":
    from jgo.config import GlobalSettings  # noqa: PLC0415 - needed for downloads only, and slow to import
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    mirrors = GlobalSettings.load().repositories
    return MavenContext(repo_cache=repository, remote_repos={**mirrors, "central": MAVEN_CENTRAL_URL}, timeout=60)


def write_lock(coordinates: str = COORDINATES, lock: Path = LOCK) -> None:
    """Resolve Maven coordinates and all that they need, and write the lock."""
    import jgo  # noqa: PLC0415 - as above

    environment = jgo.build(coordinates, update=True, cache_dir=cache_folder() / "jgo")
    lock.write_text((environment.path / "jgo.lock.toml").read_text())
