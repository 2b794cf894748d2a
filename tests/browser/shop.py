"""Fills a running system with a shop's tasks, so that every page of the dashboard has something to show."""

from __future__ import annotations

from typing import Any

import httpx

HANDLERS = "tests.browser.handlers"
PEOPLE = ["ana@shop.example", "bo@shop.example", "cem@shop.example", "dora@shop.example", "not-an-address"]


def submissions(url: str, rounds: int) -> list[dict[str, Any]]:
    """Tasks of many kinds; *url* is the API's own, whose echo is the endpoint."""
    made: list[dict[str, Any]] = []
    for n in range(rounds):
        made += [
            {"name": "email:send", "args": {"to": PEOPLE[n % len(PEOPLE)]}, "group": f"shop-{n % 3}",
             "tags": [f"customer-{n % 9}", "receipt"]},
            {"name": "image:resize", "args": {"width": 640 + n, "height": 480}},
            {"name": "stock:sync", "args": {"warehouse": ["Hamburg", "Lyon", "Porto"][n % 3]}, "priority": n % 10},
            {"name": "invoice:charge", "args": {"invoice": 4000 + n, "cents": 1990}, "tags": [f"customer-{n % 9}"]},
            {"url": f"{url}/echo/hooks/orders?status={(200, 200, 200, 503)[n % 4]}", "body": {"order": 4000 + n},
             "queue": "hooks", "retries": 1, "backoff": {"delays_seconds": [1]}},
        ]  # fmt: skip
    return made


LONG: list[dict[str, Any]] = [
    {"name": "report:daily", "args": {"steps": 4000}, "tags": ["nightly"]},
    {"name": "stock:sync", "args": {"warehouse": "Hamburg", "seconds": 900}},
    {"name": "email:send", "args": {"to": "ana@shop.example", "template": "reminder"}, "delay_seconds": 7200,
     "group": "shop-1", "flow": {"key": "smtp.shop.example", "concurrency": 5}},
    {"name": "email:send", "args": {"to": "bo@shop.example", "template": "reminder"}, "delay_seconds": 86_400 * 3,
     "group": "shop-2"},
    {"name": "image:resize", "args": {"width": 100, "height": 100}, "queue": "nobody", "delay_seconds": 1800},
]
SCHEDULES: dict[str, dict[str, Any]] = {
    "nightly-report": {"cron": "0 3 * * MON-FRI", "timezone": "Europe/Berlin", "overlap": "skip",
                       "description": "Counts the orders of the day before",
                       "task": {"name": "report:daily", "args": {"steps": 3}, "tags": ["{{ fire_time | date }}"]}},
    "stock-sync": {"every_seconds": 300, "task": {"name": "stock:sync", "args": {"warehouse": "Lyon"}}},
    "reminders": {"cron": "0 9 1 * *", "timezone": "Asia/Shanghai", "paused": True,
                  "task": {"name": "email:send", "args": {"to": "ana@shop.example", "template": "reminder"}}},
}  # fmt: skip


def fill(api: httpx.Client, rounds: int = 40) -> list[str]:
    """Submit everything; the ids of the tasks that go on for long or wait."""
    for name, definition in SCHEDULES.items():
        api.put(f"/v1/schedules/{name}", json=definition).raise_for_status()
    api.post("/v1/schedules/nightly-report/run").raise_for_status()
    accepted = api.post("/v1/tasks/batch", json=submissions(str(api.base_url).rstrip("/"), rounds))
    accepted.raise_for_status()
    return [api.post("/v1/tasks", json=one).raise_for_status().json()["id"] for one in LONG]
