"""
`/v1/endpoints`: how the calls of each endpoint go, what is set for it, and whether it is called at all.

An endpoint is known when it was called within the last week, has settings, or has a URL that is disabled; it may be set
up before. The fact to know: what is changed here every worker heeds within two seconds.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response

from service.api.answers import json_answer, listed
from service.api.endpoint_auth import endpoint_in
from service.api.given import body_of
from service.api.runtime import Asked, Runtime
from service.endpoint import endpoint_of
from service.errors import InvalidSubmission, NotFound
from service.packing import pack, with_whole_numbers
from service.store.fields import field_of
from service.store.tasks import New
from service.store.traffic import Circuit, Health
from service.submission import Fault, counted, faults_of
from service.task import CALLBACK_QUEUE, rfc3339

WHAT = "the change"
BY_HAND = "by hand"
TEST_SECONDS = 30
CHANGED = ("concurrency", "breaker_failures", "breaker_ratio")

Document = dict[str, Any]


# ---------------------------------------------------------------- reading


async def list_endpoints(asked: Asked) -> Response:
    """`GET /v1/endpoints`"""
    runtime, store = asked.runtime, asked.runtime.require_store()
    health, circuits, settings, gone = await runtime.within(
        asyncio.gather(
            store.traffic.health(runtime.namespace),
            store.traffic.circuits(),
            store.endpoint_settings.all_of(runtime.namespace),
            store.gone.listed(runtime.namespace, store.tasks.clock.now_ms()),
        )
    )
    urls = by_endpoint(gone)
    return listed(
        [
            shown(
                runtime,
                name,
                health.get(name, Health()),
                circuits.get(field_of(runtime.namespace, name)),
                settings.get(name, {}),
                urls.get(name, {}),
            )
            for name in sorted({*health, *settings, *urls})
        ]
    )


async def get_endpoint(asked: Asked) -> Response:
    """`GET /v1/endpoints/{endpoint}`"""
    return json_answer(await read(asked.runtime, endpoint_in(asked), must_be_known=True))


async def read(runtime: Runtime, name: str, *, must_be_known: bool = False) -> Document:
    """The contract's `Endpoint`. Raises NotFound."""
    store = runtime.require_store()
    (health, circuit), settings, gone = await runtime.within(
        asyncio.gather(
            store.traffic.one(runtime.namespace, name),
            store.endpoint_settings.read(runtime.namespace, name),
            store.gone.listed(runtime.namespace, store.tasks.clock.now_ms()),
        )
    )
    urls = by_endpoint(gone).get(name, {})
    if must_be_known and health == Health() and not settings and not urls:
        raise NotFound(f"nothing is known of the endpoint {name}: it was not called within a week, and nothing is set")
    return shown(runtime, name, health, circuit, settings, urls)


def by_endpoint(gone: dict[str, int]) -> dict[str, dict[str, int]]:
    """The disabled URLs of each endpoint, and when they were."""
    found: dict[str, dict[str, int]] = {}
    for url, at_ms in gone.items():
        try:
            found.setdefault(endpoint_of(url), {})[url] = at_ms
        except ValueError:  # cannot be called any more, by what is known today
            continue
    return found


def shown(
    runtime: Runtime, name: str, health: Health, circuit: Circuit | None, settings: Document, urls: dict[str, int]
) -> Document:
    """The contract's `Endpoint`."""
    off, now_ms = settings.get("disabled"), runtime.store.tasks.clock.now_ms()
    return {
        "name": name,
        "disabled": off is not None,
        "disabled_at": rfc3339(off["at_ms"]) if off else None,
        "disabled_reason": off["reason"] if off else None,
        "disabled_urls": [
            {"url": url, "at": rfc3339(at_ms), "until": rfc3339(at_ms + runtime.store.gone.keep_ms)}
            for url, at_ms in sorted(urls.items())
        ],
        "circuit": state_of(circuit, now_ms),
        "circuit_reason": circuit.reason if circuit else None,
        "circuit_opened_at": rfc3339(circuit.opened_ms) if circuit else None,
        "next_probe_at": rfc3339(max(circuit.until_ms, circuit.probe_ms)) if circuit else None,
        **{name: settings.get(name) for name in CHANGED},
        "has_credentials": "auth" in settings,
        "calls": {"succeeded": health.succeeded, "refused": health.refused, "failed": health.failed},
        "success_rate": health.success_rate,
        "p50_seconds": in_seconds(health.time_ms(0.5)),
        "p95_seconds": in_seconds(health.time_ms(0.95)),
        "in_flight": health.flying,
        "succeeded_at": at(health.succeeded_ms),
        "failed_at": at(health.failed_ms),
        "failing_since": at(health.failing_ms),
        "last_error": health.error,
    }


def state_of(circuit: Circuit | None, now_ms: int) -> str:
    if circuit is None:
        return "closed"
    return "half_open" if circuit.probe and circuit.probe_ms > now_ms else "open"


def in_seconds(ms: float | None) -> float | None:
    return None if ms is None else round(ms / 1000, 4)


