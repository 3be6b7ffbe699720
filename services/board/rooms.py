"""Where doctors sit: the contract does not say, a file does."""

import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from services.board.following import Rooms
from services.board.keys import Misfit

_FORM = TypeAdapter[dict[str, dict[str, str]]](dict[str, dict[str, str]])


def read_rooms(file: Path | None) -> Rooms:
    """Give the rooms by department (`facility_id/department_id`) and doctor; none without a file.

    Raises:
        Misfit: it cannot be read, or is not as it must be.
    """
    if file is None:
        return {}
    try:
        return _FORM.validate_python(tomllib.loads(file.read_text(encoding="utf-8")), strict=True)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise Misfit(
            f'OPD_BOARD_ROOMS, {file}: {error}\ntry: a table for each department: ["blr1/cardiology"] and dr-rao = "12"'
        ) from error
