"""
What is kept of a call with its attempt: header fields, an excerpt of the answer, times.

Of a first call that succeeds it is status and time, which need no key of their own. Of others it is all, without
secrets: header fields that are ones by their names, and wherever else their values stand. The fact to know: a result is
left as it is, even one that repeats a secret.
"""

from __future__ import annotations

import re
import zlib
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from service.called import MOST_BODY_BYTES, bounded, excerpt, with_left_out
from service.outcome import Accepted
from service.redaction import HIDDEN, Redaction
from service.request import OURS
from service.task import Leased
from workers.outcome import Cancelled, Crashed, Failed, Outcome, Succeeded
from workers.push.answer import RAW_DEFLATE, ZLIB_OR_GZIP, Answer
from workers.push.call import Call
from workers.push.hidden import Hidden

OF_EVERY_CALL = frozenset(("accept", "accept-encoding", "content-type", "traceparent", "user-agent"))
LONGEST_SECRET = 8192  # as long as a header field may be
BASIC = re.compile(r"basic +([A-Za-z0-9+/=]+)", re.IGNORECASE)


@dataclass(slots=True)
class Seen:
    """A call as far as it came. *is_reused* and times are in the call's trace."""

    call: Call | None = None
    answer: Answer | None = None
    traceparent: str | None = None  # of its span, while traces are asked for


class Details:
    """Says what is kept. *keeps_all*: of first calls that succeed, too."""

    def __init__(self, redaction: Redaction, *, keeps_all: bool) -> None:
        self.redaction, self.keeps_all = redaction, keeps_all

    def note(self, task: Leased, outcome: Outcome | Accepted, seen: Seen, hidden: Hidden) -> None:
        """Put what is kept of the call into *outcome*; *hidden* are the credentials that were sent."""
        call = seen.call
        if call is None or isinstance(outcome, Accepted | Cancelled | Crashed):
            return
        if isinstance(outcome, Succeeded) and not (self.keeps_all or task.attempt > 1 or task.crashes):
            outcome.http = {**(outcome.http or {}), "total_ms": call.trace.total_ms()}
            return
        secrets = Hidden()
        of_names = self.redaction.secrets(dict(call.headers.items()), call.url)
        secrets.add(*hidden.texts, *of_names, *passwords(call))
        given = frozenset(name.lower() for name in task.submission.get("headers") or ())
        http = kept(call, seen.answer, outcome.http or {}, given, secrets, self.redaction)
        if isinstance(outcome, Failed):
            outcome.error = secrets.document(outcome.error)
        elif not isinstance(outcome, Succeeded):
            outcome.reason = secrets.without(outcome.reason)
        outcome.http = http


def passwords(call: Call) -> list[str]:
    """The password of Basic authentication, which an endpoint may show in the clear."""
    found = BASIC.match(call.headers.get("authorization", ""))
    try:
        return [b64decode(found[1]).decode().partition(":")[2]] if found else []
    except ValueError:
        return []


def is_credential(name: str, given: frozenset[str]) -> bool:
    """Whether a header field is neither *given* with the task nor one that every call has."""
    name = name.lower()
    return name not in given and name not in OF_EVERY_CALL and not name.startswith(OURS)


def kept(
    call: Call,
    answer: Answer | None,
    known: dict[str, Any],
    given: frozenset[str],
    secrets: Hidden,
    redaction: Redaction,
) -> dict[str, Any]:
    """A call and its answer, as `called.py` reads it."""
    trace = call.trace
    headers = redaction.headers(dict(call.headers.items()))
    sent, left_out = bounded({
        name: HIDDEN if is_credential(name, given) else secrets.without(value) for name, value in headers.items()
    })  # fmt: skip
    http = {
        "status": None if answer is None else answer.status,
        **known,
        "times": trace.times(),
        "address": trace.address,
        "reused": trace.is_reused,
        "sent": sent,
    }
    if left_out:
        http["sent_left_out"] = left_out
    if answer is not None:
        fields, more = bounded({
            name: secrets.without(value) for name, value in redaction.headers(answer.headers).items()
        })  # fmt: skip
        body = secrets.without(beginning(answer, MOST_BODY_BYTES + LONGEST_SECRET))
        shown = {"headers": fields, **excerpt(body), "body_bytes": len(answer.body), "whole": answer.is_whole}
        http["answer"] = with_left_out(shown, more)
    return http


def beginning(answer: Answer, most_bytes: int) -> bytes:
    """The first bytes of the body, unpacked where that can be done; else as they came."""
    encoding = answer.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return answer.body[:most_bytes]
    for window_bits in (ZLIB_OR_GZIP, RAW_DEFLATE):
        try:
            return zlib.decompressobj(window_bits).decompress(answer.body, most_bytes)
        except zlib.error:
            continue
    return answer.body[:most_bytes]
