"""
Cron expressions: five fields as cron reads them, and on top of that macros, seconds and `H`.

`cronsim` parses and walks the five fields. What is ours: a sixth field in front for seconds, `@daily` and its like,
`H` (a value spread by the schedule's name, so that a thousand daily schedules do not start at the same midnight), and
errors that say which field is wrong and why.

The meaning is that of Debian's cron: day of month OR weekday when neither begins with a star, Sunday is 0 and 7; an
expression with fixed minutes and hours fires once a day also when clocks change, one with stars follows real time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MINUTE = timedelta(minutes=1)
MOST_REMEMBERED = 4096
RANGE_OF_ONE = re.compile(r"\b(\w+)-\1/\d+")  # cronsim reads 5-5/2 as 5-59/2
HASHED = re.compile(r"H(?:\((\d+)-(\d+)\))?(?:/(\d+))?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an expression: its bounds, those that `H` may take, what it accepts in words, an example."""

    name: str
    least: int
    most: int
    most_hashed: int
    accepts: str
    example: str


_MONTH_DAYS = "1-31, *, L (the last day), LW (the last weekday), lists, ranges, steps or H"
_WEEK_DAYS = "0-7 or SUN-SAT (0 and 7 are Sunday), *, MON#2 (the second Monday), 5L (the last Friday) or H"

FIELDS = (
    Field("second", 0, 59, 59, "0-59, *, lists (0,30), ranges (0-10), steps (*/15) or H", "*/15"),
    Field("minute", 0, 59, 59, "0-59, *, lists (0,30), ranges (0-10), steps (*/15) or H", "*/15"),
    Field("hour", 0, 23, 23, "0-23, *, lists (9,17), ranges (9-17), steps (*/4) or H", "9-17"),
    Field("day of month", 1, 31, 28, _MONTH_DAYS, "1,15"),
    Field("month", 1, 12, 12, "1-12 or JAN-DEC, *, lists, ranges, steps or H", "JAN,JUL"),
    Field("day of week", 0, 7, 6, _WEEK_DAYS, "MON-FRI"),
)


class InvalidCron(ValueError):
    """An expression that is none; *faults* says each one, in words for the user."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression, ready: *minutes* for cronsim, and the *seconds* of a minute, ascending."""

    expression: str
    minutes: str
    seconds: tuple[int, ...]
    zone: ZoneInfo

    def next_after(self, after: datetime) -> datetime | None:
        """The first occurrence later than *after*, in UTC; None when there is none in the next 50 years."""
        minute = after.replace(second=0, microsecond=0)
        for found in self._minutes_from(minute):
            for second in self.seconds:
                if (occurrence := found + timedelta(seconds=second)) > after:
                    return occurrence
        return None

    def _minutes_from(self, minute: datetime) -> Iterator[datetime]:
        try:
            for local in CronSim(self.minutes, (minute - MINUTE).astimezone(self.zone)):
                # In the second of two equal hours cronsim starts from the first one, and answers what has been.
                if (found := local.astimezone(UTC)) >= minute:
                    yield found
        except CronSimError:  # it gives up after 50 years by ending; this is for what it finds impossible on the way
            return

    def explain(self) -> str:
        """In plain English, without the zone: `At 03:00 every day`."""
        fields = self.minutes.split()
        if self.seconds != (0,):
            fields.insert(0, ",".join(map(str, self.seconds)) if len(self.seconds) < 60 else "*")
        text: str = CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC)).explain()
        return text


def cron_of(expression: str, zone: ZoneInfo, seed: str) -> Cron:
    """
    The *expression* in *zone*; *seed*, the schedule's name, decides what each `H` is.

    Raises:
        InvalidCron: it is none, or none that can ever fire.
    """
    text = expression.strip()
    if text.startswith("@"):
        if text.lower() not in MACROS:
            raise InvalidCron([f"{text!r} is no macro: needs one of {', '.join(MACROS)}, or five fields"])
        text = MACROS[text.lower()]
    given = text.split()
    if len(given) not in (5, 6):
        needs = "5 (minute hour day-of-month month day-of-week), or 6 with seconds in front, such as 0 3 * * MON-FRI"
        raise InvalidCron([f"{expression!r} has {len(given)} fields: needs {needs}"])
    fields = FIELDS[-len(given) :]
    if faults := faults_of(tuple(given)):
        raise InvalidCron(list(faults))
    ready = [hashed(field, value, seed) for field, value in zip(fields, given, strict=True)]
    seconds = seconds_of(ready[0]) if len(ready) == 6 else (0,)
    cron = Cron(expression.strip(), " ".join(ready[-5:]), seconds, zone)
    if not can_fire(cron.minutes):
        raise InvalidCron([f"{cron.expression!r} can never fire: no year has such a day, such as 30 February"])
    return cron


