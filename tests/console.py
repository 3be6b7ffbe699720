"""The console script in a process of its own, as a user has it."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OPD = (sys.executable, "-m", "services.cli")


def opd(*words: str, timeout_s: float = 60, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `opd` with these words to its end."""
    command = [*OPD, *words]
    return subprocess.run(  # noqa: S603 - our own
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=os.environ | environment, timeout=timeout_s
    )
