"""
A request that is to be passed on, as a submission: `POST /v1/send/https://example.com/hook`.

Method, body and content type stay as they are, to the byte. Options of the task come as `Taskpost-*` header fields, or
as query parameters of the same names for senders that cannot set header fields; what is left of the query belongs to
the URL. Pure: the contract's schema of a submission says which options there are, and what their values must be.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_to_bytes

import orjson

from service.contract import contract, resolve
from service.errors import InvalidSubmission
from service.showing import BODIES
from service.submission import OUR_HEADERS, Fault, counted, shortened

PREFIX = "taskpost-"
HEADER = "taskpost-header-"  # Taskpost-Header-X-Tenant: acme sets X-Tenant
FORWARD = "taskpost-forward"
METHOD = "taskpost-method"
KEY = "taskpost-key"
# Fields that the request itself says, or that go with handlers only.
NO_OPTIONS = frozenset((
    "name", "args", "soft_timeout_seconds", "url", "method", "headers", *BODIES, "envelope", "traceparent",
))  # fmt: skip
# What Taskpost itself sends with each call: a callback that is passed on has them, and they are no options.
OF_CALLS = frozenset((
    "taskpost-task", "taskpost-name", "taskpost-attempt", "taskpost-max-attempts", "taskpost-deadline",
    "taskpost-completion-url", "taskpost-async", "taskpost-heartbeat",
))  # fmt: skip
# Said to us, by us, or by what lies between the sender and us.
NOT_FORWARDED = OUR_HEADERS | {
    "cookie", "forwarded", "via", "x-real-ip", "prefer", "idempotency-key", "proxy-authorization",
    "traceparent",
}  # fmt: skip
NOT_FORWARDED_PREFIXES = ("x-forwarded-", "cf-", "webhook-", PREFIX)
VALUE = re.compile(r"[\t -~]*")
MOST_VALUE_CHARS = 8192

Raw = Iterable[tuple[bytes, bytes]]


def submission_of(
    method: str, path: bytes, query: bytes, headers: Raw, body: bytes, *, is_authorization_ours: bool
) -> dict[str, Any]:
    """
    The submission that a request asks for. *path* is what follows `/v1/send/`, as it came over the wire; the header
    field Authorization is passed on unless it *is ours*, the key to this API.

    Raises:
        InvalidSubmission: options that are none; with every fault. What the values mean together is checked as for
            every submission.
    """
    faults: list[Fault] = []
    fields = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]
    if is_authorization_ours:
        fields = [field for field in fields if field[0] != "authorization"]
    url, asked = target_of(path, query)
    options = {name: ("header", value) for name, value in fields if name.startswith(PREFIX) and name not in OF_CALLS}
    for name, value in asked:
        if name in options:
            faults.append({"parameter": name, "detail": "given as a header field too; send one of the two"})
        options[name] = ("parameter", value)
    options.pop(KEY, None)
    submission: dict[str, Any] = {"url": url, "method": options.pop(METHOD, ("", method))[1]}
    set_headers = {name.removeprefix(HEADER): value for name, (_, value) in options.items() if name.startswith(HEADER)}
    wanted = options.pop(FORWARD, ("", "*"))[1]
    sent = {**dict(forwarded(fields, wanted)), **set_headers}
    if sent:
        submission["headers"] = sent
    if body:
        submission |= kept_body(body)
    for name, (place, value) in options.items():
        if not name.startswith(HEADER):
            try:
                submission.update([read_option(name, value)])
            except ValueError as exc:
                faults.append({place: name, "detail": str(exc)})
    if faults:
        raise InvalidSubmission(counted(faults, "the request"), errors=faults)
    return submission


def key_of(query: bytes) -> bytes | None:
    """The API key among the query parameters, for senders that cannot set header fields."""
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name.lower() == KEY.encode():
            return unquote_to_bytes(value)
    return None


def target_of(path: bytes, query: bytes) -> tuple[str, list[tuple[str, str]]]:
    """
    The URL to call, and the options (name in small letters, value) among the query parameters.

    The URL comes as it is, or percent-encoded as a whole, as generated clients send it; a proxy may have made one
    slash of the two after its scheme.
    """
    text = path.decode("latin-1")
    if re.match(r"https?%3a", text, re.IGNORECASE):
        text = unquote(text, "latin-1")
    text = re.sub(r"^(https?):/(?!/)", r"\1://", text, flags=re.IGNORECASE)
    pairs = [pair for pair in query.decode("latin-1").split("&") if pair]
    ours = [pair for pair in pairs if pair.lower().startswith(PREFIX)]
    rest = "&".join(pair for pair in pairs if not pair.lower().startswith(PREFIX))
    if rest:
        text += ("&" if "?" in text else "?") + rest
    asked = parse_qsl("&".join(ours), keep_blank_values=True, errors="replace")
    return text, [(name.lower().replace("_", "-"), value) for name, value in asked]


def forwarded(fields: Iterable[tuple[str, str]], wanted: str) -> Iterator[tuple[str, str]]:
    """
    The header fields to pass on: Content-Type always, of the others those that *wanted*, names and patterns with a
    comma between them, asks for. What speaks of the connection or to us, and what is not ASCII, is not passed on.
    """
    patterns = [one.strip().lower() for one in wanted.split(",") if one.strip() and one.strip().lower() != "none"]
    for name, value in fields:
        if name in NOT_FORWARDED or name.startswith(NOT_FORWARDED_PREFIXES):
            continue
        is_wanted = name == "content-type" or any(fnmatchcase(name, pattern) for pattern in patterns)
        if is_wanted and len(value) <= MOST_VALUE_CHARS and VALUE.fullmatch(value):
            yield name, value


def kept_body(body: bytes) -> dict[str, str]:
    """*body* as the field that keeps it to the byte: as text where it is UTF-8, so that people can read it."""
    try:
        return {"body_text": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode()}


# ---------------------------------------------------------------- options


@cache
def option_schemas() -> dict[str, dict[str, Any]]:
    """The fields of a submission that may come as options, with their schemas."""
    fields = contract()["components"]["schemas"]["Submission"]["properties"]
    return {name: resolve(schema) for name, schema in fields.items() if name not in NO_OPTIONS}


def read_option(name: str, text: str) -> tuple[str, Any]:
    """
    The field of a submission that the option *name* stands for, and its value.

    Raises:
        ValueError: there is no such option, or *text* is no value of its type.
    """
    field = name.removeprefix(PREFIX).replace("-", "_")
    schema = option_schemas().get(field)
    if schema is None:
        known = [PREFIX + one.replace("_", "-") for one in option_schemas()] + [METHOD, FORWARD, HEADER + "…"]
        near = get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
        raise ValueError(f"unknown option {shortened(name)}{hint}")
    kind = schema.get("type", "object")
    try:
        return field, value_of(field, kind, text.strip())
    except ValueError:
        raise ValueError(f"{shortened(text)!r} is no {kind}, as JSON writes it") from None


def value_of(field: str, kind: str, text: str) -> Any:
    """
    *text* as a value: as JSON unless it is a string; with a short form for lists of tags (`a,b`), for a callback (its
    URL) and for a backoff (the delays: `5,30,300`).

    Raises:
        ValueError: it is none of that type.
    """
    if kind == "string":
        return text
    if not text.startswith(("{", "[")):
        if kind == "array":
            return [one.strip() for one in text.split(",") if one.strip()]
        if field == "callback":
            return {"url": text}
        if field == "backoff":
            return {"delays_seconds": [orjson.loads(one) for one in text.split(",")]}
    value = orjson.loads(text)
    if kind in ("number", "integer") and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(text)
    if kind == "boolean" and not isinstance(value, bool):
        raise ValueError(text)
    return value
