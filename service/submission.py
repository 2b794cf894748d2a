"""
What a submission must be beyond its schema.

Pure: no Redis, no HTTP, no clock; the time is given. The schema of the contract is asked first; here stand the
rules for fields that go together, which a schema of flat optional fields cannot say. packing.py makes records of what
has no faults.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

import jsonschema_rs
import orjson

from service.contract import contract, validator_of
from service.due import PAIRS, time_faults
from service.egress import Rules
from service.flow import limit_faults
from service.received import is_json
from service.redaction import HIDDEN
from service.settings import Settings
from service.showing import BODIES
from service.unique import unique_faults

Fault = dict[str, Any]
Submission = dict[str, Any]

MOST_FAULTS = 200
LONGEST_DETAIL = 400
ONLY_NAME = ("args", "soft_timeout_seconds")
ONLY_URL = ("method", "headers", *BODIES, "envelope", "retry_4xx", "cancel_url")
NO_BODY = ("GET", "HEAD")
# Fields that need no look beyond the schema, when `name` is among them and `url` is not.
PLAIN = frozenset((
    "name", "args", "queue", "priority", "delay_seconds", "timeout_seconds", "retries", "retry_for_seconds",
    "max_crashes", "idempotency_key", "flow", "group", "tags", "metadata", "result_ttl_seconds",
    "parent", "traceparent", "durability",
))  # fmt: skip
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
# What the connection says of itself, or what the caller's client computes.
OUR_HEADERS = frozenset((
    "host", "content-length", "connection", "transfer-encoding", "keep-alive", "proxy-connection",
    "proxy-authorization", "te", "trailer", "upgrade", "expect",
))  # fmt: skip
STANDS_FOR_SECRET = f"{HIDDEN} is shown in the place of a secret; send the secret itself"
# What tells of the attempt, and the signature.
OUR_PREFIXES = ("webhook-", "taskpost-")


def faults_of(submission: Any, now_ms: int, settings: Settings, rules: Rules) -> list[Fault]:
    """
    Everything that is wrong with *submission*, each `{pointer, detail, hint?, reason?}`; the handler is not looked at.

    *rules* say which URLs its namespace may call.
    """
    faults = list(islice(schema_faults(submission), MOST_FAULTS))
    if not isinstance(submission, dict):
        return faults
    faults = with_url_faults(faults, submission, rules, settings.max_url_length)
    known_bad = {fault["pointer"].split("/")[1] for fault in faults if fault["pointer"]}
    faults += together_faults(submission)
    sound = {name: value for name, value in submission.items() if name not in known_bad}
    faults += value_faults(sound, now_ms, settings)
    return faults


def with_url_faults(faults: list[Fault], submission: Submission, rules: Rules, most: int) -> list[Fault]:
    """
    *faults* with what *rules* have against each URL, in the place of the schema's pattern, which gives no reason; and
    with those that are longer than *most*.
    """
    callback = submission.get("callback")
    for pointer, url in (
        ("/url", submission.get("url")),
        ("/cancel_url", submission.get("cancel_url")),
        ("/callback/url", callback.get("url") if isinstance(callback, dict) else None),
    ):
        if isinstance(url, str) and len(url) > most:
            faults = [fault for fault in faults if fault["pointer"] != pointer]
            faults.append({"pointer": pointer, "detail": f"has {len(url)} characters; at most {most} are taken"})
        elif isinstance(url, str) and (refused := list(url_faults(url, pointer, rules))):
            faults = [fault for fault in faults if fault["pointer"] != pointer]
            faults += refused
    return faults


def url_faults(url: str, pointer: str, rules: Rules) -> Iterator[Fault]:
    """Why *url*, which stands at *pointer*, may not be called; for every URL that a user may give."""
    for one in rules.url_faults(url):
        yield {"pointer": pointer, "detail": one.detail, "reason": one.reason}
    if HIDDEN in url.partition("?")[2]:
        yield {"pointer": pointer, "detail": STANDS_FOR_SECRET}


def schema_faults(submission: Any) -> Iterator[Fault]:
    """What the contract's schema has against *submission*."""
    for error in validator_of("Submission").iter_errors(submission):
        yield from faults_of_error(error, "")


