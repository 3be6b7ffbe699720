"""What the figures are made into: tables, a page, plots, and what `make bench-check` says of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import PAGE, _arguments, _chosen
from benchmarks.check import Figure, figures_of, worse
from benchmarks.contenders import CONTENDERS, ONE_WORKER
from benchmarks.latency import Traffic
from benchmarks.measurement import spread
from benchmarks.measurements import MEASUREMENTS
from benchmarks.report import tables_of, write_page

ROW = {"p50": 3.0, "p99": 9.0, "p99.9": 20.0, "max": 31.5, "sender_late_p99": 0.5, "rewrites": 0}


def drained(per_second: int, **cpu_us: float) -> dict[str, Any]:
    return {
        "commands": 1000,
        "per_second": per_second,
        "second_half_per_second": per_second,
        "cpu_us": cpu_us,
        "memory_mb": 90.5,
        "rebuild_per_second": per_second // 2,
    }


def asked(per_second: int, **cpu_us: float) -> dict[str, Any]:
    return {"per_second": per_second, "p50_ms": 4.0, "p99_ms": 9.5, "cpu_us": {"client": 40.0, **cpu_us}}


def at_doors(gateway: int) -> dict[str, Any]:
    loads = ("booking", "booking_alone", "reading", "reading_alone")
    return {
        "plain": {load: asked(2_000, server=350.0) for load in loads},
        "gateway": {load: asked(gateway, gateway=500.0, kafka=200.0) for load in loads},
    }


def kept(per_second: int) -> dict[str, Any]:
    said = {"decided_per_second": 40_000, "said_per_second": 50_000, "events": 250_000, "rows": 400_000}
    return {"per_second": per_second, "cpu_us": {"history": 12.0, "postgres": 9.5}, **said}


def a_run(allocator: int) -> dict[str, Any]:
    return {
        "codec": {"per_second": 100_000, "cpu_us": {"read": 4.0, "write": 5.0}},
        "raw-lua": {"per_second": 120_000, "cpu_us": {"redis": 8.0}},
        "passthrough": drained(200_000, client=2.5, kafka=3.0),
        "one-worker": drained(allocator, client=10.0, kafka=3.0, redis=10.0),
        "two-workers": drained(2 * allocator, client=11.0, kafka=3.0, redis=10.0),
    }


@pytest.fixture
def results() -> dict[str, Any]:
    titles = {"passthrough": "the bytes alone", "one-worker": "we, one worker", "two-workers": "we, two workers"}
    rows = [{"title": title, "per_s": 500, **ROW} for title in list(titles.values())[:2]]
    killed = {"title": "we, one worker", "keeps": "exactly once", "seconds": 6.5, "again": 1, "otherwise": 0}
    looks = [{"commands": share * 100.0, "worker_mb": 91.0, "redis_mb": 12.0} for share in range(1, 11)]
    runs = [a_run(40_000), a_run(50_000), a_run(60_000)]
    return {
        "machine": {"date": "2026-11-28", "processor": "two cores"},
        "drains": {"runs": runs, "titles": titles, "left_out": {"Kafka Streams": "no javac"}},
        "latency": {"rows": rows},
        "killed": {"rows": [killed | {"events": 9}]},
        "memory": {"token_bytes": 240, "id_bytes": 90, "tokens": 50_000},
        "history": {"runs": [kept(40_000), kept(60_000)]},
        "gateway": {
            "connections": 64,
            "titles": {"plain": "a plain one", "gateway": "opd gateway"},
            "runs": [at_doors(900), at_doors(1_000), at_doors(1_200)],
        },
        "verify": {"commands": 1000, "events": 1_020, "took_s": 40.2, "cpu_s": 61.2, "memory_mb": 310},
        "long": {"commands": 1000, "per_second": 40_000, "looks": looks},
    }


def test_ratios_are_taken_within_a_run_and_noise_is_shown(results: dict[str, Any]) -> None:
    drains, rebuilt, *_ = tables_of(results, MEASUREMENTS)
    row = next(row for row in drains.rows if row[0] == "we, one worker")
    assert row[1:3] == ["50,000 (40,000 to 60,000)", "0.25 (0.20 to 0.30)"]
    assert row[4:6] == ["23.0", "client 10.0 + kafka 3.0 + redis 10.0"]
    assert rebuilt.rows == [["we, one worker", "25,000 (20,000 to 30,000)", "0.50 (0.50 to 0.50)"]]
    assert drains.note.endswith("Kafka Streams is left out: no javac.")
    assert spread("{:.0f}", [4.0]) == "4"
    assert all(len(row) == len(table.columns) for table in tables_of(results, MEASUREMENTS) for row in table.rows)


def test_the_gateway_stands_beside_the_plain_one_and_the_client_beside_both(results: dict[str, Any]) -> None:
    booking, reading = tables_of({"gateway": results["gateway"]}, MEASUREMENTS)
    assert [row[:2] for row in booking.rows] == [
        [who, at] for at in ("64", "1") for who in ("a plain one", "opd gateway")
    ]
    assert booking.rows[1][2:] == [
        "1,000 (900 to 1,200)",
        "0.50 (0.45 to 0.60)",
        "4.0 (4.0 to 4.0)",
        "9.5 (9.5 to 9.5)",
        "700",
        "client 40 + gateway 500 + kafka 200",
    ]
    assert len(reading.rows) == len(booking.rows)


def test_what_is_kept_stands_beside_what_is_decided_and_said(results: dict[str, Any]) -> None:
    [table] = tables_of({"history": results["history"]}, MEASUREMENTS)
    [row] = table.rows
    assert row[1:6] == [
        "50,000 (40,000 to 60,000)",
        "80,000 (64,000 to 96,000)",
        "40,000 (40,000 to 40,000)",
        "1.25 (1.00 to 1.50)",
        "1.00 (0.80 to 1.20)",
    ]
    assert row[6:] == ["21.5", "history 12.0 + postgres 9.5"]


def test_the_page_has_every_table_and_its_plots_stand_beside_it(results: dict[str, Any], tmp_path: Path) -> None:
    write_page(tmp_path, results, MEASUREMENTS)
    page = (tmp_path / "README.md").read_text()
    assert "- processor: two cores" in page
    assert "| we, one worker | exactly once | 6.5 | 1 | 0 | 9 |" in page
    plots = {path.name for path in tmp_path.glob("*.svg")}
    assert plots == {"drains.svg", "cpu.svg", "latency.svg", "killed.svg", "long.svg"}
    assert all(f"]({name})" in page for name in plots)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    before = {name: (tmp_path / name).read_bytes() for name in plots}
    write_page(tmp_path, results, MEASUREMENTS)
    assert before == {name: (tmp_path / name).read_bytes() for name in plots}


def test_a_figure_out_of_its_bound_is_named(results: dict[str, Any]) -> None:
    found = figures_of(results)
    assert found["decisions of one worker for one of the bytes alone"].value == 0.25
    assert found["CPU of Redis for that of the script alone"].value == 1.25
    baseline = {name: figure.value for name, figure in found.items()}
    assert worse(found, baseline) == []
    less = baseline | {"bytes a live token": 100.0}
    assert worse(found, less) == ["bytes a live token: 240.00, and 100.00 in the baseline"]
    slower = found | {"commands rebuilt for one decided": Figure(0.3, 0.7)}
    assert worse(slower, baseline) == ["commands rebuilt for one decided: 0.30, and 0.50 in the baseline"]


def test_what_is_named_is_measured_and_a_whole_run_writes_the_page() -> None:
    everything = _arguments([])
    options, chosen = _chosen(everything)
    assert everything.page == PAGE
    assert options.contenders == CONTENDERS
    assert chosen == {"drains", "profile", "latency", "killed", "memory", "history", "gateway", "board"}

    some = _arguments(["--quick", "--only", "drains", "--only", "one-worker", "--long"])
    options, chosen = _chosen(some)
    assert some.page is None
    assert options.contenders == (ONE_WORKER,)
    assert (options.commands, options.runs, options.long_commands) == (20_000, 1, 10_000_000)
    assert chosen == {"drains", "long"}


def test_latency_counts_from_a_moment_on() -> None:
    traffic = Traffic(sent={1: 0.0, 2: 1.0, 3: 2.0}, answered={1: 9.0, 2: 1.5, 3: 2.25})
    assert traffic.latencies_ms(0.5) == [250.0, 500.0]
