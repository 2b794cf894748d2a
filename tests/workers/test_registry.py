"""Declaring handlers with @task."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import InvalidHandler
from workers import Context, Registry
from workers.outcome import Defer, Fail, Retry, SoftTimeLimitExceeded, TimeLimitExceeded


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_declared_function_is_found_and_published(registry):
    """What the handler list shows is what the declaration says, in the words of the contract."""

    @registry.task("email:send", queue="mail", retries=5, timeout=30, soft_timeout=20, backoff=[1, 5])
    async def send(to: str) -> None:
        """Send one
        mail.

        More about it.
        """

    assert registry.find("email:send") is send
    assert {
        "name": "email:send",
        "lane": "async",
        "queue": "mail",
        "description": "Send one mail.",
        "args_schema": send.arguments.schema,
        "result_schema": {"type": "null"},
        "retries": 5,
        "timeout_seconds": 30.0,
        "soft_timeout_seconds": 20.0,
        "backoff": {"delays_seconds": [1.0, 5.0]},
    } == send.published()


def test_a_def_runs_in_a_child_process_and_says_nothing_it_was_not_told(registry):
    """A bare @task leaves everything to queue and settings, and is named after its function."""

    @registry.task
    def shrink(path: str) -> None: ...

    assert f"{__name__}.shrink" == shrink.name
    assert "process" == shrink.lane
    assert {"name", "lane", "queue", "description", "args_schema", "result_schema"} == shrink.published().keys()
    assert shrink.published()["description"] is None


def test_what_its_tasks_share_is_published(registry):
    """In the form of the contract; fields of keys are arguments."""

    @registry.task("crm:sync", flow="crm:{customer}", group="{tenant}", unique={"by": ("customer",)})
    async def sync(ctx: Context, customer: int, tenant: str = "none") -> None: ...

    shared = {"flow": {"key": "crm:{customer}"}, "group": "{tenant}", "unique": {"by": ["customer"]}}
    assert shared == {name: sync.published()[name] for name in shared}
    with pytest.raises(InvalidHandler, match="flow: there is no argument custmer"):
        registry.task("other", flow="crm:{custmer}")(lambda customer: None)


async def test_a_plain_call_calls_the_function(registry):
    """Tests and other code use the function as if it were not declared; a Context is made up."""

    @registry.task("add")
    async def add(a: int, b: int = 2) -> int:
        return a + b

    @registry.task("who", pool="thread")
    def who(ctx: Context, *, loud: bool = False) -> str:
        return ctx.name.upper() if loud else ctx.name

    assert 3 == await add(1)
    assert "WHO" == who(loud=True)
    assert "given" == who(Context(id="1", name="given"))
    assert "add" == add.__name__


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"retires": 3}, "unknown option 'retires': did you mean 'retries'"),
        ({"timeout_seconds": 3}, "unknown option 'timeout_seconds': did you mean 'timeout'"),
        ({"name": "x"}, "the name comes first"),
        ({"colour": "red"}, "there are queue, retries"),
        ({"retries": -1}, "retries=-1: needs a whole number from 0 to 1000"),
        ({"retries": True}, "retries=True: needs a whole number"),
        ({"timeout": 0}, "timeout=0: needs a number of seconds, more than 0"),
        ({"timeout": "30"}, "timeout='30': needs a number of seconds"),
        ({"timeout": 5, "soft_timeout": 5}, "soft_timeout=5: needs less than timeout=5"),
        ({"queue": "a b"}, "queue='a b': needs 1 to 64"),
        ({"retry_on": ["x"]}, "needs exception classes"),
        ({"backoff": {"kind": "random"}}, "kind needs one of constant, linear, exponential"),
        ({"backoff": {"base": 1}}, "'base' is unknown: did you mean 'base_seconds'"),
        ({"backoff": []}, "needs 1 to 100 delays"),
        ({"backoff": 5}, "needs a list of delays"),
        ({"max_crashes": 101}, "needs a whole number from 0 to 100"),
        ({"result_ttl": -1}, "needs a number of seconds, 0 or more"),
        ({"flow": {"key": "k", "burst": 2}}, "burst goes with `rate`"),
        ({"group": "{tenant}"}, "group: there is no argument tenant; there are none"),
        ({"pool": "gevent"}, "needs 'async', 'thread' or 'process'"),
        ({"pool": "async"}, "pool='async' needs `async def`"),
    ],
)
def test_an_option_that_cannot_work_is_refused(registry, options, told):
    """The worker does not start, and says which option and what to do."""
    with pytest.raises(InvalidHandler) as refused:
        registry.task("demo", **options)(lambda: None)
    assert told in str(refused.value)
    assert "'demo'" in str(refused.value)
    assert 0 == len(registry)


def test_all_faults_of_a_declaration_are_told_at_once(registry):
    """No fixing of one after the other."""
    with pytest.raises(InvalidHandler, match=r"retires.*timeout=0"):
        registry.task("demo", retires=3, timeout=0)(lambda: None)


@pytest.mark.parametrize("name", ["", "a b", "x" * 129, "a/b", "ä", "a\n"])
def test_a_name_has_few_characters(registry, name):
    """A name must fit in a URL and a log line."""
    with pytest.raises(InvalidHandler, match="needs 1 to 128"):
        registry.task(name)(lambda: None)


def test_a_name_can_be_taken_once(registry):
    """Two handlers of one name would be a lottery; both places are told."""

    @registry.task("a")
    def one() -> None: ...

    with pytest.raises(InvalidHandler, match=r"declared twice, at .*test_registry.py:\d+ and at"):

        @registry.task("a")
        def two() -> None: ...


class Service:
    def method(self) -> None: ...


async def stream():
    yield 1


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (Service, "needs a function"),
        (Service.method, "a method has no object"),
        (stream, "a generator has no result"),
    ],
)
def test_only_functions_are_handlers(registry, function, told):
    """What a worker cannot call is refused at once, not at the first task."""
    with pytest.raises(InvalidHandler, match=told):
        registry.task("x")(function)


def test_an_async_function_does_not_go_to_a_thread(registry):
    """A coroutine needs the loop."""

    async def work() -> None: ...

    with pytest.raises(InvalidHandler, match="runs on the event loop"):
        registry.task("x", pool="thread")(work)


def test_task_on_a_handler_is_refused(registry):
    """@task twice on one function is a slip."""
    with pytest.raises(InvalidHandler, match="stands twice"):
        registry.task("b")(registry.task("a")(lambda: None))


@pytest.mark.parametrize(
    ("options", "exc", "expected"),
    [
        ({}, ValueError(), True),
        ({}, Fail("no"), False),
        ({}, Retry("again"), True),
        ({"retry_on": OSError}, ConnectionError(), True),
        ({"retry_on": OSError}, ValueError(), False),
        ({"retry_on": (ValueError,), "no_retry_on": (UnicodeError,)}, UnicodeError(), False),
        ({"no_retry_on": (ValueError,)}, Retry("again"), True),
        ({"no_retry_on": (ValueError,)}, KeyError(), True),
        ({"retry_on": OSError}, TimeLimitExceeded(), True),
        ({"retry_on": ValueError}, TimeLimitExceeded(), False),
        ({"no_retry_on": TimeoutError}, SoftTimeLimitExceeded(), False),
        ({"retry_on": ValueError}, SystemExit(1), False),
        ({}, SystemExit(1), True),
    ],
)
def test_which_errors_are_retried(registry, options, exc, expected):
    """retry_on and no_retry_on decide, no_retry_on first; Fail and Retry have their own word."""
    handler = registry.task("x", **options)(lambda: None)
    assert expected is handler.is_retryable(exc)


@pytest.mark.parametrize("make", [lambda: Retry(30), lambda: Fail(ValueError()), lambda: Defer(after=-1)])
def test_a_choice_of_outcome_that_makes_no_sense_says_so(make):
    """raise Retry(30) is a slip that is told, not a message of 30."""
    with pytest.raises(TypeError, match="needs a"):
        make()


def test_the_demo_handlers_are_declared_well():
    """Each demo has its name and a line for the handler list."""
    from workers import demo

    shown = {one.name: one.published()["description"] for one in (demo.add, demo.sleep, demo.flaky, demo.progress)}
    assert ["demo.add", "demo.sleep", "demo.flaky", "demo.progress"] == list(shown)
    assert all(line.endswith(".") for line in shown.values())
    assert 5 == asyncio.run(demo.add(2, 3))
