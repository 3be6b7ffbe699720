"""`python -m benchmarks.scale`: from what a decision costs to what a country needs, by arithmetic and simulation.

A simulated day, decided by the pure model, says what a patient causes; invented departments of uneven size say how
evenly partitions are filled. What a decision costs, and what things cost to rent, are arguments.
"""

import argparse
import random
from collections import Counter
from collections.abc import Iterable
from statistics import mean
from typing import NamedTuple

import cramjam
from pydantic_core import from_json
from rich.console import Console
from rich.table import Table

from allocation_core.model import Model
from schemas.wire import UnreadableRecord, read_command, write_events, written
from services.allocator.kafka import partitioner
from services.simulator.day import HOUR_MS, Day
from services.simulator.world import World

DAY_START_MS = 1_795_392_000_000  # 2026-11-23
DATE = "2026-11-23"
FETCHED = 500  # records that are compressed together
KEEPS_TOKENS_DAYS, KEEPS_IDS_DAYS = 8, 8  # R3: today and seven days back
BUSIEST_MINUTE = 5  # times the busiest hour's mean: portals open at eight for everybody
FULL = 0.5  # of what a core can do, at that minute
COPIES = 3  # of the log: each broker writes its own


class Patient(NamedTuple):
    """What one patient causes on a day, doctors' and desks' commands shared among all.

    Attributes:
        commands: sent for one.
        events: said for one.
        command_bytes: of the commands, keys and values as they stand in the topic, without compression.
        event_bytes: of the events.
        compressed: part of that which zstd leaves, in batches of 500.
        busiest_hour: part of a day's commands.
    """

    commands: float
    events: float
    command_bytes: float
    event_bytes: float
    compressed: float
    busiest_hour: float


class Assumptions(NamedTuple):
    """What is not measured here: a country, and round prices in dollars, as large clouds have them on demand.

    Attributes:
        visits_a_year: to an outpatient department, a person.
        booked_ahead_days: on average.
        allocator_us: processor time of a decision, in microseconds, from a backlog, in batches of 500; Redis and Kafka
            likewise. (`make bench`)
        allocator_alone_us: the same of a command that comes alone, at 250 a second in a partition. Few come together
            then, and each fetch, script call and send is for them alone.
        projector_us: of an event; PostgreSQL likewise. (ADR 14)
        token_bytes: of Redis, a live token; a remembered command likewise. (ADR 2)
        core_month: dollars; a GB of memory and of disk likewise.
    """

    people: int
    departments: int
    visits_a_year: float = 3.0
    working_days: int = 300
    booked_ahead_days: float = 3.0
    allocator_us: float = 20.9
    redis_us: float = 14.8
    kafka_us: float = 3.4
    allocator_alone_us: float = 163.0
    redis_alone_us: float = 122.0
    kafka_alone_us: float = 177.0
    projector_us: float = 37.0
    postgres_us: float = 15.0
    token_bytes: int = 163
    id_bytes: int = 71
    core_month: float = 30.0
    memory_gb_month: float = 4.0
    disk_gb_month: float = 0.08


