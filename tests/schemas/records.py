"""Records as senders may write them: good ones, odd ones, nearly good ones and noise.

All that a sender chose freely carries the word CANARY, which must never be seen again where faults are told.
"""

import json
from random import Random
from typing import Any

CANARY = "canary"
KEY = b"blr1/cardiology"

_DEPARTMENT = {"facility_id": "blr1", "department_id": "cardiology"}
_POOL = {"date": "2026-11-23", "slot": "09:00-10:00"}
_TOKEN = {"token_id": "blr1.cardiology.20261123.17"}
_ENTRY = {"slot": "09:00-10:00", "capacity": 12}
DATA: dict[str, dict[str, Any]] = {
    "RegisterDoctor": {
        "doctor_id": "dr-rao",
        "name": "Dr Canary",
        "schedule": [
            _ENTRY | {"weekdays": ["MON", "WED"]},
            _ENTRY | {"weekdays": ["TUE"]},
            _ENTRY | {"slot": "22:00-24:00"},
        ],
    },
    "RequestToken": _POOL | {"patient_id": CANARY, "source": "ONLINE", "doctor_id": "dr-rao"},
    "CancelToken": _TOKEN | {"reason": CANARY},
    "MarkNoShow": _TOKEN,
    "CheckIn": _TOKEN,
    "CompleteConsultation": _TOKEN,
    "CallNext": _POOL | {"doctor_id": "dr-rao"},
    "SetSlotCapacity": _POOL | {"doctor_id": "dr-rao", "capacity": 12},
    "SetDoctorAvailability": _POOL | {"doctor_id": "dr-rao", "available": False, "reason": CANARY},
    "CloseSlot": _POOL,
}

# Texts of JSON values, or of what is nearly one, that may stand anywhere.
# fmt: off
FRAGMENTS = [
    "null", "true", "false", "[]", "{}", "0", "-0", "-0.0", "1", "500", "501", "-1", "3.0", "1.0", "1e2", "2.5", "1E+2",
    "1e999", "-1e999", "1e-999", "NaN", "Infinity", "-Infinity", "nan", "-NaN", "01", "-", "+1", ".5", "1.", "0x1",
    "1_0", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "0" * 20,
    "1000000000000000000", "18446744073709551616", "9223372036854775808.0", "9223372036854775808e0",
    "1" * 4301, "-" + "1" * 9000, "1" * 4301 + ".5", "1" * 9000 + "e-9000", "0." + "1" * 9000, "1e" + "9" * 30,
    '""', '"3"', '"canary"', '"NaN"', '"Infinity"', '"9999999999999999999"', "'canary'", '"canary', 'canary"', '"a\nb"',
    r'"\u0000"', r'"\\u0000"', r'"\\\u0000"', r'"\u000"', r'"\u00_1"', r'"\u 041"', r'"\u0041"', r'"\x41"', r'"\/"',
    r'"\ud83d\ude00"', r'"\uD83D\uDE00"', r'"\ud83d"', r'"\ude00"', r'"\ude00\ud83d"', r'"\ud83d\ud83d\ude00"',
    r'"\ud83dA"', r'"\ud83d\n"', r'"\ud83d\u0041"', '"\0"', '"\x01"', '"\x1f"', '"\x7f"', '"\x80"', '"\u2028"',
    '"\ufeff"', '"é"', '"\U0001f3e5"', '"\ufffe"', '"\U0010ffff"', '"a\u0300"', "/**/1", "1//",
    "{'a':1}", "[1,]", "[,1]",
    "[1 2]", '{"canary":1}', '{"a":1,}', '{"a"}', '{"a":}', "{1:2}", r'{"\u0000":1}',
    r'{"\ud800":1}', r'{"a":"\u0000","a":1}',
    '{"a":NaN,"a":1}', '{"a":9223372036854775808,"a":1}', r'[["\u0000"]]', r'[{"a":["\udfff"]}]', "[]]",
    "[[]", "}", "]", '"2026-02-29"', '"2024-02-29"', '"2026-13-01"', '"0000-01-01"',
    '"0001-01-01"', '"9999-12-31"', '"20261123"',
    r'"2026-11-23\n"', '"2026-W48-1"', '"٢٠٢٦-11-23"', '"2026-11-23T00:00"', '"09:00-09:00"', '"10:00-09:00"',
    r'"09:00-10:00\n"', '"00:00-24:00"', '"24:00-24:00"', '"23:59-24:01"', '"9:00-10:00"', '"09:60-10:00"',
    '"09:00-25:00"', '"MON"', '["MON"]', '["MON","MON"]', '["mon"]', '"EMERGENCY"', '"emergency"',
    '"blr2"', '"Blr1"', r'"blr1\n"',
    '"1.0"',
    *('"' + "a" * length + '"' for length in (32, 33, 64, 65, 128, 129, 200, 201, 256, 257)),
    *('"' + "\U0001f3e5" * length + '"' for length in (64, 65, 200, 201)),
    *("[" * depth + "]" * depth for depth in (29, 30, 31, 32, 33, 199, 200, 201, 2000)),
    *('{"a":' * depth + "1" + "}" * depth for depth in (29, 30, 31, 32, 33)),
    *('[{"a":' * depth + "[]" + "}]" * depth for depth in (14, 15, 16)),
    "[" * 16000, '{"a":' * 3000, '"' + "[" * 40 + '"', '"\\"' + "[" * 40 + '"', '"' + '\\"' * 5000,
]
_SPACE = ["", "", "", "", " ", "\n", "\t", "\r", "  \r\n", "\x0b", "\xa0", "\ufeff"]
_BYTES = [
    b"\\", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\x7f", b"\x80", b"\xff",
    b"\xc0\x80", b"\xed\xa0\x80",
]
_NOISE = [
    "{", "}", "[", "]", ",", ":", '"', "\\", "\\u", "0000", "d800", "1", "e", "-", ".",
    "NaN", "null", " ", '"a"', "é",
]
# fmt: on


