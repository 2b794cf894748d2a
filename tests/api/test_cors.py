"""Pages of other origins: those that are named may use the API, with what browsers ask before; others may not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from service.errors import InvalidSetting
from service.settings import Settings
from service.store import Store
from tests.api.serving import ADD, Serving, serving

APP, OTHER = "https://app.example.com", "https://other.example.com"


@pytest.fixture
async def shared(store: Store, redis_url: str) -> AsyncIterator[Serving]:
    """An API with a key that pages of one origin, and of another, may use."""
    assert store.is_ready
    async with serving(redis_url, api_key="secret", cors_origins=f"{APP}, http://localhost:3000") as running:
        yield running


async def test_a_browser_is_told_what_a_page_may_do(shared: Serving) -> None:
    """The preflight needs no key, as browsers send none with it."""
    asked = {"Origin": APP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for path in ("/v1/tasks", "/v1/tasks/batch", "/v1/events", "/v1/nothing"):
        answer = await shared.http.options(path, headers=asked)
        assert (204, APP) == (answer.status_code, answer.headers["access-control-allow-origin"])
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert {"authorization", "content-type", "idempotency-key", "last-event-id"} <= set(
            answer.headers["access-control-allow-headers"].split(", ")
        )
        assert "access-control-allow-credentials" not in answer.headers


async def test_a_page_may_read_the_answers(shared: Serving) -> None:
    """Those that are written the quick way, problems, and streams, too."""
    key = {"Authorization": "Bearer secret", "Origin": APP}
    submitted = await shared.post(ADD, headers=key)
    answers = [
        submitted,
        await shared.post({"name": "of.nobody"}, headers=key),
        await shared.http.get(f"/v1/tasks/{submitted.json()['id']}", headers=key),
        await shared.http.get("/v1/tasks", headers={"Origin": APP}),
        await shared.http.get("/v1/nothing", headers=key),
        await shared.http.head("/v1/events", headers=key),
    ]
    assert [201, 422, 200, 401, 404, 200] == [answer.status_code for answer in answers]
    for answer in answers:
        assert (APP, "Origin") == (answer.headers["access-control-allow-origin"], answer.headers["vary"])
        assert "location" in answer.headers["access-control-expose-headers"]


async def test_other_pages_may_not(shared: Serving) -> None:
    """They get no leave, whatever they ask."""
    asked = {"Origin": OTHER, "Access-Control-Request-Method": "POST"}
    for answer in (
        await shared.http.options("/v1/tasks", headers=asked),
        await shared.post(ADD, headers={"Authorization": "Bearer secret", "Origin": OTHER}),
        await shared.post(ADD, headers={"Authorization": "Bearer secret"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_every_origin_may_be_let_in(store: Store, redis_url: str) -> None:
    """By a star; and none without the setting."""
    assert store.is_ready
    async with serving(redis_url, cors_origins="*") as api:
        assert OTHER == (await api.post(ADD, headers={"Origin": OTHER})).headers["access-control-allow-origin"]
    async with serving(redis_url) as api:
        assert "access-control-allow-origin" not in (await api.post(ADD, headers={"Origin": OTHER})).headers


NO_ORIGINS = ["app.example.com", "https://app.example.com/", "HTTPS://APP", "https://", "ftp://a", "null"]


@pytest.mark.parametrize("text", NO_ORIGINS)
def test_what_is_no_origin_is_refused_at_the_start(text: str) -> None:
    """With what is needed."""
    with pytest.raises(InvalidSetting, match=r"TASKPOST_CORS_ORIGINS=.*needs https://host"):
        Settings(cors_origins=f"{APP},{text}")
