"""Kafka, Redis and PostgreSQL that let in only whom they know, allowed what docs/operations.md says."""

import asyncio
import os
import re
import signal
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import asyncpg
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from redis import Redis

from services.settings import Settings, read_settings
from services.stack import KafkaServer, PostgresServer, ValkeyServer
from services.stack.ports import LOOPBACK, free_ports
from tests.certificates import Certificates, make_certificates
from tests.tls_proxy import tls_in_front_of
from tests.waiting import until

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
# Kafka's numbers for them.
_OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Delete": 6, "Describe": 8, "DescribeConfigs": 10}
_TOPIC, _GROUP, _LITERAL, _ALLOW = 2, 3, 3, 3
EVERYBODY_S = {"Describe", "DescribeConfigs"}


class Allowed(NamedTuple):
    """What a user may do, as documented: sets of operations on the three topics and the group."""

    commands: set[str]
    events: set[str]
    dead_letters: set[str]
    group: set[str]


def documented_users() -> dict[str, Allowed]:
    """The table of Kafka's users."""
    rows = re.findall(r"^\| `(opd-[a-z-]+)`[^|]*\|(.*)\|$", OPERATIONS.read_text(), re.MULTILINE)
    return {user: Allowed(*(set(re.findall(r"\w+", cell)) for cell in cells.split("|"))) for user, cells in rows}


def documented_redis_users(password: str) -> list[list[str]]:
    """The commands that make the users of Redis, word by word."""
    lines = [line for line in OPERATIONS.read_text().splitlines() if line.startswith("ACL SETUSER opd")]
    return [line.replace("PASSWORD", password).split() for line in lines]


def documented_grants() -> list[str]:
    """The statements that give the audit's role of PostgreSQL its rights."""
    return re.findall(r"^GRANT .* TO audit;$", OPERATIONS.read_text(), re.MULTILINE)


def documented_rights_on_a_cluster() -> list[str]:
    """What users of a cluster may do besides."""
    (words,) = re.findall(r"On Redis Cluster both need `([^`]+)`", OPERATIONS.read_text())
    return str(words).split()


class Secured(NamedTuple):
    """Servers that run.

    Attributes:
        names: the settings that name topics and group.
        flags: the settings of every user, by name, as flags.
        postgres_in_plain: PostgreSQL's URL without TLS and password.
    """

    names: Settings
    flags: dict[str, dict[str, str]]
    certificates: Certificates
    redis: ValkeyServer
    postgres_in_plain: str

    def settings(self, user: str, **other: str) -> Settings:
        """What a command of this user works with, what stands in the files included."""
        return read_settings({**self.flags[user], **other})

    def said_to(self, user: str) -> Settings:
        """What a process of this user is told: the files, not what stands in them."""
        return Settings.model_validate(self.flags[user])


@contextmanager
def secured_servers(folder: Path, redis_binary: str | None) -> Iterator[Secured]:
    """Start them; a `redis-server` with TLS of its own is used if there is one, else a proxy lends it to Valkey."""
    certificates, users = make_certificates(folder), documented_users()
    mine = uuid.uuid4().hex[:12]
    passwords = {user: folder / f"{user}.password" for user in [*users, "redis", "postgres", "audit"]}
    for user, file in passwords.items():
        file.write_text(f"{user}-{uuid.uuid4().hex}\n")
    secret = {user: file.read_text().strip() for user, file in passwords.items()}
    names = Settings(
        commands_topic=f"commands.{mine}",
        events_topic=f"events.{mine}",
        dead_letters_topic=f"dead-letters.{mine}",
        consumer_group=f"allocator.{mine}",
        history_schema=f"opd_{mine}",
    )
    with ExitStack() as cleanup:
        kafka, plain = _kafka(folder / "kafka", certificates, {user: secret[user] for user in users}, cleanup)
        asyncio.run(_allow(plain, users, names))
        redis = cleanup.enter_context(_redis(folder / "redis", certificates, secret["redis"], redis_binary))
        roles = {"opd": secret["postgres"], "audit": secret["audit"]}
        postgres = cleanup.enter_context(_postgres(folder / "postgres", certificates, roles))
        shared = {
            **names.model_dump(include={"commands_topic", "events_topic", "dead_letters_topic", "consumer_group"}),
            "history_schema": names.history_schema,
            "kafka_bootstrap_servers": kafka,
            "kafka_security_protocol": "SASL_SSL",
            "kafka_ca_file": str(certificates.ca),
            "redis_url": redis[1],
            "redis_ca_file": str(certificates.ca),
            "redis_password_file": str(passwords["redis"]),
            "postgres_url": postgres[1],
            "postgres_ca_file": str(certificates.ca),
            "postgres_password_file": str(passwords["postgres"]),
        }
        flags = {
            user: {**shared, "kafka_username": user, "kafka_password_file": str(passwords[user])} for user in users
        }
        flags["opd-gateway"]["redis_url"] = redis[1].replace("opd@", "opd-gateway@")
        for server in ("postgres", "vault"):
            flags["opd-audit"][f"{server}_url"] = postgres[1].replace("opd@", "audit@")
            flags["opd-audit"][f"{server}_password_file"] = str(passwords["audit"])
        yield Secured(names, flags, certificates, redis[0], postgres[0])


