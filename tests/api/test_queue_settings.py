"""`PATCH /v1/queues/{queue}`: what applies to tasks that say nothing themselves."""

from __future__ import annotations

from typing import Any

import pytest

from service.ids import decode_id, encode_id
from service.store import Store, keys
from service.store.endings import Ending, Origin, report
from service.store.outside import cancel
from service.task import options_of
from tests.api.serving import ADD, Serving, handler, publish
from tests.store.acting import Worker
from workers.push.client import PushClient
from workers.registry import Registry
from workers.run import Pipeline

HOOK = {"url": "https://hooks.example.com/failed", "on": ["failed"]}


async def patched(api: Serving, queue: str, settings: dict[str, Any]) -> dict[str, Any]:
    answer = await api.http.patch(f"/v1/queues/{queue}", json=settings)
    assert 200 == answer.status_code, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_a_queue_has_settings_before_its_first_task(api: Serving) -> None:
    """It is listed and read with them; null removes them."""
    shown = await patched(api, "mail", {"callback": HOOK})
    assert ("mail", 0, HOOK) == (shown["name"], shown["queued"], shown["settings"]["callback"])
    assert shown == (await api.http.get("/v1/queues/mail")).json()
    assert ["default", "mail"] == [one["name"] for one in (await api.http.get("/v1/queues")).json()["items"]]
    assert {} == (await patched(api, "mail", {"callback": None}))["settings"]
    assert 404 == (await api.http.get("/v1/queues/mail")).status_code


async def test_tasks_that_say_nothing_have_the_callback_of_their_queue(api: Serving) -> None:
    """One alone, in a batch, by a schedule; those that have their own keep it, and other queues have none."""
    await patched(api, "mail", {"callback": HOOK})
    mail = {**ADD, "queue": "mail"}
    own = {"url": "https://hooks.example.com/own"}
    task = await api.submitted(mail)
    assert HOOK["url"] == task["callback"]["url"]
    assert task == await api.read(task["id"])
    assert own["url"] == (await api.submitted({**mail, "callback": own}))["callback"]["url"]
    assert "callback" not in await api.submitted(ADD)
    [receipt] = (await api.http.post("/v1/tasks/batch", json=[mail])).json()
    assert HOOK["url"] == receipt["task"]["callback"]["url"]
    schedule = {"name": "s", "cron": "@yearly", "task": mail}
    assert 201 == (await api.http.post("/v1/schedules", json=schedule)).status_code
    assert HOOK["url"] == (await api.http.post("/v1/schedules/s/run")).json()["callback"]["url"]


async def test_a_key_stands_for_what_its_user_sent(api: Serving) -> None:
    """A setting that changes between two tries of one submission makes no other submission of it."""
    keyed = {**ADD, "queue": "mail", "idempotency_key": "k-1"}
    first = await api.submitted(keyed)
    await patched(api, "mail", {"callback": HOOK})
    again = await api.post(keyed)
    assert (200, first["id"]) == (again.status_code, again.json()["id"])


async def test_other_processes_know_within_seconds(api: Serving, store: Store) -> None:
    """Each reads again what has changed."""
    await patched(api, "mail", {"callback": HOOK})
    await store.queue_book.renew()
    assert HOOK == store.queue_book.known("default", "mail")["callback"]


@pytest.mark.parametrize(
    ("settings", "pointers"),
    [
        ({"callback": {"url": "http://169.254.169.254/"}}, ["/callback/url"]),
        ({"callback": {"url": "https://a.example", "headers": {"Host": "x"}}}, ["/callback/headers/Host"]),
        ({"callback": {"url": None}}, ["/callback"]),
        ({"retry": 1}, ["/retry"]),
    ],
)
async def test_what_cannot_be_is_refused(api: Serving, settings: dict[str, Any], pointers: list[str]) -> None:
    """And changes nothing."""
    await patched(api, "mail", {"callback": HOOK})
    answer = await api.http.patch("/v1/queues/mail", json=settings)
    assert (422, pointers) == (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]])
    assert HOOK == (await api.http.get("/v1/queues/mail")).json()["settings"]["callback"]


async def test_a_name_that_no_queue_can_have_is_not_found(api: Serving) -> None:
    """Whatever is set for it."""
    assert 404 == (await api.http.patch("/v1/queues/a b", json={"callback": HOOK})).status_code


# ---------------------------------------------------------------- paused, drained, versions


