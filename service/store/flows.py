"""
Flow keys and groups in Redis: their limits and weights, and how they stand.

A key lives in one shard, which its hash names, with all of its tasks; the scripts that lease and end tasks hold it
to its limits. Nothing here counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from service.flow import DEFAULT_BURST, DEFAULT_PERIOD_SECONDS, Flow, flow_hash
from service.store import keys
from service.store.replies import pairs_of
from service.store.scripts import Scripts

MOST_HOLDERS = 10
BY_SUBMISSION, BY_REPLAY, BY_OPERATOR, RESET = b"s", b"n", b"c", b"r"


@dataclass(slots=True)
class FlowState:
    """How a key stands. *open* counts its tasks that have not ended, those that run included."""

    key: str
    concurrency: int | None
    rate: int | None
    period_ms: float
    burst: int
    is_paused: bool
    is_pinned: bool
    open: int
    running: int
    tat_ms: float = 0

    @property
    def waiting(self) -> int:
        return max(0, self.open - self.running)

    @property
    def is_full(self) -> bool:
        return self.concurrency is not None and self.running >= self.concurrency

    def next_ms(self, now_ms: int) -> int | None:
        """When its rate lets the next task start; None when it does now."""
        if self.rate is None:
            return None
        interval = self.period_ms / self.rate
        at = min(self.tat_ms, now_ms + self.burst * interval) + (1 - self.burst) * interval
        return int(at) + 1 if at > now_ms else None


def changes_of(given: Mapping[str, Any]) -> str:
    """What flow.lua reads of *given*, in the contract's words; None takes a limit away."""
    told = []
    for name, value in given.items():
        if name == "period_seconds":
            name, value = "period", None if value is None else value * 1000
        if isinstance(value, bool):
            value = "1" if value else None
        told.append(f"{name}={'' if value is None else f'{value:.10g}' if isinstance(value, float) else value}")
    return " ".join(told)


def limits_of(limits: Mapping[str, Any] | None) -> str:
    """The same of the limits that a submission names: they stand for all four."""
    if limits is None:
        return ""
    return changes_of({name: limits.get(name) for name in ("concurrency", "rate", "period_seconds", "burst")})


class Flows:
    """Flow keys. One for each `Tasks`."""

    def __init__(self, scripts: Scripts) -> None:
        self.scripts = scripts

    async def declare(self, shard: int, flows: Iterable[Flow]) -> None:
        """
        Make keys known that submissions name, with the limits that they name, the last one's.

        Raises:
            StoreUnavailable: no answer; the same call again is safe.
        """
        named: dict[Flow, str] = {}
        for flow in flows:
            plain = Flow(flow.namespace, flow.key, None, flow.only_if_unknown)
            named[plain] = limits_of(flow.limits) or named.get(plain, "")
        if not named:
            return
        args: list[Any] = []
        for flow, limits in named.items():
            kind = BY_REPLAY if flow.only_if_unknown else BY_SUBMISSION
            args += (flow.hash + kind, f"{flow.namespace}/{flow.key}", limits)
        await self.scripts.call(shard, "flow", *args)

    async def change(self, shards: int, namespace: str, key: str, given: Mapping[str, Any]) -> None:
        """Set limits of a key, or pause or pin it, at once; what is not in *given* stays. Raises as `declare`."""
        await self.put(shards, namespace, key, BY_OPERATOR, changes_of(given))

    async def reset(self, shards: int, namespace: str, key: str) -> None:
        """Forget what its rate has used up, and holders that do not run. Raises as `declare`."""
        await self.put(shards, namespace, key, RESET, "")

    async def put(self, shards: int, namespace: str, key: str, kind: bytes, changes: str) -> None:
        hashed = flow_hash(namespace, key)
        await self.scripts.call(shard_of(hashed, shards), "flow", hashed + kind, f"{namespace}/{key}", changes)

    # ------------------------------------------------------------ reading

    async def read(self, shards: int, namespace: str, key: str) -> FlowState | None:
        """How the key stands; None when it is not known."""
        hashed = flow_hash(namespace, key)
        return await self.state(shard_of(hashed, shards), hashed)

    async def state(self, shard: int, hashed: bytes) -> FlowState | None:
        found, running = await asyncio.gather(
            self.scripts.command("HGETALL", keys.flow(shard, hashed)),
            self.scripts.command("SCARD", keys.holders(shard, hashed)),
        )
        fields = {name.decode(): value for name, value in pairs_of(found)}
        if "key" not in fields:
            return None
        return FlowState(
            key=fields["key"].decode().partition("/")[2],
            concurrency=number_of(fields, "concurrency"),
            rate=number_of(fields, "rate"),
            period_ms=float(fields.get("period", DEFAULT_PERIOD_SECONDS * 1000)),
            burst=number_of(fields, "burst") or DEFAULT_BURST,
            is_paused=fields.get("paused") == b"1",
            is_pinned=fields.get("pinned") == b"1",
            open=number_of(fields, "open") or 0,
            running=int(running),
            tat_ms=float(fields.get("tat", 0)),
        )

    async def holders(self, shard: int, hashed: bytes) -> list[bytes]:
        """Some tasks of the key that run, up to ten."""
        found = await self.scripts.command("SRANDMEMBER", keys.holders(shard, hashed), MOST_HOLDERS)
        return sorted(found)

    async def page(self, shards: int, namespace: str, limit: int, after: str = "") -> list[FlowState]:
        """Up to *limit* keys of *namespace*, by name, those after the key *after*."""
        least = f"({namespace}/{after}\0\xff" if after else f"[{namespace}/"
        found = await asyncio.gather(
            *(
                self.scripts.command(
                    "ZRANGEBYLEX", keys.flows(shard), least.encode("latin-1"), f"({namespace}0", "LIMIT", 0, limit
                )
                for shard in range(shards)
            )
        )
        members = sorted((member, shard) for shard, some in enumerate(found) for member in some)[:limit]
        states = await asyncio.gather(*(self.state(shard, member[-16:]) for member, shard in members))
        return [one for one in states if one is not None]

    # ------------------------------------------------------------ groups

    async def groups(self, shards: int, stored: str) -> dict[str, tuple[int, float]]:
        """The groups of a queue by name: how many of its tasks have not ended, and its weight."""
        command, start = self.scripts.command, f"{stored}:"
        counted, weighed = await asyncio.gather(
            asyncio.gather(*(command("HGETALL", keys.groups(shard, stored)) for shard in range(shards))),
            command("HGETALL", keys.weights(0)),
        )
        weights = {
            field.decode().removeprefix(start): float(value)
            for field, value in pairs_of(weighed)
            if field.decode().startswith(start)
        }
        total: dict[str, int] = dict.fromkeys(weights, 0)
        for reply in counted:
            for group, many in pairs_of(reply):
                total[group.decode()] = total.get(group.decode(), 0) + int(many)
        return {group: (total[group], weights.get(group, 1.0)) for group in sorted(total)}

    async def weigh(self, shards: int, stored: str, group: str, weight: float) -> None:
        """Set the weight of a group, from its next turn on. Raises StoreUnavailable: some shards may have taken it."""
        field = f"{stored}:{group}"
        for shard in reversed(range(shards)):  # the one that is read comes last
            key = keys.weights(shard)
            await self.scripts.command(*(("HDEL", key, field) if weight == 1 else ("HSET", key, field, weight)))


def number_of(fields: Mapping[str, bytes], name: str) -> int | None:
    return int(float(fields[name])) if name in fields else None


def shard_of(hashed: bytes, shards: int) -> int:
    """The shard of a key, and of all its tasks."""
    return int.from_bytes(hashed[:4], "big") % shards
