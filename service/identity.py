"""
Who we are, to endpoints that ask for more than a signature: identity tokens (OpenID Connect), and client certificates.

Pure: keys and the time are given. A token is a JWT signed with ES256 (RFC 7519, RFC 7518); its key is published as a
JWK (RFC 7517) under a `kid` that is its thumbprint (RFC 7638).
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

COORDINATE_BYTES = 32
TOKEN_SECONDS = 300


class BadPem(ValueError):
    """*field*, a certificate or a key, cannot be used; the text never quotes it."""

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field


def new_identity_key() -> str:
    """A fresh P-256 key as PEM."""
    made = ec.generate_private_key(ec.SECP256R1())
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


class IdentityKey:
    """Signs identity tokens; *pem* as `new_identity_key` makes it."""

    __slots__ = ("_private", "jwk", "kid")

    def __init__(self, pem: str) -> None:
        private = serialization.load_pem_private_key(pem.encode(), None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)  # noqa: S101  nothing else was ever stored
        self._private = private
        numbers = private.public_key().public_numbers()
        public = {"crv": "P-256", "kty": "EC", "x": coordinate(numbers.x), "y": coordinate(numbers.y)}
        self.kid = encoded(hashlib.sha256(orjson.dumps(public, option=orjson.OPT_SORT_KEYS)).digest())
        self.jwk = {**public, "kid": self.kid, "use": "sig", "alg": "ES256"}

    def token(self, *, issuer: str, subject: str, audience: str, now_seconds: int) -> str:
        """A token that says to *audience* who calls; good for five minutes."""
        header = {"alg": "ES256", "typ": "JWT", "kid": self.kid}
        claims = {
            "iss": issuer, "sub": subject, "aud": audience, "iat": now_seconds, "exp": now_seconds + TOKEN_SECONDS,
        }  # fmt: skip
        content = f"{encoded(orjson.dumps(header))}.{encoded(orjson.dumps(claims))}"
        r, s = decode_dss_signature(self._private.sign(content.encode(), ec.ECDSA(hashes.SHA256())))
        signature = r.to_bytes(COORDINATE_BYTES, "big") + s.to_bytes(COORDINATE_BYTES, "big")
        return f"{content}.{encoded(signature)}"


def encoded(text: bytes) -> str:
    """base64url without padding, as JOSE writes it."""
    return urlsafe_b64encode(text).rstrip(b"=").decode()


def coordinate(number: int) -> str:
    return encoded(number.to_bytes(COORDINATE_BYTES, "big"))


# ---------------------------------------------------------------- client certificates


def read_certificate(pem: str) -> x509.Certificate:
    """The first certificate of *pem*, which is the client's own. Raises BadPem."""
    try:
        return x509.load_pem_x509_certificates(pem.encode())[0]
    except ValueError as exc:
        raise BadPem("certificate", "is no certificate in PEM: needs -----BEGIN CERTIFICATE-----") from exc


def check_pair(certificate: str, private_key: str) -> None:
    """Raises BadPem when one of the two cannot be read, or they do not belong together."""
    read = read_certificate(certificate)
    try:
        key: Any = serialization.load_pem_private_key(private_key.encode(), None)
    except TypeError as exc:
        detail = "is encrypted: needs the key without its pass phrase (openssl pkey -in key.pem -out plain.pem)"
        raise BadPem("private_key", detail) from exc
    except ValueError as exc:
        raise BadPem("private_key", "is no private key in PEM: needs -----BEGIN PRIVATE KEY-----") from exc
    if key.public_key() != read.public_key():
        raise BadPem("private_key", "does not belong to the certificate; the client's own certificate comes first")


def certificate_of(pem: str) -> dict[str, Any]:
    """Whose certificate it is, and until when: `{subject, expires_at}`."""
    found = read_certificate(pem)
    return {
        "subject": found.subject.rfc4514_string(),
        "expires_at": found.not_valid_after_utc.isoformat().replace("+00:00", "Z"),
    }