@pytest.mark.parametrize(
    ("stop", "told"), [("paused", "paused"), ("drain", "draining")], ids=["a pause", "a drain"]
)
async def test_a_stop_says_since_when_why_and_by_whom(api: Serving, stop: str, told: str) -> None:
    """The first word stands until the queue is resumed; a body may be left out."""
    path = "/v1/queues/mail/" + {"paused": "pause", "drain": "drain"}[stop]
    first = (await api.http.post(path, json={"reason": "the provider is down", "by": "ada"})).json()
    assert (True, "the provider is down", "ada") == (first[told], first[f"{told}_reason"], first[f"{told}_by"])
    assert first == (await api.http.post(path)).json() == (await api.http.get("/v1/queues/mail")).json()
    resumed = (await api.http.post("/v1/queues/mail/resume")).json()
    assert (False, None, None, None) == tuple(resumed[told + part] for part in ("", "_at", "_reason", "_by"))
    assert [f"/{name}" for name in ("by", "why")] == sorted(
        fault["pointer"] for fault in (await api.http.post(path, json={"why": 1, "by": ""})).json()["errors"]
    )


async def test_a_pause_is_a_setting_too(api: Serving) -> None:
    """PATCH pauses with the reason, and resumes; it leaves the other settings as they are."""
    await patched(api, "mail", {"concurrency": 3.0, "retries": 7})
    paused = await patched(api, "mail", {"paused": True, "reason": "night", "retries": None})
    assert (True, "night", {"concurrency": 3}) == (paused["paused"], paused["paused_reason"], paused["settings"])
    assert not (await patched(api, "mail", {"paused": False}))["paused"]
    refused = await api.http.patch("/v1/queues/mail", json={"reason": "no"})
    assert (422, "/reason") == (refused.status_code, refused.json()["errors"][0]["pointer"])


async def test_a_paused_queue_takes_tasks_and_gives_none(api: Serving, worker: Worker) -> None:
    """Until it is resumed."""
    await api.http.post("/v1/queues/default/pause")
    task = await api.submitted(ADD)
    assert ("queued", []) == ((await api.read(task["id"]))["state"], await worker.lease())
    await api.http.post("/v1/queues/default/resume")
    assert [task["id"]] == [encode_id(one.id) for one in await worker.lease()]


async def test_a_change_counts_for_the_version_it_was_decided_on(api: Serving) -> None:
    """If-Match with an older ETag is refused, by every method, and changes nothing."""
    first = await api.http.patch("/v1/queues/mail", json={"concurrency": 3})
    stale = {"If-Match": first.headers["ETag"]}
    second = await api.http.patch("/v1/queues/mail", json={"concurrency": 4}, headers=stale)
    assert (200, True) == (second.status_code, second.headers["ETag"] != first.headers["ETag"])
    for method, path in [("PATCH", ""), ("POST", "/pause"), ("POST", "/drain"), ("POST", "/resume"), ("DELETE", "")]:
        body = {"json": {"concurrency": 5}} if method == "PATCH" else {}
        refused = await api.http.request(method, f"/v1/queues/mail{path}", headers=stale, **body)  # type: ignore[arg-type]
        assert (412, "precondition-failed") == (refused.status_code, refused.json()["type"].rpartition("/")[2])
    assert second.headers["ETag"] == (await api.http.get("/v1/queues/mail")).headers["ETag"]


async def test_a_drained_queue_takes_no_submission(api: Serving, worker: Worker) -> None:
    """Alone, in a batch, passed on or replayed; what is in it runs empty, and its key stays free for later."""
    task = await api.submitted({**ADD, "queue": "mail"})
    await api.http.post("/v1/queues/mail/drain")
    keyed = {**ADD, "queue": "mail", "idempotency_key": "k"}
    assert (409, "/problems/queue-draining") == refused_as(await api.post(keyed))
    [receipt, taken] = (await api.http.post("/v1/tasks/batch", json=[keyed, ADD])).json()
    assert (409, 201) == (receipt["status"], taken["status"])
    [leased] = await worker.lease(queue="mail")
    await worker.succeed(leased)
    assert (409, "/problems/queue-draining") == refused_as(await api.http.post(f"/v1/tasks/{task['id']}/replay"))
    sent = await api.http.post("/v1/send/https://example.com/x?taskpost-queue=mail", content=b"x")
    assert (409, "/problems/queue-draining") == refused_as(sent), sent.text
    await api.http.post("/v1/queues/mail/resume")
    assert 201 == (await api.post(keyed)).status_code
    assert 422 == (await api.http.post("/v1/queues/callbacks/drain")).status_code


