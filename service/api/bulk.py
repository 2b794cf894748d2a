"""
`/v1/bulk`: work on all tasks that a filter means; counted, begun, watched, aborted. The scheduler carries it out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.given import body_of
from service.api.queues import named
from service.api.runtime import Asked
from service.bulk import ABORTED, STATES, Bulk, query_of, shown
from service.due import due_of, time_faults
from service.errors import BulkNotFound, InvalidSubmission, TooManyBulks
from service.ids import encode_id, new_ids
from service.search import Query
from service.store.bulks import MOST_RUNNING
from service.submission import Fault, counted, together_faults, url_faults
from service.task import Snapshot

log = logging.getLogger("taskpost.api")

COUNT_SECONDS = 1.2
COUNTED_AT_ONCE = 500
SAMPLE = 10
REQUESTS = {
    "cancel": "BulkCancel",
    "replay": "BulkReplay",
    "reschedule": "BulkReschedule",
    "priority": "BulkPriority",
    "delete": "BulkDelete",
}


def begin(action: str) -> Callable[[Asked], Awaitable[Response]]:
    """`POST /v1/bulk/{action}`"""

    async def endpoint(asked: Asked) -> Response:
        given = await body_of(asked, REQUESTS[action], "the request")
        runtime = asked.runtime
        store = runtime.require_store()
        now_ms = store.tasks.clock.now_ms()
        if faults := faults_of(action, given, now_ms, asked):
            raise InvalidSubmission(counted(faults, "the request"), errors=faults)
        if given.get("dry_run"):
            query = query_of(action, runtime.namespace, given["filter"])
            return json_answer(await count(asked, action, given["filter"], query))
        return await begun(asked, action, given["filter"], options_of(given, now_ms))

    return endpoint


async def purge_queue(asked: Asked) -> Response:
    """`POST /v1/queues/{queue}/purge`: cancels what waits in it."""
    given = await body_of(asked, "QueuePurge", "the purge", is_optional=True)
    filters = {"queue": named(asked), "state": "queued,scheduled"}
    if given.get("dry_run"):
        query = query_of("cancel", asked.runtime.namespace, filters)
        return json_answer(await count(asked, "cancel", filters, query))
    options = {"rate_per_second": given["rate_per_second"]} if "rate_per_second" in given else {}
    return await begun(asked, "cancel", filters, options)


async def begun(asked: Asked, action: str, filters: dict[str, str], options: dict[str, Any]) -> Response:
    """The work, which a scheduler takes up within a second. Raises TooManyBulks."""
    runtime, store = asked.runtime, asked.runtime.require_store()
    now_ms = store.tasks.clock.now_ms()
    [id_] = new_ids(0, 1, now_ms)
    bulk = Bulk(encode_id(id_), action, runtime.namespace, filters, options, now_ms)
    bulk.to_examine = await runtime.within(store.bulks.weigh(bulk.query))
    if not await runtime.within(store.bulks.begin(bulk)):
        raise TooManyBulks(f"{MOST_RUNNING} are under way; wait for one, or abort one")
    log.info("bulk %s %s: begun; filter %s, options %s", action, bulk.id, bulk.filter, options)
    response = json_answer(shown(bulk), 202)
    response.headers["Location"] = f"/v1/bulk/{bulk.id}"
    return response


def faults_of(action: str, given: dict[str, Any], now_ms: int, asked: Asked) -> list[Fault]:
    """What the schema lets through, and cannot be carried out."""
    faults: list[Fault] = []
    filters, edits = given["filter"], given.get("edits", {})
    if not filters:
        detail = 'needs at least one filter; {"state": …} with all that can be meant is one'
        faults.append({"pointer": "/filter", "detail": detail})
    for state in filters.get("state", "").split(",") if "state" in filters else ():
        if state not in STATES[action]:
            allowed = ", ".join(STATES[action])
            detail = f"{state} tasks are none for {action}, which takes {allowed}"
            faults.append({"pointer": "/filter/state", "detail": detail})
    if action == "reschedule":
        if "run_at" not in given and "delay_seconds" not in given:
            faults.append({"pointer": "", "detail": "needs run_at or delay_seconds"})
        else:
            faults += [*together_faults({"name": "", **given}), *time_faults(given, now_ms)]
    if "url" in edits:
        faults += url_faults(edits["url"], "/edits/url", asked.runtime.rules)
    if "url" in edits and "args" in edits:
        faults.append({"pointer": "/edits/args", "detail": "not together with `url`: tasks have one of the two"})
    return faults


def options_of(given: dict[str, Any], now_ms: int) -> dict[str, Any]:
    """What is kept of a request; a time that is relative counts from now."""
    kept: dict[str, Any] = {name: given[name] for name in ("rate_per_second", "priority", "edits") if name in given}
    if "canary" in given:
        kept["canary"] = {"max_failures": 0, **given["canary"]}
    if "run_at" in given:
        kept["due_ms"] = due_of(given["run_at"])[0]
    if "delay_seconds" in given:
        kept["due_ms"] = now_ms + int(given["delay_seconds"] * 1000)
    return kept


async def count(asked: Asked, action: str, filters: dict[str, str], query: Query) -> dict[str, Any]:
    """How many tasks are meant, as far as can be counted in a second, and some of them."""
    store, runtime = asked.runtime.require_store(), asked.runtime
    found, examined, is_exact = 0, 0, True
    sample: list[Snapshot] = []
    to_examine = await runtime.within(store.bulks.weigh(query))
    deadline = asyncio.get_running_loop().time() + COUNT_SECONDS
    source = store.pages.source(query, None)
    while is_exact:
        ids: list[bytes] = []
        while len(ids) < COUNTED_AT_ONCE and (candidate := await anext(source, None)) is not None:
            ids.append(candidate[0])
        if not ids:
            break
        tasks = await runtime.within(store.tasks.read(ids))
        wanted = [task for task in tasks if task is not None and query.takes(task)]
        found, examined = found + len(wanted), examined + len(ids)
        sample += wanted[: SAMPLE - len(sample)]
        is_exact = asyncio.get_running_loop().time() < deadline
    return {
        "action": action,
        "filter": filters,
        "matched": found,
        "is_exact": is_exact,
        "examined": examined,
        "to_examine": max(to_examine, examined),
        "sample": [runtime.show(one) for one in sample],
    }


async def list_bulk(asked: Asked) -> Response:
    """`GET /v1/bulk`"""
    runtime = asked.runtime
    found = await runtime.within(runtime.require_store().bulks.known())
    return listed([shown(one) for one in found if one.namespace == runtime.namespace])


async def get_bulk(asked: Asked) -> Response:
    """`GET /v1/bulk/{id}`"""
    return json_answer(shown(await known(asked)))


async def abort_bulk(asked: Asked) -> Response:
    """`DELETE /v1/bulk/{id}`"""
    bulk, store = await known(asked), asked.runtime.require_store()
    ended = store.bulks.end(bulk.id, ABORTED, "by request", store.tasks.clock.now_ms())
    found = await asked.runtime.within(ended) or bulk
    if bulk.is_running:
        log.info("bulk %s %s: aborted by request; %d tasks done", bulk.action, bulk.id, found.done)
    return json_answer(shown(found))


async def known(asked: Asked) -> Bulk:
    """The one that a request names. Raises BulkNotFound."""
    id_ = asked.path["id"]
    found = await asked.runtime.within(asked.runtime.require_store().bulks.read(id_))
    if found is None or found.namespace != asked.runtime.namespace:
        raise BulkNotFound(f"there is no work {id_[:40]} on many tasks; the last 100 are kept")
    return found
