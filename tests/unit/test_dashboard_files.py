"""The shape of the dashboard's code, held as that of Python is: sizes, first lines, what imports what."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "service" / "dashboard"
VENDOR = FOLDER / "vendor"
MODULES = sorted(path for path in FOLDER.rglob("*.js") if VENDOR not in path.parents)
MOST_LINES = 300
IMPORT = re.compile(r'^(?:import|export) (?:[\w{}, ]+ from )?"([^"]+)";', re.MULTILINE)


def name(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_is_short_and_says_what_it_is(path: Path) -> None:
    """One thing each, told in its first line."""
    lines = path.read_text().splitlines()
    assert len(lines) <= MOST_LINES
    assert re.match(r"// [A-Z].+", lines[0])


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_imports_files_that_there_are(path: Path) -> None:
    """By relative paths only, so that it needs no build and no import map."""
    for imported in IMPORT.findall(path.read_text()):
        assert imported.startswith("."), imported
        assert (path.parent / imported).resolve().is_file(), imported


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_everything_that_is_imported_is_used(path: Path) -> None:
    """What nobody needs is not loaded."""
    text = path.read_text()
    for names in re.findall(r"^import \{([^}]+)\} from", text, re.MULTILINE):
        for one in (part.split(" as ")[-1].strip() for part in names.split(",")):
            assert len(re.findall(rf"\b{one}\b", text)) > 1, one


def test_libraries_have_one_door() -> None:
    """Preact, htm and signals come through html.js, charts through parts/chart.js."""
    doors = {name(path) for path in MODULES if "/vendor/" in path.read_text() or '"./vendor/' in path.read_text()}
    assert {"html.js", "parts/chart.js"} == doors


def test_nothing_is_put_into_the_page_as_markup() -> None:
    """What tasks hold is text, whatever it looks like."""
    unsafe = re.compile(r"innerHTML|dangerouslySet|document\.write|eval\(|new Function|insertAdjacentHTML")
    assert [] == [name(path) for path in MODULES if unsafe.search(path.read_text())]


def test_pages_are_not_used_by_parts() -> None:
    """A part serves any page, and knows none."""
    assert [] == [name(path) for path in MODULES if path.parent.name == "parts" and "/pages/" in path.read_text()]


def test_the_licences_of_what_is_vendored_lie_beside_it() -> None:
    """Each with its version."""
    licences = (VENDOR / "LICENSES").read_text()
    for one in ("preact", "htm", "@preact/signals", "uplot", "@fontsource-variable/inter"):
        assert re.search(rf"^{one} \d+\.\d+", licences, re.MULTILINE)


def test_everything_that_is_exported_is_imported_somewhere() -> None:
    """Nothing lies about."""
    texts = {name(path): path.read_text() for path in MODULES}
    exported = re.compile(r"^export (?:async )?(?:const|function|class) (\w+)", re.MULTILINE)
    assert [] == [
        f"{one}: {word}"
        for one, text in texts.items()
        for word in exported.findall(text)
        if not any(re.search(rf"\b{word}\b", other) for place, other in texts.items() if place != one)
    ]
