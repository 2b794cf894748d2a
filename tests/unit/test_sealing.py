"""Sealed values: which keys make and open them, and what they are bound to."""

from __future__ import annotations

import base64

import pytest

from service.errors import InvalidSetting, PayloadUnreadable
from service.sealing import NO_KEYS, Keyring, keyring_of
from service.settings import Settings

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
BASE64 = base64.b64encode(OLD).decode()
PLACE = ("acme", bytes(16), b"record")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (BASE64, "entry 1 needs version:key"),
        (f"0:{BASE64}", "entry 1 needs version:key"),
        (f"65536:{BASE64}", "entry 1 needs version:key"),
        (f"2:{BASE64},1:@@@", "entry 2 needs a key in Base64"),
        ("1:c2hvcnQ=", "entry 1 needs a key of 32 bytes, and has 5"),
        (f"1:{BASE64},", "entry 2 needs version:key"),
        (f"1:{BASE64},none", "entry 2 needs version:key"),
        (f"2:{BASE64},1:{BASE64}", "entry 2 has the key of an entry before it"),
        (f"1:{BASE64},1:{base64.b64encode(NEW).decode()}", "entry 2 is version 1 once more"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_without_showing_the_key(text: str, told: str) -> None:
    """The error names the entry and what it needs; a key never gets into a log by it."""
    with pytest.raises(InvalidSetting) as caught:
        Settings(encryption_keys=text)
    assert told in str(caught.value)
    assert BASE64 not in str(caught.value)


def test_settings_and_keyrings_print_no_key() -> None:
    """Whoever logs either gives nothing away."""
    settings = Settings(encryption_keys=f"1:{BASE64}", api_key="operator's")
    assert BASE64 not in f"{settings!r} {keyring_of(settings.encryption_keys)!r}"
    assert "operator's" not in repr(settings)


def test_the_first_key_seals_and_all_of_them_open() -> None:
    """A value of before a rotation opens after it; `none` first seals nothing, and opens all the same."""
    before, after = Keyring({1: OLD}, 1), Keyring({2: NEW, 1: OLD}, 2)
    sealed = before.closed(b"{}", *PLACE)
    assert b"{}" == after.opened(sealed, *PLACE) == keyring_of(f"none,1:{BASE64}").opened(sealed, *PLACE)
    assert b"{}" == keyring_of(f"none,1:{BASE64}").closed(b"{}", *PLACE) == NO_KEYS.closed(b"{}", *PLACE)
    with pytest.raises(PayloadUnreadable, match="version 2 of the key, which is not among") as caught:
        before.opened(after.closed(b"{}", *PLACE), *PLACE)
    assert caught.value.is_missing


def test_a_value_opens_in_its_own_place_alone_and_only_as_it_was() -> None:
    """Who can write to Redis can neither change a byte, nor show a task's value in another or to another tenant."""
    keyring = Keyring({1: OLD}, 1)
    sealed = keyring.seal(b"secret", *PLACE)
    assert b"secret" not in sealed
    assert sealed != keyring.seal(b"secret", *PLACE), "what is the same does not look the same"
    namespace, id_, field = PLACE
    elsewhere = [("other", id_, field), (namespace, bytes(15) + b"\1", field), (namespace, id_, b"outcome")]
    changed = [sealed[:n] + bytes((sealed[n] ^ 1,)) + sealed[n + 1 :] for n in range(2, len(sealed))]
    for text, place in [(sealed, one) for one in elsewhere] + [(one, PLACE) for one in [*changed, sealed[:20], b""]]:
        with pytest.raises(PayloadUnreadable):
            keyring.open(text, *place)


def test_fingerprints_cannot_be_guessed_and_are_known_after_a_rotation() -> None:
    """The first is stored; the others are those under which the same text may lie there from before."""
    plain, old = NO_KEYS.digests(b"x", 8), Keyring({1: OLD}, 1).digests(b"x", 8)
    assert (1, 2) == (len(plain), len(old))
    assert plain[0] == old[1] != old[0]
    new = Keyring({2: NEW, 1: OLD}, 2).digests(b"x", 8)
    assert new[0] not in old
    assert old == new[1:]
    assert [plain[0], old[0]] == Keyring({1: OLD}, 0).digests(b"x", 8)
