"""Workspaces: their own endpoints, paths under their names, what one hides from another, and that the proxy serves all."""
from lua_support import create, service_and_route

TRACE = """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
function P:access(conf)
  kong.response.set_header("X-Ran", conf.label)
end
return P
"""
TRACE_SCHEMA = """
return { name = "trace", fields = { { config = { type = "record", fields = { { label = { type = "string", required = true } } } } } } }
"""


def answer(gw, method, path, status, body=None):
    got = gw.admin.request(method, path, json=body)
    assert got.status_code == status, f"{method} {path} {body} -> {got.status_code} {got.text}"
    return got.json() if got.content else None


def test_entity(gateway):
    gw = gateway()
    default, = answer(gw, "GET", "/workspaces", 200)["data"]
    assert default["name"] == "default"
    team = create(gw, "/workspaces", name="team", comment="ours")
    assert sorted(team) == ["comment", "config", "created_at", "id", "meta", "name", "updated_at"]
    assert answer(gw, "GET", "/workspaces/team", 200) == answer(gw, "GET", f"/workspaces/{team['id']}", 200) == team
    assert answer(gw, "PATCH", "/workspaces/team", 200, {"comment": "x"})["comment"] == "x"
    assert answer(gw, "PUT", "/workspaces/other", 200, {})["name"] == "other"
    assert answer(gw, "POST", "/workspaces", 409, {"name": "team"})["code"] == 5
    assert answer(gw, "POST", "/workspaces", 400, {})["fields"] == {"name": "required field missing"}
    assert answer(gw, "POST", "/workspaces", 400, {"name": "services"})["fields"]["name"].startswith("must not be one of: workspaces, ")
    assert answer(gw, "POST", "/workspaces", 400, {"name": "schemas"})["code"] == 2
    assert answer(gw, "PATCH", "/workspaces/team", 400, {"name": "crew"})["fields"] == {"name": "immutable field cannot be updated"}
    answer(gw, "GET", "/workspaces/none", 404)


def test_only_empty_ones_go(gateway):
    gw = gateway()
    create(gw, "/workspaces", name="team")
    assert answer(gw, "DELETE", "/workspaces/default", 400)["message"] == "Cannot delete default workspace"
    create(gw, "/team/consumers", username="ann")
    assert answer(gw, "GET", "/workspaces/team/meta", 200)["counts"]["consumers"] == 1
    assert answer(gw, "GET", "/workspaces/default/meta", 200)["counts"]["consumers"] == 0
    assert answer(gw, "DELETE", "/workspaces/team", 400)["message"] == "Workspace is not empty"
    answer(gw, "DELETE", "/team/consumers/ann", 204)
    answer(gw, "DELETE", "/workspaces/team", 204)
    assert answer(gw, "GET", "/team/consumers", 404) == {"message": "Not found"}


def test_cascade(gateway, echo_server):
    gw = gateway()
    create(gw, "/workspaces", name="team")
    create(gw, "/team/services", name="s", url=echo_server.url)
    create(gw, "/team/services/s/routes", paths=["/team"])
    create(gw, "/team/consumers", username="ann")
    service_and_route(gw, echo_server.url, "/default")
    refused = answer(gw, "DELETE", "/workspaces/team?cascade=yes", 400)
    assert refused["code"] == 11 and refused["message"] == "invalid option (cascade: expected a boolean)"
    assert refused["options"] == {"cascade": "expected a boolean"}
    assert answer(gw, "DELETE", "/workspaces/team?cascade=false", 400)["message"] == "Workspace is not empty"
    assert answer(gw, "DELETE", "/workspaces/default?cascade=true", 400)["message"] == "Cannot delete default workspace"
    assert gw.proxy.get("/team").status_code == 200
    answer(gw, "DELETE", "/workspaces/team?cascade=true", 204)
    assert gw.proxy.get("/team").status_code == 404 and gw.proxy.get("/default").status_code == 200
    answer(gw, "GET", "/workspaces/team", 404)
    answer(gw, "GET", "/team/services", 404)
    answer(gw, "DELETE", "/workspaces/team?cascade=true", 204)
    create(gw, "/workspaces", name="team")
    assert answer(gw, "GET", "/team/services", 200)["data"] == answer(gw, "GET", "/team/consumers", 200)["data"] == []


def test_rows_are_hidden_from_other_workspaces(gateway):
    gw = gateway()
    create(gw, "/workspaces", name="team")
    mine = create(gw, "/team/services", name="s", host="a.test", tags=["t"])
    other = create(gw, "/services", name="s", host="b.test")  # a name is unique in its workspace
    assert answer(gw, "POST", "/team/services", 409, {"name": "s", "host": "c.test"})["code"] == 5
    assert [s["id"] for s in answer(gw, "GET", "/team/services", 200)["data"]] == [mine["id"]]
    assert [s["id"] for s in answer(gw, "GET", "/services", 200)["data"]] == [other["id"]]
    assert answer(gw, "GET", "/default/services/s", 200) == other
    assert answer(gw, "GET", "/team/services/s", 200) == mine
    for method in ("GET", "PATCH"):
        answer(gw, method, f"/services/{mine['id']}", 404, {})
        answer(gw, method, f"/team/services/{other['id']}", 404, {})
    assert answer(gw, "PUT", f"/services/{mine['id']}", 400, {"host": "x.test"})["code"] == 3
    answer(gw, "DELETE", f"/services/{mine['id']}", 204)
    assert answer(gw, "GET", "/team/services/s", 200) == mine
    assert answer(gw, "GET", "/team/tags/t", 200)["data"] == [{"entity_name": "services", "entity_id": mine["id"], "tag": "t"}]
    assert answer(gw, "GET", "/tags/t", 200)["data"] == []


