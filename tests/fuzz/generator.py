"""Rounds of records as a hostile sender mixes them among good ones; a round depends on its seed and number alone.

Good commands come from seeded random days. The others are made of the exported JSON Schemas, with values that the days
use too, so that what would wrongly be taken would also change what is decided; and of what schemas know nothing of:
spoiled bytes, odd spellings, depths and lengths, keys, partitions, timestamps, headers.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from aiokafka.partitioner import murmur2

from allocation_core.calendar import DAY_MS
from schemas.commands import COMMANDS, Command
from schemas.export import json_schema
from schemas.wire import command_key
from schemas.words import LAST_TIMESTAMP_MS, MAX_RECORD_BYTES
from tests.core.days import MONDAY_MS, random_commands
from tests.schemas.records import FRAGMENTS, Writer, a_record, spoil

ROUND = 5_000
PARTITIONS = 4
_KNOWN = 40  # values of a field that are used again


class Fuzzed(NamedTuple):
    """A record and where it stands."""

    kind: str
    key: bytes | None
    value: bytes | None
    timestamp_ms: int
    partition: int
    headers: tuple[tuple[bytes, bytes | None], ...] = ()


def partition_of(key: bytes) -> int:
    """Kafka's default partitioner."""
    return int((murmur2(key) & 0x7FFFFFFF) % PARTITIONS)


def a_round(seed: int, number: int) -> list[Fuzzed]:
    """Give the records of one round."""
    return list(_Sender(Random(f"{seed}/{number}")).records())


