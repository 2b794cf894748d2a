"""Endpoints over HTTP: how they are shown, set up, disabled, enabled and tried."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from service.settings import Settings
from service.store import Store
from service.store.traffic import Report
from tests.api.serving import Serving

NAME = "https:api.example.com"
PATH = f"/v1/endpoints/{NAME}"
URL = "https://api.example.com/hook"


async def fail(store: Store, many: int, number: int = 1) -> None:
    report = Report(
        endpoint=f"default/{NAME}", flying=2, breaker_failures=10, breaker_ratio=0.5, pause_ms=60_000,
        longest_pause_ms=60_000, failed=many, streak=many, error="ConnectError: refused", times={"40": many},
    )  # fmt: skip
    await store.traffic.tell("one", number, [report])


async def test_an_endpoint_shows_how_its_calls_go(api: Serving, store: Store) -> None:
    """One by itself and in the list are the same."""
    await fail(store, 10)
    await store.gone.disable("default", f"{URL}?x=1", store.tasks.clock.now_ms())
    await store.endpoint_settings.put("default", "https:other.example", "auth", {"kind": "oidc"})
    shown = (await api.http.get(PATH)).json()
    assert (0.0, 1.024, 2) == (shown["success_rate"], shown["p50_seconds"], shown["in_flight"])
    assert {"succeeded": 0, "refused": 0, "failed": 10} == shown["calls"]
    assert ("open", "10 calls in a row failed") == (shown["circuit"], shown["circuit_reason"])
    assert shown["next_probe_at"] > shown["circuit_opened_at"]
    assert [URL] == [one["url"] for one in shown["disabled_urls"]]
    assert ("ConnectError: refused", None) == (shown["last_error"], shown["succeeded_at"])
    items = (await api.http.get("/v1/endpoints")).json()["items"]
    assert [NAME, "https:other.example"] == [one["name"] for one in items]
    assert shown == items[0]
    assert items[1]["has_credentials"]
    assert None is items[1]["success_rate"]


async def test_who_probes_is_shown(api: Serving, store: Store) -> None:
    await fail(store, 10)
    await store.scripts.command("HDEL", "tp:{0}:circuits", f"default/{NAME}")
    report = Report(
        endpoint=f"default/{NAME}", flying=0, breaker_failures=1, breaker_ratio=0.5, pause_ms=0, longest_pause_ms=0,
        failed=1, streak=1,
    )  # fmt: skip
    await store.traffic.tell("one", 2, [report])
    await store.traffic.probe("default", NAME, "t", 60_000)
    assert "half_open" == (await api.http.get(PATH)).json()["circuit"]


async def test_an_endpoint_nobody_called_is_not_there(api: Serving) -> None:
    """But it can be set up."""
    refused = await api.http.get(PATH)
    assert (404, "/problems/not-found") == (refused.status_code, refused.json()["type"])
    assert 404 == (await api.http.get("/v1/endpoints/nonsense")).status_code
    changed = await api.http.patch(PATH, json={"concurrency": 2.0, "breaker_failures": 5, "breaker_ratio": 0.9})
    assert 200 == changed.status_code
    assert changed.json() == (await api.http.get(PATH)).json()
    assert (2, 5, 0.9) == tuple(changed.json()[name] for name in ("concurrency", "breaker_failures", "breaker_ratio"))
    changed = await api.http.patch(PATH, json={"concurrency": None})
    assert (None, 5) == (changed.json()["concurrency"], changed.json()["breaker_failures"])


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"concurrency": 0}, "/concurrency"),
        ({"breaker_ratio": 2}, "/breaker_ratio"),
        ({"concurency": 2}, "/concurency"),
        ({"reason": "why"}, "/reason"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused(api: Serving, change: dict[str, Any], pointer: str) -> None:
    refused = await api.http.patch(PATH, json=change)
    assert (422, [pointer]) == (refused.status_code, [fault["pointer"] for fault in refused.json()["errors"]])


@pytest.mark.parametrize("how", ["post", "patch"])
async def test_a_disabled_endpoint_takes_no_tasks(api: Serving, store: Store, redis_url: str, how: str) -> None:
    """They are refused with the reason, by every process; until it is enabled."""
    other = await Store.open(Settings(redis_url=redis_url))
    if how == "post":
        done = await api.http.post(f"{PATH}/disable", json={"reason": "moving"})
    else:
        done = await api.http.patch(PATH, json={"disabled": True, "reason": "moving"})
    assert (True, "moving") == (done.json()["disabled"], done.json()["disabled_reason"])
    again = await api.http.post(f"{PATH}/disable")
    assert done.json()["disabled_at"] == again.json()["disabled_at"]
    refused = await api.http.post("/v1/tasks", json={"url": f"{URL}?a=1"})
    assert 422 == refused.status_code
    (fault,) = refused.json()["errors"]
    assert "/url" == fault["pointer"]
    assert f"{NAME} is disabled since" in fault["detail"]
    assert "moving" in fault["detail"]
    other.endpoint_book.read_at = float("-inf")
    other.endpoint_book.why_not("default", URL)
    assert other.endpoint_book.reading is not None
    await asyncio.wait({other.endpoint_book.reading})
    assert other.endpoint_book.why_not("default", URL)
    assert None is other.endpoint_book.why_not("acme", URL)
    await other.close()
    if how == "post":
        enabled = await api.http.post(f"{PATH}/enable")
    else:
        enabled = await api.http.patch(PATH, json={"disabled": False})
    assert (False, None) == (enabled.json()["disabled"], enabled.json()["disabled_at"])
    assert 201 == (await api.http.post("/v1/tasks", json={"url": URL})).status_code


async def test_enabling_begins_anew(api: Serving, store: Store) -> None:
    """The circuit closes, and URLs that answered 410 are called again."""
    await fail(store, 10)
    await store.gone.disable("default", URL, store.tasks.clock.now_ms())
    enabled = (await api.http.post(f"{PATH}/enable")).json()
    assert ("closed", [], None) == (enabled["circuit"], enabled["disabled_urls"], enabled["failing_since"])
    assert 10 == enabled["calls"]["failed"]


async def test_one_url_can_be_enabled(api: Serving, store: Store) -> None:
    """And no other; one of another endpoint is refused."""
    for path in ("a", "b"):
        await store.gone.disable("default", f"https://api.example.com/{path}", store.tasks.clock.now_ms())
    enabled = await api.http.post(f"{PATH}/enable", json={"url": "https://api.example.com/a?x=1"})
    assert ["https://api.example.com/b"] == [one["url"] for one in enabled.json()["disabled_urls"]]
    for wrong in ("https://other.example/a", "no URL"):
        refused = await api.http.post(f"{PATH}/enable", json={"url": wrong})
        assert (422, "/url") == (refused.status_code, refused.json()["errors"][0]["pointer"])


async def test_a_test_is_a_task(api: Serving, store: Store) -> None:
    """Made also for an endpoint that is disabled; not retried."""
    await api.http.post(f"{PATH}/disable")
    given = {"path": "/hooks?x=1", "headers": {"X-A": "1"}, "timeout_seconds": 5}
    made = await api.http.post(f"{PATH}/test", json=given)
    assert 201 == made.status_code
    task = (await api.http.get(made.headers["location"])).json()
    assert ("https://api.example.com/hooks?x=1", "POST", 0) == (task["url"], task["method"], task["retries"])
    assert ({"X-A": "1"}, 5, ["endpoint-test"]) == (task["headers"], task["timeout_seconds"], task["tags"])
    assert ("endpoint.test", NAME) == (task["body"]["type"], task["body"]["data"]["endpoint"])
    plain = (await api.http.post(f"{PATH}/test", json={"method": "GET"})).json()
    assert "body" not in plain


async def test_a_test_is_guarded_as_any_call(api: Serving) -> None:
    """What may not be called is refused with the reason."""
    refused = await api.http.post("/v1/endpoints/http:10.0.0.7/test")
    assert (422, "private") == (refused.status_code, refused.json()["errors"][0]["reason"])
