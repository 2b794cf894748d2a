"""The echo endpoint of development mode."""

from __future__ import annotations

from typing import Any
from urllib.request import OpenerDirector

import pytest

from service.api.echo import Heard, complete, directly
from service.completion import CHARACTERS, PATH
from tests.api.serving import Serving, serving


@pytest.fixture
async def api(redis_url: str) -> Any:
    async with serving(redis_url, dev=True) as started:
        yield started


async def test_it_tells_what_it_was_sent(api: Serving) -> None:
    """Method, path, query, header fields and body, as they came."""
    answer = await api.http.put("/echo/a/b?x=1", json={"n": 1}, headers={"X-Tenant": "acme"})
    told = answer.json()
    assert (200, "PUT", "/echo/a/b", "x=1", {"n": 1}) == (
        answer.status_code, told["method"], told["path"], told["query"], told["body"],
    )  # fmt: skip
    assert "acme" == told["headers"]["x-tenant"]
    assert "no JSON" == (await api.http.post("/echo", content=b"no JSON")).json()["body"]
    assert "/echo/a%20b%1B%5B2J" == (await api.http.post("/echo/a%20b%1B%5B2J")).json()["path"]


@pytest.mark.parametrize(
    ("query", "attempt", "status", "after"),
    [
        ("", None, 200, None),
        ("status=418", None, 418, None),
        ("fail=2", 1, 500, None),
        ("fail=2", 2, 500, None),
        ("fail=2", 3, 200, None),
        ("fail=1&status=502", 1, 502, None),
        ("fail=1&status=502", 2, 200, None),
        ("retry_after=30", None, 503, "30"),
        ("retry_after=30&status=429", None, 429, "30"),
        ("fail=1&retry_after=5", 1, 503, "5"),
        ("fail=1&retry_after=5", 2, 200, None),
        ("async=1", None, 202, None),
        ("fail=1", "\u00b2", 500, None),
        ("fail=1", "9" * 5000, 500, None),
    ],
)
async def test_it_answers_as_it_is_asked(api: Serving, query, attempt, status, after) -> None:
    """`fail` counts by the attempt that the call names."""
    headers = {} if attempt is None else {"Taskpost-Attempt": str(attempt).encode("latin-1")}
    answer = await api.http.post(f"/echo?{query}", headers=headers)
    assert (status, after) == (answer.status_code, answer.headers.get("retry-after"))
    assert ("1" if status == 202 else None) == answer.headers.get("taskpost-async")


@pytest.mark.parametrize("place", ["http://127.0.0.1:{port}/", "http://127.0.0.1:{port}/v1/completions/x", "file:///x"])
async def test_nothing_but_a_completion_url_is_called(
    api: Serving, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Whoever can send a request here cannot make this machine send any other."""
    called: list[str] = []
    monkeypatch.setattr(OpenerDirector, "open", lambda _opener, request, *_: called.append(request.full_url))
    good = f"http://tasks.test{PATH}{'a' * CHARACTERS}"
    for url in (place.format(port=1), good):
        heard = Heard("POST", "/echo", "", {"taskpost-completion-url": url}, b"")
        await complete(heard, 0)
    assert [f"{good}/complete"] == called


async def test_a_completion_takes_no_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes to where the call came from, which a proxy seldom reaches."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    handlers = {type(one).__name__ for one in directly().handlers}
    assert not handlers & {"ProxyHandler", "HTTPRedirectHandler", "FileHandler", "FTPHandler", "DataHandler"}


async def test_what_cannot_be_asked_for_is_named(api: Serving) -> None:
    """With its bounds."""
    answer = await api.http.get("/echo?status=99&delay=x&other=1")
    assert (422, ["status", "delay"]) == (answer.status_code, [one["parameter"] for one in answer.json()["errors"]])


async def test_bodies_have_a_bound(redis_url: str) -> None:
    """That of every body."""
    async with serving(redis_url, dev=True, max_body_bytes=2000) as api:
        assert 413 == (await api.http.post("/echo", content=b"x" * 2001)).status_code


async def test_it_is_not_there_outside_development_mode(redis_url: str) -> None:
    """Nobody's production service answers whatever it is asked to."""
    async with serving(redis_url, dev=False) as api:
        assert 404 == (await api.http.get("/echo")).status_code
