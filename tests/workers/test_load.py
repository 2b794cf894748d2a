"""Finding a user's handlers by `module[:attr]`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import InvalidHandler
from workers import registry
from workers.registry import Registry, load

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A directory to start a worker in, with a default registry of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(registry, "default_registry", Registry())
    monkeypatch.setattr("workers.task", registry.default_registry.task)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(places: str) -> list[str]:
    return sorted(handler.name for handler in load(places))


MODULE = "from workers import task, Registry\n"


def test_a_module_is_found_in_the_working_directory(home):
    """`--handlers app` loads ./app.py and what @task registered in it."""
    (home / "app.py").write_text(MODULE + "@task('a')\ndef a(): ...\n@task('b')\ndef b(): ...\n")
    assert ["a", "b"] == names("app")


def test_an_attribute_can_be_a_registry_a_handler_or_a_list(home):
    """`module:attr` picks."""
    (home / "app.py").write_text(
        MODULE + "mine = Registry()\n@mine.task('a')\ndef a(): ...\n@mine.task('b')\ndef b(): ...\nsome = [b]\n"
    )
    assert ["a", "b"] == names("app:mine")
    assert ["a"] == names("app:a")
    assert ["b"] == names("app:some")


def test_several_places_are_loaded_together(home):
    """`--handlers one,two`; the same handler twice is no conflict."""
    (home / "one.py").write_text(MODULE + "@task('a')\ndef a(): ...\n")
    (home / "two.py").write_text(MODULE + "@task('b')\ndef b(): ...\n")
    assert ["a", "b"] == names("one, two")


@pytest.mark.parametrize(
    ("source", "places", "told"),
    [
        ("", "nowhere", "there is no module 'nowhere' in"),
        ("", "app.deeper", "there is no module 'app.deeper' in"),
        ("", "app", "the module registers nothing with @task"),
        ("mine = Registry()", "app", "its registry is 'mine': say app:mine"),
        ("mine = Registry()", "app:mine", "'mine' holds no handlers"),
        ("mine = Registry()", "app:mime", "no 'mime': did you mean 'mine'?"),
        ("five = 5", "app:five", "'five' is int; needs a Registry"),
        ("import not_installed", "app", "ModuleNotFoundError: No module named 'not_installed'"),
        ("def f():\n    1 / 0\nf()", "app", 'app.py", line 3, in f'),
        ("raise SystemExit(3)", "app", "SystemExit: 3"),
        ("@task('a', retires=1)\ndef a(): ...", "app", "did you mean 'retries'?"),
        ("", " , ", "no module is named"),
    ],
)
def test_what_cannot_be_loaded_is_explained(home, source, places, told):
    """A worker that does not start says what to mend, with the traceback where the user's code raised."""
    (home / "app.py").write_text(MODULE + source + "\n")
    with pytest.raises(InvalidHandler) as refused:
        load(places)
    assert told in str(refused.value)
    assert "importlib" not in str(refused.value)


def test_a_users_package_with_our_name_is_pointed_out(home):
    """./workers/tasks.py cannot be loaded, since `workers` is ours; the text says to rename."""
    (home / "workers").mkdir()
    (home / "workers" / "tasks.py").write_text(MODULE)
    with pytest.raises(InvalidHandler, match="has the name of a package of Taskpost's"):
        load("workers.tasks")


def test_a_package_that_shadows_ours_is_refused_at_import(home):
    """A `service` of the user's that comes first on sys.path is named, instead of a puzzling ImportError."""
    (home / "service").mkdir()
    (home / "service" / "__init__.py").write_text("")
    script = f"import sys; sys.path[:0] = [{str(home)!r}]; sys.path.append({str(ROOT)!r}); import workers"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=home)
    assert 0 != answer.returncode
    assert f"another package called 'service' ({home / 'service' / '__init__.py'})" in answer.stderr
    assert "rename yours" in answer.stderr
