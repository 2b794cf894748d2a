"""
The form of openapi/openapi.yaml: complete, its examples true, and free of what breaks client generators.

Refuses nothing about the running service: what it answers is held to this file elsewhere.
The one fact to know: the service validates with these very schemas, so a slip here is a slip in the API.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from service import __version__, errors
from service.apikeys import ALL
from tests.contract import test_every_status

CONTRACT = Path(__file__).parents[2] / "openapi" / "openapi.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
COMPONENTS: dict[str, Any] = DOCUMENT["components"]
SCHEMAS: dict[str, Any] = COMPONENTS["schemas"]
METHODS = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
REQUESTS = ("Submission", "RequestHeaders", "Backoff", "Unique", "Debounce", "Flow",
            "FlowPatch", "GroupPatch", "Callback", "Rotation", "WorkerStop",
            "WorkerSizes", "EndpointAuth", "EndpointChange", "EndpointEnabling", "EndpointDisabling", "EndpointTest",
            "Rescheduling", "BulkCancel", "BulkReplay", "BulkReschedule", "BulkPriority", "BulkDelete", "Canary",
            "ReplayEdits", "TaskFilter", "QueueSettings", "QueueStop", "QueuePurge", "RouteTable", "Route",
            "ScheduleDefinition", "SchedulePreview", "BackfillRequest", "CalendarInterval", "ApiKeyRequest",
            "RateLimitRequest", "Scope", "SessionRequest",
            "CompletionFailure", "CompletionDeferral", "CompletionProgress", "CompletionLog",
            "CompletionLine", "ReadTokenRequest")  # fmt: skip
FOR_ANY_KEY = ("getSession",)
LENIENT = ("CompletionFailure",)  # an error is taken as it was thrown
SCHEMA_WORDS = {
    "$ref", "type", "format", "description", "properties", "required", "additionalProperties", "items",
    "enum", "pattern", "default", "examples", "minimum", "maximum", "minLength", "maxLength", "minItems",
    "maxItems", "maxProperties",
}  # fmt: skip
OPERATION_IDS = {
    "submitTask", "submitTaskBatch", "submitTaskStream", "listTasks", "getTask", "getTaskResult",
    "listTaskAttempts", "cancelTask", "replayTask", "runTask", "rescheduleTask", "explainTask", "deleteTask",
    "listFlows", "getFlow", "updateFlow", "resetFlow", "listGroups", "updateGroup",
    "listQueues", "getQueue", "updateQueue", "deleteQueue", "pauseQueue", "drainQueue", "resumeQueue",
    "scaleQueue", "purgeQueue", "listRoutes", "putRoutes",
    "getStats", "listSlowAttempts", "getOverview", "getMetrics", "listWorkers",
    "getWorker", "quietWorker", "resumeWorker", "stopWorker", "resizeWorker", "listHandlers", "submitToHandler",
    "sendPost", "sendPut", "sendPatch", "sendDelete",
    "completeAttempt", "failAttempt", "deferAttempt", "sendHeartbeat", "reportProgress", "logLines",
    "createSchedule", "listSchedules", "getSchedule", "putSchedule", "updateSchedule", "deleteSchedule",
    "pauseSchedule", "resumeSchedule", "runSchedule", "previewSchedule", "previewNewSchedule", "listScheduleRuns",
    "listEndpoints", "getEndpoint", "updateEndpoint", "enableEndpoint", "disableEndpoint", "testEndpoint",
    "listBulk", "getBulk", "abortBulk", "bulkCancel", "bulkReplay", "bulkReschedule", "bulkPriority", "bulkDelete",
    "backfillSchedule", "listBackfills", "getBackfill", "abortBackfill",
    "listSecrets", "rotateSecrets", "listAudit", "listKeys", "createKey", "getKey", "revokeKey",
    "createSession", "getSession", "deleteSession",
    "getEndpointAuth", "putEndpointAuth", "deleteEndpointAuth",
    "streamEvents", "streamTaskEvents", "createReadToken",
    "getOpenidConfiguration", "getKeySet", "getLiveness", "getReadiness", "getContractJson", "getContractYaml",
    "getDocs", "getDocsFile", "listProblemTypes", "getProblemType",
}  # fmt: skip

Found = tuple[str, Any]


def resolve(node: Any) -> Any:
    """What *node* refers to; itself when it is no reference."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = DOCUMENT
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def walk(node: Any, where: str = "#") -> Iterator[Found]:
    """Each mapping in *node* with its place, examples and their data left out."""
    if isinstance(node, dict):
        yield where, node
        for key, child in node.items():
            if key not in {"example", "examples", "value"} or where.endswith("/properties"):
                yield from walk(child, f"{where}/{key}")
    elif isinstance(node, list):
        for index, child in enumerate(node):
            yield from walk(child, f"{where}/{index}")


