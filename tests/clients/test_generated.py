"""
Clients as public generators make them: each walks the whole journey against a running service, and calls a handler by
its own operation. What they are made of is the contract alone, so a fault here is a fault of the contract.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import JOURNEYS, ROOT, run

pytestmark = pytest.mark.full

PARSE_PHP = """
$all = new RegexIterator(new RecursiveIteratorIterator(new RecursiveDirectoryIterator('php')), '/[.]php$/');
foreach ($all as $file) { token_get_all(file_get_contents($file), TOKEN_PARSE); $n = ($n ?? 0) + 1; }
echo $n;
"""
PARSE_RUBY = "puts Dir['ruby/**/*.rb'].each { |file| RubyVM::InstructionSequence.compile_file(file) }.size"


@pytest.fixture(scope="session")
def compiled(clients: Path) -> Path:
    """The TypeScript journeys, which the compiler has accepted, strict as it can be."""
    for journey in JOURNEYS.glob("*.ts"):
        shutil.copy(journey, clients)
    run("npx", "tsc", cwd=clients)
    return clients / "built"


@pytest.mark.parametrize(("client", "journey"), [("python", "by_python.py"), ("httpx", "by_httpx.py")])
def test_python_walks_the_journey(clients: Path, service: str, client: str, journey: str) -> None:
    """Submit, wait, cancel, schedule, replay, a refusal, and a typed handler, by two generators."""
    assert "done\n" == run(sys.executable, JOURNEYS / journey, service, PYTHONPATH=str(clients / client))


@pytest.mark.parametrize("journey", ["fetch", "hey", "generated"])
def test_typescript_walks_the_journey(compiled: Path, service: str, journey: str) -> None:
    """The compiler knows arguments and results of a handler, and the program does what it says."""
    assert "done\n" == run("node", compiled / f"{journey}.js", service)


def test_go_walks_the_journey(clients: Path, service: str) -> None:
    """The client needs nothing but the standard library, and the journey compiles against its types."""
    folder = clients / "go"
    assert "require (\n)\n" in (folder / "go.mod").read_text()
    shutil.rmtree(folder / "test", ignore_errors=True)  # generated tests, which need a library
    (folder / "journey").mkdir(exist_ok=True)
    shutil.copy(JOURNEYS / "main.go", folder / "journey")
    go = shutil.which("go") or str(ROOT / ".venv" / "bin" / "go")
    assert "done\n" == run(go, "run", "./journey", service, cwd=folder, GOFLAGS="-mod=mod", GOPROXY="off")


def test_php_walks_the_journey(clients: Path, service: str) -> None:
    """Every file parses; the program runs on the Guzzle that Debian ships."""
    assert int(run("php", "-r", PARSE_PHP, cwd=clients)) > 100
    shutil.copy(JOURNEYS / "journey.php", clients)
    assert "done\n" == run("php", "-d", "include_path=/usr/share/php", "journey.php", service, cwd=clients)


def test_ruby_walks_the_journey(clients: Path, service: str) -> None:
    """Every file parses; the program runs on the Typhoeus that Debian ships."""
    assert int(run("ruby", "-e", PARSE_RUBY, cwd=clients)) > 100
    shutil.copy(JOURNEYS / "journey.rb", clients)
    assert "done\n" == run("ruby", "journey.rb", service, cwd=clients)


def test_no_name_is_made_up(clients: Path) -> None:
    """What a reader meets is called as in the contract: nothing is numbered, nothing stands for null or for a part."""
    models = {path.stem for path in (clients / "python" / "taskpost_client" / "models").glob("*.py")}
    assert {"task", "submission", "problem", "schedule", "email_send_args", "email_send_task"} <= models
    assert [] == [name for name in models if any(word in name for word in ("inline", "inner", "any_of", "200"))]
    httpx_models = {path.stem for path in (clients / "httpx" / "taskpost_client" / "models").glob("*.py")}
    assert [] == [name for name in httpx_models if "type_0" in name]


def test_every_operation_is_in_every_client(clients: Path) -> None:
    """No generator left out what it could not read: the one that warns of it had nothing to warn of."""
    log = (clients / "httpx.log").read_text()
    assert "WARNING" not in log, log
    apis = "".join(path.read_text() for path in (clients / "python" / "taskpost_client" / "api").glob("*.py"))
    for method in ("submit_task_stream", "send_post", "complete_attempt", "get_docs", "email_send", "explain_task"):
        assert f"def {method}(" in apis
