"""
`/v1/endpoints/{endpoint}/auth`: credentials go in, and never out; and what receivers check identity tokens with.
"""

from __future__ import annotations

from starlette.responses import Response

from service.api.answers import json_answer
from service.api.given import body_of
from service.api.runtime import Asked
from service.credentials import SECRET_FIELDS, faults_of, masked
from service.endpoint import named
from service.errors import InvalidSubmission, NotFound
from service.identity import IdentityKey
from service.submission import counted, shortened

WHAT = "the set of credentials"
KEYS_PATH = "/.well-known/jwks.json"
KEEP_KEYS = "public, max-age=300"


def endpoint_in(asked: Asked) -> str:
    """The endpoint that the path names. Raises NotFound, since nothing else can have such a name."""
    try:
        return named(asked.path["endpoint"])
    except ValueError as exc:
        raise NotFound(shortened(str(exc))) from exc


async def get_auth(asked: Asked) -> Response:
    """`GET /v1/endpoints/{endpoint}/auth`"""
    runtime, endpoint = asked.runtime, endpoint_in(asked)
    found = await runtime.within(runtime.require_store().endpoint_settings.read(runtime.namespace, endpoint))
    if "auth" not in found:
        raise NotFound(f"the endpoint {endpoint} has no credentials; PUT sets them")
    return json_answer(masked(found["auth"]))


async def put_auth(asked: Asked) -> Response:
    """`PUT /v1/endpoints/{endpoint}/auth`"""
    runtime, endpoint = asked.runtime, endpoint_in(asked)
    auth = await body_of(asked, "EndpointAuth", WHAT, secrets=(*SECRET_FIELDS, "headers"))
    if faults := faults_of(auth, endpoint, runtime.settings, runtime.rules):
        raise InvalidSubmission(counted(faults, WHAT), errors=faults)
    settings = runtime.require_store().endpoint_settings
    stored = await runtime.within(settings.put(runtime.namespace, endpoint, "auth", auth))
    return json_answer(masked(stored["auth"]))


async def delete_auth(asked: Asked) -> Response:
    """`DELETE /v1/endpoints/{endpoint}/auth`"""
    runtime, endpoint = asked.runtime, endpoint_in(asked)
    settings = runtime.require_store().endpoint_settings
    if "auth" not in await runtime.within(settings.read(runtime.namespace, endpoint)):
        raise NotFound(f"the endpoint {endpoint} has no credentials")
    await runtime.within(settings.put(runtime.namespace, endpoint, "auth", None))
    return Response(status_code=204)


# ---------------------------------------------------------------- for receivers


async def get_openid_configuration(asked: Asked) -> Response:
    """`GET /.well-known/openid-configuration`"""
    issuer = asked.runtime.settings.public_url.rstrip("/")
    return json_answer(
        {
            "issuer": issuer,
            "jwks_uri": issuer + KEYS_PATH,
            "id_token_signing_alg_values_supported": ["ES256"],
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "claims_supported": ["iss", "sub", "aud", "iat", "exp"],
        }
    )


async def get_key_set(asked: Asked) -> Response:
    """`GET /.well-known/jwks.json`"""
    runtime = asked.runtime
    keys = await runtime.within(runtime.require_store().secrets.identity())
    answer = json_answer({"keys": [IdentityKey(pem).jwk for pem in keys]})
    answer.headers["cache-control"] = KEEP_KEYS
    return answer
