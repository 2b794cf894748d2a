"""
Everything that is refused: each with a stable problem type, and nothing changed in Redis.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import orjson
import pytest

from service.store import Store
from tests.api.serving import ADD, Serving, serving, stored
from tests.servers import Server

LONG = "x" * 3000
FAR = "2999-01-01T00:00:00Z"


@pytest.fixture
def unchanged(redis_server: Server, store: Store) -> Any:
    """Asserts that Redis holds the same keys after the test as before it."""
    before = stored(redis_server)
    yield
    assert before == stored(redis_server)


def deep(levels: int) -> bytes:
    """A submission that nests so deep."""
    inner = b"[" * (levels - 2) + b"]" * (levels - 2)
    return b'{"name":"demo.add","args":{"a":' + inner + b',"b":3}}'


BAD_BODIES = [
    (b"", "malformed-json"),
    (b"   ", "malformed-json"),
    (b"not json", "malformed-json"),
    (b'{"name": "demo.add",}', "malformed-json"),
    (b'{"name": "demo.add"} {}', "malformed-json"),
    (b'{"name": "demo.add", "args": {"a": NaN, "b": 1}}', "malformed-json"),
    (b'{"name": "demo.add", "args": {"a": Infinity, "b": 1}}', "malformed-json"),
    (b'{"name": "demo.add", "args": {"a": 1e999, "b": 1}}', "malformed-json"),
    (b'{"name": "\xff\xfe"}', "malformed-json"),
    (b'{"name": "\xed\xa0\x80"}', "malformed-json"),
    (b'{"name": "\\ud800"}', "malformed-json"),
    (b"\xef\xbb\xbf{}", "malformed-json"),
    (b'{"metadata": {"n": 18446744073709551616}}', "invalid-request"),
    (b'{"metadata": {"n": -9223372036854775809}}', "invalid-request"),
    (b'{"metadata": {"n": ' + b"9" * 300 + b"}}", "invalid-request"),
    (deep(65), "invalid-request"),
    (deep(5000), "invalid-request"),
    (b"[" * 200_000, "invalid-request"),
    (b'{"a":' * 100_000, "invalid-request"),
    (b"[]", "invalid-submission"),
    (b"null", "invalid-submission"),
    (b'"text"', "invalid-submission"),
    (b"{}", "invalid-submission"),
]


@pytest.mark.parametrize(("body", "kind"), [pytest.param(*one, id=repr(one[0][:40])) for one in BAD_BODIES])
async def test_bodies_that_are_not_json_are_refused(api: Serving, unchanged: None, body: bytes, kind: str) -> None:
    """Each says what is wrong with it, with a type that clients can rely on."""
    answer = await api.http.post("/v1/tasks", content=body)
    problem = answer.json()
    assert f"/problems/{kind}" == problem["type"], problem
    assert "application/problem+json" == answer.headers["content-type"]
    assert answer.status_code == problem["status"] == (422 if kind == "invalid-submission" else 400)


async def test_place_of_an_integer_that_is_too_large_is_named(api: Serving, unchanged: None) -> None:
    """It is not silently rounded, and the pointer says where it stands."""
    body = b'{"name":"demo.add","metadata":{"text":"99999999999999999999","a/b":[1,99999999999999999999]}}'
    problem = (await api.http.post("/v1/tasks", content=body)).json()
    assert ["/metadata/a~1b/1"] == [fault["pointer"] for fault in problem["errors"]]


async def test_deep_but_not_too_deep_is_taken(api: Serving) -> None:
    """Sixty-four levels are within the bound, and brackets in texts do not count."""
    levels = json.loads("[" * 62 + "]" * 62)
    submission = {"url": "http://a.example", "body": [levels], "metadata": {"x": "[{" * 100, "y": '\\"[[['}}
    assert 201 == (await api.post(submission)).status_code


BAD_SUBMISSIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": "demo.add", "url": "http://a.example"}, ["/url"]),
    ({"args": {}}, [""]),
    ({**ADD, "prioritty": 3, "nonsense": 1}, ["/nonsense", "/prioritty"]),
    ({**ADD, "priority": 10}, ["/priority"]),
    ({**ADD, "priority": "5"}, ["/priority"]),
    ({**ADD, "retries": 1.5}, ["/retries"]),
    ({**ADD, "retries": None}, ["/retries"]),
    ({**ADD, "queue": "a b"}, ["/queue"]),
    ({**ADD, "name": LONG}, ["/name"]),
    ({**ADD, "method": "GET"}, ["/method"]),
    ({**ADD, "body": 1}, ["/body"]),
    ({**ADD, "headers": {}}, ["/headers"]),
    ({"url": "http://a.example", "args": {}}, ["/args"]),
    ({"url": "http://a.example", "soft_timeout_seconds": 1}, ["/soft_timeout_seconds"]),
    ({**ADD, "delay_seconds": 1, "run_at": "2027-01-01T00:00:00Z"}, ["/run_at"]),
    ({**ADD, "delay_seconds": -1}, ["/delay_seconds"]),
    ({**ADD, "run_at": FAR}, ["/run_at"]),
    ({**ADD, "run_at": "2027-01-01T00:00:00"}, ["/run_at"]),
    ({**ADD, "run_at": "tomorrow"}, ["/run_at"]),
    ({**ADD, "expires_in_seconds": 0}, ["/expires_in_seconds"]),
    ({**ADD, "expires_in_seconds": 1, "expires_at": "2027-01-01T00:00:00Z"}, ["/expires_at"]),
    ({**ADD, "expires_at": "2020-01-01T00:00:00Z"}, ["/expires_at"]),
    ({**ADD, "expires_at": FAR}, ["/expires_at"]),
    ({**ADD, "expires_in_seconds": 60, "delay_seconds": 60}, ["/expires_in_seconds"]),
    ({**ADD, "expires_at": "2030-01-01T00:00:00Z", "run_at": "2030-01-01T00:00:00Z"}, ["/expires_at"]),
    ({**ADD, "unique": {"keys": "k"}}, ["/unique/keys"]),
    ({**ADD, "unique": {"until": "done", "on_conflict": "ignore"}}, ["/unique/on_conflict", "/unique/until"]),
    ({**ADD, "unique": {"key": "k", "by": ["a"]}}, ["/unique/by"]),
    ({**ADD, "unique": {"by": ["a", "c"]}}, ["/unique/by/1"]),
    ({"url": "http://a.example", "unique": {"by": ["a"]}}, ["/unique/by"]),
    ({**ADD, "unique": {"for_seconds": 60, "until": "started"}}, ["/unique/until"]),
    ({**ADD, "unique": {}, "debounce": {"seconds": 1}}, ["/debounce"]),
    ({**ADD, "debounce": {}}, ["/debounce"]),
    ({**ADD, "debounce": {"seconds": 60, "max_wait_seconds": 30}}, ["/debounce/max_wait_seconds"]),
    ({**ADD, "debounce": {"seconds": 60}, "delay_seconds": 1}, ["/delay_seconds"]),
    ({**ADD, "debounce": {"seconds": 60}, "expires_in_seconds": 60}, ["/expires_in_seconds"]),
    ({**ADD, "soft_timeout_seconds": 60, "timeout_seconds": 60}, ["/soft_timeout_seconds"]),
    ({**ADD, "soft_timeout_seconds": 1801}, ["/soft_timeout_seconds"]),
    ({**ADD, "backoff": {"delays_seconds": [1], "kind": "linear"}}, ["/backoff/delays_seconds"]),
    ({**ADD, "backoff": {"base": 1}}, ["/backoff/base"]),
    ({**ADD, "idempotency_key": "a b"}, ["/idempotency_key"]),
    ({**ADD, "tags": ["", 1]}, ["/tags/0", "/tags/1"]),
    ({**ADD, "callback": {"url": "nowhere"}}, ["/callback/url"]),
    ({**ADD, "callback": {"url": "http://u:p@a.example"}}, ["/callback/url"]),
    ({**ADD, "callback": {"url": "http://a.example", "headers": {"Host": "b"}}}, ["/callback/headers/Host"]),
    ({"url": "http://a.example", "headers": {"Webhook-Signature": "v1,a"}}, ["/headers/Webhook-Signature"]),
    ({"url": "http://a.example", "headers": {"webhook-id": "a", "Taskpost-Task": "b"}},
     ["/headers/Taskpost-Task", "/headers/webhook-id"]),
    ({**ADD, "callback": {"url": "http://a.e", "headers": {"webhook-id": "b"}}}, ["/callback/headers/webhook-id"]),
    ({"url": "ftp://a.example"}, ["/url"]),
    ({"url": "http://"}, ["/url"]),
    ({"url": "http:///path"}, ["/url"]),
    ({"url": "http://user:pass@a.example/"}, ["/url"]),
    ({"url": "http://a.example:99999/"}, ["/url"]),
    ({"url": "http://[::1/"}, ["/url"]),
    ({"url": "http://a.example/é"}, ["/url"]),
    ({"url": "http://a.example", "headers": {"X": "a\r\nY: b"}}, ["/headers/X"]),
    ({"url": "http://a.example", "headers": {"X": "a\u0000"}}, ["/headers/X"]),
    ({"url": "http://a.example", "headers": {"X Y": "a", "a/b": "c"}}, ["/headers/X Y", "/headers/a~1b"]),
    ({"url": "http://a.example", "headers": {"": "a"}}, ["/headers/"]),
    ({"url": "http://a.example", "headers": {"content-LENGTH": "5"}}, ["/headers/content-LENGTH"]),
    ({"url": "http://a.example", "headers": {"Transfer-Encoding": "chunked"}}, ["/headers/Transfer-Encoding"]),
    ({"url": "http://a.example", "headers": {f"x{n}": "y" * 8000 for n in range(3)}}, ["/headers"]),
]


@pytest.mark.parametrize(("submission", "pointers"), BAD_SUBMISSIONS)
async def test_bad_fields_are_named(
    api: Serving, unchanged: None, submission: dict[str, Any], pointers: list[str]
) -> None:
    """Every fault has a JSON Pointer to its place, and a word on what is needed."""
    answer = await api.post(submission)
    assert (422, "/problems/invalid-submission") == (answer.status_code, answer.json()["type"]), answer.text
    assert pointers == sorted(fault["pointer"] for fault in answer.json()["errors"])
    assert all(fault["detail"] for fault in answer.json()["errors"])
    assert len(answer.content) < 5000


async def test_every_fault_is_listed_at_once(api: Serving, unchanged: None) -> None:
    """One try is enough to learn of all that is wrong, whichever rule says so."""
    submission = {"url": "http://", "name": "a", "priority": 11, "run_at": FAR, "delay_seconds": 1, "tag": []}
    errors = (await api.post(submission)).json()["errors"]
    assert {"/priority", "/url", "/run_at", "/tag"} == {fault["pointer"] for fault in errors}


async def test_unknown_field_is_named_with_the_nearest(api: Serving, unchanged: None) -> None:
    """A slip of the pen is told from a wish that cannot be fulfilled."""
    for submission, hint in [({**ADD, "prioritty": 1}, "priority"), ({**ADD, "backoff": {"facter": 2}}, "factor")]:
        [fault] = (await api.post(submission)).json()["errors"]
        assert hint == fault["hint"]
        assert f'did you mean "{hint}"?' in fault["detail"]


async def test_unknown_handler_is_named_with_the_nearest(api: Serving, unchanged: None) -> None:
    """Nothing waits for ever for a handler that does not exist."""
    answer = await api.post({"name": "demo.ad", "args": {}})
    assert (422, "/problems/unknown-handler") == (answer.status_code, answer.json()["type"])
    assert [("/name", "demo.add")] == [(one["pointer"], one["hint"]) for one in answer.json()["errors"]]


async def test_unknown_handlers_are_taken_when_told_so(store: Store, redis_url: str) -> None:
    """A setting lets tasks be submitted before any worker has said what it does."""
    async with serving(redis_url, accept_unknown_handlers=True) as api:
        assert "async" == (await api.submitted({"name": "not.yet"}))["lane"]


async def test_every_wrong_argument_is_named(api: Serving, unchanged: None) -> None:
    """The signature of the handler is checked before anything is stored."""
    answer = await api.post({"name": "demo.add", "args": {"a": "two", "c": 1}})
    assert (422, "/problems/invalid-arguments") == (answer.status_code, answer.json()["type"])
    pointers = {fault["pointer"] for fault in answer.json()["errors"]}
    assert {"/args", "/args/a", "/args/c"} == pointers


# ---------------------------------------------------------------- sizes and media types


async def test_body_over_the_bound_is_refused(api: Serving, unchanged: None) -> None:
    """Whether its length is told or not."""

    async def pieces() -> Any:
        for _ in range(1100):
            yield b" " * 1024

    told = await api.http.post("/v1/tasks", content=b" " * (1024 * 1024 + 1))
    untold = await api.http.post("/v1/tasks", content=pieces())
    assert [(413, "/problems/too-large")] * 2 == [(one.status_code, one.json()["type"]) for one in (told, untold)]


async def test_length_over_the_bound_is_refused_before_the_body_comes(api: Serving, unchanged: None) -> None:
    """A client that asks first is spared the sending."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"POST /v1/tasks HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
    answer = await reader.read()  # to its end: what would come next on this connection is anybody's guess
    assert b"HTTP/1.1 413" == answer[:12]
    assert b"connection: close" in answer
    writer.close()


