"""A worker whose `def` handlers hang, crash and are cancelled, as users of the API see it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts import Part, System, system
from tests.servers import until

HANDLERS = "tests.faults.child_handlers"


@pytest.fixture
def running(redis_url: str) -> Iterator[System]:
    with system(redis_url, drain_seconds=1, kill_grace_seconds=0.5) as one:
        yield one


@pytest.fixture
def worker(running: System) -> Part:
    return running.start_worker(HANDLERS)


def submit(running: System, name: str, **fields: Any) -> dict[str, Any]:
    answer = running.api.post("/v1/tasks", json={"name": name, **fields})
    assert 201 == answer.status_code, answer.text
    task: dict[str, Any] = answer.json()
    return task


def ended(running: System, task: dict[str, Any]) -> dict[str, Any]:
    """The task once it has ended."""
    seen: dict[str, Any] = {}

    def has_ended() -> bool:
        seen.update(running.api.get(f"/v1/tasks/{task['id']}?wait=20").json())
        return seen["state"] in ("succeeded", "failed", "cancelled", "expired")

    until(has_ended, "the task has ended")
    return seen


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text(), f"{path} is written")
    return int(path.read_text())


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_crash_counts_in_crashes_and_fails_the_task_as_worker_lost(running, worker):
    """The error says by which signal or exit code; each crash is an attempt in the list, and spends none."""
    task = ended(running, submit(running, "child.exit", args={"code": 7}, max_crashes=2))
    assert ("failed", 3, 1) == (task["state"], task["crashes"], task["attempt"])
    assert "worker_lost" == task["error"]["type"]
    assert "exit code 7" in task["error"]["message"]
    attempts = running.api.get(f"/v1/tasks/{task['id']}/attempts").json()["items"]
    assert ["crashed"] * 3 == [one["outcome"] for one in attempts]
    assert all("exit code 7" in one["error"]["message"] for one in attempts)


def test_work_that_must_not_repeat_is_not_run_again_after_a_crash(running, worker):
    """max_crashes 0."""
    task = ended(running, submit(running, "child.signal", args={"number": 9}, max_crashes=0))
    assert ("failed", 1, "worker_lost") == (task["state"], task["crashes"], task["error"]["type"])
    assert "SIGKILL" in task["error"]["message"]


def test_two_poison_tasks_among_a_hundred_are_the_only_ones_that_fail(running, worker):
    """Neither async handlers nor other children notice."""
    good = [submit(running, "child.async") for _ in range(50)] + [submit(running, "child.pid") for _ in range(50)]
    poison = [submit(running, "child.segfault", max_crashes=1), submit(running, "child.exit", args={"code": 1})]
    good += [submit(running, "child.async") for _ in range(20)]
    assert {"failed"} == {ended(running, task)["state"] for task in poison}
    done = [ended(running, task) for task in good]
    assert {("succeeded", 0)} == {(task["state"], task["crashes"]) for task in done}


def test_a_hard_limit_fails_the_attempt_and_the_next_one_runs(running, worker):
    """Retries go on as with any failure."""
    fields = {"timeout_seconds": 0.3, "retries": 1, "backoff": {"delays_seconds": [0]}}
    task = ended(running, submit(running, "child.regex", **fields))
    assert ("failed", 2, 0, "TimeLimitExceeded") == (
        task["state"], task["attempt"], task["crashes"], task["error"]["type"],
    )  # fmt: skip


def test_a_running_def_is_cancelled(running, worker, tmp_path):
    """Its process is interrupted, and the task is cancelled."""
    task = submit(running, "child.sleep", args={"seconds": 600, "started": str(tmp_path / "pid")})
    pid_in(tmp_path / "pid")
    assert running.api.post(f"/v1/tasks/{task['id']}/cancel").status_code in (200, 202)
    assert "cancelled" == ended(running, task)["state"]


def test_a_stopping_worker_hands_back_what_does_not_end(running, worker, tmp_path):
    """Even a handler that refuses to stop: it is killed, no attempt spent, no crash counted, nothing left behind."""
    polite = submit(running, "child.sleep", args={"seconds": 600, "started": str(tmp_path / "polite")})
    stubborn = submit(running, "child.stubborn", args={"started": str(tmp_path / "stubborn")})
    pids = [pid_in(tmp_path / "polite"), pid_in(tmp_path / "stubborn")]
    assert 0 == worker.end()
    for task in (polite, stubborn):
        seen = running.api.get(f"/v1/tasks/{task['id']}").json()
        assert ("queued", 0, 0) == (seen["state"], seen["attempt"], seen["crashes"])
    until(lambda: not any(map(is_alive, pids)), "the executors are gone")


@pytest.mark.parametrize("whom", ["worker", "worker process"])
def test_nothing_outlives_a_worker_that_is_killed(running, worker, tmp_path, whom):
    """SIGKILL of the worker, or of its process: executors and all that handlers started end with it."""
    noted = tmp_path / "pids"
    submit(running, "child.offspring", args={"many": 5, "noted": str(noted), "seconds": 600})
    submit(running, "child.stubborn", args={"started": str(tmp_path / "executor")})
    until(noted.exists, "the offspring was noted")
    pids = [*map(int, noted.read_text().split()), pid_in(tmp_path / "executor")]
    victim = worker.process.pid
    if whom == "worker process":
        victim = int(Path(f"/proc/{victim}/task/{victim}/children").read_text().split()[0])
    os.kill(victim, signal.SIGKILL)
    until(lambda: not any(map(is_alive, pids)), "all of them are gone")


def test_a_lost_nursery_costs_a_restart_of_the_worker_process_only(running, worker):
    """The next tasks run."""
    task = ended(running, submit(running, "child.pid"))
    nursery = int(Path(f"/proc/{task['result']}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(nursery, signal.SIGKILL)
    until(lambda: not is_alive(nursery), "the nursery is gone")
    assert "succeeded" == ended(running, submit(running, "child.pid"))["state"]


def test_a_blocked_event_loop_is_told_with_the_line_that_blocks_it(running, worker):
    """The log says once where it hangs, the worker's description for how long; later that it turns again."""
    submit(running, "child.block", args={"seconds": 8})
    until(lambda: "blocked its event loop" in worker.printed(), "the log tells")
    until(lambda: running.workers()[0]["blocked_seconds"] > 0, "the description tells")
    until(lambda: "turns again" in worker.printed(), "it turns again")
    assert "child_handlers.py" in worker.printed()
    assert "in block" in worker.printed()
    assert 1 == worker.printed().count("blocked its event loop")
    until(lambda: running.workers()[0]["blocked_seconds"] == 0, "the description tells")
