"""
The pages of the documentation as programs: their blocks, and a desk at which a reader follows one page.

Blocks in `sh`, `bash` and `python` are run, in their order, unless `<!-- not run: reason -->` stands before them.
A page speaks of http://127.0.0.1:8080, of ids that it made up, and leaves out the key; the desk puts real ones in
their place. `<!-- before: … -->` is shell that makes what the block needs and sets `id` for the ids in it;
`<!-- printed -->` stands before what the block above it prints, with … for what differs each time.
The fact to know: a block that starts with `# name.py` is a file, and is also written under that name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from service.ports import free_port

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "docs/tutorials", "docs/how-to", "docs/reference")
PAGES = [ROOT / "README.md", *(page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md")))]
BLOCK = re.compile(
    r"^(?P<note><!-- (?P<word>not run|before|printed):? ?(?P<said>.*?) ?-->\n\n?)?"
    r"```(?P<language>\w*)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
RUN = ("sh", "bash", "python")
COMMAND = re.compile(r"(#.*\n)*(curl|taskpost|scripts/|python3?|pip|kubectl|heroku|redis-cli|docker) ")
FILE = re.compile(r"# (\S+\.py)\b")
SHOWN_ID = re.compile(r"\b01M8[0-9A-Z]{22}\b")
SHOWN_WORKER = "web-1-2210"
BLOCK_SECONDS = 120


class Block(NamedTuple):
    language: str
    text: str
    line: int
    word: str
    said: str

    @property
    def is_run(self) -> bool:
        return self.language in RUN and self.word != "not run"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of *page* in their order."""
    text = page.read_text()
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        yield Block(found["language"], found["text"], line, found["word"] or "", found["said"] or "")


# ---------------------------------------------------------------- the desk

CURL = """#!/bin/bash
# What is refused fails; a stream that does not end is looked at for a while. Pages leave out the key.
case "$*" in *uthorization*) ;; *) set -- -H "Authorization: Bearer $TASKPOST_API_KEY" "$@" ;; esac
for word; do [ "$word" = -N ] && set -- --max-time 2 "$@"; done
command -p curl -sS --fail-with-body "$@"
status=$?
[ "$status" = 28 ] && exit 0
exit "$status"
"""
TASKPOST = """#!/bin/bash
# Parts that a page starts run beside it to its end; of what does not end by itself the beginning is seen.
taskpost=({python} -m service.cli)
case "${{1:-}}" in
up | worker | scheduler)
    case "$*" in scheduler | *--handlers*) ;; *) exit 0 ;; esac
    part=${{1/up/worker}}
    "${{taskpost[@]}}" "$part" "${{@:2}}" >"$part.log" 2>&1 &
    echo $! >>"$DESK/pids"
    until grep -qE "(is|scheduler:) ready" "$part.log"; do
        kill -0 $! || {{ cat "$part.log" >&2; exit 1; }}
        sleep 0.05
    done
    ;;
listen)
    "${{taskpost[@]}}" listen --port "$LISTEN_PORT" "${{@:2}}" >listen.log 2>&1 &
    echo $! >>"$DESK/pids"
    until grep -q Listening listen.log; do
        kill -0 $! || {{ cat listen.log >&2; exit 1; }}
        sleep 0.05
    done
    ;;
tail) timeout --signal INT 3 "${{taskpost[@]}}" "$@" || [ $? = 124 ] || [ $? = 130 ] ;;
*) exec "${{taskpost[@]}}" "$@" </dev/null ;;
esac
"""
CONSOLE = """
import ast, asyncio, contextlib, inspect, io, json, sys, traceback
names, answers = {"__name__": "page"}, sys.stdout
for line in sys.stdin:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        try:
            code = compile(json.loads(line), "page", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            if inspect.iscoroutine(left := eval(code, names)):
                asyncio.run(left)
            fault = None
        except BaseException:
            fault = traceback.format_exc()
    print(json.dumps([shown.getvalue(), fault]), file=answers, flush=True)
"""


