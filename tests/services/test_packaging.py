"""What an installed package must carry besides its modules."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.console import ROOT

NOT_READ_AT_RUN_TIME = ROOT / "schemas" / "exported"


@pytest.mark.parametrize("package", ["schemas", "allocation_core", "services"])
def test_every_file_that_a_module_reads_is_packaged(package: str) -> None:
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packaged = {
        file
        for name, patterns in setuptools["package-data"].items()
        for pattern in patterns
        for file in ROOT.joinpath(*name.split(".")).glob(pattern)
    }
    there = {
        file
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix not in {".py", ".pyc"} and NOT_READ_AT_RUN_TIME not in file.parents
    }
    assert there <= packaged


def test_the_image_runs_the_versions_that_were_tested() -> None:
    in_image, tested = (_locked(ROOT / name) for name in ("requirements-image.lock", "requirements.lock"))
    assert in_image
    assert in_image.items() <= tested.items()


def _locked(file: Path) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", file.read_text(), re.MULTILINE))
