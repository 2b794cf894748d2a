"""The secrets of a namespace: made once by whoever comes first, rotated with an overlap."""

from __future__ import annotations

import asyncio

import pytest

from service.errors import InvalidSubmission
from service.sealing import NO_KEYS
from service.signing import verify
from service.store import Store, keys
from service.store.fields import Fields
from service.store.secrets import MOST_GENERATIONS, Generation, signer_of
from tests.store.deployments import Deployment

DAY = 86_400


def secrets_of(generations: list[Generation]) -> list[str]:
    return [one.secret for one in generations]


async def test_secrets_are_made_once_by_any_process(deployment: Deployment) -> None:
    """Twenty processes that need them at once for the first time agree."""
    stores = [await deployment.open() for _ in range(4)]
    found = await asyncio.gather(*(store.secrets.generations("default") for store in stores * 5))
    assert 1 == len({one[0].secret for one in found})
    assert 1 == len({one[0].private_key for one in found})
    for store in stores:
        await store.close()


async def test_namespaces_have_secrets_of_their_own(store: Store) -> None:
    """What one namespace signs, another cannot."""
    first, other = await store.secrets.generations("default"), await store.secrets.generations("other")
    assert first[0].secret != other[0].secret
    assert first[0].private_key != other[0].private_key
    assert first == await store.secrets.generations("default")


async def test_old_and_new_sign_while_a_rotation_lasts(store: Store) -> None:
    """A receiver may have either; newest first."""
    before = (await store.secrets.generations("default"))[0]
    now, old = await store.secrets.rotate("default", DAY)
    assert (before.secret, None) == (old.secret, now.expires_ms)
    assert old.expires_ms is not None
    assert 0 <= store.tasks.clock.now_ms() + DAY * 1000 - old.expires_ms < 60_000
    assert [now, old] == await store.secrets.generations("default")
    sent = {"webhook-id": "a", "webhook-timestamp": "5", "webhook-signature": signer_of([now, old]).sign("a", 5, b"b")}
    for key in (now.secret, now.public_key, old.secret, old.public_key):
        verify([key], sent, b"b", 5)


async def test_the_old_secret_ends_with_the_overlap(store: Store) -> None:
    """By itself: nobody has to come and remove it."""
    await store.secrets.generations("default")
    await store.secrets.rotate("default", 60)
    assert 2 == len(await store.secrets.generations("default"))
    store.tasks.clock.offset_ms += 61_000
    assert 1 == len(await store.secrets.generations("default"))


async def test_without_an_overlap_the_old_secrets_end_at_once(store: Store) -> None:
    """For a secret that somebody else has seen."""
    await store.secrets.rotate("default", DAY)
    assert 1 == len(await store.secrets.rotate("default", 0))
    assert 1 == len(await store.secrets.generations("default"))


async def test_a_second_rotation_shortens_an_overlap_and_never_lengthens_one(store: Store) -> None:
    """A secret ends no later than it was told to."""
    await store.secrets.generations("default")
    await store.secrets.rotate("default", 60)
    _, second, first = await store.secrets.rotate("default", DAY)
    assert second.expires_ms is not None
    assert first.expires_ms is not None
    assert first.expires_ms < second.expires_ms - 80_000_000


async def test_rotations_do_not_pile_up(store: Store) -> None:
    """Each secret makes the headers longer; the sentence says what to do."""
    for _ in range(MOST_GENERATIONS):
        await store.secrets.rotate("default", DAY)
    with pytest.raises(InvalidSubmission, match=r"rotate again after .*overlap_seconds 0"):
        await store.secrets.rotate("default", DAY)


async def test_rotations_at_once_all_take_effect(deployment: Deployment) -> None:
    """None of them is lost: each of the new secrets signs."""
    stores = [await deployment.open() for _ in range(3)]
    await stores[0].secrets.generations("default")
    made = await asyncio.gather(*(store.secrets.rotate("default", DAY) for store in stores))
    standing = secrets_of(await stores[0].secrets.generations("default"))
    assert {one[0].secret for one in made} < set(standing)
    assert 4 == len(standing)
    for store in stores:
        await store.close()


async def test_a_replacement_sent_twice_takes_effect_once(store: Store) -> None:
    """The reply of the first may have been lost."""
    for _ in range(2):
        assert b"new" == await store.scripts.call(0, "replace", "E", "a", b"", b"new")
    assert b"1" == await Fields(store.scripts, "E", NO_KEYS).version()
    assert b"new" == await store.scripts.call(0, "replace", "E", "a", b"other", b"newer")
    assert b"" == await store.scripts.call(0, "replace", "E", "a", b"new", b"")


async def test_documents_come_and_go(store: Store) -> None:
    """Changed, read one by one or all, removed; the version tells of each change."""
    fields = Fields(store.scripts, "E", NO_KEYS)
    assert {"a": 1} == await fields.change("one", lambda found: {"a": 1})
    await fields.change("two", lambda found: {"b": 2})
    version = await fields.version()
    assert {"one": {"a": 1}, "two": {"b": 2}} == await fields.read_all()
    assert {"a": 1} == await fields.change("one", lambda found: found)
    assert version == await fields.version()
    assert await fields.change("one", lambda found: None) is None
    assert None is await fields.read("one")
    assert version != await fields.version()


async def test_a_generation_does_not_show_its_secrets(store: Store) -> None:
    """Not in a traceback, not in a log."""
    (one,) = await store.secrets.generations("default")
    assert "wh" not in repr(one)


async def test_secrets_are_made_while_redis_is_full(deployment: Deployment) -> None:
    """Running work needs them to finish, and only finishing frees memory."""
    store = await deployment.open()
    for client in deployment.clients:
        client.config_set("maxmemory", "1mb")
    try:
        assert 1 == len(await store.secrets.generations("default"))
    finally:
        for client in deployment.clients:
            client.config_set("maxmemory", "0")
        await store.close()
    assert deployment.node(0).hlen(keys.SECRETS)
