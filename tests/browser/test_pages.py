"""Each page of the dashboard in a real browser: it shows what there is, is accessible, and fits a narrow screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.parts import System

if TYPE_CHECKING:
    from playwright.sync_api import Page

PAGES = ["", "/tasks", "/dead", "/bulk", "/queues", "/queues/mail", "/workers", "/schedules",
         "/schedules/nightly-report", "/endpoints", "/playground", "/tail", "/settings"]  # fmt: skip
TITLES = {"": "Overview", "/dead": "Dead letters", "/bulk": "Bulk actions", "/tail": "Live tail",
          "/settings": "Settings and audit"}  # fmt: skip


def open_page(page: Page, path: str) -> None:
    """Go there, and wait until everything that is asked for has come."""
    page.goto(f"/ui{path}")
    page.wait_for_selector("main h1, main .empty")
    page.wait_for_function("() => !document.querySelector('main .bone')")


def places(running: System) -> dict[str, str]:
    """The pages of single things, by what they are of."""
    failed = running.api.get("/v1/tasks", params={"state": "failed", "queue": "billing"}).json()["items"][0]
    called = running.api.get("/v1/tasks", params={"queue": "hooks", "state": "succeeded"}).json()["items"][0]
    active = running.api.get("/v1/tasks", params={"name": "report:daily", "state": "running"}).json()["items"][0]
    endpoint = running.api.get("/v1/endpoints").json()["items"][0]["name"]
    return {
        "failed task": f"/tasks/{failed['id']}",
        "URL task": f"/tasks/{called['id']}",
        "running task": f"/tasks/{active['id']}",
        "worker": f"/workers/{running.workers()[0]['id']}",
        "endpoint": f"/endpoints/{endpoint}",
    }


@pytest.mark.parametrize("path", PAGES)
def test_every_page_shows_itself(filled: System, page: Page, path: str) -> None:
    """Opened by its address, it has its title, marks its place in the side, and complains of nothing."""
    open_page(page, path)
    title = TITLES.get(path) or path.strip("/").split("/")[-1].capitalize()
    assert title.lower() == page.locator("main h1").first.inner_text().lower()
    assert 1 == page.locator("nav[aria-label=Pages] a[aria-current=page]").count()
    assert 0 == page.locator("main .problem").count()


@pytest.mark.parametrize("path", [*PAGES, "failed task", "URL task", "running task", "worker", "endpoint"])
def test_every_page_is_accessible(filled: System, page: Page, path: str) -> None:
    """axe finds no fault of WCAG 2.2 AA, contrast in both themes among it."""
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    open_page(page, path if path in PAGES else places(filled)[path])
    assert [] == faults(page)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert [] == faults(page)


def faults(page: Page) -> list[str]:
    """What axe has against the page as it is."""
    from axe_playwright_python.sync_playwright import Axe

    wanted = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": wanted}}).response["violations"]
    return [f"{one['id']}: {node['html'][:200]} {why(node)}" for one in found for node in one["nodes"]]


def why(node: dict[str, Any]) -> str:
    return "; ".join(check["message"] for check in [*node["any"], *node["all"], *node["none"]])[:200]


@pytest.mark.parametrize("path", [*PAGES, "failed task", "URL task", "worker"])
def test_every_page_fits_a_narrow_screen(filled: System, page: Page, path: str) -> None:
    """Nothing but a table scrolls sideways on a phone, and the side opens by its button."""
    page.set_viewport_size({"width": 375, "height": 740})
    open_page(page, path if path in PAGES else places(filled)[path])
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert not page.locator("nav[aria-label=Pages]").is_visible()
    page.get_by_role("button", name="Pages").click()
    page.locator("nav[aria-label=Pages] a", has_text="Workers").click()
    page.wait_for_url("**/ui/workers")


def test_the_overview_leads_to_what_was_slow(filled: System, page: Page) -> None:
    """Each with where its time went, and a way to its task."""
    open_page(page, "")
    row = page.locator("section:has(#slowest) tbody tr").first
    row.get_by_text("computed").wait_for()
    row.locator("a").click()
    page.wait_for_url("**/ui/tasks/*")


def test_a_page_that_is_not_there_says_so(running: System, page: Page, refusals: set[int]) -> None:
    """A wrong address, a task and a queue that are gone."""
    refusals.add(404)
    for path, said in [
        ("/nowhere", "There is no such page"),
        ("/tasks/01M819EKHX02FJFH0TDFHXG001", "There is no such task"),
        ("/queues/none-such", "There is no queue none-such now"),
        ("/schedules/none-such", "There is no schedule none-such"),
        ("/workers/none-such", "This worker is gone"),
        ("/endpoints/https:none.example", "This endpoint was not called yet"),
    ]:
        page.goto(f"/ui{path}")
        page.get_by_text(said).wait_for()


def test_without_tasks_it_says_how_to_begin(page: Page, running: System) -> None:
    """A command to paste that works as it stands."""
    page.goto("/ui/tasks?q=name:nobody-has-this")
    page.get_by_text("No task matches").wait_for()
