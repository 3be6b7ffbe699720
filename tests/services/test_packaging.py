"""What an installed package must carry besides its modules."""

import tomllib

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
