"""Dependencies, hooks, policies and middleware: what stands around an attempt, in the lanes of a worker process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any

import pytest

from service.errors import InvalidHandler
from workers import CallNext, Cancelled, Context, Depends, Fail, Failed, Outcome, Policy, Registry, Retry, Succeeded
from workers.depends import override
from workers.handler import Handler
from workers.pools import Pool
from workers.pools.loop import LoopPool
from workers.pools.thread import ThreadPool

LANES = ["async", "thread"]
ID = "0" * 26


def user(ctx: Context) -> str:
    return f"user of {ctx.id}"


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def seen() -> list[Any]:
    return []


def in_lane(lane: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """*function*, which is plain, as a handler of *lane*: the same with `async def` around it."""
    if lane == "thread":
        return function

    async def handler(*args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return function(*args, **kwargs)

    handler.__signature__ = __import__("inspect").signature(function)  # type: ignore[attr-defined]
    handler.__name__ = function.__name__
    handler.__annotations__ = function.__annotations__
    return handler


async def run(handler: Handler[..., Any], ctx: Context | None = None, timeout: float = 60, **args: Any) -> Outcome:
    """One attempt, as a worker runs it."""
    pool: Pool = (
        LoopPool(max_result_bytes=10_000) if handler.lane == "async" else ThreadPool(2, max_result_bytes=10_000)
    )
    return await pool.call(handler, handler.bind(args), ctx or Context(id=ID, name=handler.name), timeout)


def declare(registry: Registry, lane: str, function: Callable[..., Any], **options: Any) -> Handler[..., Any]:
    if lane == "thread":
        options["pool"] = "thread"
    handler: Handler[..., Any] = registry.task(function.__name__, **options)(in_lane(lane, function))
    return handler


# ---------------------------------------------------------------- dependencies


async def test_a_dependency_is_made_once_an_attempt_and_let_go_of_last_first(
    registry: Registry, lane: str, seen: list[Any]
) -> None:
    """Two parameters that need the same connection share it; it is closed when the attempt is over."""

    def connection() -> Iterator[str]:
        seen.append("open")
        yield "connection"
        seen.append("closed")

    async def cursor(on: str = Depends(connection)) -> AsyncIterator[str]:
        await asyncio.sleep(0)
        seen.append("cursor")
        yield f"cursor of {on}"
        seen.append("cursor closed")

    def read(number: int, a: str = Depends(cursor), b: str = Depends(connection)) -> list[Any]:
        return [number, a, b]

    outcome = await run(declare(registry, lane, read), number=7)
    assert isinstance(outcome, Succeeded)
    assert [7, "cursor of connection", "connection"] == outcome.result
    assert ["open", "cursor", "cursor closed", "closed"] == seen


async def test_a_dependency_is_let_go_of_when_the_handler_fails(registry: Registry, lane: str, seen: list[Any]) -> None:
    """A transaction sees the error, rolls back, and cannot hide that the handler failed."""

    def transaction() -> Iterator[None]:
        try:
            yield
        except ValueError as exc:
            seen.append(f"rolled back: {exc}")

    def fail(_t: None = Depends(transaction)) -> None:
        raise ValueError("no")

    outcome = await run(declare(registry, lane, fail))
    assert isinstance(outcome, Failed)
    assert "ValueError" == outcome.error["type"]
    assert ["rolled back: no"] == seen


async def test_a_dependency_is_let_go_of_when_the_attempt_is_cancelled(registry: Registry, seen: list[Any]) -> None:
    """A cancelled coroutine closes what it opened before it is over."""
    begun = asyncio.Event()

    async def connection() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    @registry.task("wait")
    async def wait(_c: None = Depends(connection)) -> None:
        begun.set()
        await asyncio.Event().wait()

    ctx = Context(id=ID)
    running = asyncio.create_task(run(wait, ctx))
    await begun.wait()
    ctx.stop(Cancelled("cancellation was asked for"))
    assert Cancelled("cancellation was asked for") == await running
    assert ["closed"] == seen


async def test_what_a_dependency_raises_fails_the_attempt(registry: Registry, lane: str) -> None:
    """No connection is a failed attempt, to be retried; a commit that fails is one too."""

    def connection() -> None:
        raise ConnectionError("refused")

    def commit() -> Iterator[None]:
        yield
        raise OSError("disk full")

    def first(_c: None = Depends(connection)) -> None: ...
    def second(_c: None = Depends(commit)) -> None: ...

    for function, kind in ((first, "ConnectionError"), (second, "OSError")):
        outcome = await run(declare(registry, lane, function))
        assert isinstance(outcome, Failed)
        assert (kind, True) == (outcome.error["type"], outcome.retry)


async def test_dependencies_are_no_arguments(registry: Registry) -> None:
    """The published schema names what a task carries and nothing else; `Annotated` works like a default."""

    @registry.task("greet")
    async def greet(word: str, who: Annotated[str, Depends(user)], ctx: Context = Depends(Context)) -> str:
        return f"{word}, {who}, {ctx.attempt}"

    assert {"word"} == set(greet.arguments.schema["properties"])
    outcome = await run(greet, word="Hello")
    assert isinstance(outcome, Succeeded)
    assert f"Hello, user of {ID}, 1" == outcome.result


async def test_a_test_replaces_what_a_handler_depends_on(registry: Registry, lane: str) -> None:
    """The replacement may be async where the original was not, and is gone after the block."""

    def clock() -> int:
        return 1

    async def stopped() -> int:
        return 42

    def now(time: int = Depends(clock)) -> int:
        return time

    handler = declare(registry, lane, now)
    with override(clock, stopped):
        inside = await run(handler)
    outside = await run(handler)
    assert isinstance(inside, Succeeded)
    assert isinstance(outside, Succeeded)
    assert (42, 1) == (inside.result, outside.result)


def test_a_dependency_that_nothing_fills_is_refused_where_it_is_declared(registry: Registry) -> None:
    """The worker does not start with it, and the text names the parameter."""

    def connection(url: str) -> str:
        return url

    with pytest.raises(InvalidHandler, match="parameter 'url'"):

        @registry.task("read")
        async def read(_c: str = Depends(connection)) -> None: ...

    with pytest.raises(InvalidHandler, match="needs a function"):
        Depends(3)  # type: ignore[arg-type]


def test_a_plain_call_says_which_dependency_it_was_not_given(registry: Registry) -> None:
    """Calling the function in a test gives it its connection by name."""

    def connection() -> str:
        return "real"

    @registry.task("read", pool="thread")
    def read(number: int, db: str = Depends(connection)) -> str:
        return f"{number} {db}"

    assert "1 fake" == read(1, db="fake")
    with pytest.raises(TypeError, match="give db by name"):
        read(1)


async def test_a_plain_handler_may_run_a_loop_of_its_own(registry: Registry) -> None:
    """Async parts around a `def` do not stand in the way of `asyncio.run` inside it."""

    async def number() -> int:
        await asyncio.sleep(0)
        return 20

    async def compute() -> int:
        return 22

    def add(a: int = Depends(number)) -> int:
        return a + asyncio.run(compute())

    outcome = await run(declare(registry, "thread", add))
    assert isinstance(outcome, Succeeded)
    assert 42 == outcome.result


# ---------------------------------------------------------------- hooks


async def test_hooks_hear_how_the_attempt_ended(registry: Registry, lane: str, seen: list[Any]) -> None:
    """A failure that will be retried calls on_retry, the last one on_failure, a success on_success."""

    def note(ctx: Context, outcome: Any) -> None:
        seen.append((ctx.attempt, type(outcome).__name__))

    async def note_failure(ctx: Context, outcome: Failed) -> None:
        await asyncio.sleep(0)
        seen.append((ctx.attempt, outcome.error["message"]))

    def work(wrong: bool) -> str:
        if wrong:
            raise ValueError("wrong")
        return "done"

    handler = declare(registry, lane, work, on_success=note, on_retry=[note], on_failure=note_failure)
    await run(handler, Context(id=ID, attempt=1, retries=1), wrong=True)
    await run(handler, Context(id=ID, attempt=2, retries=1), wrong=True)
    await run(handler, Context(id=ID, attempt=2, retries=1), wrong=False)
    assert [(1, "Failed"), (2, "wrong"), (2, "Succeeded")] == seen


async def test_no_hook_says_retry_when_the_time_for_retries_is_over(registry: Registry, seen: list[Any]) -> None:
    """retry_for_seconds ends a task although it has retries left; its hooks know."""

    def work() -> None:
        raise Retry("later", after=60)

    handler = declare(
        registry, "thread", work, on_retry=lambda *_: seen.append("retry"), on_failure=lambda *_: seen.append("failure")
    )
    await run(handler, Context(id=ID, retries=5, last_ms=1))
    await run(handler, Context(id=ID, retries=5))
    assert ["failure", "retry"] == seen


async def test_a_hook_that_raises_changes_nothing(
    registry: Registry, lane: str, seen: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged with the task, the next hook is called, and the outcome stands."""

    def broken(_ctx: Context, _outcome: Any) -> None:
        raise RuntimeError("the pager is down")

    def work() -> int:
        return 5

    handler = declare(registry, lane, work, on_success=[broken, lambda *_: seen.append("next")])
    outcome = await run(handler)
    assert isinstance(outcome, Succeeded)
    assert ["next"] == seen
    assert "the pager is down" in caplog.text
    assert ID in caplog.text


