"""
Signatures of Standard Webhooks 1.0: `v1` (HMAC-SHA256, secrets `whsec_…`) and `v1a` (ed25519, `whsk_…` signs and
`whpk_…` verifies).

Pure: keys and the time are given. The fact to know: what is signed is `{id}.{timestamp}.{body}`, the body byte by byte
as it is sent; whoever parses and writes it again before checking gets another signature.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature as Mismatch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from service.errors import InvalidSecret, InvalidSignature

SECRET, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
SECRET_BYTES = 32
LEAST_SECRET_BYTES, MOST_SECRET_BYTES = 24, 64  # Standard Webhooks 1.0, "Signature scheme"
SEED_BYTES = 32
TOLERANCE_SECONDS = 300
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")


def new_secret() -> str:
    """A fresh `whsec_…`."""
    return SECRET + b64encode(os.urandom(SECRET_BYTES)).decode()


def new_private_key() -> str:
    """A fresh `whsk_…`."""
    return PRIVATE + b64encode(os.urandom(SEED_BYTES)).decode()


def public_key_of(private_key: str) -> str:
    """The `whpk_…` that verifies what *private_key* signs. Raises InvalidSecret."""
    return PUBLIC + b64encode(ed25519_of(private_key).public_key().public_bytes_raw()).decode()


class Signer:
    """Signs with several keys at once, `whsec_…` and `whsk_…`, read once. Raises InvalidSecret."""

    __slots__ = ("_hmacs", "_keys")

    def __init__(self, keys: Iterable[str]) -> None:
        given = list(keys)
        # A prepared HMAC is copied for each signature, which is cheaper than making it of its key again.
        self._hmacs = [hmac.new(secret_bytes(one), digestmod="sha256") for one in given if not is_private(one)]
        self._keys = [ed25519_of(one) for one in given if is_private(one)]

    def sign(self, id_: str, timestamp: int, body: bytes) -> str:
        """The value of `webhook-signature`: a signature by each key, separated by spaces; `v1` ones come first."""
        content = b"%b.%d.%b" % (id_.encode(), timestamp, body)
        signatures = []
        for prepared in self._hmacs:
            keyed = prepared.copy()
            keyed.update(content)
            signatures.append("v1," + b64encode(keyed.digest()).decode())
        signatures += ["v1a," + b64encode(key.sign(content)).decode() for key in self._keys]
        return " ".join(signatures)


def verify(
    keys: Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    now_seconds: float,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> None:
    """
    Whether one of the signatures in *headers* is that of *body* by one of *keys* (`whsec_…`, `whpk_…` or `whsk_…`).

    Compares in constant time. Signatures of versions that are not known are passed over.

    Raises:
        InvalidSignature: it is not; the text says why.
        InvalidSecret: a key that cannot be read.
    """
    id_, sent, signatures = required(headers)
    check_time(sent, now_seconds, tolerance_seconds)
    content = b"%b.%b.%b" % (id_.encode(), sent.encode(), body)
    secrets, publics = read_keys(keys)
    known = {"v1"} if secrets else set()
    known |= {"v1a"} if publics else set()
    is_known = False
    for version, signature in signatures:
        is_known |= version in known
        if version == "v1" and any(has_signed(secret, content, signature) for secret in secrets):
            return
        if version == "v1a" and any(has_signed_by_pair(key, content, signature) for key in publics):
            return
    if not is_known:
        has = ", ".join(sorted({version for version, _ in signatures})) or "none"
        raise InvalidSignature(
            f"webhook-signature holds no signature that these keys could have made: it has {has}; a whsec_ secret "
            "checks v1, a whpk_ key v1a"
        )
    raise InvalidSignature(
        "no signature matches: the body was changed on its way, or is not byte by byte the one that arrived, or was "
        "signed with another secret"
    )


def required(headers: Mapping[str, str]) -> tuple[str, str, list[tuple[str, bytes]]]:
    """Id, timestamp and (version, signature) pairs of *headers*. Raises InvalidSignature."""
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in HEADERS if not given.get(name)]
    if missing:
        raise InvalidSignature(f"the request has no {' and no '.join(missing)}: it was not signed, or a proxy took it")
    pairs = []
    for one in given["webhook-signature"].split(" "):
        version, _, text = one.partition(",")
        try:
            pairs.append((version, b64decode(text, validate=True)))
        except NotBase64:
            continue  # another signature may be whole
    return given["webhook-id"], given["webhook-timestamp"], pairs


def check_time(sent: str, now_seconds: float, tolerance_seconds: float) -> None:
    """Raises InvalidSignature when *sent* is no time or too far from now: a recorded request may be sent again."""
    if not (sent.isascii() and sent.isdigit() and len(sent) < 16):
        raise InvalidSignature("webhook-timestamp is no number of seconds since 1970")
    age = now_seconds - int(sent)
    if abs(age) > tolerance_seconds:
        where = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s in the future"
        raise InvalidSignature(
            f"webhook-timestamp is {where}, and {tolerance_seconds:g} s are tolerated: it was sent again by somebody, "
            "or a clock is wrong"
        )


def has_signed(secret: bytes, content: bytes, signature: bytes) -> bool:
    return hmac.compare_digest(hmac.digest(secret, content, "sha256"), signature)


def has_signed_by_pair(key: Ed25519PublicKey, content: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, content)
    except Mismatch:
        return False
    return True


# ---------------------------------------------------------------- keys as text


def is_private(key: str) -> bool:
    return key.startswith(PRIVATE)


def read_keys(keys: Iterable[str]) -> tuple[list[bytes], list[Ed25519PublicKey]]:
    """*keys* as secrets and public keys. Raises InvalidSecret."""
    secrets, publics = [], []
    for one in keys:
        if is_private(one):
            publics.append(ed25519_of(one).public_key())
        elif one.startswith(PUBLIC):
            publics.append(Ed25519PublicKey.from_public_bytes(decoded(one, PUBLIC, SEED_BYTES, SEED_BYTES)))
        else:
            secrets.append(secret_bytes(one))
    return secrets, publics


def secret_bytes(secret: str) -> bytes:
    """The bytes of a `whsec_…`. Raises InvalidSecret."""
    return decoded(secret, SECRET, LEAST_SECRET_BYTES, MOST_SECRET_BYTES)


def ed25519_of(private_key: str) -> Ed25519PrivateKey:
    """The key of a `whsk_…`: 32 bytes, or 64 with the public half behind them. Raises InvalidSecret."""
    return Ed25519PrivateKey.from_private_bytes(decoded(private_key, PRIVATE, SEED_BYTES, 2 * SEED_BYTES)[:SEED_BYTES])


def decoded(text: str, prefix: str, least: int, most: int) -> bytes:
    """The bytes behind *prefix*. Raises InvalidSecret, which never quotes the key."""
    encoded = text.removeprefix(prefix)
    try:
        found = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (NotBase64, ValueError) as exc:
        raise InvalidSecret(f"a key that begins with {text[:6]!r}: needs {prefix} and base64 behind it") from exc
    if not text.startswith(prefix) or not least <= len(found) <= most:
        bounds = f"{least}" if least == most else f"{least} to {most}"
        raise InvalidSecret(
            f"a key of {len(found)} bytes that begins with {text[:6]!r}: needs {prefix} and {bounds} bytes in base64"
        )
    return found
