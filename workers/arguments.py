"""
How the `args` of a task become the keyword arguments of a function: the published schema, and the conversion.

Types come from the signature alone; a parameter without a type takes any JSON. The conversion is strict:
"2" is no int, and an argument the function does not name is a fault. Every argument with a fault is named.
The fact to know: the API checks the published JSON Schema at submit, the worker converts with msgspec, and
the two agree on what is valid except for formats (dates, UUIDs, decimals), which only the conversion reads.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter
from typing import Any, NotRequired, TypedDict

import msgspec

from service.errors import InvalidArguments, InvalidHandler
from workers.depends import check, dependency_of
from workers.signatures import is_context, resolved, shown

PATH_STEP = re.compile(r"\.([^.\[]+)|\[(\d+)\]|(\[\.\.\.\])")
TypedDictType: Any = TypedDict  # built from a signature; a type checker cannot follow that


class Arguments:
    """
    The arguments of one function. *schema* is what the worker publishes; *context_name* takes the Context.
    """

    def __init__(self, handler_name: str, function: Callable[..., Any]) -> None:
        """
        Read the signature of *function*.

        Raises:
            InvalidHandler: a parameter that no JSON object could fill; the text names it and what to do.
        """
        self.handler_name = handler_name
        self.function = function
        self.returns: Any = inspect.Signature.empty
        self.context_name: str | None = None
        self.context_place: int | None = None  # among the positional parameters
        self.positional: list[str] = []
        self.needs: dict[str, Callable[..., Any]] = {}  # parameters that dependencies fill
        self.types: dict[str, Any] = {}
        self.required: list[str] = []
        self.rest: Any = None  # the type of **kwargs, when the function takes them
        self.takes_rest = False
        defaults: dict[str, Any] = {}
        for parameter in inspect.signature(function).parameters.values():
            self._add(parameter, function, defaults)
        self.shape = self._shape()
        # Without a pydantic model it is never called, and giving it costs a little.
        self.foreign = read_foreign if takes_foreign([*self.types.values(), self.rest]) else None
        self.schema = self._schema(defaults)

    def bind(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """
        The keyword arguments for *args*, as the signature types them; without the Context.

        Raises:
            InvalidArguments: every argument that is missing, unknown or of another type.
        """
        try:
            bound: dict[str, Any] = msgspec.convert(args, self.shape, dec_hook=self.foreign)
        except msgspec.ValidationError:
            return self._bind_each(args)
        # The conversion leaves out what it does not know.
        if len(bound) != len(args):
            return self._bind_each(args)
        return bound

    def named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """
        The arguments of a call by name, as a task carries them.

        Raises:
            InvalidArguments: more positional ones than there are names, or one given twice.
        """
        if len(args) > len(self.positional):
            names = ", ".join(self.positional) or "none"
            raise InvalidArguments(
                f"{self.handler_name} takes {len(self.positional)} positional arguments ({names}), not {len(args)}"
            )
        named = dict(zip(self.positional, args, strict=False))
        if twice := named.keys() & kwargs.keys():
            raise InvalidArguments(f"{self.handler_name}: given by position and by name: {', '.join(sorted(twice))}")
        return {**named, **kwargs}

    def returned(self, result: Any) -> Any:
        """*result*, read from JSON, in the type that the function says it returns; as it is when that does not fit."""
        try:
            if self.returns is inspect.Signature.empty:
                self.returns = resolved(inspect.signature(self.function).return_annotation, self.function)
            return convert_argument(result, self.returns)
        except Exception:  # an annotation that cannot be resolved, or that is not true
            return result

    def result_schema(self) -> dict[str, Any] | None:
        """The JSON Schema of what the function says it returns; None where it says nothing that JSON can carry."""
        try:
            (schema,), components = schemas_of(
                [resolved(inspect.signature(self.function).return_annotation, self.function)]
            )
        except Exception:  # no annotation, one that cannot be resolved, or a type of which JSON knows nothing
            return None
        return ({**schema, "$defs": components} if components else schema) or None

    def _bind_each(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """
        The slow path: argument by argument, to allow 2.0 for an int as JSON Schema does and to find all
        faults.
        """
        bound: dict[str, Any] = {}
        faults: list[dict[str, str]] = []
        for name, value in args.items():
            if name not in self.types and not self.takes_rest:
                faults.append({"pointer": f"/args/{_escape(name)}", "detail": self._unknown(name)})
                continue
            type_ = self.types.get(name, self.rest)
            try:
                bound[name] = convert_argument(value, type_)
            except msgspec.ValidationError as exc:
                faults.append(fault_of(name, str(exc)))
        faults += [
            {"pointer": f"/args/{_escape(name)}", "detail": "this argument is required"}
            for name in self.required
            if name not in args
        ]
        if faults:
            told = "; ".join(f"{fault['pointer']}: {fault['detail']}" for fault in faults[:5])
            raise InvalidArguments(f"{self.handler_name} cannot take these arguments: {told}", faults)
        return bound

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name, self.types, 1)
        if near:
            return f"the handler takes no argument of this name: did you mean {near[0]!r}?"
        return f"the handler takes no argument of this name, only: {', '.join(self.types) or 'none at all'}"

    def _add(self, parameter: Parameter, function: Callable[..., Any], defaults: dict[str, Any]) -> None:
        name = parameter.name
        if parameter.kind is Parameter.POSITIONAL_ONLY:
            raise self._refused(f"the positional-only parameter `{name}`", "arguments come by name; remove the `/`")
        if parameter.kind is Parameter.VAR_POSITIONAL:
            raise self._refused(f"`*{name}`", f"arguments come by name; take a list instead, `{name}: list`")
        if is_context(parameter.annotation, function):
            if self.context_name is not None or parameter.kind is Parameter.VAR_KEYWORD:
                raise self._refused(f"`{name}: Context`", "one plain parameter can take the Context")
            self.context_name = name
            if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD:
                self.context_place = len(self.positional)
            return
        if (dependency := dependency_of(parameter, function)) is not None:
            check(dependency.function)
            self.needs[name] = dependency.function
            return
        type_ = self._resolve(parameter, function)
        if parameter.kind is Parameter.VAR_KEYWORD:
            self.takes_rest, self.rest = True, type_
            return
        if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD:
            self.positional.append(name)
        self.types[name] = type_
        if parameter.default is Parameter.empty:
            self.required.append(name)
        else:
            defaults[name] = parameter.default

    def _resolve(self, parameter: Parameter, function: Callable[..., Any]) -> Any:
        if parameter.annotation is Parameter.empty:
            return Any
        try:
            type_ = resolved(parameter.annotation, function)
            schemas_of([type_])
        except Exception as exc:
            why = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            raise self._refused(
                f"`{parameter.name}: {shown(parameter.annotation)}`",
                "use types that JSON can carry (int, float, bool, str, list, dict, datetime, UUID, Decimal, "
                "Enum, Literal, dataclasses, msgspec structs, pydantic models), known where the handler is defined "
                f"({why})",
            ) from exc
        return type_

    def _refused(self, what: str, need: str) -> InvalidHandler:
        return InvalidHandler(f"handler {self.handler_name!r}: {what} cannot be filled from JSON: {need}")

    def _shape(self) -> Any:
        """
        The type msgspec converts to. With **kwargs, whose names are not known before, each goes its own
        way.
        """
        if self.takes_rest:
            return TypedDictType("Arguments", {})
        fields = self.types.items()
        return TypedDictType(
            "Arguments",
            {name: type_ if name in self.required else NotRequired[type_] for name, type_ in fields},
        )

    def _schema(self, defaults: dict[str, Any]) -> dict[str, Any]:
        """The JSON Schema of `args`, self-contained."""
        types = [*self.types.values(), self.rest] if self.takes_rest else list(self.types.values())
        schemas, components = schemas_of(types)
        properties = dict(zip(self.types, schemas, strict=False))
        for name, default in defaults.items():
            properties[name] = with_default(properties[name], default)
        schema: dict[str, Any] = {"title": self.handler_name, "type": "object", "properties": properties}
        if self.required:
            schema["required"] = self.required
        schema["additionalProperties"] = (schemas[-1] or True) if self.takes_rest else False
        if components:
            schema["$defs"] = components
        return schema


def convert_argument(value: Any, type_: Any) -> Any:
    """*value* as *type_*; 2.0 passes for an int. Raises msgspec.ValidationError."""
    try:
        return msgspec.convert(value, type_, dec_hook=read_foreign)
    except msgspec.ValidationError:
        whole = whole_numbers(value)
        if whole is value:
            raise
        return msgspec.convert(whole, type_, dec_hook=read_foreign)


def read_foreign(type_: Any, value: Any) -> Any:
    """*value* as a *type_* that msgspec does not know: a pydantic model. Raises ValueError, naming every fault."""
    if not is_pydantic(type_):
        raise NotImplementedError(f"{type_!r} is nothing that JSON can carry")
    try:
        return type_.model_validate(value)
    except ValueError as exc:  # pydantic's own is one
        faults = exc.errors() if hasattr(exc, "errors") else []
        told = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ") for fault in faults]
        raise ValueError("; ".join(told) or str(exc)) from exc


def is_pydantic(type_: Any) -> bool:
    """Whether *type_* is a pydantic model, without importing pydantic."""
    return isinstance(type_, type) and hasattr(type_, "model_validate") and hasattr(type_, "model_json_schema")


def takes_foreign(types: Sequence[Any]) -> bool:
    """Whether msgspec alone cannot read one of *types*."""
    try:
        msgspec.json.schema_components(types)
    except TypeError:
        return True
    return False


def schemas_of(types: Sequence[Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The JSON Schemas of *types*, and what they refer to by `#/$defs/…`. Raises TypeError for what JSON lacks."""
    beside: dict[str, Any] = {}

    def foreign(type_: Any) -> dict[str, Any]:
        if not is_pydantic(type_):
            raise NotImplementedError
        schema: dict[str, Any] = type_.model_json_schema(ref_template="#/$defs/{model}")
        beside.update(schema.pop("$defs", {}))
        return schema

    made, components = msgspec.json.schema_components(types, schema_hook=foreign, ref_template="#/$defs/{name}")
    return list(made), {**beside, **components}


def whole_numbers(value: Any) -> Any:
    """*value* with each 2.0 as 2; the very same object when there is none."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, list):
        items = [whole_numbers(one) for one in value]
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        fields = {key: whole_numbers(one) for key, one in value.items()}
        return value if all(fields[key] is value[key] for key in value) else fields
    return value


def fault_of(name: str, text: str) -> dict[str, str]:
    """What msgspec said about argument *name*, as `{pointer, detail}` of RFC 9457 style."""
    detail, _, path = text.partition(" - at `$")
    pointer = f"/args/{_escape(name)}"
    for field, index, any_key in PATH_STEP.findall(path.rstrip("`")):
        if any_key:  # msgspec does not say which key of a dict
            break
        pointer += f"/{_escape(field) if field else index}"
    return {"pointer": pointer, "detail": detail.replace("`", "")}


def with_default(schema: dict[str, Any], default: Any) -> dict[str, Any]:
    """*schema* with its default, when JSON can say it."""
    try:
        return {**schema, "default": msgspec.to_builtins(default)}
    except Exception:  # any object may be a default; then it is simply not shown
        return schema


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