def test_references_do_not_leave_the_workspace(gateway):
    gw = gateway()
    create(gw, "/workspaces", name="team")
    mine, other = create(gw, "/team/services", name="m", host="a.test"), create(gw, "/services", name="o", host="b.test")
    for prefix, service in (("/team", other), ("", mine)):
        refused = answer(gw, "POST", f"{prefix}/routes", 400, {"paths": ["/x"], "service": {"id": service["id"]}})
        assert refused["code"] == 4 and refused["fields"] == {"service": {"id": service["id"]}}
        refused = answer(gw, "POST", f"{prefix}/routes", 400, {"paths": ["/x"], "service": {"name": service["name"]}})
        assert refused["code"] == 13
        answer(gw, "POST", f"{prefix}/services/{service['name']}/routes", 404, {"paths": ["/x"]})
    assert answer(gw, "GET", "/team/routes", 200)["data"] == answer(gw, "GET", "/routes", 200)["data"] == []


def test_unique_across_workspaces(gateway):
    gw = gateway()
    create(gw, "/workspaces", name="team")
    create(gw, "/team/vaults", name="env", prefix="my-env-1")
    assert answer(gw, "POST", "/vaults", 409, {"name": "env", "prefix": "my-env-1"})["code"] == 5


def test_paths(gateway):
    gw = gateway()
    create(gw, "/workspaces", name="a-team~1")
    for n in range(3):
        create(gw, "/a-team~1/consumers", username=f"u{n}")
    page = answer(gw, "GET", "/a-team~1/consumers?size=2", 200)
    assert page["next"].startswith("/a-team~1/consumers?offset=")
    assert len(answer(gw, "GET", page["next"], 200)["data"]) == 1
    assert answer(gw, "GET", "/a-team~1", 200)["tagline"] == answer(gw, "GET", "/", 200)["tagline"]
    assert gw.admin.options("/a-team~1/consumers").headers["Allow"] == gw.admin.options("/consumers").headers["Allow"]
    for path in ("/nobody/consumers", "/nobody", "/a-team~1/nothing", "/a-team~1/a-team~1/consumers", "/consumers/u0"):
        assert answer(gw, "GET", path, 404) == {"message": "Not found"}


def test_proxy_serves_all(gateway, plugin, echo_server):
    gw = gateway(plugins="bundled,trace", lua_package_path=plugin("trace", TRACE, TRACE_SCHEMA))
    create(gw, "/workspaces", name="team")
    service = create(gw, "/team/services", name="s", url=echo_server.url)
    create(gw, "/team/services/s/routes", paths=["/team"])
    create(gw, "/team/routes", paths=["/alone"])
    service_and_route(gw, echo_server.url, "/default")
    assert gw.proxy.get("/team").status_code == gw.proxy.get("/default").status_code == 200
    # What is global is so in its workspace.
    create(gw, "/plugins", name="trace", config={"label": "default"})
    assert "X-Ran" not in gw.proxy.get("/team").headers and gw.proxy.get("/default").headers["X-Ran"] == "default"
    create(gw, "/team/plugins", name="trace", config={"label": "team"})
    assert [gw.proxy.get(p).headers.get("X-Ran") for p in ("/team", "/default", "/alone")] == ["team", "default", "team"]
    create(gw, f"/team/services/{service['id']}/plugins", name="trace", config={"label": "service"})
    assert [gw.proxy.get(p).headers.get("X-Ran") for p in ("/team", "/alone")] == ["service", "team"]
    # An upstream is found in the service's workspace.
    create(gw, "/upstreams", name="up")
    upstream = create(gw, "/team/upstreams", name="up")
    create(gw, f"/team/upstreams/{upstream['id']}/targets", target=echo_server.url.split("//")[1])
    answer(gw, "PATCH", "/team/services/s", 200, {"host": "up"})
    assert gw.proxy.get("/team").status_code == 200


LOADS = """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
function P:access()
  local consumer = kong.client.load_consumer("ann", true)
  kong.response.set_header("X-Ann", consumer and consumer.custom_id or "nobody")
end
return P
"""
NO_CONFIG = 'return { name = "loads", fields = { { config = { type = "record", fields = {} } } } }'


def test_consumers_are_looked_for_in_the_routes_workspace(gateway, plugin, echo_server):
    gw = gateway(plugins="bundled,loads", lua_package_path=plugin("loads", LOADS, NO_CONFIG))
    for prefix in ("", "/team", "/crew"):
        if prefix:
            create(gw, "/workspaces", name=prefix[1:])
        create(gw, f"{prefix}/services", name="s", url=echo_server.url)
        create(gw, f"{prefix}/services/s/routes", paths=[prefix or "/default"])
        create(gw, f"{prefix}/plugins", name="loads", config={})
    create(gw, "/consumers", username="ann", custom_id="ours")
    create(gw, "/team/consumers", username="ann", custom_id="theirs")
    assert [gw.proxy.get(p).headers["X-Ann"] for p in ("/default", "/team", "/crew")] == ["ours", "theirs", "nobody"]
