"""
The contract of the HTTP API: where its file lies, what it says, and validators made from its schemas.

Owns the one reading of the file in a process. Refuses to know what is served under its paths.
The fact to know: a submission is checked against the very schema that users read, so there is no second definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import yaml

INSTALLED = Path(__file__).with_name("openapi.yaml")
CHECKOUT = Path(__file__).parents[1] / "openapi" / "openapi.yaml"
METHODS = ("get", "put", "post", "delete", "patch")


def contract_path() -> Path:
    """The contract's file; one beside this module means that we are installed, and whatever lies above is not ours."""
    return INSTALLED if INSTALLED.exists() else CHECKOUT


@cache
def contract_text() -> bytes:
    """The file as it is written, comments included."""
    return contract_path().read_bytes()


def read_yaml(text: bytes) -> Any:
    """A YAML document. Raises ValueError where it is none, and says where."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506  both loaders are safe ones
    except yaml.YAMLError as exc:
        raise ValueError(str(exc)) from exc


@cache
def contract() -> dict[str, Any]:
    """The contract as it is read; shared, so nobody changes it."""
    document: dict[str, Any] = read_yaml(contract_text())
    return document


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """What *node* refers to; itself when it is no reference."""
    while "$ref" in node:
        found: Any = contract()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, method in capitals, operation) of everything that the contract offers."""
    for path, entry in contract()["paths"].items():
        for method in METHODS:
            if method in entry:
                yield path, method.upper(), entry[method]


def query_parameters(path: str, method: str) -> dict[str, dict[str, Any]]:
    """The schemas of the query parameters of an operation, by name."""
    entry = contract()["paths"][path]
    declared = [*entry.get("parameters", []), *entry[method.lower()].get("parameters", [])]
    found = [resolve(one) for one in declared]
    return {one["name"]: one["schema"] for one in found if one["in"] == "query"}


@cache
def validator_of(name: str) -> jsonschema_rs.Validator:
    """A validator of the schema *name* of the contract, formats checked."""
    return validator_for({"$ref": f"#/components/schemas/{name}"})


def validator_for(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """A validator of *schema*, which may refer to the schemas of the contract."""
    schemas = contract()["components"]["schemas"]
    whole = {**schema, "components": {"schemas": schemas}}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
