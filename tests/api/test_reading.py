"""Everything that is read, cancelled and deleted."""

from __future__ import annotations

import base64
from typing import Any

import pytest
import yaml

from service.attempts import pack_line
from service.contract import contract_path, contract_text
from service.errors import TaskpostError
from service.ids import decode_id, shard_of
from service.store import Store
from service.store.attempts import LogNote
from tests.api.serving import ADD, Serving, serving
from tests.servers import Server
from tests.store.acting import Worker, ask_cancel

ERROR = {"type": "ValueError", "message": "no", "traceback": "…"}


async def ended(api: Serving, worker: Worker, result: bytes = b"5", **more: Any) -> str:
    """The id of a task that succeeded with *result*."""
    task = await api.submitted({**ADD, **more})
    await worker.succeed(*await worker.lease(), result=result)
    return str(task["id"])


async def test_task_reads_as_it_moves(api: Serving, worker: Worker) -> None:
    """Queued, running, succeeded, with the times and the worker of each."""
    task = await api.submitted(ADD)
    leased = await worker.lease()
    running = await api.read(task["id"])
    assert ("running", 1, "w1") == (running["state"], running["attempt"], running["worker"])
    assert running["started_at"]
    await worker.succeed(*leased)
    done = await api.read(task["id"])
    assert ("succeeded", 5) == (done["state"], done["result"])
    assert done["finished_at"]


async def test_task_tells_that_it_has_a_checkpoint(api: Serving, worker: Worker) -> None:
    """Since when and how large, while it runs and while it waits again; what it says is the handlers' own."""
    task = await api.submitted(ADD)
    [leased] = await worker.lease()
    assert "checkpoint" not in await api.read(task["id"])
    await worker.store.tasks.note_checkpoints(shard_of(leased.id), [(leased.id, leased.token, 1, b'{"row":17}')])
    shown = (await api.read(task["id"]))["checkpoint"]
    assert {"at": shown["at"], "bytes": 10} == shown
    await worker.again(b"R", leased, delay_ms=60_000)
    assert shown == (await api.read(task["id"]))["checkpoint"]
    await ask_cancel(worker.store, leased.id)
    assert "checkpoint" not in await api.read(task["id"])


@pytest.mark.parametrize(
    ("result", "media_type", "body"),
    [
        (b"5", "application/json", b"5"),
        (b"null", "application/json", b"null"),
        (b'{"a":[1,2]}', "application/json", b'{"a":[1,2]}'),
        (b'"Gr\xc3\xbc\xc3\x9fe"', "text/plain; charset=utf-8", "Grüße".encode()),
        (b'{"base64":"iVBORw==","content_type":"image/png"}', "image/png", base64.b64decode("iVBORw==")),
        (b'{"base64":"aGk=","content_type":"text/html; charset=utf-8"}', "text/html; charset=utf-8", b"hi"),
        (b'{"base64":"aGk=","content_type":"x\\r\\nSet-Cookie: a=b"}', "application/octet-stream", b"hi"),
        (
            b'{"base64":"!","content_type":"image/png"}',
            "application/json",
            b'{"base64":"!","content_type":"image/png"}',
        ),
        (b'{"base64":1,"content_type":"image/png"}', "application/json", b'{"base64":1,"content_type":"image/png"}'),
    ],
)
async def test_result_has_its_own_media_type(
    api: Serving, worker: Worker, result: bytes, media_type: str, body: bytes
) -> None:
    """JSON as JSON, text as text, bytes as bytes; and browsers are told not to run what they get."""
    answer = await api.http.get(f"/v1/tasks/{await ended(api, worker, result)}/result")
    assert (200, media_type, body) == (answer.status_code, answer.headers["content-type"], answer.content)
    assert "nosniff" == answer.headers["x-content-type-options"]
    assert "sandbox" in answer.headers["content-security-policy"]


async def test_missing_results_say_why(api: Serving, worker: Worker) -> None:
    """Not yet, failed, and not kept are three different problems."""
    task = await api.submitted(ADD)
    path = f"/v1/tasks/{task['id']}/result"
    early = await api.http.get(path)
    assert (409, "/problems/not-finished", "queued") == (early.status_code, *kind_and_state(early))
    assert "1" == early.headers["retry-after"]
    await worker.fail(*await worker.lease())
    late = await api.http.get(path)
    assert (409, "/problems/task-failed", "failed") == (late.status_code, *kind_and_state(late))
    assert ERROR == late.json()["error"]
    gone = await api.http.get(f"/v1/tasks/{await ended(api, worker, result_ttl_seconds=0)}/result")
    assert (410, "/problems/result-gone") == (gone.status_code, gone.json()["type"])


def kind_and_state(answer: Any) -> tuple[str, str]:
    return answer.json()["type"], answer.json()["state"]


