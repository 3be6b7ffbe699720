"""Partitions that are audited beside each other make one report, and nothing is left running."""

import multiprocessing
import os
import signal

import pytest

from services.auditor.audit import Progress
from services.auditor.processes import ProcessError, audit_beside
from services.auditor.report import Invariant, RecordName, Report
from services.errors import OpdError

BROKEN, KILLED, REFUSED = 2, 3, 4


def an_audit(partition: int, progress: Progress) -> Report:
    """What a process does here: partition 0 counts, some end otherwise; interrupted are all of them."""
    os.kill(os.getpid(), signal.SIGINT)
    progress(partition + 1)
    progress(10)
    if partition == KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if partition == REFUSED:
        raise OpdError("the log is not there")
    report = Report(limit=2, partitions=1, commands=partition + 11, began_behind={partition: 7})
    report.unchecked.clear()
    report.events_by_type["TokenCalled"] = 2
    if partition == BROKEN:
        for number in range(3):
            report.breach(Invariant.I4, f"breach {number}", RecordName("events", partition, number))
    return report


def merged(reports: list[Report]) -> Report:
    whole = Report(limit=2)
    for report in reports:
        whole.add(report)
    return whole


def test_each_partition_is_audited_once_and_reports_come_in_their_order() -> None:
    told: list[int] = []
    reports = audit_beside(an_audit, [1, 0], 1, told.append)
    assert [report.commands for report in reports] == [12, 11]
    assert sorted(told) == [1, 2, 10, 10]
    assert not multiprocessing.active_children()


def test_what_several_found_is_counted_together_and_the_first_of_it_shown() -> None:
    reports = audit_beside(an_audit, [0, BROKEN], 2, lambda _: None)
    whole = merged([*reports, *reports])
    assert (whole.partitions, whole.commands) == (4, 48)
    assert whole.broken == {Invariant.I4: 6}
    assert [breach.text for breach in whole.breaches[Invariant.I4]] == ["breach 0", "breach 1"]
    assert whole.events_by_type == {"TokenCalled": 8}
    assert whole.began_behind == {0: 7, BROKEN: 7}
    assert not whole.unchecked


@pytest.mark.parametrize(
    ("partition", "error", "text"),
    [(REFUSED, OpdError, "the log is not there"), (KILLED, ProcessError, "partition 3 was killed\ntry: --processes 1")],
)
def test_what_one_cannot_do_ends_all(partition: int, error: type[OpdError], text: str) -> None:
    with pytest.raises(error, match=text):
        audit_beside(an_audit, [partition, 0, 1], 2, lambda _: None)
    assert not multiprocessing.active_children()


def test_whoever_ends_it_ends_all() -> None:
    def interrupt(_commands: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audit_beside(an_audit, [0, 1], 2, interrupt)
    assert not multiprocessing.active_children()
