"""
Schedules that an application declares, in its code and in a file, rather than over the API.

Pure but for the one reading of the file. The fact to know: what is declared is held to the same contract as what comes
over the API, and a fault in it stops the worker before it takes any work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from service.contract import read_yaml, validator_of
from service.errors import InvalidSetting
from service.planning import misplaced
from service.recurrence.timing import InvalidTiming
from service.schedule import moment, timing_for
from service.submission import Fault, faults_of_error
from service.templates import Firing, filled
from service.templates import faults_of as template_faults

SAMPLE_MS = 1_800_000_000_000
CheckTask = Callable[[dict[str, Any]], Iterable[Fault]]


@dataclass(frozen=True, slots=True)
class Declared:
    """
    One schedule. *definition* is the contract's, without its name; *place* says where it is written, *target* the queue
    and lane of its handler, where that is known.
    """

    name: str
    definition: dict[str, Any]
    place: str
    target: dict[str, str] | None = None

    @property
    def digest(self) -> str:
        """Another for each definition."""
        text = orjson.dumps(self.definition, option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(text, digest_size=8).hexdigest()

    def faults(self, zone: str, check_task: CheckTask) -> Iterator[Fault]:
        """Everything that is wrong with it; *check_task* is asked of its task with templates filled in."""
        errors = validator_of("ScheduleDefinition").iter_errors({**self.definition, "name": self.name})
        if found := [fault for error in errors for fault in faults_of_error(error, "")]:
            yield from found
            return
        task = self.definition["task"]
        try:
            timing = timing_for(self.name, self.definition, SAMPLE_MS, zone)
        except InvalidTiming as exc:
            yield from exc.errors
            return
        found = template_faults(task) + misplaced(task)
        if not found:
            sample = filled(task, Firing(self.name, moment(SAMPLE_MS), moment(SAMPLE_MS), timing.zone))
            errors = validator_of("Submission").iter_errors(sample)
            found = [fault for error in errors for fault in faults_of_error(error, "")] or list(check_task(sample))
        for fault in found:
            yield {**fault, "pointer": f"/task{fault['pointer']}"}


def read_file(path: str) -> list[Declared]:
    """
    The schedules of a YAML file, name by name.

    Raises:
        InvalidSetting: it cannot be read, or holds something else.
    """
    try:
        found = read_yaml(Path(path).read_bytes())
    except OSError as exc:
        raise InvalidSetting(f"TASKPOST_SCHEDULES={path}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise InvalidSetting(f"TASKPOST_SCHEDULES={path}: is no YAML: {exc}") from exc
    found = {} if found is None else found
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise InvalidSetting(f"TASKPOST_SCHEDULES={path}: needs names with a definition each, such as\n{EXAMPLE}")
    return [Declared(str(name), as_json(definition), path) for name, definition in found.items()]


def as_json(value: Any) -> Any:
    """What YAML read; a time that stands there without quotes is a time as JSON has it."""
    if isinstance(value, dict):
        return {str(name): as_json(child) for name, child in value.items()}
    if isinstance(value, list):
        return [as_json(child) for child in value]
    return value.isoformat() if isinstance(value, date) else value


EXAMPLE = """
nightly-report:
  cron: "0 3 * * *"
  timezone: Asia/Shanghai
  task: {name: "report:daily", args: {day: "{{ fire_time | date }}"}}
"""
