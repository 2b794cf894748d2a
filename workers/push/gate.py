"""
Whether an endpoint may be called now: not while it is disabled or its circuit is open, nor beyond its places.

One `Gate` for each worker process. It counts what came of calls in memory and tells Redis once a second, so that a call
costs no round trip. The fact to know: what one process found out others know within two seconds; which one probes
an open circuit is decided by Redis.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any

from service.endpoint import endpoint_called_by
from service.errors import TaskpostError
from service.outcome import Accepted, Deferred, Failed, Outcome, PutOff, failed
from service.settings import Settings
from service.store import Store
from service.store.alerts import alert
from service.store.endpoints import EndpointBook
from service.store.fields import field_of
from service.store.traffic import Circuit, Report
from service.task import Leased, rfc3339
from workers.push.fresh import Fresh
from workers.push.spot import Spot
from workers.push.verdict import error_of, verdict_of

log = logging.getLogger("taskpost.worker")

LOOK_SECONDS = 0.2
TELL_SECONDS = 1.0
STILL_SECONDS = 5.0  # calls that last are told again after so long
LINE_SECONDS = 0.1  # how long a task may wait for a place where it is
FORGET_SECONDS = 600.0
MOST_REPORTS = 100  # a call
SPARE = 10  # one slot of so many is left to others, however fast an endpoint is
LONGEST_PAUSES = 60
PROBE_SECONDS = 60.0
PROBED_SECONDS = 1.0  # how long others wait for a probe that is under way


class Visit:
    """A call that may be made; `leave` it with its outcome, None when it was broken off."""

    __slots__ = ("gate", "is_test", "probe", "spot", "ticket")

    def __init__(self, gate: Gate, spot: Spot, probe: str, is_test: bool) -> None:
        self.gate, self.spot, self.probe, self.is_test = gate, spot, probe, is_test
        self.ticket = spot.begin(monotonic())

    def leave(self, outcome: Outcome | Accepted | None) -> None:
        spot, gate = self.spot, self.gate
        seconds = spot.end(self.ticket, monotonic())
        verdict = verdict_of(outcome)
        if verdict == "badly":
            spot.failed(error_of(outcome), seconds)
            if spot.streak == gate.failures_of(spot):
                gate.urgent.set()
        elif verdict:
            spot.answered(is_good=verdict == "well", seconds=seconds)
        if self.probe:
            spot.counted.probe, spot.counted.probed = self.probe, "badly" if verdict == "badly" else verdict and "well"
            gate.urgent.set()
        elif self.is_test and verdict in ("well", "refused"):
            spot.counted.ends = True
            gate.urgent.set()
        gate.stirred.set()


class Gate:
    """*slots* answers how many URLs this process calls at once."""

    def __init__(self, store: Store, settings: Settings, slots: Callable[[], int]) -> None:
        self.store, self.settings, self.slots = store, settings, slots
        self.process, self.number = os.urandom(6).hex(), 0
        self.book = EndpointBook(store.endpoint_settings)
        self.circuits: dict[str, Circuit] = {}
        self.spots: dict[str, Spot] = {}
        self.fresh = Fresh(self.read, "the endpoints that may be called")
        self.looked_at, self.fast = 0.0, 1
        self.stirred, self.urgent = asyncio.Event(), asyncio.Event()
        self.untold: list[Report] = []
        self.in_line = 0

    # ------------------------------------------------------------ a call

    async def enter(
        self, task: Leased, options: Mapping[str, Any], now_ms: int
    ) -> Visit | Failed | Deferred | PutOff | None:
        """A visit when the endpoint may be called, else what becomes of the attempt; None for a URL that names none."""
        submission = task.submission
        try:
            endpoint = endpoint_called_by(submission["url"].partition("?")[0])
        except ValueError:
            return None
        with suppress(TaskpostError):  # never read: what is not known keeps nobody back
            await self.fresh.get()
        now, name = monotonic(), field_of(task.namespace, endpoint)
        spot = self.spots.get(name)
        if spot is None:
            spot = self.spots[name] = Spot(task.namespace, endpoint, self.setting(name, "concurrency") or self.fast)
        if now - self.looked_at > LOOK_SECONDS:
            self.look(now)
        if submission.get("endpoint_test"):
            return Visit(self, spot, "", is_test=True)
        if off := self.setting(name, "disabled"):
            reason = f"{endpoint} is disabled since {rfc3339(off['at_ms'])}: {off['reason']}"
            return failed("EndpointDisabled", reason, retry=False)
        if name in self.circuits:
            probe = await self.ask_for_probe(spot, name, options)
            if not probe and name in self.circuits:
                return self.kept_back(task, spot, self.circuits[name], options, now_ms)
            if probe:
                return Visit(self, spot, probe, is_test=False)
        if spot.flying >= spot.limit and not await self.stand_in_line(spot):
            return PutOff(spot.next_place(monotonic(), random.random))
        return Visit(self, spot, "", is_test=False)

    async def ask_for_probe(self, spot: Spot, name: str, options: Mapping[str, Any]) -> str:
        """The token of the probe when this task's call is it, else empty. Asks Redis only when it may be."""
        circuit, now_ms = self.circuits[name], self.store.tasks.clock.now_ms()
        if spot.is_asking or now_ms < circuit.until_ms:
            return ""
        spot.is_asking = True
        token = os.urandom(8).hex()
        hold_ms = int((min(options["timeout_seconds"], PROBE_SECONDS) + LINE_SECONDS) * 1000) + 1000
        try:
            is_ours, until_ms = await self.store.traffic.probe(spot.namespace, spot.endpoint, token, hold_ms)
        except TaskpostError:
            return ""
        finally:
            spot.is_asking = False
        if not until_ms:
            self.circuits.pop(name, None)
        elif not is_ours:
            circuit.until_ms = min(until_ms, self.store.tasks.clock.now_ms() + int(PROBED_SECONDS * 1000))
        else:
            circuit.until_ms = max(circuit.until_ms, now_ms + int(PROBED_SECONDS * 1000))
        return token if is_ours else ""

    def kept_back(
        self, task: Leased, spot: Spot, circuit: Circuit, options: Mapping[str, Any], now_ms: int
    ) -> Deferred:
        """The task comes back when the circuit may be closed; within the time it has."""
        now = monotonic()
        opens_at = now + max(circuit.until_ms - self.store.tasks.clock.now_ms(), 0) / 1000
        seconds = spot.place_behind(now, opens_at, random.random)
        left = (task.due_ms - now_ms) / 1000 + options["retry_for_seconds"]
        reason = (
            f"{spot.endpoint} is not called for now, since {rfc3339(circuit.opened_ms)}: {circuit.reason}"
        )
        return Deferred(max(min(seconds, left), 0.001), reason, kind="CircuitOpen")

    async def stand_in_line(self, spot: Spot) -> bool:
        """Wait for a place for a moment, where that may help and few do; whether there is one."""
        if spot.is_slow or self.in_line >= max(1, self.slots() // SPARE):
            return False
        place = asyncio.get_running_loop().create_future()
        spot.waiting.append(place)
        self.in_line += 1
        try:
            await asyncio.wait((place,), timeout=LINE_SECONDS)
        finally:
            self.in_line -= 1
            has_place = place.done()
            place.cancel()
        return has_place and spot.flying < spot.limit

    # ------------------------------------------------------------ places

    def look(self, now: float) -> None:
        """Give each endpoint its places: a slow one its share, several what leaves a part free, others nearly all."""
        self.looked_at, slots, slow = now, self.slots(), 0
        for spot in self.spots.values():
            spot.look(now)
            slow += spot.is_slow and bool(spot.begun)
        share = self.settings.endpoint_share
        self.fast = slots if share >= 1 else max(slots - max(slots // SPARE, 1), 1)
        weight = share / (1 - share) if share < 1 else 0
        each = max(int(slots * weight / (max(slow, 1) * weight + 1)), 1) if share < 1 else slots
        for name, spot in self.spots.items():
            spot.limit = self.setting(name, "concurrency") or (each if spot.is_slow else self.fast)

    def setting(self, name: str, what: str) -> Any:
        return self.book.documents.get(name, {}).get(what)

    def failures_of(self, spot: Spot) -> int:
        """How many failures in a row open its circuit; 0: none do."""
        own = self.setting(field_of(spot.namespace, spot.endpoint), "breaker_failures")
        return self.settings.breaker_failures if own is None else int(own)

    async def read(self) -> bool:
        """What all processes know: settings, and open circuits."""
        await self.book.renew()
        self.hear(await self.store.traffic.circuits())
        return True

    def hear(self, circuits: dict[str, Circuit]) -> None:
        for name in circuits.keys() - self.circuits.keys():
            log.warning("%s is not called for now: %s", name.partition("/")[2], circuits[name].reason)
        for name in self.circuits.keys() - circuits.keys():
            log.info("%s is called again", name.partition("/")[2])
        self.circuits = circuits

    # ------------------------------------------------------------ telling

    async def keep(self) -> None:
        """Tell what is counted, once a second while there is anything to tell."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(STILL_SECONDS):
                    await self.stirred.wait()
            self.stirred.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TELL_SECONDS):
                    await self.urgent.wait()
            self.urgent.clear()
            try:
                await self.tell()
            except TaskpostError as exc:
                log.warning("how endpoints answer could not be told, and will be: %s", exc)
                self.stirred.set()

    async def tell(self) -> None:
        """Tell what is new. Raises StoreUnavailable, StoreFull: it is told by the next call."""
        while reports := self.untold or self.take_reports():
            if reports is not self.untold:
                self.untold, self.number = reports, self.number + 1
            heard = await self.store.traffic.tell(self.process, self.number, reports)
            self.untold = []
            self.hear(heard.circuits)
            for name, since_ms in heard.failing.items():
                await self.consider(name, since_ms)

    def take_reports(self) -> list[Report]:
        now = monotonic()
        reports: list[Report] = []
        for name, spot in list(self.spots.items()):
            if len(reports) == MOST_REPORTS:
                break
            if spot.has_news or (spot.begun and now - spot.told_at >= STILL_SECONDS):
                ratio = self.setting(name, "breaker_ratio")
                seconds = self.settings.breaker_seconds
                reports.append(spot.report(
                    now, self.failures_of(spot), self.settings.breaker_ratio if ratio is None else ratio,
                    seconds, seconds * LONGEST_PAUSES,
                ))  # fmt: skip
            elif not spot.begun and not spot.waiting and now - spot.used_at > FORGET_SECONDS:
                del self.spots[name]
        return reports

    async def consider(self, name: str, since_ms: int) -> None:
        """Disable an endpoint that has failed for long enough; the operator is told first, lest it is forgotten."""
        now_ms, limit_ms = self.store.tasks.clock.now_ms(), int(self.settings.endpoint_disable_seconds * 1000)
        if not limit_ms or now_ms - since_ms < limit_ms or self.setting(name, "disabled"):
            return
        namespace, _, endpoint = name.partition("/")
        health, _ = await self.store.traffic.one(namespace, endpoint)
        reason = f"every call has failed since {rfc3339(since_ms)}; the last error was {health.error}"
        told = {"endpoint": endpoint, "failing_since": rfc3339(since_ms), "error": health.error, "reason": reason}
        await alert(self.store.tasks, namespace, "endpoint.disabled", f"{endpoint} {since_ms}", told)
        off = {"at_ms": now_ms, "by": "failures", "reason": reason}
        await self.store.endpoint_settings.put(namespace, endpoint, "disabled", off)
        log.warning("%s is disabled: %s", endpoint, reason)
        await self.book.renew()