@pytest.mark.parametrize("media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "json"])
async def test_other_media_types_are_refused(api: Serving, unchanged: None, media_type: str) -> None:
    """What curl sends by itself is a form; the answer says what to add."""
    answer = await api.http.post("/v1/tasks", content=b"{}", headers={"content-type": media_type})
    assert (415, "/problems/unsupported-media-type") == (answer.status_code, answer.json()["type"])
    assert "Content-Type: application/json" in answer.json()["detail"]


async def test_pages_of_other_sites_cannot_submit(api: Serving, unchanged: None) -> None:
    """A browser asks first before it sends JSON to another site, but sends what has no type at once."""
    for path in ("/v1/tasks", "/v1/tasks/batch", "/v1/tasks/stream"):
        answer = await api.http.post(path, content=b"{}", headers={"origin": "https://evil.example"})
        assert (415, "/problems/unsupported-media-type") == (answer.status_code, answer.json()["type"])


async def test_compressed_bodies_are_refused(api: Serving, unchanged: None) -> None:
    """Better than to call gzip malformed JSON."""
    answer = await api.http.post("/v1/tasks", content=b"\x1f\x8b", headers={"content-encoding": "gzip"})
    assert 415 == answer.status_code


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/queues"])
async def test_headers_over_the_bound_are_refused(api: Serving, unchanged: None, path: str) -> None:
    """On every path that is not open to all."""
    answer = await api.http.request("POST" if path == "/v1/tasks" else "GET", path, headers={"x": "y" * 17_000})
    assert (431, "/problems/headers-too-large") == (answer.status_code, answer.json()["type"])


async def test_head_that_never_ends_is_cut_off(api: Serving) -> None:
    """Memory is bounded before a request is complete."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"GET /v1/queues HTTP/1.1\r\nHost: a\r\nX: ")
    for _ in range(200):
        writer.write(b"y" * 1024)
    assert b"HTTP/1.1 431" == (await reader.readline())[:12]
    writer.close()


async def test_what_is_not_http_gets_a_problem(api: Serving) -> None:
    """Even then the answer is one that programs can read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(b"HELLO\r\n\r\n")
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    assert b"HTTP/1.1 400" == head[:12]
    assert "/problems/invalid-request" == orjson.loads(body)["type"]
    writer.close()


# ---------------------------------------------------------------- keys, methods, paths, queries


@pytest.mark.parametrize("key", ['"', "a b", "", '"a', "é", "x" * 300, 'a"b'])
async def test_bad_idempotency_keys_are_refused(api: Serving, unchanged: None, key: str) -> None:
    """A header that is no key is named."""
    answer = await api.post(ADD, headers={"Idempotency-Key": key.encode("latin-1")})
    assert (400, "/problems/invalid-request") == (answer.status_code, answer.json()["type"]), answer.text
    assert ["Idempotency-Key"] == [fault["header"] for fault in answer.json()["errors"]]


async def test_two_different_keys_are_refused(api: Serving, unchanged: None) -> None:
    """Nobody can say which one was meant."""
    answer = await api.post({**ADD, "idempotency_key": "a"}, headers={"Idempotency-Key": "b"})
    assert (400, "/problems/invalid-request") == (answer.status_code, answer.json()["type"])


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/tasks", "GET, HEAD, POST"),
        ("GET", "/v1/tasks/batch", "POST"),
        ("DELETE", "/v1/tasks/stream", "POST"),
        ("POST", "/v1/tasks/01M819EKHX02FJFH0TDFHXG001", "DELETE, GET, HEAD"),
        ("GET", "/v1/tasks/01M819EKHX02FJFH0TDFHXG001/cancel", "POST"),
        ("OPTIONS", "/v1/queues", "GET, HEAD"),
        ("POST", "/livez", "GET, HEAD"),
    ],
)
async def test_wrong_methods_name_the_right_ones(
    api: Serving, unchanged: None, method: str, path: str, allow: str
) -> None:
    """405 with all that the path offers."""
    answer = await api.http.request(method, path)
    assert (405, allow) == (answer.status_code, answer.headers["allow"])
    assert "/problems/method-not-allowed" == answer.json()["type"]


