"""
Hooks: what is called when an attempt has ended, and `Policy`, which carries hooks and options from task to task.

A hook gets the Context and the outcome, and changes neither: one that raises is logged, and that is all. It runs in
the process that ran the handler, so an attempt that was killed there (a crash, the hard limit of a child) calls none;
a callback of the task is told of that end too.
"""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from service.errors import InvalidHandler
from service.retry import delay_seconds
from workers.outcome import LOST, SHUTDOWN, Cancelled, Failed, Outcome, Succeeded

if TYPE_CHECKING:
    from workers.context import Context
    from workers.options import HandlerOptions

Hook = Callable[["Context", Any], Awaitable[None] | None]
NAMES = ("on_success", "on_failure", "on_retry", "on_cancelled")


class Hooks:
    """The hooks of one handler, by when they are called; empty ones cost nothing."""

    __slots__ = ("by_name", "is_async")

    def __init__(self, *options: Mapping[str, Any]) -> None:
        """The hooks that *options* name, in that order. Raises InvalidHandler for what cannot be called."""
        self.by_name: dict[str, tuple[Hook, ...]] = {}
        for name in NAMES:
            hooks = tuple(hook for one in options for hook in listed(name, one.get(name)))
            if hooks:
                self.by_name[name] = hooks
        self.is_async = any(inspect.iscoroutinefunction(hook) for hook in self)

    def __bool__(self) -> bool:
        return bool(self.by_name)

    def __iter__(self) -> Iterator[Hook]:
        for hooks in self.by_name.values():
            yield from hooks

    async def run(self, ctx: Context, outcome: Outcome) -> None:
        """Call those that *outcome* concerns."""
        if not self.by_name or (name := event_of(ctx, outcome)) is None:
            return
        for hook in self.by_name.get(name, ()):
            try:
                value = hook(ctx, outcome)
                if inspect.isawaitable(value):
                    await value
            except Exception:
                ctx.log.exception("the hook %s of %s raised; the outcome stays %s", shown(hook), name, kind_of(outcome))


class Policy:
    """
    Options and hooks for many tasks: `polite = Policy(retries=8, on_failure=tell)`, `@task("crawl", policy=polite)`.

    An option of the task itself wins; its hooks are called after those of the policy.
    """

    def __init__(self, **options: Unpack[HandlerOptions]) -> None:
        if "policy" in options:
            raise InvalidHandler("Policy(policy=…): a policy has no policy; say Policy(**{**other.options, …})")
        self.options: Mapping[str, Any] = dict(options)

    def __repr__(self) -> str:
        return f"Policy({', '.join(f'{name}={value!r}' for name, value in self.options.items())})"


def apart(handler: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], Hooks]:
    """
    The options of *handler* with those of its policy, and the hooks of both.

    Raises:
        InvalidHandler: a policy or a hook that is none.
    """
    policy = options.get("policy")
    if not isinstance(policy, Policy | None):
        raise InvalidHandler(f"handler {handler!r}: policy={policy!r}: needs a Policy(…)")
    shared = policy.options if policy else {}
    plain = {name: value for name, value in {**shared, **options}.items() if name not in (*NAMES, "policy")}
    try:
        return plain, Hooks(shared, options)
    except InvalidHandler as exc:
        raise InvalidHandler(f"handler {handler!r}: {exc}") from None


def listed(name: str, given: Any) -> Iterable[Hook]:
    """One hook or several, as several."""
    hooks = () if given is None else tuple(given) if isinstance(given, list | tuple) else (given,)
    for hook in hooks:
        if not callable(hook):
            raise InvalidHandler(f"{name}={given!r}: needs a function of (ctx, outcome), or a list of such functions")
    return hooks


def event_of(ctx: Context, outcome: Outcome) -> str | None:
    """The hooks that *outcome* calls; None for an attempt that comes back as if it had never been."""
    if isinstance(outcome, Succeeded):
        return "on_success"
    if isinstance(outcome, Failed):
        return "on_retry" if will_retry(ctx, outcome) else "on_failure"
    if isinstance(outcome, Cancelled) and outcome.reason not in (SHUTDOWN, LOST):
        return "on_cancelled"
    return None


def will_retry(ctx: Context, outcome: Failed) -> bool:
    """
    Whether another attempt follows. The delay, in which chance plays a part, is settled here for the pipeline too.
    """
    if not outcome.retry or ctx.is_last_attempt:
        return False
    if outcome.after_seconds is None:
        outcome.after_seconds = delay_seconds(ctx.backoff, ctx.attempt, random.random)
    return not ctx.last_ms or time.time() * 1000 + outcome.after_seconds * 1000 <= ctx.last_ms


def kind_of(outcome: Outcome) -> str:
    return type(outcome).__name__.lower()


def shown(hook: Hook) -> str:
    return getattr(hook, "__qualname__", None) or repr(hook)
