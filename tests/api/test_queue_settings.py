"""`PATCH /v1/queues/{queue}`: what applies to tasks that say nothing themselves."""

from __future__ import annotations

from typing import Any

import pytest

from service.store import Store
from tests.api.serving import ADD, Serving

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
    assert 404 == (await api.http.patch("/v1/queues/mail", json={"callback": None})).status_code


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
