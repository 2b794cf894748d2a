"""
`/v1/flows`, keys whose tasks are limited together, and `/v1/queues/{queue}/groups`, groups that take turns.

The fact to know: limits and counts live where the tasks of a key live, so that a change holds from the next lease on.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.given import body_of
from service.api.queues import named
from service.api.runtime import Asked
from service.errors import InvalidQuery, InvalidSubmission, NotFound
from service.flow import OF_RATE, limit_faults, with_whole_limits
from service.store.flows import FlowState
from service.submission import counted, shortened
from service.task import rfc3339, stored_queue

KEY, GROUP = re.compile(r"[A-Za-z0-9._:@-]{1,128}"), re.compile(r"[A-Za-z0-9._:@-]{1,64}")
WHAT = "the change"


# ---------------------------------------------------------------- keys


async def list_flows(asked: Asked) -> Response:
    """`GET /v1/flows`"""
    runtime, limit, cursor = asked.runtime, asked.query["limit"], asked.query.get("cursor", "")
    after = cursor.removeprefix("key:")
    if cursor and not (cursor.startswith("key:") and KEY.fullmatch(after)):
        fault = {"parameter": "cursor", "detail": "use next_cursor of a page of this list"}
        raise InvalidQuery("the cursor is not of this list", errors=[fault])
    store = runtime.require_store()
    found = await runtime.within(store.tasks.flows.page(store.shards, runtime.namespace, limit + 1, after))
    now_ms = store.tasks.clock.now_ms()
    page = found[:limit]
    return listed([shown(one, now_ms) for one in page], f"key:{page[-1].key}" if len(found) > limit else None)


async def get_flow(asked: Asked) -> Response:
    """`GET /v1/flows/{key}`"""
    return json_answer(await state_of(asked))


async def update_flow(asked: Asked) -> Response:
    """`PATCH /v1/flows/{key}`"""
    runtime, key = asked.runtime, asked.path["key"]
    given = await body_of(asked, "FlowPatch", WHAT)
    check_key(key)
    store = runtime.require_store()
    before = await runtime.within(store.tasks.flows.read(store.shards, runtime.namespace, key))
    rate = given.get("rate", before.rate if before else None)
    if faults := list(limit_faults({**given, "rate": rate})):
        raise InvalidSubmission(counted(faults, WHAT), errors=faults)
    with_whole_limits(given)
    if rate is None:
        given |= dict.fromkeys(OF_RATE)
    await runtime.within(store.tasks.flows.change(store.shards, runtime.namespace, key, given))
    return json_answer(await state_of(asked))


async def reset_flow(asked: Asked) -> Response:
    """`POST /v1/flows/{key}/reset`"""
    await state_of(asked)
    runtime, store = asked.runtime, asked.runtime.require_store()
    await runtime.within(store.tasks.flows.reset(store.shards, runtime.namespace, asked.path["key"]))
    return json_answer(await state_of(asked))


async def state_of(asked: Asked) -> dict[str, Any]:
    """The contract's `FlowState`. Raises NotFound."""
    runtime, key = asked.runtime, asked.path["key"]
    check_key(key)
    store = runtime.require_store()
    found = await runtime.within(store.tasks.flows.read(store.shards, runtime.namespace, key))
    if found is None:
        raise NotFound(f'nothing is known of the flow key "{key}"; GET /v1/flows lists those that there are')
    return shown(found, store.tasks.clock.now_ms())


def check_key(key: str) -> None:
    """Raises NotFound for what cannot be a key."""
    if not KEY.fullmatch(key):
        raise NotFound(f'"{shortened(key)}" cannot be a flow key: letters, digits and ._:@- up to 128')


def shown(flow: FlowState, now_ms: int) -> dict[str, Any]:
    """The contract's `FlowState`."""
    has_rate, next_ms = flow.rate is not None, flow.next_ms(now_ms)
    return {
        "key": flow.key,
        "concurrency": flow.concurrency,
        "rate": flow.rate,
        "period_seconds": flow.period_ms / 1000 if has_rate else None,
        "burst": flow.burst if has_rate else None,
        "paused": flow.is_paused,
        "pinned": flow.is_pinned,
        "running": flow.running,
        "waiting": flow.waiting,
        "next_at": rfc3339(next_ms) if next_ms is not None else None,
    }


# ---------------------------------------------------------------- groups


async def list_groups(asked: Asked) -> Response:
    """`GET /v1/queues/{queue}/groups`"""
    return listed([group_shown(name, *one) for name, one in (await groups_of(asked)).items()])


async def update_group(asked: Asked) -> Response:
    """`PATCH /v1/queues/{queue}/groups/{group}`"""
    runtime, group = asked.runtime, asked.path["group"]
    given = await body_of(asked, "GroupPatch", WHAT)
    queue = named(asked)
    if not GROUP.fullmatch(group):
        raise NotFound(f'"{shortened(group)}" cannot be the name of a group: letters, digits and ._:@- up to 64')
    store = runtime.require_store()
    if "weight" in given:
        weight = 1 if given["weight"] is None else given["weight"]
        stored = stored_queue(runtime.namespace, queue)
        await runtime.within(store.tasks.flows.weigh(store.shards, stored, group, weight))
    tasks, weight = (await groups_of(asked)).get(group, (0, 1))
    return json_answer(group_shown(group, tasks, weight))


async def groups_of(asked: Asked) -> dict[str, tuple[int, float]]:
    """The groups of the queue by name: tasks and weight."""
    runtime, store = asked.runtime, asked.runtime.require_store()
    stored = stored_queue(runtime.namespace, named(asked))
    return await runtime.within(store.tasks.flows.groups(store.shards, stored))


def group_shown(name: str, tasks: int, weight: float) -> dict[str, Any]:
    """The contract's `Group`."""
    return {"name": name, "weight": weight, "tasks": tasks}
