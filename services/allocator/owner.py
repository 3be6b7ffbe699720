"""The owner of one partition: the protocol of spec §4 from taking it to letting it go.

Take: pause (the group does, before it awaits anything), fence with the group's generation, then read the marks, seek
to min(applied + 1, max(published, committed)), resume. Work: read a batch, let the slot store decide what is not
applied and answer from its stored outcomes what is, publish dead letters, then events, each only if it is not in the
log already. Whatever turns out otherwise than expected leads back to taking.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog
from redis.exceptions import OutOfMemoryError, RedisError

from allocation_core.store import (
    NOTHING_APPLIED,
    BatchedCommand,
    HalfWritten,
    Marks,
    OtherVersion,
    Rewind,
    SlotStore,
    Superseded,
    Unfenced,
    record_digest,
)
from schemas.events import WrittenEvent
from services.allocator.metrics import PartitionMetrics
from services.allocator.rebuild import Rebuild
from services.allocator.records import (
    NOWHERE,
    CommandRecord,
    EventPlace,
    OutRecord,
    dead_letter,
    event_records,
    read_batch,
)
from services.errors import OpdError

if TYPE_CHECKING:
    from services.telemetry.spans import Decisions, Spans

log = structlog.get_logger(__name__)

BATCH_RECORDS = 1_000
FETCH_WAIT_S = 1.0
IDLE_CHECK_S = 3.0
RETRY_AFTER_S = 0.5
LARGER_RECORDS = "a topic that takes larger records"
ROOM = "room in Redis, which is at its maxmemory"
WAITS_FOR = ("Redis", ROOM, "Kafka", LARGER_RECORDS)


class LogBounds(NamedTuple):
    """The commands topic's first offset that is still there, and the next that will be written."""

    first: int
    end: int


class CommandLog(Protocol):
    """One partition of the commands topic, as the group's consumer reads it."""

    def pause(self) -> None:
        """Fetch nothing until `resume`; takes effect at once."""

    def resume(self) -> None:
        """Fetch again, from where `seek` put it."""

    def seek(self, offset: int) -> None:
        """Go on at this offset."""

    async def fetch(self, *, most: int, wait_s: float) -> Sequence[CommandRecord]:
        """Give the next records, in order; none when none came in time."""

    async def bounds(self) -> LogBounds:
        """Say how far the log reaches."""

    async def record_at(self, offset: int) -> CommandRecord | None:
        """Give one record; None where the log holds none at that offset."""

    async def committed(self) -> int:
        """Give the group's committed offset, 0 where it has none."""

    def done(self, offset: int) -> None:
        """Everything below is published: it may be committed."""

    def partition_of(self, key: bytes) -> int:
        """Give the partition that Kafka's default partitioner puts a key in."""


class Answers(Protocol):
    """The events and dead-letter topics, in the owner's partition."""

    async def published(self) -> EventPlace:
        """Read the highest place in the tail of the events topic; NOWHERE where there is none."""

    async def dead_lettered(self) -> int:
        """Read the highest source offset in the tail of the dead-letter topic; -1 where there is none."""

    async def publish_events(self, records: Sequence[OutRecord]) -> None:
        """Append events so that no later one can land without an earlier one; acknowledged on return.

        A failed send ends the session: what landed is not known, so the marks are read again before anything is sent.
        """

    async def publish_dead_letters(self, records: Sequence[OutRecord]) -> None:
        """Append dead letters; acknowledged on return. A failed send ends the session likewise."""


class Snapshots(Protocol):
    """Saved states of one partition."""

    async def load_newest(self, commands: CommandLog, *, after: int, answered: int, generation: int) -> bool:
        """Load the newest usable one for the owner of this generation; say whether there was one.

        Args:
            commands: the log that it must be of.
            after: it must hold more than the records up to here.
            answered: the events of the commands before this offset are published, and so must be the snapshot's.
            generation: of the group, the one that is stored.

        Raises:
            Refusal: somebody else has the partition, or its state is not what the owner believes.
        """


class LogUnavailable(Exception):  # noqa: N818  it is Kafka that is unavailable
    """Kafka did not answer, or did not acknowledge what was sent; both topics' methods raise it."""


class TooLarge(LogUnavailable):
    """A topic does not take a record so large; the text says which, and what to do. Nothing is dropped meanwhile."""


