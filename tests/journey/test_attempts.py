"""What a user sees of the calls of a task, and that no secret is among it: over a real API, worker and endpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journey.receiver import Receiver, receiver
from tests.parts import System, system

SECRETS = {
    "Authorization": "Bearer b3arers3cret",
    "Cookie": "sid=c00kies3cret",
    "X-Api-Key": "k3ys3cret!",
    "X-Inner": "inn3rs3cret",
}
PLAIN = ("b3arers3cret", "c00kies3cret", "k3ys3cret!", "inn3rs3cret", "qu3rys3cret", "c4llbacks3cret", "canc3ls3cret")


@pytest.fixture
def running(redis_url: str) -> Iterator[System]:
    """Parts that log as much as they can."""
    with system(redis_url, redact_headers="x-inner", log_level="debug") as started:
        started.worker = started.start_worker()
        yield started


@pytest.fixture
def endpoint() -> Iterator[Receiver]:
    with receiver() as started:
        yield started


def submitted(running: System, endpoint: Receiver, **more: Any) -> dict[str, Any]:
    submission = {
        "url": f"{endpoint.url}/in?token=qu3rys3cret&a=1",
        "cancel_url": f"{endpoint.url}/stop?key=canc3ls3cret",
        "headers": {**SECRETS, "X-Tenant": "acme"},
        "body": {"n": 1},
        "backoff": {"delays_seconds": [0.05]},
        "callback": {"url": f"{endpoint.url}/done?sig=c4llbacks3cret", "headers": SECRETS},
        **more,
    }
    answer = running.api.post("/v1/tasks", json=submission, headers={"Prefer": "wait=30"})
    assert answer.status_code in (200, 201), answer.text
    task: dict[str, Any] = answer.json()
    return task


def test_a_call_that_failed_is_seen_and_can_be_repeated(running: System, endpoint: Receiver) -> None:
    """What was sent, what came back, how long it took, why it came again; and the command does the same once more."""
    endpoint.answers[:] = [(503, b'{"message": "busy"}')]
    task = submitted(running, endpoint)
    first, second = running.api.get(f"/v1/tasks/{task['id']}/attempts").json()["items"]
    assert ("retried", "retry 1 of 3, after 0.05 s by its backoff") == (first["outcome"], first["reason"])
    assert first["retry_at"] > first["finished_at"]
    call = first["http"]
    assert (503, {"message": "busy"}, False) == (
        call["status"],
        json.loads(call["response"]["body_text"]),
        call["reused"],
    )
    assert (endpoint.url, "acme", '{"n":1}') == (
        f"http://{call['address']}",
        call["request"]["headers"]["X-Tenant"],
        call["request"]["body_text"],
    )
    assert call["times"]["connect_ms"] > 0
    assert call["times"]["first_byte_ms"] > 0
    assert ("succeeded", 200) == (second["outcome"], second["http"]["status"])
    for _ in range(3):  # the two calls, and the callback
        endpoint.next()
    variables = {"AUTHORIZATION": "Authorization", "COOKIE": "Cookie", "X_API_KEY": "X-Api-Key", "X_INNER": "X-Inner"}
    env = {f"SECRET_{name}": SECRETS[header] for name, header in variables.items()} | {"SECRET_TOKEN": "qu3rys3cret"}
    subprocess.run(["/bin/sh", "-c", call["curl"]], env={"PATH": "/usr/bin:/bin", **env}, check=True, timeout=60)
    path, headers, body = endpoint.next()
    assert ("/in?token=qu3rys3cret&a=1", {"n": 1}) == (path, body)
    assert SECRETS == {name: headers[name.lower()] for name in SECRETS}
    assert "1" == headers["taskpost-attempt"]


def test_the_command_line_prints_the_last_call(running: System, endpoint: Receiver) -> None:
    """With what is to be set first on standard error, so that the command can be piped; of a handler there is none."""
    task = submitted(running, endpoint)
    handled = running.api.post("/v1/tasks", json={"name": "demo.add", "args": {"a": 1, "b": 2}}).json()
    env = {**os.environ, "TASKPOST_URL": running.url}
    command = [sys.executable, "-m", "service.cli", "attempts", "--curl"]
    printed, none = (
        subprocess.run([*command, one["id"]], env=env, capture_output=True, text=True, timeout=60)
        for one in (task, handled)
    )
    (attempt,) = running.api.get(f"/v1/tasks/{task['id']}/attempts").json()["items"]
    assert (0, attempt["http"]["curl"] + "\n") == (printed.returncode, printed.stdout)
    assert "SECRET_AUTHORIZATION, SECRET_COOKIE" in printed.stderr
    assert (1, "") == (none.returncode, none.stdout)


def test_no_secret_is_shown_anywhere(running: System, endpoint: Receiver) -> None:
    """Not by any way to read a task, its attempts, its schedule or its worker, not in the callback, and in no log."""
    endpoint.answers[:] = [(500, f"you sent {SECRETS} to qu3rys3cret".encode())]
    task = submitted(running, endpoint, retries=0)
    assert "failed" == task["state"]
    assert "Bearer b3arers3cret" == endpoint.next()[1]["authorization"]
    told = [task, endpoint.next()[2]]
    repeated = {"url": f"{endpoint.url}/?token=qu3rys3cret", "headers": SECRETS}
    made = running.api.put("/v1/schedules/secretive", json={"every_seconds": 3600, "task": repeated})
    assert 201 == made.status_code, made.text
    id_ = task["id"]
    paths = [f"/v1/tasks/{id_}", f"/v1/tasks/{id_}/attempts", f"/v1/tasks/{id_}/result", "/v1/tasks", "/v1/workers"]
    paths += [f"/v1/tasks/{task['callback']['task_id']}", f"/v1/tasks/{task['callback']['task_id']}/attempts"]
    paths += ["/v1/queues", "/v1/endpoints", "/v1/schedules"]
    text = "".join([repr(told), made.text, *(running.api.get(path).text for path in paths)])
    text += "".join(part.printed() for part in (running.web, running.scheduler, running.worker))
    assert "[hidden]" in text
    assert [] == [one for one in PLAIN if one in text]


def test_a_task_that_was_read_cannot_be_sent_again_without_its_secrets(running: System, endpoint: Receiver) -> None:
    """Who copies it is told which ones are missing, rather than have `[hidden]` called."""
    task = submitted(running, endpoint)
    copied = {name: task[name] for name in ("url", "headers", "cancel_url")}
    copied |= {"callback": {"url": task["callback"]["url"]}}
    answer = running.api.post("/v1/tasks", json=copied)
    places = {"/url", "/cancel_url", "/callback/url", *(f"/headers/{name}" for name in SECRETS)}
    assert (422, places) == (answer.status_code, {fault["pointer"] for fault in answer.json()["errors"]})
