"""
Credentials of an endpoint: what goes with which kind, and how they are shown.

Pure. The fact to know: the fields in `SECRET_FIELDS` leave the store for the call alone; whatever else shows
credentials shows them `masked`, and no value of theirs can be the mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from service.egress import Rules
from service.endpoint import endpoint_of
from service.identity import BadPem, certificate_of, check_pair
from service.settings import Settings
from service.submission import Fault, call_faults, url_faults

Auth = dict[str, Any]

HIDDEN = "…"
SECRET_FIELDS = ("password", "token", "client_secret", "private_key")
# kind -> (fields it needs, fields it may have)
FIELDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "basic": (("username", "password"), ()),
    "bearer": (("token",), ()),
    "headers": (("headers",), ()),
    "oauth2_client_credentials": (
        ("token_url", "client_id", "client_secret"),
        ("scope", "audience", "client_in_body"),
    ),
    "oidc": ((), ("audience",)),
    "mtls": (("certificate", "private_key"), ()),
}


def faults_of(auth: Mapping[str, Any], endpoint: str, settings: Settings, rules: Rules) -> list[Fault]:
    """
    What is wrong with *auth*, which the contract's schema takes, for *endpoint* under *rules*; no fault quotes a
    secret.
    """
    faults = [*together_faults(auth), *value_faults(auth, settings, rules)]
    if auth["kind"] == "mtls" and endpoint.startswith("http:"):
        faults.append({"pointer": "/kind", "detail": f"{endpoint} is called without TLS, which shows no certificate"})
    return faults


def together_faults(auth: Mapping[str, Any]) -> Iterator[Fault]:
    """Fields that its kind needs, or has no use for."""
    kind = auth["kind"]
    needed, possible = FIELDS[kind]
    for name in needed:
        if name not in auth:
            yield {"pointer": f"/{name}", "detail": f"the kind `{kind}` needs it"}
    for name in auth.keys() - {"kind", *needed, *possible}:
        takes = ", ".join(f"`{one}`" for one in (*needed, *possible)) or "no other fields"
        yield {"pointer": f"/{name}", "detail": f"does not go with the kind `{kind}`, which takes {takes}"}


def value_faults(auth: Mapping[str, Any], settings: Settings, rules: Rules) -> Iterator[Fault]:
    if ":" in auth.get("username", ""):
        yield {"pointer": "/username", "detail": "has a colon, which Basic authentication cannot carry (RFC 7617)"}
    if "headers" in auth:
        yield from call_faults({"headers": auth["headers"]}, "", settings)
    if (url := auth.get("token_url")) is not None:
        yield from url_faults(url, "/token_url", rules)
    if auth["kind"] == "mtls" and "certificate" in auth and "private_key" in auth:
        try:
            check_pair(auth["certificate"], auth["private_key"])
        except BadPem as exc:
            yield {"pointer": f"/{exc.field}", "detail": str(exc)}


def masked(auth: Mapping[str, Any]) -> Auth:
    """*auth* as it may be shown: its secrets hidden, and of a certificate also whose it is and until when."""
    shown = {name: HIDDEN if name in SECRET_FIELDS else value for name, value in auth.items()}
    if "headers" in shown:
        shown["headers"] = dict.fromkeys(shown["headers"], HIDDEN)
    if "certificate" in shown:
        shown |= certificate_of(shown["certificate"])
    return shown


def audience_of(auth: Mapping[str, Any], url: str) -> str:
    """For whom an identity token is: what *auth* names, else the origin of *url*."""
    if audience := auth.get("audience"):
        return str(audience)
    scheme, _, rest = endpoint_of(url).partition(":")
    return f"{scheme}://{rest}"
