"""
How the calls of each endpoint went, and which circuits are open: counted by worker processes, seen by all.

All of it in shard 0. The fact to know: a process tells what it counted in one call a second at most, whatever it calls;
a circuit is one record for all processes, and a script sees to it that one of them probes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import orjson

from service.store import keys
from service.store.fields import field_of
from service.store.replies import pairs_of
from service.store.scripts import Scripts
from service.store.tasks import Clock

MOST_ENDPOINTS = 2000  # of all namespaces; the one called longest ago is forgotten first
SILENT_MS = 15_000  # a process that said nothing of its calls for so long makes none
STEPS = 4  # of a histogram, for each doubling of a time: a fifth apart


class Report(msgspec.Struct, kw_only=True, omit_defaults=True):
    """
    What a process says of one endpoint since its last report. *streak*: failures since the last answer. *times* counts
    calls by `step_of` their milliseconds. *probe* is the token of a probe that ended *probed* `well`, `badly`, or
    neither; *ends*: a test was answered, which closes the circuit.
    """

    endpoint: str
    flying: int
    breaker_failures: int
    breaker_ratio: float
    pause_ms: int
    longest_pause_ms: int
    succeeded: int = 0
    refused: int = 0
    failed: int = 0
    streak: int = 0
    error: str = ""
    times: dict[str, int] = {}
    probe: str = ""
    probed: str = ""
    ends: bool = False


class Circuit(msgspec.Struct):
    """An open circuit: no call until *until_ms*, then one, the probe, which others wait for until *probe_ms*."""

    opened_ms: int
    until_ms: int
    pauses: int
    reason: str
    probe: str = ""
    probe_ms: int = 0


@dataclass(slots=True)
class Heard:
    """What Redis answered to reports: every open circuit, and since when each reported endpoint fails, by field."""

    circuits: dict[str, Circuit]
    failing: dict[str, int]


@dataclass(slots=True)
class Health:
    """How an endpoint's calls went in the last ten to twenty minutes, and when they last did; times are ms."""

    succeeded: int = 0
    refused: int = 0
    failed: int = 0
    flying: int = 0
    succeeded_ms: int | None = None
    failed_ms: int | None = None
    failing_ms: int | None = None
    error: str | None = None
    times: dict[int, int] = field(default_factory=dict)

    @property
    def success_rate(self) -> float | None:
        every = self.succeeded + self.refused + self.failed
        return round(self.succeeded / every, 4) if every else None

    def time_ms(self, share: float) -> float | None:
        """The time within which *share* of the calls were over; None when there were none."""
        left = share * sum(self.times.values())
        for step, many in sorted(self.times.items()):
            left -= many
            if left <= 0:
                return round(2 ** (step / STEPS), 1)
        return None


class Traffic:
    """Reads and tells. One for each `Store`."""

    def __init__(self, scripts: Scripts, clock: Clock) -> None:
        self.scripts, self.clock = scripts, clock

    async def tell(self, process: str, number: int, reports: Sequence[Report]) -> Heard:
        """
        Count *reports* of *process*, numbered so that a report that is sent again counts once.

        Raises:
            StoreUnavailable: no answer; they may have been counted.
        """
        texts = [orjson.dumps(full(one)) for one in reports]
        now_ms, *reply = await self.scripts.call(0, "calls", process, number, MOST_ENDPOINTS, *texts)
        self.clock.hear(now_ms)
        end = next(at for at in range(0, len(reply), 2) if not reply[at])
        failing = reply[end + 1 :]
        return Heard(
            circuits_of(zip(reply[:end:2], reply[1:end:2], strict=True)),
            {name.decode(): int(since) for name, since in zip(failing[::2], failing[1::2], strict=True)},
        )

    async def circuits(self) -> dict[str, Circuit]:
        """Every open circuit, by namespace/endpoint. Raises StoreUnavailable."""
        return circuits_of(pairs_of(await self.scripts.command("HGETALL", keys.CIRCUITS)))

    async def probe(self, namespace: str, endpoint: str, token: str, hold_ms: int) -> tuple[bool, int]:
        """
        Take the probe of a circuit, for *hold_ms*: (whether it is the caller's, until when to wait otherwise: ms by
        Redis' clock, 0 when the circuit is closed). Raises StoreUnavailable.
        """
        reply = await self.scripts.call(0, "probe", field_of(namespace, endpoint), token, hold_ms)
        self.clock.hear(reply[0])
        return bool(reply[2]), int(reply[1])

    async def mend(self, namespace: str, endpoint: str) -> bool:
        """Close the circuit and forget the failures; whether it was open. Raises StoreUnavailable."""
        return bool(await self.scripts.call(0, "mend", field_of(namespace, endpoint)))

    async def health(self, namespace: str) -> dict[str, Health]:
        """Of every endpoint of *namespace* that was called lately, by its name. Raises StoreUnavailable."""
        start, now_ms = f"{namespace}/", self.clock.now_ms()
        found = pairs_of(await self.scripts.command("HGETALL", keys.CALLS))
        named = {name.decode(): text for name, text in found}
        return {
            name.removeprefix(start): health_of(orjson.loads(text), now_ms)
            for name, text in sorted(named.items())
            if name.startswith(start)
        }

    async def one(self, namespace: str, endpoint: str) -> tuple[Health, Circuit | None]:
        """The health of *endpoint*, and its circuit unless that is closed. Raises StoreUnavailable."""
        name = field_of(namespace, endpoint)
        counted, circuit = await asyncio.gather(
            self.scripts.command("HGET", keys.CALLS, name), self.scripts.command("HGET", keys.CIRCUITS, name)
        )
        health = health_of(orjson.loads(counted), self.clock.now_ms()) if counted else Health()
        return health, msgspec.json.decode(circuit, type=Circuit, strict=False) if circuit else None


def full(report: Report) -> dict[str, Any]:
    """*report* with all fields that calls.lua counts on."""
    told: dict[str, Any] = msgspec.to_builtins(report)
    return {"succeeded": 0, "refused": 0, "failed": 0, "streak": 0, "times": {}, **told}


def circuits_of(pairs: Any) -> dict[str, Circuit]:
    return {name.decode(): msgspec.json.decode(text, type=Circuit, strict=False) for name, text in pairs}


def health_of(known: Mapping[str, Any], now_ms: int) -> Health:
    """What calls.lua counted, as it stands at *now_ms*."""
    health = Health(error=known.get("error"))
    health.succeeded_ms, health.failed_ms = known.get("succeeded_ms"), known.get("failed_ms")
    health.failing_ms = known.get("failing_ms")
    health.flying = sum(one[0] for one in known["flying"].values() if now_ms - one[1] < SILENT_MS)
    for name, age_ms in (("lately", 1_200_000), ("before", 600_000)):
        window = known.get(name)
        if window and now_ms - known.get("window_ms", 0) < age_ms:
            health.succeeded += window["succeeded"]
            health.refused += window["refused"]
            health.failed += window["failed"]
            for step, many in window["times"].items():
                health.times[int(step)] = health.times.get(int(step), 0) + many
    return health
