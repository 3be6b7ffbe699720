"""Snapshots on a running system: taken while it goes on, loaded where the state is lost, trimmed behind."""

import asyncio
import gzip
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from random import Random

import pytest
from aiokafka import TopicPartition
from pydantic_core import from_json, to_json
from redis import Redis

from allocation_core.digests import department_digest
from allocation_core.model import Model
from allocation_core.state import DepartmentState, differences, state_of
from allocation_core.stored_state import StoredPartition
from schemas.wire import command_key
from services.allocator.kafka import partitioner
from services.auditor.kafka import AuditError, audit_topics
from services.auditor.report import Report
from services.rebuild import StateError, rebuild
from services.redis import connect_redis
from services.settings import Settings
from services.snapshots.command import restore, snapshot, trim
from services.snapshots.file import Header, Snapshot, SnapshotError, write_snapshot
from services.topics import ensure_topics
from tests.core.days import random_commands
from tests.integration.running import RunningAllocator, create_topics, publish
from tests.integration.test_allocator import a_random_day, applied
from tests.integration.test_redis_equals_the_model import publish_in_parts
from tests.integration.test_simulate_and_verify import trim as delete_records
from tests.waiting import WITHIN_S, until

States = dict[str, DepartmentState]


def audit(settings: Settings, snapshots: Path | None = None) -> Report:
    report = audit_topics(settings, wait_s=60, redis=True, snapshots=snapshots)
    assert report.holds, report.breaches
    return report


def flush(settings: Settings) -> None:
    with Redis.from_url(settings.redis_url) as redis:
        redis.flushall()


def states(settings: Settings, partition: int = 0) -> States:
    async def read() -> States:
        redis = connect_redis(settings.redis_url)
        stored = StoredPartition(redis, partition)
        found = {name: await stored.read(name, indexes=True) async for name in stored.departments()}
        await redis.aclose()
        assert not any(read.faults for read in found.values())
        return {name: read.state for name, read in found.items() if read.state is not None}

    return asyncio.run(read())


def decide(settings: Settings, seed: int, count: int) -> None:
    """Let a day of one partition be decided."""
    create_topics(settings, partitions=1)
    publish(settings, a_random_day(seed, count))
    with RunningAllocator(settings):
        until(lambda: applied(settings, 0) == count - 1, "all is applied")


def test_snapshots_taken_under_load_are_of_one_offset_each(settings: Settings, tmp_path: Path) -> None:
    create_topics(settings, partitions=2)
    day = a_random_day(seed=21, count=5_000)
    with RunningAllocator(settings):
        publish(settings, day[:2_000])
        until(lambda: min(applied(settings, 0), applied(settings, 1)) >= 0, "there is a state of each")
        sending = threading.Thread(target=publish_in_parts, args=(settings, day[2_000:]))
        sending.start()
        snapshot(settings, out=tmp_path, every=True)
        while sending.is_alive():
            snapshot(settings, out=tmp_path, every=True)
        sending.join()
        until(lambda: applied(settings, 0) + applied(settings, 1) == len(day) - 2, "all is applied")
        snapshot(settings, out=tmp_path, every=True)
        audit(settings)

    paths = sorted(tmp_path.iterdir())[:6]
    assert len(paths) > 2
    assert all(path.stat().st_mode & 0o077 == 0 for path in paths)
    for path in paths:
        saved = Snapshot(path)
        found = {department_digest(state.name): replace(state, name="") for state in saved.departments()}
        expected = replayed(seed=21, count=5_000, header=saved.header)
        for digest, state in expected.items():
            assert list(differences(state, found[digest])) == [], path
        assert found == expected
        alone = tmp_path / path.name.partition(".opd")[0]
        alone.mkdir()
        shutil.copy(path, alone)
        report = audit(settings, alone)
        assert report.began_behind == {saved.header.partition: saved.header.applied}
        assert report.commands == len(day) - saved.header.applied - 1


def replayed(seed: int, count: int, header: Header) -> dict[bytes, DepartmentState]:
    """Where the model is led to by a random day's commands of one of two partitions, by the digests of the names."""
    model = Model()
    offset = -1
    for command, timestamp_ms in random_commands(seed, count):
        if partitioner(2)(command_key(command)) == header.partition:
            offset += 1
            if offset <= header.applied:
                model.decide(command, timestamp_ms)
    return {department_digest(one.name): replace(one, name="") for one in map(state_of, model.departments.values())}


