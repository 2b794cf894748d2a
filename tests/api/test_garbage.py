"""
What a request leaves behind in the API's process: nothing that only the cycle collector would find.
"""

from __future__ import annotations

import gc

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from tests.api.serving import ADD, Serving


async def test_requests_leave_nothing_to_the_collector(api: Serving) -> None:
    """No request waits for tens of milliseconds while the remains of thousands before it are looked through."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await api.submitted(ADD)
            await api.http.get("/v1/queues")
        left = sum(isinstance(one, RequestResponseCycle) for one in gc.get_objects())
    finally:
        gc.enable()
    assert left <= 2  # that of the connection
