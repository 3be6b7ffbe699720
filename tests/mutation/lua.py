"""Mistakes in Lua: a comparison, a sign, a number, a condition turned round, a statement left out."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.lua_lines import counted_lines
from tests.lua_scripts import use_scripts
from tests.mutation.mutant import Edit, Mutant, mutants_of

LUA = Path("allocation_core", "lua")

_OPERATORS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "~=", "~=": "==", "and": "or", "or": "and", "not ": "",
    " + ": " - ", " - ": " + ", " * ": " + ", " % ": " + ", "math.min": "math.max", "math.max": "math.min",
    "true": "false", "false": "true",
}  # fmt: skip
_OPERATOR = re.compile(r"[<>=~]=|[<>]|\band\b|\bor\b|\bnot | [-+*%] |math\.(?:min|max)|\btrue\b|\bfalse\b")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
_TEXT_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|--.*')
_FUNCTION = re.compile(r"(?:local )?function (\w+)")
# A call or an assignment that stands on one line, or a way out.
_STATEMENT = re.compile(
    r"^\s*(?!local |function |return function|if |for |while |elseif |else|end|until)(?=\S.*[=(].*\S|return|break)"
)


def lua_mutants(root: Path, file: str) -> list[Mutant]:
    """Give every mutant of a script's file."""
    text = (root / file).read_text(encoding="utf-8")
    return list(mutants_of(file, text, _edits(text)))


def _edits(text: str) -> Iterator[Edit]:
    lines, counted = text.splitlines(keepends=True), set(counted_lines(text))
    at, where, begin = 0, "script", 1
    for number, line in enumerate(lines, start=1):
        # What is not code is made blank, so that places stay what they are.
        code = _TEXT_OR_COMMENT.sub(lambda found: ("_" if found[0][0] == '"' else " ") * len(found[0]), line)
        named = _FUNCTION.match(code)
        if named:
            where, begin = named[1], number
        elif code.strip():
            run = (number, number) if number in counted else (begin, _end(lines, number) if begin > 1 else len(lines))
            for found in _OPERATOR.finditer(code):
                if not _is_assignment(code, found):
                    yield Edit(at + found.start(), at + found.end(), _OPERATORS[found[0]], where, run)
            for found in _NUMBER.finditer(code):
                yield Edit(at + found.start(), at + found.end(), str(int(found[0]) + 1), where, run)
            begins = _STATEMENT.match(code)
            if begins and code.count("(") == code.count(")") and code.count("{") == code.count("}"):
                yield Edit(at + begins.end(), at + begins.end(), "--", where, run)
        if code.startswith("end"):
            where, begin = "script", 1
        at += len(line)


def _end(lines: Sequence[str], number: int) -> int:
    return next((each for each in range(number, len(lines) + 1) if lines[each - 1].startswith("end")), len(lines))


def _is_assignment(code: str, found: re.Match[str]) -> bool:
    return found[0] not in _OPERATORS or code[found.end() :].startswith("=")


def make_lua_mistake(mutant: Mutant, folder: Path) -> None:
    """Let this process send scripts with the mistake in them; the texts are kept in an empty folder."""
    use_scripts(folder, {Path(mutant.file).relative_to(LUA): mutant.text})
