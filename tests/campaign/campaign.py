"""Plays faults against a system under load, and writes down how it went."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.campaign.faults import FAULTS, FAULTS_OF_THREE_BROKERS, Fault, roll_versions
from tests.campaign.servers import Kafka, one_broker, three_brokers
from tests.campaign.system import Broken, System
from tests.campaign.versions import NoFormerVersionError, former_version

RATE_PER_S = 300
RECOVERED_WITHIN_S = 60.0
LATE_S = 4.0  # a goal missed by more is a failure; by less it may be the machine, and is only shown
LOAD_BEFORE = 150


class Played(NamedTuple):
    """A line of the table.

    Attributes:
        fault: what was done.
        at_s: when, since the campaign's start.
        recovery_s: how long until every partition was deciding again.
        sent: commands acknowledged from the fault until then.
        repeats: events that were said again meanwhile.
        proof: that it landed.
    """

    fault: Fault
    at_s: float
    recovery_s: float
    sent: int
    repeats: int
    proof: str

    @property
    def is_late(self) -> bool:
        """Whether the goal was missed."""
        return self.fault.goal_s is not None and self.recovery_s > self.fault.goal_s


@dataclass
class Outcome:
    """What a campaign showed.

    Attributes:
        played: its faults in order.
        skipped: what could not be played, and why.
        audits: what each system's audit said at the end.
        broken: which promise was not kept; None if all were.
    """

    played: list[Played] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    audits: list[str] = field(default_factory=list)
    broken: str | None = None


class Campaign:
    """Faults in an order that the seed gives."""

    def __init__(self, seed: int, say: Callable[[str], None]) -> None:
        self.outcome = Outcome()
        self._rng = Random(seed)
        self._seed = seed
        self._say = say
        self._began_at = time.monotonic()

    def play(self, faults: Sequence[Fault], three_broker_faults: Sequence[Fault], *, for_s: float) -> Outcome:
        """Play all of them once, and those of one broker again until the time is over; then audit."""
        with tempfile.TemporaryDirectory(prefix="opd-campaign-") as name:
            folder = Path(name)
            try:
                if three_broker_faults:
                    with three_brokers(folder) as kafka:
                        self._play_on(kafka, folder / "three", iter(three_broker_faults), [])
                with one_broker(folder / "kafka") as kafka:
                    self._play_on(kafka, folder / "one", self._rounds(faults, for_s), faults)
            except (Broken, AssertionError) as error:
                self.outcome.broken = str(error)
        return self.outcome

    def _rounds(self, faults: Sequence[Fault], for_s: float) -> Iterator[Fault]:
        turn = list(faults)
        self._rng.shuffle(turn)
        yield from turn
        while True:
            self._rng.shuffle(turn)
            for fault in turn:
                if time.monotonic() - self._began_at > for_s:
                    return
                yield fault

    def _play_on(self, kafka: Kafka, folder: Path, faults: Iterator[Fault], all_faults: Sequence[Fault]) -> None:
        with ExitStack() as stack:
            system = System(folder, kafka, seed=self._seed, rate_per_s=RATE_PER_S)
            if any(fault.play is roll_versions for fault in all_faults):
                try:
                    system.former = former_version(folder / "former")
                except NoFormerVersionError as why:
                    self.outcome.skipped.append(f"two versions rolled: {why}")
            stack.enter_context(system)
            for fault in faults:
                if fault.play is not roll_versions or system.former is not None:
                    self._play_one(system, fault)
            self._say("auditing")
            report = system.audit()
            self.outcome.audits.append(
                f"{len(kafka.brokers)} broker{'s' * (len(kafka.brokers) > 1)}: {report.commands:,} commands, "
                f"{report.events:,} events, {report.dead_letters:,} dead letters audited: all invariants hold; "
                f"{report.repeats:,} repeats, each the same to the byte; {system.load.count:,} acknowledged, "
                f"0 lost; {system.load.unknown:,} sends of unknown outcome"
            )

    def _play_one(self, system: System, fault: Fault) -> None:
        self._say(fault.name)
        system.let_load_go_on(LOAD_BEFORE)
        system.wait_until_answered(time.monotonic(), within_s=RECOVERED_WITHIN_S)
        repeats = system.watch.repeats
        at, healed_at, proof = fault.play(system, self._rng)
        if not system.load.between(at - 1.0, at):
            raise Broken(f"{fault.name}: there was no load when it hit")
        recovered_at = system.wait_until_answered(healed_at, within_s=RECOVERED_WITHIN_S)
        system.wait_until_shared()
        settled_at = system.wait_until_answered(time.monotonic(), within_s=RECOVERED_WITHIN_S)
        recovery_s = system.watch.longest_silence(at, settled_at) if fault.handed_over else recovered_at - healed_at
        sent = system.load.between(at, settled_at)
        played = Played(fault, at - self._began_at, recovery_s, sent, system.watch.repeats - repeats, proof)
        self.outcome.played.append(played)
        self._say(f"{fault.name}: {recovery_s:.2f} s; {proof}")
        if fault.goal_s is not None and recovery_s > fault.goal_s + LATE_S:
            raise Broken(f"{fault.name}: deciding again after {recovery_s:.2f} s, promised are {fault.goal_s:g} s")
        system.restore()


def short(seed: int, say: Callable[[str], None]) -> Outcome:
    """Play what fits into some two minutes, on one broker."""
    return Campaign(seed, say).play([fault for fault in FAULTS if fault.in_short], [], for_s=0)


def long(seed: int, say: Callable[[str], None], *, for_s: float) -> Outcome:
    """Play everything, again and again until the time is over."""
    return Campaign(seed, say).play(FAULTS, FAULTS_OF_THREE_BROKERS, for_s=for_s)
