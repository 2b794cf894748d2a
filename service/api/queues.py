"""
`/v1/queues`: what waits in queues, and their settings.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.given import body_of, faults_of, merge_patch
from service.api.runtime import Asked, Runtime
from service.errors import InvalidSubmission, NotFound
from service.submission import Fault, call_faults, counted, shortened, url_faults

QUEUE = re.compile(r"[A-Za-z0-9._-]{1,64}")


async def queues_of(runtime: Runtime) -> list[dict[str, Any]]:
    """The contract's `Queue`s of the namespace, by name: those with tasks, and those with settings."""
    store = runtime.require_store()
    found, settings = await runtime.within(
        asyncio.gather(store.queues.list(runtime.namespace), store.queue_settings.all_of(runtime.namespace))
    )
    counted = {one["name"]: {name: value for name, value in one.items() if name != "namespace"} for one in found}
    empty = {"queued": 0, "scheduled": 0, "running": 0, "oldest_seconds": None}
    return [
        {**counted.get(name, {"name": name, **empty}), "settings": settings.get(name, {})}
        for name in sorted({*counted, *settings})
    ]


async def list_queues(asked: Asked) -> Response:
    return listed(await queues_of(asked.runtime))


async def update_queue(asked: Asked) -> Response:
    """`PATCH /v1/queues/{queue}` (RFC 7396)"""
    runtime, queue = asked.runtime, asked.path["queue"]
    given = await body_of(asked, "QueuePatch", "the change")
    store = runtime.require_store()
    before = await runtime.within(store.queue_settings.read(runtime.namespace, queue))
    wanted = merge_patch(before, given)
    faults = faults_of(wanted, "QueueSettings", ()) or faults_of_settings(wanted, runtime)
    if not QUEUE.fullmatch(queue):
        raise NotFound(f'"{shortened(queue)}" cannot be the name of a queue: letters, digits and ._- up to 64')
    if faults:
        raise InvalidSubmission(counted(faults, "the change"), errors=faults)
    changed = {name: wanted.get(name) for name in given}
    await runtime.within(store.queue_settings.put_all(runtime.namespace, queue, changed))
    await runtime.within(store.queue_book.renew())
    return await get_queue(asked)


def faults_of_settings(given: dict[str, Any], runtime: Runtime) -> list[Fault]:
    """What is wrong with settings that their schema takes."""
    callback = given.get("callback")
    if callback is None:
        return []
    faults = list(url_faults(callback["url"], "/callback/url", runtime.rules))
    return [*faults, *call_faults(callback, "/callback", runtime.settings)]


async def get_queue(asked: Asked) -> Response:
    wanted = asked.path["queue"]
    for queue in await queues_of(asked.runtime):
        if queue["name"] == wanted:
            return json_answer(queue)
    raise NotFound(f'there is no queue "{shortened(wanted)}"; GET /v1/queues lists those that there are')
