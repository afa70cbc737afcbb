"""The walk over plugin chains: phases, order, interleaving with native plugins, scopes, configuration tables, and when Lua is entered."""
import pytest

from lua_support import change, create, lua_entries, package_path, service_and_route
from support import state_of, wait_for

# Notes every phase in a list that all tracers of a request share, and shows the list as a header and in the log.
TRACER = """
local P = { PRIORITY = %d, VERSION = "1.0.0" }
local function note(phase)
  local t = kong.ctx.shared.trace or {}
  kong.ctx.shared.trace = t
  if t[#t] ~= "%s." .. phase then
    t[#t + 1] = "%s." .. phase
  end
  return table.concat(t, " ")
end
for _, phase in ipairs { "rewrite", "access", "header_filter", "body_filter", "log" } do
  P[phase] = function()
    local trace = note(phase)
    if phase == "header_filter" then
      ngx.header["X-Trace"] = trace
    elseif phase == "log" then
      ngx.log(ngx.NOTICE, "trace ", ngx.var.http_x_case, " ", trace, " end")
    end
  end
end
return P
"""


@pytest.fixture
def tracers(gateway, plugin):
    """tracers(name=priority, …): a node with plugins that trace."""

    def make(**priorities):
        for name, priority in priorities.items():
            path = plugin(name, TRACER % (priority, name, name))
        gw = gateway(plugins=",".join(["bundled", *priorities]), lua_package_path=path)
        gw.tracers = sorted(priorities, key=lambda n: priorities[n], reverse=True)
        return gw

    return make


def trace_of(gw, case):
    """The whole trace, from the line that the log phase's last tracer writes."""
    last = gw.tracers[-1]
    found = gw.wait_log(rf"trace {case} (\S[^\n]*? {last}\.log) end")
    return found.group(1).split()


def test_phases_run_in_order(tracers, echo_server):
    gw = tracers(a=10)
    service_and_route(gw, echo_server.url)
    create(gw, "/plugins", name="a")
    answer = gw.proxy.get("/s", headers={"X-Case": "one"})
    assert answer.status_code == 200
    assert answer.headers["X-Trace"].split() == ["a.rewrite", "a.access", "a.header_filter"]
    assert trace_of(gw, "one") == ["a.rewrite", "a.access", "a.header_filter", "a.body_filter", "a.log"]


def test_rewrite_runs_only_global_instances(tracers, echo_server):
    gw = tracers(a=10)
    service, _ = service_and_route(gw, echo_server.url)
    create(gw, f"/services/{service['id']}/plugins", name="a")
    assert gw.proxy.get("/s").headers["X-Trace"].split() == ["a.access", "a.header_filter"]


def test_priority_and_ties(tracers, echo_server):
    gw = tracers(a=10, b=20, c=20, d=5)
    service_and_route(gw, echo_server.url)
    for name in ("a", "b", "c", "d"):
        create(gw, "/plugins", name=name)
    trace = gw.proxy.get("/s").headers["X-Trace"].split()
    order = ["c", "b", "a", "d"]
    assert trace[:8] == [f"{n}.rewrite" for n in order] + [f"{n}.access" for n in order]


def test_no_route_runs_global_filters_and_log(tracers):
    gw = tracers(a=10)
    create(gw, "/plugins", name="a")
    answer = gw.proxy.get("/nothing", headers={"X-Case": "miss"})
    assert answer.status_code == 404
    assert trace_of(gw, "miss") == ["a.rewrite", "a.header_filter", "a.body_filter", "a.log"]


def test_native_and_lua_interleave_by_priority(tracers, echo_server):
    gw = tracers(above=1000, below=1)
    service, _ = service_and_route(gw, echo_server.url)
    create(gw, "/plugins", name="above")
    create(gw, "/plugins", name="below")
    create(gw, f"/services/{service['id']}/plugins", name="request-termination", config={"status_code": 418, "message": "stop"})
    answer = gw.proxy.get("/s", headers={"X-Case": "mix"})
    assert answer.status_code == 418
    assert answer.json() == {"message": "stop"}
    assert echo_server.requests == []
    # The native plugin (priority 2) ended access between the two Lua plugins; later phases run for both.
    trace = trace_of(gw, "mix")
    assert "above.access" in trace and "below.access" not in trace
    assert [t for t in trace if t.endswith((".header_filter", ".log"))] == \
        ["above.header_filter", "below.header_filter", "above.log", "below.log"]


