"""The alerts: each fires when it should and is silent when not, and is about metrics that there are."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.metrics import MetricWrapperBase

from services.history.metrics import HistoryMetrics
from services.history.projector import Projector
from services.notifier.metrics import NotifierMetrics
from services.notifier.notices import Kind
from services.settings import Settings
from services.telemetry.page import SERVICES, as_markdown, metrics_of
from tests.console import ROOT
from tests.observability.promtool import promtool

RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}


class Case(NamedTuple):
    """What is seen, minute by minute, and what is said of it after 40 minutes."""

    series: dict[str, str]
    summary: str
    labels: dict[str, str] = {}  # noqa: RUF012  nobody changes it


CASES = {
    "OpdServiceDown": Case(
        {"up{job='opd-gateway',instance='a:8100'}": "0x60"},
        "opd-gateway at a:8100 does not answer /metrics",
        {"job": "opd-gateway", "instance": "a:8100"},
    ),
    "OpdPartitionWithoutAllocator": Case(
        {"opd_partitions": "4x60", "opd_partitions_owned{instance='a'}": "3x60"},
        "commands are not decided: a partition has no allocator at work",
    ),
    "OpdAllocatorWaiting": Case(
        {"opd_partitions_waiting{for_what='Kafka'}": "2x60", "opd_partitions_waiting{for_what='Redis'}": "0x60"},
        "2 partitions wait for Kafka; nothing is lost, nothing is decided",
        {"for_what": "Kafka"},
    ),
    "OpdRedisFull": Case(
        {"opd_partitions_waiting{for_what='room in Redis, which is at its maxmemory'}": "1x60"},
        "Redis is at its maxmemory, and 1 partitions wait for room",
    ),
    "OpdConsumerLag": Case(
        {"opd_consumer_lag_records{partition='2'}": "6000x60", "opd_consumer_lag_records{partition='1'}": "4000x60"},
        "6000 commands of partition 2 wait to be answered",
        {"partition": "2"},
    ),
    "OpdRewinds": Case(
        {"opd_rewinds_total{partition='0'}": "0+1x60"},
        "partition 0 was taken again 10 times in 10 minutes",
        {"partition": "0"},
    ),
    "OpdRebuildRunning": Case(
        {"opd_rebuild_remaining_records{partition='3'}": "70000-100x60"},
        "partition 3 is rebuilt from the log: 66000 records to go",
        {"partition": "3"},
    ),
    "OpdDeadLetters": Case(
        {"opd_dead_letters_total{partition='0'}": "0+1x60", "opd_dead_letters_total{partition='1'}": "0+1x60"},
        "20 unreadable records in 10 minutes: somebody sends what is no command",
    ),
    "OpdInventedDepartments": Case(
        {"opd_invented_departments_total": "0+20x60"}, "800 departments that do not exist were named in an hour"
    ),
    "OpdWaitlistNearlyFull": Case(
        {
            "opd_waitlist_position_bucket{le='900.0'}": "1000x60",
            "opd_waitlist_position_bucket{le='+Inf'}": "1000+1x60",
        },
        "over 900 wait in one pool; at 1000 further requests are refused (R7)",
    ),
    "OpdProjectorLag": Case(
        {"opd_history_lag_records{partition='1'}": "20000x60"},
        "PostgreSQL is 20000 events of partition 1 behind",
        {"partition": "1"},
    ),
    "OpdProjectorStandsStill": Case(
        {"opd_history_working{instance='a'}": "0x60", "opd_history_working{instance='b'}": "0x60"},
        "no projector is at work: what is read over HTTP grows old",
    ),
    "OpdProjectorFaults": Case(
        {"opd_history_faults_total{partition='0'}": "0x35 1x25"},
        "partition 0 of the events topic holds what must not stand there",
        {"partition": "0"},
    ),
    "OpdGatewayErrors": Case(
        {
            "opd_http_requests_total{route='/tokens',status='500'}": "0+5x60",
            "opd_http_requests_total{route='/tokens',status='201'}": "0+95x60",
        },
        "5% of the requests end in a server error",
    ),
    "OpdGatewaySlow": Case(
        {
            "opd_http_request_seconds_bucket{route='/tokens',le='2.0'}": "0+90x60",
            "opd_http_request_seconds_bucket{route='/tokens',le='5.0'}": "0+100x60",
            "opd_http_request_seconds_bucket{route='/tokens',le='+Inf'}": "0+100x60",
        },
        "one request in a hundred takes longer than 4.7s",
    ),
    "OpdGatewayShedding": Case(
        {"opd_http_requests_total{route='refused at the door',status='503'}": "0+120x200"},
        "2 requests a second are refused: there is more than the gateways can carry",
    ),
    "OpdOutcomesLate": Case(
        {"opd_outcomes_not_awaited_total": "0+4x60"}, "20 callers left with a 202 in 5 minutes: decisions come late"
    ),
    "OpdRateLimitsOff": Case(
        {"opd_rate_limit_failures_total": "0+1x60"},
        "nobody is limited: Redis does not answer the gateway",
    ),
    "OpdMessagesGivenUp": Case(
        {
            "opd_notifier_ended_total{kind='confirmed',outcome='DEAD'}": "0x20 2x40",
            "opd_notifier_ended_total{kind='soon',outcome='DEAD'}": "0x60",
        },
        "2 messages to patients were given up in an hour: they have not arrived",
    ),
    "OpdChannelTakesNothing": Case(
        {
            "opd_notifier_channel_failures_total{channel='sms'}": "0+3x60",
            "opd_notifier_send_seconds_count{channel='sms'}": "0+4x60",
            "opd_notifier_channel_failures_total{channel='email'}": "0+1x60",
            "opd_notifier_send_seconds_count{channel='email'}": "0+4x60",
        },
        "sms refuses 75% of the messages to patients",
        {"channel": "sms"},
    ),
    "OpdVerifyFailing": Case(
        {"opd_verify_holds{invariant='I1'}": "1x60", "opd_verify_holds{invariant='I4'}": "0x60"},
        "opd verify found a broken invariant",
    ),
    "OpdVerifyStale": Case(
        {"opd_verify_finished_timestamp_seconds": "-259200x60"}, "the last opd verify ended 3d 0h 40m 0s ago"
    ),
}


def test_each_alert_has_a_case_a_severity_and_a_runbook_of_its_own() -> None:
    assert CASES.keys() == {rule["alert"] for rule in ALERTS}
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_each_alert_fires_when_it_should_and_none_does_when_all_is_well(tmp_path: Path) -> None:
    tool = promtool()
    subprocess.run([tool, "check", "rules", RULES], check=True, capture_output=True)  # noqa: S603
    well = {
        "opd_partitions_owned": "4x60",
        "opd_partitions": "4x60",
        "opd_history_working": "1x60",
        "up{job='opd-gateway'}": "1x60",
        "opd_http_requests_total{route='/tokens',status='201'}": "0+100x60",
        "opd_consumer_lag_records{partition='0'}": "10x60",
        "opd_verify_holds{invariant='I1'}": "1x60",
        "opd_notifier_ended_total{kind='confirmed',outcome='SENT'}": "0+10x60",
        "opd_notifier_ended_total{kind='confirmed',outcome='DEAD'}": "3x60",
        "opd_notifier_channel_failures_total{channel='email'}": "0+1x60",
        "opd_notifier_send_seconds_count{channel='email'}": "0+10x60",
    }
    tests = [_test("all is well", well, {rule["alert"]: [] for rule in ALERTS})]
    for rule in ALERTS:
        case = CASES[rule["alert"]]
        labels = {**case.labels, "severity": rule["labels"]["severity"]}
        annotations = {"summary": case.summary, "runbook": rule["annotations"]["runbook"]}
        fired = [{"exp_labels": labels, "exp_annotations": annotations}]
        tests.append(_test(rule["alert"], case.series, {rule["alert"]: fired}))
    file = tmp_path / "rules_test.yml"
    content = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    ran = subprocess.run([tool, "test", "rules", file], capture_output=True, text=True, check=False)  # noqa: S603
    assert ran.returncode == 0, ran.stdout + ran.stderr


def _test(name: str, series: dict[str, str], fired: dict[str, list[Any]]) -> dict[str, Any]:
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "alert_rule_test": [
            {"eval_time": "40m", "alertname": alert, "exp_alerts": expected} for alert, expected in fired.items()
        ],
    }


@pytest.mark.parametrize("file", [RULES, DASHBOARD], ids=lambda file: file.name)
def test_every_metric_and_label_that_is_asked_for_is_one_of_a_service(file: Path) -> None:
    asked = list(_asked(file))
    assert len(asked) > 15
    known = _exposed()
    for name, labels in asked:
        if name not in OTHERS:
            assert name in known, name
            assert labels <= known[name], name


def test_what_one_alone_is_an_alert_for_is_counted_from_none_on() -> None:
    """`increase` does not see how a series begins."""
    notifier, history = NotifierMetrics(), HistoryMetrics()
    Projector(Settings(), 3, history)
    shown = (generate_latest(notifier.registry) + generate_latest(history.registry)).decode()
    for series in [f'notifier_ended_total{{kind="{kind}",outcome="DEAD"}}' for kind in Kind]:
        assert f"opd_{series} 0.0\n" in shown
    for partition in range(3):
        assert f'opd_history_faults_total{{partition="{partition}"}} 0.0\n' in shown


def test_the_dashboard_shows_every_metric() -> None:
    shown = {name for name, _ in _asked(DASHBOARD)}
    for metric in _metrics():
        family = metric._name
        assert any(name.startswith(family) for name in shown), f"{family} is on no panel"


def test_the_dashboard_is_one() -> None:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels = document["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = {(x, y) for panel in panels for x, y in _cells(panel["gridPos"])}
    assert len(taken) == sum(panel["gridPos"]["w"] * panel["gridPos"]["h"] for panel in panels), "no two overlap"
    assert all(x < 24 for x, _ in taken)


def test_the_page_is_made_of_the_metrics() -> None:
    assert as_markdown() in (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")


def _cells(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


def _asked(file: Path) -> Iterator[tuple[str, set[str]]]:
    """Give the metrics that a file's expressions name, each with the labels that it is asked by."""
    for expression in _expressions(file):
        grouped = {name.strip() for by in re.findall(r"by \(([^)]*)\)", expression) for name in by.split(",")} - {"le"}
        for name, matchers in re.findall(r"\b(opd_\w+|up|process_\w+)\b(?:\{([^}]*)\})?", expression):
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", matchers)) - {"le", "job"}
            yield name, labels | grouped


def _expressions(file: Path) -> Iterator[str]:
    if file == RULES:
        yield from (rule["expr"] for rule in ALERTS)
    else:
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
            yield from (target["expr"] for target in panel.get("targets", ()))


def _metrics() -> Iterator[MetricWrapperBase]:
    for make in SERVICES.values():
        yield from metrics_of(make().registry)


def _exposed() -> dict[str, set[str]]:
    """Give the names that are told over HTTP, and the labels of each."""
    known: dict[str, set[str]] = {}
    for metric in _metrics():
        suffixes = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}
        for suffix in suffixes[str(metric._type)]:
            known[metric._name + suffix] = set(metric._labelnames)
    return known
