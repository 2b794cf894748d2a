"""
The JSON body of a request to anything but submitting: read, decoded, and held to a schema of the contract.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any

from service.api import bodies
from service.api.runtime import Asked
from service.contract import validator_of
from service.errors import InvalidSubmission
from service.submission import MOST_FAULTS, Fault, counted, faults_of_error


async def body_of(
    asked: Asked, schema: str, what: str, *, is_optional: bool = False, secrets: Collection[str] = ()
) -> dict[str, Any]:
    """
    The object that the body is, which the contract's *schema* takes; `{}` for no body where it *is_optional*. *what*
    names it in faults; what is wrong with the fields *secrets* is told without their values.

    Raises:
        UnsupportedMediaType, TooLarge, MalformedJson, InvalidRequest: it cannot be read.
        InvalidSubmission: it is not what the schema says; every fault is named.
        ClientDisconnect: nobody is there any more.
    """
    settings = asked.runtime.settings
    body = await bodies.read_body(asked.receive, asked.headers, settings.max_body_bytes, "body")
    if not body and is_optional:
        return {}
    bodies.check_media_type(asked.headers)
    document: dict[str, Any] = bodies.parse(body, settings.max_depth)
    if faults := list(islice(faults_of(document, schema, secrets), MOST_FAULTS)):
        raise InvalidSubmission(counted(faults, what), errors=faults)
    return document


def faults_of(document: Any, schema: str, secrets: Collection[str]) -> list[Fault]:
    """What the contract's *schema* has against *document*."""
    faults: list[Fault] = []
    for error in validator_of(schema).iter_errors(document):
        for fault in faults_of_error(error, ""):
            if fault["pointer"].split("/")[1:2] and fault["pointer"].split("/")[1] in secrets:
                fault["detail"] = "is not what the contract says of this field"
            faults.append(fault)
    return faults


def merge_patch(document: Any, patch: Any) -> Any:
    """*document* changed as RFC 7396 says: what is null goes."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
