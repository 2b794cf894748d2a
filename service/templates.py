"""
Template arguments: `{{ fire_time }}` in the strings of a schedule's task.

Small and strict on purpose: a name, perhaps a filter, nothing else; what is not known is a fault when the schedule is
saved, never when it fires. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from service.submission import Fault, escaped, shortened

PLACE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
INSIDE = re.compile(r"\s*([a-z_]+)\s*(?:\|\s*([a-z_]+)\s*)?\Z")
NAMES = ("fire_time", "previous_fire_time", "schedule")
# Fields of a task whose strings are templates.
FIELDS = ("args", "url", "headers", "body", "body_text", "metadata", "tags")


@dataclass(frozen=True, slots=True)
class Firing:
    """What templates may speak of. *previous* is when the schedule last fired before, None for the first time."""

    schedule: str
    fire_time: datetime
    previous: datetime | None
    zone: ZoneInfo

    def value(self, name: str) -> datetime | str | None:
        return {"fire_time": self.fire_time, "previous_fire_time": self.previous, "schedule": self.schedule}[name]


def rfc3339_of(moment: datetime, _: ZoneInfo) -> str:
    """In UTC: `2026-11-22T03:00:00Z`, with milliseconds where there are some."""
    text = moment.isoformat(timespec="milliseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


FILTERS: dict[str | None, Callable[[datetime, ZoneInfo], str]] = {
    None: rfc3339_of,
    "local": lambda moment, zone: moment.astimezone(zone).isoformat(timespec="seconds"),
    "date": lambda moment, zone: f"{moment.astimezone(zone):%Y-%m-%d}",
    "time": lambda moment, zone: f"{moment.astimezone(zone):%H:%M:%S}",
    "epoch": lambda moment, _: f"{moment.timestamp():.0f}",
}


def faults_of(task: Mapping[str, Any]) -> list[Fault]:
    """Every template of *task* that cannot be filled in."""
    return [
        {"pointer": pointer, "detail": wrong}
        for pointer, text in strings_of(task)
        for found in PLACE.finditer(text)
        if (wrong := fault_of(found[1]))
    ]


def fault_of(inside: str) -> str | None:
    """Why `{{inside}}` cannot be filled in, or None."""
    needs = f"needs {{{{ name }}}} or {{{{ name | filter }}}} with one of {', '.join(NAMES)}"
    filters = ", ".join(name for name in FILTERS if name)
    found = INSIDE.match(inside)
    if not found or found[1] not in NAMES:
        return f"{{{{{shortened(inside)}}}}} is no template: {needs} and, of times, one of the filters {filters}"
    if found[2] is not None and (found[2] not in FILTERS or found[1] == "schedule"):
        return f"{{{{{shortened(inside)}}}}} has a filter that is not known: there are {filters}, for times"
    return None


def strings_of(task: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(pointer, text) of every string that may be a template."""
    layer: list[tuple[str, Any]] = [(f"/{name}", task[name]) for name in FIELDS if name in task]
    while layer:
        place, value = layer.pop()
        if isinstance(value, str):
            yield place, value
        elif isinstance(value, dict):
            layer += [(f"{place}/{escaped(name)}", child) for name, child in value.items()]
        elif isinstance(value, list):
            layer += [(f"{place}/{index}", child) for index, child in enumerate(value)]


def filled(task: Mapping[str, Any], firing: Firing) -> dict[str, Any]:
    """A copy of *task*, which has no faults, with its templates filled in; what there is not yet is empty."""
    return {name: fill(value, firing) if name in FIELDS else value for name, value in task.items()}


def fill(value: Any, firing: Firing) -> Any:
    if isinstance(value, str):
        return PLACE.sub(lambda found: text_of(found[1], firing), value) if "{{" in value else value
    if isinstance(value, dict):
        return {name: fill(child, firing) for name, child in value.items()}
    if isinstance(value, list):
        return [fill(child, firing) for child in value]
    return value


def text_of(inside: str, firing: Firing) -> str:
    found = INSIDE.match(inside)
    if found is None:
        return ""
    value = firing.value(found[1])
    return FILTERS[found[2]](value, firing.zone) if isinstance(value, datetime) else value or ""