def test_chains_without_lua_never_enter_lua(tracers, echo_server):
    gw = tracers(a=10)
    service, _ = service_and_route(gw, echo_server.url, "/plain")
    with_lua, _ = service_and_route(gw, echo_server.url, "/lua")
    create(gw, f"/services/{service['id']}/plugins", name="request-termination", config={"trigger": "stop"})
    create(gw, f"/services/{with_lua['id']}/plugins", name="a")
    for i in range(20):
        assert gw.proxy.get("/plain").status_code == 200
        assert gw.proxy.get("/plain?stop").status_code == 503
        assert gw.proxy.get("/nothing").status_code == 404
    assert lua_entries(gw) == 0
    assert gw.proxy.get("/lua").headers["X-Trace"]
    assert lua_entries(gw) == 1
    for i in range(5):
        gw.proxy.get("/lua")
    assert lua_entries(gw) == 6


SHOW_CONF = """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
function P:access(conf)
  ngx.header["X-Conf"] = tostring(conf)
  ngx.header["X-Label"] = conf.label
  ngx.header["X-Extras"] = table.concat({ conf.__plugin_id, conf.service_id or "-", conf.route_id or "-",
    conf.consumer_id or "-", conf.plugin_instance_name or "-", conf.__ws_id and "ws" or "-", type(conf.__seq__) }, " ")
  ngx.header["X-Key"] = conf.__key__
  ngx.header["X-Unset"] = type(conf.unset)
  ngx.header["X-List"] = table.concat(conf.list or {}, ",")
end
return P
"""
SHOW_SCHEMA = """
return { name = "show", fields = { { config = { type = "record", fields = {
  { label = { type = "string" } }, { unset = { type = "string" } }, { list = { type = "array", elements = { type = "string" } } },
} } } } }
"""


@pytest.fixture
def show(gateway, plugin, echo_server):
    """A one-worker node with the plugin "show", and a service at /s."""
    gw = gateway(plugins="bundled,show", lua_package_path=plugin("show", SHOW_CONF, SHOW_SCHEMA), nginx_worker_processes=1)
    gw.s, gw.r = service_and_route(gw, echo_server.url)
    return gw


def test_conf_table_keeps_its_identity(show):
    row = create(show, f"/services/{show.s['id']}/plugins", name="show", config={"label": "one"})

    def conf():
        answers = [show.proxy.get("/s") for _ in range(3)]
        assert len({a.headers["X-Conf"] for a in answers}) == 1
        return answers[0].headers["X-Conf"], answers[0].headers["X-Label"]

    first = conf()
    assert first[1] == "one"
    # What does not change this configuration leaves the table alone: other plugins, routes, even a rebuilt chain.
    create(show, "/plugins", name="request-termination", config={"trigger": "never"})
    create(show, f"/services/{show.s['id']}/routes", paths=["/other"])
    assert conf() == first
    assert show.proxy.get("/other").headers["X-Conf"] == first[0]
    change(show, f"/plugins/{row['id']}", config={"label": "two"})
    second = conf()
    assert second[1] == "two" and second[0] != first[0]


def test_conf_carries_what_authors_expect(show):
    row = create(show, f"/routes/{show.r['id']}/plugins", name="show", instance_name="mine", config={"list": ["a", "b"]},
                 service={"id": show.s["id"]})
    answer = show.proxy.get("/s")
    assert answer.headers["X-Extras"].split() == [row["id"], show.s["id"], show.r["id"], "-", "mine", "ws", "number"]
    assert answer.headers["X-Key"].startswith(f"plugins:show:{show.r['id']}:{show.s['id']}:::")
    assert answer.headers["X-Unset"] == "nil"
    assert answer.headers["X-List"] == "a,b"


# Makes the consumer named by a header the request's, as an authentication plugin would.
CLAIM = """
local P = { PRIORITY = 1000, VERSION = "1.0.0" }
function P:access()
  local name = kong.request.get_header("X-User")
  if name then
    kong.client.authenticate(assert(kong.client.load_consumer(name, true)), { id = "c0ffee00-0000-4000-8000-000000000000" })
  end
end
return P
"""