def refused_as(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"]


async def test_a_full_queue_refuses_what_is_over_its_length(api: Serving, worker: Worker) -> None:
    """429 says when to come again; delayed tasks count, running ones do not."""
    await patched(api, "default", {"max_length": 2})
    await api.submitted(ADD)
    await api.submitted({**ADD, "delay_seconds": 3600})
    full = await api.post(ADD)
    assert (429, "/problems/queue-full") == refused_as(full)
    assert "1" == full.headers["Retry-After"]
    assert [429, 201] == [
        one["status"] for one in (await api.http.post("/v1/tasks/batch", json=[ADD, {**ADD, "queue": "mail"}])).json()
    ]
    assert 1 == len(await worker.lease())
    await api.submitted(ADD)


async def test_the_oldest_give_way_where_that_is_set(api: Serving, worker: Worker) -> None:
    """They are cancelled, and say why; the newest are there."""
    await patched(api, "default", {"max_length": 2, "when_full": "drop_oldest"})
    ids = [(await api.submitted({**ADD, "priority": n % 3}))["id"] for n in range(4)]
    states = [(await api.read(id_)) for id_ in ids]
    assert ["cancelled", "cancelled", "queued", "queued"] == [task["state"] for task in states]
    assert "QueueFull" == states[0]["error"]["type"]
    assert set(ids[2:]) == {encode_id(task.id) for task in await worker.lease_all()}


async def test_an_empty_queue_can_be_deleted(api: Serving, worker: Worker) -> None:
    """Its settings go; one that holds tasks stays, and says what holds it; one without settings is not there."""
    await patched(api, "mail", {"concurrency": 3})
    await api.submitted({**ADD, "queue": "mail"})
    refused = await api.http.delete("/v1/queues/mail")
    assert (409, "/problems/queue-not-empty") == refused_as(refused)
    assert "1 queued" in refused.json()["detail"]
    await worker.succeed(*await worker.lease(queue="mail"))
    assert 204 == (await api.http.delete("/v1/queues/mail")).status_code
    assert 404 == (await api.http.delete("/v1/queues/mail")).status_code


async def test_what_a_task_does_not_say_its_queue_says(api: Serving, store: Store) -> None:
    """The submission wins over the handler, that over the queue, that over the deployment: alone, in a batch, later."""
    await publish(store, [{**handler("demo.add", a="integer", b="integer"), "retries": 9}])
    await api.api.runtime.store.handlers.refresh()
    settings = {"retries": 5, "timeout_seconds": 7, "retry_for_seconds": 60, "backoff": {"kind": "constant"},
                "result_ttl_seconds": 99, "failure_ttl_seconds": 999}  # fmt: skip
    await patched(api, "mail", settings)
    task = await api.submitted({**ADD, "queue": "mail", "result_ttl_seconds": 1})
    assert settings | {"retries": 9, "result_ttl_seconds": 1} == {name: task[name] for name in settings}
    assert task == await api.read(task["id"])
    url = await api.submitted({"url": "https://example.com/x", "queue": "mail"})
    assert (5, 7) == (url["retries"], url["timeout_seconds"])
    assert "failure_ttl_seconds" not in await api.submitted(ADD)


async def test_an_attempt_runs_within_the_limits_of_its_queue(api: Serving, store: Store, worker: Worker) -> None:
    """A worker looks them up as the API does: what the task says wins over what its queue says."""
    await patched(api, "mail", {"timeout_seconds": 7, "retries": 1})
    for more in ({}, {"retries": 4}):
        await api.submitted({**ADD, "queue": "mail", **more})
    await api.submitted(ADD)
    await store.queue_book.renew()
    pipeline = Pipeline(Registry(), {}, PushClient.__new__(PushClient), store.settings, "w", store)
    tasks = [*await worker.lease(queue="mail"), *await worker.lease()]
    options = [pipeline.prepare(task, 0).options for task in tasks]
    assert [(7, 1), (7, 4), (1800, 3)] == [(one["timeout_seconds"], one["retries"]) for one in options]


async def test_failures_are_kept_as_long_as_their_queue_says(
    api: Serving, store: Store, worker: Worker
) -> None:
    """And successes as long as their own time says."""
    await patched(api, "default", {"failure_ttl_seconds": 300})
    task = await api.submitted(ADD)
    assert "ended" == await cancel(store.tasks, store.handlers, store.settings, decode_id(task["id"]))
    options = {**options_of({}, None, store.settings), "failure_ttl_seconds": 300.0}
    failed = await api.submitted(ADD)
    [leased] = await worker.lease()
    error = {"type": "x", "message": "", "traceback": None}
    made = report(
        Origin.of_leased(leased, "w"), Ending("failed", error=error), options,
        now_ms=store.tasks.clock.now_ms(), settings=store.settings,
    )  # fmt: skip
    await worker.report([leased], [made])
    ttl_ms = await store.scripts.command("PTTL", keys.record(decode_id(failed["id"])))
    assert 200_000 < ttl_ms <= 300_000


@pytest.mark.parametrize(
    ("settings", "pointer"),
    [
        ({"burst": 2}, "/burst"),
        ({"period_seconds": 2}, "/period_seconds"),
        ({"when_full": "reject"}, "/when_full"),
        ({"rate": 0}, "/rate"),
        ({"concurrency": 1.5}, "/concurrency"),
        ({"soft_timeout_seconds": 9, "timeout_seconds": 9}, "/soft_timeout_seconds"),
        ({"backoff": {"kind": "often"}}, "/backoff/kind"),
    ],
)
async def test_limits_that_cannot_be_are_refused(api: Serving, settings: dict[str, Any], pointer: str) -> None:
    """Each fault is named."""
    answer = await api.http.patch("/v1/queues/mail", json=settings)
    assert (422, [pointer]) == (answer.status_code, [fault["pointer"] for fault in answer.json()["errors"]])
    assert 422 == (await api.http.patch("/v1/queues/callbacks", json={"max_length": 5})).status_code


# ---------------------------------------------------------------- purged, scaled


async def test_what_a_purge_would_cancel_is_counted_first(api: Serving, worker: Worker) -> None:
    """What waits, delayed or not; neither what runs nor what is in other queues. Then it begins, and can be watched."""
    await api.submitted({**ADD, "queue": "mail"})
    await worker.lease(queue="mail")
    for more in ({}, {"delay_seconds": 60}, {"priority": 9}):
        await api.submitted({**ADD, "queue": "mail", **more})
    await api.submitted(ADD)
    count = await api.http.post("/v1/queues/mail/purge", json={"dry_run": True})
    assert (200, 3, 3) == (count.status_code, count.json()["matched"], len(count.json()["sample"]))
    assert [] == (await api.http.get("/v1/bulk")).json()["items"]
    begun = await api.http.post("/v1/queues/mail/purge")
    assert (202, "cancel") == (begun.status_code, begun.json()["action"])
    watched = (await api.http.get(begun.headers["Location"])).json()
    assert {"queue": "mail", "state": "queued,scheduled"} == watched["filter"]
    assert 422 == (await api.http.post("/v1/queues/mail/purge", json={"dry": True})).status_code
    for _ in range(9):
        assert 202 == (await api.http.post("/v1/queues/mail/purge", json={"rate_per_second": 1})).status_code
    assert 409 == (await api.http.post("/v1/queues/mail/purge")).status_code


async def test_a_queue_says_how_many_workers_it_needs(api: Serving, worker: Worker) -> None:
    """By what runs and what may start now, within bounds; none for what a pause or a limit holds back."""

    async def desired(**query: int) -> int:
        answer = await api.http.get("/v1/queues/mail/scale", params=query)
        assert 200 == answer.status_code, answer.text
        many: int = answer.json()["desired"]
        return many

    assert (0, 2) == (await desired(), await desired(min=2))
    for _ in range(7):
        await api.submitted({**ADD, "queue": "mail"})
    await worker.lease(queue="mail", room=2)
    assert (1, 4, 3) == (await desired(), await desired(tasks_per_worker=2), await desired(tasks_per_worker=2, max=3))
    await patched(api, "mail", {"concurrency": 4})
    assert 2 == await desired(tasks_per_worker=2)
    await patched(api, "mail", {"paused": True})
    assert 1 == await desired(tasks_per_worker=2)
    assert 422 == (await api.http.get("/v1/queues/mail/scale", params={"tasks_per_worker": 0})).status_code
