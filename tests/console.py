"""The console script: in a process of its own, as a user has it, or in the test's, which takes no seconds to start."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from typer.testing import CliRunner

from services import logs
from services.cli import app

ROOT = Path(__file__).parents[1]
OPD = (sys.executable, "-m", "services.cli")
WITHIN_S = 120.0  # of many seconds of CPU, on a machine that does other things too


def opd(*words: str, timeout_s: float = WITHIN_S, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `opd` with these words to its end."""
    command = [*OPD, *words]
    return subprocess.run(  # noqa: S603 - our own
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | environment, timeout=timeout_s
    )


def opd_here(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `opd` with these words in this process, whose logs stay as they are."""
    with patch.object(logs, "configure"):
        ended = CliRunner().invoke(app, words, env=environment, catch_exceptions=False)
    return subprocess.CompletedProcess(words, ended.exit_code, ended.stdout, ended.stderr)
