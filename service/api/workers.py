"""
`GET /v1/workers` and `GET /v1/handlers`: who runs the tasks, and what they know to do.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from service.api.answers import listed, with_times
from service.api.runtime import Asked, Runtime


async def live_workers(runtime: Runtime) -> list[dict[str, Any]]:
    store = runtime.require_store()
    return await runtime.within(store.workers.live(store.tasks.clock.now_ms()))


async def list_workers(asked: Asked) -> Response:
    return listed([with_times(one) for one in await live_workers(asked.runtime)])


async def list_handlers(asked: Asked) -> Response:
    published = await asked.runtime.within(asked.runtime.require_store().workers.published())
    named = [name for worker in await live_workers(asked.runtime) for name in set(worker["handlers"])]
    return listed(
        [
            {"workers": named.count(name), **with_times(handler)}
            for (namespace, name), handler in sorted(published.items())
            if namespace == asked.runtime.namespace
        ]
    )
