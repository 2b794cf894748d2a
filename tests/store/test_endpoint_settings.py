"""Settings of endpoints: apart by namespace, changed one by one, and copies that know when they are old."""

from __future__ import annotations

import asyncio

from service.store import Store
from service.store.endpoints import EndpointBook

BEARER = {"kind": "bearer", "token": "t"}


async def test_settings_of_namespaces_are_apart(store: Store) -> None:
    """Nothing of one is seen in another, nor in one whose name begins alike."""
    settings = store.endpoint_settings
    await settings.put("default", "https:a.example", "auth", BEARER)
    await settings.put("default2", "https:a.example", "auth", {"kind": "oidc"})
    assert {"auth": BEARER} == await settings.read("default", "https:a.example")
    assert {} == await settings.read("other", "https:a.example")
    assert {"https:a.example": {"auth": BEARER}} == await settings.all_of("default")


async def test_one_setting_leaves_the_others(store: Store) -> None:
    """Also when several are set at once; an endpoint without any is forgotten."""
    settings = store.endpoint_settings
    await asyncio.gather(*(settings.put("default", "https:a.example", f"s{n}", n) for n in range(10)))
    assert {f"s{n}": n for n in range(10)} == await settings.read("default", "https:a.example")
    for n in range(10):
        await settings.put("default", "https:a.example", f"s{n}", None)
    assert {} == await settings.all_of("default")


async def test_a_book_reads_again_only_after_a_change(store: Store) -> None:
    """Whoever changed it; a namespace and an endpoint lead to its credentials."""
    book = EndpointBook(store.endpoint_settings)
    assert None is (await book.renew()).auth("default", "https:a.example")
    await store.endpoint_settings.put("default", "https:a.example", "auth", BEARER)
    assert BEARER == (await book.renew()).auth("default", "https:a.example")
    before = book.documents
    assert before is (await book.renew()).documents
    await store.endpoint_settings.put("default", "https:a.example", "auth", None)
    assert None is (await book.renew()).auth("default", "https:a.example")


async def test_the_key_of_identity_tokens_is_made_once(store: Store) -> None:
    """Whoever asks first."""
    found = await asyncio.gather(*(store.secrets.identity() for _ in range(5)))
    assert 1 == len({one[0] for one in found})
    assert 1 == len(found[0])