def at(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(int(ms))


# ---------------------------------------------------------------- changing


async def update_endpoint(asked: Asked) -> Response:
    """`PATCH /v1/endpoints/{endpoint}`"""
    runtime, name = asked.runtime, endpoint_in(asked)
    given = await body_of(asked, "EndpointChange", WHAT)
    if "reason" in given and not given.get("disabled"):
        refuse({"pointer": "/reason", "detail": "goes with `disabled: true`"}, WHAT)
    changed = {what: whole(what, given[what]) for what in CHANGED if what in given}
    await runtime.within(runtime.require_store().endpoint_settings.put_all(runtime.namespace, name, changed))
    if "disabled" in given:
        await (disable(runtime, name, given.get("reason")) if given["disabled"] else enable(runtime, name))
    return json_answer(await read(runtime, name))


def whole(what: str, value: float | None) -> float | None:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return value if value is None or what == "breaker_ratio" else int(value)


async def disable_endpoint(asked: Asked) -> Response:
    """`POST /v1/endpoints/{endpoint}/disable`"""
    given = await body_of(asked, "EndpointDisabling", "the disabling", is_optional=True)
    name = endpoint_in(asked)
    await disable(asked.runtime, name, given.get("reason"))
    return json_answer(await read(asked.runtime, name))


async def enable_endpoint(asked: Asked) -> Response:
    """`POST /v1/endpoints/{endpoint}/enable`"""
    runtime, name, what = asked.runtime, endpoint_in(asked), "the enabling"
    given = await body_of(asked, "EndpointEnabling", what, is_optional=True)
    url = given.get("url")
    if url is None:
        await enable(runtime, name)
    else:
        try:
            owner = endpoint_of(url)
        except ValueError:
            owner = ""
        if owner != name:
            refuse({"pointer": "/url", "detail": f"is no URL of {name}"}, what)
        await runtime.within(runtime.require_store().gone.enable(runtime.namespace, url))
    return json_answer(await read(runtime, name))


async def disable(runtime: Runtime, name: str, reason: str | None) -> None:
    """Have no call made, from the next seconds on. One that is disabled stays as it was."""
    store = runtime.require_store()
    if "disabled" in await runtime.within(store.endpoint_settings.read(runtime.namespace, name)):
        return
    off = {"at_ms": store.tasks.clock.now_ms(), "by": "operator", "reason": reason or BY_HAND}
    await runtime.within(store.endpoint_settings.put(runtime.namespace, name, "disabled", off))
    await runtime.within(store.endpoint_book.renew())


async def enable(runtime: Runtime, name: str) -> None:
    """Have calls made again, also of URLs that answered 410, and begin to count failures anew."""
    store, namespace = runtime.require_store(), runtime.namespace
    await runtime.within(store.endpoint_settings.put(namespace, name, "disabled", None))
    await runtime.within(store.traffic.mend(namespace, name))
    listed_urls = await runtime.within(store.gone.listed(namespace, store.tasks.clock.now_ms()))
    for url in by_endpoint(listed_urls).get(name, {}):
        await runtime.within(store.gone.enable(namespace, url))
    await runtime.within(store.endpoint_book.renew())


# ---------------------------------------------------------------- trying


async def try_endpoint(asked: Asked) -> Response:
    """`POST /v1/endpoints/{endpoint}/test`"""
    runtime, name, what = asked.runtime, endpoint_in(asked), "the test"
    given = await body_of(asked, "EndpointTest", what, is_optional=True)
    store = runtime.require_store()
    now_ms = store.tasks.clock.now_ms()
    path = given.pop("path", "/")
    submission = {
        "url": f"{name.replace(':', '://', 1)}{path}",
        "timeout_seconds": TEST_SECONDS,
        **given,
        "retries": 0,
        "queue": CALLBACK_QUEUE,
        "tags": ["endpoint-test"],
    }
    if "body" not in given and submission.get("method", "POST") not in ("GET", "HEAD"):
        submission["body"] = {"type": "endpoint.test", "timestamp": rfc3339(now_ms), "data": {"endpoint": name}}
    if faults := faults_of(submission, now_ms, runtime.settings, runtime.rules):
        raise InvalidSubmission(counted(faults, what), errors=faults)
    with_whole_numbers(submission)
    submission["endpoint_test"] = True
    known = runtime.handlers.url
    packed = pack(
        submission, runtime.namespace, queue=known.queue, lane="url", max_crashes=known.max_crashes, now_ms=now_ms
    )
    (taken,) = await runtime.within(store.tasks.submit([New(packed.record)]))
    snapshot = await runtime.read(taken.id)
    if snapshot is None:
        raise NotFound("the test was made, and is gone")
    answer = json_answer(task := runtime.show(snapshot), 201)
    answer.headers["location"] = f"/v1/tasks/{task['id']}"
    return answer


def refuse(fault: Fault, what: str) -> None:
    """Raises InvalidSubmission."""
    raise InvalidSubmission(counted([fault], what), errors=[fault])
