from pathlib import Path

import pytest

from allocation_core.scripts import ScriptError, load_script


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.lua").write_text(text, encoding="utf-8")
    return folder


def test_includes_stand_where_they_are_named(tmp_path: Path) -> None:
    root = write(tmp_path, main='before\n--- @include "part"\nafter', part="part")
    assert load_script("main", root).text == "before\npart\nafter\n"


def test_a_file_is_included_once(tmp_path: Path) -> None:
    both = '--- @include "words"\n'
    root = write(tmp_path, main='--- @include "a"\n--- @include "b"\nmain', a=f"{both}a", b=f"{both}b", words="words")
    assert load_script("main", root).text.split() == ["words", "a", "b", "main"]


def test_a_missing_file_is_named_with_who_wants_it(tmp_path: Path) -> None:
    root = write(tmp_path, main='--- @include "part"')
    with pytest.raises(ScriptError, match=r"part\.lua: no such Lua file \(included by main\)"):
        load_script("main", root)


def test_a_cycle_is_named(tmp_path: Path) -> None:
    root = write(tmp_path, a='--- @include "b"', b='--- @include "a"')
    with pytest.raises(ScriptError, match="a -> b -> a"):
        load_script("a", root)


def test_what_only_looks_like_an_include_is_left_alone(tmp_path: Path) -> None:
    root = write(tmp_path, main='-- @include "part"\nlocal text = "--- @include"')
    assert load_script("main", root).text == '-- @include "part"\nlocal text = "--- @include"\n'


@pytest.mark.parametrize("name", ["check", "clear", "decide_batch", "fence", "read_outcomes"])
def test_every_script_of_ours_loads(name: str) -> None:
    script = load_script(name)
    assert "@include" not in script.text
    assert len(script.sha1) == 40
