"""deploy/kubernetes: valid for Kubernetes, and true of the services: settings, ports, probes, who reaches whom."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from schemas import topics
from services.allocator.app import REBALANCE_TIMEOUT_MS
from services.allocator.command import DEFAULT_HTTP_PORT as ALLOCATOR_PORT
from services.board.command import DEFAULT_HTTP_PORT as BOARD_PORT
from services.cli import COMMANDS
from services.gateway.command import DEFAULT_HTTP_PORT as GATEWAY_PORT
from services.history.command import DEFAULT_HTTP_PORT as HISTORY_PORT
from services.history.postgres import ANSWERS_WITHIN_S
from services.notifier.command import DEFAULT_HTTP_PORT as NOTIFIER_PORT
from services.notifier.sender import TRIES_AT_ONCE
from services.settings import Settings, read_settings
from tests.certificates import make_certificates
from tests.integration.secured import documented_users

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
# The oldest release that has all that is used here, and the newest that the schemas know.
RELEASES = ["1.30.0", "1.37.0"]
NOT_OF_KUBERNETES = {"ScaledObject", "TriggerAuthentication", "PodMonitor"}
PORTS = {
    "allocator": ALLOCATOR_PORT,
    "history": HISTORY_PORT,
    "gateway": GATEWAY_PORT,
    "board": BOARD_PORT,
    "notifier": NOTIFIER_PORT,
}
# How long each may take to stop, in seconds: what is in flight must be finished, or come to its own timeout.
STOPS_WITHIN_S = {
    "allocator": REBALANCE_TIMEOUT_MS / 1000,
    "history": ANSWERS_WITHIN_S,
    "gateway": 15 + 5,
    "board": 15 + 5,
    "notifier": TRIES_AT_ONCE * (15 + 4 + 1),
}
# Mail servers, and whatever is asked over https.
CHANNELS = {465, 587, 443}

Manifest = dict[str, Any]


@cache
def manifests() -> dict[Path, list[Manifest]]:
    """What stands in each file, but for kustomize's own."""
    files = sorted(path for path in FOLDER.rglob("*.yaml") if path.name != "kustomization.yaml")
    return {path: list(yaml.safe_load_all(path.read_text())) for path in files}


def of_kind(*kinds: str) -> list[Manifest]:
    return [one for several in manifests().values() for one in several if one["kind"] in kinds]


def named(kind: str) -> dict[str, Manifest]:
    return {one["metadata"]["name"]: one for one in of_kind(kind)}


def pods() -> dict[str, Manifest]:
    """Each pod template, by the service's name."""
    found = {}
    for one in of_kind("Deployment", "Job", "CronJob"):
        spec = one["spec"]["jobTemplate"]["spec"] if one["kind"] == "CronJob" else one["spec"]
        found[one["metadata"]["name"].removeprefix("opd-")] = spec["template"]
    return found


def container(pod: Manifest) -> Manifest:
    (one,) = pod["spec"]["containers"]
    found: Manifest = one
    return found


def shared_settings(name: str) -> dict[str, str]:
    """What stands in a ConfigMap that kustomize makes of a file."""
    made = yaml.safe_load((FOLDER / "base" / "kustomization.yaml").read_text())["configMapGenerator"]
    (file,) = next(each["envs"] for each in made if each["name"] == name)
    return dict(line.split("=", 1) for line in (FOLDER / "base" / file).read_text().splitlines())


def environment(pod: Manifest) -> dict[str, str]:
    own = {each["name"]: each["value"] for each in container(pod)["env"]}
    for source in container(pod)["envFrom"]:
        own |= shared_settings(source["configMapRef"]["name"])
    return own


@pytest.mark.parametrize("release", RELEASES)
def test_every_manifest_is_valid(release: str) -> None:
    for path, several in manifests().items():
        for one in several:
            if one["kind"] not in NOT_OF_KUBERNETES:
                try:
                    kubernetes_validate.validate(one, release, strict=True)
                except kubernetes_validate.ValidationError as error:
                    pytest.fail(f"{path.relative_to(ROOT)}: {one['kind']}: {error.message} at {list(error.path)}")


