"""A pytest plugin that counts which lines of the Lua scripts are run, and fails a run that left one out.

pytest -p tests.lua_lines tests/core

Each line where a statement begins says so before it is run, once after each FLUSHALL, in the server's log. `else`,
`end` and what goes on over several lines count with the line that they belong to.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lua_scripts import LUA, use_scripts

MARK = "lua-line"
COUNTED_IN = 15  # what was said already is kept in another database than the tests look at
_COUNTER = (
    "local LINES = {} "
    "local function LINE(at) "
    "if LINES[at] then return end "
    "LINES[at] = true "
    f'redis.call("SELECT", {COUNTED_IN}) '
    f'if redis.call("SADD", "{MARK}", at) == 1 then redis.log(redis.LOG_WARNING, "{MARK} " .. at) end '
    'redis.call("SELECT", 0) '
    "end "
)
_TEXT_OR_COMMENT = re.compile(r'"(?:[^"\\]|\\.)*"|--.*')
_NO_STATEMENT = re.compile(r"\s*(local function|function|end|else|elseif|until|[)}\]]|$)")
_HEAD = re.compile(r"\s*(if|elseif|while)\b")
_REPORT = pytest.StashKey[list[str]]()


def counted_lines(text: str) -> list[int]:
    """Give the numbers of the lines where a statement begins."""
    lines, depth, in_condition = [], 0, False
    for number, line in enumerate(text.splitlines(), start=1):
        code = _TEXT_OR_COMMENT.sub("", line)
        if depth == 0 and not in_condition and not _NO_STATEMENT.match(code):
            lines.append(number)
        if _HEAD.match(code) or in_condition:
            in_condition = re.search(r"\b(then|do)\b", code) is None
        depth += sum(code.count(bracket) for bracket in "({[") - sum(code.count(bracket) for bracket in ")}]")
    return lines


def _counting(path: Path, text: str) -> str:
    counted = set(counted_lines(text))
    lines = [
        f'LINE("{path}:{number}") {line}' if number in counted else line
        for number, line in enumerate(text.splitlines(), start=1)
    ]
    if path.parent == Path():
        lines[0] = _COUNTER + "\n" + lines[0]
    return "\n".join(lines) + "\n"


def _files() -> Iterator[tuple[Path, str]]:
    for file in sorted(LUA.rglob("*.lua")):
        yield file.relative_to(LUA), file.read_text(encoding="utf-8")


def count_lines(folder: Path) -> None:
    """Let every module of this process call scripts that count; their texts are kept in an empty folder."""
    use_scripts(folder, {path: _counting(path, text) for path, text in _files()})


def lines_run(log: str) -> set[tuple[str, int]]:
    """Give the lines that were run, by what servers logged: the file within `lua/`, and the number."""
    return {(path, int(number)) for path, number in re.findall(rf"{MARK} (\S+):(\d+)", log)}


def pytest_collection_finish() -> None:
    """Let the tests call scripts that count."""
    with tempfile.TemporaryDirectory(prefix="opd-lua-lines-") as folder:
        count_lines(Path(folder))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare what the servers' logs say with what there is."""
    servers: pytest.TempPathFactory = session.config._tmp_path_factory  # type: ignore[attr-defined]
    seen: set[tuple[str, int]] = set()
    for log in servers.getbasetemp().rglob("redis.log"):
        seen |= lines_run(log.read_text(errors="replace"))
    there = [(str(path), number) for path, text in _files() for number in counted_lines(text)]
    missed = [f"{path}:{number}" for path, number in there if (path, number) not in seen]
    session.config.stash[_REPORT] = missed
    if missed and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Name the lines."""
    missed = config.stash[_REPORT]
    terminalreporter.section("lines of Lua")
    for line in missed:
        terminalreporter.write_line(f"never run: allocation_core/lua/{line}")
    total = sum(len(counted_lines(text)) for _, text in _files())
    terminalreporter.write_line(f"{total - len(missed)} of {total} lines of Lua were run")
