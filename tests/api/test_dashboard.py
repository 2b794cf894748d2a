"""The dashboard's files as browsers get them: kept for ever by their content, packed, and shut in by their policy."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from service.api.dashboard import FOLDER, Dashboard
from tests.api.serving import Serving, serving


@pytest.fixture
async def api(redis_url: str) -> Any:
    async with serving(redis_url, api_key="geheim") as started:
        yield started


@pytest.mark.parametrize("path", ["/ui", "/ui/", "/ui/tasks", "/ui/tasks/01M819EKHX02FJFH0TDFHXG001", "/ui/x/a%2Fb"])
async def test_every_address_below_ui_is_the_page(api: Serving, path: str) -> None:
    """An address that was sent to somebody opens where it points; the page itself needs no key."""
    answer = await api.http.get(path, headers={"authorization": ""})
    assert (200, "text/html") == (answer.status_code, answer.headers["content-type"])
    assert "main.js" in answer.text
    assert "no-cache" == answer.headers["cache-control"]


async def test_the_page_names_files_that_there_are_and_that_browsers_keep(api: Serving) -> None:
    """Each file is there, of its type, and kept for ever under the name of what is in it."""
    page = (await api.http.get("/ui")).text
    named = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert len(named) > 40
    for path in named:
        answer = await api.http.get(path)
        assert 200 == answer.status_code, path
        assert "public, max-age=31536000, immutable" == answer.headers["cache-control"]
        if path.endswith(".js"):
            assert "text/javascript; charset=utf-8" == answer.headers["content-type"]


async def test_every_module_is_named_by_the_page(api: Serving) -> None:
    """A browser fetches all at once, instead of finding one behind the other."""
    page = (await api.http.get("/ui")).text
    assert [] == [path.name for path in FOLDER.rglob("*.js") if f"/{path.relative_to(FOLDER).as_posix()}" not in page]


async def test_a_browser_is_told_to_load_nothing_from_elsewhere(api: Serving) -> None:
    """Page and files carry a policy without exceptions: no inline script, no foreign host, no frame around it."""
    for path in ("/ui", re.findall(r'src="([^"]+main\.js)"', (await api.http.get("/ui")).text)[0]):
        policy = (await api.http.get(path)).headers["content-security-policy"]
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy.split("; "))
        assert "unsafe" not in policy


async def test_what_a_browser_has_is_not_sent_again(api: Serving) -> None:
    """The page is asked for by its ETag, in either packing."""
    for packing in ("gzip", "identity"):
        first = await api.http.get("/ui", headers={"accept-encoding": packing})
        again = await api.http.get("/ui", headers={"accept-encoding": packing, "if-none-match": first.headers["etag"]})
        assert (304, b"") == (again.status_code, again.content)
        other = await api.http.get("/ui", headers={"accept-encoding": packing, "if-none-match": '"other"'})
        assert 200 == other.status_code


async def test_files_are_sent_packed_to_who_can_unpack(api: Serving) -> None:
    """The whole dashboard is small on the wire; who cannot unpack gets it as it is."""
    path = re.findall(r'src="([^"]+main\.js)"', (await api.http.get("/ui")).text)[0]
    packed = await api.http.get(path, headers={"accept-encoding": "gzip"})
    plain = await api.http.get(path, headers={"accept-encoding": "identity"})
    assert ("gzip", None) == (packed.headers["content-encoding"], plain.headers.get("content-encoding"))
    assert plain.content == packed.content == (FOLDER / "main.js").read_bytes()
    assert plain.headers["etag"] != packed.headers["etag"]


async def test_a_file_of_another_version_is_not_kept(api: Serving) -> None:
    """While a deploy is under way, the page of one version may ask the process of another."""
    answer = await api.http.get("/ui/-/0123456789ab/main.js")
    assert (200, "no-store") == (answer.status_code, answer.headers["cache-control"])


async def test_what_is_not_there_is_a_problem(api: Serving) -> None:
    """A file that there is not, one outside of the folder, and a method that reads nothing."""
    for path in ("/ui/-/0/none.js", "/ui/-/0", "/ui/-/0/%2e%2e/%2e%2e/api/app.py", "/ui/-/0/..%2fapp.py"):
        assert (404, "application/problem+json") == status_and_type(await api.http.get(path)), path
    refused = await api.http.post("/ui")
    assert (405, "application/problem+json") == status_and_type(refused)
    assert "GET, HEAD" == refused.headers["allow"]
    assert 404 == (await api.http.get("/uix")).status_code
    assert (200, b"") == ((head := await api.http.head("/ui")).status_code, head.content)


def status_and_type(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.headers["content-type"]


def test_the_name_of_the_files_changes_with_any_of_them(tmp_path: Path) -> None:
    """A browser never mixes the files of two versions."""
    (tmp_path / "index.html").write_text("<script src='{{files}}/a.js'></script>")
    (tmp_path / "a.js").write_text("1")
    before = Dashboard(tmp_path)
    (tmp_path / "a.js").write_text("2")
    assert before.hash != Dashboard(tmp_path).hash
    before.read()
    assert b"2" == before.files["a.js"].content


def test_all_of_it_is_small() -> None:
    """Under 200 KiB on the wire, the typeface and the charts among it: it opens at once, also far away."""
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.name != "LICENSES"]
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in files) < 200 * 1024
