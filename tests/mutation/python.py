"""Mistakes in Python: a comparison, a sign, a number, a condition turned round, a statement left out.

Only what stands in functions and in a module's own constants: what pydantic, dataclasses and enums make of a class, or
of an `Annotated`, is made when it is imported. Texts are left alone, and so are log lines and metrics, which decide
nothing.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import _lru_cache_wrapper
from itertools import pairwise
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tests.mutation.mutant import Edit, Mutant, mutants_of

_OPERATORS = {
    "<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "is": "is not", "is not": "is",
    "in": "not in", "not in": "in", "and": "or", "or": "and", "+": "-", "-": "+", "*": "+", "//": "*", "%": "+",
    "**": "*",
}  # fmt: skip
_OPERATOR = re.compile(r"is not|not in|[<>=!]=|[<>]|\bis\b|\bin\b|\band\b|\bor\b|//|\*\*|[-+*%]")
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_LEFT_OUT = ast.Expr | ast.AugAssign | ast.Return | ast.Raise | ast.Continue | ast.Break | ast.Delete
_FOR_PYDANTIC = re.compile(r"Annotated\[|__get_pydantic_")
_OURS = {"allocation_core", "schemas", "services"}
_DECIDES_NOTHING = re.compile(r"(await )?(log|self\._metrics|self\._rebuild)\.")


def python_mutants(root: Path, file: str) -> list[Mutant]:
    """Give every mutant of a module."""
    text = (root / file).read_text(encoding="utf-8")
    return list(mutants_of(file, text, _Edits(text).of_module()))


class _Edits:
    def __init__(self, text: str) -> None:
        self._text = text
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._lines = text.splitlines()
        self._last: list[ast.stmt] = []
        self._run = (0, 0)

    def of_module(self) -> Iterator[Edit]:
        for node in ast.parse(self._text).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if not _FOR_PYDANTIC.match(ast.unparse(node.value)):
                    self._run = _lines(node)
                    yield from self._of(node.value, ast.unparse(target))
            else:
                yield from self._of_functions(node, "")

    def _of_functions(self, node: ast.AST, path: str) -> Iterator[Edit]:
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                yield from self._of_functions(inner, f"{path}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not _FOR_PYDANTIC.match(node.name):
            self._last = list(_last_of(node.body[-1]))
            for inner in node.body:
                yield from self._of(inner, f"{path}{node.name}")

    def _of(self, node: ast.AST, where: str) -> Iterator[Edit]:
        if isinstance(node, ast.JoinedStr | ast.arguments) or self._decides_nothing(node):
            return
        outer = self._run
        if isinstance(node, ast.stmt):
            self._run = _lines(node)
        yield from (Edit(start, end, new, where, self._run) for start, end, new in self._at(node))
        for name, value in ast.iter_fields(node):
            if name not in {"annotation", "returns", "decorator_list"}:
                for inner in value if isinstance(value, list) else [value]:
                    if isinstance(inner, ast.AST):
                        yield from self._of(inner, where)
        self._run = outer

    def _decides_nothing(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return True
        return isinstance(node, ast.Expr) and _DECIDES_NOTHING.match(ast.unparse(node)) is not None

    def _is_all_the_same(self, node: ast.AST) -> bool:
        """Whether a function comes to its end without this statement as it does with it."""
        return isinstance(node, ast.Return) and node in self._last and ast.unparse(node) in {"return", "return None"}

    def _at(self, node: ast.AST) -> Iterator[tuple[int, int, str]]:  # noqa: C901, PLR0912  one case a kind of mistake
        match node:
            case ast.Compare(left=left, comparators=others):
                for one, other in pairwise([left, *others]):
                    yield from self._operator_between(one, other)
            case ast.BoolOp(values=values):
                for one, other in pairwise(values):
                    yield from self._operator_between(one, other)
            case ast.BinOp(left=left, right=right):
                yield from self._operator_between(left, right)
            case ast.AugAssign(target=target, value=value):
                yield from self._operator_between(target, value)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield self._start(node), self._start(operand), ""
            case ast.Constant(value=bool() as value):
                yield self._start(node), self._end(node), str(not value)
            case ast.Constant(value=int() as value):
                yield self._start(node), self._end(node), str(value + 1)
            case ast.Name(id=name) if name in _CALLS:
                yield self._start(node), self._end(node), _CALLS[name]
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.comprehension(ifs=[test]):
                if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
                    yield self._start(test), self._end(test), f"not ({self._text[self._start(test) : self._end(test)]})"
            case _:
                pass
        if isinstance(node, _LEFT_OUT) and not self._is_all_the_same(node):
            # Never reached instead of not there: the names of the function stay what they are.
            yield self._start(node), self._start(node), "if 0: "

    def _operator_between(self, one: Any, other: Any) -> Iterator[tuple[int, int, str]]:
        first, last = self._end(one), self._start(other)
        found = _OPERATOR.search(self._text, first, last)
        if found and found[0] in _OPERATORS:
            yield found.start(), found.end(), _OPERATORS[found[0]]

    def _start(self, node: Any) -> int:
        return self._offset(node.lineno, node.col_offset)

    def _end(self, node: Any) -> int:
        return self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        # ast counts bytes within a line.
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def _lines(statement: ast.stmt) -> tuple[int, int]:
    """Give its lines, or those of its head if others stand in it."""
    within = next((node for node in ast.walk(statement) if isinstance(node, ast.stmt) and node is not statement), None)
    if within is None:
        return statement.lineno, statement.end_lineno or statement.lineno
    return statement.lineno, max(statement.lineno, within.lineno - 1)


def _last_of(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Give what a function may come to its end with, where this is its last statement."""
    match statement:
        case ast.Match(cases=branches):
            for branch in branches:
                yield from _last_of(branch.body[-1])
        case ast.If(body=body, orelse=otherwise):
            yield from _last_of(body[-1])
            if otherwise:
                yield from _last_of(otherwise[-1])
        case ast.Try(handlers=handlers, finalbody=[]):
            for handler in handlers:
                yield from _last_of(handler.body[-1])
        case _:
            yield statement


