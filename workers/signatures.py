"""
Reading the signature of a function: what its annotations mean, also as text.

Pure. Knows nothing of handlers, arguments or dependencies, which all read signatures by this.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from workers.context import Context

CONTEXT_TEXT = re.compile(r"(.*\.)?Context(\s*\|\s*None)?")


def is_context(annotation: Any, function: Callable[..., Any]) -> bool:
    """
    Whether *annotation* means the Context, also as text and in files that import it for type checks only.
    """
    try:
        type_ = resolved(annotation, function)
    except Exception:
        return isinstance(annotation, str) and CONTEXT_TEXT.fullmatch(annotation.strip("'\" ")) is not None
    options = [one for one in typing.get_args(type_) or (type_,) if one is not type(None)]
    return len(options) == 1 and isinstance(options[0], type) and issubclass(options[0], Context)


def resolved(annotation: Any, function: Callable[..., Any]) -> Any:
    """*annotation* as a type, text looked up where *function* was written."""
    named = SimpleNamespace(__annotations__={"it": annotation})
    scope = getattr(inspect.unwrap(function), "__globals__", {})
    return typing.get_type_hints(named, globalns=scope, include_extras=True)["it"]


def shown(annotation: Any) -> str:
    """*annotation* as its author wrote it, near enough."""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
