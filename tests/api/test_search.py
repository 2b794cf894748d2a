"""`GET /v1/tasks` by several filters, and what is said of filters that nothing can have."""

from __future__ import annotations

from typing import Any

import pytest

from service.cli import main
from tests.api.serving import ADD, Serving
from tests.store.acting import Worker


async def found(api: Serving, **filters: Any) -> list[str]:
    answer = await api.http.get("/v1/tasks", params=filters)
    assert 200 == answer.status_code, answer.text
    return [task["id"] for task in answer.json()["items"]]


async def test_tasks_are_found_by_any_mix_of_filters(api: Serving, worker: Worker) -> None:
    """Several states, a pattern of the name, type of error, times."""
    failed = await api.submitted({**ADD, "tags": ["a"]})
    await worker.fail(*await worker.lease())
    waiting = await api.submitted({**ADD, "tags": ["a"]})
    assert [waiting["id"], failed["id"]] == await found(api, state="queued,failed", name="demo.*", tag="a")
    assert [failed["id"]] == await found(api, error_type="Value*", finished_after=failed["created_at"])
    assert [] == await found(api, error_type="Value*", finished_before=failed["created_at"])
    assert [failed["id"]] == await found(api, attempts=">0", name="demo.*", tag="a")
    assert [waiting["id"]] == await found(api, attempts="0", name="demo.*", tag="a")
    assert [] == await found(api, created_before="1970-01-01T00:00:00Z")
    assert [waiting["id"]] == await found(api, state="queued", created_after=failed["created_at"])
    page = (await api.http.get("/v1/tasks", params={"state": "queued,failed", "limit": 1})).json()
    assert [failed["id"]] == await found(api, state="queued,failed", limit=1, cursor=page["next_cursor"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("state", "queued,gone"),
        ("state", "queued,"),
        ("http_status", "5x"),
        ("http_status", "600"),
        ("attempts", ">"),
        ("created_after", "yesterday"),
        ("finished_before", "2026-11-22T03:00:00"),
        ("error_type", ""),
        ("name", "a b"),
    ],
)
async def test_filters_that_make_no_sense_are_refused(api: Serving, name: str, value: str) -> None:
    """By their names."""
    answer = await api.http.get("/v1/tasks", params={name: value})
    assert (422, [name]) == (answer.status_code, [fault["parameter"] for fault in answer.json()["errors"]])


def test_the_command_line_names_the_state_that_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    """Before anybody is asked."""
    with pytest.raises(SystemExit):
        main(["list", "--state", "failed,qeued"])
    assert "did you mean queued?" in capsys.readouterr().err
