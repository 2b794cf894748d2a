"""
`GET /v1/stats`, what of it was slow, and `GET /v1/overview`: what tasks did in a time, and how everything is now.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from starlette.responses import Response

from service import __version__
from service.api.answers import json_answer
from service.api.runtime import Asked
from service.api.workers import live_workers
from service.called import TIMES
from service.errors import InvalidQuery
from service.figures import Figures, errors_of, name_shown
from service.ids import encode_id
from service.slow import SlowAttempt
from service.store.queues import FIELDS
from service.store.statistics import LEVELS, MINUTE_MS, History, Scope, Step, least_step
from service.submission import Fault, counted
from service.task import epoch_ms, rfc3339

HOUR_SECONDS = 3600
KEPT_MINUTES = LEVELS[-1][1]
MOST_STEPS = 200
QUEUES_SHOWN = 100
EMPTY = {"queued": 0, "scheduled": 0, "running": 0, "oldest_seconds": None}


@dataclass(frozen=True, slots=True)
class Span:
    """A time in whole steps, all three in minutes."""

    begin: int
    end: int
    step: int


def span_of(query: Mapping[str, Any], now_ms: int) -> Span:
    """
    The time that *query* asks for, widened to whole steps of what is kept of it.

    Raises:
        InvalidQuery: with every fault.
    """
    faults: list[Fault] = []
    times: dict[str, int] = {}
    for name in ("from", "to"):
        try:
            times[name] = epoch_ms(query[name]) if name in query else now_ms
        except (ValueError, OverflowError) as exc:
            faults.append({"parameter": name, "detail": f"{exc}"})
    if "from" in query and "last_seconds" in query:
        faults.append({"parameter": "last_seconds", "detail": "goes without `from`: both say where to begin"})
    if query.get("step_seconds", 60) % 60:
        faults.append({"parameter": "step_seconds", "detail": f"{query['step_seconds']} is not a multiple of 60"})
    if not faults:
        end_ms = min(times["to"], now_ms)
        begin_ms = times["from"] if "from" in query else end_ms - query.get("last_seconds", HOUR_SECONDS) * 1000
        begin_ms = max(begin_ms, now_ms - KEPT_MINUTES * MINUTE_MS)
        if begin_ms < end_ms:
            return rounded(begin_ms, end_ms, query.get("step_seconds"), now_ms)
        faults.append({"parameter": "from", "detail": "the time ends before it begins, or is over for a week"})
    raise InvalidQuery(counted(faults, "the query"), errors=faults)


def rounded(begin_ms: int, end_ms: int, step_seconds: int | None, now_ms: int) -> Span:
    begin, end = begin_ms // MINUTE_MS, -(-end_ms // MINUTE_MS)
    step = asked = (step_seconds or 60) // 60
    for _ in LEVELS:  # a longer step begins earlier, of which less may be kept
        least = least_step(begin, now_ms // MINUTE_MS)
        step = -(-asked // least) * least
        begin = begin_ms // MINUTE_MS // step * step
    while step_seconds is None and (end - begin) / step > MOST_STEPS:
        step *= 2
        begin = begin // step * step
    return Span(begin, -(-end // step) * step, step)


async def get_stats(asked: Asked) -> Response:
    runtime, query = asked.runtime, asked.query
    store = runtime.require_store()
    now_ms = store.tasks.clock.now_ms()
    span = span_of(query, now_ms)
    scope = Scope(runtime.namespace, query.get("queue"), query.get("name"))
    history, queues = await runtime.within(
        asyncio.gather(
            store.statistics.read(scope, span.begin, span.end, span.step), store.queues.list(runtime.namespace)
        )
    )
    return json_answer(shown(history, scope, span, query["top"], {one["name"]: one for one in queues}, now_ms))


def shown(
    history: History, scope: Scope, span: Span, top: int, queues: Mapping[str, Mapping[str, Any]], now_ms: int
) -> dict[str, Any]:
    """The contract's `Stats`; *queues* are all that there are now."""
    begin_ms, is_of_name = span.begin * MINUTE_MS, scope.name is not None
    seconds = (min(span.end * MINUTE_MS, now_ms) - begin_ms) / 1000
    by_ended = sorted(history.names.items(), key=lambda one: (-one[1].ended, one[0]))
    failing = [one for one in by_ended if one[1].is_failing]
    failing.sort(key=lambda one: (one[1].counts["F"], one[1].errors.total()), reverse=True)
    names = set(history.queues) | {name for name in queues if scope.queue in (None, name) and not is_of_name}
    listed = sorted(names, key=lambda name: (-busy(history.queues[name]), name))
    return {
        "begins_at": rfc3339(begin_ms),
        "ends_at": rfc3339(span.end * MINUTE_MS),
        "step_seconds": span.step * 60,
        "totals": history.totals.show(seconds, is_of_name=is_of_name),
        "series": [point(one, begin_ms + n * span.step * MINUTE_MS, span, is_of_name, now_ms)
                   for n, one in enumerate(history.steps)],
        "queues": [
            {"name": name, **depths_now(queues.get(name)),
             "figures": history.queues[name].show(seconds, is_of_name=is_of_name)}
            for name in listed[:top]
        ],
        "names": [name_shown(name, figures, seconds) for name, figures in by_ended[:top]],
        "failing": [name_shown(name, figures, seconds) for name, figures in failing[:top]],
        "errors": errors_of(history.totals.errors, top),
    }  # fmt: skip


