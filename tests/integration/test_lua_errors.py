"""Faults in plugins: at load, and while requests run."""
import pytest

from lua_support import Probe, create, package_path, service_and_route


@pytest.fixture
def node(gateway, plugin, echo_server):
    """node(code of the plugin "faulty", priority) with a tracer-like plugin "after" below it."""

    def make(body, priority=100):
        plugin("faulty", "local P = { PRIORITY = %d, VERSION = '1.0.0' }\n%s\nreturn P\n" % (priority, body))
        path = plugin("after", """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
function P:access() ngx.header["X-After-Access"] = "ran" end
function P:header_filter() ngx.header["X-After-Filter"] = "ran" end
function P:log() ngx.log(ngx.NOTICE, "after logs ", kong.request.get_path(), " end") end
return P
""")
        gw = gateway(plugins="bundled,faulty,after", lua_package_path=path, nginx_worker_processes=1)
        service_and_route(gw, echo_server.url)
        create(gw, "/plugins", name="faulty")
        create(gw, "/plugins", name="after")
        return gw

    return make


@pytest.mark.parametrize("phase", ["rewrite", "access"])
def test_error_before_the_service(node, phase, echo_server):
    gw = node(f"""
local function deeper() error("kaboom in {phase}") end
function P:{phase}() if kong.request.get_header("X-Bad") then deeper() end end""")
    workers = gw.workers()
    answer = gw.proxy.get("/s", headers={"X-Bad": "1"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json()["message"] == "An unexpected error occurred"
    assert answer.json()["request_id"] == answer.headers["X-Kong-Request-Id"]
    assert "X-After-Access" not in answer.headers, "other access handlers are skipped"
    assert answer.headers["X-After-Filter"] == "ran", "later phases run"
    gw.wait_log(r"after logs /s end")
    found = gw.wait_log(rf"plugin faulty failed in {phase}: .*kaboom in {phase}\n(?:.*\n)*?.*in function 'deeper'")
    assert "handler.lua:" in found.group(0)
    assert echo_server.requests == []
    assert gw.proxy.get("/s").status_code == 200
    assert gw.workers() == workers
    html = gw.proxy.get("/s", headers={"X-Bad": "1", "Accept": "text/html"})
    assert html.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<p>An unexpected error occurred.</p>" in html.text


@pytest.mark.parametrize("phase", ["header_filter", "body_filter", "log"])
def test_error_after_the_service_is_only_logged(node, phase):
    gw = node(f"function P:{phase}() error('kaboom in {phase}') end")
    workers = gw.workers()
    for _ in range(3):
        answer = gw.proxy.get("/s")
        assert answer.status_code == 200
        assert answer.json()["path"] == "/"
        assert answer.headers["X-After-Filter"] == "ran"
    gw.wait_log(rf"plugin faulty failed in {phase}: .*kaboom in {phase}\nstack traceback")
    gw.wait_log(r"after logs /s end")
    assert gw.workers() == workers


def test_error_values_that_are_not_text(node):
    gw = node("function P:access() error({ code = 7 }) end")
    assert gw.proxy.get("/s").status_code == 500
    assert gw.proxy.get("/s").json()["message"] == "An unexpected error occurred"


def test_errors_in_init_worker_and_configure(node):
    gw = node("""
function P:init_worker() error("bad start") end
function P:configure() error("bad configure") end
function P:access() ngx.header["X-Faulty"] = "runs" end""")
    assert gw.proxy.get("/s").headers["X-Faulty"] == "runs"
    gw.wait_log(r"plugin faulty failed in init_worker: .*bad start")
    gw.wait_log(r"plugin faulty failed in configure: .*bad configure")


@pytest.mark.parametrize("handler, reason", [
    ("local P = { PRIORITY = 1, VERSION = '1.0.0' }\nfunction P:access( end\nreturn P", r"handler\.lua:2:.*near 'end'"),
    ("return 1", r"handler\.lua: the module must return a table, it returned a number"),
    ("return { VERSION = '1.0.0' }", r"PRIORITY must be an integer, it is missing"),
    ("return { PRIORITY = 1.5, VERSION = '1.0.0' }", r"PRIORITY must be an integer, it is 1\.5"),
    ("return { PRIORITY = 1 }", r"VERSION must be a string of the form x\.y\.z, it is missing"),
    ("return { PRIORITY = 1, VERSION = '1.0.0-beta' }", r"VERSION must be of the form x\.y\.z, it is '1\.0\.0-beta'"),
    ("return { PRIORITY = 1, VERSION = '1.0.0', response = function() end, header_filter = function() end }",
     r"a handler may not have both a response and a header_filter function"),
    ("return { PRIORITY = 1, VERSION = '1.0.0', access = 1 }", r"access must be a function, it is a number"),
    ("require 'does.not.exist'\nreturn {}", r"module 'does\.not\.exist' not found"),
])
def test_faulty_handlers_stop_the_start(gateway, plugin, handler, reason):
    gw = gateway(start=False, plugins="bundled,faulty", lua_package_path=plugin("faulty", handler))
    result = gw.run("start")
    assert result.returncode != 0
    import re
    assert re.search(r"faulty plugin:.*" + reason, result.stderr + result.stdout, re.S), result.stderr + result.stdout
    assert not gw.processes()


def test_unknown_plugin_stops_the_start(gateway):
    gw = gateway(start=False, plugins="bundled,nosuch")
    result = gw.run("start")
    assert result.returncode != 0
    assert "nosuch plugin is enabled but not installed" in result.stderr + result.stdout
    assert not gw.processes()


def test_phase_errors_name_the_phases(gateway, echo_server):
    gw = gateway(plugins="bundled,probe", lua_package_path=package_path("probe"), nginx_worker_processes=1)
    probe = Probe(gw, echo_server.url)
    ok = "return pcall(kong.response.set_status, 200)"
    assert probe.run(ok)[0] is True
    probe.configure(log="local ok, err = pcall(kong.response.set_status, 200); return ok, err")
    probe.request()
    ok, values = probe.logged("log")
    assert values[0] is False
    assert values[1].endswith("function cannot be called in log phase (only in: rewrite, access, balancer, response, header_filter, "
                              "error, admin_api)")