# ------------------------------------------------------------------------------------------------------- to make it so


def make_python_mistake(mutant: Mutant) -> None:
    """Let this process make the mistake: whoever holds the function, or the constant, has the mutated one then.

    Raises:
        ImportError: nothing would run with this mistake.
    """
    module = sys.modules[mutant.file.removesuffix(".py").replace("/", ".")]
    tree = ast.parse(mutant.text)
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
            if target == mutant.where:
                _assign(module, target, node)
                return
    code = compile(tree, mutant.file, "exec")
    for name in mutant.where.split("."):
        code = next(each for each in code.co_consts if isinstance(each, CodeType) and each.co_name == name)
    function = _function(module, mutant.where)
    function.__code__ = code.replace(co_filename=function.__code__.co_filename)
    for cached in caches():
        cached.cache_clear()


def caches() -> "list[_lru_cache_wrapper[Any]]":
    """Give our functions that remember what they worked out."""
    values = {value for module in list(sys.modules.values()) for value in _cached_in(module)}
    return [value for value in values if value.__module__.partition(".")[0] in _OURS]


def _cached_in(module: ModuleType) -> "list[_lru_cache_wrapper[Any]]":
    return [value for value in list(vars(module).values()) if isinstance(value, _lru_cache_wrapper)]


def _assign(module: ModuleType, name: str, statement: ast.stmt) -> None:
    names = re.findall(r"\w+", name)  # of one statement there may be several
    before = {each: vars(module)[each] for each in names}
    try:
        exec(compile(ast.Module([statement], []), "<mutant>", "exec"), vars(module))  # noqa: S102  our own text
    except Exception as error:
        raise ImportError(f"{module.__name__} cannot be imported any more") from error
    for other in list(sys.modules.values()):
        for each in names:
            if vars(other).get(each, module) is before[each]:
                setattr(other, each, vars(module)[each])


def _function(module: ModuleType, path: str) -> FunctionType:
    found: Any = module
    for name in path.split("."):
        found = vars(found)[name]
    while not isinstance(found, FunctionType):
        # A method of the class, a property, a cached one, or what a decorator keeps of it.
        held = (getattr(found, name, None) for name in ("__func__", "fget", "func", "__wrapped__"))
        found = next(each for each in held if each is not None)
    return found
