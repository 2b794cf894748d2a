"""Signatures of Standard Webhooks: the specification's vectors, its own Python package, and what is refused."""

from __future__ import annotations

import time
from base64 import b64decode, b64encode
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.errors import InvalidSecret, InvalidSignature
from service.signing import Signer, new_private_key, new_secret, public_key_of, verify

# The vectors of the specification's reference libraries.
ID, SENT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
PRIVATE = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
PAIR_SIGNATURE = "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
PUBLIC = public_key_of(PRIVATE)
WRONG = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="


def headers(signature: str = SIGNATURE, **changed: str | None) -> dict[str, str]:
    given = {"webhook-id": ID, "webhook-timestamp": str(SENT), "webhook-signature": signature}
    return {name: value for name, value in (given | changed).items() if value is not None}


def check(key: str = SECRET, given: dict[str, str] | None = None, body: bytes = BODY, now: float = SENT) -> None:
    verify([key], headers() if given is None else given, body, now)


def test_the_vectors_of_the_specification_are_signed() -> None:
    """Every receiver with a library of Standard Webhooks understands us."""
    assert SIGNATURE == Signer([SECRET]).sign(ID, SENT, BODY)
    assert PAIR_SIGNATURE == Signer([PRIVATE]).sign(ID, SENT, BODY)
    assert f"{SIGNATURE} {PAIR_SIGNATURE}" == Signer([PRIVATE, SECRET]).sign(ID, SENT, BODY)


def test_the_vectors_of_the_specification_verify() -> None:
    """By the secret, by the public key, and by the private one that the sender has."""
    check()
    check(PUBLIC, headers(PAIR_SIGNATURE))
    check(PRIVATE, headers(PAIR_SIGNATURE))


def test_the_package_of_standard_webhooks_agrees() -> None:
    """Either side signs, the other verifies."""
    secret, now = new_secret(), int(time.time())
    signed = Signer([new_secret(), secret, new_private_key()]).sign("task", now, b'{"a":"\xc3\xa4"}')
    sent = {"webhook-id": "task", "webhook-timestamp": str(now), "webhook-signature": signed}
    assert {"a": "ä"} == Webhook(secret).verify(b'{"a":"\xc3\xa4"}', sent)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(b'{"a":"\xc3\xa4"}', sent)
    theirs = Webhook(secret).sign("task", datetime.fromtimestamp(now, UTC), "{}")
    verify([secret], {**sent, "webhook-signature": theirs}, b"{}", now)


def test_one_of_several_signatures_is_enough() -> None:
    """While a secret rotates, and beside versions that nobody knows yet."""
    check(given=headers(f"{WRONG} v2,AAAA nonsense v1,! {SIGNATURE} {WRONG}"))
    verify([new_secret(), PUBLIC, SECRET], headers(), BODY, SENT)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"webhook-id": None}, "has no webhook-id"),
        ({"webhook-timestamp": None}, "has no webhook-timestamp"),
        ({"webhook-signature": None, "webhook-id": None}, "no webhook-id and no webhook-signature"),
        ({"webhook-signature": WRONG}, "no signature matches"),
        ({"webhook-signature": "v1,"}, "no signature matches"),
        ({"webhook-signature": SIGNATURE.replace("v1,", "v1a,")}, "it has v1a; a whsec_ secret"),
        ({"webhook-signature": "v1"}, "no signature matches"),
        ({"webhook-signature": "\N{SNOWMAN}"}, "could have made"),
        ({"webhook-id": "msg_other"}, "no signature matches"),
        ({"webhook-timestamp": str(SENT + 1)}, "no signature matches"),
        ({"webhook-timestamp": "soon"}, "no number of seconds"),
        ({"webhook-timestamp": "-1"}, "no number of seconds"),
        ({"webhook-timestamp": "9" * 400}, "no number of seconds"),
    ],
)
def test_what_was_not_signed_so_is_refused(given: dict[str, Any], said: str) -> None:
    """Each part that a forger could change."""
    with pytest.raises(InvalidSignature, match=said):
        check(given=headers(**given))


def test_a_changed_body_is_refused() -> None:
    """Also one that means the same."""
    for key, signature in ((SECRET, SIGNATURE), (PUBLIC, PAIR_SIGNATURE)):
        for body in (b'{"test":2432232314}', b"", BODY + b" "):
            with pytest.raises(InvalidSignature, match="no signature matches"):
                check(key, headers(signature), body)


def test_a_request_is_good_for_five_minutes() -> None:
    """A recorded one cannot be sent again later, and clocks may differ a little."""
    check(now=SENT + 300)
    check(now=SENT - 300)
    verify([SECRET], headers(), BODY, SENT + 1000, tolerance_seconds=1000)
    with pytest.raises(InvalidSignature, match="301 s old, and 300 s are tolerated"):
        check(now=SENT + 301)
    with pytest.raises(InvalidSignature, match="301 s in the future"):
        check(now=SENT - 301)


def test_names_of_headers_have_no_case() -> None:
    check(given={name.title(): value for name, value in headers().items()})


def test_a_private_key_may_have_its_public_half_behind_it() -> None:
    """As other tools write it."""
    long = "whsk_" + b64encode(b64decode(PRIVATE[5:]) + b64decode(PUBLIC[5:])).decode()
    assert PAIR_SIGNATURE == Signer([long]).sign(ID, SENT, BODY)


def test_a_secret_may_lack_its_padding() -> None:
    """Whoever copied it by hand may have lost the last characters."""
    secret = new_secret()
    assert Signer([secret]).sign("a", 1, b"") == Signer([secret.rstrip("=")]).sign("a", 1, b"")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "secret",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_" + "A" * 200,
        "whsec_ÄÖÜ",
        "whpk_AAAA",
        "whsk_AAAA",
        "whsec_" + "!" * 32,
    ],
)
def test_a_key_that_cannot_be_read_is_told_without_quoting_it(key: str) -> None:
    """A sentence with the form that it needs; a slip of the hand must not bring it into a log."""
    with pytest.raises(InvalidSecret, match="needs wh") as refused:
        check(key)
    assert len(key) <= 6 or key not in str(refused.value)


def test_fresh_keys_differ() -> None:
    assert 4 == len({new_secret(), new_secret(), new_private_key(), new_private_key()})