def operations() -> Iterator[Found]:
    """Each operation with its place, the callback's included."""
    for where, node in walk({"paths": DOCUMENT["paths"]}):
        if "operationId" in node and "responses" in node:
            yield where, node


def media() -> Iterator[Found]:
    """Each media type object of requests and answers, with its place."""
    for where, node in walk({"paths": DOCUMENT["paths"], "responses": COMPONENTS["responses"]}):
        if where.endswith("/content"):
            for media_type, described in node.items():
                yield f"{where}/{media_type}", described


def validator(schema: dict[str, Any]) -> jsonschema_rs.Validator:
    """A validator of *schema* as the service makes it: references into the components, formats checked."""
    return jsonschema_rs.validator_for({**schema, "components": {"schemas": SCHEMAS}}, validate_formats=True)


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """What *schema* has against *value*."""
    return [f"{fault.instance_path}: {fault.message}" for fault in validator(schema).iter_errors(value)]


def schema_nodes() -> Iterator[Found]:
    """Each schema and subschema: of the components, of parameters, headers and media types."""
    roots = [(f"#/components/schemas/{name}", schema) for name, schema in SCHEMAS.items()]
    roots += [(where, node) for where, node in walk(DOCUMENT) if where.endswith("/schema")]
    for where, schema in roots:
        for inner, node in walk(schema, where):
            if not inner.endswith("/properties"):
                yield inner, node


def test_every_reference_leads_somewhere() -> None:
    """A reader and a generator find each part that the contract names."""
    dangling = []
    for where, node in walk(DOCUMENT):
        try:
            resolve(node)
        except KeyError:
            dangling.append((where, node["$ref"]))
    assert [] == dangling


def test_every_component_is_used() -> None:
    """Nothing in the contract is left over."""
    text = CONTRACT.read_text(encoding="utf-8")
    kinds = [kind for kind in COMPONENTS if kind != "securitySchemes"]
    unused = [f"{kind}/{name}" for kind in kinds for name in COMPONENTS[kind]
              if f"#/components/{kind}/{name}'" not in text]  # fmt: skip
    assert [] == unused


def test_contract_and_package_have_one_version() -> None:
    """The version that clients read is the one that is installed."""
    assert __version__ == DOCUMENT["info"]["version"]


def test_operation_ids_are_those_that_clients_call() -> None:
    """A method of a generated client never changes its name by accident."""
    outside = [node["operationId"] for where, node in operations() if "/callbacks/" not in where]
    assert sorted(OPERATION_IDS) == sorted(outside)


def test_every_operation_reads_well() -> None:
    """Each operation has a tag that is described, a summary, a description, and answers with descriptions."""
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    for where, operation in operations():
        assert operation["description"], where
        assert re.fullmatch(r".*[^.]", operation["summary"]), where
        assert set(operation["tags"]) <= tags, where
        assert all(resolve(answer)["description"] for answer in operation["responses"].values()), where
        for status, answer in operation["responses"].items():  # a comma in a plain text would begin another field
            assert {"description", "headers", "content", "links"} >= resolve(answer).keys(), (where, status)


def test_path_parameters_are_declared() -> None:
    """Each `{name}` of a path is a required parameter, and nothing else is."""
    for path, entry in DOCUMENT["paths"].items():
        for method in METHODS & entry.keys():
            declared = entry.get("parameters", []) + entry[method].get("parameters", [])
            inside = {resolve(one)["name"] for one in declared if resolve(one)["in"] == "path"}
            assert set(re.findall(r"{(\w+)}", path)) == inside, path


def test_every_parameter_and_header_is_described() -> None:
    """Each has a description and a schema, and each but the opaque cursor an example."""
    for where, node in walk(DOCUMENT):
        if ("in" in node and "schema" in node) or where.rsplit("/", 1)[0] == "#/components/headers":
            assert node["description"], where
            if "example" in node:
                assert [] == faults(node["schema"], node["example"]), where
            else:
                assert node["name"] == "cursor", where


