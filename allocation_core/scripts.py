"""The Lua scripts as they are sent to Redis: files with `--- @include "path"` lines put together."""

import hashlib
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

_INCLUDE = re.compile(r'^--- @include "([^"]+)"$')


class ScriptError(ValueError):
    """A Lua file that is missing, or one that includes itself."""


class Script(NamedTuple):
    """A script's whole text and the digest that EVALSHA knows it by."""

    text: str
    sha1: str


def load_script(name: str, root: Traversable | None = None) -> Script:
    """Put one script together: each file once, in the order in which it is first included.

    Raises:
        ScriptError: a file is missing, or includes itself by way of others.
    """
    text = "\n".join(_lines(name, root or files("allocation_core") / "lua", done=set(), doing=())) + "\n"
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _lines(name: str, root: Traversable, *, done: set[str], doing: tuple[str, ...]) -> list[str]:
    if name in doing:
        raise ScriptError(f"{' -> '.join((*doing, name))}: a Lua file includes itself")
    if name in done:
        return []
    file = root / f"{name}.lua"
    if not file.is_file():
        raise ScriptError(f"{name}.lua: no such Lua file (included by {doing[-1] if doing else 'nothing'})")
    lines: list[str] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        include = _INCLUDE.match(line)
        if include:
            lines += _lines(include[1], root, done=done, doing=(*doing, name))
        else:
            lines.append(line)
    done.add(name)
    return lines