def test_a_snapshot_is_loaded_under_a_running_allocator(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decide(settings, seed=5, count=2_000)
    with RunningAllocator(settings) as allocator:
        snapshot(settings, out=tmp_path, every=True)
        with pytest.raises(SnapshotError, match="no usable snapshot later than offset 1999"):
            restore(settings, folder=tmp_path, every=True)
        with Redis.from_url(settings.redis_url) as redis:
            redis.hset("opd{0}", "half", "1")
            until(lambda: "the state is rebuilt" in allocator.log, "it is rebuilt")
            allocator.process.send_signal(signal.SIGSTOP)  # it looks now and then, and would rebuild it before
            redis.hset("opd{0}", "applied", "100")
        restore(settings, folder=tmp_path, every=True)
        allocator.process.send_signal(signal.SIGCONT)
        publish(settings, a_random_day(seed=6, count=200))
        audit(settings)
    assert "partition 0: restored to offset 1999" in capsys.readouterr().out


def test_an_owner_that_finds_nothing_begins_from_the_newest_usable_snapshot(settings: Settings, tmp_path: Path) -> None:
    decide(settings, seed=9, count=3_000)
    with RunningAllocator(settings):
        snapshot(settings, out=tmp_path, every=True)
    (whole,) = tmp_path.iterdir()
    newer = tmp_path / whole.name.replace("2999", "3000")
    newer.write_bytes(whole.read_bytes()[:-100])
    flush(settings)

    with RunningAllocator(settings.model_copy(update={"snapshot_folder": tmp_path})) as allocator:
        publish(settings, a_random_day(seed=10, count=300))
        audit(settings)
        log = allocator.log
    assert "snapshot not used" in log
    assert f"{newer.name}: it cannot be read to its end" in log
    assert "rebuilding from a snapshot" in log


def test_what_a_snapshot_covers_may_go_and_the_system_is_rebuilt_from_it(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    decide(settings, seed=31, count=2_000)
    with RunningAllocator(settings):
        snapshot(settings, out=tmp_path, every=True)
        with pytest.raises(SnapshotError, match="events are published only of the commands before offset 1999"):
            trim(settings, snapshot=tmp_path, every=True)
        publish(settings, a_random_day(seed=32, count=500))
        until(lambda: applied(settings, 0) == 2_499, "all is applied")
        audit(settings)
    before = states(settings)
    trim(settings, snapshot=tmp_path, every=True)
    with pytest.raises(AuditError, match="begins at 1999"):
        audit(settings)
    assert audit(settings, tmp_path).began_behind == {0: 1_999}
    assert "the commands begin at offset 1999 now" in capsys.readouterr().out
    with pytest.raises(StateError, match="cannot be rebuilt"):
        rebuild(settings, every=True)

    flush(settings)
    with_snapshots = settings.model_copy(update={"snapshot_folder": tmp_path})
    with RunningAllocator(settings, wait=False) as lost:
        assert lost.process.wait(WITHIN_S) == 1
        assert "begins at offset 1999, but 0 is needed" in lost.log
    with RunningAllocator(with_snapshots):
        until(lambda: applied(settings, 0) == 2_499, "all is applied")
        rebuild(with_snapshots, every=True)
        publish(settings, a_random_day(seed=33, count=10))
        until(lambda: applied(settings, 0) == 2_509, "all is applied")
        assert audit(settings, tmp_path).commands == 510
    assert set(map(department_digest, before)) <= set(map(department_digest, states(settings)))


def lines_of(path: Path) -> list[bytes]:
    return gzip.decompress(path.read_bytes()).splitlines(keepends=True)


def put_lines(path: Path, lines: list[bytes]) -> None:
    path.write_bytes(gzip.compress(b"".join(lines)))


def with_header(path: Path, **changed: object) -> None:
    """Change the header, and make the checksum right again."""
    header, *departments, _ = lines_of(path)
    seal(path, [to_json({**from_json(header), **changed}) + b"\n", *departments])


def seal(path: Path, lines: list[bytes]) -> None:
    """Write lines with a checksum that is right."""
    end = {"departments": len(lines) - 1, "sha256": sha256(b"".join(lines)).hexdigest()}
    put_lines(path, [*lines, to_json(end) + b"\n"])


SPOILT: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: path.write_bytes(path.read_bytes()[:-1]), "it cannot be read to its end"),
    (lambda path: path.write_bytes(b""), "it is no snapshot of version 2"),
    (lambda path: path.write_bytes(b"anything"), "it cannot be read to its end"),
    (lambda path: put_lines(path, lines_of(path)[:-1]), "its content is no state|its checksum is not"),
    (lambda path: put_lines(path, [*lines_of(path)[:1], *lines_of(path)[2:]]), "its checksum is not that of"),
    (lambda path: put_lines(path, [line.replace(b"p1", b"p2") for line in lines_of(path)]), "its checksum is not"),
    (lambda path: with_header(path, version=3), r"it is no snapshot of version 2 \(version\)"),
    (lambda path: with_header(path, partition=1), "it is of partition 1 of"),
    (lambda path: with_header(path, commands_topic="others"), "it is of partition 0 of others"),
    (lambda path: with_header(path, digest="0" * 32), "it is of another log: the record that it ends with is another"),
    (lambda path: with_header(path, applied=5), "it is of another log"),
    (lambda path: with_header(path, applied=500), "events are published only of the commands before offset 400"),
    (lambda path: path.unlink(), "try: another folder"),
]


