"""Handlers that cannot be imported."""

from workers import task


@task("faults.never")
async def never() -> float:
    return 0.0


raise ZeroDivisionError("while the handlers were imported")