def test_scope_precedence(gateway, plugin, echo_server):
    plugin("claim", CLAIM)
    gw = gateway(plugins="bundled,show,claim", lua_package_path=plugin("show", SHOW_CONF, SHOW_SCHEMA))
    service, route = service_and_route(gw, echo_server.url)
    consumer = create(gw, "/consumers", username="ann")
    create(gw, "/consumers", username="bob")
    create(gw, "/plugins", name="claim")
    scopes = {"route": {"id": route["id"]}, "service": {"id": service["id"]}, "consumer": {"id": consumer["id"]}}
    # Least specific first: each new one wins, for requests that fit it.
    order = ["", "service", "route", "consumer", "route+service", "service+consumer", "route+consumer", "route+service+consumer"]
    without_consumer = None
    for label in order:
        create(gw, "/plugins", name="show", config={"label": label or "global"}, **{s: scopes[s] for s in label.split("+") if s})
        if "consumer" not in label:
            without_consumer = label or "global"
        for _ in range(4):  # both workers
            assert gw.proxy.get("/s", headers={"X-User": "ann"}).headers["X-Label"] == (label or "global")
            assert gw.proxy.get("/s").headers["X-Label"] == without_consumer
            assert gw.proxy.get("/s", headers={"X-User": "bob"}).headers["X-Label"] == without_consumer
    # And back: as the most specific is deleted, the next one takes over.
    rows = {r["config"]["label"]: r["id"] for r in gw.admin.get("/plugins?size=100").json()["data"] if r["name"] == "show"}
    for label, after in zip(reversed(order[1:]), list(reversed(order))[1:]):
        assert gw.admin.delete(f"/plugins/{rows[label]}").status_code == 204
        assert gw.proxy.get("/s", headers={"X-User": "ann"}).headers["X-Label"] == (after or "global")


FOLLOW = """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
local started, seen = 0, "never"
function P:init_worker()
  started = started + 1
end
function P:configure(configs)
  local labels = {}
  for i, c in ipairs(configs or {}) do labels[i] = c.label end
  table.sort(labels)
  seen = configs and table.concat(labels, ",") or "nil"
  ngx.log(ngx.NOTICE, "configured ", ngx.worker.id(), " ", seen, " end")
end
function P:access()
  ngx.header["X-Seen"] = started .. " " .. seen
end
return P
"""


def test_init_worker_and_configure(gateway, plugin, echo_server):
    gw = gateway(plugins="bundled,show", lua_package_path=plugin("show", FOLLOW, SHOW_SCHEMA))
    service, route = service_and_route(gw, echo_server.url)
    wait_for(lambda: gw.log().count("configured 0 nil end") == 1 and gw.log().count("configured 1 nil end") == 1,
             "configure(nil) at the start of both workers")
    row = create(gw, f"/services/{service['id']}/plugins", name="show", config={"label": "a"})
    for _ in range(6):  # whichever worker answers has been configured before
        assert gw.proxy.get("/s").headers["X-Seen"] == "1 a"
    create(gw, f"/routes/{route['id']}/plugins", name="show", config={"label": "b"})
    assert gw.proxy.get("/s").headers["X-Seen"] == "1 a,b"
    # Workers that get no request follow too.
    change(gw, f"/plugins/{row['id']}", config={"label": "c"})
    for worker in (0, 1):
        gw.wait_log(rf"configured {worker} b,c end")
    change(gw, f"/plugins/{row['id']}", enabled=False)
    assert gw.proxy.get("/s").headers["X-Seen"] == "1 b"
    for r in gw.admin.get("/plugins").json()["data"]:
        assert gw.admin.delete(f"/plugins/{r['id']}").status_code == 204
    for worker in (0, 1):
        wait_for(lambda: gw.log().count(f"configured {worker} nil end") >= 2, f"configure(nil) in worker {worker}")


def test_probe_plugins_load(gateway, echo_server):
    gw = gateway(plugins="bundled,probe,probe-response", lua_package_path=package_path("probe", "probe-response"))
    assert gw.admin.get("/").json()["plugins"]["available_on_server"]["probe"]


def test_workers_with_lua_plugins_end_soon_after_a_reload(gateway, plugin, echo_server):
    """The thread that follows configuration changes must not keep an old worker alive."""
    gw = gateway(plugins="bundled,show", lua_package_path=plugin("show", FOLLOW, SHOW_SCHEMA), nginx_worker_processes=1)
    service, _ = service_and_route(gw, echo_server.url)
    create(gw, f"/services/{service['id']}/plugins", name="show", config={"label": "a"})
    old = gw.workers()
    gw.reload()
    gw.proxy.close()
    wait_for(lambda: not any(state_of(pid) for pid in old), "the old worker to end", timeout=20)
    assert gw.proxy.get("/s").headers["X-Seen"] == "1 a"
