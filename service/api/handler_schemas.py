"""
The JSON Schemas that workers publish, in the words that client generators understand.

Owns what becomes of the others: what a generator would break on is said more loosely, never more strictly, and a
default moves into the description, since a generated client would send it. The service itself checks with the schema as
it was published.
"""

from __future__ import annotations

import re
from typing import Any

KEPT = (
    "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "maxProperties", "required",
)  # fmt: skip
FORMATS = frozenset(("date-time", "date", "uuid", "uri", "email", "byte", "binary"))
DEFS = "#/$defs/"
COMPONENTS = "#/components/schemas/"
MOST_LEVELS = 32

Schema = dict[str, Any]


def pascal(name: str) -> str:
    """*name* of a handler as that of a model: `email:send` as `EmailSend`."""
    words = re.findall(r"[A-Za-z0-9]+", name)
    text = "".join(word[0].upper() + word[1:] for word in words) or "Handler"
    return text if text[0].isalpha() else f"Handler{text}"


class Shapes:
    """
    Collects the components of one handler; *prefix* begins their names, so that those of two handlers never meet.
    """

    def __init__(self, prefix: str, taken: set[str]) -> None:
        self.prefix, self.taken = prefix, taken
        self.components: dict[str, Schema] = {}
        self.names: dict[str, str] = {}  # of what stands under $defs

    def add(self, name: str, schema: Schema, description: str) -> Schema:
        """*schema*, published whole, as the component *name* with that *description*; a reference to it."""
        defs = schema.get("$defs", {})
        self.names = {}
        for key in defs:
            self.names[key] = self.free(self.prefix + pascal(key.rpartition(".")[2]))
        for key, shape in defs.items():
            self.components[self.names[key]] = described(self.plain(shape, 0), f"A `{key}`.")
        inner = schema.get("$ref", "")
        if inner.startswith(DEFS) and inner.removeprefix(DEFS) in self.names:  # itself one of those
            return {"$ref": COMPONENTS + self.names[inner.removeprefix(DEFS)]}
        self.components[name] = described(self.plain(schema, 0), description)
        return {"$ref": COMPONENTS + name}

    def free(self, name: str) -> str:
        number, wanted = 1, name
        while wanted in self.taken or wanted in self.components or wanted in self.names.values():
            number += 1
            wanted = f"{name}{number}"
        return wanted

    def nested(self, key: str, schema: Any, level: int) -> Schema:
        """A part of a schema; one that has fields of its own becomes a component."""
        made = self.plain(schema, level)
        if "properties" not in made:
            return made
        title = schema.get("title") if isinstance(schema, dict) else None
        name = self.free(self.prefix + pascal(str(title or key)))
        self.components[name] = described(made, f"What `{title or key}` holds.")
        return {"$ref": COMPONENTS + name}

    def plain(self, schema: Any, level: int) -> Schema:
        """*schema* in known words; `{}`, which is anything, for what they cannot say."""
        if not isinstance(schema, dict) or level > MOST_LEVELS:
            return {}
        if "$ref" in schema:
            name = self.names.get(str(schema["$ref"]).removeprefix(DEFS))
            return {"$ref": COMPONENTS + name} if name else {}
        if any(word in schema for word in ("anyOf", "oneOf", "allOf")):
            return self.union(schema, level)
        if "const" in schema:
            schema = {**schema, "enum": [schema["const"]]}
        return self.typed(schema, level)

    def union(self, schema: Schema, level: int) -> Schema:
        """Something or null; any other union is anything."""
        parts = [one for one in schema.get("anyOf") or schema.get("oneOf") or [] if one != {"type": "null"}]
        said = {"description": text} if (text := description_of(schema)) else {}
        if len(parts) != 1 or len(parts) == len(schema.get("anyOf") or schema.get("oneOf") or []):
            return said
        inner = self.nested("value", parts[0], level + 1)
        kind = inner.get("type")
        if isinstance(kind, str) and kind != "object" and "enum" not in inner:
            return {**inner, "type": [kind, "null"], **said}
        return {"anyOf": [inner, {"type": "null"}], **said}

    def typed(self, schema: Schema, level: int) -> Schema:
        kind = kind_of(schema)
        made: Schema = {word: schema[word] for word in KEPT if word in schema}
        if kind:
            made["type"] = kind
        if text := description_of(schema):
            made["description"] = text
        if schema.get("format") in FORMATS and kind == "string":
            made["format"] = schema["format"]
        if kind in ("integer", "number"):
            made["format"] = "int64" if kind == "integer" else "double"
        if kind == "array":
            made["items"] = self.nested("item", schema.get("items", {}), level + 1)
        if kind == "object":
            made |= self.fields(schema, level)
        return made

    def fields(self, schema: Schema, level: int) -> Schema:
        made: Schema = {}
        if properties := schema.get("properties"):
            made["properties"] = {name: self.nested(name, one, level + 1) for name, one in properties.items()}
        rest = schema.get("additionalProperties")
        if rest is False:
            made["additionalProperties"] = False
        elif isinstance(rest, dict) and rest:
            made["additionalProperties"] = self.nested("value", rest, level + 1)
        elif not properties:  # without a word about it, some clients take an object for an empty one
            made["additionalProperties"] = True
        return made


def kind_of(schema: Schema) -> Any:
    """The type of *schema*; None where it says none that every generator knows."""
    kind = schema.get("type")
    if isinstance(kind, list):
        known = [one for one in kind if one != "null"]
        return kind if len(known) == 1 and known[0] not in ("object", "array") else None
    if kind is None and "properties" in schema:
        return "object"
    if kind is None and schema.get("enum") and all(isinstance(one, str) for one in schema["enum"]):
        return "string"
    return None if kind == "null" else kind


def described(schema: Schema, description: str) -> Schema:
    """*schema* with *description*, if it has none; a reference stands alone."""
    return schema if "$ref" in schema else {"description": description, **schema}


def description_of(schema: Schema) -> str:
    """What *schema* says of itself, its default included."""
    text = str(schema.get("description", "")).strip()
    if "default" in schema:
        text = f"{text} Default `{shown(schema['default'])}`.".strip()
    return text


def shown(value: Any) -> str:
    """*value* as JSON would have it, near enough for people."""
    words = {None: "null", True: "true", False: "false"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