async def list_slow(asked: Asked) -> Response:
    """`GET /v1/stats/slow`"""
    runtime, query = asked.runtime, asked.query
    store = runtime.require_store()
    span = span_of(query, store.tasks.clock.now_ms())
    found = await runtime.within(store.slow.read(runtime.namespace, span.begin, span.end))
    wanted = [one for one in found if query.get("queue", one.queue) == one.queue
              and query.get("name", one.name) == one.name]  # fmt: skip
    wanted.sort(key=lambda one: (-one.run_ms, -one.ended_ms))
    return json_answer({
        "begins_at": rfc3339(span.begin * MINUTE_MS),
        "ends_at": rfc3339(span.end * MINUTE_MS),
        "items": [slow_shown(one) for one in wanted[: query["top"]]],
    })  # fmt: skip


def slow_shown(one: SlowAttempt) -> dict[str, Any]:
    """The contract's `SlowAttempt`."""
    parts = ("threshold", "run", "wait", "hold", "busy", "report")
    times = {name: getattr(one, f"{name}_ms") for name in parts}
    shown = {
        "task_id": encode_id(one.id),
        **{name: getattr(one, name) for name in ("name", "queue", "attempt", "outcome", "worker")},
        "ended_at": rfc3339(one.ended_ms),
        **{f"{name}_seconds": None if ms is None else round(ms / 1000, 6) for name, ms in times.items()},
    }
    return shown if one.call is None else {**shown, "times": dict(zip(TIMES, one.call, strict=True))}


def busy(figures: Figures) -> int:
    """How much went on in a queue."""
    return figures.ended + figures.counts["N"]


def point(step: Step, begin_ms: int, span: Span, is_of_name: bool, now_ms: int) -> dict[str, Any]:
    """The contract's `StatsPoint`."""
    seconds = (min(begin_ms + span.step * MINUTE_MS, now_ms) - begin_ms) / 1000
    depths = step.depths
    return {
        "begins_at": rfc3339(begin_ms),
        **{word: None if depths is None else depths[letter] for letter, word in FIELDS.items()},
        "figures": step.figures.show(seconds, is_of_name=is_of_name),
    }


def depths_now(queue: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: (queue or EMPTY)[name] for name in EMPTY}


# ---------------------------------------------------------------- overview


async def get_overview(asked: Asked) -> Response:
    runtime = asked.runtime
    store = runtime.require_store()
    queues, workers, condition = await asyncio.gather(
        runtime.within(store.queues.list(runtime.namespace)),
        live_workers(runtime),
        runtime.within(store.condition()),
    )
    redis = asdict(condition)
    warnings = [*redis.pop("warnings"), *lacking(queues, workers)]
    holding = [queue for queue in queues if queue["queued"] or queue["scheduled"] or queue["running"]]
    holding.sort(key=lambda queue: (-(queue["oldest_seconds"] or 0.0), queue["name"]))
    oldest = max((queue["oldest_seconds"] for queue in holding if queue["oldest_seconds"] is not None), default=None)
    return json_answer({
        "version": __version__,
        "shards": store.shards,
        "now_at": rfc3339(store.tasks.clock.now_ms()),
        "tasks": {word: sum(queue[word] for queue in queues) for word in FIELDS.values()} | {"oldest_seconds": oldest},
        "queues": [{"name": queue["name"], **depths_now(queue)} for queue in holding[:QUEUES_SHOWN]],
        "workers": workers_shown(workers),
        "redis": redis,
        "warnings": warnings,
    })  # fmt: skip


def lacking(queues: list[dict[str, Any]], workers: list[dict[str, Any]]) -> list[str]:
    """What tasks wait for in vain, in words: a worker, or one that serves their queue."""
    waiting = [queue["name"] for queue in queues if queue["queued"]]
    if not waiting:
        return []
    if not workers:
        return ["Tasks wait, and no worker is alive. Start one: taskpost worker"]
    if any(not worker["queues"] for worker in workers):
        return []
    served = {queue for worker in workers for queue in worker["queues"]}
    return [
        f"Tasks wait in the queue {queue}, which no live worker serves. Start one: taskpost worker --queues {queue}"
        for queue in waiting
        if queue not in served
    ]


def workers_shown(workers: list[dict[str, Any]]) -> dict[str, Any]:
    slots: Counter[str] = Counter()
    for worker in workers:
        slots.update(worker["slots"])
    return {
        "live": len(workers),
        "quiet": sum(worker.get("state") == "quiet" for worker in workers),
        "slots": dict(slots),
        "running": sum(worker["running"] for worker in workers),
    }
