"""Handlers of the names that the pages of the documentation speak of."""

from __future__ import annotations

from workers import Context, task


@task("email:send", queue="mail")
async def send(ctx: Context, to: str, template: str = "hello") -> dict[str, bool]:
    return {"sent": True}


@task("report:daily")
async def report(day: str = "") -> str:
    return day


@task("sync:customer")
async def sync(customer: int) -> int:
    return customer


@task("search:index")
async def index(doc: int, text: str) -> int:
    return len(text)


@task("sms:code")
async def send_code(to: str, code: int | str) -> None:
    """Nobody is sent anything."""
