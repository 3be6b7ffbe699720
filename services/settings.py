"""The settings of spec §5: from the environment with the prefix `OPD_`; a flag of the same name wins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas import topics
from services.errors import OpdError


class Settings(BaseSettings):
    """Where the servers are and what the topics are called; a wrong value raises pydantic's ValidationError."""

    model_config = SettingsConfigDict(env_prefix="OPD_", extra="ignore", frozen=True)

    kafka_bootstrap_servers: str = "localhost:9092"
    redis_url: str = Field("redis://localhost:6379/0", pattern=r"^(redis|rediss|redis\+cluster|unix)://")
    postgres_url: str = Field("postgresql://opd@localhost:5432/opd", pattern=r"^postgres(ql)?://")
    history_schema: str = Field("opd", pattern="^[a-z_][a-z0-9_]{0,39}$")
    vault_url: str | None = Field(None, pattern=r"^postgres(ql)?://")
    vault_schema: str = Field("opd_vault", pattern="^[a-z_][a-z0-9_]{0,39}$")
    vault_key_file: Path | None = None
    commands_topic: str = topics.COMMANDS.name
    events_topic: str = topics.EVENTS.name
    dead_letters_topic: str = topics.DEAD_LETTERS.name
    consumer_group: str = "opd-allocator"
    snapshot_folder: Path | None = None
    jwt_jwks: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str = "opd"
    http_host: str = "127.0.0.1"
    http_port: int | None = Field(None, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    @property
    def vault_address(self) -> str:
        """Where the vault is: beside the history, unless it has a server or a role of its own."""
        return self.vault_url or self.postgres_url


class SettingError(OpdError):
    """{flag or variable}: what is wrong with its value."""

    exit_code = 2


def read_settings(flags: Mapping[str, object] | None = None) -> Settings:
    """The settings of the environment; `flags`, by the settings' own names, win.

    Raises:
        SettingError: a value is wrong; names the flag or the variable.
    """
    flags = flags or {}
    try:
        return Settings(**flags)  # type: ignore[arg-type] # pydantic judges the values
    except ValidationError as error:
        wrong = []
        for each in error.errors():
            name = str(each["loc"][0])
            variable = f"--{name.replace('_', '-')}" if name in flags else f"OPD_{name.upper()}"
            value = "" if name.endswith("_url") else f" ({each['input']!r})"  # a URL may hold a password
            wrong.append(f"{variable}{value}: {each['msg']}")
        raise SettingError("; ".join(wrong)) from error


def without_password(url: str) -> str:
    """Give a server's address as it may be shown; what is no URL stays as it is."""
    parts = urlsplit(url)
    return url if parts.password is None else url.replace(f":{parts.password}@", ":***@", 1)
