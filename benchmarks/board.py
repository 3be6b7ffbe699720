"""How soon all hear, when thousands listen to one board: from a doctor's call to the last screen."""

import asyncio
import math
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, cast

import httpx
from redis import Redis

from benchmarks.bench import Bench
from benchmarks.measurement import Figures, Measurement, Table, spread
from benchmarks.processes import cpu_s
from services.stack import Stack
from services.stack.system import System, all_services

LISTENERS = 5_000
DOCTORS = 12
CALLS = 10
CONNECTED_AT_ONCE = 200
HEARD_WITHIN_S = 120.0  # of a machine that is busy with others, too
_WHERE = {"facility_id": "blr1", "department_id": "cardiology"}
_SLOT = "09:00-10:00"


class _Listener(asyncio.Protocol):
    """One screen's connection, with as little of its own as can be: sender and listeners share the cores."""

    def __init__(self, request: bytes) -> None:
        self.heard_at = 0.0
        self.states = 0
        self._request = request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if b"\ndata: {" in data:
            self.heard_at = time.perf_counter()
            self.states += 1

    def close(self) -> None:
        self._transport.abort()


async def measure(bench: Bench) -> Figures:
    """Have doctors call patients while so many listen, and see when each heard of it."""
    settings = bench.settings("board").model_copy(update={"history_schema": "bench_board"})
    with Redis.from_url(bench.stack.redis) as redis:
        redis.flushall()
    stack = Stack(bench.folder / "board", kafka=bench.stack.kafka, redis=bench.stack.redis, postgres=bench.postgres.url)
    system = System(stack, settings, all_services(), partitions=1)
    with ExitStack() as cleanup:
        await asyncio.to_thread(cleanup.enter_context, system)
        async with httpx.AsyncClient(base_url=system.http["gateway"], timeout=30) as gateway:
            day = f"{datetime.now(UTC).date()}"
            await _prepare(gateway, day)
            listeners = await _listen(system.http["board"], day)
            try:
                return await _calls(bench, gateway, day, listeners, system.processes["board"].pid)
            finally:
                for each in listeners:
                    each.close()


async def _prepare(gateway: httpx.AsyncClient, day: str) -> None:
    for number in range(DOCTORS):
        schedule = [{"slot": _SLOT, "capacity": CALLS + 2}]
        doctor = {**_WHERE, "doctor_id": f"dr-{number}", "name": f"Dr {number}", "schedule": schedule}
        await _done(gateway.post("/doctors", json=doctor))
    for number in range(CALLS + 1):
        asked = {**_WHERE, "date": day, "slot": _SLOT, "patient_id": f"p{number}", "source": "ONLINE"}
        token = await _done(gateway.post("/tokens", json={**asked, "doctor_id": "dr-0"}))
        await _done(gateway.post(f"/tokens/{token['token_id']}/check-in"))


async def _done(asked: Any) -> Any:
    return (await asked).raise_for_status().json()


async def _listen(board_url: str, day: str) -> list[_Listener]:
    """Connect all, and wait until each was told the day's state."""
    url, loop = httpx.URL(board_url), asyncio.get_running_loop()
    port = url.port or 80
    path = f"/live/{_WHERE['facility_id']}?department={_WHERE['department_id']}&date={day}"
    request = f"GET {path} HTTP/1.1\r\nHost: {url.host}:{port}\r\n\r\n".encode()
    listeners: list[_Listener] = []
    while len(listeners) < LISTENERS:
        opening = [loop.create_connection(lambda: _Listener(request), url.host, port) for _ in range(CONNECTED_AT_ONCE)]
        listeners += [listener for _, listener in await asyncio.gather(*opening)]
        await _until_all_heard(listeners, 0.0)
    return listeners


async def _until_all_heard(listeners: list[_Listener], since: float) -> None:
    async with asyncio.timeout(HEARD_WITHIN_S):
        while any(each.heard_at <= since for each in listeners):  # noqa: ASYNC110  see below
            await asyncio.sleep(0.05)  # an Event set by each of them would be a part of what is measured


async def _calls(
    bench: Bench, gateway: httpx.AsyncClient, day: str, listeners: list[_Listener], board_pid: int
) -> Figures:
    rows: list[Figures] = []
    for number in range(CALLS if bench.options.runs > 1 else 3):
        await asyncio.sleep(1)  # one after the other, as in a hall
        states, used_s = sum(each.states for each in listeners), cpu_s({"board": board_pid})["board"]
        began = time.perf_counter()
        await _done(gateway.post("/doctors/dr-0/call-next", json={**_WHERE, "date": day, "slot": _SLOT}))
        decided = time.perf_counter()
        await _until_all_heard(listeners, began)
        took_ms = sorted((each.heard_at - began) * 1000 for each in listeners)
        told = sum(each.states for each in listeners) - states
        rows.append(
            {
                "decided_ms": round((decided - began) * 1000, 1),
                "p50_ms": round(took_ms[len(took_ms) // 2], 1),
                "p99_ms": round(took_ms[math.ceil(0.99 * len(took_ms)) - 1], 1),
                "last_ms": round(took_ms[-1], 1),
                "cpu_us": round((cpu_s({"board": board_pid})["board"] - used_s) / told * 1e6, 1),
            }
        )
        bench.say(
            f"call {number + 1}: decided after {rows[-1]['decided_ms']} ms, all heard after {rows[-1]['last_ms']} ms"
        )
    return {"listeners": len(listeners), "calls": rows}


def show(figures: Figures) -> list[Table]:
    """Give one row: the median call, and the quickest and the slowest."""
    names = ("decided_ms", "p50_ms", "p99_ms", "last_ms", "cpu_us")
    values = [spread("{:,.0f}", [call[name] for call in figures["calls"]]) for name in names]
    columns = ("listeners", "answered ms", "half heard ms", "99 % heard ms", "all heard ms", "CPU µs a listener")
    note = (
        f"From a doctor's request to the gateway, over {len(figures['calls'])} calls; a board, the engine and "
        "all listeners share the cores. A listener is a TCP connection that reads a state of "
        f"{DOCTORS} doctors. A board tells of changes at most five times a second: up to 200 ms are that."
    )
    return [Table("From a call to the screens of a hall", columns, [[f"{figures['listeners']:,}", *values]], note)]


BOARD = Measurement("board", "one board and thousands who listen", measure, show)
