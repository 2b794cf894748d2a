"""Certificates for tests, made in memory: a pair that vouches for itself, or one that another vouches for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@cache
def client_pair(name: str, pass_phrase: bytes = b"") -> tuple[str, str]:
    """Certificate and key of *name* as PEM; good for that host and 127.0.0.1. The same name has the same pair."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName(name)]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    hidden = serialization.BestAvailableEncryption(pass_phrase) if pass_phrase else serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden)
    return made.public_bytes(serialization.Encoding.PEM).decode(), pem.decode()


def issued(*names: str, days: tuple[int, int] = (-1, 1)) -> tuple[str, str, str]:
    """(certificate of an authority, certificate that it issued for *names*, key of that), as PEM; good for *days*."""
    now = datetime.now(UTC)
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    vouching = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of tests")])

    def signed(subject: x509.Name, public: ec.EllipticCurvePublicKey, from_day: int, to_day: int, is_ca: bool) -> str:
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(vouching)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=from_day))
            .not_valid_after(now + timedelta(days=to_day))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if not is_ca:
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        return made.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (
        signed(vouching, authority.public_key(), -365, 365, True),
        signed(subject, key.public_key(), *days, False),
        pem.decode(),
    )
