"""Completion tokens: sealed, and read only by who knows the secret."""

from __future__ import annotations

import pytest

from service.completion import CHARACTERS, read_token, token_of, url_of

SECRET, ID, LEASE = b"s" * 32, bytes(range(16)), bytes(range(12))
TOKEN = token_of(SECRET, ID, LEASE)


def test_a_token_reads_as_what_it_was_made_of() -> None:
    """In characters that need no quoting in a URL."""
    assert (ID, LEASE) == read_token(SECRET, TOKEN)
    assert CHARACTERS == len(TOKEN)
    assert TOKEN.replace("-", "").replace("_", "").isalnum()
    assert f"https://t.example/v1/completions/{TOKEN}" == url_of("https://t.example/", TOKEN)


@pytest.mark.parametrize("place", range(0, CHARACTERS, 7))
def test_a_token_that_was_changed_is_none(place: int) -> None:
    """Wherever it was changed."""
    changed = "A" if TOKEN[place] != "A" else "B"
    assert None is read_token(SECRET, TOKEN[:place] + changed + TOKEN[place + 1 :])


@pytest.mark.parametrize("token", ["", "x", TOKEN[:-1], TOKEN + "A", "ä" * 60, "." * 60, "=" * 60, " " + TOKEN[1:]])
def test_what_is_no_token_is_none(token: str) -> None:
    assert None is read_token(SECRET, token)


def test_another_secret_opens_nothing() -> None:
    """Nor does none."""
    assert None is read_token(b"t" * 32, TOKEN)
    assert None is read_token(b"", TOKEN)