class Unrecoverable(OpdError):  # noqa: N818  what the operator must decide
    """The state cannot be led on from this log; going on would mean to guess. The text says what to do."""


class Owner:
    """Takes one partition and works on it until stopped.

    Attributes:
        state: "taking", "working", "waiting: …" (for what), "superseded", or "stopped".
    """

    def __init__(  # noqa: PLR0913  its collaborators
        self,
        partition: int,
        *,
        generation: int,
        commands: CommandLog,
        answers: Answers,
        store: SlotStore,
        commands_topic: str,
        metrics: PartitionMetrics,
        snapshots: Snapshots | None = None,
        spans: "Spans | None" = None,
    ) -> None:
        self.partition = partition
        self.state = "taking"
        self._generation = generation
        self._commands = commands
        self._answers = answers
        self._store = store
        self._commands_topic = commands_topic
        self._metrics = metrics
        self._snapshots = snapshots
        self._spans = spans
        self._applied = NOTHING_APPLIED
        self._published = NOWHERE
        self._dead_lettered = -1
        self._committed = 0
        self._outcome_was_missing_at = -1
        self._rebuild: Rebuild | None = None
        self._waiting_for = ""
        self._stopping = False
        self._in_batch = False
        self._saying: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> asyncio.Task[None]:
        """Begin; the task ends when stopped or superseded, and fails with Unrecoverable."""
        self._task = asyncio.create_task(self._run(), name=f"owner of partition {self.partition}")
        return self._task

    async def stop(self, *, within_s: float) -> None:
        """Let the batch in flight finish, but no longer than so, and end."""
        self._stopping = True
        if self._task is None or self._task.done():
            return
        if self._in_batch:
            await asyncio.wait([self._task], timeout=within_s)
        elif self._saying is not None:
            await asyncio.wait([self._saying], timeout=within_s)
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._saying is not None:
            self._saying.cancel()
            await self._settle()

    def committed(self, offset: int) -> None:
        """Note that the group's committed offset is this one now: outcomes below it may go."""
        self._committed = max(self._committed, offset)

    async def _run(self) -> None:
        try:
            while not self._stopping:
                await self._take_and_work()
                await self._settle()
        finally:
            self.state = "superseded" if self.state == "superseded" else "stopped"

    async def _take_and_work(self) -> None:
        try:
            if not self._waiting_for:
                self.state = "taking"
            await self._take()
            if self._waiting_for != LARGER_RECORDS:  # only an answer shows that they are taken now
                self._is_working()
            await self._work()
        except (Unfenced, Rewind, HalfWritten) as found:
            self._metrics.rewinds.inc()
            log.warning("taking the partition again", partition=self.partition, why=str(found))
        except Superseded as found:
            self.state = "superseded"
            self._stopping = True
            log.warning("another owner has the partition", partition=self.partition, why=str(found))
        except OtherVersion as found:
            raise Unrecoverable(
                f"Redis keeps the state of partition {self.partition} in another layout ({found.found}) than this "
                f"version: nothing was changed. To go over to this version, stop the other's allocators and empty this "
                f"Redis (redis-cli FLUSHDB; with `opd up`, remove redis/ in its state folder), or let OPD_REDIS_URL of "
                f"this version's name an empty one beside it; it is rebuilt from the log, or from a snapshot."
            ) from found
        except RedisError as error:
            await self._wait(ROOM if isinstance(error, OutOfMemoryError) else "Redis", error)
        except TooLarge as error:
            await self._wait(LARGER_RECORDS, error)
        except LogUnavailable as error:
            await self._wait("Kafka", error)
        finally:
            self._in_batch = False
            if self._rebuild is not None:
                self._rebuild.abandon()
            self._commands.pause()

    def _is_working(self) -> None:
        self.state = "working"
        self._waiting_for = ""

    async def _wait(self, for_what: str, error: Exception) -> None:
        self.state = f"waiting: {for_what}"
        if self._waiting_for != for_what:
            self._waiting_for = for_what
            level = logging.ERROR if for_what in {ROOM, LARGER_RECORDS} else logging.WARNING  # for an operator to mend
            log.log(level, "waiting", partition=self.partition, for_what=for_what, error=str(error))
        await asyncio.sleep(RETRY_AFTER_S)

    # ------------------------------------------------------------------------------------------------------- taking

    async def _take(self) -> None:
        marks = await self._store.fence(self._generation)
        if marks.half_written:
            log.warning("the state was half written and is rebuilt from the log", partition=self.partition)
            await self._store.clear(self._generation)
            marks = await self._store.fence(self._generation)
        # Only now: what a fenced owner had in flight may have landed until here.
        self._published = await self._answers.published()
        self._dead_lettered = await self._answers.dead_lettered()
        self._committed = max(self._committed, await self._commands.committed())
        bounds = await self._commands.bounds()
        marks = await self._begin_from_a_snapshot(marks, bounds)
        self._applied = marks.applied
        start = min(marks.applied + 1, max(self._published.offset, self._committed))
        await self._refuse_a_foreign_log(marks, bounds, start)
        said = max(self._published.offset, self._committed - 1)
        self._rebuild = Rebuild(self.partition, self._metrics, applied=marks.applied, said=said)
        self._commands.seek(start)
        self._commands.resume()
        log.info(
            "partition taken",
            partition=self.partition,
            generation=self._generation,
            applied=marks.applied,
            published=self._published.offset,
            committed=self._committed,
            start=start,
            end=bounds.end,
        )

    async def _begin_from_a_snapshot(self, marks: Marks, bounds: LogBounds) -> Marks:
        """Load a saved state where Redis holds nothing, or too little for this log; give the marks as they are then."""
        can_be_led_on = marks.applied != NOTHING_APPLIED and marks.applied + 1 >= bounds.first
        if self._snapshots is None or can_be_led_on:
            return marks
        answered = max(self._published.offset, self._committed)
        if not await self._snapshots.load_newest(
            self._commands, after=marks.applied, answered=answered, generation=self._generation
        ):
            return marks
        return await self._store.fence(self._generation)

    async def _refuse_a_foreign_log(self, marks: Marks, bounds: LogBounds, start: int) -> None:
        place = f"partition {self.partition} of {self._commands_topic}"
        if marks.applied >= bounds.end:
            raise Unrecoverable(
                f"{place} ends at offset {bounds.end}, but Redis has applied {marks.applied}: the log lost records, or "
                f"this Redis belongs to another log. Point OPD_REDIS_URL at the right Redis, or at an empty one."
            )
        if self._published.offset >= bounds.end:
            raise Unrecoverable(
                f"{place} ends at offset {bounds.end}, but the events topic answers {self._published.offset}: the "
                f"log lost records, or the events belong to another log. Nothing would be said of new commands."
            )
        if start < bounds.first:
            raise Unrecoverable(
                f"{place} begins at offset {bounds.first}, but {start} is needed: the state of Redis (applied "
                f"{marks.applied}) cannot be led on. Let OPD_SNAPSHOT_FOLDER name a folder with a usable snapshot, or "
                f"restore a Redis that applied at least offset {bounds.first - 1}."
            )
        if marks.applied >= bounds.first:
            record = await self._commands.record_at(marks.applied)
            if record is None or record_digest(record.key, record.value) != marks.digest:
                raise Unrecoverable(
                    f"{place} holds another record at offset {marks.applied} than the one that Redis applied: this "
                    f"Redis belongs to another log. Point OPD_REDIS_URL at the right Redis, or at an empty one."
                )

    # ------------------------------------------------------------------------------------------------------ working

    async def _work(self) -> None:
        now_s = asyncio.get_running_loop().time
        checked_at = now_s()
        while not self._stopping:
            records = await self._commands.fetch(most=BATCH_RECORDS, wait_s=FETCH_WAIT_S)
            if records:
                self._in_batch = True
                await self._answer(records)
                self._in_batch = False
                self._is_working()
                checked_at = now_s()
            elif now_s() - checked_at >= IDLE_CHECK_S:
                await self._said()
                await self._store.check(generation=self._generation, expected=self._applied)
                checked_at = now_s()
        await self._said()

    async def _answer(self, records: Sequence[CommandRecord]) -> None:
        count = bisect_right(records, self._applied, key=attrgetter("offset"))
        applied, fresh = records[:count], records[count:]
        if applied:
            await self._answer_part(applied, decided=True)
        if fresh:
            await self._answer_part(fresh, decided=False)

    async def _answer_part(self, records: Sequence[CommandRecord], *, decided: bool) -> None:
        commands, faults = read_batch(records, self.partition, self._commands.partition_of)
        followed = None if self._spans is None else self._spans.decisions(self.partition, commands)
        events = await self._outcomes(commands) if decided else await self._decide(records, commands)
        await self._said()
        self._saying = asyncio.create_task(self._say(records, commands, faults, events, followed))

    async def _say(
        self,
        records: Sequence[CommandRecord],
        commands: Sequence[BatchedCommand],
        faults: Mapping[int, str],
        events: Mapping[int, Sequence[WrittenEvent]],
        followed: "Decisions | None",
    ) -> None:
        """Publish a batch's answers and let them be committed, while the next batch is decided: one is on its way."""
        last = records[-1].offset
        if last >= max(self._published.offset, self._committed):  # a rebuild goes over what was said long ago
            await self._publish(records, commands, faults, events)
            if followed is not None:
                followed.said(events)
        if last >= self._committed:
            self._commands.done(last + 1)

    async def _said(self) -> None:
        """Wait until the batch before is acknowledged, and raise what kept it from being so."""
        if self._saying is not None:
            try:
                await self._saying
            finally:  # not before: a stop waits for what is on its way
                self._saying = None

    async def _settle(self) -> None:
        """Wait for what is still on its way, whatever becomes of it: only then may the marks be read again."""
        if self._saying is not None:
            await asyncio.wait([self._saying])
            if not self._saying.cancelled() and self._saying.exception() is not None:
                log.info("what was being said failed too", partition=self.partition)
            self._saying = None

    async def _decide(
        self, records: Sequence[CommandRecord], commands: Sequence[BatchedCommand]
    ) -> Mapping[int, Sequence[WrittenEvent]]:
        last = records[-1]
        with self._metrics.script.time():
            events = await self._store.decide(
                commands,
                generation=self._generation,
                expected=self._applied,
                committed=self._committed,
                last=last.offset,
                digest=record_digest(last.key, last.value),
            )
        self._applied = last.offset
        if self._rebuild is not None:
            self._rebuild.reached(last.offset)
        self._metrics.batch.observe(len(records))
        return events

    async def _outcomes(self, commands: Sequence[BatchedCommand]) -> Mapping[int, Sequence[WrittenEvent]]:
        """Give the stored outcomes of commands that are applied already; they are never decided again."""
        if not commands:
            await self._store.check(generation=self._generation, expected=self._applied)
            return {}
        named = {each.offset: each.command for each in commands}
        events = await self._store.outcomes(named, generation=self._generation, expected=self._applied)
        needed_from = max(self._committed, self._published.offset)
        missing = [offset for offset in named if offset not in events and offset >= needed_from]
        if missing:
            if self._outcome_was_missing_at == missing[0]:
                raise Unrecoverable(
                    f"partition {self.partition}: the command at offset {missing[0]} was applied, but its outcome is "
                    f"neither stored nor published. Empty this Redis to rebuild it from the log."
                )
            self._outcome_was_missing_at = missing[0]
            raise Rewind(f"no outcome of offset {missing[0]}")
        return events

    async def _publish(
        self,
        records: Sequence[CommandRecord],
        commands: Sequence[BatchedCommand],
        faults: Mapping[int, str],
        events: Mapping[int, Sequence[WrittenEvent]],
    ) -> None:
        said_up_to = max(self._dead_lettered, self._published.offset, self._committed - 1)
        letters = [
            dead_letter(record, faults[record.offset], self._commands_topic, self.partition)
            for record in records
            if record.offset in faults and record.offset > said_up_to
        ]
        if letters:
            await self._answers.publish_dead_letters(letters)
        # What is below the committed offset was said long ago: of a rebuild no events are even made.
        unsaid = [each for each in commands if each.offset >= self._committed]
        answers = [events.get(each.offset, ()) for each in unsaid]
        out = event_records(self.partition, unsaid, answers, after=self._published)
        if out:
            await self._answers.publish_events(out)
        self._metrics.count(answers, dead_letters=len(letters))
        if unsaid and answers[-1]:
            self._published = max(self._published, EventPlace(unsaid[-1].offset, len(answers[-1]) - 1))
        self._dead_lettered = max(self._dead_lettered, *faults, -1)
