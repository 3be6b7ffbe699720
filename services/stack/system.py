"""The whole system on one machine: servers, topics, services."""

import asyncio
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from urllib.error import HTTPError
from urllib.request import urlopen

from services.settings import Settings
from services.stack.ports import LOOPBACK
from services.stack.process import PartError, Process
from services.stack.progress import Progress
from services.stack.stack import Stack
from services.stack.state import kept_ports, replace_file
from services.topics import ensure_topics
from services.vault.keys import read_master_keys

_READY_TIMEOUT_S = 60


class Service(NamedTuple):
    """One of our services.

    Attributes:
        name: the subcommand of `opd` that runs it.
        copies: how many processes of it.
        for_clients: whether it has an address for clients, which `stack.json` then has under its name.
    """

    name: str
    copies: int = 1
    for_clients: bool = False


def all_services(*, allocators: int = 1, with_messages: bool = False) -> list[Service]:
    """What runs on the servers; messages only where there are channels for them."""
    return [
        Service("allocator", copies=allocators),
        Service("history"),
        Service("gateway", for_clients=True),
        Service("board", for_clients=True),
        *([Service("notifier")] if with_messages else []),
    ]


class System:
    """All of it, running between `with` and its end; described meanwhile in the state folder's `stack.json`.

    Attributes:
        settings: the settings given, with the addresses of what runs.
        http: each service's URL by name (`allocator`, `allocator-2`, …), with `/health/ready` and `/metrics` under it.
    """

    def __init__(
        self,
        stack: Stack,
        settings: Settings,
        services: Sequence[Service],
        *,
        partitions: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            stack: the servers, not yet entered.
            settings: names of topics and group, log level and format; the addresses in it are replaced.
            services: what to run on the servers.
            partitions: of the topics; those that are there decide if left out.
            progress: hears how far the start is.
        """
        self.settings = settings
        self.http: dict[str, str] = {}
        self._stack = stack
        self._partitions = partitions
        self._progress = progress or Progress(quiet=True)
        self._running: dict[str, Process] = {}
        self._cleanup = ExitStack()
        self._services = {name: service for service in services for name in _names(service)}

    @property
    def processes(self) -> dict[str, Process]:
        """All that we started, by part."""
        return self._stack.processes | self._running

    def describe(self) -> str:
        """What `stack.json` holds (spec §5)."""
        public = {name: self.http[name] for name, service in self._services.items() if service.for_clients}
        pids = {part: process.pid for part, process in self.processes.items()}
        servers = {"kafka": self._stack.kafka, "redis": self._stack.redis, "postgres": self._stack.postgres}
        return json.dumps({**servers, **public, "pids": pids})

    def check(self) -> None:
        """Notice a part that ended.

        Raises:
            PartError: names it and shows its last log lines.
        """
        for name, process in self.processes.items():
            if not process.running:
                raise PartError(
                    name,
                    f"ended by itself, exit code {process.exit_code}",
                    log_lines=process.last_log_lines(),
                    hint=f"read {process.log}, then start again: the state is kept",
                )

    def __enter__(self) -> Self:
        with ExitStack() as cleanup:
            cleanup.enter_context(self._stack)
            described = self._stack.folder / "stack.json"
            described.unlink(missing_ok=True)  # a killed run left its own
            self._point_at_the_stack()
            with self._progress.part("topics"):
                asyncio.run(ensure_topics(self.settings, partitions=self._partitions))
            cleanup.callback(self._stop_services)
            self._start_services()
            cleanup.callback(described.unlink, missing_ok=True)
            replace_file(described, self.describe() + "\n")
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cleanup.close()

    def _point_at_the_stack(self) -> None:
        # What a shell says of another Kafka's passwords and certificates is not of this one.
        here = {name: field.default for name, field in Settings.model_fields.items() if name.startswith("kafka_")}
        here |= {
            "kafka_bootstrap_servers": self._stack.kafka,
            "redis_url": self._stack.redis,
            "http_host": LOOPBACK,
            "vault_key_file": self._key_of_the_vault(),
            "audit_anchors": self.settings.audit_anchors or self._stack.folder / "audit-anchors",
        }
        if self._stack.postgres:
            here |= {"postgres_url": self._stack.postgres, "vault_url": None}
        self.settings = self.settings.model_copy(update=here)

    def _key_of_the_vault(self) -> Path:
        """Give its file, made if need be: services start side by side, and only the gateway would make it."""
        file = self.settings.vault_key_file or self._stack.folder / "vault.key"
        read_master_keys(file, make=self.settings.vault_key_file is None or self.settings.jwt_jwks is None)
        return file

    def _start_services(self) -> None:
        ports = kept_ports(self._stack.folder, list(self._services))
        self.http = {name: f"http://{LOOPBACK}:{port}" for name, port in ports.items() if name in self._services}
        if "gateway" in self.http:
            self.settings = self.settings.model_copy(update={"gateway_url": self.http["gateway"]})
        for name, service in self._services.items():
            settings = self.settings.model_copy(update={"http_port": ports[name]})
            process = Process(name, self._stack.folder / f"{name}.log", inherited_fds=[self._stack.lock_fd])
            self._running[name] = process
            process.start([sys.executable, "-m", "services.cli", service.name], environment(settings))
        for name, process in self._running.items():
            with self._progress.part(name):
                url = f"{self.http[name]}/health/ready"
                process.wait_until(
                    partial(_probe_http, url), f"GET {url}", timeout_s=_READY_TIMEOUT_S, hint=f"read {process.log}"
                )

    def _stop_services(self) -> None:
        with ThreadPoolExecutor(max(1, len(self._running))) as pool:
            for process in self._running.values():
                pool.submit(process.stop)


def _names(service: Service) -> list[str]:
    return [service.name, *(f"{service.name}-{number}" for number in range(2, service.copies + 1))]


def environment(settings: Settings) -> dict[str, str]:
    """The settings as the environment of a process of ours; empty where not set, whatever our own environment says."""
    return {f"OPD_{name.upper()}": "" if value is None else str(value) for name, value in settings.model_dump().items()}


def _probe_http(url: str) -> None:
    try:
        with urlopen(url, timeout=3):  # noqa: S310 - a URL of our own
            return
    except HTTPError as error:
        with error:
            said = error.read(500).decode(errors="replace")
        raise ConnectionError(f"HTTP {error.code} {said}") from error
