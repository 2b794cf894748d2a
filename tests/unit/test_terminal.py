"""What `taskpost up` writes, and the sentences it refuses with."""

from __future__ import annotations

import io
import shlex
import socket
from collections import Counter
from pathlib import Path

import pytest

from service.ports import PortTaken, check_port, free_port
from service.redaction import without_password
from service.terminal import Terminal, signature
from service.up import Options, Up, example, up


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def written(out: io.StringIO, env: dict[str, str]) -> str:
    Terminal(out, env).more(Counter(succeeded=1200, running=34))
    return out.getvalue()


def test_colours_are_for_terminals_whose_owner_wants_them() -> None:
    """A file and a NO_COLOR terminal get plain text."""
    plain = "              … and 1,234 more: 1,200 succeeded, 34 running\n"
    assert f"\033[2m{plain[:-1]}\033[0m\n" == written(Screen(), {})
    assert plain == written(Screen(), {"NO_COLOR": "1"})
    assert plain == written(io.StringIO(), {})


def test_columns_are_aligned() -> None:
    """An empty first column goes on with the row above."""
    out = io.StringIO()
    Terminal(out, {}).rows([("API", "one"), ("handlers", "two"), ("", "three")])
    assert out.getvalue() == "  API       one\n  handlers  two\n            three\n"


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    """Closing the window does not crash the parts on their way out."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    Terminal(Gone(), {}).line("nobody reads this")


def test_a_handler_reads_as_one_would_declare_it() -> None:
    """Names, types and defaults, from the schema that workers publish."""
    schema = {
        "properties": {"a": {"type": "integer"}, "to": {"type": "string", "default": "you"}, "any": {}},
        "required": ["a", "any"],
    }
    assert signature({"name": "demo.add", "args_schema": schema}) == "demo.add(a: int, to: str = 'you', any)"
    assert signature({"name": "demo.none", "args_schema": {}}) == "demo.none()"


def test_a_taken_port_is_refused_with_one_that_is_free() -> None:
    """The sentence names the port, and another that can be chosen at once."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=f"Port {port} on 127.0.0.1 is taken") as refused:
            check_port("127.0.0.1", port)
        check_port("127.0.0.1", int(str(refused.value).rpartition("--port ")[2]))


async def test_up_on_a_taken_port_starts_nothing(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One sentence, exit status 1, and no data folder."""
    data = tmp_path / "data"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert await up(Options(port=port, data=data)) == 1
    assert capsys.readouterr().out.startswith(f"taskpost up: Port {port} on 127.0.0.1 is taken")
    assert not data.exists()


def test_a_free_port_can_be_listened_on() -> None:
    """`--port 0` means any."""
    port = free_port("127.0.0.1")
    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port


def test_the_example_can_be_pasted() -> None:
    """A shell reads one curl with the submission as one word."""
    words = shlex.split(example("http://127.0.0.1:8080", has_key=False))
    assert words[0] == "curl"
    assert words[-1] == '{"name": "demo.add", "args": {"a": 2, "b": 3}}'
    assert '"authorization: Bearer $TASKPOST_API_KEY"' in example("http://127.0.0.1:8080", has_key=True)


@pytest.mark.parametrize(
    ("shown", "url"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("rediss://user:***@host:6380/1", "rediss://user:secret@host:6380/1"),
        ("redis://:***@host", "redis://:p@ss@host"),
        ("redis+sentinel://:***@a:1,b:2/x/0?password=[hidden]", "redis+sentinel://:p@a:1,b:2/x/0?password=q"),
    ],
)
def test_a_password_is_not_shown(shown: str, url: str) -> None:
    """What stands on the screen may be pasted into a chat."""
    assert without_password(url) == shown


@pytest.mark.parametrize(
    ("host", "given", "expected"),
    [
        ("127.0.0.1", None, True),
        ("::1", "", True),
        ("localhost", None, True),
        ("0.0.0.0", None, False),
        ("192.0.2.1", None, False),
        ("a.example", None, False),
        ("127.0.0.1", "0", False),
        ("0.0.0.0", "1", True),
    ],
)
def test_development_mode_is_for_those_who_can_only_be_reached_from_here(
    host: str, given: str | None, expected: bool
) -> None:
    """`up` lets URL tasks call this machine, unless others may submit them; the variable wins."""
    env = {} if given is None else {"TASKPOST_DEV": given}
    made = Up(Options(host=host, port=1), env, Terminal(io.StringIO(), env))
    assert expected is made.is_dev
