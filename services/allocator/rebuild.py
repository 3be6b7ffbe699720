"""How far an owner is that decides again what was said long ago, because Redis had lost it."""

import asyncio

import structlog

from services.allocator.metrics import PartitionMetrics

log = structlog.get_logger(__name__)

SAY_EVERY_S = 5.0


class Rebuild:
    """One partition's way from the offset that Redis has applied to the last one that was said already.

    A Redis that is up to date has no such way: then nothing is logged.
    """

    def __init__(self, partition: int, metrics: PartitionMetrics, *, applied: int, said: int) -> None:
        """Begin behind `applied`; the rebuild is over with the offset `said`."""
        self._partition = partition
        self._metrics = metrics
        self._said = said
        self._began_after = applied
        self._began_s = self._spoke_s = _now_s()
        self._is_over = applied >= said
        self._show(said - applied, 0.0)
        if not self._is_over:
            log.warning("rebuilding the state from the log", partition=partition, after=applied, up_to=said)

    def reached(self, applied: int) -> None:
        """Note that the state holds this offset now."""
        if self._is_over:
            return
        now_s = _now_s()
        remaining = self._said - applied
        a_second = (applied - self._began_after) / max(now_s - self._began_s, 1e-6)
        eta_s = remaining / a_second
        self._show(remaining, eta_s)
        if remaining <= 0:
            self._is_over = True
            log.info(
                "the state is rebuilt",
                partition=self._partition,
                records=applied - self._began_after,
                seconds=round(now_s - self._began_s, 1),
                records_a_second=round(a_second),
            )
        elif now_s - self._spoke_s >= SAY_EVERY_S:
            self._spoke_s = now_s
            log.info(
                "rebuilding",
                partition=self._partition,
                remaining=remaining,
                records_a_second=round(a_second),
                eta_s=round(eta_s),
            )

    def abandon(self) -> None:
        """Show nothing any more: the owner lets go of the partition, or takes it again."""
        self._show(0, 0.0)

    def _show(self, remaining: int, eta_s: float) -> None:
        self._metrics.rebuild_remaining.set(max(0, remaining))
        self._metrics.rebuild_eta.set(max(0.0, eta_s))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
