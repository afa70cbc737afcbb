"""Schemas of Lua plugins as the Admin API sees them: their functions are run, their errors come in the interface's shape."""
import concurrent.futures
import json
import re
import sqlite3

import pytest

from lua_support import change, service_and_route

HANDLER = """
local set_header = kong.response.set_header -- kept at load, as many plugins do; control loads this file too
return { PRIORITY = 7, VERSION = "1.2.3", access = function() set_header("X-Fancy", "1") end }
"""

SCHEMA = """
local typedefs = require "kong.db.schema.typedefs"

local function even(v)
  if v == 13 then
    error("unlucky")
  elseif v == 15 then
    return false
  elseif v == 19 then
    while true do end
  elseif v == 21 then
    while true do pcall(function() while true do end end) end
  elseif v == 23 then
    return coroutine.wrap(function() return pcall(function() while true do end end) end)()
  elseif v == 17 then
    return nil, "must not be prime"
  end
  return v % 2 == 0, "must be even"
end

local function range(v)
  if v == ngx.null then
    return { low = ngx.null, high = ngx.null }
  end
  local a, b = v:match("^(%d+)-(%d+)$")
  if not a then
    return nil, "not a range"
  end
  return { low = tonumber(a), high = tonumber(b) }
end

local function ordered(entity)
  local config = entity.config
  if config.low ~= ngx.null and config.high ~= ngx.null and config.low > config.high then
    return nil, "low must not be above high"
  end
  return true
end

return {
  name = "fancy",
  fields = {
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
    { config = { type = "record", fields = {
        { even = { type = "integer", default = 2, custom_validator = even } },
        { low = { type = "integer" } },
        { high = { type = "integer" } },
        { host = typedefs.host },
        { colours = { type = "array", elements = { type = "string", custom_validator = function(c)
          while c == "endless" do end
          return c == "red", "only red"
        end } } },
        { map = { type = "map", keys = { type = "string" }, values = { type = "record", fields = { { n = { type = "number" } } },
          custom_validator = function(r) if r.n == 1 then return nil, "n must not be 1" end return true end } } },
      },
      shorthand_fields = { { range = { type = "string", func = range } } },
    } },
  },
  entity_checks = { { custom_entity_check = { field_sources = { "config" }, fn = ordered } } },
}
"""


@pytest.fixture
def node(gateway, plugin):
    return gateway(plugins="bundled,fancy", lua_package_path=plugin("fancy", HANDLER, SCHEMA))


def create(node, **config):
    return node.admin.post("/plugins", json={"name": "fancy", "config": config})


@pytest.mark.parametrize("config, fields", [
    ({"even": 3}, {"config": {"even": "must be even"}}),
    ({"even": 17}, {"config": {"even": "must not be prime"}}),
    ({"low": 5, "high": 3}, {"@entity": ["low must not be above high"]}),
    ({"range": "5-3"}, {"@entity": ["low must not be above high"]}),
    ({"colours": ["red", "blue"]}, {"config": {"colours": [None, "only red"]}}),
    ({"nope": 1}, {"config": {"nope": "unknown field"}}),
])
def test_refusals(node, config, fields):
    answer = create(node, **config)
    assert answer.status_code == 400
    assert answer.json()["fields"] == fields and answer.json()["code"] == 2


def test_a_validator_that_only_says_no(node):
    answer = create(node, even=15)
    assert answer.status_code == 400 and "even" in answer.json()["fields"]["config"]


def test_a_shorthands_function_refuses(node):
    answer = create(node, range="x")
    assert answer.status_code == 400 and "not a range" in answer.text


def test_typedefs_and_records(node):
    assert create(node, host="a_b:c").status_code == 400
    assert "n must not be 1" in create(node, map={"k": {"n": 1}}).text


def test_a_good_configuration(node):
    answer = create(node, range="3-5", colours=["red"], map={"k": {"n": 2}})
    assert answer.status_code == 201, answer.text
    config = answer.json()["config"]
    assert (config["low"], config["high"], config["even"], config["host"]) == (3, 5, 2, None)
    assert "range" not in config
    changed = node.admin.patch(f"/plugins/{answer.json()['id']}", json={"config": {"range": None}})
    assert changed.status_code == 200 and changed.json()["config"]["low"] is None


def test_a_raised_error_is_ours_and_harms_nothing(node):
    answer = create(node, even=13)
    assert answer.status_code == 500 and answer.json()["message"] == "An unexpected error occurred"
    node.wait_log(r"plugin fancy: a function of its schema failed: .*schema\.lua:\d+: unlucky")
    assert create(node, even=4).status_code == 201


