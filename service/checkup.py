"""
What the doctor makes of what it found: findings, each with the command that mends it.

Pure: it is given facts, and asks nobody. The fact to know: a `fault` loses tasks or stops them, and fails the command;
a `warning` will, some day or for somebody; `ok` is said too, so that one sees what was looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from service.served import takes
from service.settings import Settings

OLDEST = (7, 0)
SKEW_MS = 2000.0
SLOW_MS = 20.0
UNLOOKED_SECONDS = 10.0
LOOPBACK = ("127.0.0.1", "localhost", "::1", "")
OK, WARNING, FAULT = "ok", "warning", "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What one look found. *remedy* is a command or a setting, empty when all is well; what *blocks* keeps processes from
    starting, or from doing anything.
    """

    verdict: str
    check: str
    detail: str
    remedy: str = ""
    blocks: bool = False


@dataclass(slots=True)
class ServerFacts:
    """What one Redis or Valkey server says of itself: INFO, and CONFIG where that is not blocked (else None)."""

    name: str
    info: Mapping[str, Any]
    config: Mapping[str, str] | None


@dataclass(slots=True)
class Facts:
    """Everything that was looked at."""

    settings: Settings
    fault: str | None = None  # why Redis cannot be used at all
    servers: Sequence[ServerFacts] = ()
    cluster: Mapping[str, str] | None = None
    round_trip_ms: float = 0.0
    skew_ms: float = 0.0  # Redis' clock less this machine's
    shards: int = 0
    format: int = 0
    keys: str = ""  # which keys of encryption there are, in words; empty: none, and nothing is sealed
    key_fault: str | None = None  # why they are not this deployment's
    workers: Sequence[Mapping[str, Any]] = ()
    queues: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # stored name -> counts
    schedulers: int = 0
    reaped_seconds: float | None = None  # since somebody last looked for lost tasks
    api: str | None = None  # why the API does not answer; None: it does
    public: str | None = None  # the same of TASKPOST_PUBLIC_URL
    port: str | None = None  # why the API's port cannot be listened on


def findings_of(facts: Facts) -> Iterator[Finding]:
    """Everything that was found, in the order in which one would mend it."""
    if facts.fault is not None:
        absent = "Start it, or name another in TASKPOST_REDIS_URL."
        remedy = "What its servers say stands below." if facts.servers else absent
        yield Finding(FAULT, "redis", facts.fault, remedy, True)
        for server in facts.servers:
            yield from server_findings(server, facts.settings)
    else:
        yield from connection_findings(facts)
        for server in facts.servers:
            yield from server_findings(server, facts.settings)
        yield from deployment_findings(facts)
        yield from work_findings(facts)
    yield from outside_findings(facts)


def connection_findings(facts: Facts) -> Iterator[Finding]:
    """How Redis is reached."""
    settings, parts = facts.settings, urlsplit(facts.settings.redis_url)
    told = f"answers in {facts.round_trip_ms:.1f} ms"
    if facts.round_trip_ms > SLOW_MS:
        yield Finding(WARNING, "redis", f"{told}; each step of a worker takes as long", "Run Taskpost near it.")
    else:
        yield Finding(OK, "redis", told)
    if abs(facts.skew_ms) > SKEW_MS:
        side = "behind" if facts.skew_ms > 0 else "ahead of"
        detail = f"{abs(facts.skew_ms) / 1000:.1f} s {side} Redis', by which tasks go; logs go by this machine's"
        yield Finding(WARNING, "clock", detail, "chronyc makestep")
    else:
        yield Finding(OK, "clock", f"{abs(facts.skew_ms):.0f} ms from Redis'")
    if parts.scheme.startswith("rediss") and settings.redis_tls_verify:
        yield Finding(OK, "tls", "on, and the certificate is checked")
    elif parts.scheme.startswith("rediss"):
        detail = "on, but the certificate is not checked: who stands between can read along"
        yield Finding(WARNING, "tls", detail, "TASKPOST_REDIS_TLS_VERIFY=1, with a certificate that can be checked")
    elif parts.scheme != "unix" and any(host not in LOOPBACK for host in hosts_of(settings.redis_url)):
        detail = "off: tasks and passwords cross the network in clear"
        yield Finding(WARNING, "tls", detail, "TASKPOST_REDIS_URL=rediss://…")


def hosts_of(url: str) -> list[str]:
    """The hosts that *url* names, without ports."""
    named = urlsplit(url).netloc.rpartition("@")[2]
    return [urlsplit(f"//{one}").hostname or "" for one in named.split(",")]


