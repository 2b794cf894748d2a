"""Handlers of a small shop, for the dashboard to show: quick and slow ones, some that fail, one that reports."""

from __future__ import annotations

import asyncio
import random
from typing import Annotated, Literal

from msgspec import Meta

from workers import Context, task

Template = Literal["receipt", "welcome", "reminder"]
Pixels = Annotated[int, Meta(ge=1, le=8000)]


@task("email:send", queue="mail", retries=2, backoff={"delays_seconds": [1, 2]})
async def send(ctx: Context, to: str, template: Template = "receipt") -> dict[str, str]:
    """Send one letter. An address without an @ is refused by the server, each time."""
    ctx.log.info("rendering %s", template)
    await asyncio.sleep(random.uniform(0.01, 0.08))
    if "@" not in to:
        ctx.log.warning("the server refuses %s", to)
        raise ConnectionRefusedError(f"550 no such address: {to}")
    return {"message_id": f"<{ctx.id.lower()}@shop.example>", "to": to}


@task("image:resize", queue="media", timeout=60)
def resize(width: Pixels, height: Pixels) -> dict[str, int]:
    """Scale an image to so many pixels."""
    return {"width": width, "height": height, "bytes": width * height // 11}


@task("report:daily", queue="reports")
async def report(ctx: Context, steps: int = 40, day: str = "2026-11-29") -> dict[str, int]:
    """Count the day's orders, step by step."""
    for step in range(1, steps + 1):
        ctx.log.info("shard %d of %d: %d orders of %s", step, steps, 100 + step * 7, day)
        await ctx.progress(step, steps, f"counting shard {step}")
        await asyncio.sleep(0.25)
    return {"orders": steps * 311, "refunds": steps}


@task("stock:sync", queue="stock", retries=5)
async def sync(warehouse: str, seconds: float = 0.2) -> None:
    """Read what a warehouse has."""
    await asyncio.sleep(seconds)


@task("invoice:charge", queue="billing", retries=1, backoff={"delays_seconds": [1]})
async def charge(invoice: int, cents: Annotated[int, Meta(ge=1)], is_test: bool = False) -> dict[str, object]:
    """Charge an invoice; every seventh card is declined."""
    await asyncio.sleep(random.uniform(0.02, 0.3))
    if invoice % 7 == 0:
        raise ValueError(f"card declined for invoice {invoice}: insufficient funds")
    return {"invoice": invoice, "charged_cents": 0 if is_test else cents, "currency": "EUR"}