class _Sender:
    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.known: dict[str, deque[Any]] = defaultdict(lambda: deque(maxlen=_KNOWN))
        self.said: deque[Fuzzed] = deque(maxlen=_KNOWN)
        self.now_ms: dict[bytes | None, int] = {}  # by key: departments have clocks of their own

    def records(self) -> Iterator[Fuzzed]:
        kinds, weights = list(_KINDS), [weight for weight, _ in _KINDS.values()]
        days = random_commands(self.rng.randrange(2**32), ROUND)
        for _ in range(ROUND):
            kind = self.rng.choices(kinds, weights)[0]
            if kind == "good" or not self.said:
                record = self.good(*next(days))
            else:
                record = _KINDS[kind][1](self)._replace(kind=kind)
            if self.rng.random() < 0.05:
                record = record._replace(headers=self.some_headers())
            yield record

    def good(self, command: Command, timestamp_ms: int) -> Fuzzed:
        document = command.model_dump(mode="json", exclude_unset=True)
        self.now_ms[command_key(command)] = timestamp_ms
        for name, value in document["data"].items():
            self.known[name].append(value)
        writer = Writer(self.rng)
        writer.oddity = 0
        record = self.stand("good", command_key(command), writer.write(document).encode("utf-8", "surrogatepass"))
        self.said.append(record)
        return record

    def stand(self, kind: str, key: bytes | None, value: bytes | None) -> Fuzzed:
        return Fuzzed(kind, key, value, self.now_ms.get(key, MONDAY_MS), partition_of(key or b""))

    def some_said(self) -> Fuzzed:
        return self.rng.choice(self.said)

    def of_a_schema(self) -> Fuzzed:
        writer = Writer(self.rng)
        document = Sampler(self.rng, self.known, oddity=writer.oddity).sample(*self.rng.choice(_SCHEMAS))
        value = writer.write(document).encode("utf-8", "surrogatepass")
        return self.stand("", _key_of(document), value)

    def of_a_template(self) -> Fuzzed:
        return self.stand("", b"blr1/cardiology", a_record(self.rng))

    def spoiled(self) -> Fuzzed:
        said = self.some_said()
        return said._replace(value=spoil(self.rng, said.value or b""))

    def odd_part(self) -> Fuzzed:
        """A good record with one more name in front or behind, that may stand there already."""
        said = self.some_said()
        text = (said.value or b"").decode().strip()
        member = f'"{self.rng.choice(_NAMES)}":{self.rng.choice(FRAGMENTS)}'
        text = f"{{{member},{text[1:]}" if self.rng.random() < 0.7 else f"{text[:-1]},{member}}}"
        return said._replace(value=text.encode("utf-8", "surrogatepass"))

    def junk(self) -> Fuzzed:
        rng = self.rng
        length = rng.choice([0, 1, 2, 10, 100, 1000, MAX_RECORD_BYTES, MAX_RECORD_BYTES + 1])
        values: list[Callable[[], bytes | None]] = [
            lambda: None,
            lambda: rng.randbytes(length),
            lambda: b"[" * length,
            lambda: b'{"a":' * length,
            lambda: rng.choice(FRAGMENTS).encode("utf-8", "surrogatepass"),
            lambda: b'{"' + rng.randbytes(20) + b'":1}',
            lambda: rng.randbytes(10) * rng.choice([1, 1, 1, 1, 2_000, 20_000]),
        ]
        value = rng.choice(values)()
        key = rng.choice([None, b"", b"/", self.some_said().key, rng.randbytes(rng.randrange(40))])
        return self.stand("", key, value)

    def odd_key(self) -> Fuzzed:
        said, rng = self.some_said(), self.rng
        key = said.key or b""
        keys = [None, b"", key + b" ", key.upper(), key[:-1], key + b"\0", b"\xff" + key, key.replace(b"/", b"."), b"x"]
        odd = rng.choice([*keys, rng.choice(self.said).key])
        # Where its own key would be, where its true key is, or anywhere.
        partition = rng.choice([partition_of(odd or b""), said.partition, rng.randrange(PARTITIONS)])
        return said._replace(key=odd, partition=partition)

    def misplaced(self) -> Fuzzed:
        said = self.some_said()
        return said._replace(partition=(said.partition + self.rng.randrange(1, PARTITIONS)) % PARTITIONS)

    def odd_time(self) -> Fuzzed:
        """Mostly unreadable ones: a time far ahead would end its department's days."""
        said = self.some_said()
        early, late = [-1, -2, -(2**31), -(2**62)], [LAST_TIMESTAMP_MS + 1, 2**53, 2**62]
        times = [*early, *late, 0, 1, max(0, said.timestamp_ms - DAY_MS * self.rng.randrange(400))]
        if self.rng.random() < 0.01:
            times = [LAST_TIMESTAMP_MS]
        return said._replace(timestamp_ms=self.rng.choice(times))

    def again(self) -> Fuzzed:
        return self.some_said()

    def some_headers(self) -> tuple[tuple[bytes, bytes | None], ...]:
        rng = self.rng
        names = [b"content-type", b"", b"opd-error", b"opd-source-offset", b"\xff\xfe", "名".encode(), b"x" * 300]
        values = [None, b"", b"application/cloudevents+json", b"999999999", b"\xff", b"9" * 5000]
        return tuple((rng.choice(names), rng.choice(values)) for _ in range(rng.choice([1, 2, 5, 60])))


def _key_of(document: Any) -> bytes:
    data = document.get("data") if isinstance(document, dict) else None
    names = data if isinstance(data, dict) else {}
    return f"{names.get('facility_id')}/{names.get('department_id')}".encode(errors="replace")


_KINDS: dict[str, tuple[int, Callable[[_Sender], Fuzzed]]] = {
    "good": (40, _Sender.again),
    "of a schema": (20, _Sender.of_a_schema),
    "of a template": (6, _Sender.of_a_template),
    "spoiled": (9, _Sender.spoiled),
    "odd part": (6, _Sender.odd_part),
    "junk": (8, _Sender.junk),
    "odd key": (3, _Sender.odd_key),
    "misplaced": (3, _Sender.misplaced),
    "odd time": (2, _Sender.odd_time),
    "again": (3, _Sender.again),
}
_NAMES = ["x", "id", "source", "type", "data", "specversion", "time", "correlationid", "", r"\u0064ata", "Data"]
_SCHEMAS = [(schema, schema["$defs"]) for schema in map(json_schema, COMMANDS)]

