"""Kafka's jars against their lock, and the Java that runs them."""

import functools
import hashlib
import http.server
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.errors import OpdError
from services.stack.jars import cache_folder, class_path
from services.stack.java import find_java
from services.stack.ports import free_ports

RIGHT = b"what was locked"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Maven repository of our own in place of the central one, and an empty cache; gives the file of its one jar."""
    jar = tmp_path / "repository" / "org" / "opd" / "part" / "1.0" / "part-1.0.jar"
    jar.parent.mkdir(parents=True)
    jar.write_bytes(RIGHT)
    handler = functools.partial(_Quiet, directory=str(tmp_path / "repository"))
    monkeypatch.setenv("OPD_CACHE_DIR", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        monkeypatch.setattr("jgo.constants.MAVEN_CENTRAL_URL", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield jar
        server.shutdown()
        thread.join()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "kafka.lock"
    file.write_text(
        "[[dependencies]]\n"
        'groupId = "org.opd"\nartifactId = "part"\nversion = "1.0"\n'
        f'sha256 = "{hashlib.sha256(RIGHT).hexdigest()}"\n'
    )
    return file


def test_a_jar_is_fetched_once(repository: Path, lock: Path) -> None:
    news: list[str] = []
    (jar,) = class_path(news.append, lock)
    assert jar.read_bytes() == RIGHT
    assert len(news) == 1
    repository.unlink()
    assert class_path(news.append, lock) == [jar]
    assert len(news) == 1


def test_a_jar_of_another_sum_is_refused_and_not_kept(repository: Path, lock: Path) -> None:
    repository.write_bytes(b"something else")
    with pytest.raises(OpdError, match=r"part-1\.0\.jar, a part of Kafka, was fetched and refused: its sha256"):
        class_path(lambda _: None, lock)
    assert not list(cache_folder().rglob("*.jar"))


def test_a_jar_damaged_in_the_cache_is_fetched_again(repository: Path, lock: Path) -> None:
    (jar,) = class_path(lambda _: None, lock)
    jar.write_bytes(RIGHT[:5])
    class_path(lambda _: None, lock)
    assert jar.read_bytes() == repository.read_bytes()


def test_no_network_is_one_clear_error(lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jgo.constants.MAVEN_CENTRAL_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("OPD_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(OpdError, match=r"part-1\.0\.jar, a part of Kafka, cannot be fetched: .*\ntry: .*--kafka"):
        class_path(lambda _: None, lock)


def a_java(folder: Path, version: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2026-01-01' >&2\n")
    java.chmod(0o755)
    return java


def test_where_there_is_no_wheel_a_java_of_the_system_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("JAVA_HOME", str(a_java(tmp_path / "old", "1.8.0_432").parents[1]))
    java = a_java(tmp_path / "new", "21.0.9")
    monkeypatch.setenv("PATH", str(java.parent))
    assert find_java() == java


def test_a_java_too_old_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    java = a_java(tmp_path, "11.0.2")
    monkeypatch.setenv("PATH", str(java.parent))
    with pytest.raises(OpdError, match=f"Kafka needs a java >= 17: {java} is Java 11"):
        find_java()
