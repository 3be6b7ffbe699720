"""A Kafka of one node (KRaft: broker and controller in one process)."""

import base64
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from services.stack.jars import class_path
from services.stack.java import find_java
from services.stack.ports import LOOPBACK, free_ports, is_busy, listener
from services.stack.probes import KAFKA_PROBE, probe_kafka
from services.stack.process import PartError, Process

_LOG4J = Path(__file__).with_name("log4j2.properties")
_START_TIMEOUT_S = 60

# The JVM is tuned for a short life on few cores. Measured on two: ready after 1.6 s instead of 2.4, half the CPU for
# the same 800,000 records in and out, and no fewer of them a second.
_JVM_OPTIONS = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData")


class KafkaServer:
    """One Kafka; `start` after `stop` or `kill` comes back on the same port with what it had.

    Attributes:
        address: `host:port` for clients.
        process: the server's process.
    """

    def __init__(  # noqa: PLR0913  each may be left out
        self,
        folder: Path,
        *,
        port: int | None = None,
        inherited_fds: Sequence[int] = (),
        cluster_id: str | None = None,
        settings: Mapping[str, object] | None = None,
        format_options: Sequence[str] = (),
    ) -> None:
        """Keep data, settings and log under `folder`; `port` is a free one if not given.

        Several brokers of one cluster share a `cluster_id`; `settings` are Kafka's own and win over ours;
        `format_options` go to Kafka's tool that makes the data folder: it alone can make a first user.
        """
        self._folder = folder
        self._data = folder / "kafka"
        self._settings = folder / "kafka.properties"
        self._cluster_id = cluster_id or new_cluster_id()
        self._own_settings = settings or {}
        self._format_options = format_options
        free_port, self._controller_port = free_ports(2)
        self._port = port or free_port
        self.address = f"{LOOPBACK}:{self._port}"
        self.process = Process("kafka", folder / "kafka.log", inherited_fds=inherited_fds)

    def start(self, report: Callable[[str], None] = lambda _: None) -> None:
        """Start it and return when it answers; the jars are fetched before if need be, which `report` hears.

        Raises:
            OpdError: it cannot be had or does not come up; the text says why.
        """
        if is_busy(self._port):
            raise PartError(
                "kafka",
                f"cannot listen on port {self._port}: {listener(self._port)} does",
                hint="end that process, or choose another port",
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        jars = ":".join(map(str, class_path(report)))
        jvm = [str(find_java()), *_JVM_OPTIONS, f"-Dlog4j2.configurationFile={_LOG4J}", "-cp", jars]
        self._settings.write_text(self._properties(self._data))
        if not (self._data / "meta.properties").exists():
            self._format(jvm)
        self.process.start([*jvm, "kafka.Kafka", str(self._settings)])
        self.process.wait_until(
            partial(probe_kafka, self.address),
            KAFKA_PROBE,
            timeout_s=_START_TIMEOUT_S,
            hint=f"read {self.process.log}; if its data is damaged, remove {self._folder} and start again",
        )

    def stop(self) -> None:
        """Shut it down in good order."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL it."""
        self.process.kill()

    def _format(self, jvm: list[str]) -> None:
        """Make the data folder; a run killed in the middle leaves none, for only a finished one gets its name."""
        unfinished = self._data.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        settings = self._folder / "kafka.format.properties"
        settings.write_text(self._properties(unfinished))
        tool = [*jvm, "kafka.tools.StorageTool", "format", f"--cluster-id={self._cluster_id}", f"--config={settings}"]
        run = subprocess.run([*tool, *self._format_options], capture_output=True, text=True, check=False)  # noqa: S603 - all ours
        if run.returncode:
            lines = (run.stdout + run.stderr).splitlines()
            raise PartError(
                "kafka", f"cannot format {self._data}", log_lines=lines[-5:], hint="look at the disk and its rights"
            )
        settings.unlink()
        unfinished.rename(self._data)

    def _properties(self, data: Path) -> str:
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"BROKER://{self.address},CONTROLLER://{LOOPBACK}:{self._controller_port}",
            "inter.broker.listener.name": "BROKER",
            "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": data,
            "auto.create.topics.enable": "false",
            # The log is the truth: nothing may expire from it, whatever its records' timestamps say.
            "log.retention.ms": -1,
            "log.message.timestamp.after.max.ms": sys.maxsize,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "min.insync.replicas": 1,
            "group.initial.rebalance.delay.ms": 0,
            # After a kill the broker's own session must end before it may register again.
            "broker.session.timeout.ms": 4000,
            **self._own_settings,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())


def new_cluster_id() -> str:
    """Give an id that no other cluster has."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
