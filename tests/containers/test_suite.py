"""A part of the integration suite on the images of docker-compose.yml: OPD_TEST_SERVERS=containers takes all of it."""

import os
import subprocess
import sys

import pytest

from tests import compose
from tests.console import ROOT

STACK = "tests/integration/test_stack.py"
PART = [
    f"{STACK}::test_a_valkey_that_was_killed_comes_back_on_its_port_with_what_it_had",
    f"{STACK}::test_a_kafka_that_was_killed_comes_back_on_its_port_with_what_it_had",
    f"{STACK}::test_a_postgresql_that_was_killed_comes_back_on_its_port_with_what_it_had",
    "tests/integration/test_simulate_and_verify.py::test_a_day_through_two_allocators_is_proven",
]


def why_not() -> str:
    """Say what keeps containers from being started here; nothing if they can be."""
    images = [compose.services()[name]["image"] for name in ("kafka", "redis", "postgres")]
    for words in (["info"], *(["image", "inspect", image] for image in images)):
        try:
            subprocess.run(["docker", *words], capture_output=True, check=True, timeout=30)  # noqa: S603, S607  by its name
        except FileNotFoundError:
            return "there is no docker here"
        except subprocess.SubprocessError:
            return f"docker {' '.join(words)} does not succeed here"
    return ""


def test_what_holds_on_embedded_servers_holds_on_those_of_the_compose_file() -> None:
    if reason := why_not():
        pytest.skip(reason)
    ran = subprocess.run(  # noqa: S603  ours
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *PART],
        env=os.environ | {"OPD_TEST_SERVERS": "containers"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
    assert f"{len(PART)} passed" in ran.stdout
