"""The settings of spec §5: from the environment with the prefix `OPD_`; a flag of the same name wins."""

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas import topics


class Settings(BaseSettings):
    """Where the servers are and what the topics are called; a wrong value raises pydantic's ValidationError."""

    model_config = SettingsConfigDict(env_prefix="OPD_", extra="ignore", frozen=True)

    kafka_bootstrap_servers: str = "localhost:9092"
    redis_url: str = Field("redis://localhost:6379/0", pattern=r"^(redis|rediss|redis\+cluster|unix)://")
    commands_topic: str = topics.COMMANDS.name
    events_topic: str = topics.EVENTS.name
    dead_letters_topic: str = topics.DEAD_LETTERS.name
    consumer_group: str = "opd-allocator"
    http_host: str = "127.0.0.1"
    http_port: int | None = Field(None, ge=0, le=65535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["console", "json"] = "console"
