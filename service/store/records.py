"""
What is sealed of a task, and how it is opened: its record, the rows of its attempts, the lines of its log.

Pure but for chance. The fact to know: a sealed record keeps its header, of which scripts decide everything, and the
name of its handler, by which they count; behind these submission and outcome are sealed as one. A row keeps what
scripts compare: which attempt it was, how it ended and the type of its error.
"""

from __future__ import annotations

from typing import Any

import orjson

from service.errors import PayloadUnreadable
from service.sealing import Keyring
from service.task import DEFAULT_QUEUE, FORMAT, HEADER_BYTES, OPENED, SEALED, split_queue, submission_of
from service.ties import Ties

SMALL_BYTES = 512  # submissions up to it are written anew with their outcomes
DEBOUNCED = b"d"  # a claim of unique.py
NAME_START = b'{"name":"'
PRIVATE = ("error", "http", "reason")  # of a row
RECORD, OUTCOME, ROW, LOG = b"record", b"outcome", b"attempt", b"log"
PROGRESS, CHECKPOINT = b"progress", b"checkpoint"


def namespace_of(raw: bytes) -> str:
    """The namespace of a record, by its header."""
    name = raw[HEADER_BYTES : HEADER_BYTES + raw[12]].partition(b"\0")[0]
    return split_queue(name.decode() or DEFAULT_QUEUE)[0]


def bound_to(raw: bytes, id_: bytes) -> bytes:
    """
    What the record *raw* of the task *id_* is sealed to: that id; of a debounced one its unique key, since a later
    submission takes its place under the id of the first (claims.lua).
    """
    zero = raw.find(b"\0", HEADER_BYTES, HEADER_BYTES + raw[12])
    if zero >= 0:
        ties = Ties.parsed(raw[zero + 1 : HEADER_BYTES + raw[12]])
        if ties.claim[:1] == DEBOUNCED:
            return ties.unique
    return id_


def face_of(body: bytes) -> bytes:
    """What stays readable of the packed submission that *body* begins with: its name, as scripts look for it."""
    if body[:1] == b"\x01":
        return body[: body.index(b"\x02")]
    if body.startswith(NAME_START):
        return b"\x01" + body[len(NAME_START) : body.index(b'"', len(NAME_START))]
    return b""


def sealed_body(keyring: Keyring, namespace: str, bound: bytes, body: bytes) -> bytes:
    """*body*, a packed submission and perhaps an outcome behind it, as a sealed record has it."""
    face = face_of(body)
    return b"%b\x02%b" % (face, keyring.seal(body, namespace, bound, RECORD + face))


def sealed_record(keyring: Keyring, id_: bytes, raw: bytes) -> bytes:
    """A record as it is stored."""
    if not keyring.is_sealing:
        return raw
    start = HEADER_BYTES + raw[12]
    body = sealed_body(keyring, namespace_of(raw), bound_to(raw, id_), raw[start:])
    return b"%c%b%b" % (SEALED, raw[1:start], body)


def opened_record(keyring: Keyring, id_: bytes, raw: bytes) -> tuple[bytes, PayloadUnreadable | None]:
    """A record as it was before it was sealed; as it is stored, and why, when it does not open."""
    if raw[0] != SEALED:
        return raw, None
    start = HEADER_BYTES + raw[12]
    face, _, sealed = raw[start:].partition(b"\x02")
    try:
        body = keyring.open(sealed, namespace_of(raw), bound_to(raw, id_), RECORD + face)
    except PayloadUnreadable as exc:
        return raw, exc
    return b"%c%b%b" % (OPENED, raw[1:start], body), None


def ended(keyring: Keyring, namespace: str, id_: bytes, raw: bytes, outcome: bytes) -> tuple[bytes, int, bytes]:
    """
    How a record that ends is written, with its *outcome*: the kind of its report, its first byte, the report's value.

    `E`: anew, from behind its time on; `L`: its outcome apart, and of itself the header alone. So is one that does not
    open, which must stay what it is.
    """
    if raw[0] != SEALED:
        start, submission = submission_of(raw)
        if len(submission) <= SMALL_BYTES:
            body = submission + b"\n" + outcome
            if keyring.is_sealing:
                return b"E", SEALED, raw[11:start] + sealed_body(keyring, namespace, bound_to(raw, id_), body)
            return b"E", FORMAT, raw[11:start] + body
    stored = FORMAT if raw[0] == FORMAT else SEALED
    return b"L", stored, keyring.closed(outcome, namespace, id_, OUTCOME)


def sealed_row(keyring: Keyring, namespace: str, id_: bytes, row: bytes) -> bytes:
    """The *row* of an attempt, JSON, as it is stored; an empty one is none."""
    if not row or not keyring.is_sealing:
        return row
    fields = orjson.loads(row)
    private = {name: fields.pop(name) for name in PRIVATE if name in fields}
    if not private:
        return row
    if "error" in private:
        fields["error"] = {"type": private["error"]["type"]}
    fields["sealed"] = keyring.word(orjson.dumps(private), namespace, id_, ROW)
    return orjson.dumps(fields)


def opened_row(keyring: Keyring, namespace: str, id_: bytes, row: bytes) -> dict[str, Any]:
    """A row as it is stored, opened; of one that does not open the error says why."""
    fields: dict[str, Any] = orjson.loads(row)
    word = fields.pop("sealed", None)
    if word is not None:
        try:
            fields |= orjson.loads(keyring.read_word(word, namespace, id_, ROW))
        except PayloadUnreadable as exc:
            error = fields.get("error") or {"type": exc.type}
            fields["error"] = {**error, "message": exc.detail, "traceback": None}
    if "log" in fields:
        fields["log"] = [opened_line(keyring, namespace, id_, line) for line in fields["log"]]
    return fields


def sealed_lines(keyring: Keyring, namespace: str, id_: bytes, batch: bytes) -> bytes:
    """Lines as `pack_lines` packs them, each sealed on its own, so that scripts count and drop them as they do."""
    if not batch or not keyring.is_sealing:
        return batch
    words = [orjson.dumps(keyring.word(line, namespace, id_, LOG)) for line in batch[4:].split(b"\n") if line]
    return b"%b%b\n" % (batch[:4], b"\n".join(words))


def opened_line(keyring: Keyring, namespace: str, id_: bytes, line: Any) -> list[Any]:
    """A line as it is stored, opened; of one that does not open the message says why."""
    if not isinstance(line, str):
        return list(line)
    try:
        return list(orjson.loads(keyring.read_word(line, namespace, id_, LOG)))
    except PayloadUnreadable as exc:
        return [0, "warning", exc.detail]


def opened_value(keyring: Keyring, namespace: str, id_: bytes, field: bytes, stored: bytes) -> bytes | None:
    """What `Keyring.closed` was given; None when it does not open."""
    try:
        return keyring.opened(stored, namespace, id_, field)
    except PayloadUnreadable:
        return None
