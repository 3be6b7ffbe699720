"""docker-compose.yml and the Dockerfile say what the settings, the contract and the services say."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas import topics
from services import healthcheck
from services.cli import COMMANDS
from services.settings import Settings
from tests import compose
from tests.console import ROOT
from tests.waiting import until

DOCKERFILE = (ROOT / "Dockerfile").read_text()
CLUSTER = compose.variables_in(ROOT / "deploy" / "cluster.env")
ALONE, TOGETHER = compose.services(), compose.services(**CLUSTER)
OURS = {name: service for name, service in ALONE.items() if service["image"].startswith("opd-token-engine:")}
RUNNING = {name: service for name, service in ALONE.items() if service.get("restart") == "unless-stopped"}
PREPARING = {name: service for name, service in ALONE.items() if service.get("entrypoint", [])[-1:] == ["prepare"]}
SETTINGS = {f"OPD_{name.upper()}" for name in Settings.model_fields}


def default_ports() -> dict[str, int]:
    """Give the port of each service that has one."""
    files = {file.parent.name: file.read_text() for file in (ROOT / "services").glob("*/command.py")}
    found = {name: re.search(r"^DEFAULT_HTTP_PORT = (\d+)$", text, re.MULTILINE) for name, text in files.items()}
    return {name: int(port[1]) for name, port in found.items() if port}


def environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def listeners(service: dict[str, Any], name: str) -> dict[str, str]:
    return dict(each.split("://") for each in environment(service)[name].split(","))


def test_every_service_runs_in_it() -> None:
    ports = default_ports()
    assert ports.keys() >= {"allocator", "history", "gateway"}
    for name, port in ports.items():
        assert OURS.get(name, {}).get("command") == [name], name
        assert port in healthcheck.DEFAULT_PORTS
        assert OURS[name]["healthcheck"]["test"] == ["CMD", "python", "-m", "services.healthcheck", "ready"]
        for published in OURS[name].get("ports", []):
            assert published.endswith(f":{port}"), name


@pytest.mark.parametrize("name", OURS)
def test_what_it_says_to_our_services_are_settings(name: str) -> None:
    told = environment(OURS[name])
    assert told.keys() <= SETTINGS
    Settings.model_validate({key.removeprefix("OPD_").lower(): value for key, value in told.items()})
    words = OURS[name].get("command", [])
    alone = words and "entrypoint" not in OURS[name]
    commands = [words[0]] if alone else re.findall(r"\bopd ([a-z-]+)", " ".join(words))
    assert set(commands) <= COMMANDS.keys()


def test_what_the_image_sets_are_settings() -> None:
    assert set(re.findall(r"\b(OPD_\w+)=", DOCKERFILE)) <= SETTINGS
    assert '"python", "-m", "services.healthcheck"' in DOCKERFILE
    assert 'ENTRYPOINT ["opd"]' in DOCKERFILE


@pytest.mark.parametrize("services", [ALONE, TOGETHER], ids=["alone", "together"])
def test_addresses_are_those_of_its_servers(services: dict[str, Any]) -> None:
    told = environment(services["allocator"])
    brokers = [name for name in services if name.startswith("kafka") and (services is TOGETHER or name == "kafka")]
    assert told["OPD_KAFKA_BOOTSTRAP_SERVERS"].split(",") == [f"{name}:19092" for name in brokers]
    voters = [f"{number}@{name}:9093" for number, name in enumerate(brokers, 1)]
    for number, name in enumerate(brokers, 1):
        kafka = environment(services[name])
        assert kafka["KAFKA_NODE_ID"] == f"{number}"
        assert kafka["KAFKA_CONTROLLER_QUORUM_VOTERS"].split(",") == voters
        inside = listeners(services[name], "KAFKA_LISTENERS")
        outside = listeners(services[name], "KAFKA_ADVERTISED_LISTENERS")
        assert outside["NETWORK"] == f"{name}{inside['NETWORK']}"
        host, port = outside["HOST"].split(":")
        assert (host, services[name]["ports"]) == ("localhost", [f"127.0.0.1:{port}{inside['HOST']}"])
    url = re.fullmatch(r"redis(\+cluster)?://([\w-]+):6379(/0)?", told["OPD_REDIS_URL"])
    assert url
    assert ("--cluster-enabled yes" in services[url[2]]["command"]) == bool(url[1])
    assert re.fullmatch(r"postgresql://opd@postgres:5432/opd", told["OPD_POSTGRES_URL"])
    postgres = environment(services["postgres"])
    assert (postgres["POSTGRES_USER"], postgres["POSTGRES_DB"]) == ("opd", "opd")
    for name in ("history", "gateway", "opd"):
        assert environment(services[name])["OPD_POSTGRES_PASSWORD_FILE"] == postgres["POSTGRES_PASSWORD_FILE"]


def test_the_topics_are_the_contracts() -> None:
    named = {"OPD_COMMANDS_TOPIC", "OPD_EVENTS_TOPIC", "OPD_DEAD_LETTERS_TOPIC", "OPD_CONSUMER_GROUP"}
    assert not any(named & environment(service).keys() for service in OURS.values())
    assert [topic.name for topic in topics.TOPICS] == [
        Settings.model_fields[f"{name}_topic"].default for name in ("commands", "events", "dead_letters")
    ]
    assert environment(ALONE["kafka"])["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert ALONE["topics"]["command"][:2] == ["opd", "topics"]
    assert ALONE["topics"]["command"][-1] == "--replication-factor=1"
    assert TOGETHER["topics"]["command"][-1] == "--replication-factor=3"


def test_nothing_that_was_acknowledged_is_dropped() -> None:
    for services, copies, at_least in ((ALONE, "1", "1"), (TOGETHER, "3", "2")):
        for kafka in (service for name, service in services.items() if name.startswith("kafka")):
            told = environment(kafka)
            assert told["KAFKA_LOG_RETENTION_MS"] == "-1"
            assert {told[name] for name in told if name.endswith("REPLICATION_FACTOR")} == {copies}
            assert {told[name] for name in told if name.endswith(("MIN_ISR", "MIN_INSYNC_REPLICAS"))} == {at_least}
            (volume,) = kafka["volumes"]
            assert volume.endswith(f":{told['KAFKA_LOG_DIRS']}")
    redis = [service["command"] for name, service in ALONE.items() if re.fullmatch(r"redis(-\d)?", name)]
    assert len(redis) == 7
    for command in redis:
        assert "--appendonly yes" in command
        assert "--maxmemory-policy noeviction" in command


@pytest.mark.parametrize("name", ALONE)
def test_images_are_named_by_version(name: str) -> None:
    image = ALONE[name]["image"]
    assert re.fullmatch(r"[\w/-]+:v?\d+\.\d+(\.\d+)?(@sha256:[0-9a-f]{64})?|opd-token-engine:dev", image), image


@pytest.mark.parametrize("name", ALONE)
def test_no_port_is_open_to_the_world(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in ALONE[name].get("ports", []))
    assert "no-new-privileges:true" in ALONE[name]["security_opt"]
    assert ALONE[name].get("network_mode") in {None, "none"}
    assert not ALONE[name].get("privileged")


@pytest.mark.parametrize("name", RUNNING)
def test_what_runs_has_limits_and_a_health_check(name: str) -> None:
    assert RUNNING[name]["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}
    assert "test" in RUNNING[name]["healthcheck"]


@pytest.mark.parametrize("name", ALONE)
def test_what_one_waits_for_can_come(name: str) -> None:
    for other, how in ALONE[name].get("depends_on", {}).items():
        assert how["condition"] == "service_healthy"
        assert other in RUNNING | PREPARING
        # Compose refuses to wait for what another profile starts, unless it need not be there.
        profiles = set(ALONE[other].get("profiles", []))
        assert profiles <= set(ALONE[name].get("profiles", [])) or how.get("required") is False


@pytest.mark.parametrize("services", [ALONE, TOGETHER], ids=["alone", "together"])
def test_nothing_ends_before_the_simulation(services: dict[str, Any]) -> None:
    """`up --exit-code-from simulation` ends all of it as soon as anything ends."""
    chosen = {"simulation"} | ({"cluster"} if services is TOGETHER else set())
    started = {name for name, service in services.items() if set(service.get("profiles", chosen)) & chosen}
    assert started - RUNNING.keys() - PREPARING.keys() == {"simulation"}
    assert services["simulation"]["restart"] == "no"


@pytest.mark.parametrize("name", PREPARING)
def test_what_prepares_stays_when_it_is_done_and_fails_with_what_it_does(name: str, tmp_path: Path) -> None:
    done = tmp_path / "done"
    (looked_for,) = re.findall(r"(/\S+)", PREPARING[name]["healthcheck"]["test"][-1])
    assert Path(looked_for).parent.as_posix() in PREPARING[name]["tmpfs"], "a stopped one forgets that it was done"
    entrypoint = [word.replace(looked_for, str(done)) for word in PREPARING[name]["entrypoint"]]
    with _started([*entrypoint, "sh", "-c", "exit 3"]) as failing:
        assert failing.wait(timeout=30) == 3
    assert not done.exists()
    with _started([*entrypoint, "sh", "-c", f"test ! -e {done}"]) as process:
        until(done.exists, "it says that it is done")
        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=30) == 0


@contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Start it; what it left running ends with it, as in a container."""
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603  ours
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_cluster_sets_what_there_is_to_set() -> None:
    asked = set(re.findall(r"\$\{(\w+)", compose.FILE.read_text()))
    assert {name for name in CLUSTER if not name.startswith("COMPOSE_")} <= asked
    assert CLUSTER["COMPOSE_PROFILES"] in TOGETHER["kafka-3"]["profiles"]


def test_prometheus_asks_where_the_services_are() -> None:
    described = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    asked = {
        (name, found["port"], found["type"])
        for job in described["scrape_configs"]
        for found in job.get("dns_sd_configs", [])
        for name in found["names"]
    }
    assert asked == {(name, port, "A") for name, port in default_ports().items()}


def test_folders_that_are_mounted_are_there() -> None:
    mounted = [volume.split(":")[0] for service in ALONE.values() for volume in service.get("volumes", [])]
    files = [Path(source) for source in mounted if source.startswith("./")]
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []
    assert {source for source in mounted if not source.startswith("./")} == compose.read()["volumes"].keys()


def test_what_the_image_is_built_of_reaches_the_build() -> None:
    let_through = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        word for words in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for word in words.split()
    }
    assert copied == let_through


def test_what_is_made_in_the_image_is_what_volumes_are_mounted_on() -> None:
    made = re.search(r"install -d -o opd -g opd (.*)$", DOCKERFILE, re.MULTILINE)
    assert made
    writable = {
        volume.split(":")[1]
        for service in OURS.values()
        for volume in service.get("volumes", [])
        if not volume.endswith(":ro")
    }
    assert writable <= set(made[1].split())
