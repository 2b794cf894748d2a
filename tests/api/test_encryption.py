"""The API where what is stored is sealed: what a process says of what it cannot open, and what nobody may ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from service.cli import main
from service.sealing import new_key
from service.settings import Settings
from service.store import Store
from tests.api.serving import ADD, Serving, publish, serving
from tests.store.acting import Worker

ONE, TWO = new_key(1), new_key(2)
NIGHTLY = {"every_seconds": 60, "task": ADD}


@pytest.fixture
async def both(redis_url: str) -> AsyncIterator[tuple[Serving, Serving, Store]]:
    """An API that has one key, another that seals by a newer one too, and the store of the second."""
    async with AsyncExitStack() as stack:
        old = await stack.enter_async_context(serving(redis_url, encryption_keys=ONE))
        store = await Store.open(Settings(redis_url=redis_url, encryption_keys=f"{TWO},{ONE}"))
        stack.push_async_callback(store.close)
        await publish(store)
        new = await stack.enter_async_context(serving(redis_url, encryption_keys=f"{TWO},{ONE}"))
        yield old, new, store


async def asked(api: Serving, path: str, method: str = "GET", **given: Any) -> tuple[int, Any]:
    answer = await api.http.request(method, path, **given)
    return answer.status_code, answer.json()


async def test_what_this_process_cannot_open_is_said_and_spoils_nothing_else(
    both: tuple[Serving, Serving, Store], capsys: pytest.CaptureFixture[str]
) -> None:
    """In a list beside what can be read; its result, its replay and a schedule are problems that name the key."""
    old, new, store = both
    kept, lost = await old.submitted(ADD), await new.submitted({**ADD, "tags": ["t"]})
    await new.http.put("/v1/schedules/nightly", json=NIGHTLY)
    worker = Worker(store)
    leased = await worker.lease()
    await worker.fail(*[task for task in leased if task.submission.get("tags")])
    status, listed = await asked(old, "/v1/tasks")
    assert 200 == status
    shown = {task["id"]: task for task in listed["items"]}
    assert ({"a": 2, "b": 3}, False) == (shown[kept["id"]]["args"], "unreadable" in shown[kept["id"]])
    assert ("failed", "demo.add", []) == tuple(shown[lost["id"]][name] for name in ("state", "name", "tags"))
    assert "version 2 of the key" in shown[lost["id"]]["unreadable"]
    for path, method in (
        (f"/v1/tasks/{lost['id']}/result", "GET"),
        (f"/v1/tasks/{lost['id']}/replay", "POST"),
        ("/v1/schedules/nightly", "GET"),
    ):
        status, problem = await asked(old, path, method)
        assert (503, "/problems/payload-unreadable") == (status, problem["type"])
        assert "version 2 of the key" in problem["detail"]
    status, found = await asked(old, f"/v1/tasks/{lost['id']}/attempts")
    assert 200 == status
    status, found = await asked(new, f"/v1/tasks/{lost['id']}")
    assert ("no", {"a": 2, "b": 3}) == (found["error"]["message"], found["args"])


@pytest.mark.parametrize("name", ["args", "result", "q", "metadata"])
async def test_a_search_in_what_tasks_carry_is_refused(api: Serving, name: str) -> None:
    """Sealed or not, and with what can be asked for."""
    status, problem = await asked(api, "/v1/tasks", params={name: "canary"})
    [fault] = problem["errors"]
    assert (422, name) == (status, fault["parameter"])
    assert "is not searched, since it may be encrypted: ask by name, tag" in fault["detail"]


def test_a_new_key_is_of_the_next_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As an entry of the setting, which takes it as it is."""
    monkeypatch.setenv("TASKPOST_ENCRYPTION_KEYS", ONE)
    assert 0 == main(["encryption-key"])
    made = capsys.readouterr().out.strip()
    assert made.startswith("2:")
    assert f"{made},{ONE}" == Settings(encryption_keys=f"{made},{ONE}").encryption_keys