def test_every_protected_operation_documents_its_problems() -> None:
    """401, 431 and 503 can meet every call of the API; 400, 413, 415 and 422 every one with a body."""
    for where, operation in operations():
        if operation.get("security") == [] or "/callbacks/" in where:
            continue
        assert {"401", "431", "503"} <= operation["responses"].keys(), where
        has_404 = "404" in operation["responses"]
        assert ("{id}" in where) == has_404 or re.search("{(queue|endpoint|name|key)}", where), where
        parameters = operation.get("parameters", [])
        if any(resolve(one)["in"] == "query" for one in parameters):
            assert "422" in operation["responses"], where
        if "application/json" in operation.get("requestBody", {}).get("content", {}):
            assert {"400", "413", "415", "422"} <= operation["responses"].keys(), where


def test_every_operation_names_its_scope() -> None:
    """What asks for a key says which scope it needs (apikeys.py has them all); what asks for none says so."""
    for where, operation in operations():
        if "/callbacks/" in where:
            continue
        assert "security" in operation, f"{where}: needs security: [{{}}, {{bearer: ['tasks:read']}}] or the like"
        named = operation["security"]
        if named != []:
            assert [{}] == named[:-1], where
            assert (operation["operationId"] in FOR_ANY_KEY) == (named[-1]["bearer"] == []), where
            assert {*named[-1]["bearer"]} <= ALL, where
            assert len(named[-1]["bearer"]) <= 1, where
            assert {"401", "403", "429"} <= operation["responses"].keys(), where


def test_problems_come_from_reusable_answers() -> None:
    """Every 4xx and 5xx is a component, an application/problem+json with an example of its status."""
    for where, operation in operations():
        for status, answer in operation["responses"].items():
            if status[0] not in "45":
                continue
            assert answer["$ref"].startswith("#/components/responses/"), where
            content = resolve(answer)["content"]
            assert ["application/problem+json"] == list(content), where
            for example in content["application/problem+json"]["examples"].values():
                assert int(status) == example["value"]["status"], (where, example)


def test_each_status_that_is_documented_is_produced_by_a_test() -> None:
    """test_every_status.py has one for each, which produces it for all operations that document it."""
    tested = {int(found[1]) for name in vars(test_every_status) if (found := re.match(r"test_(\d{3})_", name))}
    ours = [operation for where, operation in operations() if "/callbacks/" not in where]
    assert tested == {int(status) for operation in ours for status in operation["responses"]}


def test_problem_types_are_those_of_the_error_tree() -> None:
    """The table of problem types lists each that the service can answer, and examples agree."""
    tree = {(leaf.type, leaf.status) for leaf in leaves(errors.Problem)}
    table = re.findall(r"`/problems/([a-z-]+)` \| (\d+) \|", SCHEMAS["Problem"]["description"])
    assert tree == {(slug, int(status)) for slug, status in table}
    titles = {leaf.type: leaf.title for leaf in leaves(errors.Problem)}
    for answer in COMPONENTS["responses"].values():
        for example in answer["content"].get("application/problem+json", {"examples": {}})["examples"].values():
            slug = example["value"]["type"].removeprefix("/problems/")
            assert titles[slug] == example["value"]["title"]


def leaves(kind: type[errors.Problem]) -> Iterator[type[errors.Problem]]:
    """The classes under *kind* with a type of their own."""
    if "type" in vars(kind) and kind is not errors.Problem:
        yield kind
    for child in kind.__subclasses__():
        yield from leaves(child)


@pytest.mark.parametrize(("where", "described"), [pytest.param(*one, id=one[0]) for one in media()])
def test_examples_satisfy_their_schemas(where: str, described: dict[str, Any]) -> None:
    """Each body that the contract shows is one that it allows; every body but opaque bytes is shown."""
    assert "examples" in described or where.endswith("/*/*")
    for name, example in described.get("examples", {}).items():
        value = resolve(example)["value"]
        assert resolve(example)["summary"]
        assert [] == faults(described["schema"], value), name


def test_lines_of_stream_examples_satisfy_their_schemas() -> None:
    """What a stream shows line by line are submissions and receipts."""
    stream = DOCUMENT["paths"]["/v1/tasks/stream"]["post"]
    sides = {"Submission": stream["requestBody"]["content"], "Receipt": stream["responses"]["200"]["content"]}
    for name, content in sides.items():
        for example in content["application/x-ndjson"]["examples"].values():
            for line in example["value"].splitlines():
                assert [] == faults({"$ref": f"#/components/schemas/{name}"}, json.loads(line))