def test_a_mistake_in_a_manifest_would_be_found() -> None:
    wrong = json.loads(json.dumps(named("Deployment")["opd-allocator"]))
    wrong["spec"]["template"]["spec"]["terminationGracePeriodSecond"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, RELEASES[0], strict=True)


def test_kustomize_is_told_of_every_file() -> None:
    told = set()
    for path in FOLDER.rglob("kustomization.yaml"):
        content = yaml.safe_load(path.read_text())
        told |= {(path.parent / name).resolve() for name in content.get("resources", [])}
    assert {path for path in told if path.is_file()} == set(manifests())
    assert all(path.exists() for path in told)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl here to put the overlay together")
def test_the_overlay_comes_together_and_is_valid() -> None:
    command = ["kubectl", "kustomize", str(FOLDER / "overlays" / "hospital")]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603  ours
    together = list(yaml.safe_load_all(made))
    for one in together:
        if one["kind"] not in NOT_OF_KUBERNETES:
            kubernetes_validate.validate(one, RELEASES[-1], strict=True)
    (allocator,) = [
        one for one in together if (one["kind"], one["metadata"]["name"]) == ("Deployment", "opd-allocator")
    ]
    assert "replicas" not in allocator["spec"], "KEDA decides how many"
    assert {"name": "OPD_SNAPSHOT_FOLDER", "value": "/snapshots"} in container(allocator["spec"]["template"])["env"]
    assert all(one["metadata"]["namespace"] == "opd" for one in together if one["kind"] != "Namespace")


@pytest.mark.parametrize("name", pods())
def test_a_pod_says_what_its_service_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command is there, its settings are ours, and all of them together are accepted as they are."""
    pod = pods()[name]
    command, *options = container(pod)["args"]
    assert command in COMMANDS
    assert all(option.startswith("--") for option in options)
    variables = environment(pod)
    known = {f"OPD_{setting.upper()}" for setting in Settings.model_fields}
    assert variables.keys() <= known
    files = mounted_files(pod)
    assert {value for key, value in variables.items() if key.endswith("_FILE")} == set(files)
    ca = make_certificates(tmp_path).ca
    for key, value in variables.items():
        given = ca if value.endswith(".pem") else tmp_path / "password"
        monkeypatch.setenv(key, str(given) if value in files else value)
    (tmp_path / "password").write_text("secret\n")
    settings = read_settings()
    assert settings.log_format == "json"
    if name != "board":
        assert settings.kafka_security_protocol == "SASL_SSL"
        assert settings.kafka_username in documented_users()


def mounted_files(pod: Manifest) -> list[str]:
    """Where each secret and each authority's certificate stands in the container."""
    (place,) = [each["mountPath"] for each in container(pod)["volumeMounts"] if each["name"] == "secrets"]
    (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "secrets"]
    sources = [next(iter(source.values())) for source in volume["projected"]["sources"]]
    return [f"{place}/{item['path']}" for source in sources for item in source["items"]]


def test_channels_are_read_where_they_are_mounted() -> None:
    pod = pods()["notifier"]
    (place,) = [each["mountPath"] for each in container(pod)["volumeMounts"] if each["name"] == "channels"]
    (volume,) = [each for each in pod["spec"]["volumes"] if each["name"] == "channels"]
    assert environment(pod)["OPD_NOTIFIER_CHANNELS"] == f"{place}/channels.toml"
    assert "items" not in volume["secret"], "the files that secret_file names stand beside it"


def test_the_audit_looks_at_all_that_is_kept() -> None:
    assert container(pods()["audit"])["args"] == ["verify", "--redis", "--history", "--audit"]


def test_no_secret_stands_in_a_manifest() -> None:
    assert not of_kind("Secret")
    for name, pod in pods().items():
        for key, value in environment(pod).items():
            assert "PASSWORD" not in key or value.startswith("/run/opd/"), f"{name}: {key}"
            assert "@" not in value or ":" not in value.partition("//")[2].partition("@")[0], f"{name}: {key}"


