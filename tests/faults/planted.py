"""Mistakes that the simulation must find: each is a change in the text of a method.

A change whose text is found no more must be planted anew, where the code went. `planted_seeds.json` keeps for each the
first seed whose schedule shows it; `python -m tests.faults planted` searches for all of them again.
"""

import inspect
import sys
import textwrap
from functools import cache
from typing import Any, NamedTuple

from services.allocator.group import Group
from services.allocator.kafka import KafkaAnswers, Publisher, TailReader
from services.allocator.owner import Owner
from tests.faults.redis_double import RedisDouble, SlotStoreDouble


class Planted(NamedTuple):
    """A mistake.

    Attributes:
        changes: old and new text, within the method.
    """

    name: str
    where: type
    method: str
    changes: tuple[tuple[str, str], ...]


@cache
def mistaken(planted: Planted) -> Any:
    """Give the method with the mistake in it."""
    text = textwrap.dedent(inspect.getsource(getattr(planted.where, planted.method)))
    for old, new in planted.changes:
        if text.count(old) != 1:
            raise LookupError(f"{planted.name}: {old!r} stands {text.count(old)} times in {planted.method}")
        text = text.replace(old, new)
    module = vars(sys.modules[planted.where.__module__])
    found: dict[str, Any] = {}
    exec(compile(text, f"<{planted.name}>", "exec"), module, found)  # noqa: S102  our own text
    return found[planted.method]


def _start(at: str) -> tuple[tuple[str, str], ...]:
    return (("min(marks.applied + 1, max(self._published.offset, self._committed))", at),)


_READ_MARKS = """    self._published = await self._answers.published()
    self._dead_lettered = await self._answers.dead_lettered()
"""
_FENCE = "    marks = await self._store.fence(self._generation)\n    if"
_RESUMES = """    self._commands.resume()
    early = await self._commands.fetch(most=9, wait_s=1)
    if early:
        await self._answer(early)
"""
_SEND_LETTERS = "    if letters:\n        await self._answers.publish_dead_letters(letters)\n"
_SEND_EVENTS = "    if out:\n        await self._answers.publish_events(out)\n"
_SENT = "        await self._answers.publish_events(out)"
_DECIDES = "events = await self._outcomes(commands) if decided else await self._decide(records, commands)"
_PUBLISHES = "await self._publish(records, commands, faults, events)"
_DONE = "self._commands.done(last + 1)"
_KEPT = "tuple(batch for batch in found.outcomes if batch[0] >= committed)"
_COMPARE = "    if found.applied != expected:\n        raise Rewind(str(found.applied))\n"
_LOWER = "    if stored < generation:\n        raise Unfenced(str(stored))\n"
_HIGHER = "    if stored > generation:\n        raise Superseded(str(stored))\n"
_ONE_BY_ONE = "await (await producer.send_batch(batch, topic, partition=partition))\n                    batch"

