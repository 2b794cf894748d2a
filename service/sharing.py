"""
What the tasks of a handler share where their submissions say nothing: its `flow`, `group` and `unique`. Pure.

A key of a handler may be a template, `customer:{customer_id}`, whose fields are names of arguments. The fact to know:
what is filled in stands in the stored task as if it had been submitted, so that nothing later asks the handler again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from service.contract import validator_of
from service.flow import limit_faults, with_whole_limits
from service.submission import Fault, escaped, faults_of_error, shortened
from service.unique import unique_faults

SHARED = ("flow", "group", "unique")
FIELD = re.compile(r"\{([^\W\d]\w*)\}")
LONGEST = {"flow": 128, "group": 64, "unique": 255}
WORD = "A-Z a-z 0-9 . _ : @ -"
NOT_IN_WORD = re.compile(r"[^A-Za-z0-9._:@-]")
Given = Mapping[str, Any]


# ---------------------------------------------------------------- at the declaration


def declared(name: str, value: Any) -> Any:
    """
    *value* of the option *name* in the form of the contract; a flow key or a unique key may stand alone.

    Raises:
        ValueError: it cannot be used; the text has every fault.
    """
    if name == "group":
        if not isinstance(value, str):
            raise ValueError("needs a text, such as 'tenant:{tenant}'")
        return checked_key(name, value)
    if not isinstance(value, str | Mapping):
        raise ValueError(f"needs a key, or a dict such as {EXAMPLES[name]}")
    given = {"key": value} if isinstance(value, str) else {part: plain(one) for part, one in value.items()}
    if isinstance(key := given.get("key"), str):
        checked_key(name, key)
    # As it will be with its fields filled in, by which it gets no fault of its own.
    sample = {**given, "key": FIELD.sub("x", key)} if isinstance(key, str) else given
    errors = validator_of(name.capitalize()).iter_errors(sample)
    found = [fault for error in errors for fault in faults_of_error(error, "")]
    if not found:
        named = dict.fromkeys(given.get("by", ()))
        found = list(limit_faults(given) if name == "flow" else unique_faults({"unique": given, "args": named}))
    if found:
        raise ValueError("; ".join(f"{fault['pointer'].strip('/')} {fault['detail']}".strip() for fault in found))
    with_whole_limits(given)
    return given


def plain(value: Any) -> Any:
    """A part of an option as JSON has it."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return list(value) if isinstance(value, tuple | set | frozenset) else value


EXAMPLES = {
    "flow": "{'key': 'api.example.com', 'concurrency': 5}",
    "unique": "{'by': ['order'], 'on_conflict': 'reject'}",
}


def checked_key(name: str, template: str) -> str:
    """*template*, if what is filled in can be a key. Raises ValueError."""
    plain = FIELD.sub("", template)
    if not template or len(plain) > LONGEST[name] or (name != "unique" and NOT_IN_WORD.search(plain)):
        raise ValueError(f"{template!r} needs {rule_of(name)}, with fields such as {{customer_id}} for arguments")
    return template


def unknown_fields(options: Given, known: Iterable[str]) -> Iterator[str]:
    """What in *options* is named and is no argument of the handler, whose arguments are *known*."""
    arguments = set(known)
    for name in SHARED:
        template, by = parts_of(options.get(name))
        named = [*FIELD.findall(template), *by]
        if strange := [field for field in named if field not in arguments]:
            have = ", ".join(sorted(arguments)) or "none"
            yield f"{name}: there is no argument {', '.join(strange)}; there are {have}"


def parts_of(value: Any) -> tuple[str, list[str]]:
    """The template in one option, and the arguments that it names otherwise."""
    if isinstance(value, Mapping):
        return value.get("key", ""), value.get("by", [])
    return value or "", []


# ---------------------------------------------------------------- at submit


def shared_of(handler: Given, submission: Given) -> tuple[dict[str, Any], list[Fault]]:
    """
    What *handler*, as it was published, adds to *submission*, and every argument of which no key can be made.

    A field that is not sent has its default. A `debounce` takes the place of a unique key.
    """
    added: dict[str, Any] = {}
    faults: list[Fault] = []
    for name in SHARED:
        value = handler.get(name)
        if value is None or name in submission or (name == "unique" and "debounce" in submission):
            continue
        template, _ = parts_of(value)
        if template:
            key, wrong = filled(name, template, argument_of(handler, submission))
            faults += wrong
            added[name] = key if name == "group" else {**value, "key": key}
        else:
            added[name] = {**value}
    return added, faults


def argument_of(handler: Given, submission: Given) -> Callable[[str], Any]:
    """Looks an argument up: what was sent, else its default, else None."""
    args, properties = submission.get("args") or {}, (handler.get("args_schema") or {}).get("properties", {})
    return lambda field: args[field] if field in args else (properties.get(field) or {}).get("default")


def filled(name: str, template: str, argument: Callable[[str], Any]) -> tuple[str, list[Fault]]:
    """*template* of the option *name* with its fields filled in, and why that makes no key."""
    faults: list[Fault] = []
    what = f"the {'group' if name == 'group' else f'{name} key'} is made of it, {template!r}"

    def fill(found: re.Match[str]) -> str:
        field, value = found[1], argument(found[1])
        text = text_of(value)
        if text is None or (name != "unique" and NOT_IN_WORD.search(text)):
            needs = "it needs a text or a number" if name == "unique" else f"it needs a number, or {WORD}"
            detail = f"{what}: it is missing" if value is None else f"{what}: {needs}"
            faults.append({"pointer": f"/args/{escaped(field)}", "detail": detail})
        return text or ""

    key = FIELD.sub(fill, template)
    if not faults and not 0 < len(key) <= LONGEST[name]:
        detail = f"the {name} of the handler would be {shortened(key)!r}, and needs {rule_of(name)}"
        faults.append({"pointer": f"/{name}", "detail": detail})
    return key, faults


def text_of(value: Any) -> str | None:
    """An argument as part of a key: numbers as JSON has them, of one kind; None for what is neither text nor number."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def rule_of(name: str) -> str:
    return f"1 to {LONGEST[name]} characters" if name == "unique" else f"1 to {LONGEST[name]} of {WORD}"