async def test_attempts_are_all_there(api: Serving, worker: Worker) -> None:
    """Those that were noted, the one that runs, and a first one that succeeded."""
    task = await api.submitted(ADD)
    path = f"/v1/tasks/{task['id']}/attempts"
    assert {"items": [], "next_cursor": None} == (await api.http.get(path)).json()
    row = b'{"attempt":1,"started_ms":1000,"finished_ms":2000,"worker":"w1","outcome":"retried","retry_ms":3000}'
    await worker.again(b"R", *await worker.lease(), row=row)
    leased = await worker.lease()
    first, second = (await api.http.get(path)).json()["items"]
    assert ("retried", "1970-01-01T00:00:03.000Z") == (first["outcome"], first["retry_at"])
    assert (2, None, None) == (second["attempt"], second["outcome"], second["finished_at"])
    assert ([], []) == (first["log"], second["log"])
    await worker.succeed(*leased)
    assert "succeeded" == (await api.http.get(path)).json()["items"][-1]["outcome"]


async def test_attempts_show_what_they_logged(api: Serving, worker: Worker) -> None:
    """While they run and after; what was left out is said in a line before the others."""
    task = await api.submitted(ADD)
    path = f"/v1/tasks/{task['id']}/attempts"
    [leased] = await worker.lease()
    lines = [pack_line(0, "warning", "no address"), pack_line(1, "info", "sent")]
    note = LogNote(leased.id, leased.token, 1200, lines, leased.namespace)
    await worker.store.attempts.note_log(shard_of(leased.id), [note])
    expected = [
        {"at": "1970-01-01T00:00:00.000Z", "level": "info", "message": "… 1,200 earlier lines were left out"},
        {"at": "1970-01-01T00:00:00.000Z", "level": "warning", "message": "no address"},
        {"at": "1970-01-01T00:00:00.001Z", "level": "info", "message": "sent"},
    ]
    [running] = (await api.http.get(path)).json()["items"]
    assert (None, expected) == (running["outcome"], running["log"])
    await worker.succeed(leased)
    [ended] = (await api.http.get(path)).json()["items"]
    assert ("succeeded", expected) == (ended["outcome"], ended["log"])
    assert "log_said" not in ended


async def test_waiting_task_is_cancelled_at_once(api: Serving) -> None:
    """And cancelling again answers the same."""
    task = await api.submitted(ADD)
    for _ in range(2):
        answer = await api.http.post(f"/v1/tasks/{task['id']}/cancel")
        assert (200, "cancelled") == (answer.status_code, answer.json()["state"])


async def test_running_task_is_told_to_stop(api: Serving, worker: Worker) -> None:
    """It reads as cancelling until it has."""
    task = await api.submitted(ADD)
    leased = await worker.lease()
    for _ in range(2):
        answer = await api.http.post(f"/v1/tasks/{task['id']}/cancel")
        assert (202, "cancelling") == (answer.status_code, answer.json()["state"])
    await worker.end_cancelled(*leased)
    assert 200 == (await api.http.post(f"/v1/tasks/{task['id']}/cancel")).status_code


async def test_ended_task_cannot_be_cancelled(api: Serving, worker: Worker) -> None:
    """409, with the state it is in."""
    answer = await api.http.post(f"/v1/tasks/{await ended(api, worker)}/cancel")
    assert (409, "/problems/state-conflict", "succeeded") == (answer.status_code, *kind_and_state(answer))


async def test_deleting_leaves_no_trace(api: Serving, store: Store, worker: Worker, redis_server: Server) -> None:
    """Only of ended tasks; a waiting one is refused."""
    task = await api.submitted({**ADD, "idempotency_key": "k"})
    path = f"/v1/tasks/{task['id']}"
    refused = await api.http.delete(path)
    assert (409, "/problems/state-conflict", "queued") == (refused.status_code, *kind_and_state(refused))
    await ask_cancel(store, decode_id(task["id"]))
    gone = await api.http.delete(path)
    assert (204, b"") == (gone.status_code, gone.content)
    assert 404 == (await api.http.delete(path)).status_code == (await api.http.get(path)).status_code
    assert [] == redis_server.admin.keys("*idem*")
    assert 201 == (await api.post({**ADD, "idempotency_key": "k"})).status_code