PLANTED = (
    Planted("start at applied + 1 alone", Owner, "_take", _start("marks.applied + 1")),
    Planted("start at the committed offset alone", Owner, "_take", _start("self._committed")),
    Planted(
        "start behind the published offset",
        Owner,
        "_take",
        _start("min(marks.applied + 1, max(self._published.offset + 1, self._committed))"),
    ),
    Planted(
        "the mark without n",
        Owner,
        "_publish",
        (("after=self._published", "after=EventPlace(self._published.offset, 99)"),),
    ),
    Planted("marks read before the fence", Owner, "_take", ((_READ_MARKS, ""), (_FENCE, _READ_MARKS + _FENCE))),
    Planted(
        "marks read only once",
        Owner,
        "_take",
        ((_READ_MARKS, "    if self._published is NOWHERE:\n" + textwrap.indent(_READ_MARKS, "    ")),),
    ),
    Planted("no suppression of events", Owner, "_publish", (("after=self._published", "after=NOWHERE"),)),
    Planted(
        "no suppression of dead letters",
        Owner,
        "_publish",
        (("max(self._dead_lettered, self._published.offset, self._committed - 1)", "-1"),),
    ),
    Planted(
        "events before dead letters",
        Owner,
        "_publish",
        ((_SEND_LETTERS, ""), (_SEND_EVENTS, _SEND_EVENTS + _SEND_LETTERS)),
    ),
    Planted(
        "a dead letter dropped among commands", Owner, "_publish", (("if letters:", "if letters and not events:"),)
    ),
    Planted(
        "a failed send passed over",
        Owner,
        "_publish",
        ((_SENT, f"        try:\n    {_SENT}\n        except LogUnavailable:\n            pass"),),
    ),
    Planted(
        "commit before produce",
        Owner,
        "_say",
        ((_PUBLISHES, "pass"), (_DONE, f"{_DONE}\n        {_PUBLISHES}")),
    ),
    Planted("commit one too far", Owner, "_say", ((_DONE, "self._commands.done(last + 2)"),)),
    Planted("commit lower than before", Owner, "_say", (("if last >= self._committed:", "if True:"),)),
    Planted("commit of an earlier generation", Group, "on_partitions_assigned", (("self._done.clear()", "pass"),)),
    Planted(
        "decide what is applied", Owner, "_answer_part", ((_DECIDES, "events = await self._decide(records, commands)"),)
    ),
    Planted(
        "decide the applied record once more",
        Owner,
        "_answer",
        (("records, self._applied,", "records, self._applied - 1,"),),
    ),
    Planted(
        "no seek when the partition is taken again",
        Owner,
        "_take",
        (("self._commands.seek(start)", "self._applied == -1 and self._commands.seek(start)"),),
    ),
    Planted(
        "resume before the seek",
        Owner,
        "_take",
        (
            (
                "    await self._refuse_a_foreign_log",
                _RESUMES + "    await self._refuse_a_foreign_log",
            ),
        ),
    ),
    Planted(
        "an applied offset that only rises",
        Owner,
        "_take",
        (("self._applied = marks.applied", "self._applied = max(self._applied, marks.applied)"),),
    ),
    Planted(
        "applied moved to the last command only",
        Owner,
        "_decide",
        (("last=last.offset", "last=commands[-1].offset if commands else self._applied"),),
    ),
    Planted("no idle check", Owner, "_work", (("IDLE_CHECK_S", "1e9"),)),
    Planted(
        "an owner that gives up when Kafka does not answer",
        Owner,
        "_take_and_work",
        (('await self._wait("Kafka", error)', "self._stopping = True"),),
    ),
    Planted(
        "an owner that gives up when it is unfenced",
        Owner,
        "_take_and_work",
        (
            ("(Unfenced, Rewind, HalfWritten)", "(Rewind, HalfWritten)"),
            ("except Superseded as", "except (Superseded, Unfenced) as"),
        ),
    ),
    Planted("a half-written state is not cleared", Owner, "_take", (("if marks.half_written:", "if False:"),)),
    Planted(
        "the last record instead of the highest",
        KafkaAnswers,
        "published",
        (("place is not None and place > highest", "place is not None"),),
    ),
    Planted("a tail without its last record", TailReader, "tail", (("bounds.end)", "bounds.end - 1)"),)),
    Planted("a tail of one record", KafkaAnswers, "published", (("TAIL_RECORDS", "1"),)),
    Planted("a dead-letter tail of one record", KafkaAnswers, "dead_lettered", (("TAIL_DEAD_LETTERS", "1"),)),
    Planted(
        "the next batch before the acknowledgement",
        Publisher,
        "send",
        ((_ONE_BY_ONE, "await producer.send_batch(batch, topic, partition=partition)\n                    batch"),),
    ),
    Planted("outcomes trimmed at sending", RedisDouble, "decide", ((_KEPT, "()"),)),
    Planted(
        "outcomes trimmed below the last batch sent",
        Owner,
        "_decide",
        (("committed=self._committed", "committed=self._applied + 1"),),
    ),
    Planted("no compare-and-set", RedisDouble, "_guard", ((_COMPARE, ""),)),
    Planted("no fence and no compare-and-set", RedisDouble, "_guard", ((_COMPARE, ""), (_LOWER, ""), (_HIGHER, ""))),
    Planted("a half-written state that nothing marks", RedisDouble, "half_decide", ((", is_half_written=True", ""),)),
    Planted(
        "a mark of the half-written that is not read", RedisDouble, "fence", (("found.is_half_written)", "False)"),)
    ),
    Planted(
        "a fence counted in Redis",
        Owner,
        "_take",
        ((_FENCE, "    self._generation = self._store.count_up()\n" + _FENCE),),
    ),
    Planted(
        "deletion by whoever was the owner",
        SlotStoreDouble,
        "clear",
        (("server.delete(at, generation, clearing)", "server.delete_unguarded(at)"),),
    ),
    Planted("clearing without a name", RedisDouble, "_guard_clear", (("found.clearing != clearing", "False"),)),
)
