"""Finds the browser of the tests, and, for root on a Debian, installs it: `python -m tests.screens.chromium`."""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGES = ("chromium", "fonts-noto-core")
MISSING = "no Chromium on the path, so no test looks at a page: apt-get install chromium fonts-noto-core"


def find() -> str | None:
    """Give the path of a Chromium; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def is_needed() -> bool:
    """Say whether tests must fail without one: where nobody would notice that they were skipped."""
    return os.environ.get("NEED_CHROMIUM") == "1"


def main() -> int:
    """Install one if there is none; give the exit code."""
    if find() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stderr.write("Installing Chromium, which the tests of the pages look through\n")
        quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
            subprocess.run(["apt-get", *words], check=False, **quiet)  # type: ignore[call-overload] # noqa: S603, S607
    if find() is None:
        sys.stderr.write(f"{MISSING}\n")
        return int(is_needed())
    return 0


if __name__ == "__main__":
    sys.exit(main())
