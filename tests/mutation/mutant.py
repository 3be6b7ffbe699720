"""A mutant: one small mistake at one place, known by what it says and not by its line's number."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple


class Edit(NamedTuple):
    """A piece of a text and what to put there instead.

    Attributes:
        where: the function that it stands in.
        lines: the first and the last of its statement: a test that runs none of them cannot find the mistake.
    """

    start: int
    end: int
    new: str
    where: str
    lines: tuple[int, int]


class Mutant(NamedTuple):
    """One mistake in one file.

    Attributes:
        name: what a list of survivors knows it by: file, function, the line before and after.
        file: within the repository.
        where: the function, or the name of a module's constant.
        text: the whole file with the mistake in it.
        lines: of the statement, the first and the last.
    """

    name: str
    file: str
    where: str
    text: str
    lines: tuple[int, int]


def mutants_of(file: str, text: str, edits: Iterable[Edit]) -> Iterator[Mutant]:
    """Give a mutant for each edit; of several with the same name, the later ones are numbered."""
    seen: Counter[str] = Counter()
    for edit in sorted(set(edits)):
        mutated = text[: edit.start] + edit.new + text[edit.end :]
        begin = text.rfind("\n", 0, edit.start) + 1
        before = text[begin:].partition("\n")[0].strip()
        after = mutated[begin:].partition("\n")[0].strip()
        name = f"{file} {edit.where}: {before}  →  {after}"
        seen[name] += 1
        yield Mutant(name if seen[name] == 1 else f"{name}  #{seen[name]}", file, edit.where, mutated, edit.lines)
