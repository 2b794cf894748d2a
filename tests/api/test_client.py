"""What programs meet in the Python client: its requests, what it makes of answers, and the same against a live API."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import orjson
import pytest

from service.client import (
    AsyncTaskpost,
    ClientError,
    ConnectFailed,
    NoAnswer,
    NotFinished,
    NotFound,
    Refused,
    StateConflict,
    Task,
    TaskFailed,
    Taskpost,
    Unauthorized,
    Unavailable,
    WaitTimedOut,
    WorkerDetail,
)
from service.client import blocking as blocking_module
from service.errors import InvalidSetting
from tests.running import taskpost

TASK = {"id": "01M819EKHX02FJFH0TDFHXG001", "name": "demo.add", "state": "queued", "queue": "default"}
ENDED = TASK | {"state": "succeeded", "finished_at": "2026-11-22T09:30:00.129Z", "result": 5}
PROBLEM = "application/problem+json"


class Api:
    """An API that answers from a list, in order, and remembers what it was asked. An exception is raised instead."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def body(self) -> Any:
        return orjson.loads(self.requests[-1].content)

    def client(self, **options: Any) -> Taskpost:
        return Taskpost("http://tasks.test", "secret", transport=httpx.MockTransport(self), **options)


def said(document: Any, status: int = 200, **headers: str) -> httpx.Response:
    return httpx.Response(status, json=document, headers=headers)


def problem(slug: str, status: int, headers: dict[str, str] | None = None, **members: Any) -> httpx.Response:
    document = {"type": f"/problems/{slug}", "title": "T", "status": status, "detail": "what is wrong", **members}
    return httpx.Response(status, content=orjson.dumps(document), headers={"content-type": PROBLEM, **(headers or {})})


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client makes, made at once."""
    made: list[float] = []
    monkeypatch.setattr(blocking_module.time, "sleep", made.append)
    return made


# ---------------------------------------------------------------- submissions


def test_a_submission_is_sent_in_the_contracts_words() -> None:
    """Python's own times, durations and short forms become what the contract says; None is left out."""
    api = Api(said(TASK, 201))
    task = api.client().submit(
        "email:send",
        {"to": "ada"},
        delay_seconds=timedelta(minutes=1.5),
        run_at=datetime(2026, 12, 1, 8, tzinfo=UTC),
        backoff=[1, timedelta(seconds=5)],
        callback="https://example.com/done",
        tags=("a", "b"),
        queue=None,
        idempotency_key="k",
    )
    assert api.body == {
        "name": "email:send",
        "args": {"to": "ada"},
        "delay_seconds": 90.0,
        "run_at": "2026-12-01T08:00:00Z",
        "backoff": {"delays_seconds": [1, 5.0]},
        "callback": {"url": "https://example.com/done"},
        "tags": ["a", "b"],
        "idempotency_key": "k",
    }
    assert api.requests[0].headers["authorization"] == "Bearer secret"
    assert task.state == "queued"
    assert not task.is_ended


def test_a_time_without_a_zone_is_refused() -> None:
    """It would mean another moment on another machine."""
    with pytest.raises(ValueError, match="needs a zone"):
        Api(said(TASK)).client().submit("a", run_at=datetime(2026, 12, 1))  # noqa: DTZ001


@pytest.mark.parametrize(("value", "error"), [(float("nan"), ValueError), (object(), TypeError)])
def test_what_json_would_change_or_cannot_say_is_refused(value: object, error: type[Exception]) -> None:
    """A NaN does not silently become null."""
    api = Api(said(TASK))
    with pytest.raises(error):
        api.client().submit("a", {"list": [None, value]})
    assert api.requests == []


def test_a_lost_reply_is_repeated_with_the_same_key(pauses: list[float]) -> None:
    """Whatever became of the first request, there is one task."""
    api = Api(httpx.ReadError("reset"), said(TASK, 201))
    assert api.client().submit("a").id == TASK["id"]
    first, second = (orjson.loads(one.content)["idempotency_key"] for one in api.requests)
    assert first == second
    assert len(pauses) == 1


def test_each_call_has_a_key_of_its_own() -> None:
    """Two submissions that say the same are two tasks."""
    api = Api(said(TASK, 201))
    client = api.client()
    client.submit("a")
    client.submit("a")
    assert len({orjson.loads(one.content)["idempotency_key"] for one in api.requests}) == 2