async def test_a_cancelled_attempt_calls_on_cancelled_and_a_stopping_worker_does_not(
    registry: Registry, seen: list[Any]
) -> None:
    """A task that a stopping worker hands back has not ended."""

    @registry.task("wait", on_cancelled=lambda _ctx, outcome: seen.append(outcome.reason))
    async def wait() -> None:
        await asyncio.Event().wait()

    for reason in ("cancellation was asked for", "the worker is stopping", "its lease was lost"):
        ctx = Context(id=ID)
        running = asyncio.create_task(run(wait, ctx))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        ctx.stop(Cancelled(reason))
        await running
    assert ["cancellation was asked for"] == seen


async def test_a_policy_gives_its_options_and_hooks_to_many_tasks(registry: Registry, seen: list[Any]) -> None:
    """The task's own option wins; its own hook is called after the policy's."""
    polite = Policy(retries=8, queue="slow", retry_on=OSError, on_success=lambda *_: seen.append("policy"))

    @registry.task("a", policy=polite)
    async def a() -> None: ...

    @registry.task("b", policy=polite, retries=1, on_success=lambda *_: seen.append("own"))
    async def b() -> None: ...

    assert (8, "slow") == (a.published()["retries"], a.published()["queue"])
    assert (1, "slow") == (b.published()["retries"], b.published()["queue"])
    assert not a.is_retryable(ValueError())
    await run(b)
    assert ["policy", "own"] == seen