def faults_of_error(
    error: jsonschema_rs.ValidationError, prefix: str, known: list[str] | None = None
) -> Iterator[Fault]:
    """
    One error of a schema as faults: unknown fields one by one, with the nearest of *known* (by default what the
    contract knows at that place).
    """
    pointer = prefix + "".join(f"/{escaped(str(step))}" for step in error.instance_path)
    unexpected = getattr(error.kind, "unexpected", None)
    if options := getattr(error.kind, "options", None):
        given, named = (", ".join(orjson.dumps(one).decode() for one in ones) for ones in ([error.instance], options))
        yield {"pointer": pointer, "detail": f"{shortened(given)} is not one of {named}"}
        return
    if unexpected is None:
        yield {"pointer": pointer, "detail": shortened(error.message)}
        return
    fields = fields_at(error.schema_path) if known is None else known
    for name in unexpected:
        near = get_close_matches(name, fields, 1)
        fault = {"pointer": f"{pointer}/{escaped(name)}", "detail": shortened(f'unknown field "{name}"')}
        if near:
            fault["detail"] += f'; did you mean "{near[0]}"?'
            fault["hint"] = near[0]
        yield fault


def fields_at(schema_path: list[str | int]) -> list[str]:
    """The fields that the contract's schema knows where an `additionalProperties` refused one."""
    node: Any = contract()
    for step in schema_path[:-1]:
        node = node[step] if "$ref" not in node else node
    return list(node.get("properties", ()))


def together_faults(submission: Submission) -> Iterator[Fault]:
    """Fields that are missing, or do not go together."""
    has_name, has_url = "name" in submission, "url" in submission
    if not (has_name or has_url):
        yield {"pointer": "", "detail": "needs `name`, the handler that does it, or `url`, the URL to call"}
    if has_name and has_url:
        yield {"pointer": "/url", "detail": "not together with `name`: send one of the two"}
    elif has_name or has_url:
        given, refused = ("name", ONLY_URL) if has_name else ("url", ONLY_NAME)
        other = "url" if has_name else "name"
        for name in refused:
            if name in submission:
                yield {"pointer": f"/{name}", "detail": f"goes with `{other}` only, and this task has `{given}`"}
    given_bodies = [name for name in BODIES if name in submission]
    for other in given_bodies[1:]:
        yield {"pointer": f"/{other}", "detail": f"not together with `{given_bodies[0]}`: send one of the two"}
    for one, other in PAIRS:
        if one in submission and other in submission:
            yield {"pointer": f"/{other}", "detail": f"not together with `{one}`: send one of the two"}
    backoff = submission.get("backoff")
    if isinstance(backoff, dict) and "delays_seconds" in backoff and len(backoff) > 1:
        others = ", ".join(sorted(name for name in backoff if name != "delays_seconds"))
        yield {"pointer": "/backoff/delays_seconds", "detail": f"stands alone; leave it out, or leave out: {others}"}


def value_faults(submission: Submission, now_ms: int, settings: Settings) -> Iterator[Fault]:
    """Values that fit the schema and still cannot be used. Fields that do not fit it are not in *submission*."""
    yield from time_faults(submission, now_ms)
    yield from unique_faults(submission)
    soft, hard = submission.get("soft_timeout_seconds"), submission.get("timeout_seconds")
    if soft is not None and hard is not None and soft >= hard:
        yield {
            "pointer": "/soft_timeout_seconds",
            "detail": f"{soft:g} needs to be less than timeout_seconds, which is {hard:g}",
        }
    yield from tag_faults(submission, settings)
    yield from call_faults(submission, "", settings)
    yield from envelope_faults(submission)
    if isinstance(flow := submission.get("flow"), dict):
        yield from limit_faults(flow, "/flow")
    if "body_base64" in submission and (wrong := base64_fault(submission["body_base64"])):
        yield {"pointer": "/body_base64", "detail": wrong}
    if isinstance(callback := submission.get("callback"), dict):
        yield from call_faults(callback, "/callback", settings)