def test_without_retries_no_key_is_made_up() -> None:
    """What is never repeated needs none."""
    api = Api(httpx.ReadTimeout("slow"))
    with pytest.raises(NoAnswer, match="may have been carried out"):
        api.client(retries=0).submit("a")
    assert api.body == {"name": "a"}
    assert len(api.requests) == 1


def test_a_retry_waits_as_long_as_it_is_told(pauses: list[float]) -> None:
    """503 with Retry-After."""
    api = Api(problem("store-unavailable", 503, {"retry-after": "7"}), said(TASK, 201))
    api.client().submit("a")
    assert pauses == [7]


def test_a_retry_after_of_many_minutes_is_left_to_the_caller(pauses: list[float]) -> None:
    """The error says how long; nothing hangs meanwhile."""
    api = Api(problem("store-full", 503, {"retry-after": "600"}))
    with pytest.raises(Unavailable) as caught:
        api.client().submit("a")
    assert (caught.value.retry_after, pauses) == (600, [])


def test_refusals_are_not_repeated() -> None:
    """The same submission would be refused again."""
    api = Api(problem("invalid-submission", 422, errors=[{"pointer": "/priorty", "detail": "no", "hint": "priority"}]))
    with pytest.raises(Refused) as caught:
        api.client().submit("a")
    assert caught.value.type == "invalid-submission"
    assert str(caught.value) == "what is wrong\n  /priorty: no (did you mean priority?)"
    assert len(api.requests) == 1


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("slug", "status", "kind"),
    [
        ("unauthorized", 401, Unauthorized),
        ("task-not-found", 404, NotFound),
        ("state-conflict", 409, StateConflict),
        ("not-finished", 409, NotFinished),
        ("task-failed", 409, TaskFailed),
        ("store-unavailable", 503, Unavailable),
        ("something-new", 422, Refused),
    ],
)
def test_each_problem_has_its_class(slug: str, status: int, kind: type[Exception]) -> None:
    """Programs catch what they can do something about; a type of a later version counts by its status."""
    with pytest.raises(kind):
        Api(problem(slug, status)).client(retries=0).get("x")


def test_nobody_there_says_how_to_start(pauses: list[float]) -> None:
    """The URL that was tried and what to do."""
    with pytest.raises(ConnectFailed, match=r"http://tasks\.test .*taskpost up.*TASKPOST_URL"):
        Api(httpx.ConnectError("refused")).client().queues()
    assert len(pauses) == 3


def test_another_server_at_the_url_is_recognised() -> None:
    """A proxy's page is not taken for an answer."""
    with pytest.raises(NotFound, match=r"something other than Taskpost.*It said: <h1>Nope</h1>"):
        Api(httpx.Response(404, html="<h1>Nope</h1>")).client().get("x")
    with pytest.raises(ClientError, match="not JSON"):
        Api(httpx.Response(200, html="<h1>Hello</h1>")).client().get("x")
    with pytest.raises(ClientError, match="not a Task"):
        Api(said({"hello": "world"})).client().get("x")


def test_the_key_is_never_shown() -> None:
    """Not in an error, nor in what a debugger prints."""
    client = Api(problem("unauthorized", 401)).client()
    with pytest.raises(Unauthorized) as caught:
        client.get("x")
    assert "secret" not in f"{caught.value!r} {caught.value} {vars(client)!r}"


@pytest.mark.parametrize("url", ["localhost:8080", "redis://x", "http://"])
def test_a_url_that_is_none_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidSetting, match="needs http"):
        Taskpost(url)


# ---------------------------------------------------------------- reading


def test_waiting_asks_again_until_the_task_has_ended() -> None:
    """The API holds an answer for 25 s at the most; `wait` has no such end."""
    api = Api(said(TASK), said(TASK), said(ENDED))
    client = api.client()
    assert client.wait(Task(id="x", state="queued")).result == 5
    assert [True] * 3 == ["wait" in one.url.params for one in api.requests]


def test_a_wait_that_runs_out_brings_the_task_as_last_seen() -> None:
    with pytest.raises(WaitTimedOut) as caught:
        Api(said(TASK)).client().wait("x", 0)
    assert caught.value.task.state == "queued"


