"""Every action of the dashboard in a real browser; what it did is read through the API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests import servers
from tests.browser.test_pages import open_page
from tests.parts import System, system
from tests.servers import until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route


def submit(running: System, **submission: Any) -> dict[str, Any]:
    given = {"name": "demo.add", "args": {"a": 2, "b": 3}, **submission}
    task: dict[str, Any] = running.api.post("/v1/tasks", json=given).json()
    return task


def read(running: System, id_: str) -> dict[str, Any]:
    task: dict[str, Any] = running.api.get(f"/v1/tasks/{id_}").json()
    return task


def ended(running: System, **submission: Any) -> dict[str, Any]:
    """A task that has come to its end."""
    id_ = submit(running, **submission)["id"]
    until(lambda: read(running, id_)["finished_at"], "the task ended")
    return read(running, id_)


FAILS = {"name": "demo.flaky", "args": {"fail_times": 9}, "retries": 0}
LATER = {"delay_seconds": 3600}


def menu(page: Page, action: str, name: str = "Actions") -> None:
    """Choose *action* in the page's menu."""
    page.get_by_role("button", name=name, exact=True).first.click()
    page.get_by_role("menuitem", name=action).click()


def by_replay(running: System, of: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = running.api.get("/v1/tasks", params={"limit": 200}).json()["items"]
    return [one for one in items if one.get("replay_of") == of]


# ---------------------------------------------------------------- one task


def test_a_task_is_cancelled(running: System, page: Page) -> None:
    """By its button; the page shows it at once."""
    task = submit(running, name="demo.sleep", args={"seconds": 600})
    open_page(page, f"/tasks/{task['id']}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    until(lambda: "cancelled" == read(running, task["id"])["state"], "the task is cancelled")
    page.locator(".head .state-cancelled").wait_for()


def test_a_task_is_replayed_by_the_keyboard(running: System, page: Page) -> None:
    """`r` in a task that ended; the new task is a link away."""
    task = ended(running, **FAILS)
    open_page(page, f"/tasks/{task['id']}")
    page.keyboard.press("r")
    page.get_by_role("link", name="Open it").click()
    page.wait_for_url(lambda url: task["id"] not in url)
    assert [page.url.rsplit("/", 1)[1]] == [one["id"] for one in by_replay(running, task["id"])]


def test_a_task_is_replayed_with_edits(running: System, page: Page, refusals: set[int]) -> None:
    """Other arguments; a fault of theirs is told in the dialog, which stays."""
    refusals.add(422)
    task = ended(running)
    open_page(page, f"/tasks/{task['id']}")
    menu(page, "Replay with edits")
    page.locator("#field-args").fill('{"a": "no number", "b": 3}')
    page.get_by_role("button", name="Replay", exact=True).last.click()
    page.locator("dialog .problem").get_by_text("/args/a").first.wait_for()
    page.locator("#field-args").fill('{"a": 40, "b": 2}')
    page.locator("dialog button[type=submit]").click()
    page.wait_for_url(lambda url: "/tasks/" in url and task["id"] not in url)
    made = read(running, page.url.rsplit("/", 1)[1])
    assert (task["id"], {"a": 40, "b": 2}) == (made["replay_of"], made["args"])


def test_a_waiting_task_is_run_now(running: System, page: Page) -> None:
    """One that is due in an hour."""
    task = submit(running, **LATER)
    open_page(page, f"/tasks/{task['id']}")
    page.get_by_role("button", name="Run now").click()
    until(lambda: "succeeded" == read(running, task["id"])["state"], "the task ran")
    page.get_by_label("result", exact=True).get_by_text("5").wait_for()


def test_a_waiting_task_is_rescheduled(running: System, page: Page) -> None:
    """Its priority and its time."""
    task = submit(running, **LATER)
    open_page(page, f"/tasks/{task['id']}")
    menu(page, "Reschedule")
    page.get_by_label("Or in how many seconds").fill("7200")
    page.get_by_label("Priority").fill("9")
    page.locator("dialog button[type=submit]").click()
    page.locator("dialog").wait_for(state="detached")
    changed = read(running, task["id"])
    assert 9 == changed["priority"]
    assert task["run_at"] < changed["run_at"]


def test_an_ended_task_is_deleted(running: System, page: Page) -> None:
    """After a question."""
    task = ended(running)
    open_page(page, f"/tasks/{task['id']}")
    menu(page, "Delete")
    page.locator("dialog").get_by_role("button", name="Delete").click()
    page.wait_for_url("**/ui/tasks")
    assert 404 == running.api.get(f"/v1/tasks/{task['id']}").status_code


def test_a_task_is_duplicated_in_the_playground(running: System, page: Page) -> None:
    """Its arguments stand in the form; the copy is another task."""
    task = ended(running, args={"a": 11, "b": 31})
    open_page(page, f"/tasks/{task['id']}")
    menu(page, "Duplicate")
    page.wait_for_function("() => document.querySelector('#arg-a')?.value === '11'")
    page.get_by_role("button", name="Submit").click()
    page.locator(".came").get_by_text("42").wait_for()


def test_a_running_task_shows_its_progress_and_log_live(running: System, page: Page) -> None:
    """Without a reload."""
    task = submit(running, name="report:daily", args={"steps": 3000})
    open_page(page, f"/tasks/{task['id']}")
    page.get_by_text(re.compile(r"counting shard \d+")).first.wait_for()
    page.locator(".log").get_by_text(re.compile("shard 4 of 3000")).wait_for()
    running.api.post(f"/v1/tasks/{task['id']}/cancel")
    page.locator(".head .state-cancelled").wait_for()


def test_a_log_comes_by_the_stream_of_the_task(running: System, page: Page) -> None:
    """Also when its attempts are never read again: here the first answer is given over and over."""
    first: list[str] = []

    def answer(route: Route) -> None:
        first[:] = first or [route.fetch().text()]
        route.fulfill(body=first[0], content_type="application/json")

    page.route("**/attempts", answer)
    task = submit(running, name="report:daily", args={"steps": 3000})
    until(lambda: "running" == read(running, task["id"])["state"], "the task runs")
    open_page(page, f"/tasks/{task['id']}")
    page.locator(".log").get_by_text(re.compile("shard 12 of 3000")).wait_for()
    page.get_by_label("Events, list").get_by_text("12 of 3000").wait_for()
    assert "shard 12 of 3000" not in first[0]
    running.api.post(f"/v1/tasks/{task['id']}/cancel")
    page.locator(".head .state-cancelled").wait_for()


def test_an_ended_task_is_asked_for_no_more(running: System, page: Page) -> None:
    """The attempts may be asked for once more, when they were here before the task; then nothing is."""
    task = ended(running)
    page.clock.install()
    open_page(page, f"/tasks/{task['id']}")
    page.get_by_label("result", exact=True).get_by_text("5").wait_for()
    page.wait_for_load_state("networkidle")
    page.clock.run_for(60_000)
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.clock.run_for(3_600_000)
    page.keyboard.press("Escape")
    assert [] == asked


def test_a_failed_call_is_shown_with_request_answer_and_curl(running: System, page: Page) -> None:
    """What was sent, what came back, how long each step took."""
    given = {"url": f"{running.url}/echo/x?status=500", "body": {"n": 1}, "retries": 0}
    made = running.api.post("/v1/tasks", json=given).json()
    until(lambda: read(running, made["id"])["finished_at"], "the call was made")
    open_page(page, f"/tasks/{made['id']}")
    page.get_by_text("HTTP 500").wait_for()
    page.get_by_role("button", name="request").click()
    page.get_by_text("POST http://127.0.0.1").last.wait_for()
    page.get_by_role("button", name="Copy as curl").wait_for()


# ---------------------------------------------------------------- lists


@pytest.fixture
def tagged(running: System) -> Iterator[list[str]]:
    """Five failed tasks with a tag of their own."""
    yield [ended(running, **FAILS, tags=["walk"])["id"] for _ in range(5)]
    for one in running.api.get("/v1/tasks", params={"tag": "walk", "limit": 200}).json()["items"]:
        running.api.delete(f"/v1/tasks/{one['id']}")


def test_the_query_is_in_the_address(running: System, page: Page, tagged: list[str]) -> None:
    """As it is typed, and it can be opened from there."""
    open_page(page, "/tasks")
    page.keyboard.press("/")
    page.keyboard.type("tag:walk state:failed", delay=5)
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks?q=tag%3Awalk+state%3Afailed")
    page.reload()
    page.get_by_text("5 tasks in all").wait_for()
    assert 5 == page.locator(".virtual tbody tr").count()


def test_a_fault_of_the_query_is_told(page: Page, refusals: set[int]) -> None:
    """A word that is no qualifier, and a state that there is not."""
    refusals.add(422)
    open_page(page, "/tasks?q=colour%3Ared%20state%3Agone")
    page.get_by_text("colour: is no qualifier").wait_for()
    page.get_by_text("state:gone is no state").wait_for()


def test_rows_are_selected_and_replayed_by_the_keyboard(running: System, page: Page, tagged: list[str]) -> None:
    """j, x, j, x, r: two of five."""
    open_page(page, "/tasks?q=tag%3Awalk%20state%3Afailed")
    page.get_by_text("5 tasks in all").wait_for()
    for key in "jxjx":
        page.keyboard.press(key)
    page.get_by_text("2 tasks selected").wait_for()
    page.get_by_text("Paused while you select").wait_for()
    page.keyboard.press("r")
    until(lambda: 2 == sum(len(by_replay(running, one)) for one in tagged), "two were replayed")


def test_all_that_match_are_replayed_by_the_service(running: System, page: Page, tagged: list[str]) -> None:
    """Counted first, begun, watched to its end."""
    open_page(page, "/dead?q=tag%3Awalk")
    page.get_by_text("5 tasks in all").wait_for()
    menu(page, "Replay", "All that match")
    page.locator("dialog .count", has_text="5 tasks").wait_for()
    page.locator("dialog button[type=submit]").click()
    page.wait_for_url("**/bulk?id=*")
    page.locator(".bulk.is-named").get_by_text("done", exact=True).wait_for()
    assert [1] * 5 == [len(by_replay(running, one)) for one in tagged]


def test_all_that_match_are_cancelled_and_one_is_aborted(running: System, page: Page) -> None:
    """A slow one can be stopped in between: what is done stays done."""
    for _ in range(6):
        submit(running, **LATER, tags=["many"])
    begun = running.api.post("/v1/bulk/cancel", json={"filter": {"tag": "many"}, "rate_per_second": 0.2}).json()
    open_page(page, f"/bulk?id={begun['id']}")
    page.locator(".bulk.is-named").get_by_role("button", name="Abort").click()
    until(lambda: "aborted" == running.api.get(f"/v1/bulk/{begun['id']}").json()["state"], "it is aborted")
    page.locator(".bulk.is-named").get_by_text("aborted", exact=True).wait_for()
    open_page(page, "/tasks?q=tag%3Amany")
    menu(page, "Cancel", "All that match")
    page.locator("dialog .count").wait_for()
    page.locator("dialog button[type=submit]").click()
    waiting = {"tag": "many", "state": "scheduled"}
    until(lambda: not running.api.get("/v1/tasks", params=waiting).json()["items"], "all ended")


def test_the_list_is_live_and_holds_still_while_it_is_read(running: System, page: Page) -> None:
    """A new task appears; while one is selected nothing moves, and the changes are counted."""
    first = ended(running, tags=["live"])
    open_page(page, "/tasks?q=tag%3Alive")
    page.locator(f".virtual a[href$='{first['id']}']").wait_for()
    second = submit(running, tags=["live"])
    page.locator(f".virtual a[href$='{second['id']}']").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("x")
    third = ended(running, tags=["live"])
    page.locator(".live .badge").wait_for()
    assert 0 == page.locator(f".virtual a[href$='{third['id']}']").count()
    page.keyboard.press("Escape")
    page.locator(f".virtual a[href$='{third['id']}']").wait_for()


# ---------------------------------------------------------------- the others


def test_a_queue_is_paused_and_resumed(running: System, page: Page) -> None:
    """Nothing new starts in between."""
    submit(running, queue="walk", **LATER)
    open_page(page, "/queues/walk")
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("nothing new starts").first.wait_for()
    assert running.api.get("/v1/queues/walk").json()["paused"]
    page.get_by_role("button", name="Resume").click()
    until(lambda: not running.api.get("/v1/queues/walk").json()["paused"], "it goes on")


def test_a_queue_is_limited_and_drained(running: System, page: Page) -> None:
    """By its form; what is taken out of it is taken away, and a reason is kept."""
    submit(running, queue="limited", **LATER)
    open_page(page, "/queues/limited")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Tasks that run at once, over all workers").fill("3")
    page.locator("#field-more").fill('{"retries": 7}')
    page.locator("dialog button[type=submit]").click()
    wanted = {"concurrency": 3, "retries": 7}
    until(lambda: wanted == running.api.get("/v1/queues/limited").json()["settings"], "it is limited")
    page.get_by_label("settings", exact=True).get_by_text("concurrency").wait_for()
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Tasks that run at once, over all workers").fill("")
    page.locator("dialog button[type=submit]").click()
    until(lambda: {"retries": 7} == running.api.get("/v1/queues/limited").json()["settings"], "the limit is gone")
    menu(page, "Drain")
    page.get_by_label("Why").fill("moving house")
    page.locator("dialog button[type=submit]").click()
    page.get_by_text("moving house").wait_for()
    assert "moving house" == running.api.get("/v1/queues/limited").json()["draining_reason"]


def test_a_flow_key_is_paused_and_limited(running: System, page: Page) -> None:
    """From the page of queues, where all keys stand."""
    submit(running, flow={"key": "acme", "concurrency": 2}, **LATER)
    open_page(page, "/queues")
    menu(page, "Pause", "Actions of acme")
    until(lambda: running.api.get("/v1/flows/acme").json()["paused"], "it is paused")
    menu(page, "Limits", "Actions of acme")
    page.get_by_label("Tasks that run at once").fill("9")
    page.locator("dialog button[type=submit]").click()
    until(lambda: 9 == running.api.get("/v1/flows/acme").json()["concurrency"], "it is limited")


def test_a_queue_shows_its_groups_and_their_weights(running: System, page: Page, refusals: set[int]) -> None:
    """Whose tasks take turns; the share of each follows its weight, and one may have a weight before its first task."""
    refusals.add(422)
    for group in ("tenant-1", "tenant-1", "tenant-2"):
        submit(running, queue="shared", group=group, **LATER)
    open_page(page, "/queues/shared")
    page.get_by_role("button", name="Weight of tenant-2").click()
    page.get_by_label("Weight", exact=True).fill("3")
    page.locator("dialog button[type=submit]").click()
    page.get_by_role("row", name="tenant-2").get_by_text("75 %").wait_for()
    assert weights(running, "shared") == {"tenant-1": 1, "tenant-2": 3}
    page.get_by_role("button", name="Weight…", exact=True).first.click()
    page.get_by_role("textbox", name="Group").fill("tenant-3")
    page.get_by_label("Weight", exact=True).fill("5000")
    page.locator("dialog button[type=submit]").evaluate("button => { button.form.noValidate = true; button.click(); }")
    page.locator("dialog .problem").get_by_text("/weight").first.wait_for()
    page.get_by_label("Weight", exact=True).fill("0.5")
    page.locator("dialog button[type=submit]").click()
    page.get_by_role("row", name="tenant-3").wait_for()
    assert weights(running, "shared") == {"tenant-1": 1, "tenant-2": 3, "tenant-3": 0.5}


def weights(running: System, queue: str) -> dict[str, float]:
    return {one["name"]: one["weight"] for one in running.api.get(f"/v1/queues/{queue}/groups").json()["items"]}


def test_a_queue_lists_the_flow_keys_of_its_tasks(running: System, page: Page) -> None:
    """And only those; they are changed there, too."""
    submit(running, queue="keyed", flow={"key": "here", "concurrency": 2}, **LATER)
    submit(running, queue="elsewhere", flow={"key": "there"}, **LATER)
    open_page(page, "/queues/keyed")
    menu(page, "Pause", "Actions of here")
    until(lambda: running.api.get("/v1/flows/here").json()["paused"], "it is paused")
    page.get_by_role("row", name="here").get_by_text("paused").wait_for()
    assert 0 == page.get_by_text("there", exact=True).count()


def test_the_audit_log_says_who_changed_what(running: System, page: Page) -> None:
    """What was done and what was refused, found by a part of its text, page by page; the filter is in the address."""
    for n in range(120):
        running.api.post("/v1/queues/audited/pause" if n % 2 else "/v1/queues/audited/resume")
    running.api.patch("/v1/flows/audited", json={"concurrency": "many"})
    open_page(page, "/settings")
    audit = page.get_by_role("region", name="Audit, table")
    audit.get_by_text("/v1/flows/audited").first.wait_for()
    assert 50 == audit.locator("tbody tr").count()
    page.get_by_role("button", name="Older").click()
    page.get_by_role("button", name="Newer", disabled=False).wait_for()
    page.get_by_role("button", name="refused").click()
    audit.get_by_text("422 refused").first.wait_for()
    page.get_by_label("Filter the audit log").fill("flows/audited")
    page.wait_for_url("**/settings?*audit=flows*")
    page.wait_for_function("() => document.querySelectorAll('[aria-label^=Audit] tbody tr').length === 1")
    assert "anybody" in audit.inner_text()
    page.get_by_label("Filter the audit log").fill("nobody did this")
    page.get_by_text("No entry says that.").wait_for()


def test_a_worker_is_quieted_resumed_resized_and_stopped(running: System, page: Page, refusals: set[int]) -> None:
    """Each is told by the page and obeyed by the worker."""
    refusals.add(404)
    started = running.start_worker()
    worker = next(one["id"] for one in running.workers() if one["pid"] == started.process.pid)
    open_page(page, f"/workers/{worker}")
    page.get_by_role("button", name="Quiet").click()
    page.locator(".head").get_by_text("quiet").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.locator(".head").get_by_text("running").wait_for()
    menu(page, "Resize")
    page.get_by_label("Threads, in each process").fill("3")
    page.locator("dialog button[type=submit]").click()
    until(lambda: 3 == running.api.get(f"/v1/workers/{worker}").json()["slots"]["thread"], "it is smaller")
    menu(page, "Stop")
    page.locator("dialog button[type=submit]").click()
    assert 0 == started.process.wait(60)
    page.get_by_text("This worker is gone").wait_for(timeout=60_000)


def test_a_schedule_is_made_run_paused_edited_and_deleted(running: System, page: Page, refusals: set[int]) -> None:
    """With its next times shown as it is typed."""
    refusals.add(404)  # its page may ask once more before it is left
    open_page(page, "/schedules")
    page.get_by_role("button", name="New schedule").click()
    page.get_by_label("Name").fill("walk")
    page.get_by_label("Cron").fill("0 4 * * *")
    page.get_by_label("Time zone").fill("UTC")
    page.locator(".preview").get_by_text("At 04:00 every day").wait_for()
    page.locator("dialog button[type=submit]").click()
    page.wait_for_url("**/schedules/walk")
    page.get_by_role("button", name="Run now").first.click()
    page.get_by_text("run by hand").wait_for()
    page.get_by_role("button", name="Pause").click()
    page.get_by_text("It is paused.").wait_for()
    assert running.api.get("/v1/schedules/walk").json()["paused"]
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("Cron").fill("0 5 * * *")
    page.locator("dialog button[type=submit]").click()
    until(lambda: "0 5 * * *" == running.api.get("/v1/schedules/walk").json()["cron"], "it is changed")
    assert running.api.get("/v1/schedules/walk").json()["paused"]
    menu(page, "Delete")
    page.locator("dialog button[type=submit]").click()
    page.wait_for_url("**/ui/schedules")
    assert 404 == running.api.get("/v1/schedules/walk").status_code


def test_a_past_range_is_backfilled_and_aborted(running: System, page: Page) -> None:
    """Counted as it is chosen, watched, and stopped: tasks that it has made stay."""
    daily = {"cron": "0 4 * * *", "timezone": "UTC", "task": {"name": "demo.add", "args": {"a": 1, "b": 1}}}
    running.api.put("/v1/schedules/past", json=daily).raise_for_status()
    open_page(page, "/schedules/past")
    page.get_by_role("button", name="Backfill…").click()
    page.get_by_label("From").fill("2026-03-01T00:00")
    page.get_by_label("To", exact=True).fill("2026-03-10T12:00")
    page.locator("dialog").get_by_text("10 occurrences").wait_for()
    page.get_by_label("Tasks a second, at most").fill("0.1")
    page.locator("dialog button[type=submit]").click()
    row = page.locator(".bulk")
    row.get_by_text("of 10 occurrences fired").wait_for()
    row.get_by_role("button", name="Abort").click()
    row.get_by_text("aborted").wait_for()
    (kept,) = running.api.get("/v1/schedules/past/backfills").json()["items"]
    assert ("aborted", 10, True) == (kept["state"], kept["total"], kept["done"] < 10)
    running.api.delete("/v1/schedules/past")


def test_an_endpoint_is_tested_disabled_and_enabled(running: System, page: Page) -> None:
    """The test is a task whose page opens."""
    made = running.api.post("/v1/tasks", json={"url": f"{running.url}/echo/x"}).json()
    until(lambda: read(running, made["id"])["finished_at"], "the call was made")
    name = f"http:127.0.0.1:{running.url.rsplit(':', 1)[1]}"
    until(lambda: 200 == running.api.get(f"/v1/endpoints/{name}").status_code, "the endpoint is known")
    open_page(page, f"/endpoints/{name}")
    menu(page, "Disable")
    page.locator("dialog button[type=submit]").click()
    until(lambda: running.api.get(f"/v1/endpoints/{name}").json()["disabled"], "it is disabled")
    page.get_by_role("button", name="Enable").click()
    until(lambda: not running.api.get(f"/v1/endpoints/{name}").json()["disabled"], "it is enabled")
    page.get_by_role("button", name="Send test").click()
    page.get_by_label("Path and query").fill("/echo/walk")
    page.locator("dialog button[type=submit]").click()
    page.wait_for_url("**/tasks/*")
    assert read(running, page.url.rsplit("/", 1)[1])["url"].endswith("/echo/walk")


def test_the_playground_submits_what_its_form_says(running: System, page: Page, refusals: set[int]) -> None:
    """Typed fields from the handler's schema; every fault of a wrong one is told."""
    refusals.add(422)
    open_page(page, "/playground?name=image%3Aresize")
    page.get_by_label("width").fill("0")
    page.get_by_role("button", name="Submit").click()
    page.locator(".problem").get_by_text("/args/width").first.wait_for()
    page.locator(".problem").get_by_text("height").first.wait_for()
    page.get_by_label("width").fill("320")
    page.get_by_label("height").fill("200")
    assert '"args":{"width":320,"height":200}' in page.get_by_label("command", exact=True).inner_text()
    page.get_by_role("button", name="Submit").click()
    page.locator(".came .state-succeeded").wait_for()
    page.get_by_role("link", name="Open the task").click()
    page.wait_for_url("**/tasks/*")
    assert {"width": 320, "height": 200} == read(running, page.url.rsplit("/", 1)[1])["args"]


def test_the_tail_shows_what_happens(running: System, page: Page) -> None:
    """As it happens, until it is paused."""
    open_page(page, "/tail")
    page.get_by_text("Live", exact=True).wait_for()
    task = submit(running)
    page.locator(f".virtual a[href$='{task['id']}']").first.wait_for()
    page.get_by_role("button", name="Pause").click()
    other = ended(running)
    page.get_by_role("button", name="Go on").wait_for()
    assert 0 == page.locator(f".virtual a[href$='{other['id']}']").count()
    page.get_by_role("button", name="Go on").click()
    page.locator(f".virtual a[href$='{other['id']}']").first.wait_for()


def test_a_key_is_asked_for_made_used_and_revoked(browser: Browser) -> None:
    """From the first key on the page asks for one; a wrong one is refused, and the key itself is shown once."""
    with servers.single("valkey") as server, system(server.url, api_key="geheim-geheim-geheim") as locked:
        locked.api.headers["authorization"] = "Bearer geheim-geheim-geheim"
        page = browser.new_page(base_url=locked.url)
        page.goto("/ui/settings")
        page.get_by_label("API key").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        page.locator(".problem").wait_for()
        page.get_by_label("API key").fill("geheim-geheim-geheim")
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="New key").click()
        page.get_by_label("Name", exact=True).fill("walk")
        page.get_by_label("What it may do").fill("reader")
        page.locator("dialog button[type=submit]").click()
        key = page.get_by_label("key", exact=True).inner_text()
        assert 200 == httpx.get(f"{locked.url}/v1/tasks", headers={"authorization": f"Bearer {key}"}).status_code
        page.get_by_role("button", name="Close").click()
        page.get_by_role("button", name="Revoke").click()
        page.locator("dialog button[type=submit]").click()
        page.get_by_text("revoked", exact=True).wait_for()
        (kept,) = locked.api.get("/v1/keys").json()["items"]
        assert ("walk", "revoked") == (kept["name"], kept["state"])
        page.context.close()