@lru_cache(MOST_REMEMBERED)
def faults_of(given: tuple[str, ...]) -> tuple[str, ...]:
    """What is wrong with five or six fields. Remembered: a schedule is read again for each of its occurrences."""
    pairs = zip(FIELDS[-len(given) :], given, strict=True)
    return tuple(fault for field, value in pairs if (fault := fault_of(field, value)))


@lru_cache(MOST_REMEMBERED)
def can_fire(minutes: str) -> bool:
    """Whether some year has such a day: none has a 30th of February."""
    try:
        return next(CronSim(minutes, datetime(2000, 1, 1, tzinfo=UTC)), None) is not None
    except CronSimError:
        return False


def fault_of(field: Field, value: str) -> str | None:
    """What is wrong with *value* in *field*; None when nothing is."""
    if value == "?":
        return f"{field.name}: '?' is Quartz' word for any; needs *"
    if value.upper().startswith("H"):
        return hash_fault(field, value)
    if "W" in value.upper() and value.upper() != "LW" and field.name == "day of month":
        return f"{field.name}: {value!r} is not known: of Quartz' W only LW, the last weekday of the month"
    others = ["*"] * 6
    others[FIELDS.index(field)] = value
    try:
        CronSim(" ".join(others), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        needs = f"needs {field.accepts}, such as {field.example}"
        return f"{field.name}: {value!r} cannot be read{reason(field, value)}: {needs}"
    return None


def reason(field: Field, value: str) -> str:
    """What can be said of a value that cronsim refused; empty when it is not one of the usual slips."""
    for part in value.split(","):
        whole, _, step = part.partition("/")
        if step == "0":
            return f", a step of 0 in {part!r}"
        numbers = [int(number) for number in whole.split("#")[0].split("-") if number.isdigit()]
        for number in numbers:
            if not field.least <= number <= field.most:
                return f", {number} is not within {field.least}-{field.most}"
        if len(numbers) == 2 and numbers[1] < numbers[0]:
            return f", {part!r} runs backwards (write {numbers[0]}-{field.most},{field.least}-{numbers[1]})"
    return ""


def hash_fault(field: Field, value: str) -> str | None:
    """What is wrong with a field that begins with H."""
    found = HASHED.match(value)
    needs = f"needs H, H({field.least}-{field.most_hashed}) or H/15"
    if not found:
        return f"{field.name}: {value!r} cannot be read: {needs}"
    least, most, step = found.groups()
    if least is not None and not field.least <= int(least) <= int(most) <= field.most:
        return f"{field.name}: {value!r} must lie within {field.least}-{field.most}, ascending: {needs}"
    if step is not None and not 1 <= int(step) <= field.most:
        return f"{field.name}: the step of {value!r} must lie within 1-{field.most}: {needs}"
    return None


def hashed(field: Field, value: str, seed: str) -> str:
    """*value* for cronsim, its `H` replaced by numbers that *seed* decides, always the same ones."""
    if not (found := HASHED.match(value)):
        return RANGE_OF_ONE.sub(r"\1", value)
    least, most, step = found.groups()
    low, high = (field.least, field.most_hashed) if least is None else (int(least), int(most))
    chance = int.from_bytes(hashlib.sha256(f"{seed}\0{field.name}".encode()).digest()[:8], "big")
    if step is None:
        return str(low + chance % (high - low + 1))
    start = low + chance % min(int(step), high - low + 1)
    return f"{start}-{high}/{step}" if start < high else str(start)


def seconds_of(field: str) -> tuple[int, ...]:
    """The seconds that the field of a six-field expression names, ascending."""
    return tuple(sorted(CronSim(f"{field} * * * * *", datetime(2000, 1, 1, tzinfo=UTC)).seconds))
