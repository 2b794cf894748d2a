"""URLs that answered 410: disabled for every process, without their query, for a while."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
import respx

from service.store import Store
from service.store.endings import Ending
from service.store.gone import MOST_URLS, GoneUrls, without_query
from service.task import Leased
from workers.push.client import PushClient
from workers.registry import Registry
from workers.run import Ears, Pipeline

URL = "https://hooks.example.com/orders?id=5"
NOW_MS = 1_800_000_000_000
NOBODY = Ears(progress=lambda _: None, log=lambda _: None, checkpoint=lambda _: None)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Hooks.Example.com:443/a/B?x=1#part", "https://hooks.example.com/a/B"),
        ("http://h", "http://h/"),
        ("http://h:8080/", "http://h:8080/"),
        ("https://h:80/a", "https://h:80/a"),
        ("http://[::1]:9/a?b", "http://[::1]:9/a"),
        ("http://[broken", "http://[broken"),
    ],
)
def test_a_url_is_written_in_one_way(url: str, expected: str) -> None:
    """Without query and fragment, which differ from call to call."""
    assert expected == without_query(url)


async def test_a_url_that_is_gone_is_known_to_all(store: Store) -> None:
    """At once where it answered, soon everywhere else, and in its own namespace only."""
    await store.gone.disable("default", URL, NOW_MS)
    reason = store.gone.reason("default", "https://hooks.example.com/orders?id=6", NOW_MS + 1)
    assert reason is not None
    assert "https://hooks.example.com/orders answered 410 Gone at 2027-01-15T08:00:00.000Z and is disabled" in reason
    other = GoneUrls(store.scripts, store.settings)
    assert other.reason("default", URL, NOW_MS) is None
    assert other.reading is not None
    await asyncio.wait({other.reading})
    assert other.reason("default", URL, NOW_MS) is not None
    assert other.reason("acme", URL, NOW_MS) is None
    assert other.reason("default", "https://hooks.example.com/others", NOW_MS) is None
    assert {"https://hooks.example.com/orders": NOW_MS} == await other.listed("default", NOW_MS)
    assert {} == await other.listed("acme", NOW_MS)


async def test_a_url_that_was_enabled_elsewhere_is_called_at_once(store: Store) -> None:
    """A process that was idle since does not fail the next task by what it knew then."""
    await store.gone.disable("default", URL, NOW_MS)
    other = GoneUrls(store.scripts, store.settings)
    await other.refresh()
    assert await other.confirmed("default", URL, NOW_MS) is not None
    await store.gone.enable("default", URL)
    assert other.reason("default", URL, NOW_MS) is not None, "it has not heard of it"
    assert await other.confirmed("default", URL, NOW_MS) is None
    assert other.reason("default", URL, NOW_MS) is None


async def test_a_url_is_called_again_after_a_while_or_when_somebody_says_so(store: Store) -> None:
    """What was a mistake mends itself."""
    await store.gone.disable("default", URL, NOW_MS)
    assert store.gone.reason("default", URL, NOW_MS + 86_400_000 - 1) is not None
    assert store.gone.reason("default", URL, NOW_MS + 86_400_000) is None
    assert await store.gone.enable("default", URL)
    assert not await store.gone.enable("default", URL)
    assert store.gone.reason("default", URL, NOW_MS) is None


async def test_the_list_is_bounded(store: Store) -> None:
    """An endpoint with a path for each call cannot fill Redis; what is over is forgotten, what is old too."""
    for n in range(MOST_URLS + 2):
        await store.gone.disable("default", f"https://h/{n}", NOW_MS + n)
    listed = await store.gone.listed("default", NOW_MS)
    assert MOST_URLS == len(listed)
    assert "https://h/1" not in listed
    await store.gone.disable("default", "https://h/late", NOW_MS + 2 * 86_400_000)
    assert ["https://h/late"] == list(await store.gone.listed("default", NOW_MS))


async def test_it_can_be_switched_off(store: Store) -> None:
    """With a time of 0 a URL is never disabled."""
    gone = GoneUrls(store.scripts, dataclasses.replace(store.settings, gone_seconds=0))
    await gone.disable("default", URL, NOW_MS)
    assert gone.reason("default", URL, NOW_MS) is None
    assert {} == await gone.listed("default", NOW_MS)


async def test_a_call_that_is_answered_410_is_the_last_one(store: Store) -> None:
    """The next task for that URL fails with the reason, and the endpoint is left alone."""
    push = PushClient(max_result_bytes=1000)
    pipeline = Pipeline(Registry(), {}, push, store.settings, "w1", store)
    with respx.mock(using="httpx") as router:
        route = router.post(url__startswith="https://hooks.example.com/").respond(410)
        first, second = [await run(pipeline, f"{URL}&n={n}") for n in range(2)]
    await push.aclose()
    assert 1 == route.call_count
    assert ["HttpStatus410", "UrlDisabled"] == [(ending.error or {})["type"] for ending in (first, second)]
    assert "answered 410 Gone at" in (second.error or {})["message"]
    assert ["https://hooks.example.com/orders"] == list(await store.gone.listed("default", NOW_MS))


async def run(pipeline: Pipeline, url: str) -> Ending:
    """How a task ends that calls *url*."""
    task = Leased(bytes(16), b"t" * 12, b"", {"url": url}, "default", "default", 5, "url", 1, 0, NOW_MS)
    decision = await pipeline.run_attempt(pipeline.prepare(task, 0), NOBODY, lambda: NOW_MS)
    assert isinstance(decision, Ending)
    return decision