@pytest.mark.parametrize(
    ("options", "need"),
    [
        ({"policy": {"retries": 1}}, "needs a Policy"),
        ({"on_failure": "tell"}, "needs a function of"),
        ({"on_fail": print}, "on_failure"),
    ],
)
def test_a_hook_or_policy_that_is_none_is_refused(registry: Registry, options: dict[str, Any], need: str) -> None:
    """A misspelt hook would never be called."""
    with pytest.raises(InvalidHandler, match=need):
        registry.task("a", **options)(lambda: None)


# ---------------------------------------------------------------- middleware


async def test_middleware_stands_in_order_around_every_handler(registry: Registry, lane: str, seen: list[Any]) -> None:
    """The first one declared is the outermost, also around handlers declared before it."""

    def work() -> int:
        seen.append("handler")
        return 1

    handler = declare(registry, lane, work, on_success=lambda *_: seen.append("hook"))

    @registry.middleware
    async def outer(ctx: Context, call_next: CallNext) -> Outcome:
        seen.append(f"outer of {ctx.name}")
        outcome = await call_next()
        seen.append("outer again")
        return outcome

    @registry.middleware
    async def inner(_ctx: Context, call_next: CallNext) -> Outcome:
        await asyncio.sleep(0)
        seen.append("inner")
        return await call_next()

    await run(handler)
    assert ["outer of work", "inner", "handler", "outer again", "hook"] == seen


