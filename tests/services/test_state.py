"""The state folder."""

import socket
from pathlib import Path

import pytest

from services.errors import OpdError
from services.stack.state import keep_last_logs, kept_ports, own


def test_ports_are_kept_between_runs(tmp_path: Path) -> None:
    first = kept_ports(tmp_path, ["kafka", "redis"])
    assert kept_ports(tmp_path, ["redis", "kafka"]) == first
    assert kept_ports(tmp_path, ["allocator"])["allocator"] not in first.values()


def test_a_kept_port_that_somebody_else_took_is_given_up_for_another(tmp_path: Path) -> None:
    first = kept_ports(tmp_path, ["kafka", "redis"])
    with socket.create_server(("127.0.0.1", first["kafka"])):
        later = kept_ports(tmp_path, ["kafka", "redis"])
    assert later["kafka"] != first["kafka"]
    assert later["redis"] == first["redis"]


def test_the_logs_of_the_last_run_are_kept_those_before_are_not(tmp_path: Path) -> None:
    for run in ("first", "second"):
        (tmp_path / "kafka.log").write_text(run)
        keep_last_logs(tmp_path)
    assert [(log.name, log.read_text()) for log in tmp_path.iterdir()] == [("kafka.log.1", "second")]


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OpdError, match=r"the state folder .*file/state cannot be used: .*\ntry: another --state-dir"):
        own(tmp_path / "file" / "state")
