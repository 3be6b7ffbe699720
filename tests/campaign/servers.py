"""Kafkas to be hurt: one broker that allocators reach through a proxy, or three."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from aiokafka.admin import AIOKafkaAdminClient

from services.stack import KafkaServer
from services.stack.kafka import new_cluster_id
from services.stack.ports import LOOPBACK, free_ports
from tests.campaign.proxy import Proxy


class Kafka(NamedTuple):
    """Brokers of one cluster.

    Attributes:
        brokers: each by its number from 0; its Kafka id is one more.
        address: where they are reached without a proxy.
        proxied: where allocators reach them.
        proxy: what stands between; None for three brokers.
    """

    brokers: list[KafkaServer]
    address: str
    proxied: str
    proxy: Proxy | None

    @property
    def replication(self) -> int:
        """How many copies of each record there are."""
        return len(self.brokers)


@contextmanager
def one_broker(folder: Path) -> Iterator[Kafka]:
    """Give a broker with a second listener, whose clients are sent through the proxy."""
    port, second, controller = free_ports(3)
    with Proxy(second) as proxy:
        hosts = {"BROKER": port, "PROXIED": second}
        listeners = ",".join(f"{name}://{LOOPBACK}:{number}" for name, number in hosts.items())
        server = KafkaServer(
            folder,
            port=port,
            settings={
                "controller.quorum.voters": f"1@{LOOPBACK}:{controller}",
                "listeners": f"{listeners},CONTROLLER://{LOOPBACK}:{controller}",
                "advertised.listeners": f"BROKER://{LOOPBACK}:{port},PROXIED://{LOOPBACK}:{proxy.port}",
                "listener.security.protocol.map": "BROKER:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            },
        )
        try:
            server.start()
            yield Kafka([server], server.address, f"{LOOPBACK}:{proxy.port}", proxy)
        finally:
            server.stop()


@contextmanager
def three_brokers(folder: Path) -> Iterator[Kafka]:
    """Give three brokers that keep everything three times and acknowledge what two of them have."""
    ports = free_ports(6)
    voters = ",".join(f"{node}@{LOOPBACK}:{port}" for node, port in enumerate(ports[3:], start=1))
    cluster_id = new_cluster_id()
    brokers = [
        KafkaServer(
            folder / f"broker-{node}",
            port=port,
            cluster_id=cluster_id,
            settings={
                "node.id": node,
                "controller.quorum.voters": voters,
                "listeners": f"BROKER://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{ports[node + 2]}",
                "offsets.topic.replication.factor": 3,
                "transaction.state.log.replication.factor": 3,
                "min.insync.replicas": 2,
            },
        )
        for node, port in enumerate(ports[:3], start=1)
    ]
    address = ",".join(broker.address for broker in brokers)
    with ExitStack() as stack, ThreadPoolExecutor(len(brokers)) as threads:
        for broker in brokers:
            stack.callback(broker.stop)
        list(threads.map(lambda broker: broker.start(), brokers))  # none is ready before a second one is there
        yield Kafka(brokers, address, address, None)


def leaders(address: str, topic: str) -> dict[int, int]:
    """Give the id of the broker that leads each partition of a topic, -1 for none."""
    return asyncio.run(_leaders(address, topic))


async def _leaders(address: str, topic: str) -> dict[int, int]:
    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    try:
        (described,) = await admin.describe_topics([topic])
        return {partition["partition"]: partition["leader"] for partition in described["partitions"]}
    finally:
        await admin.close()
