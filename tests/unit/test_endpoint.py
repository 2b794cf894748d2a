"""The one name of an endpoint."""

from __future__ import annotations

import pytest

from service.endpoint import endpoint_of, named


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://api.example.com/a?b=c#d", "https:api.example.com"),
        ("HTTPS://API.example.COM:443", "https:api.example.com"),
        ("https://api.example.com./", "https:api.example.com"),
        ("https://api.example.com:8443/", "https:api.example.com:8443"),
        ("http://api.example.com:443/", "http:api.example.com:443"),
        ("http://127.0.0.1:80/", "http:127.0.0.1"),
        ("http://[2001:DB8::1]:8080/a", "http:[2001:db8::1]:8080"),
        ("http://a_b.internal", "http:a_b.internal"),
    ],
)
def test_a_url_calls_an_endpoint(url: str, expected: str) -> None:
    """And the name of an endpoint is its own name."""
    assert expected == endpoint_of(url)
    assert expected == named(expected)


@pytest.mark.parametrize(
    "url", ["", "api.example.com", "ftp://a", "https://", "https://a:99999", "https://ä.example", "https://-a"]
)
def test_what_calls_none_is_told(url: str) -> None:
    with pytest.raises(ValueError):
        endpoint_of(url)
