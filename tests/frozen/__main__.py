"""`python -m tests.frozen`: a system of today does a little of everything, is killed in the midst of it, and frozen."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import redis

from service.task import FORMAT
from tests.frozen.keyspace import HERE, lines_of
from tests.journey.receiver import receiver
from tests.parts import System, system
from tests.servers import HOST, single, until

FOLDER = Path(__file__).parent
ADD = {"name": "demo.add", "args": {"a": 2, "b": 3}}
SLOW = {"name": "demo.sleep", "args": {"seconds": 30}}


def submit(running: System, task: dict[str, Any]) -> str:
    answer = running.api.post("/v1/tasks", json=task)
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def ended(running: System, id_: str) -> None:
    until(lambda: running.api.get(f"/v1/tasks/{id_}").json()["finished_at"] is not None, f"the end of {id_}")


def arrange(running: System, endpoint: str) -> dict[str, str]:
    """Tasks in every state, by what they are."""
    put = {"cron": "0 3 * * *", "timezone": "Asia/Shanghai", "task": ADD}
    assert running.api.put("/v1/schedules/nightly", json=put).status_code == 201
    assert running.api.patch("/v1/queues/mail", json={"concurrency": 5, "retries": 7}).status_code == 200
    made = {
        "succeeded": submit(running, ADD),
        "large": submit(running, {**ADD, "metadata": {"note": "x" * 900}}),
        "called": submit(running, {"url": f"{endpoint}/hook", "callback": {"url": f"{endpoint}/done"}}),
        "failed": submit(running, {"name": "demo.flaky", "args": {"fail_times": 9}, "retries": 1,
                                   "backoff": {"delays_seconds": [0.01]}, "tags": ["broken"]}),
        "keyed": submit(running, {**ADD, "idempotency_key": "order-17"}),
    }  # fmt: skip
    for id_ in made.values():
        ended(running, id_)
    made["running"] = submit(running, SLOW)
    until(lambda: running.api.get(f"/v1/tasks/{made['running']}").json()["state"] == "running", "a task that runs")
    # What waits, in each way: nobody serves this queue.
    waiting = {**ADD, "queue": "later"}
    made |= {
        "queued": submit(running, {**waiting, "priority": 9}),
        "scheduled": submit(running, {**waiting, "delay_seconds": 3600}),
        "held": submit(running, {**waiting, "flow": {"key": "api", "concurrency": 1}}),
        "grouped": submit(running, {**waiting, "group": "acme"}),
        "unique": submit(running, {**waiting, "unique": {"key": "one", "until": "finished"}}),
        "in_mail": submit(running, {**waiting, "queue": "mail"}),
    }
    return made


def main() -> None:
    with single("valkey") as server, receiver() as endpoint, system(server.url) as running:
        worker = running.start_worker(queues="default,callbacks")
        made = arrange(running, endpoint.url)
        until(lambda: endpoint.received.qsize() >= 2, "the callback")
        running.api.post("/v1/queues/mail/pause", json={"reason": "frozen"})
        shown = {name: running.api.get(f"/v1/tasks/{id_}").json() for name, id_ in made.items()}
        attempts = running.api.get(f"/v1/tasks/{made['failed']}/attempts").json()["items"]
        for part in (worker, running.scheduler, running.web):
            part.end(signal.SIGKILL)
        lines = list(lines_of(redis.Redis(HOST, server.port)))
    (FOLDER / f"format-{FORMAT}.jsonl").write_text("\n".join(lines) + "\n")
    expected = json.dumps({"tasks": shown, "attempts": attempts}, indent=1, sort_keys=True)
    (FOLDER / f"format-{FORMAT}.json").write_text(expected.replace(HERE, "/srv/taskpost") + "\n")
    print(f"{len(lines)} keys of format {FORMAT}")


if __name__ == "__main__":
    main()