@pytest.mark.parametrize("name", pods())
def test_a_pod_has_no_more_rights_than_it_needs(name: str) -> None:
    pod = pods()[name]["spec"]
    own = container(pods()[name])
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert own["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert own["resources"]["requests"].keys() == {"cpu", "memory"}
    assert own["resources"]["limits"]["memory"] == own["resources"]["requests"]["memory"]


@pytest.mark.parametrize("name", PORTS)
def test_a_service_is_asked_where_it_answers_and_is_given_the_time_that_it_needs(name: str) -> None:
    pod = pods()[name]
    own = container(pod)
    assert own["ports"] == [{"name": "http", "containerPort": PORTS[name]}]
    paths = {probe: own[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {
        "startupProbe": {"path": "/health/live", "port": "http"},
        "livenessProbe": {"path": "/health/live", "port": "http"},
        "readinessProbe": {"path": "/health/ready", "port": "http"},
    }
    assert environment(pod)["OPD_HTTP_HOST"] == "0.0.0.0"  # noqa: S104  a pod has an address of its own
    assert pod["spec"]["terminationGracePeriodSeconds"] > STOPS_WITHIN_S[name]
    starts_within_s = own["startupProbe"]["periodSeconds"] * own["startupProbe"]["failureThreshold"]
    assert starts_within_s > 30 + 30, "it waits that long for Kafka, and then for PostgreSQL"


@pytest.mark.parametrize("name", PORTS)
def test_a_service_is_disturbed_one_pod_at_a_time(name: str) -> None:
    budget = named("PodDisruptionBudget")[f"opd-{name}"]["spec"]
    deployment = named("Deployment")[f"opd-{name}"]["spec"]
    assert budget["selector"] == deployment["selector"]
    assert budget["maxUnavailable"] == 1
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()


def reached_by(name: str) -> Iterator[Any]:
    """Ports that a pod's network policies let it reach."""
    labels = pods()[name]["metadata"]["labels"]
    for policy in of_kind("NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        wanted = selector.get("matchLabels", {}).items() <= labels.items()
        for expression in selector.get("matchExpressions", []):
            is_in = labels[expression["key"]] in expression["values"]
            wanted = wanted and is_in == {"In": True, "NotIn": False}[expression["operator"]]
        if wanted:
            yield from (each["port"] for rule in policy["spec"].get("egress", []) for each in rule["ports"])


@pytest.mark.parametrize("name", pods())
def test_a_pod_reaches_its_servers_and_nothing_else(name: str) -> None:
    variables = environment(pods()[name])
    addresses = [variables["OPD_KAFKA_BOOTSTRAP_SERVERS"]] if "OPD_KAFKA_BOOTSTRAP_SERVERS" in variables else []
    addresses += [value for key, value in variables.items() if key.endswith("_URL")]
    needed = {int(address.rpartition(":")[2].partition("/")[0]) for address in addresses}
    needed |= {443} if "OPD_JWT_JWKS" in variables else set()
    needed |= CHANNELS if "OPD_NOTIFIER_CHANNELS" in variables else set()
    assert set(reached_by(name)) - {53} == needed


def test_allocators_grow_with_what_waits_up_to_the_partitions_there_are() -> None:
    scaled = named("ScaledObject")["opd-allocator"]["spec"]
    (trigger,) = scaled["triggers"]
    asked = trigger["metadata"]
    assert scaled["scaleTargetRef"]["name"] in named("Deployment")
    assert asked["bootstrapServers"] == shared_settings("opd-kafka")["OPD_KAFKA_BOOTSTRAP_SERVERS"]
    assert asked["topic"] == topics.COMMANDS.name
    assert asked["consumerGroup"] == Settings().consumer_group
    assert asked["sasl"] == Settings().kafka_sasl_mechanism.lower().replace("-sha-", "_sha")
    partitions = next(word for word in container(pods()["topics"])["args"] if word.startswith("--partitions="))
    assert scaled["maxReplicaCount"] == int(partitions.partition("=")[2])
    assert 0 < scaled["minReplicaCount"] <= scaled["maxReplicaCount"]
    assert trigger["authenticationRef"]["name"] in named("TriggerAuthentication")


def test_prometheus_finds_every_pod_that_has_metrics() -> None:
    (monitor,) = of_kind("PodMonitor")
    for name in PORTS:
        assert monitor["spec"]["selector"]["matchLabels"].items() <= pods()[name]["metadata"]["labels"].items()
    assert monitor["spec"]["podMetricsEndpoints"] == [{"port": "http", "path": "/metrics", "interval": "15s"}]