def test_results_are_what_they_were() -> None:
    """JSON, text and bytes."""
    assert Api(said({"a": 1})).client().result("x") == {"a": 1}
    assert Api(httpx.Response(200, text="hällo")).client().result("x") == "hällo"
    png = httpx.Response(200, content=b"\x89PNG", headers={"content-type": "image/png"})
    assert Api(png).client().result("x") == b"\x89PNG"


def test_fields_of_a_later_version_are_kept() -> None:
    """The typed view ignores them, `raw` has them."""
    task = Api(said(ENDED | {"mood": "good", "state": "archived"})).client().get("x")
    assert task.raw["mood"] == "good"
    assert task.is_ended


def test_a_delete_whose_answer_was_lost_is_no_error(pauses: list[float]) -> None:
    """The repeated one finds nothing, because the first one did it."""
    api = Api(httpx.ReadError("reset"), problem("task-not-found", 404))
    api.client().delete("x")
    with pytest.raises(NotFound):
        Api(problem("task-not-found", 404)).client().delete("x")


def test_a_list_goes_over_empty_pages_and_stops_at_its_limit() -> None:
    """Pages are read only as far as they are needed."""
    pages = [
        said({"items": [], "next_cursor": "a"}),
        said({"items": [TASK, TASK], "next_cursor": "b"}),
        said({"items": [TASK], "next_cursor": "c"}),
    ]
    api = Api(*pages)
    assert len(list(api.client().list(state="queued", limit=3))) == 3
    assert [dict(one.url.params) for one in api.requests] == [
        {"state": "queued", "limit": "3"},
        {"state": "queued", "limit": "3", "cursor": "a"},
        {"state": "queued", "limit": "1", "cursor": "b"},
    ]


def test_many_are_cut_into_batches_and_counted_through() -> None:
    """Receipts are numbered as the submissions were, over all requests."""

    def answer(request: httpx.Request) -> httpx.Response:
        count = len(orjson.loads(request.content))
        return said([{"index": index, "status": 201, "task": TASK} for index in range(count)])

    client = Taskpost("http://tasks.test", transport=httpx.MockTransport(answer))
    receipts = client.submit_many({"name": "a"} for _ in range(2500))
    assert list(range(2500)) == [one.index for one in receipts]


def test_missing_receipts_are_told() -> None:
    """Nobody is told that everything went well."""
    with pytest.raises(NoAnswer, match="2 submissions had 1 receipts"):
        Api(said([{"index": 0, "status": 201, "task": TASK}])).client().submit_many([{"name": "a"}, {"name": "b"}])


def test_a_stream_takes_no_more_than_it_has_sent() -> None:
    """A million lines need little memory: submissions are taken as receipts are."""
    taken = 0

    def lines() -> Iterator[Any]:
        nonlocal taken
        for _ in range(1_000_000):
            taken += 1
            yield {"name": "a", "args": {"text": "x" * 1000}}

    def answer(request: httpx.Request) -> httpx.Response:
        count = request.content.count(b"\n")
        receipts = [{"index": index, "status": 201, "task": TASK} for index in range(count)]
        return httpx.Response(200, content=b"\n".join(map(orjson.dumps, receipts)))

    stream = Taskpost("http://tasks.test", transport=httpx.MockTransport(answer)).stream(lines())
    assert next(stream).index == 0
    assert taken < 100


def test_both_clients_offer_the_same() -> None:
    """What works in one works in the other, with the same names and defaults."""

    def offered(kind: type) -> dict[str, list[str]]:
        methods = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: list(map(str, inspect.signature(one).parameters.values())) for name, one in methods if name[0] != "_"
        }

    blocking, asynchronous = offered(Taskpost), offered(AsyncTaskpost)
    assert blocking.keys() == asynchronous.keys()
    for name in set(blocking) - {"submit_many", "stream"}:  # those take async iterables too
        assert blocking[name] == asynchronous[name]


# ---------------------------------------------------------------- a live API


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with taskpost(api_key="s3cret") as url:
        yield url


@pytest.fixture
def api(url: str) -> Iterator[Taskpost]:
    with Taskpost(url, "s3cret") as client:
        yield client