def test_examples_inside_schemas_satisfy_them() -> None:
    """Each value shown beside a field is one that the field takes."""
    for where, schema in schema_nodes():
        for value in schema.get("examples", []):
            assert [] == faults(schema, value), where


def test_schemas_use_only_words_that_generators_understand() -> None:
    """No oneOf, const, prefixItems or the like, no boolean schemas, and no reference with siblings."""
    for where, schema in schema_nodes():
        assert set() == schema.keys() - SCHEMA_WORDS, where
        assert "$ref" not in schema or ["$ref"] == list(schema), where
        children = [*schema.get("properties", {}).values(), schema.get("items", {})]
        assert [] == [child for child in children if isinstance(child, bool)], where
        assert schema.get("additionalProperties") is not True or "properties" not in schema, where
    assert "webhooks" not in DOCUMENT


def test_every_shape_has_a_name() -> None:
    """A generated client has no model called InlineObject3, and none that stands for null."""
    for where, schema in schema_nodes():
        is_component = re.fullmatch(r"#/components/schemas/\w+", where) is not None
        assert is_component or "properties" not in schema, where
        assert {"object", "null"} - {*kinds_of(schema)}, where


def test_objects_without_fields_take_any() -> None:
    """
    Without a word about it, one TypeScript client takes `args` for an object that is empty; with an empty schema, Go
    makes a map of pointers of it.
    """
    for where, schema in schema_nodes():
        if "object" in kinds_of(schema):
            assert {"properties", "additionalProperties"} & schema.keys(), where
            assert {} != schema.get("additionalProperties"), where


def kinds_of(schema: dict[str, Any]) -> list[str]:
    """The types that *schema* takes, as a list."""
    kinds = schema.get("type", [])
    return [kinds] if isinstance(kinds, str) else kinds


def test_numbers_are_doubles() -> None:
    """Go and Java clients keep milliseconds of ten years, which 32-bit floats lose."""
    for where, schema in schema_nodes():
        if where.startswith("#/components/schemas/") and "number" in schema.get("type", ""):
            assert schema.get("format") == "double", where


def test_answers_stay_open() -> None:
    """A state that a later version adds breaks no client: no enums, patterns or closed objects in answers."""
    for where, schema in schema_nodes():
        if where.startswith("#/components/schemas/") and where.split("/")[3] not in REQUESTS:
            assert set() == {"enum", "pattern", "maxLength", "minimum", "maximum"} & schema.keys(), where
            assert schema.get("additionalProperties") is not False, where


def test_bodies_have_no_defaults() -> None:
    """A generated client sends only what its user set, so that a handler's own values are not overridden."""
    for name in REQUESTS:
        assert [] == [where for where, schema in walk(SCHEMAS[name]) if "default" in schema], name


def test_requests_are_strict() -> None:
    """An unknown field is refused at each level that has fields."""
    for name in {*REQUESTS} - {*LENIENT}:
        for where, schema in walk(SCHEMAS[name], name):
            if isinstance(schema.get("properties"), dict) and "type" in schema:
                assert schema["additionalProperties"] is False, where


def test_every_field_is_described_with_its_default() -> None:
    """Each field says what it is; optional fields of a submission say what holds when they are left out."""
    without_default = {"name", "url"}
    for name, schema in SCHEMAS.items():
        assert schema["description"], name
        for field, described in schema.get("properties", {}).items():
            description = resolve(described).get("description")
            assert description, (name, field)
            if name in REQUESTS and field not in without_default | {*schema.get("required", ())}:
                assert "Default" in description, (name, field)


def test_seconds_are_numbers_and_times_are_rfc_3339() -> None:
    """Every `*_seconds` takes fractions, every `*_at` is a date-time."""
    for name, schema in SCHEMAS.items():
        for field, described in schema.get("properties", {}).items():
            kinds = described.get("type")
            if field.endswith("_seconds") and kinds != "array":
                assert "number" in kinds, (name, field)
            if field.endswith("_at"):
                assert described["format"] == "date-time", (name, field)


def test_required_fields_exist() -> None:
    """No schema demands a field that it does not describe."""
    for name, schema in SCHEMAS.items():
        assert set(schema.get("required", [])) <= schema.get("properties", {}).keys(), name
