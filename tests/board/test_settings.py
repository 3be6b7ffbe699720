"""Keys, links and rooms: what is wrong with them is said before anything is served."""

from pathlib import Path

import jwt
import pytest

from services.board.keys import Misfit, keys_of
from services.board.links import as_qr, code_of, is_code_of, path_of
from services.board.rooms import read_rooms
from services.settings import Settings
from tests.console import opd_here

TOKEN = "blr1.cardiology.20261123.17"  # noqa: S105  no password
KEY = b"a key of at least thirty-two bytes"


@pytest.fixture
def files(tmp_path: Path) -> Settings:
    token, key = tmp_path / "token", tmp_path / "key"
    token.write_text("first\n")
    key.write_bytes(KEY)
    return Settings(board_token_file=token, board_key_file=key, http_host="192.0.2.1")


def test_a_token_that_is_renewed_counts_at_once(files: Settings) -> None:
    keys = keys_of(files)
    assert (keys.token(), keys.links) == ("first", KEY)
    assert files.board_token_file is not None
    files.board_token_file.write_text("second")
    assert keys.token() == "second"


def test_without_any_it_is_an_auditor_of_development_on_the_loopback_alone() -> None:
    claims = jwt.decode(keys_of(Settings()).token(), options={"verify_signature": False})
    assert (claims["role"], claims["facilities"]) == ("auditor", "*"), "who is shown no patient"
    with pytest.raises(Misfit, match=r"192\.0\.2\.1 is refused"):
        keys_of(Settings(http_host="192.0.2.1"))


@pytest.mark.parametrize("missing", ["board_token_file", "board_key_file"])
def test_one_without_the_other_is_refused(files: Settings, missing: str) -> None:
    with pytest.raises(Misfit, match="go together"):
        keys_of(files.model_copy(update={missing: None}))
    with pytest.raises(Misfit, match="cannot be read: No such file"):
        keys_of(files.model_copy(update={missing: Path("/nowhere")}))


def test_a_short_key_is_refused(files: Settings) -> None:
    assert files.board_key_file is not None
    files.board_key_file.write_text("short")
    with pytest.raises(Misfit, match="less than 32 bytes"):
        keys_of(files)


def test_a_link_is_good_for_its_token_and_key_alone() -> None:
    code = code_of(TOKEN, KEY)
    assert is_code_of(TOKEN, code, KEY)
    assert path_of(TOKEN, KEY) == f"/follow/{TOKEN}/{code}"
    assert len(code) == 22
    assert not is_code_of("blr1.cardiology.20261123.18", code, KEY)
    assert not is_code_of(TOKEN, code, b"another key")
    assert not is_code_of(TOKEN, f"{code[:-1]}é", KEY)
    assert as_qr("https://board.example/follow").startswith(b"<?xml")


def test_rooms_are_read_by_department_and_doctor(tmp_path: Path) -> None:
    file = tmp_path / "rooms.toml"
    file.write_text('["blr1/cardiology"]\ndr-rao = "12"\n')
    assert read_rooms(file) == {"blr1/cardiology": {"dr-rao": "12"}}
    assert read_rooms(None) == {}


@pytest.mark.parametrize("text", ["[", '["blr1/cardiology"]\ndr-rao = 12\n', 'dr-rao = "12"\n'])
def test_a_wrong_rooms_file_is_one_line_and_exit_code_2(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rooms.toml"
    file.write_text(text)
    with pytest.raises(Misfit, match="a table for each department"):
        read_rooms(file)


def test_the_command_says_what_is_wrong_before_it_serves() -> None:
    wrong = opd_here("board", "--http-host", "0.0.0.0")  # noqa: S104  refused
    assert wrong.returncode == 2
    assert wrong.stderr.splitlines()[-2].startswith("opd: in development mode links can be guessed")
