"""What web, worker and scheduler log, as JSON: the life of a task by its id, how parts start and stop, no secret."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from service import __version__
from tests import servers
from tests.parts import System, system
from tests.servers import until

pytestmark = pytest.mark.full

REDIS, OPERATOR, BEARER, QUERY = SECRETS = ("r3disword", "0perat0rkey", "b3arers3cret", "qu3rys3cret")
QUICK = {"backoff": {"delays_seconds": [0.01]}}
Line = dict[str, Any]


@dataclass
class Story:
    """What was done, by the ids of its tasks, and what the parts printed until they had ended."""

    tasks: dict[str, str]
    printed: dict[str, str]

    def lines(self, part: str) -> list[Line]:
        return [json.loads(line) for line in self.printed[part].splitlines()]

    def life(self, task: str) -> list[Line]:
        """
        What the worker said of one task, but that it was slow, as all is on a busy machine; its processes write at
        once, so that attempts may overlap in the log.
        """
        of_tasks = [line for line in self.lines("worker") if line["logger"] in ("workers.task", "taskpost.task")]
        return sorted((one for one in of_tasks if one["task_id"] == self.tasks[task]), key=lambda one: one["attempt"])


def act(running: System) -> dict[str, str]:
    """A task that succeeds in the end, one that fails, one that is cancelled, a call; and requests that are refused."""
    well = running.submit(60, name="demo.flaky", args={"fail_times": 1}, **QUICK)
    badly = running.submit(60, name="demo.flaky", args={"fail_times": 9}, retries=1, **QUICK)
    asleep = running.submit(name="demo.sleep", args={"seconds": 600})
    until(lambda: running.api.get(f"/v1/tasks/{asleep['id']}").json()["state"] == "running", "a task that runs")
    running.api.post(f"/v1/tasks/{asleep['id']}/cancel")
    running.ended(asleep["id"])
    url = f"http://127.0.0.1:1/hook?token={QUERY}"
    called = running.submit(60, url=url, retries=0, headers={"Authorization": BEARER})
    running.api.post("/v1/tasks", json={"name": "demo.add"}, headers={"authorization": f"Bearer {BEARER}"})
    running.api.get(f"/v1/queues?token={QUERY}")
    return {"well": well["id"], "badly": badly["id"], "asleep": asleep["id"], "called": called["id"]}


@pytest.fixture(scope="module")
def story() -> Iterator[Story]:
    """Redis has a user with a password, and goes away at last."""
    with servers.single("valkey") as server:
        server.admin.execute_command("ACL", "SETUSER", "tp", "on", f">{REDIS}", "~*", "&*", "+@all")
        url = server.url.replace("://", f"://tp:{REDIS}@")
        with system(url, api_key=OPERATOR, log_format="json", log_level="debug", access_log=1) as running:
            running.api.headers["authorization"] = f"Bearer {OPERATOR}"
            worker = running.start_worker(processes=2)
            until(lambda: worker.printed().count("is ready") == 2, "both processes of the worker")
            tasks = act(running)
            server.stop()
            until(lambda: "Trying again" in worker.printed(), "a worker that misses Redis")
            parts = (worker, running.scheduler, running.web)
            assert [0, 0, 0] == [part.end(signal.SIGTERM) for part in parts]
            yield Story(tasks, {part.name: part.printed() for part in parts})


def test_the_life_of_a_task_is_found_by_its_id(story: Story) -> None:
    """One line for each transition, whoever says it; the traceback of an error once, where it is final."""
    well = story.life("well")
    assert [
        ("info", "workers.task", 1), ("info", "taskpost.task", 1), ("info", "workers.task", 2),
        ("debug", "taskpost.task", 2),
    ] == [(line["level"], line["logger"], line["attempt"]) for line in well]  # fmt: skip
    assert {"demo.flaky"} == {line["task_name"] for line in well}
    _, retried, _, failed = story.life("badly")
    assert ("retried", "RuntimeError", "default") == (retried["outcome"], retried["error_type"], retried["queue"])
    assert "error" not in retried
    assert ("warning", "failed", 2) == (failed["level"], failed["outcome"], failed["attempt"])
    assert failed["message"].startswith("failed: RuntimeError: attempt 2 fails")
    assert failed["error"].endswith("RuntimeError: attempt 2 fails, as asked: 9 are to fail")
    assert ["cancelled"] == [line["outcome"] for line in story.life("asleep")]
    assert ["failed"] == [line["outcome"] for line in story.life("called")]


def test_parts_say_how_they_started_and_that_they_stopped(story: Story) -> None:
    """Version, Redis, what a worker runs; and a warning about Redis once a part, however many processes it has."""
    words = {"worker": ("starting", "stopped"), "scheduler": ("ready", "stopped"), "web": ("Listening", "Stopped")}
    for part, (begun, over) in words.items():
        said = [line for line in story.lines(part) if line["logger"] == f"taskpost.{part}"]
        assert begun in said[0]["message"]
        assert over in said[-1]["message"]
        assert __version__ == said[0]["version"]
        assert said[0]["redis"].startswith("redis://tp:***@")
        assert 1 == story.printed[part].count("no append-only file")
    hello, *others = story.lines("worker")
    assert (2, 100, "all") == (hello["processes"], hello["slots"]["async"], hello["queues"])
    assert "demo.flaky" in next(line["handlers"] for line in others if "is ready" in line["message"])


def test_no_secret_is_logged(story: Story) -> None:
    """Neither when all goes well nor when a call fails, a request is refused, or Redis is gone; on any level."""
    assert [] == [(part, one) for part, text in story.printed.items() for one in SECRETS if one in text]
