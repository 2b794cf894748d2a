"""What is installed is what was written: the contents of the wheel, the files of the image."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from service import __version__
from service.contract import contract_path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_one() -> None:
    """What `taskpost --version`, the package and the compose file's image say is the same."""
    assert PROJECT["version"] == __version__
    assert f"image: taskpost:{__version__}\n" in (ROOT / "docker" / "compose.yaml").read_text()


def test_the_contract_is_found_in_a_checkout() -> None:
    """An edit of openapi/openapi.yaml is served at the next start."""
    assert contract_path() == ROOT / "openapi" / "openapi.yaml"
    assert contract_path().exists()


def test_every_dependency_has_its_reason() -> None:
    """docs/decisions/0001-dependencies.md names each package that users must install."""
    reasons = (ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text()
    names = [line.split(">=")[0].split("[")[0] for line in PROJECT["dependencies"]]
    assert [] == [name for name in names if f"[{name.lower()}]" not in reasons.lower()]


def test_the_image_is_built_from_files_that_docker_is_given() -> None:
    """Each COPY of the Dockerfile is let through by .dockerignore, and exists."""
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in (ROOT / "docker" / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for source in line.split()[1:-1]
    ]
    assert sorted(given) == sorted(copied)
    assert [] == [source for source in copied if not (ROOT / source).exists()]


@pytest.mark.full
def test_a_wheel_works_without_the_checkout(tmp_path: Path) -> None:
    """Installed elsewhere, the scripts of the store, the contract and the dashboard are there."""
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True)
    (wheel,) = tmp_path.glob("taskpost-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    shown = subprocess.run(
        [sys.executable, "-c", "from service.contract import contract_path; print(contract_path())"],
        cwd=tmp_path / "installed",
        check=True,
        capture_output=True,
        text=True,
    )
    installed = tmp_path / "installed" / "service"
    assert Path(shown.stdout.strip()).read_bytes() == (ROOT / "openapi" / "openapi.yaml").read_bytes()
    assert shown.stdout.strip() == str(installed / "openapi.yaml")
    scripts = {path.name for path in (ROOT / "service" / "store" / "lua").glob("*.lua")}
    assert {path.name for path in (installed / "store" / "lua").glob("*.lua")} == scripts
    for folder in ("dashboard", "api/viewer"):
        there = ROOT / "service" / folder
        shipped = [path.relative_to(there) for path in there.rglob("*") if path.is_file()]
        assert shipped
        assert [] == [path for path in shipped if not (installed / folder / path).is_file()]
