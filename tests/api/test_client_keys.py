"""API keys from Python and from the shell, over a live API and straight on Redis."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from service import cli
from service.client import AsyncTaskpost, NotFound, Taskpost, Unauthorized
from tests.running import taskpost

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with taskpost("web", api_key="s3cret") as url:
        yield url


@pytest.fixture
def run(url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line with the operator's key; its exit status, standard output and standard error."""
    monkeypatch.setenv("TASKPOST_URL", url)
    monkeypatch.setenv("TASKPOST_API_KEY", "s3cret")

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main(arguments)
        return status, *capsys.readouterr()

    return run


def test_a_program_makes_and_revokes_keys(url: str) -> None:
    """The new key works at once, for what it may do."""
    with Taskpost(url, "s3cret") as client:
        limit = {"requests": 50, "window_seconds": 60}
        made = client.create_key("importer", ["tasks:read"], namespace="acme", rate_limit=limit)  # type: ignore[arg-type]
        with Taskpost(url, made.key) as importer:
            assert [] == [*importer.list()]
            with pytest.raises(Unauthorized, match="needs the scope queues:read"):
                importer.queues()
        assert ("acme", ["tasks:read"], limit) == (made.namespace, made.scopes, made.rate_limit)
        assert f"<NewApiKey {made.id} importer active>" == repr(made)
        assert made.id in [key.id for key in client.api_keys()]
        assert "revoked" == client.revoke_key(made.id).state
        assert client.api_key(made.id).revoked_at is not None
        with pytest.raises(NotFound):
            client.revoke_key("0000000000")


async def test_so_does_an_asynchronous_one(url: str) -> None:
    """The same words, awaited."""
    async with AsyncTaskpost(url, "s3cret") as client:
        made = await client.create_key("short", role="reader", expires_in_seconds=60)
        assert ("reader", ["reader"]) == (made.role, made.scopes)
        assert made.expires_at is not None
        assert made.id in [key.id for key in await client.api_keys()]
        assert "active" == (await client.api_key(made.id)).state
        assert "revoked" == (await client.revoke_key(made.id)).state
        [revoked, created] = [one async for one in client.audit(limit=2)]
        assert ("revokeKey", "createKey") == (revoked.operation, created.operation)


def test_the_shell_makes_lists_and_revokes_keys(run: Run) -> None:
    """A new key stands alone on standard output."""
    status, key, note = run(
        "keys", "create", "ci", "--scope", "tasks:*", "--namespace", "acme", "--rate", "100/1m", "--expires", "90d"
    )
    assert (0, "tp_") == (status, key[:3])
    assert "It is not shown again" in note
    id_ = key[3:13]
    _, listed, _ = run("keys", "--json")
    [shown] = [one for line in listed.splitlines() if (one := json.loads(line))["id"] == id_]
    assert ("ci", {"requests": 100, "window_seconds": 60}) == (shown["name"], shown["rate_limit"])
    status, table, _ = run("keys")
    assert (0, True) == (status, id_ in table)
    assert (0, f"{id_} ci: revoked\n", "") == run("keys", "revoke", id_)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("create",), "a name and a role or a scope are needed"),
        (("create", "ci"), "a name and a role or a scope are needed"),
        (("create", "ci", "--scope", "everything"), "/scopes/0"),
        (("create", "ci", "--scope", "reader", "--redis", "redis://h:1/0", "--namespace", "No/one"), "/namespace"),
        (("revoke",), "which key?"),
        (("list", "--scope", "reader"), "--scope goes with create"),
        (("revoke", "0000000000"), "there is no API key"),
    ],
)
def test_what_is_wrong_is_said(run: Run, arguments: tuple[str, ...], told: str) -> None:
    """In a sentence, with exit status 2."""
    status, out, err = run("keys", *arguments)
    assert (2, "") == (status, out)
    assert told in err


def test_the_first_key_needs_no_api(run: Run, redis_url: str) -> None:
    """It is written where keys are kept, listed and revoked there."""
    straight = ("--redis", redis_url)
    status, key, _ = run("keys", "create", "me", "--role", "admin", *straight)
    assert (0, "tp_") == (status, key[:3])
    assert "me" in run("keys", *straight)[1]
    assert 0 == run("keys", "revoke", key[3:13], *straight)[0]
    assert "revoked" in run("keys", *straight)[1]


def test_it_is_told_who_changed_what(run: Run, url: str) -> None:
    """The newest first, as a table and as JSON, and that there is more; also of calls that were refused."""
    with Taskpost(url, "s3cret") as client:
        made = client.create_key("auditor", role="operator")
        with pytest.raises(NotFound):
            client.revoke_key("0000000000")
        found = [*client.audit()]
        assert len(found) > 2
        assert [("revokeKey", 404, "operator"), ("createKey", 201, "operator")] == [
            (one.operation, one.status, one.key_name) for one in found[:2]
        ]
        assert found[:1] == [*client.audit(limit=1)]
    status, listed, _ = run("audit", "--limit", "2", "--json")
    assert (0, ["revokeKey", "createKey"]) == (status, [json.loads(one)["operation"] for one in listed.splitlines()])
    status, table, note = run("audit", "--limit", "2")
    assert 0 == status
    assert all(one in table for one in ("revokeKey", "/v1/keys/0000000000", "404", "operator", "127.0.0.1"))
    assert "There are more" in note
    assert "There are more" not in run("audit", "--all")[2]
    with Taskpost(url, made.key) as client:  # an operator's own namespace: the default one
        assert found[0].raw in [one.raw for one in client.audit()]


def test_where_nothing_was_changed_that_is_said(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sentence, with exit status 0."""
    with Taskpost(url, "s3cret") as client:
        key = client.create_key("new", role="operator", namespace="fresh").key
    monkeypatch.setenv("TASKPOST_API_KEY", key)
    assert (0, "", "nobody has changed anything yet\n") == run("audit")