async def test_middleware_may_replace_the_outcome(registry: Registry, lane: str, seen: list[Any]) -> None:
    """What it answers is what is recorded, and what the hooks see; it may do without the handler."""

    def work(number: int) -> int:
        seen.append(number)
        return number

    handler = declare(registry, lane, work, on_success=lambda _ctx, outcome: seen.append(outcome.result))

    @registry.middleware
    async def double(ctx: Context, call_next: CallNext) -> Outcome:
        if ctx.metadata.get("cached"):
            return Succeeded.of("cached")
        outcome = await call_next()
        return Succeeded.of(outcome.result * 2) if isinstance(outcome, Succeeded) else outcome

    first = await run(handler, number=21)
    second = await run(handler, Context(id=ID, metadata={"cached": True}), number=5)
    assert [b"42", b'"cached"'] == [one.result_json for one in (first, second) if isinstance(one, Succeeded)]
    assert [21, 42, "cached"] == seen


async def test_middleware_that_raises_or_answers_nothing_fails_the_attempt(registry: Registry, lane: str) -> None:
    """It counts as the handler's own failure would; one that forgets to return the outcome is told so."""

    def work() -> int:
        return 1

    handler = declare(registry, lane, work, no_retry_on=PermissionError)
    what: list[BaseException | None] = [PermissionError("closed on Sundays"), Fail("not today"), None]

    @registry.middleware
    async def guard(_ctx: Context, call_next: CallNext) -> Outcome:
        await call_next()
        fault = what.pop(0)
        if fault is not None:
            raise fault
        return None  # type: ignore[return-value]

    outcomes = [await run(handler) for _ in range(3)]
    assert ["PermissionError", "Fail", "InvalidMiddleware"] == [
        one.error["type"] for one in outcomes if isinstance(one, Failed) and not one.retry
    ]


async def test_a_limit_that_passes_is_seen_by_middleware_and_hooks(registry: Registry, seen: list[Any]) -> None:
    """They stand outside the limits of the handler, so they hear of it."""

    @registry.middleware
    async def watch(_ctx: Context, call_next: CallNext) -> Outcome:
        outcome = await call_next()
        seen.append(type(outcome).__name__)
        return outcome

    @registry.task("slow", on_failure=lambda _ctx, outcome: seen.append(outcome.error["type"]))
    async def slow() -> None:
        await asyncio.Event().wait()

    await run(slow, timeout=0.01)
    assert ["Failed", "TimeLimitExceeded"] == seen


async def test_a_result_of_middleware_is_bounded_too(registry: Registry) -> None:
    """TASKPOST_MAX_RESULT_BYTES holds whoever made the result."""

    @registry.task("a")
    async def a() -> None: ...

    @registry.middleware
    async def inflate(_ctx: Context, _call_next: CallNext) -> Outcome:
        return Succeeded.of("x" * 20_000)

    outcome = await run(a)
    assert isinstance(outcome, Failed)
    assert "ResultTooLarge" == outcome.error["type"]


def test_middleware_that_is_no_coroutine_function_is_refused(registry: Registry) -> None:
    """A plain one could not stand around an `async def`."""
    with pytest.raises(InvalidHandler, match="needs `async def`"):
        registry.middleware(lambda ctx, call_next: call_next())


async def test_what_stands_around_a_plain_handler_runs_in_its_thread(registry: Registry) -> None:
    """A connection that is bound to its thread can be a dependency."""

    def opened() -> int:
        return threading.get_ident()

    async def opened_async() -> int:
        return threading.get_ident()

    def same(a: int = Depends(opened), b: int = Depends(opened_async)) -> bool:
        return a == b == threading.get_ident() != threading.main_thread().ident

    outcome = await run(declare(registry, "thread", same))
    assert isinstance(outcome, Succeeded)
    assert outcome.result is True