def test_a_task_from_submission_to_deletion(api: Taskpost) -> None:
    """Submitted, waited for, read in every way, deleted."""
    task = api.submit("demo.add", {"a": 2, "b": 3}, tags=["one"], metadata={"order": 1}, wait=20)
    assert (task.state, task.result, task.tags, task.metadata) == ("succeeded", 5, ["one"], {"order": 1})
    assert api.get(task).raw == task.raw
    assert api.result(task) == 5
    assert [one.outcome for one in api.attempts(task)] == ["succeeded"]
    assert task.id in [one.id for one in api.list(tag="one")]
    part = api.submit("demo.add", {"a": 2, "b": 3}, parent=task.id)
    assert [part.id] == [one.id for one in api.list(parent=task)]
    api.delete(task)
    with pytest.raises(NotFound):
        api.get(task)


def test_attempts_have_their_log(api: Taskpost) -> None:
    """Typed, with the time of each line."""
    task = api.submit("demo.flaky", {"fail_times": 0}, wait=20)
    [one] = api.attempts(task)
    [line] = one.log
    assert ("info", "attempt 1; 0 are to fail") == (line.level, line.message)
    assert one.finished_at is not None
    assert one.started_at <= line.at <= one.finished_at


def test_a_failure_says_why(api: Taskpost) -> None:
    """The error of the last attempt, and no result."""
    task = api.wait(api.submit("demo.flaky", {"fail_times": 5}, retries=0), 20)
    assert task.error is not None
    assert (task.state, task.error.type) == ("failed", "RuntimeError")
    assert "fails, as asked" in (task.error.traceback or "")
    with pytest.raises(TaskFailed):
        api.result(task)


def test_a_running_task_is_cancelled(api: Taskpost) -> None:
    """Told to stop, and soon stopped."""
    task = api.submit("demo.sleep", {"seconds": 600})
    with pytest.raises(WaitTimedOut):
        api.wait(task, 0)
    with pytest.raises(NotFinished):
        api.result(task)
    assert api.cancel(task).state in ("cancelled", "cancelling")
    assert api.wait(task, 20).state == "cancelled"


def test_a_waiting_task_is_put_off_and_brought_forward(api: Taskpost) -> None:
    """Its priority changes with it."""
    task = api.submit("demo.add", {"a": 1, "b": 2}, delay_seconds=3600)
    later = api.reschedule(task, delay_seconds=timedelta(hours=2), priority=9)
    assert ("scheduled", 9) == (later.state, later.priority)
    assert later.run_at > task.run_at + timedelta(minutes=30)
    api.run(task)
    assert 3 == api.result(task, wait=20)


def test_wrong_arguments_are_all_named(api: Taskpost) -> None:
    """Every fault, and nothing stored."""
    with pytest.raises(Refused) as caught:
        api.submit("demo.add", {"a": "one", "b": "two"})
    assert ["/args/a", "/args/b"] == [one["pointer"] for one in caught.value.errors]


def test_the_same_key_is_the_same_task(api: Taskpost) -> None:
    first = api.submit("demo.add", {"a": 1, "b": 1}, idempotency_key="order-1")
    assert first.id == api.submit("demo.add", {"a": 1, "b": 1}, idempotency_key="order-1").id


@pytest.mark.parametrize("way", [Taskpost.submit_many, Taskpost.stream])
def test_one_bad_submission_of_many_stops_no_other(api: Taskpost, way: Callable[..., Any]) -> None:
    """Its receipt holds the problem; the others hold tasks."""
    receipts = list(
        way(api, ({"name": "demo.add", "args": {"a": 1, "b": "x" if n == 700 else n}} for n in range(1500)))
    )
    assert [700] == [one.index for one in receipts if not one.is_stored]
    assert 1500 == len(receipts)
    with pytest.raises(Refused):
        receipts[700].task_or_raise()
    assert api.wait(receipts[1499].task_or_raise(), 30).result == 1500


