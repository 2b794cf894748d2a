"""Signing secrets over HTTP: shown with care, rotated with an overlap."""

from __future__ import annotations

from typing import Any

import pytest

from service.store import Store
from tests.api.serving import Serving, serving
from tests.servers import Server


async def listed(api: Serving, **query: str) -> list[dict[str, Any]]:
    answer = await api.http.get("/v1/secrets", params=query)
    assert 200 == answer.status_code, answer.text
    assert "no-store" == answer.headers["cache-control"]
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


async def test_a_secret_is_there_when_somebody_asks(api: Serving) -> None:
    """Masked unless the request says so; the public key is always readable, the private one never."""
    (masked,) = await listed(api)
    (whole,) = await listed(api, reveal="true")
    assert whole["secret"].startswith("whsec_")
    assert f"whsec_…{whole['secret'][-4:]}" == masked["secret"]
    assert whole["public_key"] == masked["public_key"]
    assert masked["public_key"].startswith("whpk_")
    assert (None, {"secret", "public_key", "created_at", "expires_at"}) == (masked["expires_at"], set(masked))
    assert "whsk_" not in str(whole)


async def test_a_rotation_shows_the_new_secret_once(api: Serving) -> None:
    """The old one signs along for a day unless told otherwise, and is masked."""
    (before,) = await listed(api, reveal="true")
    new, old = (await api.http.post("/v1/secrets/rotate")).json()["items"]
    assert before["secret"] != new["secret"]
    assert new["secret"] == (await listed(api, reveal="true"))[0]["secret"]
    assert f"whsec_…{before['secret'][-4:]}" == old["secret"]
    assert (None, True) == (new["expires_at"], old["expires_at"] > new["created_at"])


async def test_a_leaked_secret_ends_at_once(api: Serving) -> None:
    await listed(api)
    answer = await api.http.post("/v1/secrets/rotate", json={"overlap_seconds": 0})
    assert 1 == len(answer.json()["items"]) == len(await listed(api))


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"overlap_seconds": -1}, "/overlap_seconds"),
        ({"overlap_seconds": 2_592_001}, "/overlap_seconds"),
        ({"overlap_seconds": None}, "/overlap_seconds"),
        ({"overlap": 1}, "/overlap"),
        ([], ""),
    ],
)
async def test_a_rotation_with_faults_changes_nothing(api: Serving, body: Any, pointer: str) -> None:
    """Each fault has its place."""
    before = await listed(api, reveal="true")
    answer = await api.http.post("/v1/secrets/rotate", json=body)
    assert (422, [pointer]) == (answer.status_code, [one["pointer"] for one in answer.json()["errors"]])
    assert before == await listed(api, reveal="true")


async def test_a_rotation_must_be_json(api: Serving) -> None:
    for content, kind, status in ((b"{", "application/json", 400), (b"a=1", "application/x-www-form-urlencoded", 415)):
        answer = await api.http.post("/v1/secrets/rotate", content=content, headers={"content-type": kind})
        assert status == answer.status_code
    assert 1 == len(await listed(api))


async def test_too_many_rotations_are_refused_with_a_way_out(api: Serving) -> None:
    await listed(api)
    for _ in range(4):
        assert 200 == (await api.http.post("/v1/secrets/rotate")).status_code
    answer = await api.http.post("/v1/secrets/rotate")
    assert 422 == answer.status_code
    assert "overlap_seconds 0" in answer.json()["detail"]


async def test_secrets_need_the_key(redis_url: str, store: Store) -> None:
    """As everything does; a wrong word for reveal is told."""
    async with serving(redis_url, api_key="k") as api:
        assert 401 == (await api.http.get("/v1/secrets?reveal=true")).status_code
        assert 401 == (await api.http.post("/v1/secrets/rotate")).status_code
        bearer = {"authorization": "Bearer k"}
        assert 422 == (await api.http.get("/v1/secrets?reveal=yes", headers=bearer)).status_code


async def test_secrets_stay_out_of_the_log(
    api: Serving, redis_server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever was asked for."""
    caplog.set_level("DEBUG")
    whole = await listed(api, reveal="true")
    await api.http.post("/v1/secrets/rotate", json={"overlap_seconds": "x"})
    assert whole[0]["secret"] not in caplog.text
    assert "whsk_" not in caplog.text
