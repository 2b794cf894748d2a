"""Encryption at rest over real processes: what goes through everything is found nowhere in Redis, nor in its file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from service.cli import main
from service.endpoint import endpoint_of
from service.sealing import new_key
from tests import servers
from tests.journey.receiver import Receiver, receiver
from tests.parts import System, system
from tests.servers import Server, until

CANARY = "canary-8472"
ONE, TWO = new_key(1), new_key(2)


@contextmanager
def keeping_a_file() -> Iterator[Server]:
    with servers.single("valkey", appendonly="yes", appendfsync="always") as server:
        yield server


def written(server: Server) -> bytes:
    """All that was ever written to *server*, as its append-only file has it: every value of every key."""
    return b"".join(path.read_bytes() for path in sorted((server.folder / "appendonlydir").iterdir()))


def through_a_handler(running: System, endpoint: Receiver, padding: str) -> None:
    """Arguments, options, progress, lines, checkpoint, error, result, and a callback that tells of them."""
    callback = {"url": f"{endpoint.url}/{CANARY}?q={CANARY}", "headers": {"X-Own": CANARY}}
    task = running.submit(
        name="vault.keep", args={"word": CANARY + padding}, tags=[CANARY], metadata={"of": CANARY},
        callback=callback, idempotency_key=f"{CANARY}{len(padding)}", unique={"key": CANARY + padding[:9]},
    )  # fmt: skip
    done = running.ended(task["id"])
    assert ("succeeded", CANARY + padding, 2) == (done["state"], done["result"]["word"], done["attempt"])
    assert CANARY in done["progress"]["message"]
    rows = running.api.get(f"/v1/tasks/{task['id']}/attempts").json()["items"]
    assert f"not {CANARY}" in rows[0]["error"]["message"]
    assert f"it is {CANARY}" in rows[0]["log"][0]["message"]
    assert f"/{CANARY}?q={CANARY}" == endpoint.next()[0]
    found = running.api.get("/v1/tasks", params={"tag": CANARY, "name": "vault.*"}).json()["items"]
    assert task["id"] in [one["id"] for one in found], "who may read finds it by what is sealed"


def through_a_url(running: System, endpoint: Receiver) -> None:
    """Path, query, header, body, answer, and what the endpoint says of an attempt that it finishes later."""
    call = {"url": f"{endpoint.url}/{CANARY}?token={CANARY}", "headers": {"X-Word": CANARY}, "body": {"word": CANARY}}
    endpoint.answers.append((200, f'{{"heard": "{CANARY}"}}'.encode()))
    done = running.ended(running.submit(**call)["id"])
    assert CANARY == done["result"]["heard"]
    endpoint.next()
    endpoint.headers = {"Taskpost-Async": "1"}
    endpoint.answers.append((202, b""))
    later = running.submit(**call)
    told = endpoint.next()[1]["taskpost-completion-url"]
    endpoint.headers = {}
    for what, body in (
        ("progress", {"current": 1, "message": CANARY}),
        ("log", {"lines": [{"message": CANARY}]}),
        ("fail", {"error": {"type": "Late", "message": CANARY}, "retry": False}),
    ):
        tell = partial(running.api.post, f"{told}/{what}", json=body)
        until(lambda tell=tell: tell().status_code == 200, f"{what} taken")
    failed = running.ended(later["id"])
    assert ("failed", CANARY) == (failed["state"], failed["error"]["message"])
    assert 201 == running.api.post(f"/v1/tasks/{later['id']}/replay", json={"body": {"new": CANARY}}).status_code
    endpoint.next()


def through_a_schedule(running: System) -> None:
    """The template of a schedule, and the task that it fires; settings and credentials of an endpoint."""
    template = {"name": "vault.keep", "args": {"word": CANARY}}
    answer = running.api.put("/v1/schedules/nightly", json={"every_seconds": 86_400, "task": template})
    assert answer.is_success, answer.text
    fired = running.api.post("/v1/schedules/nightly/run").json()
    assert "succeeded" == running.ended(fired["id"])["state"]
    assert CANARY == running.api.get("/v1/schedules/nightly").json()["task"]["args"]["word"]
    auth = {"kind": "bearer", "token": CANARY}
    path = f"/v1/endpoints/{endpoint_of('https://api.example.com')}/auth"
    assert 200 == running.api.put(path, json=auth).status_code


@pytest.mark.full
def test_what_goes_through_everything_is_found_nowhere_in_redis() -> None:
    """The whole file of everything that was ever written does not have the word; what is counted by, it has."""
    with keeping_a_file() as server, receiver() as endpoint:
        with system(server.url, encryption_keys=ONE, handlers="tests.journey.vault") as running:
            worker = running.start_worker("tests.journey.vault")
            for padding in ("", "." * 2000):
                through_a_handler(running, endpoint, padding)
            through_a_url(running, endpoint)
            through_a_schedule(running)
            said = worker.printed() + running.web.printed() + running.scheduler.printed()
        assert ONE[2:] not in said
        held = written(server)
        assert b"vault.keep" in held
        places = [held[max(0, n - 80) : n + 20] for n in positions(held, CANARY.encode())]
        assert [] == places


def positions(held: bytes, word: bytes) -> Iterator[int]:
    at = held.find(word)
    while at >= 0:
        yield at
        at = held.find(word, at + 1)


@pytest.mark.full
def test_keys_are_rotated_while_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps, each a rolling restart: every task ends, and can be read. Who has not the new key does not start."""
    with (
        servers.single("valkey") as server,
        system(server.url, encryption_keys=f"{ONE},{TWO}") as running,
        receiver() as endpoint,
    ):
        worker, ids = running.start_worker("tests.journey.vault", encryption_keys=ONE), []
        for given in (f"{ONE},{TWO}", f"{TWO},{ONE}"):
            ids += [running.submit(url=f"{endpoint.url}/n", body={"n": n})["id"] for n in range(20)]
            newer = running.start_worker("tests.journey.vault", encryption_keys=given)
            worker.end()
            worker = newer
        ids.append(running.submit(name="vault.keep", args={"word": CANARY})["id"])
        done = [running.ended(id_) for id_ in ids]
        assert ({"succeeded"}, CANARY) == ({task["state"] for task in done}, done[-1]["result"]["word"])
        assert [] == [task["unreadable"] for task in done if "unreadable" in task]
        assert {1, 2} <= versions_in_use(server, monkeypatch, capsys)
        refused = running.start("worker", encryption_keys=ONE, handlers="tests.journey.vault")
        assert 0 != refused.process.wait(60)
        assert "version 2 of the key, and this process has 1" in refused.printed()


def versions_in_use(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> set[int]:
    """By which versions of the key there are values, as `taskpost encryption-key --uses` counts them."""
    monkeypatch.setenv("TASKPOST_REDIS_URL", server.url)
    monkeypatch.setenv("TASKPOST_ENCRYPTION_KEYS", f"{TWO},{ONE}")
    capsys.readouterr()
    assert 0 == main(["encryption-key", "--uses", "--json"])
    uses = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {use["version"] for use in uses if use["values"]}
