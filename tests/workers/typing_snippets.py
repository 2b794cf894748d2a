"""Lines that mypy must accept, and lines that it must refuse, which end in `# refused`. Nothing runs this file."""

from __future__ import annotations

from datetime import date

from workers import Context, Depends, Handle, Registry, SyncHandle, task


def connection() -> str:
    return "connection"


@task("send", retries=3)
async def send(ctx: Context, to: str, template: str = "hello", *, db: str = Depends(connection)) -> dict[str, int]:
    return {}


@task
def resize(path: str, width: int) -> bytes:
    return b""


@Registry().task("later")
async def later(day: date, *, ctx: Context = Depends(Context)) -> int:
    handle: Handle[bytes] = await ctx.submit(resize, "a.png", 100)
    await ctx.submit(resize, "a.png")  # refused
    await ctx.submit(resize.options(queue="slow"), "a.png", width=5)
    return len(await handle.get(5))


async def calls() -> None:
    handle: Handle[dict[str, int]] = await send.submit("a@b.c", template="x")
    sync: SyncHandle[bytes] = resize.submit_sync("a.png", width=3)
    result: dict[str, int] = await handle.get(timeout=1)
    taken: bytes | None = sync.result
    many: list[Handle[int]] = await later.submit_many([(date.today(),)])  # noqa: DTZ011
    await send.options(delay=300, queue="mail", tags=["a"]).submit("a@b.c")
    direct: dict[str, int] = await send("a@b.c")
    given: dict[str, int] = await send(Context(id="0" * 26), "a@b.c")
    print(result, taken, many, direct, given)
    await send.submit(5)  # refused
    await send.submit("a@b.c", tempalte="x")  # refused
    await send.submit()  # refused
    await send.submit("a@b.c", delay=300)  # refused
    await send.options(priorty=9).submit("a@b.c")  # refused
    resize.submit_sync("a.png", "wide")  # refused
    wrong: Handle[str] = await send.submit("a@b.c")  # refused
    print(wrong, await handle.get("soon"))  # refused