async def test_paths_that_do_not_exist_are_problems(api: Serving, unchanged: None) -> None:
    """A slash at the end is another path."""
    for path in ("/", "/v1", "/v1/tasks/", "/v1/task", "/v2/tasks", "/v1/tasks/a/b/c", "/%00", "//"):
        for method in ("GET", "POST"):
            answer = await api.http.request(method, path, json=ADD)
            assert (404, "/problems/not-found") == (answer.status_code, answer.json()["type"]), path


@pytest.mark.parametrize("id_", ["01M819EKHX02FJFH0TDFHXG001", "7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "x", "0" * 27, "%20", "é"])
async def test_ids_that_do_not_exist_are_not_found(api: Serving, unchanged: None, id_: str) -> None:
    """Whether they look like ids or not."""
    for method, rest in [
        ("GET", ""), ("GET", "/result"), ("GET", "/attempts"), ("POST", "/cancel"), ("DELETE", ""), ("GET", "?wait=1"),
    ]:  # fmt: skip
        answer = await api.http.request(method, f"/v1/tasks/{id_}{rest}")
        assert (404, "/problems/task-not-found") == (answer.status_code, answer.json()["type"]), (method, rest)


@pytest.mark.parametrize(
    ("path", "faults"),
    [
        ("/v1/tasks?statee=queued", {"statee": "state"}),
        ("/v1/tasks?state=done&limit=0", {"state": None, "limit": None}),
        ("/v1/tasks?limit=1001", {"limit": None}),
        ("/v1/tasks?limit=1e2", {"limit": None}),
        ("/v1/tasks?limit=5&limit=6", {"limit": None}),
        ("/v1/tasks?queue=a%20b&name=&tag=", {"queue": None, "name": None, "tag": None}),
        ("/v1/tasks?cursor=nonsense", {"cursor": None}),
        ("/v1/tasks?cursor=W251bGwsMV0", {"cursor": None}),
        ("/v1/tasks/01M819EKHX02FJFH0TDFHXG001?wait=26", {"wait": None}),
        ("/v1/tasks/01M819EKHX02FJFH0TDFHXG001?wait=NaN", {"wait": None}),
        ("/v1/tasks/01M819EKHX02FJFH0TDFHXG001/result?wait=-1&waits=1", {"wait": None, "waits": "wait"}),
    ],
)
async def test_bad_queries_name_every_fault(
    api: Serving, unchanged: None, path: str, faults: dict[str, str | None]
) -> None:
    """Parameters are as strict as bodies, with the nearest known one for each unknown."""
    answer = await api.http.get(path)
    assert (422, "/problems/invalid-query") == (answer.status_code, answer.json()["type"]), answer.text
    assert faults == {fault["parameter"]: fault.get("hint") for fault in answer.json()["errors"]}


async def test_query_of_a_submission_is_refused(api: Serving, unchanged: None) -> None:
    """`?wait=` belongs to reading; submitting has the Prefer header."""
    answer = await api.http.post("/v1/tasks?wait=5", json=ADD)
    assert (422, "/problems/invalid-query") == (answer.status_code, answer.json()["type"])


# ---------------------------------------------------------------- who may ask


async def test_without_the_key_nothing_is_answered(unchanged: None, redis_url: str) -> None:
    """401 with a challenge, whatever else is wrong with the request."""
    given = ["", "Bearer", "Bearer wrong", "Basic c2VjcmV0", "secret", "Bearer secret2"]
    asked = [("POST", "/v1/tasks"), ("POST", "/v1/tasks/batch"), ("POST", "/v1/tasks/stream"), ("GET", "/v1/tasks")]
    async with serving(redis_url, api_key="secret") as api:
        for method, path in [*asked, ("GET", "/v1/workers"), ("DELETE", "/v1/tasks/x")]:
            for one in given:
                answer = await api.http.request(method, path, content=b"junk", headers={"authorization": one})
                assert (401, "/problems/unauthorized") == (answer.status_code, answer.json()["type"]), (path, one)
                assert "Bearer" == answer.headers["www-authenticate"]


async def test_with_the_key_everything_is_answered(store: Store, redis_url: str) -> None:
    """And health and contract without it."""
    async with serving(redis_url, api_key="secret") as api:
        assert 201 == (await api.post(ADD, headers={"authorization": "bearer secret"})).status_code
        for path in ("/livez", "/readyz", "/openapi.json", "/openapi.yaml"):
            assert 200 == (await api.http.get(path)).status_code
