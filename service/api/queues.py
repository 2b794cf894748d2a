"""
`/v1/queues`: what waits in queues, and their settings: what holds their tasks back, and what applies to those that say
nothing themselves.

Owns that a change takes effect on the settings it was decided on. The fact to know: the settings are written first,
then the gates of the shards are made of them; should this process die in between, a scheduler does it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import orjson
from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.given import body_of, faults_of, merge_patch
from service.api.runtime import Asked, Runtime
from service.api.versions import check_version
from service.errors import InvalidSubmission, NotFound, QueueNotEmpty
from service.submission import Fault, call_faults, counted, shortened, url_faults
from service.task import CALLBACK_QUEUE, rfc3339, stored_queue

QUEUE = re.compile(r"[A-Za-z0-9._-]{1,64}")
WHAT = "the change"
STOPS = ("paused", "draining")  # of the settings, what is told apart: {at_ms, reason, by}
NEEDS = {"period_seconds": "rate", "burst": "rate", "when_full": "max_length"}
WHOLE = ("concurrency", "burst", "retries", "max_length")
OURS = "ended tasks put their callbacks there"
EMPTY = {"queued": 0, "scheduled": 0, "running": 0, "oldest_seconds": None}

Settings = dict[str, Any]


# ---------------------------------------------------------------- reading


async def list_queues(asked: Asked) -> Response:
    """`GET /v1/queues`"""
    store, namespace = asked.runtime.require_store(), asked.runtime.namespace
    found, settings = await asked.runtime.within(
        asyncio.gather(store.queues.list(namespace), store.queue_settings.all_of(namespace))
    )
    counts = {one["name"]: one for one in found}
    names = sorted({*counts, *settings})
    return listed([shown(name, counts.get(name, EMPTY), settings.get(name, {})) for name in names])


async def get_queue(asked: Asked) -> Response:
    """`GET /v1/queues/{queue}`"""
    runtime, name = asked.runtime, named(asked)
    settings = await runtime.within(runtime.require_store().queue_settings.read(runtime.namespace, name))
    return await answer(asked, settings, must_be_known=True)


def named(asked: Asked) -> str:
    """The name of the queue in the path. Raises NotFound for one that no queue can have."""
    name = asked.path["queue"]
    if not QUEUE.fullmatch(name):
        raise NotFound(f'"{shortened(name)}" cannot be the name of a queue: letters, digits and ._- up to 64')
    return name


async def counts_of(runtime: Runtime, name: str) -> dict[str, Any] | None:
    """What waits in a queue; None when nothing has lately."""
    found = await runtime.within(runtime.require_store().queues.list(runtime.namespace))
    return next((one for one in found if one["name"] == name), None)


async def answer(asked: Asked, settings: Settings, *, must_be_known: bool = False) -> Response:
    """The queue with its *settings*, and their version as its ETag. Raises NotFound."""
    name = asked.path["queue"]
    counts = await counts_of(asked.runtime, name)
    if must_be_known and counts is None and not settings:
        raise NotFound(f'there is no queue "{shortened(name)}"; GET /v1/queues lists those that there are')
    response = json_answer(shown(name, counts or EMPTY, settings))
    response.headers["ETag"] = f'"{version_of(settings)}"'
    return response


def version_of(settings: Settings) -> str:
    """Other settings have another version."""
    return blake2b(orjson.dumps(settings, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def shown(name: str, counts: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The contract's `Queue`."""
    queue = {"name": name, **{what: counts[what] for what in EMPTY}}
    for stop in STOPS:
        told = settings.get(stop)
        queue |= {
            stop: told is not None,
            f"{stop}_at": rfc3339(told["at_ms"]) if told else None,
            f"{stop}_reason": told["reason"] if told else None,
            f"{stop}_by": told["by"] if told else None,
        }
    return {**queue, "version": version_of(settings), "settings": visible(settings)}


def visible(settings: Settings) -> Settings:
    """The contract's `QueueSettings`."""
    return {name: value for name, value in settings.items() if name not in STOPS}