def server_findings(server: ServerFacts, settings: Settings) -> Iterator[Finding]:
    """Whether one server keeps what it is given."""
    info, name = server.info, server.name
    kind = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "0")
    compatible = tuple(int(part) for part in str(info.get("redis_version", "0.0")).split(".")[:2])
    if compatible < OLDEST:
        remedy = "Upgrade it to Redis 7.0 or newer, or to Valkey."
        yield Finding(FAULT, name, f"{kind} {version} is too old", remedy, True)
    else:
        blocked = "" if server.config is not None else "; CONFIG is blocked, so what INFO tells was looked at"
        yield Finding(OK, name, f"{kind} {version}{blocked}")
    yield from persistence_findings(server)
    yield from memory_findings(server, settings)
    if info.get("role") == "slave":
        remedy = "Name the master in TASKPOST_REDIS_URL, or use redis+sentinel:// so that it is found."
        yield Finding(FAULT, name, "a replica, which takes no writes", remedy, True)
    elif replicas := int(info.get("connected_slaves", 0)):
        yield Finding(OK, name, f"{replicas} replica{'s' * (replicas > 1)} connected")
    used, most = int(info.get("connected_clients", 0)), int(info.get("maxclients", 0) or 0)
    if most and used > 0.8 * most:
        detail = f"{used} of {most} connections are taken"
        yield Finding(WARNING, name, detail, f"redis-cli CONFIG SET maxclients {2 * most}")


def persistence_findings(server: ServerFacts) -> Iterator[Finding]:
    """Whether tasks outlive the server's process."""
    info, config, name = server.info, server.config or {}, server.name
    if str(info.get("rdb_last_bgsave_status", "ok")) != "ok":
        refuses = config.get("save", "on") and config.get("stop-writes-on-bgsave-error", "yes") == "yes"
        detail = f"the last snapshot could not be written{', and until one is, writes are refused' * bool(refuses)}"
        remedy = "Look at its disk (df -h), then: redis-cli BGSAVE"
        yield Finding(FAULT if refuses else WARNING, name, detail, remedy)
    if not int(info.get("aof_enabled", 0)):
        detail = "no append-only file: a restart of the server loses tasks that were accepted"
        yield Finding(FAULT, name, detail, "redis-cli CONFIG SET appendonly yes && redis-cli CONFIG REWRITE")
        return
    if str(info.get("aof_last_write_status", "ok")) != "ok":
        yield Finding(FAULT, name, "the last write to the append-only file failed", "Look at its disk: df -h")
    if str(info.get("aof_last_bgrewrite_status", "ok")) != "ok":
        detail = "the append-only file could not be rewritten, and grows"
        yield Finding(WARNING, name, detail, "Look at its disk and memory: df -h; free -m")
    sync = config.get("appendfsync", "everysec")
    if sync == "no":
        detail = "appendfsync no: a crash of the machine loses what the system had not written, half a minute or so"
        yield Finding(WARNING, name, detail, "redis-cli CONFIG SET appendfsync everysec")
    else:
        loses = "nothing" if sync == "always" else "the last second"
        yield Finding(OK, name, f"append-only file, appendfsync {sync}: a crash of the machine loses {loses}")


def memory_findings(server: ServerFacts, settings: Settings) -> Iterator[Finding]:
    """Whether it drops tasks when it is full, and how near that is."""
    info, name = server.info, server.name
    if (policy := str(info.get("maxmemory_policy", "noeviction"))) != "noeviction":
        detail = f"maxmemory-policy {policy}: it drops tasks when it is full"
        remedy = "redis-cli CONFIG SET maxmemory-policy noeviction && redis-cli CONFIG REWRITE"
        yield Finding(FAULT, name, detail, remedy)
    if dropped := int(info.get("evicted_keys", 0)):
        detail = f"dropped {dropped:,} keys for want of memory since it started; tasks may be among them"
        yield Finding(WARNING, name, detail, "Give it more memory, and keep nothing else in it.")
    used, most = int(info.get("used_memory", 0)), int(info.get("maxmemory", 0) or 0)
    ceiling = most * settings.max_memory_ratio
    if not most:
        half = int(info.get("total_system_memory", 0) or 0) // 2 or "2gb"
        detail = f"{mebibytes(used)} used, and no maxmemory: it grows until the system ends it"
        yield Finding(WARNING, name, detail, f"redis-cli CONFIG SET maxmemory {half}")
        return
    told = f"{mebibytes(used)} of {mebibytes(most)} used"
    if used >= ceiling:
        yield Finding(FAULT, name, f"{told}: submissions are refused", f"redis-cli CONFIG SET maxmemory {2 * most}")
    elif used >= 0.8 * ceiling:
        detail = f"{told}; from {settings.max_memory_ratio:.0%} on submissions are refused"
        yield Finding(WARNING, name, detail, f"redis-cli CONFIG SET maxmemory {2 * most}")
    else:
        yield Finding(OK, name, told)


