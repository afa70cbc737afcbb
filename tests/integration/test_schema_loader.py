"""How Lua schemas become the JSON form of the schema engine, and what is said about schemas that cannot."""
import json

import pytest

from lua_nginx import LuaNginx


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    folder = tmp_path_factory.mktemp("schemas")
    with LuaNginx(folder / "prefix", path=f"{folder}/?.lua") as server:
        server.folder = folder
        yield server


def translate(nginx, schema):
    text, functions = nginx.run(f"""
        local json, functions = require("kong.silverback.schema_loader").translate("p", {schema})
        local kinds
        if type(functions) == "table" then
            kinds = {{}}
            for i, f in ipairs(functions) do kinds[i] = f.kind end
        end
        return json, kinds or functions""")
    return json.loads(text) if text else None, functions


def load(nginx, name, text=None):
    if text is not None:
        path = nginx.folder / "kong" / "plugins" / name / "schema.lua"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return nginx.run(f"""
        package.loaded["kong.plugins.{name}.schema"] = nil
        local plugin, err = require("kong.silverback.schema_loader").load("{name}")
        return plugin and plugin.json, err or plugin.file""")


def test_values(nginx):
    out, functions = translate(nginx, """{ name = "p", fields = { { a = { type = "number", default = 1.5, between = { 0, math.huge },
        eq = ngx.null, required = true, description = 'say "hi"\\n' } } } }""")
    field = out["fields"][0]["a"]
    assert field == {"type": "number", "default": 1.5, "between": [0, 1e308], "eq": None, "required": True, "description": 'say "hi"\n'}
    assert functions in ([], {})


def test_empty_tables_are_what_their_place_wants(nginx):
    out, _ = translate(nginx, """{ fields = { { a = { type = "set", default = {}, elements = {} } }, { b = { type = "map", default = {} } },
        { c = { type = "record", fields = {} } } }, entity_checks = {} }""")
    a, b, c = (list(f.values())[0] for f in out["fields"])
    assert a["default"] == [] and a["elements"] == {} and b["default"] == {} and c["fields"] == [] and out["entity_checks"] == []


def test_functions_become_references(nginx):
    out, kinds = translate(nginx, """{ fields = { { config = { type = "record",
        fields = { { a = { type = "string", custom_validator = function() end } } },
        shorthand_fields = { { b = { type = "string", func = function() end } } },
        entity_checks = { { custom_entity_check = { field_sources = { "a" }, fn = function() end } } } } } },
        transformations = { { input = { "config.a" }, on_write = function() end } } }""")
    config = out["fields"][0]["config"]
    refs = {"validator": config["fields"][0]["a"]["custom_validator"]["lua_ref"],
            "shorthand": config["shorthand_fields"][0]["b"]["func"]["lua_ref"],
            "check": config["entity_checks"][0]["custom_entity_check"]["fn"]["lua_ref"],
            "transformation": out["transformations"][0]["on_write"]["lua_ref"]}
    assert sorted(refs.values()) == [1, 2, 3, 4]
    assert {kind: kinds[ref - 1] for kind, ref in refs.items()} == {kind: kind for kind in refs}


def test_typedefs_use_the_engines_validators(nginx):
    out, kinds = translate(nginx, """(function() local t = require("kong.db.schema.typedefs")
        return { fields = { { a = t.header_name { default = "X" } }, { b = t.jwk }, { c = t.protocols_http } } } end)()""")
    a, b, c = (list(f.values())[0] for f in out["fields"])
    assert a == {"type": "string", "custom_validator": "@header_name", "default": "X"}
    assert b["custom_validator"] == {"lua_ref": 1} and kinds == ["validator"]
    assert c["type"] == "set" and c["default"] == ["grpc", "grpcs", "http", "https"]


@pytest.mark.parametrize("schema, reason", [
    ("{ fields = { { a = { type = print } } } }", "p.fields.1.a.type: a function cannot stand here"),
    ("{ fields = { { a = coroutine.create(function() end) } } }", "p.fields.1.a: a thread cannot stand here"),
    ("{ fields = { { a = { between = { 0/0 } } } } }", "p.fields.1.a.between.1: not a number"),
    ("{ fields = { [print] = 1 } }", "p.fields: a function cannot be a key"),
    ("(function() local t = {} t.a = t return t end)()", "p: nested too deeply, or inside itself"),
])
def test_what_cannot_be_said_in_json(nginx, schema, reason):
    assert translate(nginx, schema) == (None, reason)


def test_a_missing_schema(nginx):
    result = load(nginx, "no-such")
    assert result[0] is None and result[1].startswith("no configuration schema found for plugin: no-such")


def test_a_syntax_error_names_file_and_line(nginx):
    _, err = load(nginx, "syntax", "return {\n  fields = = {},\n}\n")
    assert f"{nginx.folder}/kong/plugins/syntax/schema.lua:2: " in err and "error loading module" not in err


def test_a_raised_error_names_the_whole_file(nginx):
    name = "raises-" + "long-name-" * 8  # longer than Lua shows of a file name
    _, err = load(nginx, name, "\n\nlocal x = nil .. 'a'\n")
    assert f"{nginx.folder}/kong/plugins/{name}/schema.lua:3: attempt to concatenate" in err


def test_a_fault_names_the_line_of_its_field(nginx):
    _, err = load(nginx, "bad", "return { fields = {\n  { first = { type = 'string' } },\n  { second = { type = print } },\n} }\n")
    assert err.startswith("bad plugin: bad schema: ") and "/bad/schema.lua:3: bad.fields.2.second.type: a function cannot stand here" in err


@pytest.mark.parametrize("text, reason", [("return 1", "must return a table, it returned a number"),
                                          ("return {}", "fields: must be a list of fields, it is missing"),
                                          ("return { fields = {}, name = 3 }", "name: must be a string")])
def test_the_shape(nginx, text, reason):
    _, err = load(nginx, "shape", text)
    assert reason in err and "/shape/schema.lua:" in err


def test_the_module_gets_its_name(nginx):
    out, _ = load(nginx, "vararg", "return { fields = {}, name = (...):match('([^.]+)%.schema$') }")
    assert json.loads(out)["name"] == "vararg"