def _kafka(folder: Path, certificates: Certificates, secret: dict[str, str], cleanup: ExitStack) -> tuple[str, str]:
    """Start a Kafka that is SASL_SSL for everybody; give its address, and that of a plain one for its operator."""
    ports = free_ports(3)
    plain, secure, controller = (f"{LOOPBACK}:{port}" for port in ports)
    settings = {
        "listeners": f"BROKER://{plain},SECURE://{secure},CONTROLLER://{controller}",
        "controller.quorum.voters": f"1@{controller}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secure.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
        "listener.name.secure.ssl.keystore.type": "PEM",
        "listener.name.secure.ssl.keystore.location": certificates.both,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # whoever is at the plain listener, which a real one does not have
    }
    scram = [f"--add-scram=SCRAM-SHA-512=[name={user},password={password}]" for user, password in secret.items()]
    server = KafkaServer(folder, port=ports[0], settings=settings, format_options=scram)
    cleanup.callback(server.stop)
    server.start()
    return secure, plain


async def _allow(plain: str, users: dict[str, Allowed], names: Settings) -> None:
    topics = (names.commands_topic, names.events_topic, names.dead_letters_topic)
    admin = AIOKafkaAdminClient(bootstrap_servers=plain)
    await admin.start()
    try:
        for user, allowed in users.items():
            wanted = [(_TOPIC, topic, word) for topic, words in zip(topics, allowed, strict=False) for word in words]
            wanted += [(_TOPIC, topic, word) for topic in topics for word in EVERYBODY_S]
            wanted += [(_GROUP, names.consumer_group, word) for word in allowed.group]
            for kind, name, word in wanted:
                what = CreateAclsRequest(kind, name, _LITERAL, f"User:{user}", "*", _OPERATIONS[word], _ALLOW)
                answer = await admin._send_to_controller(what)
                assert [code for code, _ in answer.creation_responses] == [0], answer
    finally:
        await admin.close()


@contextmanager
def _redis(
    folder: Path, certificates: Certificates, password: str, binary: str | None
) -> Iterator[tuple[ValkeyServer, str]]:
    own_tls = {
        "tls-cert-file": certificates.certificate,
        "tls-key-file": certificates.key,
        "tls-ca-cert-file": certificates.ca,
        "tls-auth-clients": "no",
    }
    (tls_port,) = free_ports(1)
    settings = {"tls-port": tls_port, **own_tls} if binary else {}
    server = ValkeyServer(folder, binary=Path(binary) if binary else None, settings=settings)
    with ExitStack() as cleanup:
        cleanup.callback(server.stop)
        server.start()
        if binary is None:
            port = int(server.url.rpartition(":")[2].partition("/")[0])
            tls_port = cleanup.enter_context(tls_in_front_of(port, certificates))
        with Redis.from_url(server.url) as redis:
            for words in documented_redis_users(password):
                redis.execute_command(*words)
        yield server, f"rediss://opd@{LOOPBACK}:{tls_port}/0"


@contextmanager
def _postgres(folder: Path, certificates: Certificates, roles: dict[str, str]) -> Iterator[tuple[str, str]]:
    server = PostgresServer(folder)
    with ExitStack() as cleanup:
        cleanup.callback(server.stop)
        server.start()
        address = urlsplit(server.url)
        owner, database = address.username, address.path[1:]

        def let_in(users: Iterable[str | None], how: str) -> None:
            lines = [f"host {database} {user} {LOOPBACK}/32 {how}\n" for user in users]
            (folder / "postgres" / "pg_hba.conf").write_text("".join(lines))
            os.kill(server.process.pid, signal.SIGHUP)

        let_in([owner, "postgres"], "trust")
        until(lambda: asyncio.run(_made(server.url.replace("opd@", "postgres@"), roles)), "its administrator gets in")
        let_in(roles, "scram-sha-256")
        tls_port = cleanup.enter_context(tls_in_front_of(address.port or 0, certificates, asks_first=True))
        yield server.url, f"postgresql://{address.username}@{LOOPBACK}:{tls_port}{address.path}"


async def _made(url: str, roles: dict[str, str]) -> bool:
    """Whether the roles could be made, each with its password, by an administrator."""
    try:
        connection = await asyncpg.connect(url)
    except asyncpg.InvalidAuthorizationSpecificationError:
        return False
    try:
        for role, password in roles.items():
            if not await connection.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = $1", role):
                await connection.execute(f"CREATE ROLE {role} LOGIN")
            await connection.execute(f"ALTER ROLE {role} PASSWORD '{password}'")
    finally:
        await connection.close()
    return True
