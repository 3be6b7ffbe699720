"""The console script: quick help, settings and flags, failures in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.cli import COMMANDS
from tests.console import ROOT, opd, opd_here


def test_help_names_every_command_and_imports_none_so_that_it_is_quick() -> None:
    help_and_modules = (
        "import sys; from services.cli import app; sys.argv = ['opd', '--help']; "
        "app(standalone_mode=False); print(*sorted(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", help_and_modules]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)  # noqa: S603 - ours
    assert all(f" {name} " in shown.stdout for name in COMMANDS)
    ours = ("allocation_core", "schemas", "services")
    assert [name for name in shown.stderr.split() if name.startswith(ours)] == [
        "services",
        "services.cli",
        "services.errors",
    ]


GROUPS = {
    "dead-letters": [("list",), ("show",), ("replay",)],
    "topics": [("trim",)],
    "history": [("migrate",), ("rebuild",)],
}


@pytest.mark.parametrize("words", [(name, *word) for name in COMMANDS for word in GROUPS.get(name, [()])])
def test_every_command_explains_its_options(words: tuple[str, ...]) -> None:
    shown = opd_here(*words, "--help", COLUMNS="200")
    assert shown.returncode == 0
    assert "--debug" in shown.stdout


def test_a_group_shows_its_commands() -> None:
    for group, words in GROUPS.items():
        shown = opd_here(group, "--help")
        assert shown.returncode == 0
        assert all(f" {word} " in shown.stdout for [word] in words)


def test_a_wrong_setting_is_named_before_anything_is_touched(tmp_path: Path) -> None:
    state = tmp_path / "state"
    refused = opd_here("up", f"--state-dir={state}", OPD_LOG_LEVEL="loud")
    assert refused.returncode == 2
    assert refused.stderr.startswith("opd: OPD_LOG_LEVEL ('loud'): Input should be 'debug', 'info'")
    assert len(refused.stderr.splitlines()) == 1
    assert not state.exists()


def test_a_flag_wins_over_the_variable_and_is_named_when_wrong() -> None:
    refused = opd_here("topics", "--http-port=99999", OPD_HTTP_PORT="1")
    assert refused.returncode == 2
    assert refused.stderr.startswith("opd: --http-port ('99999'): ")


def test_a_wrong_redis_url_is_refused_without_being_shown() -> None:
    refused = opd_here("topics", OPD_REDIS_URL="http://user:secret@host")
    assert refused.returncode == 2
    assert "OPD_REDIS_URL" in refused.stderr
    assert "secret" not in refused.stderr


def test_an_unknown_option_is_a_usage_error() -> None:
    assert opd_here("topics", "--no-such-thing").returncode == 2


def test_a_failure_is_told_without_a_traceback_unless_asked_for() -> None:
    words = ("topics", "--kafka-bootstrap-servers=127.0.0.1:1", "--timeout=0")
    plain, debug = opd_here(*words), opd_here(*words, "--debug")
    assert (plain.returncode, debug.returncode) == (1, 1)
    assert plain.stderr.startswith("opd: no Kafka at 127.0.0.1:1")
    assert plain.stdout == ""
    assert "Traceback" not in plain.stderr
    assert "Traceback" in debug.stderr


def test_a_command_whose_extra_is_not_installed_says_which() -> None:
    without = (
        "import sys; sys.modules['psutil'] = None; sys.argv = ['opd', 'up']; from services.cli import main; main()"
    )
    ended = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603 - ours
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "opd: opd up needs psutil, which is not installed here",
        "try: pip install 'opd-token-engine[embedded]'",
    ]


def test_logs_go_to_stderr_as_json_if_wished() -> None:
    words = ("topics", "--kafka-bootstrap-servers=127.0.0.1:1", "--timeout=2")
    logged = opd(*words, OPD_LOG_FORMAT="json")
    assert '"event": "waiting for Kafka"' in logged.stderr
    assert logged.stdout == ""
