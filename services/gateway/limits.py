"""How often one caller, and one address, may ask: counted in Redis, so that all gateways count together (ADR 21)."""

import asyncio
import ipaddress
import time
from hashlib import blake2b
from typing import Any, NamedTuple

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from redis.exceptions import RedisError
from starlette.types import Scope

from services.gateway.identity import Identity
from services.gateway.metrics import GatewayMetrics
from services.gateway.permissions import Action, Role
from services.gateway.problems import RATE_LIMITED, Problem
from services.redis import connect_redis
from services.settings import Settings

_log = structlog.stdlib.get_logger(__name__)

ANSWERS_WITHIN_S = 0.25
AWAY_FOR_S = 5.0
_MOST_REMEMBERED = 10_000
_COUNTED = "opd.limits"


class Policy(NamedTuple):
    """So many requests in so much time.

    Attributes:
        name: as it stands in the headers.
        item: how many, and in which time.
    """

    name: str
    item: RateLimitItem

    @classmethod
    def read(cls, name: str, text: str) -> "Policy":
        """Read a setting, such as `600/minute`."""
        return cls(name, parse(text))

    def __str__(self) -> str:
        """As it stands in `RateLimit-Policy`."""
        return f'"{self.name}";q={self.item.amount};w={self.item.get_expiry()}'


class _Counted(NamedTuple):
    policy: Policy
    remaining: int
    reset_s: int | None = None

    def __str__(self) -> str:
        """As it stands in `RateLimit`."""
        reset = "" if self.reset_s is None else f";t={self.reset_s}"
        return f'"{self.policy.name}";r={self.remaining}{reset}'


class Limits:
    """Counts requests, and refuses those that are too many."""

    def __init__(self, settings: Settings, metrics: GatewayMetrics) -> None:
        self._address = Policy.read("address", settings.rate_limit_address)
        self._subject = Policy.read("subject", settings.rate_limit_subject)
        self._booking = Policy.read("booking", settings.rate_limit_booking)
        self._portal = Policy.read("portal", settings.rate_limit_portal)
        self._redis = connect_redis(settings.redis_url)
        self._storage = _Storage(self._redis)
        self._metrics = metrics
        self._refused_until_s: dict[str, float] = {}
        self._away_until_s = 0.0

    async def close(self) -> None:
        """Disconnect."""
        await self._redis.aclose()

    async def count_address(self, scope: Scope) -> None:
        """Count a request of an address, before anything else is looked at.

        Raises:
            Problem: it is one too many.
        """
        client = scope.get("client")
        if client is not None:
            await self._count(scope, self._address, _network(client[0]))

    async def count_caller(self, scope: Scope, caller: Identity, action: Action) -> None:
        """Count a request of somebody who is known: bookings apart from all else, but those of portals.

        Raises:
            Problem: it is one too many.
        """
        policy = self._booking if action is Action.BOOK else self._subject
        if caller.role is Role.PORTAL:  # it asks for all of its patients
            policy = self._portal
        await self._count(scope, policy, caller.sub)

    async def _count(self, scope: Scope, policy: Policy, who: str) -> None:
        # Whoever reads the keys of Redis learns neither subjects nor addresses.
        key = policy.item.key_for(policy.name, blake2b(who.encode(), digest_size=16).hexdigest())
        counted = await self._refused_before(policy, key) or await self._counted(policy, key)
        if counted is None:
            return
        scope.setdefault(_COUNTED, []).append(counted)
        if counted.reset_s is not None:
            self._metrics.limited.labels(policy.name).inc()
            raise Problem(RATE_LIMITED, f"by {policy.name}", headers={"Retry-After": str(counted.reset_s)})

    async def _refused_before(self, policy: Policy, key: str) -> _Counted | None:
        """Refuse without asking who was refused already: a flood costs Redis nothing."""
        until_s = self._refused_until_s.get(key, 0.0)
        left_s = until_s - time.monotonic()
        return _Counted(policy, 0, int(left_s) + 1) if left_s > 0 else None

    async def _counted(self, policy: Policy, key: str) -> _Counted | None:
        """Count one more; None where that cannot be done: then whoever asks is let in."""
        if time.monotonic() < self._away_until_s:
            return None
        item = policy.item
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                count = await self._storage.incr(key, item.get_expiry())
                if count <= item.amount:
                    return _Counted(policy, item.amount - count)
                left_s = await self._storage.get_expiry(key) - time.time()
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until_s = time.monotonic() + AWAY_FOR_S
            self._metrics.limit_failures.inc()
            _log.warning("requests are not counted: Redis does not answer", error=type(error).__name__)
            return None
        if len(self._refused_until_s) >= _MOST_REMEMBERED:
            self._refused_until_s.clear()
        self._refused_until_s[key] = time.monotonic() + left_s
        return _Counted(policy, 0, max(1, int(left_s) + 1))


def limit_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """Give the headers that say what was counted of a request (draft-ietf-httpapi-ratelimit-headers-10)."""
    counted: list[_Counted] = scope.get(_COUNTED, [])
    if not counted:
        return []
    policies = ", ".join(str(each.policy) for each in counted)
    state = ", ".join(map(str, counted))
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", state.encode())]


class _Storage(RedisStorage):
    """The library's own, on our client: of a node or of a cluster, connected as all of ours are."""

    STORAGE_SCHEME = []  # noqa: RUF012  as the library has it: found by nobody else

    def __init__(self, client: Any) -> None:
        self._client = client
        super().__init__("async+redis://", implementation="redispy", key_prefix="opd-limit")

    def configure_bridge(self) -> None:
        self.bridge.connection_getter = lambda _readonly: self._client  # type: ignore[attr-defined]  # redispy's alone


def _network(address: str) -> str:
    """Give what stands for an address: one customer has as many of version 6 as they like, all in one /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address  # of a unix socket
    return str(ipaddress.ip_network((parsed, 64), strict=False)) if parsed.version == 6 else str(parsed)