def deployment_findings(facts: Facts) -> Iterator[Finding]:
    """Whether what is stored fits these settings."""
    if facts.cluster is not None and facts.cluster.get("cluster_state") != "ok":
        detail = f"not whole: {facts.cluster.get('cluster_slots_ok', '?')} of 16384 slots are served"
        yield Finding(FAULT, "cluster", detail, "redis-cli --cluster fix HOST:PORT")
    wanted = facts.settings.shards
    if not facts.shards:
        yield Finding(OK, "deployment", "new: nothing is stored yet")
    elif wanted not in (0, facts.shards):
        detail = f"stored in {facts.shards} shards, and TASKPOST_SHARDS={wanted}: no process starts"
        yield Finding(FAULT, "deployment", detail, f"TASKPOST_SHARDS={facts.shards}, or leave it out", True)
    else:
        yield Finding(OK, "deployment", f"{facts.shards} shard{'s' * (facts.shards > 1)}, format {facts.format}")
    if facts.key_fault is not None:
        remedy = "Give this process the keys that the others have."
        yield Finding(FAULT, "encryption", facts.key_fault, remedy, True)
    elif facts.keys:
        yield Finding(OK, "encryption", f"{facts.keys}; taskpost encryption-key --uses counts what each key seals")
    else:
        yield Finding(OK, "encryption", "off: what tasks carry can be read in Redis")


def work_findings(facts: Facts) -> Iterator[Finding]:
    """Whether what waits has somebody who does it."""
    if not facts.shards:
        return
    if facts.reaped_seconds is None or facts.reaped_seconds > UNLOOKED_SECONDS:
        since = "ever" if facts.reaped_seconds is None else f"for {facts.reaped_seconds:,.0f} s"
        detail = f"nobody has looked for lost tasks {since}: neither a worker nor a scheduler runs"
        yield Finding(FAULT, "scheduler", detail, "taskpost scheduler")
    elif not facts.schedulers:
        detail = "none was heard of lately: schedules do not fire, nothing expires, what has ended is not forgotten"
        yield Finding(FAULT, "scheduler", detail, "taskpost scheduler")
    else:
        told = f"{facts.schedulers} live; lost tasks were looked for {facts.reaped_seconds:.1f} s ago"
        yield Finding(OK, "scheduler", told)
    if not facts.workers:
        yield Finding(WARNING, "workers", "none lives", "taskpost worker --handlers MODULE")
    else:
        resting = sum(one.get("state", "running") != "running" for one in facts.workers)
        detail = f"{len(facts.workers)} live" + (f", {resting} of them quiet or stopping" if resting else "")
        yield Finding(OK, "workers", detail)
    for stored, counts in sorted(facts.queues.items()):
        queue = stored.rpartition("/")[2]
        if counts["queued"] and not any(takes(one, stored) for one in facts.workers):
            detail = f"{counts['queued']:,} tasks wait in {stored}, which no live worker serves"
            yield Finding(FAULT, "queues", detail, f"taskpost worker -Q {queue}")


def outside_findings(facts: Facts) -> Iterator[Finding]:
    """Whether clients and endpoints reach the API."""
    settings = facts.settings
    if facts.api is None:
        yield Finding(OK, "api", "answers, and reaches Redis")
    elif facts.port is None:
        yield Finding(WARNING, "api", facts.api, f"taskpost web --port {settings.port}")
    else:
        yield Finding(FAULT, "api", f"{facts.api} {facts.port}", f"taskpost web --port {settings.port + 1}")
    if urlsplit(settings.public_url).hostname in LOOPBACK:
        detail = f"endpoints are told {settings.public_url} for completions, which only this machine reaches"
        yield Finding(WARNING, "public url", detail, "TASKPOST_PUBLIC_URL=https://tasks.example.com")
    elif facts.public is not None:
        remedy = "TASKPOST_PUBLIC_URL=… the address at which endpoints reach the API"
        yield Finding(WARNING, "public url", facts.public, remedy)
    else:
        yield Finding(OK, "public url", f"{settings.public_url} answers")


def mebibytes(many: int) -> str:
    return f"{many / 1048576:,.0f} MiB"
