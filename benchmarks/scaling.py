"""`python -m benchmarks.scaling`: what a decision costs Redis as work grows, the longest pauses, and bytes."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from redis import Redis
from rich.console import Console
from rich.table import Table

from allocation_core.calendar import date_of_day, day_of_timestamp, token_id
from benchmarks.embedded import Cost, Partition, command, embedded
from benchmarks.workload import TIMESTAMP_MS
from schemas.commands import Command

SLOT = "09:00-10:00"
TODAY = day_of_timestamp(TIMESTAMP_MS)
MEASURED = 2_000


class Department:
    """Says commands of one department, each with an id of its own."""

    def __init__(self, name: str = "hall") -> None:
        self.name = name
        self._numbers = iter(range(10**9))

    def say(self, command_type: str, **data: object) -> tuple[Command, int]:
        return command(next(self._numbers), command_type, self.name, **data), TIMESTAMP_MS

    def register(self, doctor: str, seats: int) -> tuple[Command, int]:
        schedule = [{"slot": SLOT, "capacity": seats}] if seats else []
        return self.say("RegisterDoctor", doctor_id=doctor, name="Dr Rao", schedule=schedule)

    def requests(
        self, count: int, source: str = "ONLINE", *, first: int = 0, day: int = TODAY
    ) -> list[tuple[Command, int]]:
        place = {"date": date_of_day(day), "slot": SLOT, "source": source}
        return [self.say("RequestToken", **place, patient_id=f"p-{first + n:014d}") for n in range(count)]

    def cancel(self, token_nos: range) -> list[tuple[Command, int]]:
        date = date_of_day(TODAY)
        return [self.say("CancelToken", token_id=token_id("blr1", self.name, date, no)) for no in token_nos]


def waiting(partition: Partition, count: int) -> Cost:
    """Requests that wait behind so many, and cancellations of them."""
    hall = Department()
    partition.decide([hall.register("a", 1), *hall.requests(count + 1, "EMERGENCY")])
    join = hall.requests(MEASURED // 2, "EMERGENCY", first=count + 1)
    return partition.decide(join + hall.cancel(range(count + 2, count + 2 + MEASURED // 2)))


def seats(partition: Partition, count: int) -> Cost:
    """Seats of so many a doctor given back and given again."""
    hall = Department()
    partition.decide([*(hall.register(doctor, count) for doctor in "abcd"), *hall.requests(4 * count)])
    turns: list[tuple[Command, int]] = []
    for n in range(MEASURED // 2):
        turns += hall.cancel(range(n + 1, n + 2)) + hall.requests(1, first=4 * count + n)
    return partition.decide(turns)


def doctors(partition: Partition, count: int) -> Cost:
    """Requests in a pool of so many doctors."""
    hall = Department()
    partition.decide([hall.register(f"dr-{number}", 500) for number in range(count)])
    return partition.decide(hall.requests(MEASURED))


def departments(partition: Partition, count: int) -> Cost:
    """Requests spread over so many departments."""
    all_of_them = [Department(f"dep-{number}") for number in range(count)]
    partition.decide([each.register("a", 500) for each in all_of_them])
    step = 7919  # a prime: the departments of a batch are not those of the last one
    turns = [all_of_them[n * step % count] for n in range(MEASURED)]
    return partition.decide([each.requests(1, first=n)[0] for n, each in enumerate(turns)])


def doctor_leaves(partition: Partition, count: int) -> Cost:
    """A doctor whose seats are all taken is away; half find a seat with a colleague."""
    hall = Department()
    partition.decide([hall.register("a", count), *hall.requests(count), hall.register("b", count // 2)])
    return partition.decide(
        [hall.say("SetDoctorAvailability", doctor_id="a", date=date_of_day(TODAY), available=False)]
    )


def slot_closes(partition: Partition, count: int) -> Cost:
    """A slot closes on those who wait."""
    hall = Department()
    partition.decide([hall.register("a", 1), *hall.requests(count + 1)])
    return partition.decide([hall.say("CloseSlot", date=date_of_day(TODAY), slot=SLOT)])


def schedule_ends(partition: Partition, count: int) -> Cost:
    """A doctor is registered without the slot in which so many dates have ten seats taken each."""
    hall = Department()
    partition.decide([hall.register("a", 10)])
    for ahead in range(count):
        partition.decide(hall.requests(10, first=10 * ahead, day=TODAY + ahead))
    return partition.decide([hall.register("a", 0)])


Case = Callable[[Partition, int], Cost]
GROWING: list[tuple[str, Case, list[int]]] = [
    ("waiting in the pool", waiting, [10, 1_000, 100_000]),
    ("seats a doctor", seats, [1, 10, 100, 500]),
    ("doctors in the pool", doctors, [1, 10, 50, 200]),
    ("departments", departments, [1, 100, 10_000, 50_000]),
]
PAUSES: list[tuple[str, Case, int]] = [
    ("a doctor with 500 patients leaves", doctor_leaves, 500),
    ("a slot closes on 1,000 who wait", slot_closes, 1_000),
    ("a doctor's slot ends, 180 dates, 10 patients each", schedule_ends, 180),
]


def bytes_each(redis: Redis, *, count: int = 200_000) -> Iterator[tuple[str, float]]:
    """Bytes of Redis a live token beside its command's id, a command remembered, an invented department with its id."""
    unknown = token_id("blr1", "hall", date_of_day(TODAY), 10**9)
    hall = Department()
    partition = _empty(redis)
    partition.decide([*(hall.register(f"dr-{number}", 500) for number in range(200)), *hall.requests(1_000)])
    ids = partition.decide([hall.say("CheckIn", token_id=unknown) for _ in range(count)]).bytes / count
    tokens = partition.decide(
        [said for n in range(count // 1_000) for said in hall.requests(1_000, day=TODAY + n % 90, first=n * 1_000)]
    )
    yield "a live token of a patient id of 16 characters", tokens.bytes / count - ids
    yield "a command remembered", ids
    partition = _empty(redis)
    invented = [Department(f"dep-{number:06d}").say("CheckIn", token_id=unknown) for number in range(count // 2)]
    yield "an invented department and its command", partition.decide(invented).bytes / len(invented)


def _empty(redis: Redis) -> Partition:
    redis.flushall(asynchronous=False)
    return Partition(redis)


def main() -> None:
    """Measure, and print the tables."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--redis-server", type=Path, help="that binary instead of Valkey")
    options = arguments.parse_args()
    out = Console(highlight=False)
    with embedded(options.redis_server) as redis:
        growing = Table("", "", "CPU µs a command")
        for what, case, sizes in GROWING:
            for size in sizes:
                growing.add_row(what, f"{size:,}", f"{case(_empty(redis), size).each_us:.1f}")
        out.print(growing)
        pauses = Table("one command", "CPU ms", "ms until it was answered")
        for what, case, size in PAUSES:
            cost = case(_empty(redis), size)
            pauses.add_row(what, f"{cost.cpu_us / 1e3:.1f}", f"{cost.longest_ms:.1f}")
        out.print(pauses)
        memory = Table("", "bytes of Redis each")
        for what, count in bytes_each(redis):
            memory.add_row(what, f"{count:.0f}")
        out.print(memory)


if __name__ == "__main__":
    main()