def test_a_snapshot_that_is_damaged_or_of_something_else_is_refused(settings: Settings, tmp_path: Path) -> None:
    decide(settings, seed=3, count=400)
    with RunningAllocator(settings):
        snapshot(settings, out=tmp_path, every=True)
    flush(settings)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for spoil, why in SPOILT:
        spoil(path)
        with pytest.raises(SnapshotError, match=f"no usable snapshot in(.|\n)*{why}"):
            restore(settings, folder=tmp_path, every=True)
        path.write_bytes(whole)
    with_header(path, version=1)  # one that knows all names
    restore(settings, folder=tmp_path, every=True)
    flush(settings)
    asyncio.run(delete_records(settings, TopicPartition(settings.commands_topic, 0), 400))
    with pytest.raises(SnapshotError, match="does not hold its last record"):
        restore(settings, folder=tmp_path, every=True)


def test_there_is_no_snapshot_of_nothing_nor_of_what_is_not_published(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(ensure_topics(settings, partitions=1))
    with pytest.raises(SnapshotError, match="Redis holds no state of it"):
        snapshot(settings, out=tmp_path, every=True)
    publish(settings, a_random_day(seed=3, count=20))
    with RunningAllocator(settings):
        until(lambda: applied(settings, 0) == 19, "all is applied")
    other = settings.model_copy(update={"consumer_group": "others"})
    with pytest.raises(SnapshotError, match="the group others has committed 0, but Redis applied 19"):
        snapshot(other, out=tmp_path, every=True, wait_s=0)
    with Redis.from_url(settings.redis_url) as redis:
        redis.hset("opd{0}", "digest", "0" * 32)
    with pytest.raises(SnapshotError, match="Redis belongs to another log"):
        snapshot(settings, out=tmp_path, every=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("seed", range(6))
def test_the_state_of_a_random_day_outlives_a_file(seed: int, tmp_path: Path) -> None:
    model = Model()
    for command, timestamp_ms in random_commands(seed, Random(seed).randint(1, 3_000)):
        model.decide(command, timestamp_ms)
    before = [state_of(department) for department in model.departments.values()]
    header = Header(commands_topic="c", partition=0, applied=1, digest="", committed=2, created_at="2026-11-23")
    saved = Snapshot(write_snapshot(tmp_path, header, before))
    assert list(saved.departments()) == before
    assert saved.header == header
    again = write_snapshot(tmp_path / "again", header, before)
    assert again.read_bytes() == saved.path.read_bytes()


@pytest.mark.parametrize("odd", [None, [], {}, -1, 2**70, "", 1.5])
def test_a_state_that_is_none_is_told_though_its_checksum_is_right(odd: object, tmp_path: Path) -> None:
    model = Model()
    for command, timestamp_ms in random_commands(seed=1, count=200):
        model.decide(command, timestamp_ms)
    header = Header(commands_topic="c", partition=0, applied=1, digest="", committed=2, created_at="2026-11-23")
    states = [state_of(department) for department in model.departments.values() if department.tokens]
    path = write_snapshot(tmp_path, header, states)
    first, department, *others, _ = lines_of(path)
    token = from_json(department)["tokens"][0]
    for place in range(len(token)):
        changed = from_json(department)
        changed["tokens"][0][place] = odd
        seal(path, [first, to_json(changed) + b"\n", *others])
        with suppress(SnapshotError):  # not every value is odd everywhere
            Snapshot(path).verify()
    seal(path, [first, to_json(odd) + b"\n", *others])
    with pytest.raises(SnapshotError, match="its content is no state of departments"):
        Snapshot(path).verify()
