"""The pages about handlers: what they show works, or at least is Python."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

import workers
from workers.eager import eager
from workers.registry import default_registry
from workers.testing import recorded

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[str]:
    return BLOCK.findall((DOCS / page).read_text())


@pytest.mark.parametrize("block", blocks("frameworks.md"))
def test_what_is_shown_with_frameworks_is_python(block: str) -> None:
    """A snippet that is copied compiles."""
    ast.parse(block)


async def test_what_is_shown_of_handlers_works(capsys: pytest.CaptureFixture[str]) -> None:
    """The page is one program: it declares, submits and tests."""
    layers, resources = default_registry.surroundings.layers, default_registry.surroundings.resources
    before = list(layers), list(resources)
    shown: dict[str, Any] = {"__name__": "shown"}
    try:
        for block in blocks("handlers.md"):
            exec(compile(block, "handlers.md", "exec", dont_inherit=True), shown)
        shown["test_export"]()
        with recorded() as submitted:
            shown["test_welcome"](submitted)
            await shown["resize_all"](["a.png"])
        with eager():
            await shown["welcome"](["a@b.c"])
            await asyncio.to_thread(shown["welcome_all"], ["a@b.c"])
        assert ["email:send", "images:resize"] == [one.name for one in submitted]
    finally:
        layers[:], resources[:] = before


def test_no_module_takes_the_place_of_a_public_name() -> None:
    """`from workers import lifespan` is the decorator, whatever a worker has imported before."""
    modules = {path.stem for path in Path(workers.__file__).parent.iterdir()}
    assert set() == modules & set(workers.__all__)
