"""
Encryption at rest: AES-GCM with keys that have versions, so that what is plain, sealed by an old key and sealed by a
new one lie side by side.

Pure but for chance. Owns which key opens what, and what a sealed value looks like: version of the key (2 bytes), nonce
(12), ciphertext with its tag (16 more than the text). The fact to know: a value is bound to its namespace, to the task
or thing it belongs to and to its field, and opens nowhere else; each namespace has a key of its own for about 4½ hours
of ids, so that random nonces of one key stay far from running out.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2b

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from service.errors import InvalidSetting, PayloadUnreadable

VARIABLE = "TASKPOST_ENCRYPTION_KEYS"
KEY_BYTES, NONCE_BYTES, VERSION_BYTES = 32, 12, 2
MOST_VERSION = 65_535
MARK = b"\x02"  # a sealed value of its own begins with it; JSON never does
NONE = "none"
MAKE_ONE = "`taskpost encryption-key` makes one"


class Keyring:
    """
    The keys that a process has, by version; *newest* seals, all of them open. With *newest* 0 nothing is sealed.
    """

    def __init__(self, keys: Mapping[int, bytes], newest: int = 0) -> None:
        self.keys, self.newest = keys, newest
        self.is_sealing = newest > 0
        self.sealing_key, self.sealing_version = keys.get(newest, b""), newest.to_bytes(VERSION_BYTES, "big")

    def __repr__(self) -> str:
        return f"<Keyring of versions {sorted(self.keys)}, sealing with {self.newest or 'none'}>"

    # ------------------------------------------------------------ values

    def seal(self, text: bytes, namespace: str, id_: bytes, field: bytes) -> bytes:
        """*text* under the newest key. Only for who asked `is_sealing`."""
        nonce, cipher = os.urandom(NONCE_BYTES), cipher_of(self.sealing_key, namespace, id_[:3])
        return self.sealing_version + nonce + cipher.encrypt(nonce, text, place(namespace, id_, field))

    def open(self, sealed: bytes, namespace: str, id_: bytes, field: bytes) -> bytes:
        """
        What `seal` was given.

        Raises:
            PayloadUnreadable: this process has no such key; or the value was changed, or is not from there.
        """
        version, nonce = int.from_bytes(sealed[:2], "big"), sealed[2:14]
        key = self.keys.get(version)
        if key is None:
            told = f"it is sealed by version {version} of the key, which is not among the {VARIABLE} of this process"
            raise PayloadUnreadable(told, is_missing=True)
        try:
            return cipher_of(key, namespace, id_[:3]).decrypt(nonce, sealed[14:], place(namespace, id_, field))
        except (InvalidTag, ValueError) as exc:
            told = f"it was changed or moved in Redis: it does not open by version {version} of the key"
            raise PayloadUnreadable(told, is_missing=False) from exc

    def closed(self, text: bytes, namespace: str, id_: bytes, field: bytes) -> bytes:
        """*text*, which is JSON, as it is stored on its own: marked and sealed, or as it is when nothing is sealed."""
        return MARK + self.seal(text, namespace, id_, field) if self.is_sealing else text

    def opened(self, stored: bytes, namespace: str, id_: bytes, field: bytes) -> bytes:
        """What `closed` was given. Raises as `open`."""
        return self.open(stored[1:], namespace, id_, field) if stored[:1] == MARK else stored

    def word(self, text: bytes, namespace: str, id_: bytes, field: bytes) -> str:
        """*text* sealed, for a string in JSON."""
        return b64encode(self.seal(text, namespace, id_, field)).decode()

    def read_word(self, word: str, namespace: str, id_: bytes, field: bytes) -> bytes:
        """What `word` was given. Raises as `open`."""
        try:
            return self.open(b64decode(word), namespace, id_, field)
        except NotBase64 as exc:
            raise PayloadUnreadable("it was changed in Redis: it is not Base64 any more", is_missing=False) from exc

    # ------------------------------------------------------------ hashes

    def digests(self, text: bytes, size: int) -> list[bytes]:
        """
        Hashes of *text* that who has no key cannot guess, the one to be stored first. Others follow by which the same
        text may have been stored before the keys were changed.
        """
        plain = blake2b(text, digest_size=size).digest()
        keyed = {
            version: blake2b(text, digest_size=size, key=key, person=b"fingerprint").digest()
            for version, key in self.keys.items()
        }
        first = keyed.pop(self.newest, plain)
        return [first, *keyed.values(), *([] if first is plain else [plain])]

    def check_of(self, version: int) -> str:
        """What tells the right key of that *version* from a wrong one, and nothing else of it."""
        return blake2b(b"check", digest_size=16, key=self.keys[version], person=b"check").hexdigest()


NO_KEYS = Keyring({})


def version_of(stored: bytes) -> int:
    """The version of the key by which a value of `closed` is sealed; 0 when it is not."""
    return int.from_bytes(stored[1:3], "big") if stored[:1] == MARK else 0


def place(namespace: str, id_: bytes, field: bytes) -> bytes:
    """What a value is bound to: the associated data."""
    return b"%b\0%b\0%b" % (namespace.encode(), field, id_)


@lru_cache(4096)
def cipher_of(key: bytes, namespace: str, window: bytes) -> AESGCM:
    """
    The cipher of a *window* of a *namespace*. Ids begin with their time, of which the first three bytes change every
    4.7 hours; NIST SP 800-38D allows 2**32 random nonces a key, a rate of 256,000 values a second in each namespace.
    """
    return AESGCM(blake2b(window + namespace.encode(), digest_size=KEY_BYTES, key=key, person=b"values").digest())


@lru_cache(8)
def keyring_of(text: str) -> Keyring:
    """
    The keys of the setting: `version:key` by comma, the one that seals first, or `none` first to seal nothing more.

    Raises:
        InvalidSetting: says which entry, and what it needs; never the key.
    """
    entries = [entry.strip() for entry in text.split(",")] if text.strip() else []
    if not entries:
        return NO_KEYS
    keys: dict[int, bytes] = {}
    is_sealing = entries[0].lower() != NONE
    for number, entry in enumerate(entries[0 if is_sealing else 1 :], 1 if is_sealing else 2):
        version, key = read_entry(number, entry)
        if version in keys:
            raise InvalidSetting(f"{VARIABLE}: entry {number} is version {version} once more; each has one key")
        if key in keys.values():
            raise InvalidSetting(f"{VARIABLE}: entry {number} has the key of an entry before it; make a new one")
        keys[version] = key
    return Keyring(keys, next(iter(keys)) if is_sealing else 0)


def read_entry(number: int, entry: str) -> tuple[int, bytes]:
    """(version, key). Raises InvalidSetting."""
    version, _, key = entry.partition(":")
    needs = f"{VARIABLE}: entry {number} needs"
    if not (version.isascii() and version.isdigit() and 0 < int(version[:6]) <= MOST_VERSION):
        raise InvalidSetting(f"{needs} version:key, with a version from 1 to {MOST_VERSION}; {MAKE_ONE}")
    try:
        held = b64decode(key.replace("-", "+").replace("_", "/"), validate=True)
    except (NotBase64, ValueError) as exc:
        raise InvalidSetting(f"{needs} a key in Base64; {MAKE_ONE}") from exc
    if len(held) != KEY_BYTES:
        raise InvalidSetting(f"{needs} a key of {KEY_BYTES} bytes, and has {len(held)}; {MAKE_ONE}")
    return int(version), held


def new_key(version: int) -> str:
    """A new entry of the setting."""
    return f"{version}:{b64encode(os.urandom(KEY_BYTES)).decode()}"
