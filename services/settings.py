"""The settings of spec §5: from the environment with the prefix `OPD_`; a flag of the same name wins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas import topics
from services.errors import OpdError
from services.security import complete_addresses, security_faults

_RATE = "^[1-9][0-9]{0,8}/(second|minute|hour)$"


class Settings(BaseSettings):
    """Where the servers are and what the topics are called; a wrong value raises pydantic's ValidationError.

    An empty variable counts as one that is not set. How Kafka lets one in is worked out by `kafka.kafka_client`.
    """

    model_config = SettingsConfigDict(env_prefix="OPD_", extra="ignore", frozen=True, env_ignore_empty=True)

    kafka_bootstrap_servers: str = "localhost:9092"
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_ca_file: Path | None = None
    kafka_certificate_file: Path | None = None
    kafka_key_file: Path | None = None
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str | None = None
    kafka_password_file: Path | None = None
    redis_url: str = Field("redis://localhost:6379/0", pattern=r"^(rediss?(\+cluster)?|unix)://")
    redis_ca_file: Path | None = None
    redis_password_file: Path | None = None
    postgres_url: str = Field("postgresql://opd@localhost:5432/opd", pattern=r"^postgres(ql)?://")
    postgres_ca_file: Path | None = None
    postgres_password_file: Path | None = None
    history_schema: str = Field("opd", pattern="^[a-z_][a-z0-9_]{0,39}$")
    vault_url: str | None = Field(None, pattern=r"^postgres(ql)?://")
    vault_password_file: Path | None = None
    vault_schema: str = Field("opd_vault", pattern="^[a-z_][a-z0-9_]{0,39}$")
    vault_key_file: Path | None = None
    audit_schema: str = Field("opd_audit", pattern="^[a-z_][a-z0-9_]{0,39}$")
    audit_anchors: Path | None = None
    commands_topic: str = topics.COMMANDS.name
    events_topic: str = topics.EVENTS.name
    dead_letters_topic: str = topics.DEAD_LETTERS.name
    consumer_group: str = "opd-allocator"
    snapshot_folder: Path | None = None
    jwt_jwks: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str = "opd"
    rate_limits: Literal["auto", "on", "off"] = "auto"
    rate_limit_address: str = Field("6000/minute", pattern=_RATE)
    rate_limit_subject: str = Field("600/minute", pattern=_RATE)
    rate_limit_booking: str = Field("60/minute", pattern=_RATE)
    rate_limit_portal: str = Field("30000/minute", pattern=_RATE)
    trusted_proxies: str | None = None
    verify_report: Path | None = None
    gateway_url: str = Field("http://127.0.0.1:8100", pattern=r"^https?://")
    board_url: str | None = Field(None, pattern=r"^https?://")
    board_token_file: Path | None = None
    board_key_file: Path | None = None
    board_rooms: Path | None = None
    time_zone: str = "UTC"
    notifier_channels: Path | None = None
    notifier_schema: str = Field("opd_notifier", pattern="^[a-z_][a-z0-9_]{0,39}$")
    notifier_soon_before: int = Field(2, ge=0, le=20)
    http_host: str = "127.0.0.1"
    http_port: int | None = Field(None, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"

    @property
    def vault_address(self) -> str:
        """Where vault and audit trail are: beside the history, unless they have a server or a role of their own."""
        return self.vault_url or self.postgres_url

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("no time zone: one like Asia/Kolkata") from None
        return name


class SettingError(OpdError):
    """{flag or variable}: what is wrong with its value."""

    exit_code = 2


def read_settings(flags: Mapping[str, object] | None = None) -> Settings:
    """The settings of the environment; `flags`, by the settings' own names, win.

    What the files of Redis and PostgreSQL hold or name stands in their URLs then, so that an address is all one needs.

    Raises:
        SettingError: a value is wrong, or a file cannot be read; names the flag or the variable.
    """
    flags = flags or {}

    def variable(name: str) -> str:
        return f"--{name.replace('_', '-')}" if name in flags else f"OPD_{name.upper()}"

    try:
        settings = Settings(**flags)  # type: ignore[arg-type] # pydantic judges the values
    except ValidationError as error:
        wrong = []
        for each in error.errors():
            name = str(each["loc"][0])
            value = "" if name.endswith("_url") else f" ({each['input']!r})"  # a URL may hold a password
            wrong.append(f"{variable(name)}{value}: {each['msg']}")
        raise SettingError("; ".join(wrong)) from error
    if faults := [f"{variable(name)}: {fault}" for name, fault in security_faults(settings)]:
        raise SettingError("; ".join(faults))
    return settings.model_copy(update=complete_addresses(settings))


def without_password(url: str) -> str:
    """Give a server's address as it may be shown; what is no URL stays as it is."""
    parts = urlsplit(url)
    return url if parts.password is None else url.replace(f":{parts.password}@", ":***@", 1)