def a_command(rng: Random) -> dict[str, Any]:
    """Give a good command; its optional parts may be missing."""
    name = rng.choice(list(DATA))
    data = {field: value for field, value in DATA[name].items() if field in _required(name) or rng.random() < 0.7}
    envelope = {
        "specversion": "1.0",
        "id": CANARY,
        "source": "portal/canary",
        "type": f"opd.{name}.v1",
        "time": "2026-11-23T08:00:00Z",
        "traceparent": CANARY,
        "correlationid": CANARY,
        "x-canary": CANARY,
        "data": _DEPARTMENT | data,
    }
    optional = ("time", "traceparent", "correlationid", "x-canary")
    return {field: value for field, value in envelope.items() if field not in optional or rng.random() < 0.3}


def _required(name: str) -> set[str]:
    optional = {"RequestToken": {"doctor_id"}, "CancelToken": {"reason"}, "SetDoctorAvailability": {"slot", "reason"}}
    return DATA[name].keys() - optional.get(name, set())


def a_record(rng: Random) -> bytes:
    """Give a record's value."""
    if rng.random() < 0.05:
        return "".join(rng.choices(_NOISE, k=rng.randrange(30))).encode()
    value = Writer(rng).write(a_command(rng)).encode("utf-8", "surrogatepass")
    if rng.random() < 0.2:
        value = spoil(rng, value)
    return value


class Writer:
    """Writes JSON, in one of its many spellings, and seldom not what it was given."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.oddity = rng.choice([0.0, 0.02, 0.05])
        self.spaced = rng.random() < 0.2
        self.ascii = rng.random() < 0.2

    def write(self, value: Any) -> str:
        if self.rng.random() < self.oddity:
            return self.rng.choice(FRAGMENTS)
        if isinstance(value, dict):
            return self._space() + "{" + ",".join(self._members(value)) + "}" + self._space()
        if isinstance(value, list):
            return "[" + ",".join(self.write(item) for item in value) + "]"
        return self._space() + self._scalar(value) + self._space()

    def _members(self, value: dict[str, Any]) -> list[str]:
        members = []
        for name, item in value.items():
            if self.rng.random() < self.oddity / 2:
                continue
            if self.rng.random() < self.oddity:  # the name stands twice, and what it says first does not count
                members.append(f"{self._scalar(name)}:{self.rng.choice(FRAGMENTS)}")
            members.append(f"{self._space()}{self._scalar(name)}{self._space()}:{self.write(item)}")
            if self.rng.random() < self.oddity:
                members.append(f"{self.rng.choice([self._scalar(name), *FRAGMENTS])}:{self.rng.choice(FRAGMENTS)}")
        if self.rng.random() < 0.3:
            self.rng.shuffle(members)
        return members

    def _scalar(self, value: Any) -> str:
        if isinstance(value, str) and self.ascii:
            return '"' + "".join(f"\\u{ord(c):04x}" if self.rng.random() < 0.2 else c for c in value) + '"'
        return json.dumps(value)

    def _space(self) -> str:
        return self.rng.choice(_SPACE[:-3] if self.rng.random() < 0.995 else _SPACE) if self.spaced else ""


def spoil(rng: Random, value: bytes) -> bytes:
    """Give nearly the same bytes."""
    start, end = sorted(rng.choices(range(len(value) + 1), k=2))
    return rng.choice(
        [
            value[:start],
            value[:start] + value[end:],
            value[:end] + value[start:],
            value[:start] + rng.choice(_BYTES) + value[start:],
            value[:start] + rng.choice(_BYTES) + value[start + 1 :],
            b"\xef\xbb\xbf" + value,
            value + b"\0",
            value.decode(errors="replace").encode("utf-16"),
            value + b" " * (16_383 - len(value)),
            value + b" " * (16_384 - len(value)),
            value + b" " * (16_385 - len(value)),
        ]
    )