def tag_faults(submission: Submission, settings: Settings) -> Iterator[Fault]:
    """More tags, or longer ones, than are taken."""
    tags = submission.get("tags", ())
    if len(tags) > settings.max_tags:
        yield {"pointer": "/tags", "detail": f"has {len(tags)} tags; at most {settings.max_tags} are taken"}
    for index, tag in enumerate(tags):
        if len(tag) > (most := settings.max_tag_length):
            detail = f"has {len(tag)} characters; at most {most} are taken"
            yield {"pointer": f"/tags/{index}", "detail": detail}


def base64_fault(text: str) -> str | None:
    """Why *text* is not base64, or None."""
    try:
        b64decode(text, validate=True)
    except ValueError as exc:
        return f"not base64 (RFC 4648, 4, with padding): {exc}"
    return None


def envelope_faults(submission: Submission) -> Iterator[Fault]:
    """An envelope is JSON, and the body of a call that has one."""
    if submission.get("envelope") is not True:
        return
    for name in BODIES[1:]:
        if name in submission:
            yield {"pointer": f"/{name}", "detail": "goes into no envelope: send `body`, or leave `envelope` out"}
    if (method := submission.get("method", "POST")) in NO_BODY:
        yield {"pointer": "/envelope", "detail": f"goes with a method that has a body, and this is {method}"}
    for name, value in (submission.get("headers") or {}).items():
        if name.lower() == "content-type" and not is_json(value):
            detail = f"{shortened(value)} is not JSON, which the envelope is; leave it out, or `envelope`"
            yield {"pointer": f"/headers/{escaped(name)}", "detail": detail}


def call_faults(call: Mapping[str, Any], place: str, settings: Settings) -> Iterator[Fault]:
    """What is wrong with the `headers` of a call to be made."""
    headers = call.get("headers") or {}
    for name in headers:
        pointer = f"{place}/headers/{escaped(name)}"
        if not TOKEN.fullmatch(name):
            yield {"pointer": pointer, "detail": "not a header's name: letters, digits and !#$%&'*+-.^_`|~ only"}
        elif name.lower() in OUR_HEADERS or name.lower().startswith(OUR_PREFIXES):
            yield {"pointer": pointer, "detail": f"{name} is set by Taskpost; leave it out"}
        elif headers[name] == HIDDEN:
            yield {"pointer": pointer, "detail": STANDS_FOR_SECRET}
    size = sum(len(name) + len(value) + 4 for name, value in headers.items())
    if size > settings.max_headers_bytes:
        detail = f"the headers have {size} bytes altogether; at most {settings.max_headers_bytes} are taken"
        yield {"pointer": f"{place}/headers", "detail": detail}


# ---------------------------------------------------------------- words


def escaped(step: str) -> str:
    """A step of a JSON Pointer (RFC 6901)."""
    return step.replace("~", "~0").replace("/", "~1")


def shortened(text: str) -> str:
    """*text* without its middle when it is long; messages quote what was given, which may be a megabyte."""
    if len(text) <= LONGEST_DETAIL:
        return text
    half = LONGEST_DETAIL // 2
    return f"{text[:half]} … {text[-half:]}"


def counted(faults: list[Fault], what: str) -> str:
    """`the submission has 2 faults: …` with the first of them, for those who read one line."""
    first = faults[0]
    place = first.get("pointer") or first.get("parameter") or first.get("header") or ""
    many = f"{len(faults)} faults; the first" if len(faults) > 1 else "1 fault"
    return f"{what} has {many}: {f'{place}: ' if place else ''}{first['detail']}"
