"""
`/livez`, `/readyz`, and the contract as it is served.

The fact to know: /livez never asks the store, so that an outage of Redis restarts no process.
"""

from __future__ import annotations

from functools import cache

import orjson
from starlette.responses import Response

from service.api.answers import json_answer
from service.api.runtime import RETRY_AFTER, Asked
from service.api.typed_contract import contract_with
from service.contract import contract, contract_text
from service.errors import StoreUnavailable
from service.store.workers import all_for


async def get_liveness(_: Asked) -> Response:
    return json_answer({"status": "ok"})


async def get_readiness(asked: Asked) -> Response:
    checks = {"process": "stopping" if asked.runtime.stopped.done() else "ok", "store": "ok"}
    detail = "this process is stopping"
    try:
        await asked.runtime.within(asked.runtime.require_store().ping())
    except StoreUnavailable as exc:
        checks["store"], detail = "unavailable", exc.detail
    if set(checks.values()) != {"ok"}:
        raise StoreUnavailable(detail, headers=RETRY_AFTER, checks=checks)
    # It reads, and takes results in, all the same: who balances load gains nothing by looking elsewhere.
    checks["memory"] = "full" if asked.runtime.store.memory.is_full() else "ok"
    return json_answer({"status": "ok", "checks": checks})


@cache
def contract_json() -> bytes:
    return orjson.dumps(contract())


async def get_contract_json(asked: Asked) -> Response:
    """`GET /openapi.json`; the handlers of the caller's namespace with `handlers=live`."""
    if "handlers" not in asked.query:
        return Response(contract_json(), media_type="application/json")
    runtime = asked.runtime
    published = await runtime.within(runtime.require_store().workers.published())
    return json_answer(contract_with(list(all_for(published, runtime.namespace).values())))


async def get_contract_yaml(_: Asked) -> Response:
    return Response(contract_text(), media_type="application/yaml")
