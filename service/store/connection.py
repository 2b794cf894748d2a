"""
Connections to Redis or Valkey: one server, Sentinel or Cluster, by URL.

Owns which errors of the server mean "try again" and which mean "it is full". Nothing above this file sees
an exception of the Redis library. Clients made here never retry by themselves: `scripts.py` decides.
"""

from __future__ import annotations

import ssl
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis.asyncio as redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from service.errors import InvalidSetting, StoreFull, StoreUnavailable, TaskpostError
from service.settings import Settings
from service.store.wire import pack_by_hiredis

Client = redis.Redis | RedisCluster
RETRY_AFTER = {"Retry-After": "2"}
CONNECT_SECONDS = 1.5
COMMAND_SECONDS = 5.0

# What the library raises when a call fails. On a cluster it closes all connections when one has failed, and calls that
# are in flight then meet what is left of them: a writer that is None, a transport that is closed.
FAILURES = (TimeoutError, RedisError, OSError, RuntimeError, AttributeError)

# What a server says when it is not the right one any more, or not ready yet; and a slot that is moving.
PASSING = (
    "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN", "UNBLOCKED", "BUSY", "NOREPLICAS",
    "MISCONF", "non local key", "Connection",
)  # fmt: skip

# What a server that answers, and takes no writes, says; and what is wrong with it.
REFUSING = {
    "READONLY": "Redis is a replica, which takes no writes",
    "MISCONF": "Redis takes no writes, since it cannot write to its disk",
    "NOREPLICAS": "Redis takes no writes, since fewer replicas follow it than it was told to wait for",
    "LOADING": "Redis is still reading what it has on disk",
    "CLUSTERDOWN": "The cluster of Redis is not whole",
}
UNKNOWN = (
    "Whether the request took effect is unknown: send it again with the same Idempotency-Key, and it takes effect once."
)


def connect(settings: Settings, *, wait_seconds: float = 0) -> Client:
    """
    A client for *settings.redis_url*; no command is sent yet. *wait_seconds* > 0 is for blocking reads of that length.

    Raises:
        InvalidSetting: the URL is of no kind that is understood.
    """
    client = client_of(settings, wait_seconds)
    pack_by_hiredis(client)
    return client


def client_of(settings: Settings, wait_seconds: float) -> Client:
    """The library's client for that URL. Raises as `connect`."""
    options: dict[str, Any] = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": COMMAND_SECONDS + wait_seconds,
        "protocol": 2,
    }
    url, quiet = settings.redis_url, Retry(NoBackoff(), 0)
    parts = urlsplit(url)
    if parts.scheme.startswith("rediss") and not settings.redis_tls_verify:
        options["ssl_cert_reqs"] = ssl.CERT_NONE
        options["ssl_check_hostname"] = False
    if parts.scheme in ("redis", "rediss", "unix"):
        return redis.Redis.from_url(url, retry=quiet, **options)
    options |= {"username": parts.username, "password": parts.password}
    hosts = hosts_of(url)
    if parts.scheme in ("redis+cluster", "rediss+cluster"):
        nodes = [ClusterNode(host, port) for host, port in hosts]
        options["ssl"] = parts.scheme.startswith("rediss")
        return RedisCluster(startup_nodes=nodes, retry=Retry(NoBackoff(), 1), reinitialize_steps=0, **options)
    if parts.scheme in ("redis+sentinel", "rediss+sentinel"):
        service, _, database = parts.path.strip("/").partition("/")
        asked = dict(parse_qsl(parts.query))
        sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # the library gives it no types
            hosts,
            sentinel_kwargs={"password": asked.get("sentinel_password"), "socket_timeout": CONNECT_SECONDS},
            ssl=parts.scheme.startswith("rediss"),
            **options,
        )
        master: redis.Redis = sentinel.master_for(service or "mymaster", db=int(database or 0), retry=quiet)
        return master
    raise InvalidSetting(
        f"TASKPOST_REDIS_URL={url}: needs redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://"
    )


def hosts_of(url: str) -> list[tuple[str, int]]:
    """The (host, port) pairs of a URL that names several, separated by commas."""
    named = urlsplit(url).netloc.rpartition("@")[2]
    pairs = []
    for one in named.split(","):
        host, _, port = one.rpartition(":")
        if not host or not port.isdecimal():
            raise InvalidSetting(f"TASKPOST_REDIS_URL={url}: needs host:port,host:port, got {one!r}")
        pairs.append((host, int(port)))
    return pairs


def servers_of(client: Client) -> set[tuple[str, int]]:
    """The (host, port) pairs of the servers that *client* has found: the nodes of a cluster, the master of Sentinel."""
    if isinstance(client, RedisCluster):
        return {(str(node.host), int(node.port)) for node in client.get_nodes()}
    options = client.connection_pool.connection_kwargs
    master = getattr(client.connection_pool, "master_address", None)
    found = master or (options.get("host"), options.get("port"))
    return {(str(found[0]), int(found[1]))} if found[0] and found[1] else set()


def translated(exc: Exception) -> TaskpostError:
    """What *exc*, raised by the Redis library, means to the rest of the house. Raise it `from exc`."""
    text = said(exc)
    if "OOM" in text[:64]:
        return StoreFull(
            "Redis has reached its memory limit; submissions are refused until running work has freed some.",
            headers=RETRY_AFTER,
        )
    if not isinstance(exc, ResponseError) or any(sign in text for sign in PASSING):
        return StoreUnavailable(f"{refusal_of(exc) or 'Redis did not answer'}. {UNKNOWN}", headers=RETRY_AFTER)
    return TaskpostError(f"Redis refused a command: {text}")


def said(exc: BaseException) -> str:
    """What a server said, with its code, which the library takes off the front of errors that it knows."""
    return f"{getattr(exc, 'status_code', None) or ''} {exc}".strip()


def refusal_of(exc: BaseException | None) -> str | None:
    """What is wrong with a server that answered *exc*; None when it did not answer."""
    if not isinstance(exc, ResponseError):
        return None
    return next((meaning for sign, meaning in REFUSING.items() if sign in said(exc)), None)


def is_noscript(exc: RedisError) -> bool:
    """The server was flushed or replaced, and does not know the script."""
    return type(exc).__name__ == "NoScriptError" or "NOSCRIPT" in str(exc)[:16]
