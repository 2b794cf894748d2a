"""Call-outs are signed with the secrets of their namespace, whatever happens to the store meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import httpx
import pytest
import respx

from service.errors import StoreUnavailable
from service.signing import new_private_key, new_secret, verify
from service.store.secrets import Generation
from tests.workers.test_push_answer import OPTIONS, URL, leased
from workers.outcome import Deferred, Outcome, Succeeded
from workers.push import fresh
from workers.push.client import PushClient
from workers.push.signing import Signing

FIRST, SECOND = (Generation(new_secret(), new_private_key(), 0) for _ in range(2))


class Kept:
    """Secrets of a store that may be away; counts how often it was asked."""

    def __init__(self, *generations: Generation) -> None:
        self.found, self.is_away, self.asked = list(generations), False, 0

    async def generations(self, namespace: str) -> list[Generation]:
        assert "default" == namespace
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise StoreUnavailable("Redis did not answer")
        return self.found


class Calls:
    """A client whose clock the test moves, and what it sent."""

    def __init__(self, kept: Kept, router: respx.Router, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kept, self.now = kept, 1000.0
        self.route = router.route(url=URL).mock(httpx.Response(200))
        self.client = PushClient(max_result_bytes=1000, signing=Signing(kept))  # type: ignore[arg-type]
        monkeypatch.setattr(fresh, "monotonic", lambda: self.now)

    async def call(self, **submission: object) -> Outcome:
        return await self.client.call(leased(**submission), OPTIONS, 1_795_305_630_500)

    def check(self, *keys: str) -> None:
        """Each of *keys* verifies the last request."""
        request = self.route.calls.last.request
        for key in keys:
            verify([key], request.headers, request.content, float(request.headers["webhook-timestamp"]))

    @property
    def signatures(self) -> int:
        return len(self.route.calls.last.request.headers["webhook-signature"].split(" "))


@pytest.fixture
def kept() -> Kept:
    return Kept(FIRST)


@pytest.fixture
async def calls(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Calls]:
    with respx.mock(using="httpx", assert_all_called=False) as router:
        made = Calls(kept, router, monkeypatch)
        yield made
        await made.client.aclose()


@pytest.mark.parametrize(
    "submission",
    [
        {"body": {"a": "ä", "n": [1, 2.5, None]}},
        {"body": "text", "headers": {"Content-Type": "text/plain"}},
        {"body": ""},
        {"method": "GET"},
    ],
)
async def test_every_call_is_signed_by_secret_and_key(calls: Calls, submission: dict[str, object]) -> None:
    """Whatever its body, and without one."""
    assert isinstance(await calls.call(**submission), Succeeded)
    calls.check(FIRST.secret, FIRST.public_key)
    assert 2 == calls.signatures


@pytest.mark.parametrize(
    ("versions", "starts"),
    [("v1", ["v1,"]), ("v1a", ["v1a,"]), ("v1,v1a", ["v1,", "v1a,"]), ("v1a,v1", ["v1,", "v1a,"])],
)
async def test_a_call_has_the_signatures_that_are_asked_for(kept: Kept, versions: str, starts: list[str]) -> None:
    """As TASKPOST_SIGNATURES says; both verify where both are."""
    with respx.mock(using="httpx") as router:
        route = router.route(url=URL).mock(httpx.Response(200))
        client = PushClient(max_result_bytes=1000, signing=Signing(kept, versions))  # type: ignore[arg-type]
        await client.call(leased(), OPTIONS, 1_795_305_630_500)
        await client.aclose()
        signatures = route.calls.last.request.headers["webhook-signature"].split(" ")
    assert starts == [one[: one.index(",") + 1] for one in signatures]


async def test_all_secrets_sign_while_they_rotate(calls: Calls) -> None:
    calls.kept.found = [SECOND, FIRST]
    await calls.call()
    calls.check(FIRST.secret, FIRST.public_key, SECOND.secret, SECOND.public_key)
    assert 4 == calls.signatures


async def test_a_rotation_is_noticed_within_two_seconds(calls: Calls) -> None:
    """Not sooner, so that a busy worker asks the store for its secrets twice a second at the most."""
    await calls.call()
    calls.kept.found = [SECOND]
    calls.now += 1.9
    await calls.call()
    calls.check(FIRST.secret)
    calls.now += 0.2
    await calls.call()
    calls.check(SECOND.secret)
    assert 2 == calls.kept.asked


async def test_calls_at_once_ask_the_store_once(calls: Calls) -> None:
    """One reads for all, and one that is cancelled takes nothing from the others."""
    running = [asyncio.create_task(calls.call()) for _ in range(20)]
    await asyncio.sleep(0)
    running[0].cancel()
    ended = await asyncio.gather(*running, return_exceptions=True)
    assert isinstance(ended[0], asyncio.CancelledError)
    assert all(isinstance(one, Succeeded) for one in ended[1:])
    assert 1 == calls.kept.asked


async def test_what_was_known_stands_while_the_store_is_away(calls: Calls, caplog: pytest.LogCaptureFixture) -> None:
    """A call that can be made is made; the log says so, without the secret."""
    await calls.call()
    calls.kept.is_away, calls.now = True, calls.now + 60
    with caplog.at_level(logging.WARNING):
        assert isinstance(await calls.call(), Succeeded)
    calls.check(FIRST.secret)
    assert "the signing secrets could not be read; what was known stands" in caplog.text
    assert FIRST.secret not in caplog.text


async def test_nothing_is_sent_unsigned(calls: Calls) -> None:
    """Without secrets the task is put off, which costs it no attempt."""
    calls.kept.is_away = True
    outcome = await calls.call()
    assert isinstance(outcome, Deferred)
    assert "the signing secrets could not be read" in outcome.reason
    assert not calls.route.called
    calls.kept.is_away = False
    assert isinstance(await calls.call(), Succeeded)