Schema = dict[str, Any]


class Sampler:
    """Makes values of a JSON Schema, at its edges more often than not, and seldom just beyond them."""

    def __init__(self, rng: Random, known: Mapping[str, Sequence[Any]], *, oddity: float) -> None:
        self.rng, self.known, self.oddity = rng, known, oddity

    def sample(self, schema: Schema, definitions: Schema, name: str = "") -> Any:
        """Give one value; `name` is the field's, whose known values are used again."""
        if "$ref" in schema:
            return self.sample(definitions[schema["$ref"].rpartition("/")[2]], definitions, name)
        if self.rng.random() < self.oddity:
            return self.beyond()
        if self.known.get(name) and self.rng.random() < 0.8:
            return self.rng.choice(self.known[name])
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.rng.choice(schema["enum"])
        return self.of_type(schema, definitions)

    def of_type(self, schema: Schema, definitions: Schema) -> Any:
        """Give a value by the schema's `type`; another type than the contract uses is a KeyError."""
        rng = self.rng
        if schema["type"] == "object":
            required = set(schema["required"])
            names = [name for name in schema["properties"] if name in required or rng.random() < 0.4]
            return {name: self.sample(schema["properties"][name], definitions, name) for name in names}
        if schema["type"] == "array":
            length = rng.choice([schema.get("minItems", 0), 1, 2, 7])
            return [self.sample(schema["items"], definitions) for _ in range(length)]
        return {"string": self.text, "integer": self.integer, "boolean": self.boolean}[schema["type"]](schema)

    def text(self, schema: Schema) -> str:
        """Give a text of a pattern that the contract uses, or of a length."""
        if "pattern" in schema:
            return _PATTERNS[schema["pattern"]](self.rng)
        length = self.near(schema["minLength"], schema["maxLength"])
        return "".join(self.rng.choices(["a", "é", "診", "\U0001f3e5", '"', "\\", "\n", "\x7f", " "], k=length))

    def integer(self, schema: Schema) -> int:
        """Give an integer at an edge or between."""
        return self.near(schema["minimum"], schema["maximum"])

    def boolean(self, _: Schema) -> bool:
        """Give either."""
        return self.rng.random() < 0.5

    def near(self, low: int, high: int) -> int:
        """Give a number from a range, seldom one beside it."""
        rng = self.rng
        if rng.random() < self.oddity:
            return max(0, rng.choice([low - 1, high + 1]))
        return rng.choice([low, low + 1, high - 1, high, rng.randint(low, high)])

    def beyond(self) -> Any:
        """Give a value of any type."""
        values: list[Any] = [
            None,
            True,
            False,
            0,
            -1,
            1.5,
            3.0,
            2**63 - 1,
            2**63,
            "",
            "a",
            "3",
            "\0",
            [],
            {},
            [[]],
            {"a": 1},
        ]
        return self.rng.choice(values)


def _id(longest: int, letters: str) -> Callable[[Random], str]:
    return lambda rng: "".join(rng.choices(letters, k=rng.choice([1, 2, longest - 1, longest, longest, longest + 1])))


def _date(rng: Random) -> str:
    year, month, day = rng.choice([0, 1, 2026, 2026, 2027, 9999]), rng.randint(0, 13), rng.randint(0, 32)
    return f"{year:04}-{month:02}-{day:02}"


def _slot(rng: Random) -> str:
    times = [f"{rng.randint(0, 24):02}:{rng.choice([0, 0, 30, 59, 60]):02}" for _ in range(2)]
    return "-".join(sorted(times) if rng.random() < 0.8 else times)


_PATTERNS: dict[str, Callable[[Random], str]] = {
    "^[a-z0-9-]{1,32}$": _id(32, "abz019-"),
    "^[a-z0-9.-]{1,128}$": _id(128, "abz019-."),
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}$": _date,
    "^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$": _slot,
}
