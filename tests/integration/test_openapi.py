"""GET /openapi: the document is valid, complete, and true of the node that gives it.

SB_FUZZ_REQUESTS and SB_FUZZ_SEED make the last test longer and other.
"""
import os
import pathlib
import re
import shutil
import tempfile

import jsonschema
import pytest
import yaml

import support
from openapi_fuzz import Fuzzer, json_schema

SPECIFICATION = pathlib.Path("/usr/share/openapi-specification/schemas/v3.0/schema.yaml")
SCHEMA = """return {
  name = "checked",
  fields = { { config = { type = "record", fields = {
    { size = { type = "integer", default = 1, between = { 1, 9 } } },
    { word = { type = "string", required = true, one_of = { "one", "two" } } },
    { even = { type = "integer", custom_validator = function(n) if n % 2 == 0 then return true end return nil, "odd" end } },
  } } } },
}"""
HANDLER = "return { VERSION = '1.0.0', PRIORITY = 10, access = function() end }"


@pytest.fixture(scope="module")
def node():
    """One node for all."""
    ports = support.Ports()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sbw-", dir="/tmp"))
    folder.chmod(0o755)
    gw = support.Gateway(ports, {"plugins": "bundled,checked", "lua_package_path": support.write_plugin(folder, "checked", HANDLER, SCHEMA) + ";;"})
    gw.start()
    yield gw
    gw.close(False)
    ports.release()
    shutil.rmtree(folder, ignore_errors=True)


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for v in value.values():
            yield from references(v)
    elif isinstance(value, list):
        for v in value:
            yield from references(v)


def test_document_is_valid(node):
    """By the specification's own schema; and every reference leads somewhere, every operation has an id of its own."""
    r = node.admin.get("/openapi")
    assert (r.status_code, r.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    document = r.json()
    assert document["openapi"] == "3.0.3"
    jsonschema.Draft4Validator(yaml.safe_load(SPECIFICATION.read_text())).validate(document)
    for ref in set(references(document)):
        part = document
        for name in ref[2:].split("/"):
            part = part[name]
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)
        jsonschema.Draft4Validator.check_schema(json_schema(schema))
    for path, item in document["paths"].items():
        assert not [m for m, op in item.items() if m != "parameters" and "content" in op["responses"].get("204", {})], path
    ids = [op["operationId"] for item in document["paths"].values() for op in item.values() if isinstance(op, dict)]
    assert len(ids) == len(set(ids)) > 200
    assert node.admin.get("/openapi").content == r.content


def test_document_is_complete(node):
    """Each endpoint with each of its methods, each entity with each of its fields, each plugin's configuration."""
    document = node.admin.get("/openapi").json()
    schemas = document["components"]["schemas"]
    assert sorted(document["paths"]) == sorted(node.admin.get("/endpoints").json()["data"])
    for path, item in document["paths"].items():
        allowed = node.admin.options(re.sub(r"\{\w+\}", "x", path)).headers["Allow"].lower().split(", ")
        assert sorted(m for m in item if m != "parameters") == allowed, path
        assert [p["name"] for p in item.get("parameters", [])] == re.findall(r"\{(\w+)\}", path)
    for entity in ("routes", "services", "consumers", "upstreams", "plugins", "certificates"):
        fields = {name for f in node.admin.get(f"/schemas/{entity}").json()["fields"] for name in f}
        assert fields <= set(schemas[entity]["properties"]), entity
        assert fields <= set(schemas[f"{entity}.change"]["properties"]), entity
    names = node.admin.get("/plugins/enabled").json()["enabled_plugins"]
    assert "checked" in names
    assert {f"plugins.new.{n}" for n in names} <= set(schemas)
    config = schemas["plugins.config.checked"]
    assert config["required"] == ["word"]
    assert config["properties"]["size"] == {"type": "integer", "minimum": 1, "maximum": 9, "default": 1, "nullable": True}


def test_constraints_are_said(node):
    schemas = node.admin.get("/openapi").json()["components"]["schemas"]
    service = schemas["services.new"]
    assert {"required": ["host"]} in service["anyOf"] and {"required": ["url"]} in service["anyOf"]
    assert service["additionalProperties"] is False
    port = service["properties"]["port"]
    assert (port["minimum"], port["maximum"], port["default"]) == (0, 65535, 80) and "nullable" not in port
    assert "https" in service["properties"]["protocol"]["enum"]
    assert set(schemas["targets.new"]["required"]) == {"target", "upstream"} and schemas["targets.nested"]["required"] == ["target"]
    assert schemas["upstreams.new"]["required"] == ["name"] and "required" not in schemas["upstreams.put"]


@pytest.mark.timeout(3600)
def test_requests_made_from_the_document(node):
    """Fitting, broken and hostile requests to every endpoint: each answer has a documented status and form, and the node lives on."""
    fuzz = Fuzzer(node.admin, int(os.environ.get("SB_FUZZ_SEED", "1")))
    for _ in range(int(os.environ.get("SB_FUZZ_REQUESTS", "1500"))):
        fuzz.step()
    made = {e for e in ("services", "routes", "consumers", "upstreams", "plugins") if fuzz.seen[f"POST /{e} 201"]}
    assert len(made) >= 4, f"hardly anything was accepted: {made}"
    assert sum(n for what, n in fuzz.seen.items() if what.endswith(" 400")) > 100
    assert node.admin.get("/status").status_code == 200