async def scale_queue(asked: Asked) -> Response:
    """`GET /v1/queues/{queue}/scale`"""
    runtime, name, query = asked.runtime, named(asked), asked.query
    settings = await runtime.within(runtime.require_store().queue_settings.read(runtime.namespace, name))
    counts = await counts_of(runtime, name) or EMPTY
    wanted = -(-load_of(counts, settings) // query["tasks_per_worker"])
    desired = max(query["min"], min(wanted, query["max"]))
    told = {what: counts[what] for what in ("queued", "running", "oldest_seconds")}
    return json_answer({"name": name, **told, "paused": "paused" in settings, "desired": desired})


def load_of(counts: dict[str, Any], settings: Settings) -> int:
    """How many tasks there is work for now: those that run, and those that its settings let start beside them."""
    waiting = 0 if "paused" in settings else counts["queued"]
    if (most := settings.get("concurrency")) is not None:
        waiting = max(0, min(waiting, most - counts["running"]))
    return int(counts["running"] + waiting)


# ---------------------------------------------------------------- changing


async def update_queue(asked: Asked) -> Response:
    """`PATCH /v1/queues/{queue}` (RFC 7396)"""
    given = await body_of(asked, "QueuePatch", WHAT)
    is_paused = given.pop("paused", None)
    told: dict[str, Any] = {name: given.pop(name) for name in ("reason", "by") if name in given}
    faults = faults_of(told, "QueueStop", ())
    if not is_paused:
        faults += [{"pointer": f"/{name}", "detail": "goes with `paused: true`"} for name in told]

    def change(before: Settings) -> Settings:
        wanted = whole(merge_patch(visible(before), given))
        wrong = [*faults, *faults_of(wanted, "QueueSettings", ())]
        wrong = wrong or faults_of_settings(asked.path["queue"], wanted, asked.runtime)
        if wrong:
            raise InvalidSubmission(counted(wrong, WHAT), errors=wrong)
        stops = {stop: before[stop] for stop in STOPS if stop in before}
        if is_paused is False:
            stops.pop("paused", None)
        elif is_paused:
            stops.setdefault("paused", stop_of(asked.runtime, told))
        return wanted | stops

    return await answer(asked, await changed(asked, change))


async def pause_queue(asked: Asked) -> Response:
    """`POST /v1/queues/{queue}/pause`"""
    return await stopped(asked, "paused", "the pause")


async def drain_queue(asked: Asked) -> Response:
    """`POST /v1/queues/{queue}/drain`"""
    return await stopped(asked, "draining", "the drain")


async def resume_queue(asked: Asked) -> Response:
    """`POST /v1/queues/{queue}/resume`"""
    return await answer(asked, await changed(asked, visible))


async def delete_queue(asked: Asked) -> Response:
    """`DELETE /v1/queues/{queue}`"""
    runtime, name = asked.runtime, asked.path["queue"]
    counts = await counts_of(runtime, name) or EMPTY
    waiting = [f"{counts[what]:,} {what}" for what in ("queued", "scheduled", "running") if counts[what]]
    if waiting:
        told = f"{name} holds {', '.join(waiting)} tasks; purge it, or drain it and wait"
        raise QueueNotEmpty(told)

    def change(before: Settings) -> Settings:
        if not before:
            raise NotFound(f'nothing is set for a queue "{shortened(name)}"')
        return {}

    await changed(asked, change)
    return Response(status_code=204)


async def stopped(asked: Asked, stop: str, what: str) -> Response:
    """Note that the queue is paused, or drained, unless it is so already."""
    told = await body_of(asked, "QueueStop", what, is_optional=True)
    if stop == "draining" and asked.path["queue"] == CALLBACK_QUEUE:
        fault: Fault = {"pointer": "", "detail": f"{CALLBACK_QUEUE} cannot be drained: {OURS}"}
        raise InvalidSubmission(counted([fault], what), errors=[fault])
    note = stop_of(asked.runtime, told)
    return await answer(asked, await changed(asked, lambda before: {stop: note, **before}))


def stop_of(runtime: Runtime, told: dict[str, Any]) -> dict[str, Any]:
    """Who stopped something, when and why."""
    at_ms = runtime.require_store().tasks.clock.now_ms()
    return {"at_ms": at_ms, "reason": told.get("reason"), "by": told.get("by")}


async def changed(asked: Asked, change: Callable[[Settings], Settings]) -> Settings:
    """
    Change the settings of the queue, and let its gates follow: the settings then.

    Raises:
        NotFound: no queue can have that name.
        PreconditionFailed: they are of another version than the request asks for.
    """
    runtime, name = asked.runtime, named(asked)
    store = runtime.require_store()

    def checked(before: Settings) -> Settings:
        check_version(asked, version_of(before), "the queue's settings")
        return change(before)

    settings = await runtime.within(store.queue_settings.change(runtime.namespace, name, checked))
    await runtime.within(store.limits.apply(stored_queue(runtime.namespace, name), settings))
    await runtime.within(store.queue_book.renew())
    return settings


def whole(settings: Settings) -> Settings:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return {
        name: int(value) if name in WHOLE and isinstance(value, float) and value.is_integer() else value
        for name, value in settings.items()
    }


def faults_of_settings(name: str, given: Settings, runtime: Runtime) -> list[Fault]:
    """What is wrong with settings that their schema takes."""
    faults: list[Fault] = [
        {"pointer": f"/{field}", "detail": f"goes with `{other}`, which is not set"}
        for field, other in NEEDS.items()
        if field in given and other not in given
    ]
    if name == CALLBACK_QUEUE and "max_length" in given:
        faults.append({"pointer": "/max_length", "detail": f"not of {CALLBACK_QUEUE}: {OURS}"})
    soft, hard = given.get("soft_timeout_seconds"), given.get("timeout_seconds")
    if soft is not None and hard is not None and soft >= hard:
        detail = f"{soft:g} needs to be less than timeout_seconds, which is {hard:g}"
        faults.append({"pointer": "/soft_timeout_seconds", "detail": detail})
    if (callback := given.get("callback")) is not None:
        faults += url_faults(callback["url"], "/callback/url", runtime.rules)
        faults += call_faults(callback, "/callback", runtime.settings)
    return faults