@pytest.mark.parametrize("even", [19, 21, 23])
def test_an_endless_function_is_stopped(node, even):
    """Also one that catches the error, and one in a coroutine. The Admin API goes on; the answer says whose function it was."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        endless = pool.submit(create, node, even=even)
        assert create(node, even=4, low=1).status_code == 201
        answer = endless.result()
    assert answer.status_code == 400 and answer.json()["code"] == 2
    (text,) = answer.json()["fields"]["@entity"]
    assert re.fullmatch(r"plugin fancy: fields\.3\.config\.fields\.1\.even\.custom_validator \(\S+/schema\.lua:4\) "
                        r"ran for more than 2 seconds and was stopped", text)
    node.wait_log(r"plugin fancy: a function of its schema, fields\.3\.config\.fields\.1\.even\.custom_validator .* was stopped")
    assert [p["config"]["even"] for p in node.admin.get("/plugins").json()["data"]] == [4]
    assert create(node, even=3).json()["fields"] == {"config": {"even": "must be even"}}


def test_one_endless_call_ends_the_validation(node):
    """A value of many parts does not take the time limit many times."""
    node.admin.post("/plugins", json={"name": "fancy", "config": {"colours": ["endless"] * 100}}, timeout=25)
    assert len(re.findall("colours.elements.custom_validator .* was stopped", node.log())) == 1


def test_many_at_once(node):
    """Each call hops from the store thread to the event loop and back, while the loop takes more requests."""
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: create(node, even=2 * n + 1001, colours=["red"] * 20).status_code, range(200)))
    assert answers == [400] * 200


def test_schemas_show_no_functions(node):
    answer = node.admin.get("/schemas/plugins/fancy")
    assert answer.status_code == 200 and "lua_ref" not in answer.text
    info = node.admin.get("/").json()["plugins"]["available_on_server"]["fancy"]
    assert info == {"version": "1.2.3", "priority": 7}


SEALED_HANDLER = """
local configured
return { PRIORITY = 7, VERSION = "1.2.3",
  configure = function(_, configs) configured = configs and configs[1].secret end,
  access = function(_, conf)
    kong.response.set_header("X-Secret", conf.secret)
    kong.response.set_header("X-Configured", configured or "-")
  end }
"""

# Writing seals the secret (backwards, in brackets), reading opens it; `fail` in the salt makes the one or the other fail.
SEALED_SCHEMA = """
local function seal(secret, salt)
  if salt == "fail write" then return nil, "no key to write" end
  return { config = { secret = "[" .. salt .. "]" .. secret:reverse() } }
end

local function open(secret, salt)
  if salt == "fail read" then return nil, "no key to read" end
  if salt == "raise" then error("oh") end
  local in_worker = package.loaded["kong.silverback.runtime"]
  if in_worker and salt:sub(1, 1) == "/" and not io.open(salt) then return nil, "no key file" end
  return { config = { secret = secret:match("^%[.-%](.*)$"):reverse() } }
end

return { name = "sealed", fields = { { config = { type = "record", fields = {
    { secret = { type = "string" } }, { salt = { type = "string", default = "s" } }, { other = { type = "string" } } } } } },
  transformations = { { input = { "config.secret" }, needs = { "config.salt" }, on_write = seal, on_read = open } } }
"""


def stored(node):
    """Configs as they lie in the record."""
    with sqlite3.connect(f"file:{node.prefix}/store/silverback.db?mode=ro", uri=True) as db:
        return [json.loads(config) for config, in db.execute("SELECT config FROM plugins ORDER BY created_at")]


@pytest.fixture
def sealed(gateway, plugin):
    return gateway(plugins="bundled,sealed", lua_package_path=plugin("sealed", SEALED_HANDLER, SEALED_SCHEMA))


def test_transformations(sealed, echo_server):
    _, route = service_and_route(sealed, echo_server.url, "/sealed")
    answer = sealed.admin.post(f"/routes/{route['id']}/plugins", json={"name": "sealed", "config": {"secret": "abc"}})
    assert answer.status_code == 201 and answer.json()["config"] == {"secret": "abc", "salt": "s", "other": None}
    row = answer.json()
    assert [c["secret"] for c in stored(sealed)] == ["[s]cba"]
    assert sealed.admin.get(f"/plugins/{row['id']}").json() == sealed.admin.get("/plugins").json()["data"][0] == row
    headers = sealed.proxy.get("/sealed").headers
    assert headers["X-Secret"] == headers["X-Configured"] == "abc"
    # What is not given stays as it is stored; what was shown may be sent back.
    assert change(sealed, f"/plugins/{row['id']}", config={"other": "o"})["config"]["secret"] == "abc"
    assert [c["secret"] for c in stored(sealed)] == ["[s]cba"]
    assert change(sealed, f"/plugins/{row['id']}", config={"secret": "xyz", "salt": "t"})["config"]["secret"] == "xyz"
    assert [c["secret"] for c in stored(sealed)] == ["[t]zyx"]
    headers = sealed.proxy.get("/sealed").headers
    assert headers["X-Secret"] == headers["X-Configured"] == "xyz"
    assert "lua_ref" not in sealed.admin.get("/schemas/plugins/sealed").text


def test_transformations_that_fail(sealed, echo_server):
    sealed.allow_log("plugin sealed|transformation failed")
    _, route = service_and_route(sealed, echo_server.url, "/sealed")
    for salt, text in (("fail write", "no key to write"), ("fail read", "no key to read"), ("raise", "schema.lua:.* oh")):
        answer = sealed.admin.post(f"/routes/{route['id']}/plugins", json={"name": "sealed", "config": {"secret": "abc", "salt": salt}})
        assert answer.status_code == 500 and answer.json()["message"] == "An unexpected error occurred"
        sealed.wait_log(text)
    assert stored(sealed) == []
    # In a worker: a configuration that cannot be read lets no request pass, until it can.
    key = sealed.prefix / "key"
    answer = sealed.admin.post(f"/routes/{route['id']}/plugins", json={"name": "sealed", "config": {"secret": "abc", "salt": str(key)}})
    assert answer.status_code == 201, answer.text
    assert sealed.proxy.get("/sealed").status_code == 500
    sealed.wait_log("plugin sealed failed in access: transformation failed: no key file")
    key.write_text("")
    assert sealed.proxy.get("/sealed").headers["X-Secret"] == "abc"
