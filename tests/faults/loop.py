"""An event loop with a clock of its own and processes that can be killed or stopped between any two steps.

Whatever runs belongs to a `Process`: the one of the context that it was scheduled in. Among processes that have
something to do a seed chooses; within one everything keeps the order of asyncio. Time goes on only when nobody has
anything to do.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

Result = TypeVar("Result")
MOST_STEPS = 400_000


class Process:
    """What is killed, stopped and continued as a whole.

    Attributes:
        killed: nothing of it runs any more, not even a `finally`.
        stopped: it stands still, as after SIGSTOP.
        stops: how often it was stopped.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.killed = False
        self.stopped = False
        self.stops = 0
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []


PROCESS: ContextVar[Process] = ContextVar("process")


class RoundInCircles(Exception):  # noqa: N818  what it does
    """Steps without end."""


class SimulatedLoop(asyncio.AbstractEventLoop):
    """As much of a loop as tasks, futures, timeouts and locks need."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._now_s = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._timer_number = 0
        self._runnable: list[Process] = []
        self._processes: dict[Process, None] = {}
        self.steps = 0
        self.errors: list[str] = []

    def time(self) -> float:
        return self._now_s

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # the loop's signature differs between Python's versions
        self, coro: Coroutine[Any, Any, Result], *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Result]:
        context = context or copy_context()
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # a killed process leaves its tasks behind
        context[PROCESS].tasks.append(task)
        return task

    def spawn(self, process: Process, coro: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Start a task that belongs to a process."""
        context = copy_context()
        context.run(PROCESS.set, process)
        return self.create_task(coro, context=context)

    def call_soon(  # type: ignore[override]  # the stub's is generic in the arguments
        self, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._enqueue(handle)
        return handle

    def call_later(  # type: ignore[override]  # the stub's is generic in the arguments
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_s + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # the stub's is generic in the arguments
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_number += 1
        heapq.heappush(self._timers, (when, self._timer_number, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        pass

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def kill(self, process: Process) -> None:
        """As SIGKILL."""
        process.killed = True
        process.ready.clear()

    def stop_process(self, process: Process) -> None:
        """As SIGSTOP."""
        process.stopped = True
        process.stops += 1

    def continue_process(self, process: Process) -> None:
        """As SIGCONT."""
        process.stopped = False
        if process.ready and process not in self._runnable:
            self._runnable.append(process)

    def run(self, process: Process, main: Coroutine[Any, Any, Result]) -> Result:
        """Run until a task of a process is done; whatever else is still at work then is given up."""
        asyncio._set_running_loop(self)
        try:
            task = self.spawn(process, main)
            while not task.done():
                self._step()
            return task.result()
        finally:
            self._give_up_the_rest()
            asyncio._set_running_loop(None)

    def _enqueue(self, handle: asyncio.Handle) -> None:
        process = handle._context[PROCESS]  # type: ignore[attr-defined]  # where asyncio keeps it
        if process.killed:
            return
        self._processes[process] = None
        process.ready.append(handle)
        if not process.stopped and process not in self._runnable:
            self._runnable.append(process)

    def _step(self) -> None:
        if not self._runnable:
            self._let_time_go_by()
            return
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise RoundInCircles
        at = int(self._rng.random() * len(self._runnable)) if len(self._runnable) > 1 else 0
        process = self._runnable[at]
        if process.ready and not process.stopped:
            handle = process.ready.popleft()
            if not handle._cancelled:
                handle._run()
        if (not process.ready or process.stopped) and process in self._runnable:
            self._runnable.remove(process)

    def _let_time_go_by(self) -> None:
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)
        if not self._timers:
            raise RoundInCircles("nobody has anything to do, ever")
        self._now_s = self._timers[0][0]
        while self._timers and self._timers[0][0] <= self._now_s:
            self._enqueue(heapq.heappop(self._timers)[2])

    def _give_up_the_rest(self) -> None:
        for process in self._processes:
            self.kill(process)
        for process in self._processes:
            for task in process.tasks:
                if not task.done():
                    coro: Any = task.get_coro()
                    coro.close()
                elif not task.cancelled():
                    task.exception()
            process.tasks.clear()
