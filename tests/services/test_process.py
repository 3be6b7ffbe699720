"""A child process, its keeper, and what is said when it fails."""

import os
import socket
from collections.abc import Iterator
from ctypes.util import find_library
from pathlib import Path

import psutil
import pytest

from services.stack import KafkaServer, ValkeyServer, ports
from services.stack.ports import free_ports
from services.stack.process import PartError, Process
from tests.waiting import until


def never_ready() -> None:
    raise ConnectionError("nobody there")


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    process = Process("part", tmp_path / "part.log", grace_s=0.2)
    yield process
    process.stop()


def test_its_output_is_in_its_log_and_its_exit_code_is_known(process: Process) -> None:
    process.start(["sh", "-c", "echo out; echo err >&2; exit 3"])
    until(lambda: not process.running, "the command has ended")
    assert process.exit_code == 3
    assert sorted(process.last_log_lines()) == ["err", "out"]


def test_what_ignores_sigterm_is_killed_after_the_grace_time_with_all_it_started(process: Process) -> None:
    process.start(["sh", "-c", "trap '' TERM; sleep 300 & echo $!; wait; sleep 300"])
    until(process.last_log_lines, "the shell has started its child")
    grandchild = psutil.Process(int(process.last_log_lines()[0]))
    assert process.stop() == 128 + 9
    until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE, "its child is gone")


def test_a_command_that_is_not_there_is_named(process: Process) -> None:
    with pytest.raises(PartError, match="part cannot be started: /no/such/server"):
        process.start(["/no/such/server"])


def test_one_that_ends_before_it_is_ready_shows_probe_exit_code_log_and_a_way_out(process: Process) -> None:
    process.start(["sh", "-c", "echo the disk is full; exit 7"])
    with pytest.raises(PartError) as failed:
        process.wait_until(never_ready, "a PING", timeout_s=10, hint="free some space")
    assert str(failed.value).splitlines() == [
        "part ended by itself, exit code 7, before a PING passed",
        "  part | the disk is full",
        "try: free some space",
    ]


def test_one_that_never_gets_ready_shows_what_the_probe_last_met(process: Process) -> None:
    process.start(["sleep", "300"])
    with pytest.raises(PartError, match=r"part is not ready after 0.1 s: a PING: nobody there"):
        process.wait_until(never_ready, "a PING", timeout_s=0.1, hint="wait")


def test_no_port_is_given_twice_for_nobody_may_listen_on_it_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_RANGE", ports._RANGE[:50])
    given = [port for _ in range(10) for port in free_ports(2)]
    assert len(set(given)) == len(given) == 20


@pytest.mark.parametrize("server", [KafkaServer, ValkeyServer])
def test_a_busy_port_is_named_with_who_has_it(server: type[KafkaServer | ValkeyServer], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(PartError) as failed:
        server(tmp_path, port=port).start()
    assert f"cannot listen on port {port}: pid {os.getpid()} (" in str(failed.value)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only Linux tells what a process has loaded")
def test_the_wheels_valkey_allocates_as_published_servers_do_where_the_machine_can(valkey_server: ValkeyServer) -> None:
    loaded = Path(f"/proc/{valkey_server.process.pid}/maps").read_text()
    assert ("jemalloc" in loaded) == (find_library("jemalloc") is not None)
