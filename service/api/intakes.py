"""
The intake of each namespace: a plain one, or one that traces.
"""

from __future__ import annotations

from service.api.intake import Intake
from service.api.runtime import Runtime
from service.api.traced import TracedIntake


class Intakes(dict[str, Intake]):
    """The intake of each namespace, made when it is first asked for."""

    def __init__(self, runtime: Runtime) -> None:
        super().__init__()
        self.runtime = runtime

    def __missing__(self, namespace: str) -> Intake:
        runtime = self.runtime.of(namespace)
        made = Intake(runtime) if runtime.tracer is None else TracedIntake(runtime, runtime.tracer)
        self[namespace] = made
        return made