def test_a_worker_is_looked_into_and_told_what_to_do(api: Taskpost) -> None:
    """Each command is answered at once; the worker's own word says when it is true."""

    def until(claim: Callable[[WorkerDetail], bool]) -> WorkerDetail:
        deadline = time.monotonic() + 30
        while not claim(shown := api.worker(id_)):
            assert time.monotonic() < deadline, shown
            time.sleep(0.02)
        return shown

    id_ = api.workers()[0].id
    assert "quiet" == api.quiet_worker(id_).command
    quiet = until(lambda worker: worker.state == "quiet")
    assert (100, 0) == ((slots := quiet.process_list[0].slots["async"]).size, slots.busy)
    assert quiet.versions["taskpost"] == quiet.version
    told = api.resize_worker(id_, concurrency=30, children=None)
    assert (30, None) == (told.concurrency, told.children)
    last = until(lambda worker: worker.slots["async"] == 30).last_command
    assert last is not None
    assert (told.id, 30, told.sent_at) == (last.id, last.concurrency, last.sent_at)
    api.resize_worker(id_, concurrency=100)
    api.resume_worker(id_)
    task = api.submit("demo.sleep", {"seconds": 5})
    running = until(lambda worker: bool(worker.tasks))
    assert (task.id, "demo.sleep", "async", 1) == (
        (one := running.tasks[0]).id, one.name, one.lane, one.attempt
    )  # fmt: skip
    api.cancel(task)
    with pytest.raises(Refused, match="/threads"):
        api.resize_worker(id_, threads=5000)
    with pytest.raises(NotFound, match="no live worker"):
        api.stop_worker("nobody", drain_seconds=timedelta(minutes=5))


def test_a_wrong_key_is_refused(url: str) -> None:
    """And the error says where the client has it from."""
    with Taskpost(url, "wrong") as client, pytest.raises(Unauthorized, match="TASKPOST_API_KEY"):
        client.queues()


async def test_asyncio_programs_do_the_same(url: str) -> None:
    """The asynchronous client, once through."""
    async with AsyncTaskpost(url, "s3cret") as api:
        task = await api.submit("demo.add", {"a": 2, "b": 3}, wait=20)
        assert (await api.result(task), (await api.get(task)).state) == (5, "succeeded")

        async def some() -> Any:
            for number in range(3):
                yield {"name": "demo.add", "args": {"a": number, "b": 1}}

        receipts = [one async for one in api.stream(some())]
        assert [one.is_stored for one in receipts] == [True] * 3
        assert 4 == len([one async for one in api.list(name="demo.add", limit=4)])
        assert {"demo.add", "demo.sleep"} <= {one.name for one in await api.handlers()}
        assert len(await api.workers()) == 1
        assert "default" in [one.name for one in await api.queues()]
        (worker,) = await api.workers()
        assert (worker.id, worker.pid) == ((shown := await api.worker(worker.id)).id, shown.pid)
        assert ("resize", 7) == ((told := await api.resize_worker(worker.id, threads=7)).command, told.threads)
        assert ("quiet", "resume") == (
            (await api.quiet_worker(worker.id)).command, (await api.resume_worker(worker.id)).command
        )  # fmt: skip
        with pytest.raises(NotFound):
            await api.stop_worker("nobody", drain_seconds=1)
        with pytest.raises(NotFound):
            await api.delete("0" * 26)


def test_secrets_are_read_and_rotated() -> None:
    """A rotation is sent once, since a repetition would rotate again."""
    secret = {"secret": "whsec_a", "public_key": "whpk_b", "created_at": "2026-11-22T09:30:00Z", "expires_at": None}
    api = Api(httpx.Response(200, json={"items": [secret], "next_cursor": None}))
    with api.client() as client:
        (one,) = client.secrets(reveal=True)
        assert ("whsec_a", "whpk_b", None) == (one.secret, one.public_key, one.expires_at)
        assert "whsec_a" not in repr(one)
        assert "/v1/secrets?reveal=true" == str(api.requests[-1].url.raw_path, "ascii")
        assert secret["secret"] == client.rotate_secrets(overlap_seconds=timedelta(hours=1))[0].secret
        assert {"overlap_seconds": 3600} == api.body
    away = Api(httpx.ReadError("reset"))
    with away.client(retries=3) as client, pytest.raises(NoAnswer):
        client.rotate_secrets()
    assert 1 == len(away.requests)


def test_credentials_belong_to_an_endpoint() -> None:
    """Named by a URL or by itself."""
    api = Api(httpx.Response(200, json={"kind": "bearer", "token": "…"}))
    with api.client() as client:
        assert "bearer" == client.set_credentials("https://api.test:443/a", {"kind": "bearer", "token": "t"})["kind"]
        assert ("PUT", "/v1/endpoints/https:api.test/auth") == (api.requests[-1].method, api.requests[-1].url.path)
        assert {"kind": "bearer", "token": "t"} == api.body
        assert "…" == client.credentials("https:api.test")["token"]
        client.remove_credentials("http:[::1]:8080")
        assert ("DELETE", "/v1/endpoints/http:[::1]:8080/auth") == (api.requests[-1].method, api.requests[-1].url.path)
