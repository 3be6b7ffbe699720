"""Plays faults against a system under load, and writes down how it went."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.campaign.fault import CannotBePlayed, Fault
from tests.campaign.faults import ALL, Faults
from tests.campaign.redis import ClusterRedis, OneRedis
from tests.campaign.servers import Kafka, one_broker, three_brokers
from tests.campaign.system import RECOVERED_WITHIN_S, Broken, System

RATE_PER_S = 300
LATE_S = 4.0  # a goal missed by more is a failure; by less it may be the machine, and is only shown
LATE_BESIDE_OTHERS_S = 12.0  # likewise, where other tests are run at the same time
LOAD_WITHIN_S = 5.0
LOAD_BEFORE = 150


class Played(NamedTuple):
    """A line of the table.

    Attributes:
        fault: what was done.
        at_s: when, since the campaign's start.
        recovery_s: how long until every partition was deciding again.
        settled_at_s: when all was as before it.
        sent: commands acknowledged from the fault until then.
        repeats: events that were said again meanwhile.
        proof: that it landed.
    """

    fault: Fault
    at_s: float
    recovery_s: float
    settled_at_s: float
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
        lost: when commands were acknowledged that the log does not hold, in seconds since the campaign's start.
        broken: which promise was not kept; None if all were.
    """

    played: list[Played] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    audits: list[str] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    broken: str | None = None

    def lost_in(self, played: Played) -> int:
        """How many commands were lost that were acknowledged while a fault was on."""
        return sum(played.at_s <= at_s < played.settled_at_s for at_s in self.lost)


class Campaign:
    """Faults in an order that the seed gives."""

    def __init__(self, seed: int, say: Callable[[str], None], *, late_s: float = LATE_S) -> None:
        self.outcome = Outcome()
        self._late_s = late_s
        self._rng = Random(seed)
        self._seed = seed
        self._say = say
        self._began_at = time.monotonic()

    def play(self, faults: Faults, *, for_s: float) -> Outcome:
        """Play all of them once, and those of one Redis again until the time is over; then audit."""
        with tempfile.TemporaryDirectory(prefix="opd-campaign-") as name:
            folder = Path(name)
            if faults.of_three_brokers:
                with three_brokers(folder / "three") as kafka, OneRedis(folder / "three") as redis:
                    self._play_on("three-brokers", folder / "three", kafka, redis, faults.of_three_brokers)
            with one_broker(folder / "kafka") as kafka:
                if faults.of_a_cluster:
                    with ClusterRedis(folder / "cluster") as cluster:
                        self._play_on("cluster", folder / "cluster", kafka, cluster, faults.of_a_cluster)
                if faults.of_one_redis:
                    with OneRedis(folder / "one") as redis:
                        self._play_on("one", folder / "one", kafka, redis, self._rounds(faults.of_one_redis, for_s))
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

    def _play_on(
        self, name: str, folder: Path, kafka: Kafka, redis: OneRedis | ClusterRedis, faults: Iterable[Fault]
    ) -> None:
        if self.outcome.broken is not None:
            return
        try:
            with System(name, folder, kafka, redis, seed=self._seed, rate_per_s=RATE_PER_S) as system:
                for fault in faults:
                    self._play_one(system, fault)
                self._audit(name, system)
        except (Broken, AssertionError) as error:
            self.outcome.broken = str(error)

    def _audit(self, name: str, system: System) -> None:
        self._say("auditing")
        report, lost = system.audit()
        self.outcome.lost += [ack.at - self._began_at for ack in lost]
        if lost:
            raise Broken(f"{name}: the log lost {len(lost)} commands that it had acknowledged")
        self.outcome.audits.append(
            f"{name}: {report.commands:,} commands, {report.events:,} events, {report.dead_letters:,} dead letters "
            f"and Redis audited: all invariants hold; {report.repeats:,} repeats, each the same to the byte; "
            f"{system.load.count:,} acknowledged, 0 lost; {system.load.unknown:,} sends of unknown outcome"
        )

    def _play_one(self, system: System, fault: Fault) -> None:
        self._say(fault.name)
        system.let_load_go_on(LOAD_BEFORE)
        system.wait_until_answered(time.monotonic(), within_s=RECOVERED_WITHIN_S)
        repeats = system.watch.repeats
        try:
            at, healed_at, proof = fault.play(system, self._rng)
        except CannotBePlayed as why:
            self.outcome.skipped.append(f"{fault.name}: {why}")
            return
        if not system.load.between(at - LOAD_WITHIN_S, at):
            raise Broken(f"{fault.name}: there was no load when it hit")
        recovered_at = system.wait_until_answered(healed_at, within_s=RECOVERED_WITHIN_S)
        system.wait_until_shared()
        settled_at = system.wait_until_answered(time.monotonic(), within_s=RECOVERED_WITHIN_S)
        recovery_s = system.watch.longest_silence(at, settled_at) if fault.handed_over else recovered_at - healed_at
        sent = system.load.between(at, settled_at)
        repeats = system.watch.repeats - repeats
        began_at = self._began_at
        played = Played(fault, at - began_at, recovery_s, settled_at - began_at, sent, repeats, proof)
        self.outcome.played.append(played)
        self._say(f"{fault.name}: {recovery_s:.2f} s; {proof}")
        if fault.goal_s is not None and recovery_s > fault.goal_s + self._late_s:
            raise Broken(f"{fault.name}: deciding again after {recovery_s:.2f} s, promised are {fault.goal_s:g} s")
        system.restore()


def short(seed: int, say: Callable[[str], None]) -> Outcome:
    """Play what fits into some two minutes and a half."""
    faults = ALL.those(lambda fault: fault.in_short)._replace(of_three_brokers=[])
    return Campaign(seed, say, late_s=LATE_BESIDE_OTHERS_S).play(faults, for_s=0)


def long(seed: int, say: Callable[[str], None], *, for_s: float) -> Outcome:
    """Play everything, again and again until the time is over."""
    return Campaign(seed, say).play(ALL, for_s=for_s)
