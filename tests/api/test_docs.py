"""
The pages for people: the contract at /docs, and what each type of problem means where its `type` leads.
"""

from __future__ import annotations

import re

import pytest

from service.errors import Problem
from service.problem_types import REMEDIES, problem_types
from tests.api.serving import Serving

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_the_docs_load_nothing_from_elsewhere(api: Serving) -> None:
    """A network without the Internet shows the same pages; whatever the viewer asks for, the browser refuses."""
    page = await api.http.get("/docs")
    assert (200, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert not re.search(r"https?:|unsafe-eval", policy)
    assert [] == [link for link in re.findall(r'(?:src|href)="([^"]+)"', page.text) if "://" in link]


async def test_everything_that_the_docs_name_is_there(api: Serving) -> None:
    """The page is not empty because a file of the viewer is missing from the package."""
    page = await api.http.get("/docs")
    for link in re.findall(r'src="([^"]+)"', page.text):
        part = await api.http.get(f"/{link}")
        assert (200, "text/javascript; charset=utf-8") == (part.status_code, part.headers["content-type"]), link
        assert "nosniff" == part.headers["x-content-type-options"]


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [("gzip, deflate, br", "gzip"), ("identity", None), ("gzip;q=0", None), ("", None), ("gzip;q=0.5", "gzip")],
)
async def test_the_viewer_is_packed_for_whoever_can_unpack_it(
    api: Serving, accepted: str, encoding: str | None
) -> None:
    """A browser loads a megabyte instead of three and a half; curl still gets what it can read."""
    answer = await api.http.get("/docs/scalar-1.46.4.js", headers={"accept-encoding": accepted})
    assert encoding == answer.headers.get("content-encoding")
    assert answer.text.startswith("/**")
    assert "Accept-Encoding" == answer.headers["vary"]


@pytest.mark.parametrize("name", ["..%2fdocs.py", "LICENSE", "docs.html", "nothing.js", "%2e%2e"])
async def test_no_other_file_is_served(api: Serving, name: str) -> None:
    """A path leads out of the folder nowhere."""
    answer = await api.http.get(f"/docs/{name}")
    assert (404, "/problems/not-found") == (answer.status_code, answer.json()["type"])


async def test_the_type_of_a_problem_leads_to_its_page(api: Serving) -> None:
    """Who follows `type` in a browser reads what is wrong, what to do, an example, and where it comes from."""
    problem = (await api.http.get("/v1/tasks/01M819EKHX02FJFH0TDFHXG001")).json()
    page = await api.http.get(problem["type"], headers=BROWSER)
    assert (200, "text/html; charset=utf-8") == (page.status_code, page.headers["content-type"])
    assert "unsafe-inline" not in page.headers["content-security-policy"]
    for expected in (problem["title"], "What to do", "For example", '"status": 404', "/v1/tasks/{id}/cancel"):
        assert expected in page.text
    styles = re.findall(r'href="\.\./(docs/[^"#]+)"', page.text)
    assert [200] == [(await api.http.get(f"/{one}")).status_code for one in styles]


async def test_programs_read_the_same_as_json(api: Serving) -> None:
    """Whoever does not ask for HTML gets data."""
    one = (await api.http.get("/problems/store-full")).json()
    assert ("/problems/store-full", 503) == (one["type"], one["status"])
    assert "POST /v1/tasks" in one["operations"]
    listed = (await api.http.get("/problems")).json()
    assert one in listed["items"]


async def test_the_list_of_problems_is_a_page_too(api: Serving) -> None:
    """A browser sees every type, each with a link to its page."""
    page = await api.http.get("/problems", headers=BROWSER)
    links = set(re.findall(r'href="(problems/[a-z-]+)"', page.text))
    assert {f"problems/{slug}" for slug in problem_types()} == links
    for link in links:
        assert 200 == (await api.http.get(f"/{link}", headers=BROWSER)).status_code, link


async def test_an_unknown_type_is_said_to_be_none(api: Serving) -> None:
    """A slip in the address tells where the list is."""
    answer = await api.http.get("/problems/no-such", headers=BROWSER)
    assert 404 == answer.status_code
    assert "/problems lists" in answer.json()["detail"]


def test_every_status_has_a_remedy() -> None:
    """No page of a problem leaves its reader without anything to do."""
    assert set() == {one.status for one in problem_types().values()} - REMEDIES.keys()


def test_every_type_of_the_error_tree_has_a_page() -> None:
    """Whatever the service answers can be looked up."""
    kinds, found = [Problem], set()
    while kinds:
        kind = kinds.pop()
        found |= {kind.type} if "type" in vars(kind) else set()
        kinds += kind.__subclasses__()
    assert found == set(problem_types())
