"""Callbacks over real processes: tried again as Standard Webhooks has it, and delivered once more when asked."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from service.retry import CALLBACK_DELAYS
from tests.journey.receiver import Receiver, receiver
from tests.parts import ROOT, System, system
from tests.servers import until

pytestmark = pytest.mark.both_servers

ADD = {"name": "demo.add", "args": {"a": 2, "b": 3}}


@pytest.fixture
def running(redis_url: str) -> Iterator[System]:
    with system(redis_url) as started:
        started.start_worker()
        yield started


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with receiver() as held:
        yield held


def test_a_callback_is_tried_for_days_and_can_be_delivered_again(running: System, endpoint: Receiver) -> None:
    """The result is readable when it comes; delivered again it has the same webhook-id, and is a task of its own."""
    endpoint.answers = [(410, b"{}")]
    done = running.api.post("/v1/tasks", json={**ADD, "callback": {"url": f"{endpoint.url}/done?n=1"}}).json()
    _, first, told = endpoint.next()
    assert ("task.succeeded", done["id"], 5) == (told["type"], told["data"]["id"], told["data"]["result"])
    assert 5 == running.api.get(f"/v1/tasks/{done['id']}/result").json()
    callback = running.api.get(f"/v1/tasks/{first['taskpost-task']}", params={"wait": 25}).json()
    assert "failed" == callback["state"]
    assert (9, CALLBACK_DELAYS) == (callback["retries"], callback["backoff"]["delays_seconds"])
    running.api.post(f"/v1/endpoints/{endpoint.url.replace('://', ':')}/enable")

    def is_delivered() -> bool:
        key = {"Idempotency-Key": f"again-{os.urandom(4).hex()}"}
        again = running.api.post(f"/v1/tasks/{callback['id']}/replay", headers=key)
        assert 201 == again.status_code
        same = running.api.post(f"/v1/tasks/{callback['id']}/replay", headers=key)
        assert (200, again.json()["id"]) == (same.status_code, same.json()["id"])
        assert callback["id"] == again.json()["replay_of"]
        ended = running.api.get(f"/v1/tasks/{again.json()['id']}", params={"wait": 25}).json()
        return bool(ended["state"] == "succeeded")

    until(is_delivered, "a callback that is delivered again")
    _, second, repeated = endpoint.next()
    assert first["webhook-id"] == second["webhook-id"]
    assert first["taskpost-task"] != second["taskpost-task"]
    assert told == repeated


def test_a_task_can_be_done_once_more(running: System) -> None:
    """As a new one, with all that was asked for but its time and its key; also from the command line."""
    asked = {**ADD, "priority": 7, "tags": ["x"], "idempotency_key": "k", "queue": "mail", "delay_seconds": 0.01}
    done = running.api.post("/v1/tasks", json=asked, headers={"Prefer": "wait=20"}).json()
    again = running.api.post(f"/v1/tasks/{done['id']}/replay").json()
    assert done["id"] != again["id"]
    assert ("mail", 7, ["x"], done["id"]) == (again["queue"], again["priority"], again["tags"], again["replay_of"])
    assert "idempotency_key" not in again
    assert 5 == running.api.get(f"/v1/tasks/{again['id']}", params={"wait": 25}).json()["result"]
    env = {**os.environ, "TASKPOST_URL": running.url}
    command = [sys.executable, "-m", "service.cli", "replay", done["id"]]
    said = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert 0 == said.returncode, said.stderr


def test_what_has_not_ended_cannot_be_replayed(running: System) -> None:
    waiting = running.api.post("/v1/tasks", json={**ADD, "delay_seconds": 1000}).json()
    refused = running.api.post(f"/v1/tasks/{waiting['id']}/replay")
    assert (409, "scheduled") == (refused.status_code, refused.json()["state"])
    assert "only ended tasks can be replayed" in refused.json()["detail"]