class Desk:
    """One reader with a folder, a shell and a Python, before the API at *url*."""

    def __init__(self, folder: Path, url: str, worker: str, **env: str) -> None:
        self.folder, self.url, self.worker = folder, url, worker
        programs = folder / ".desk"
        (programs / "bin").mkdir(parents=True)
        for name, text in (("curl", CURL), ("taskpost", TASKPOST.format(python=sys.executable))):
            (programs / "bin" / name).write_text(text)
            (programs / "bin" / name).chmod(0o755)
        (folder / "scripts").mkdir()
        (folder / "scripts/up").symlink_to(programs / "bin/taskpost")
        (folder / "examples").symlink_to(ROOT / "examples")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("TASKPOST_", "REDIS_"))}
        path = f"{programs / 'bin'}:{Path(sys.executable).parent}:{kept.get('PATH', '')}"
        self.env = {**kept, **env, "PATH": path, "DESK": str(programs), "TASKPOST_URL": url, "NO_COLOR": "1"}
        self.env["PYTHONPATH"] = f"{ROOT}:{folder}"
        self.env["LISTEN_PORT"] = str(free_port("127.0.0.1"))
        self.console: subprocess.Popen[str] | None = None

    def follow(self, block: Block) -> str:
        """Run it as it is shown; what it printed. AssertionError when anything of it failed."""
        text = self.real(block.text)
        if named := FILE.match(text):
            (self.folder / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / named[1]).write_text(text)
            if named[1].startswith("test_"):  # the page lets pytest run it
                return ""
        if block.language == "python":
            return self.typed(text)
        before = self.real(block.said) if block.word == "before" else ""
        if not before and SHOWN_ID.search(block.text):
            before = "id=$(taskpost submit demo.add a=1 b=1 --wait --json | jq -r .id)"
        return self.entered(f"{before}\n{SHOWN_ID.sub('$id', text)}")

    def real(self, text: str) -> str:
        host = self.url.removeprefix("http://")
        text = re.sub(r"\b(127\.0\.0\.1|localhost):8080\b", host, text)
        text = text.replace("127.0.0.1:9000", f"127.0.0.1:{self.env['LISTEN_PORT']}")
        return text.replace(SHOWN_WORKER, self.worker)

    def entered(self, text: str) -> str:
        """By a shell that knows the variables of the blocks before."""
        kept = self.folder / ".desk/variables"
        script = f"set -aeuo pipefail\n[ -f {kept} ] && . {kept}\n{text}\nexport -p >{kept}\n"
        ran = subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=BLOCK_SECONDS,
        )  # fmt: skip
        assert 0 == ran.returncode, f"{text}\nended with {ran.returncode}\n{ran.stdout}{ran.stderr}"
        return ran.stdout

    def typed(self, text: str) -> str:
        """Into a Python that knows the names of the blocks before."""
        if self.console is None:
            self.console = subprocess.Popen(
                [sys.executable, "-c", CONSOLE],
                cwd=self.folder, env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert self.console.stdin
        assert self.console.stdout
        print(json.dumps(text), file=self.console.stdin, flush=True)
        shown, fault = json.loads(self.console.stdout.readline() or '["", "Python ended"]')
        assert fault is None, f"{text}\n{fault}"
        return str(shown)

    def leave(self) -> None:
        """End what the page started, by their numbers."""
        if self.console is not None:
            self.console.communicate(timeout=BLOCK_SECONDS)
        started = self.folder / ".desk/pids"
        for pid in started.read_text().split() if started.exists() else ():
            try:
                os.kill(int(pid), signal.SIGTERM)
            except ProcessLookupError:
                pass


def unlike(shown: str, printed: str) -> list[str]:
    """The lines of *shown* that *printed* lacks; … stands for anything, and an id for any id."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in printed.splitlines()]
    missing = []
    for line in shown.splitlines():
        wanted = re.escape(re.sub(r"\s+", " ", line).strip()).replace("…", ".*")
        wanted = SHOWN_ID.sub("[0-9A-Z]{26}", wanted)
        if wanted and not any(re.fullmatch(wanted, one) for one in lines):
            missing.append(line)
    return missing
