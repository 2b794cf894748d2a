"""
Query parameters, checked against the contract: unknown ones are named with the nearest known, all faults at once.

The fact to know: an operation is held to this where the contract says that it answers 422.
"""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache
from typing import Any
from urllib.parse import parse_qsl

import jsonschema_rs
from starlette.types import Scope

from service.contract import contract, query_parameters, validator_for
from service.errors import InvalidQuery
from service.submission import Fault, counted, shortened

BOOLEANS = {"true": True, "false": False}
NUMBERS = {"integer": int, "number": float}


@cache
def known_parameters(path: str, method: str) -> dict[str, tuple[dict[str, Any], jsonschema_rs.Validator]]:
    """Schema and validator of each query parameter of an operation."""
    return {name: (schema, validator_for(schema)) for name, schema in query_parameters(path, method).items()}


@cache
def is_strict(path: str, method: str) -> bool:
    return "422" in contract()["paths"][path][method.lower()]["responses"]


def check_query(scope: Scope, path: str, method: str) -> dict[str, Any]:
    """
    The query parameters of a request to the operation *method* of *path*, as their schemas type them; those left out
    have the default of the contract, or are missing.

    Raises:
        InvalidQuery: with every fault.
    """
    known = known_parameters(path, method)
    values = {name: schema["default"] for name, (schema, _) in known.items() if "default" in schema}
    faults: list[Fault] = []
    seen: set[str] = set()
    text = scope["query_string"].decode("latin-1")
    for name, given in parse_qsl(text, keep_blank_values=True, errors="replace"):
        if name not in known:
            if is_strict(path, method):
                faults.append(unknown(name, list(known)))
        elif name in seen:
            faults.append({"parameter": name, "detail": "given twice; once is enough"})
        else:
            seen.add(name)
            values[name], wrong = read_value(given, *known[name])
            faults += [{"parameter": name, "detail": detail} for detail in wrong]
    if faults:
        raise InvalidQuery(counted(faults, "the query"), errors=faults)
    return values


# What may be encrypted is no filter: what tasks carry, and what comes of them.
CARRIED = frozenset((
    "args", "body", "body_text", "body_base64", "callback", "error", "headers", "log", "message", "metadata",
    "progress", "q", "query", "result", "search", "text", "traceback", "url",
))  # fmt: skip
UNSEARCHED = (
    "what tasks carry, answer and say is not searched, since it may be encrypted: ask by name, tag, queue, group, "
    "flow, state, error_type, http_status or time"
)


def unknown(name: str, known: list[str]) -> Fault:
    if name in CARRIED and "error_type" in known:
        return {"parameter": name, "detail": UNSEARCHED}
    near = get_close_matches(name, known, 1)
    fault = {"parameter": shortened(name), "detail": shortened(f'unknown parameter "{name}"')}
    if near:
        return {**fault, "detail": f'{fault["detail"]}; did you mean "{near[0]}"?', "hint": near[0]}
    return fault


def read_value(given: str, schema: dict[str, Any], validator: jsonschema_rs.Validator) -> tuple[Any, list[str]]:
    """*given* as its schema types it, and what is wrong with it."""
    value: Any = given
    if schema["type"] == "boolean":
        value = BOOLEANS.get(given, given)
    read = NUMBERS.get(schema["type"])
    if read is not None:
        try:
            value = read(given) if given.isascii() and "_" not in given else given
        except ValueError:
            pass
        if value != value or value in (float("inf"), float("-inf")):
            value = given
    return value, [shortened(error.message) for error in validator.iter_errors(value)]