def a_patient(patients: int = 4_000) -> Patient:
    """Play a day against the pure model, and divide by the patients."""
    world, model, partition_of = (
        World(Day(1, DATE, doctors=60, patients=patients, departments=10)),
        Model(),
        partitioner(12),
    )
    sent, said = [], []
    hours: Counter[int] = Counter()
    while (step := world.next_step()) is not None:
        learned = []
        for posting in step.postings:
            timestamp_ms = DAY_START_MS + posting.due_ms
            hours[posting.due_ms // HOUR_MS] += 1
            sent.append((posting.key or b"") + (posting.value or b""))
            try:
                command = read_command(posting.key, posting.value, timestamp_ms)
            except UnreadableRecord:
                continue
            events = [written(event) for event in model.decide(command, timestamp_ms)]
            values = write_events(partition_of(posting.key), len(sent), timestamp_ms, command, events)
            said += [posting.key + value for value in values]
            learned += [from_json(value[len(posting.key) :]) for value in said[-len(values) :]]
        world.learn(learned)
    raw = sum(map(len, sent)) + sum(map(len, said))
    return Patient(
        len(sent) / patients,
        len(said) / patients,
        sum(map(len, sent)) / patients,
        sum(map(len, said)) / patients,
        (_compressed(sent) + _compressed(said)) / raw,
        max(hours.values()) / len(sent),
    )


def _compressed(records: list[bytes]) -> int:
    return sum(
        len(bytes(cramjam.zstd.compress(b"".join(records[at : at + FETCHED]))))
        for at in range(0, len(records), FETCHED)
    )


def fullest(departments: int, partitions: int, *, seed: int = 1) -> tuple[float, float]:
    """Invent departments of uneven size; give the fullest partition and the largest department, in mean partitions.

    Sizes are log-normal: of ten departments the busiest has half of the patients.
    """
    rng, partition_of = random.Random(seed), partitioner(partitions)
    loads = [0.0] * partitions
    largest = 0.0
    for number in range(departments):
        size = rng.lognormvariate(0, 1.3)
        loads[partition_of(b"f%d/d%d" % divmod(number, 20))] += size
        largest = max(largest, size)
    return max(loads) / mean(loads), largest / mean(loads)


class Needs(NamedTuple):
    """What it takes.

    Attributes:
        peak: decisions a second in the busiest minute.
        cores: by part, at that minute, with room left as `FULL` says: from a backlog, and as commands come alone.
        redis_gb: of state, without what rewriting and replicas take.
        log_gb_day: of both topics, one copy, without compression.
        history_million_rows_day: of PostgreSQL.
    """

    patients_day: float
    commands_day: float
    peak: float
    cores: dict[str, tuple[float, float]]
    redis_gb: float
    log_gb_day: float
    history_million_rows_day: float


def needs(given: Assumptions, patient: Patient, skew: float) -> Needs:
    """Work out what a country needs; the fullest partition decides how much room there must be."""
    patients = given.people * given.visits_a_year / given.working_days
    commands = patients * patient.commands
    peak = commands * patient.busiest_hour / 3600 * BUSIEST_MINUTE
    events = patient.events / patient.commands
    costs_us = {
        "allocators": (given.allocator_us, given.allocator_alone_us),
        "Redis": (given.redis_us, given.redis_alone_us),
        "Kafka": (given.kafka_us * COPIES, given.kafka_alone_us * COPIES),
        "projector": (given.projector_us * events,) * 2,
        "PostgreSQL": (given.postgres_us * events,) * 2,
    }
    tokens = patients * (KEEPS_TOKENS_DAYS + given.booked_ahead_days) * given.token_bytes
    ids = commands * KEEPS_IDS_DAYS * given.id_bytes
    log = patients * (patient.command_bytes + patient.event_bytes)
    room = peak * skew / FULL / 1e6
    cores = {part: (room * backlog, room * alone) for part, (backlog, alone) in costs_us.items()}
    return Needs(patients, commands, peak, cores, (tokens + ids) / 1e9, log / 1e9, patients * patient.events / 1e6)


def money(given: Assumptions, need: Needs) -> dict[str, float]:
    """Dollars a month: cores as if all came alone, memory with a replica and room to rewrite, a year of the log."""
    return {
        "cores": sum(alone for _, alone in need.cores.values()) * given.core_month,
        "Redis' memory": need.redis_gb * 2 * 2 * given.memory_gb_month,
        "a year of the log": need.log_gb_day * given.working_days * COPIES * given.disk_gb_month,
    }


def tables(given: Assumptions, patient: Patient) -> Iterable[Table]:
    """Give all of it as tables."""
    one = Table(
        "of one patient", "", title="A simulated day of 4,000 patients, decided by the model", title_justify="left"
    )
    one.add_row("commands, events", f"{patient.commands:.2f}, {patient.events:.2f}")
    one.add_row("bytes of commands, of events", f"{patient.command_bytes:,.0f}, {patient.event_bytes:,.0f}")
    one.add_row("zstd leaves of them", f"{patient.compressed:.1%}")
    one.add_row("of the day's commands in its busiest hour", f"{patient.busiest_hour:.0%}")
    yield one
    filled = Table("partitions", "fullest / mean", "largest department / mean", title_justify="left")
    filled.title = f"{given.departments:,} departments, the tenth busiest with half of the patients"
    for partitions in (12, 48, 96, 192, 384):
        most, largest = fullest(given.departments, partitions)
        filled.add_row(str(partitions), f"{most:.2f}", f"{largest:.2f}")
    yield filled
    need = needs(given, patient, fullest(given.departments, 96)[0])
    country = Table("a country", "", title=f"{given.people:,} people, 96 partitions", title_justify="left")
    country.add_row(
        "patients, commands a day", f"{need.patients_day / 1e6:.1f} million, {need.commands_day / 1e6:.0f} million"
    )
    country.add_row("decisions a second in the busiest minute", f"{need.peak:,.0f}")
    for part, (backlog, alone) in need.cores.items():
        country.add_row(f"cores: {part}, from a backlog … alone", f"{backlog:.1f} … {alone:.1f}")
    country.add_row("Redis, GB of state", f"{need.redis_gb:,.0f}")
    country.add_row("log, GB a day and copy", f"{need.log_gb_day:,.1f}")
    country.add_row("history, million rows a day", f"{need.history_million_rows_day:,.0f}")
    for what, dollars in money(given, need).items():
        country.add_row(f"$ a month: {what}", f"{dollars:,.0f}")
    yield country


def main() -> None:
    """Print the tables; any assumption may be another one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    defaults = Assumptions(people=1_400_000_000, departments=100_000)
    for name, value in defaults._asdict().items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    given = Assumptions(**vars(parser.parse_args()))
    console = Console(highlight=False)
    for table in tables(given, a_patient()):
        console.print(table)


if __name__ == "__main__":
    main()
