"""
Schedules in code: `@task("report:daily", schedule=cron("0 3 * * *", tz="Asia/Shanghai"))`.

Pure. A worker publishes them when it starts; see service/store/declarations.py for who owns what.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

from service.declared import Declared, read_file
from service.errors import InvalidArguments, InvalidHandler
from service.settings import Settings
from service.submission import Fault
from workers.options import NAME, NAME_RULE, hint_for

if TYPE_CHECKING:
    from workers.registry import Registry

Moment = datetime | str


class RecurringOptions(TypedDict, total=False):
    """
    What every kind takes. *name*: of the schedule, else the handler's; *args*: of each task, templates filled in;
    *task*: other fields of it, such as `{"priority": 7}`. Times are seconds.
    """

    name: str
    args: Mapping[str, Any]
    task: Mapping[str, Any]
    description: str
    start_at: Moment
    end_at: Moment
    jitter: float
    misfire: Literal["skip", "once", "all"]
    misfire_grace: float
    overlap: Literal["allow", "skip", "queue_one", "cancel_running"]
    max_runs: int
    paused: bool


FIELDS = {"jitter": "jitter_seconds", "misfire_grace": "misfire_grace_seconds"}


@dataclass(frozen=True, slots=True)
class Recurring:
    """One schedule of a handler: *fields* of its definition, and of its task."""

    fields: Mapping[str, Any]
    task: Mapping[str, Any] = field(default_factory=dict)
    name: str | None = None


def cron(expression: str, *, tz: str | None = None, **options: Unpack[RecurringOptions]) -> Recurring:
    """At the times of a cron expression, or of several, a line each; *tz* is an IANA zone."""
    return recurring({"cron": expression, "timezone": tz}, options)


def every(
    interval: float | timedelta, *, tz: str | None = None, anchor: Moment | None = None,
    **options: Unpack[RecurringOptions],
) -> Recurring:  # fmt: skip
    """Every so many seconds, counted from *anchor*, else from when it was first published."""
    seconds = interval.total_seconds() if isinstance(interval, timedelta) else interval
    return recurring({"every_seconds": seconds, "anchor_at": anchor, "timezone": tz}, options)


def calendar(
    *, anchor: Moment, years: int = 0, months: int = 0, weeks: int = 0, days: int = 0, tz: str | None = None,
    **options: Unpack[RecurringOptions],
) -> Recurring:  # fmt: skip
    """Every so many years, months, weeks and days from *anchor* on, at its time of day."""
    units = {"years": years, "months": months, "weeks": weeks, "days": days}
    given = {**{name: number for name, number in units.items() if number}, "anchor": text_of(anchor)}
    return recurring({"calendar": given, "timezone": tz}, options)


def recurring(timing: Mapping[str, Any], options: RecurringOptions) -> Recurring:
    """The schedule of those fields. Raises InvalidHandler for an option that there is not."""
    for name in options:
        if name not in RecurringOptions.__annotations__:
            hint = hint_for(name, RecurringOptions.__annotations__)
            raise InvalidHandler(f"schedule: unknown option {name!r}: {hint}")
    given: dict[str, Any] = dict(options)
    task = dict(given.pop("task", {}))
    if "args" in given:
        task["args"] = dict(given.pop("args"))
    name = given.pop("name", None)
    chosen = {**timing, **given}
    fields = {FIELDS.get(one, one): text_of(value) for one, value in chosen.items() if value is not None}
    return Recurring(fields, task, name)


def text_of(value: Any) -> Any:
    """A time as the contract writes it; everything else as it is."""
    return value.isoformat() if isinstance(value, datetime) else value


def schedules_of(handler: str, given: Any, place: str) -> tuple[Declared, ...]:
    """
    What `schedule=` says of *handler*: one, or several.

    Raises:
        InvalidHandler: something else, or two of one name.
    """
    several: Sequence[Any] = () if given is None else given if isinstance(given, list | tuple) else (given,)
    found: dict[str, Declared] = {}
    for number, one in enumerate(several, 1):
        if not isinstance(one, Recurring):
            needs = 'cron("0 3 * * *", tz="Asia/Shanghai"), every(300) or calendar(…), or a list of them'
            raise InvalidHandler(f"handler {handler!r}: schedule={one!r}: needs {needs}")
        name = one.name or (handler if len(several) == 1 else f"{handler}:{number}")
        if not NAME.fullmatch(name):
            raise InvalidHandler(f"handler {handler!r}: schedule {name!r}: needs {NAME_RULE}")
        if name in found:
            raise InvalidHandler(f"handler {handler!r}: two schedules are called {name!r}; rename one")
        found[name] = Declared(name, {**one.fields, "task": {"name": handler, **one.task}}, place)
    return tuple(found.values())


def declared_by(registry: Registry, settings: Settings) -> list[Declared]:
    """
    Every schedule of the handlers, and of the file that the settings name.

    Raises:
        InvalidHandler, InvalidSetting: every fault of every one.
    """
    written = [one for handler in registry for one in handler.schedules]
    if settings.schedules:
        written += read_file(settings.schedules)
    found: dict[str, Declared] = {}
    faults: list[str] = []
    for one in written:
        if (other := found.get(one.name)) is not None:
            faults.append(f"schedule {one.name!r}: is declared twice, at {other.place} and at {one.place}")
            continue
        wrong = [f"{fault['pointer']}: {fault['detail']}" for fault in one.faults(settings.timezone, checker(registry))]
        faults += [f"schedule {one.name!r}, {one.place}: {text}" for text in wrong]
        found[one.name] = one if wrong else with_target(one, registry)
    if faults:
        raise InvalidHandler("\n".join(faults))
    return list(found.values())


def checker(registry: Registry) -> Any:
    def check(task: Mapping[str, Any]) -> Iterable[Fault]:
        """What a handler has against its arguments; one that is not of this worker is another's to know."""
        handler = registry.find(task.get("name", ""))
        if handler is not None:
            try:
                handler.bind(task.get("args", {}))
            except InvalidArguments as exc:
                return exc.errors or [{"pointer": "/args", "detail": str(exc)}]
        return []

    return check


def with_target(one: Declared, registry: Registry) -> Declared:
    """With the queue and lane of its handler, for a day on which nobody knows it."""
    handler = registry.find(one.definition["task"].get("name", ""))
    target = {"queue": handler.queue, "lane": handler.lane} if handler else None
    return Declared(one.name, one.definition, one.place, target)
