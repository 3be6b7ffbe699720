"""The Lua scripts with some of their files changed, in place of the real ones in this process."""

import sys
from collections.abc import Mapping
from pathlib import Path

from allocation_core.scripts import Script, load_script

LUA = Path(load_script.__code__.co_filename).with_name("lua")


def use_scripts(folder: Path, changed: Mapping[Path, str]) -> None:
    """Let every module of this process call the scripts with these files changed.

    Args:
        folder: an empty one, where the files are put.
        changed: their new texts, by their path within `lua/`.
    """
    for file in LUA.rglob("*.lua"):
        path = file.relative_to(LUA)
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(changed.get(path) or file.read_text(encoding="utf-8"), encoding="utf-8")
    names = {load_script(file.stem): file.stem for file in LUA.glob("*.lua")}
    for module in [module for name, module in sys.modules.items() if name.startswith("allocation_core.")]:
        for name, value in list(vars(module).items()):
            if isinstance(value, Script):
                setattr(module, name, load_script(names[value], folder))
