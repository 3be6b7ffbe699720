"""What events become: each message once, in order, and only the last word on a token."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from services.notifier import outbox
from services.notifier.notices import Kind, Notices
from tests.notifier.conftest import InOutbox
from tests.notifier.story import POOL, TOPIC, Story, states, token

NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def test_each_change_that_matters_to_a_patient_is_a_message(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story = Story().open(1)
        seen = []
        for kind, data in (
            ("RequestToken", {**POOL, "patient_id": "p1", "source": "ONLINE"}),
            ("RequestToken", {**POOL, "patient_id": "p2", "source": "ONLINE"}),
            ("RequestToken", {**POOL, "patient_id": "p3", "source": "EMERGENCY"}),
            ("CancelToken", {"token_id": token(3)}),
            ("MarkNoShow", {"token_id": token(1)}),
            ("CloseSlot", POOL),
        ):
            await story.ask(kind, **data).told_to(connection)
        seen = [(kind, patient) for kind, patient, _ in await states(connection)]
        assert sorted(seen) == sorted(
            [
                ("confirmed", "p1"),
                ("waitlisted", "p2"),
                ("preempted", "p1"),
                ("confirmed", "p3"),
                ("cancelled", "p3"),
                ("promoted", "p1"),
                ("no_show", "p1"),
                ("promoted", "p2"),
            ]
        )
        [about] = await connection.fetchval("SELECT array_agg(about) FROM messages WHERE kind = 'waitlisted'")
        assert '"position": 1' in about
        assert "p2" not in about

    in_outbox(run)


def test_what_was_not_sent_yet_is_overtaken_by_what_happens_next(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story = Story().open(1).book("p1", "p2")
        await story.told_to(connection)
        await story.ask("CancelToken", token_id=token(1)).told_to(connection)
        await story.ask("CancelToken", token_id=token(2)).told_to(connection)
        assert await states(connection) == [
            ("confirmed", "p1", "OVERTAKEN"),
            ("waitlisted", "p2", "OVERTAKEN"),
            ("cancelled", "p1", "DUE"),
            ("promoted", "p2", "OVERTAKEN"),
            ("cancelled", "p2", "DUE"),
        ]

    in_outbox(run)


def test_what_is_on_its_way_is_not_overtaken_and_the_next_word_waits_for_it(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story = Story().open(1).book("p1")
        await story.told_to(connection)
        [first] = await outbox.claim(connection, NOW, 8)
        await story.ask("CancelToken", token_id=token(1)).told_to(connection)
        assert await outbox.claim(connection, NOW, 8) == []
        await outbox.end(connection, first, "SENT", "email")
        [second] = await outbox.claim(connection, NOW, 8)
        assert (first.kind, second.kind) == ("confirmed", "cancelled")

    in_outbox(run)


def test_what_is_put_back_is_not_sent_behind_a_newer_word(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story = Story().open(1).book("p1")
        await story.told_to(connection)
        [first] = await outbox.claim(connection, NOW, 8)
        await story.ask("CancelToken", token_id=token(1)).told_to(connection)
        await outbox.put_back(connection, first, NOW, tried=True)
        assert await states(connection) == [("confirmed", "p1", "OVERTAKEN"), ("cancelled", "p1", "DUE")]

    in_outbox(run)


def test_who_has_two_before_them_is_told_once_and_so_is_who_comes_closer(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story = Story().open(9).book("p1", "p2", "p3", "p4", "p5").check_in(1, 2, 3, 4, 5)
        await story.told_to(connection)
        assert await states(connection) == [], "who is there needs no confirmation"
        for _ in range(2):
            await story.call_next().told_to(connection)
        rows = await connection.fetch("SELECT patient_id, about ->> 'before' AS before FROM messages ORDER BY id")
        assert [(row["patient_id"], row["before"]) for row in rows] == [
            ("p2", "0"),
            ("p3", "1"),
            ("p4", "2"),
            ("p5", "2"),
        ]
        assert ("soon", "p2", "OVERTAKEN") in await states(connection), "they were called meanwhile"
        await story.call_next().told_to(connection)
        assert len(await states(connection)) == 4

    in_outbox(run)


def test_nobody_is_told_that_it_is_soon_where_that_is_off(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story = Story().open(9).book("p1", "p2").check_in(1, 2).call_next()
        await story.told_to(connection, soon_before=0)
        assert await states(connection) == []

    in_outbox(run)


def test_a_position_moves_with_its_messages_or_not_at_all(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        nothing = Notices({}, set(), {}, {}, {})
        await outbox.load(connection, TOPIC, 1)
        await outbox.take(connection, 0, (0, 5), [], nothing, soon_before=2)
        with pytest.raises(outbox.Overtaken):
            await outbox.take(connection, 0, (0, 7), [], nothing, soon_before=2)
        assert (await outbox.load(connection, TOPIC, 1))[0].next_offset == 5
        with pytest.raises(outbox.OtherTopic, match="this outbox is of events with 1 partitions"):
            await outbox.load(connection, "other", 1)

    in_outbox(run)


def test_what_was_on_its_way_at_a_kill_is_sent_once_more_and_not_a_third_time(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(3).book("p1", "p2").told_to(connection)
        assert len(await outbox.claim(connection, NOW, 8)) == 2
        assert await outbox.recover(connection) == (2, [])
        [once_more, other] = await outbox.claim(connection, NOW, 8)
        await outbox.end(connection, other, "SENT")
        assert await outbox.recover(connection) == (0, [Kind.CONFIRMED])
        [dead] = await outbox.dead(connection, 10)
        assert (dead["id"], dead["fault"]) == (once_more.id, "twice on its way when the notifier was killed")
        assert await outbox.recover(connection) == (0, [])

    in_outbox(run)


def test_what_was_given_up_can_be_sent_again_unless_it_is_old_news(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        story = Story().open(3).book("p1", "p2")
        await story.told_to(connection)
        for due in await outbox.claim(connection, NOW, 8):
            await outbox.bury(connection, due, "email", "not taken")
        await story.ask("CancelToken", token_id=token(1)).told_to(connection)
        assert [row["token_id"] for row in await outbox.dead(connection, 10)] == [token(1), token(2)]
        assert await outbox.resend(connection, None) == 2
        assert await outbox.dead(connection, 10) == []
        assert {(due.kind, due.patient_id) for due in await outbox.claim(connection, NOW, 8)} == {
            ("confirmed", "p2"),
            ("cancelled", "p1"),
        }

    in_outbox(run)


def test_what_is_done_with_is_forgotten_after_a_month(in_outbox: InOutbox) -> None:
    async def run(connection: asyncpg.Connection) -> None:
        await Story().open(3).book("p1", "p2").told_to(connection)
        [due, _] = await outbox.claim(connection, NOW, 8)
        await outbox.bury(connection, due, "email", "not taken")
        await outbox.forget(connection, datetime.now(UTC) + timedelta(days=29))
        assert len(await states(connection)) == 2
        await outbox.forget(connection, datetime.now(UTC) + timedelta(days=31))
        assert [patient for _, patient, _ in await states(connection)] == ["p2"]

    in_outbox(run)