async def test_list_is_filtered_and_walked(api: Serving, worker: Worker) -> None:
    """Pages follow each other by their cursor, newest first; filters go together."""
    ids = [(await api.submitted({**ADD, "tags": ["odd" if n % 2 else "even"]}))["id"] for n in range(5)]
    await api.submitted({"url": "http://a.example", "queue": "mail", "tags": ["odd"]})
    seen: list[str] = []
    query: dict[str, Any] = {"tag": "odd", "name": "demo.add", "limit": 1}
    while True:
        page = (await api.http.get("/v1/tasks", params=query)).json()
        seen += [task["id"] for task in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert [ids[3], ids[1]] == seen
    mail = (await api.http.get("/v1/tasks?queue=mail&state=queued")).json()["items"]
    assert ["http://a.example"] == [task["url"] for task in mail]
    assert [] == (await api.http.get("/v1/tasks?state=failed")).json()["items"]


async def test_the_parts_of_a_task_are_listed(api: Serving) -> None:
    """By the id that they were submitted with as their parent; what is no id is refused."""
    whole = (await api.submitted(ADD))["id"]
    parts = [(await api.submitted({**ADD, "parent": whole}))["id"] for _ in range(2)]
    listed = (await api.http.get("/v1/tasks", params={"parent": whole})).json()
    # Ids of one millisecond have no order.
    assert (sorted(parts), None) == (sorted(task["id"] for task in listed["items"]), listed["next_cursor"])
    refused = await api.http.get("/v1/tasks?parent=whole")
    assert (422, "parent") == (refused.status_code, refused.json()["errors"][0]["parameter"])


async def test_listed_task_is_the_task(api: Serving) -> None:
    """A list shows what a read shows."""
    task = await api.submitted({**ADD, "callback": {"url": "http://a.example"}})
    assert [task] == (await api.http.get("/v1/tasks")).json()["items"]


async def test_queues_are_counted(api: Serving, worker: Worker) -> None:
    """One queue alone, and all of them by name."""
    await api.submitted({**ADD, "queue": "mail", "delay_seconds": 60})
    await api.submitted({**ADD, "queue": "mail"})
    mail = (await api.http.get("/v1/queues/mail")).json()
    oldest_seconds = mail.pop("oldest_seconds")
    counts = {"name": "mail", "queued": 1, "scheduled": 1, "running": 0, "settings": {}}
    assert counts == {name: mail[name] for name in counts}
    assert not mail["paused"]
    assert not mail["draining"]
    assert oldest_seconds >= 0
    names = [queue["name"] for queue in (await api.http.get("/v1/queues")).json()["items"]]
    assert ["default", "mail"] == names
    missing = await api.http.get("/v1/queues/mial")
    assert (404, "/problems/not-found") == (missing.status_code, missing.json()["type"])


async def test_workers_and_handlers_are_listed(api: Serving, store: Store) -> None:
    """A handler knows how many live workers run it."""
    worker = {
        "id": "w", "host": "h", "pid": 7, "started_ms": 1000, "seen_ms": 2000, "queues": ["*"], "running": 0,
        "handlers": ["demo.add"], "processes": 1, "slots": {"async": 5}, "version": "0.1.0",
    }  # fmt: skip
    await store.workers.announce(worker, store.tasks.clock.now_ms())
    [shown] = (await api.http.get("/v1/workers")).json()["items"]
    assert ("w", "1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z") == (
        shown["id"],
        shown["started_at"],
        shown["seen_at"],
    )
    handlers = (await api.http.get("/v1/handlers")).json()["items"]
    assert {"demo.add": 1, "demo.flaky": 0, "demo.progress": 0, "demo.sleep": 0} == {
        one["name"]: one["workers"] for one in handlers
    }
    assert {"a", "b"} == set(handlers[0]["args_schema"]["properties"])


async def test_contract_is_served_as_written(api: Serving) -> None:
    """YAML with its comments, and the same as JSON."""
    text = await api.http.get("/openapi.yaml")
    assert (contract_text(), "application/yaml") == (text.content, text.headers["content-type"])
    assert contract_path().read_bytes() == text.content
    assert yaml.safe_load(text.content) == (await api.http.get("/openapi.json")).json()


async def test_head_answers_as_get_without_a_body(api: Serving) -> None:
    """Monitors ask so."""
    for path in ("/livez", "/v1/tasks", "/openapi.yaml"):
        got, head = await api.http.get(path), await api.http.head(path)
        assert (200, got.headers["content-length"], b"") == (
            head.status_code,
            head.headers["content-length"],
            head.content,
        )


async def test_unexpected_exceptions_tell_a_number_only(
    api: Serving, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 as a problem without internals; the log has the rest under the same number."""

    def broken(*_: Any) -> Any:
        raise TaskpostError("the secret of the house")

    monkeypatch.setattr(api.api.runtime.store.queues, "list", broken)
    monkeypatch.setattr(api.api.runtime.store.memory, "check", broken)
    for answer in (await api.http.get("/v1/queues"), await api.post(ADD)):
        assert (500, "/problems/internal-error") == (answer.status_code, answer.json()["type"])
        assert "secret" not in answer.text
        number = answer.json()["detail"].split()[-1].rstrip(".")
        assert number in caplog.text
    assert "the secret of the house" in caplog.text


async def test_readiness_tells_of_the_store(redis_server: Server, store: Store) -> None:
    """Each check is named."""
    checks = {"process": "ok", "store": "ok", "memory": "ok"}
    async with serving(redis_server.url) as api:
        assert {"status": "ok", "checks": checks} == (await api.http.get("/readyz")).json()
