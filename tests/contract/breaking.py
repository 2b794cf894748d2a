"""
What a change of the contract breaks for clients that were made before it.

Owns which changes those are: something gone, a name or a type changed, a request that must say more or may say less, an
answer that says less. Additions break nothing. Pure; a contract is the document as it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
METHODS = ("get", "put", "post", "delete", "patch")
# Bounds of what is sent: the names under which a larger, or a smaller, number takes less.
LOWER = ("minimum", "minLength", "minItems")
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
MOST_LEVELS = 12


class Comparison:
    """*before* and *after*, walked together."""

    def __init__(self, before: Document, after: Document) -> None:
        self.before, self.after = before, after

    def faults(self) -> Iterator[str]:
        """Each change that breaks a client, with its place."""
        for path, entry in self.before["paths"].items():
            for method in METHODS:
                if method in entry:
                    where = f"{method.upper()} {path}"
                    now = self.after["paths"].get(path, {}).get(method)
                    if now is None:
                        yield f"{where} is gone"
                    else:
                        yield from self.operation(where, (entry, entry[method]), (self.after["paths"][path], now))

    def operation(self, where: str, old: tuple[Any, Any], new: tuple[Any, Any]) -> Iterator[str]:
        if old[1]["operationId"] != new[1]["operationId"]:
            yield f"{where} is called {new[1]['operationId']}, was {old[1]['operationId']}"
        yield from self.parameters(where, self.named(self.before, *old), self.named(self.after, *new))
        yield from self.body(where, old[1].get("requestBody"), new[1].get("requestBody"))
        for status, answer in old[1]["responses"].items():
            if status not in new[1]["responses"]:
                yield f"{where} answers {status} no more"
                continue
            now = content_of(self.after, new[1]["responses"][status])
            for media_type, schema in content_of(self.before, answer).items():
                place = f"{where} {status}"
                if media_type not in now:
                    yield f"{place} has no {media_type} any more"
                else:
                    yield from self.schema(place, schema, now[media_type], is_sent=False)

    def named(self, document: Document, entry: Any, operation: Any) -> dict[tuple[str, str], Any]:
        found = [resolve(document, one) for one in [*entry.get("parameters", []), *operation.get("parameters", [])]]
        return {(one["in"], one["name"]): one for one in found}

    def parameters(self, where: str, old: dict[Any, Any], new: dict[Any, Any]) -> Iterator[str]:
        for key, one in old.items():
            if key not in new:
                yield f"{where} takes no {key[1]} any more"
            else:
                yield from self.schema(f"{where} {key[1]}", one["schema"], new[key]["schema"], is_sent=True)
        for key, one in new.items():
            if one.get("required") and not old.get(key, {}).get("required"):
                yield f"{where} needs {key[1]}"

    def body(self, where: str, old: Any, new: Any) -> Iterator[str]:
        before = content_of(self.before, old or {})
        after = content_of(self.after, new or {})
        for media_type, schema in before.items():
            if media_type not in after:
                yield f"{where} takes no {media_type} any more"
            else:
                yield from self.schema(f"{where} body", schema, after[media_type], is_sent=True)
        if (new or {}).get("required") and not (old or {}).get("required"):
            yield f"{where} needs a body"

    def schema(self, where: str, old: Any, new: Any, *, is_sent: bool, level: int = 0) -> Iterator[str]:
        old, new = resolve(self.before, old), resolve(self.after, new)
        if level > MOST_LEVELS:
            return
        yield from differing_types(where, old, new, is_sent)
        if is_sent:
            yield from narrower(where, old, new)
        yield from self.fields(where, old, new, is_sent, level)
        for part in ("items", "additionalProperties"):
            if isinstance(old.get(part), dict) and isinstance(new.get(part), dict):
                yield from self.schema(f"{where}[]", old[part], new[part], is_sent=is_sent, level=level + 1)

    def fields(self, where: str, old: Any, new: Any, is_sent: bool, level: int) -> Iterator[str]:
        now = new.get("properties", {})
        for name, one in old.get("properties", {}).items():
            if name not in now:
                yield f"{where}.{name} is gone"
            else:
                yield from self.schema(f"{where}.{name}", one, now[name], is_sent=is_sent, level=level + 1)
        before, after = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(after - before if is_sent else before - after):
            yield f"{where}.{name} {'is needed' if is_sent else 'may be left out'}"


def resolve(document: Document, node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        found: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def content_of(document: Document, node: Any) -> dict[str, Any]:
    """The schemas of a body or an answer by media type."""
    content = resolve(document, node).get("content", {})
    return {media_type: described.get("schema", {}) for media_type, described in content.items()}


def kinds_of(schema: Any) -> set[str]:
    kinds = schema.get("type", ())
    return {kinds} if isinstance(kinds, str) else set(kinds)


def differing_types(where: str, old: Any, new: Any, is_sent: bool) -> Iterator[str]:
    """A request may come to take more types, an answer to have fewer; no type stands for any."""
    before, after = kinds_of(old), kinds_of(new)
    wide, narrow = (after, before) if is_sent else (before, after)
    if wide and (not narrow or narrow - wide - ({"integer"} if "number" in wide else set())):
        yield f"{where} is {sorted(after) or 'anything'}, was {sorted(before) or 'anything'}"


def narrower(where: str, old: Any, new: Any) -> Iterator[str]:
    """What was taken and is refused now."""
    if "enum" in new and ("enum" not in old or set(old["enum"]) - set(new["enum"])):
        yield f"{where} takes fewer values"
    if new.get("pattern") not in (None, old.get("pattern")):
        yield f"{where} has another pattern"
    for name in LOWER:
        if name in new and new[name] > old.get(name, float("-inf")):
            yield f"{where} has a higher {name}"
    for name in UPPER:
        if name in new and new[name] < old.get(name, float("inf")):
            yield f"{where} has a lower {name}"
    if new.get("additionalProperties") is False and old.get("additionalProperties") is not False and "type" in old:
        yield f"{where} takes no other fields any more"
