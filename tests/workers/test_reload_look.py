"""What `--reload` looks at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workers.reload import changes, look, places_of


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a package and much that is not the project's."""
    here = tmp_path / "project"
    for path in ("shop/tasks.py", "shop/text.txt", ".git/hook.py", ".venv/a.py", "env/pyvenv.cfg", "env/lib/b.py",
                 "node_modules/c.py", "shop/__pycache__/d.py"):  # fmt: skip
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).touch()
    monkeypatch.chdir(here)
    return here


def names(seen: dict[str, tuple[int, int, int]]) -> list[str]:
    return sorted(os.path.relpath(path) for path in seen)


def test_python_files_of_the_project_are_looked_at_and_no_others(project: Path) -> None:
    """No hidden folder, no virtual environment, no cache."""
    assert ["shop/tasks.py"] == names(look(places_of("shop.tasks")))


def test_handlers_from_elsewhere_are_looked_at_where_they_lie(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package beside the project, and a single module, without importing them; what cannot be found is no fault."""
    (tmp_path / "lib" / "beside").mkdir(parents=True)
    (tmp_path / "lib" / "beside" / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "lib" / "single.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "lib" / "other.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    seen = look(places_of("shop.tasks, beside.tasks:registry,single,missing.module,"))
    assert ["../lib/beside/__init__.py", "../lib/single.py", "shop/tasks.py"] == names(seen)


def test_what_was_changed_added_and_removed_is_told(project: Path) -> None:
    """Also a file of the same length that was put in the place of another."""
    file = project / "shop" / "tasks.py"
    file.write_text("A = 1")
    places = places_of("shop")
    before = look(places)
    assert [] == changes(before, look(places))
    other = project / "other.txt"
    other.write_text("A = 2")
    os.utime(other, ns=(file.stat().st_mtime_ns,) * 2)
    other.rename(file)
    (project / "new.py").touch()
    assert ["new.py", "shop/tasks.py"] == changes(before, look(places))
    file.unlink()
    assert ["new.py", "shop/tasks.py"] == changes(before, look(places))
