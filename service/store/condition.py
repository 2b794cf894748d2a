"""
How the servers are that hold everything: their memory, and whether they would lose or drop tasks.

Reads what every server says of itself (`INFO`), which also works where commands that tell of settings are blocked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio.cluster import RedisCluster

from service.store.connection import FAILURES, Client, translated

FULL_SHARE = 0.9
SCRIPTS = ("cmdstat_evalsha", "cmdstat_eval")


@dataclass(frozen=True, slots=True)
class Condition:
    """All servers that take writes, as one. None is what they do not tell; *most_bytes* also that one has no bound."""

    server: str
    servers: int
    used_bytes: int | None
    most_bytes: int | None
    is_append_only: bool | None
    evicts: bool | None
    warnings: tuple[str, ...]
    script_calls: int | None = None
    script_seconds: float | None = None


async def condition_of(client: Client) -> Condition:
    """
    How the servers behind *client* are now.

    Raises:
        StoreUnavailable: one did not answer.
    """
    try:
        if isinstance(client, RedisCluster):
            many: Any = {"target_nodes": RedisCluster.PRIMARIES}
        else:
            many = {}
        reply = await client.info("everything", **many)
    except FAILURES as exc:
        raise translated(exc) from exc
    told = [reply] if "redis_version" in reply else list(reply.values())
    return summed(told)


def summed(told: Sequence[Mapping[str, Any]]) -> Condition:
    """What each server *told*, as one."""
    used = [int(one["used_memory"]) for one in told if "used_memory" in one]
    most = [int(one.get("maxmemory") or 0) for one in told]
    aof = [bool(int(one["aof_enabled"])) for one in told if "aof_enabled" in one]
    policies = [str(one["maxmemory_policy"]) for one in told if "maxmemory_policy" in one]
    scripts = [one[name] for one in told for name in SCRIPTS if isinstance(one.get(name), Mapping)]
    return Condition(
        server=version_of(told[0]) if told else "unknown",
        servers=len(told),
        used_bytes=sum(used) if used else None,
        most_bytes=sum(most) if most and all(most) else None,
        is_append_only=all(aof) if aof else None,
        evicts=any(policy != "noeviction" for policy in policies) if policies else None,
        warnings=tuple(dict.fromkeys(warning for one in told for warning in warnings_of(one))),
        script_calls=sum(int(one["calls"]) for one in scripts) if scripts else None,
        script_seconds=sum(float(one["usec"]) for one in scripts) / 1e6 if scripts else None,
    )


def version_of(told: Mapping[str, Any]) -> str:
    """What a server calls itself: `redis 7.0.15`, `valkey 9.0.1`; "unknown" when it does not say."""
    for name in ("valkey", "redis"):
        if version := told.get(f"{name}_version"):
            return f"{name} {version}"
    return "unknown"


def warnings_of(told: Mapping[str, Any]) -> list[str]:
    """What should be mended at a server, each with how."""
    found = []
    if not int(told.get("aof_enabled", 0)):
        found.append("Redis keeps no append-only file: a restart of Redis loses tasks. Set: appendonly yes")
    elif told.get("aof_last_write_status", "ok") != "ok":
        found.append("Redis cannot write its append-only file: a restart loses tasks. Look at its log, and its disk.")
    if told.get("rdb_last_bgsave_status", "ok") != "ok":
        found.append("Redis cannot write its snapshot, and may refuse writes for it. Look at its log, and its disk.")
    if (policy := told.get("maxmemory_policy", "noeviction")) != "noeviction":
        found.append(
            f"Redis evicts keys when it is full ({policy}): it may drop tasks. Set: maxmemory-policy noeviction"
        )
    used, most = int(told.get("used_memory", 0)), int(told.get("maxmemory") or 0)
    if most and used > most * FULL_SHARE:
        found.append(f"Redis uses {used:,} of {most:,} bytes. Raise maxmemory, or keep results for a shorter time.")
    return found
