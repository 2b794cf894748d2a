"""
`GET /v1/queues` and `GET /v1/queues/{queue}`.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.runtime import Asked, Runtime
from service.errors import NotFound
from service.submission import shortened


async def queues_of(runtime: Runtime) -> list[dict[str, Any]]:
    """The contract's `Queue`s of the namespace, by name."""
    found = await runtime.within(runtime.require_store().queues.list(runtime.namespace))
    return [{name: value for name, value in one.items() if name != "namespace"} for one in found]


async def list_queues(asked: Asked) -> Response:
    return listed(await queues_of(asked.runtime))


async def get_queue(asked: Asked) -> Response:
    wanted = asked.path["queue"]
    for queue in await queues_of(asked.runtime):
        if queue["name"] == wanted:
            return json_answer(queue)
    raise NotFound(f'there is no queue "{shortened(wanted)}"; GET /v1/queues lists those that there are')
