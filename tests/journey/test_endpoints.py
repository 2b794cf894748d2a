"""Endpoints over real processes: a slow one stops no other, a broken one is left alone, probed and called again."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.journey.receiver import Receiver, receiver
from tests.parts import ROOT, System, system
from tests.servers import until


class Slow:
    """An endpoint of many connections: under /slow an answer takes *seconds*; *statuses* say how others go."""

    def __init__(self) -> None:
        self.seconds, self.status = 1.0, 200
        self.calls: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.calls[request.path] += 1
        if request.path == "/slow":
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
            try:
                await asyncio.sleep(self.seconds)
            finally:
                self.at_once -= 1
        return web.Response(status=self.status)


@contextmanager
def slow() -> Iterator[Slow]:
    """Answers in a loop of its own as long as the block lasts."""
    held, loop = Slow(), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", held.answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1000)
        await site.start()
        held.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return runner

    runner = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with receiver() as held:
        yield held


def name_of(url: str) -> str:
    return url.replace("://", ":")


def shown(running: System, url: str) -> dict[str, Any]:
    answer: dict[str, Any] = running.api.get(f"/v1/endpoints/{name_of(url)}").json()
    return answer


def batch(running: System, many: int, **submission: Any) -> list[str]:
    for start in range(0, many, 1000):
        answer = running.api.post("/v1/tasks/batch", json=[submission] * min(1000, many - start)).json()
    return [receipt["task"]["id"] for receipt in answer]


def test_a_slow_endpoint_stops_no_other(redis_url: str) -> None:
    """Ten thousand tasks wait for one that takes its time; those of another, submitted behind them, are done."""
    with slow() as crawling, slow() as quick, system(redis_url) as running:
        crawling.seconds = 30
        running.start_worker(url_concurrency=50)
        batch(running, 10_000, url=f"{crawling.url}/slow", timeout_seconds=60)
        until(lambda: crawling.at_once > 0, "the first slow calls")
        ids = batch(running, 200, url=f"{quick.url}/quick")
        for id_ in ids:
            task = running.api.get(f"/v1/tasks/{id_}", params={"wait": 25}).json()
            assert "succeeded" == task["state"]
        assert crawling.most_at_once <= 45
        queue = running.api.get("/v1/queues/default").json()
        assert 10_000 == queue["queued"] + queue["scheduled"] + queue["running"]


def test_a_broken_endpoint_is_left_alone_until_it_answers(redis_url: str) -> None:
    """Over several workers and shards: a handful of failures, then a probe at a time; no task fails for it."""
    with slow() as broken, system(redis_url, shards=16, breaker_seconds=0.5) as running:
        broken.status = 503
        for _ in range(2):
            running.start_worker(processes=2, url_concurrency=8)
        ids = batch(running, 200, url=f"{broken.url}/work", retries=5, backoff={"delays_seconds": [0.2]})
        until(lambda: "open" == shown(running, broken.url).get("circuit"), "a circuit that opens")
        before = broken.calls["/work"]
        until(lambda: broken.calls["/work"] >= before + 2, "two probes")
        found = shown(running, broken.url)
        assert "failed" in found["circuit_reason"]
        assert (0.0, found["calls"]["failed"]) == (found["success_rate"], sum(found["calls"].values()))
        kept = next(task for id_ in ids if (task := deferred(running, id_)))
        assert "is not called for now, since" in kept["error"]["message"]
        assert kept["retry_at"] > kept["finished_at"]
        assert broken.calls["/work"] < 150
        broken.status = 200
        for id_ in ids:
            task = running.api.get(f"/v1/tasks/{id_}", params={"wait": 25}).json()
            while not task.get("finished_at"):  # a busy API may answer 503
                task = running.api.get(f"/v1/tasks/{id_}", params={"wait": 25}).json()
            assert "succeeded" == task["state"], task
        until(lambda: shown(running, broken.url)["calls"]["succeeded"] == 200, "all that was counted")
        assert "closed" == shown(running, broken.url)["circuit"]


def deferred(running: System, id_: str) -> dict[str, Any] | None:
    """The attempt of a task that was kept back; there is one at most, however often it was."""
    items = running.api.get(f"/v1/tasks/{id_}/attempts").json()["items"]
    found = [one for one in items if (one.get("error") or {}).get("type") == "CircuitOpen"]
    assert len(found) <= 2
    return found[0] if found else None


def test_the_operator_hears_of_an_endpoint_that_is_disabled(redis_url: str, endpoint: Receiver) -> None:
    """By a signed call; its tasks fail by name, new ones are refused, and enabling it mends all of that."""
    with (
        slow() as broken,
        system(
            redis_url, endpoint_disable_seconds=0.5, alert_url=f"{endpoint.url}/alerts", breaker_failures=0
        ) as running,
    ):
        broken.status = 500
        running.start_worker()
        running.api.post("/v1/tasks", json={"url": broken.url, "retries": 50, "backoff": {"delays_seconds": [0.3]}})
        path, headers, body = endpoint.next()
        assert ("/alerts", "endpoint.disabled") == (path, body["type"])
        assert "webhook-signature" in headers
        assert name_of(broken.url) == body["data"]["endpoint"]
        assert "every call has failed since" in body["data"]["reason"]
        until(lambda: shown(running, broken.url).get("disabled"), "an endpoint that is disabled")

        def is_refused() -> bool:
            return running.api.post("/v1/tasks", json={"url": broken.url, "retries": 0}).status_code == 422

        until(is_refused, "a task that is refused")
        (first,) = running.api.get("/v1/tasks", params={"state": "failed", "limit": 1}).json()["items"]
        assert first["error"]["type"] in ("EndpointDisabled", "HttpStatus500")
        broken.status = 200
        running.api.post(f"/v1/endpoints/{name_of(broken.url)}/enable")

        def is_called() -> bool:
            task = running.api.post("/v1/tasks", json={"url": broken.url}, headers={"Prefer": "wait=10"}).json()
            return bool(task["state"] == "succeeded")

        until(is_called, "a call of an endpoint that was enabled")


def test_endpoints_on_the_command_line(redis_url: str, endpoint: Receiver) -> None:
    """Listed, set up, disabled, tried and enabled."""
    with system(redis_url) as running:
        running.start_worker()

        def run(*words: str, status: int = 0) -> str:
            env = {**os.environ, "TASKPOST_URL": running.url, "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}
            command = [sys.executable, "-m", "service.cli", "endpoints", *words]
            done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
            assert status == done.returncode, done.stdout + done.stderr
            return done.stdout + done.stderr

        assert "✓ succeeded" in run("test", f"{endpoint.url}/hooks?x=1")
        path, headers, body = endpoint.next()
        assert ("/hooks?x=1", "endpoint.test") == (path, body["type"])
        assert "webhook-signature" in headers
        until(lambda: name_of(endpoint.url) in run(), "an endpoint that is listed")
        assert "concurrency  5" in run("set", endpoint.url, "--concurrency", "5")
        assert "moving" in run("disable", endpoint.url, "--reason", "moving")
        assert "– disabled" in run()
        assert "EndpointDisabled" not in run("test", endpoint.url)
        assert "concurrency" not in run("set", endpoint.url, "--concurrency", "default")
        assert "✓ ok" in run("enable", endpoint.url)
        assert "which endpoint?" in run("show", status=2)
        endpoint.answers = [(500, b"{}")] * 2
        run("test", endpoint.url, status=1)
