"""PDK functions, each called by the probe plugin on a real request. One node for all of them."""
import json
import re
import subprocess

import pytest

import support
from dnsserver import DnsServer
from lua_support import LuaError, Probe, create, package_path
from support import ROOT


@pytest.fixture(scope="module")
def names():
    """A name server that knows no name, in place of the machine's, which may not answer at all."""
    with DnsServer() as server:
        yield server


@pytest.fixture(scope="module")
def node(names):
    ports = support.Ports()
    echo = support.EchoServer(ports.take())
    gw = support.Gateway(ports, {"plugins": "bundled,probe,probe-response", "nginx_worker_processes": 1, "trusted_ips": "127.0.0.1",
                                 "lua_package_path": package_path("probe", "probe-response"), "dns_resolver": f"127.0.0.1:{names.port}",
                                 "nginx_http_client_body_buffer_size": "8k", "nginx_http_lua_shared_dict": "probe_dict 1m"})
    gw.start()
    gw.echo = echo
    gw.probes = {"probe": Probe(gw, echo.url + "/base"), "probe-response": Probe(gw, echo.url, "probe-response", "/response")}
    yield gw
    gw.close()
    echo.close()
    ports.release()


@pytest.fixture
def probe(node):
    return node.probes["probe"]


@pytest.fixture
def probe_response(node):
    return node.probes["probe-response"]


# ---- phases ----

def test_the_phase_table_is_the_interface_s(probe):
    ours = probe.value("return require('kong.silverback.phases').ALLOWED")
    facts = json.loads((ROOT / "tests" / "data" / "pdk_phases.json").read_text())
    assert set(ours) == set(facts)
    for name, phases in facts.items():
        allowed = set(ours[name].split())
        if isinstance(phases, dict):
            assert not allowed & set(phases["not"]), name
        else:
            assert allowed == set(phases), name


def test_every_function_of_the_table_exists(probe):
    facts = json.loads((ROOT / "tests" / "data" / "pdk_phases.json").read_text())
    for name in facts:
        assert probe.value(f"return type({name})") == "function", name


def test_what_is_absent_is_nil(probe):
    for name in ("kong.vault", "kong.tracing", "kong.websocket", "kong.enterprise_edition", "kong.db"):
        assert probe.value(f"return {name} == nil"), name


# ---- kong.request ----

def test_request_line(probe):
    code = """return kong.request.get_scheme(), kong.request.get_host(), kong.request.get_port(), kong.request.get_method(),
        kong.request.get_path(), kong.request.get_raw_path(), kong.request.get_path_with_query(), kong.request.get_raw_query(),
        kong.request.get_http_version()"""
    values = probe.run(code, path="/a//b%20c?x=1&y=%20z", headers={"Host": "EXAMPLE.com:123"})
    assert values == ["http", "example.com", probe.gw.proxy_port, "GET", "/probe/a/b%20c", "/probe/a//b%20c",
                      "/probe/a//b%20c?x=1&y=%20z", "x=1&y=%20z", 1.1]
    assert probe.value("return kong.request.get_raw_query()") == ""
    assert probe.value("return kong.request.get_scheme()", site=probe.gw.proxy_tls) == "https"


def test_request_functions_work_in_every_phase(probe):
    for phase in ("access", "header_filter", "body_filter", "log"):
        values = probe.run("return kong.request.get_path(), kong.request.get_header('x-case'), kong.request.get_start_time() > 1.6e12",
                           phase)
        assert values == ["/probe", probe.case, True], phase


def test_forwarded(probe):
    code = """return kong.request.get_forwarded_scheme(), kong.request.get_forwarded_host(), kong.request.get_forwarded_port(),
        kong.request.get_forwarded_path(), kong.request.get_forwarded_prefix()"""
    headers = {"X-Forwarded-Proto": "HTTPS", "X-Forwarded-Host": "me@Front.Example:8443", "X-Forwarded-Path": "/front",
               "X-Forwarded-Prefix": "/pre"}
    assert probe.run(code, headers=headers) == ["https", "front.example", 8443, "/front", "/pre"]
    assert probe.run(code, headers={**headers, "X-Forwarded-Port": "99"})[2] == 99
    plain = probe.run(code, path="/x", headers={"Host": "h.example"})
    assert plain == ["http", "h.example", probe.gw.proxy_port, "/probe/x", "/probe"]


def test_query(probe):
    code = "return kong.request.get_query(), kong.request.get_query_arg('a'), kong.request.get_query_arg('flag'), kong.request.get_query_arg('none')"
    values = probe.run(code, path="?a=1&a=2&flag&e=&n%20m=v%2B")
    assert values == [{"a": ["1", "2"], "flag": True, "e": "", "n m": "v+"}, "1", True, None]
    assert probe.run("return select(2, kong.request.get_query(2))", path="?a=1&b=2&c=3") == ["truncated"]
    for bad, text in (("0", "max_args must be >= 1"), ("1001", "max_args must be <= 1000"), ("'x'", "max_args must be a number")):
        with pytest.raises(LuaError, match=re.escape(text)):
            probe.run(f"return kong.request.get_query({bad})")
    with pytest.raises(LuaError, match="query argument name must be a string"):
        probe.run("return kong.request.get_query_arg(1)")


def test_request_headers(probe):
    code = "return kong.request.get_header('x_tWo'), kong.request.get_header('X-None'), kong.request.get_headers()['x-two']"
    assert probe.run(code, headers={"X-Two": "2"}) == ["2", None, "2"]
    with pytest.raises(LuaError, match="header name must be a string"):
        probe.run("return kong.request.get_header()")
    with pytest.raises(LuaError, match="max_headers must be <= 1000"):
        probe.run("return kong.request.get_headers(1001)")


def test_bodies(probe):
    body = "return kong.request.get_raw_body()"
    assert probe.value(body) == ""
    assert probe.value(body, method="POST", data=b"hello") == "hello"
    assert probe.answer.json()["body"] == "hello", "the service still gets it"
    big = b"x" * 20000
    err = "request body did not fit into client body buffer, consider raising 'client_body_buffer_size'"
    assert probe.run(body, method="POST", data=big) == [None, err]
    assert probe.run("return #kong.request.get_raw_body(0)", method="POST", data=big) == [20000]
    assert probe.run("return kong.request.get_raw_body(100)", method="POST", data=big) == [None, "request body file too big: 20000 > 100"]

    code = "return kong.request.get_body()"
    assert probe.run(code, method="POST", json={"a": [1]}) == [{"a": [1]}, None, "application/json"]
    assert probe.run(code, method="POST", data={"a": "1 2", "b": ["x", "y"]}) == \
        [{"a": "1 2", "b": ["x", "y"]}, None, "application/x-www-form-urlencoded"]
    assert probe.run(code, method="POST", files={"a": (None, "one"), "f": ("n.txt", b"two\r\nlines")}) == \
        [{"a": "one", "f": "two\r\nlines"}, None, "multipart/form-data"]
    assert probe.run(code, method="POST", data="{", headers={"Content-Type": "application/json"}) == \
        [None, "invalid json body", "application/json"]
    assert probe.run(code, method="POST", data="x")[:2] == [None, "missing content type"]
    assert probe.run(code, method="POST", data="x", headers={"Content-Type": "text/x"})[:2] == [None, "unsupported content type 'text/x'"]
    assert probe.run(code, method="POST", data="x", headers={"Content-Type": "multipart/form-data; boundary=b"})[:2] == \
        [None, "unable to decode multipart body"]


def test_uri_captures(node, echo_server):
    gw = node
    probe = Probe.__new__(Probe)
    service = create(gw, "/services", name="captures", url=echo_server.url)
    route = create(gw, f"/services/{service['id']}/routes", paths=[r"~/cap/(?<id>\d+)/(\w+)"])
    row = create(gw, f"/routes/{route['id']}/plugins", name="probe", config={})
    probe.gw, probe.plugin, probe.path, probe.prefix, probe.row = gw, "probe", "/cap", "X-Probe-", row
    code = "local c = kong.request.get_uri_captures(); return c.named, c.unnamed[0], c.unnamed[1], c.unnamed[2]"
    assert probe.run(code, path="/12/abc") == [{"id": "12"}, "/cap/12/abc", "12", "abc"]


# ---- kong.service.request ----

def sent(probe, code, **request):
    """What reaches the service after the code ran in access."""
    probe.run(code, **request)
    return probe.answer.json()


def test_upstream_request(probe):
    seen = sent(probe, """
        kong.service.request.set_method("PUT")
        kong.service.request.set_path("/new path/%41")
        kong.service.request.set_query({ b = { "1", true }, a = "x y", off = false })
        kong.service.request.set_header("X-One", "1")
        kong.service.request.add_header("X-More", "more")
        kong.service.request.set_headers({ ["X-Num"] = 5, ["X-Bool"] = true, ["X-List"] = { "p", "q" }, ["X-Empty"] = "" })
        kong.service.request.clear_header("X-Gone")
        return kong.request.get_path()""", headers={"X-Gone": "1", "X-More": "some"})
    assert (seen["method"], seen["path"], seen["query"]) == ("PUT", "/new%20path/%41", "a=x%20y&b=1&b")
    assert seen["headers"]["x-one"] == "1" and "x-gone" not in seen["headers"]
    listed = [(k.lower(), v.strip()) for k, v in seen["header_list"]]
    assert [v for k, v in listed if k == "x-list"] == ["p", "q"]
    assert [v for k, v in listed if k == "x-more"] == ["some", "more"]
    assert ("x-num", "5") in listed and ("x-bool", "true") in listed and ("x-empty", "") in listed


def test_upstream_query_and_host(probe):
    seen = sent(probe, "kong.service.request.set_raw_query('q=%20&z'); kong.service.request.set_header('Host', 'other.example')")
    assert seen["query"] == "q=%20&z" and seen["headers"]["host"] == "other.example"
    seen = sent(probe, "kong.service.request.clear_query_arg('a')", path="?a=1&b=2&a=3&%61=4&c")
    assert seen["query"] == "b=2&c"


def test_upstream_body(probe):
    seen = sent(probe, "kong.service.request.set_raw_body('short')", method="POST", data=b"a longer body")
    assert seen["body"] == "short" and seen["headers"]["content-length"] == "5"
    seen = sent(probe, "return kong.service.request.set_body({ a = 1, b = { 'x' } }, 'application/json')", method="POST", data=b"{}")
    assert json.loads(seen["body"]) == {"a": 1, "b": ["x"]} and seen["headers"]["content-type"] == "application/json"
    seen = sent(probe, "return kong.service.request.set_body({ b = '2 3', a = { 1, 2 } })", method="POST", data={"x": "y"})
    assert seen["body"] == "a=1&a=2&b=2%203"
    seen = sent(probe, "return kong.service.request.set_body({ b = '2', a = '1' }, 'multipart/form-data; boundary=BB')", method="POST", data="x")
    assert seen["body"] == ('--BB\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
                            '--BB\r\nContent-Disposition: form-data; name="b"\r\n\r\n2\r\n--BB--\r\n')
    assert probe.run("return kong.service.request.set_body({}, 'text/x')") == [None, "unsupported content type text/x"]


@pytest.mark.parametrize("call, text", [
    ("set_method(1)", "method must be a string"), ("set_method('BREW')", "invalid method: BREW"),
    ("set_scheme('ftp')", "invalid scheme: ftp"), ("set_path('x')", "path must start with /"),
    ("set_raw_query({})", "query must be a string"), ("set_query('x')", "args must be a table"),
    ("set_header(1, 'x')", 'invalid header name "1": got number, expected string'),
    ("set_header('x', nil)", 'invalid header value for "x": got nil, expected array of string, string, number or boolean'),
    ("set_headers('x')", "headers must be a table"), ("clear_header(nil)", "header must be a string"),
    ("set_raw_body(1)", "body must be a string"), ("set_body('x')", "args must be a table"),
])
def test_service_request_arguments(probe, call, text):
    with pytest.raises(LuaError, match=re.escape(text)) as raised:
        probe.run(f"\nkong.service.request.{call}")
    assert str(raised.value).startswith("probe:2:"), "the caller's line is blamed"


def test_upstreams_that_only_plugins_name_keep_their_turns(node, probe, echo_servers):
    ports = [echo_servers().port for _ in range(2)]
    create(node, "/upstreams", name="turns.example")
    for port in ports:
        create(node, "/upstreams/turns.example/targets", target=f"127.0.0.1:{port}")
    seen = [sent(probe, "return kong.service.set_upstream('turns.example')")["port"] for _ in range(20)]
    assert all(seen[i] != seen[i + 1] for i in range(19)), seen


def test_target_and_scheme(node, probe, echo_servers):
    other = echo_servers()
    assert sent(probe, f"kong.service.set_target('127.0.0.1', {other.port})")["port"] == other.port
    create(node, "/upstreams", name="pool.example")
    create(node, "/upstreams/pool.example/targets", target=f"127.0.0.1:{other.port}")
    assert sent(probe, "return kong.service.set_upstream('pool.example')")["port"] == other.port
    assert probe.run("return kong.service.set_upstream('nosuch.example')") == [None, "could not find an Upstream named 'nosuch.example'"]
    for call, text in (("set_target('h', 70000)", "port must be an integer between 0 and 65535: given 70000"),
                       ("set_retries(-1)", "retries must be an integer between 0 and 32767: given -1"),
                       ("set_timeouts(1, 0, 1)", "write_timeout must be an integer between 1 and 2147483646: given 0")):
        with pytest.raises(LuaError, match=re.escape(text)):
            probe.run(f"kong.service.{call}")


def test_timeouts(probe):
    probe.run("kong.service.set_retries(0); kong.service.set_timeouts(1000, 1000, 150)", path="?delay=3")
    assert probe.answer.status_code == 504


# ---- kong.response ----

def test_response_headers(probe):
    values = probe.run("""
        kong.response.set_header("X-Set", "one")
        kong.response.add_header("X-Set", "two")
        kong.response.set_headers({ ["X-A"] = "a", ["X-B"] = { "1", "2" } })
        kong.response.clear_header("X-Up")
        kong.response.set_status(203)
        return kong.response.get_header("x-set"), kong.response.get_headers()["x-b"], kong.response.get_status(),
               kong.response.get_source(), kong.response.get_header("X-Other")""", "header_filter",
                       path="?header=X-Up:1&header=X-Other:2")
    assert values == ["one", ["1", "2"], 203, "service", "2"]
    answer = probe.answer
    assert answer.status_code == 203 and answer.headers["X-Set"] == "one, two" and "X-Up" not in answer.headers
    assert answer.headers["X-B"] == "1, 2"


def test_access_headers_reach_the_client(probe):
    probe.run("kong.response.set_header('X-Early', 'yes')")
    assert probe.answer.status_code == 200 and probe.answer.headers["X-Early"] == "yes"


def test_exit(node, probe):
    before = len(node.echo.requests)

    def end(code, phase="access", **request):
        probe.configure(**{phase: code + "; error('not reached')", "header_filter": "return kong.response.get_source()"})
        return probe.request(**request)

    answer = end("kong.response.exit(403, { message = 'no' }, { ['X-Why'] = 'because' })")
    assert answer.status_code == 403 and answer.text == '{"message":"no"}' and answer.headers["X-Why"] == "because"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8" and answer.headers["Content-Length"] == "16"
    assert answer.headers["Server"].startswith("kong/") and "Via" not in answer.headers
    assert json.loads(answer.headers["X-Probe-header-filter"])["values"] == ["exit"]
    answer = end("kong.response.exit(200, 'text', { ['Content-Type'] = 'text/x' })")
    assert (answer.status_code, answer.text, answer.headers["Content-Type"]) == (200, "text", "text/x")
    answer = end("kong.response.exit(204)")
    assert answer.status_code == 204 and answer.content == b""
    answer = end("pcall(function() kong.response.exit(409) end)")
    assert answer.status_code == 409, "an exit cannot be caught"
    answer = end("ngx.status = 402; ngx.say('said'); ngx.exit(402)")
    assert answer.status_code == 402 and answer.text == "said\n"
    assert len(node.echo.requests) == before


def test_exit_in_rewrite(node, plugin, gateway):
    gw = gateway(plugins="bundled,quit", nginx_worker_processes=1, lua_package_path=plugin("quit", """
        local P = { PRIORITY = 1, VERSION = "1.0.0" }
        function P:rewrite() if kong.request.get_path() == "/quit" then kong.response.exit(410, { message = "gone" }) end end
        function P:access() ngx.header["X-Access"] = "ran" end
        function P:header_filter() ngx.header["X-Filter"] = "ran" end
        return P"""))
    create(gw, "/plugins", name="quit")
    create(gw, "/routes", paths=["/"])
    answer = gw.proxy.get("/quit")
    assert answer.status_code == 410 and answer.json() == {"message": "gone"}
    assert answer.headers["X-Filter"] == "ran" and "X-Access" not in answer.headers


def test_error_answers(probe):
    def end(code, **headers):
        probe.configure(access=code)
        return probe.request(headers=headers)

    answer = end("kong.response.error(418, 'short and stout')", Accept="application/json")
    assert answer.status_code == 418
    assert answer.text == '{\n  "message":"short and stout",\n  "request_id":"%s"\n}' % answer.headers["X-Kong-Request-Id"]
    assert end("kong.response.error(404)").json()["message"] == "Not found"
    assert end("kong.response.error(500)", Accept="text/html").headers["Content-Type"] == "text/html; charset=utf-8"
    answer = end("kong.response.error(400, nil, { ['Content-Type'] = 'application/xml', ['X-More'] = '1' })", Accept="text/html")
    assert answer.headers["Content-Type"] == "application/xml; charset=utf-8" and answer.headers["X-More"] == "1"
    assert "<message>Bad request</message>" in answer.text
    assert end("kong.response.error(400, { a = 1 })").text.startswith('{\n  "message":"{"a":1}"')
    probe.configure(header_filter="return kong.response.get_source()", access="kong.response.error(400)")
    assert json.loads(probe.request().headers["X-Probe-header-filter"])["values"] == ["error"]


@pytest.mark.parametrize("call, text", [
    ("exit('x')", "code must be a number"), ("exit(99)", "code must be a number between 100 and 599"),
    ("exit(200, 1)", "body must be a nil, string or table"), ("exit(200, nil, 1)", "headers must be a nil or table"),
    ("error(200)", "code must be a number between 400 and 599"), ("error(400, 1)", "message must be a nil, string or table"),
    ("set_status(600)", "code must be a number between 100 and 599"), ("set_header(nil, 'x')", "invalid header name"),
    ("add_header('x', {{}})", 'invalid header value in array "x": got table, expected string'),
    ("clear_header(1)", "header name must be a string"), ("set_headers(1)", "headers must be a table"),
])
def test_response_arguments(probe, call, text):
    with pytest.raises(LuaError, match=re.escape(text)) as raised:
        probe.run(f"\nkong.response.{call}")
    assert str(raised.value).startswith("probe:2:")


def test_exit_of_a_grpc_request(node, probe):
    probe.configure(access="kong.response.exit(403, { message = 'not you' })")
    result = subprocess.run(["curl", "-sk", "--http2", "-i", "-H", "Content-Type: application/grpc", f"https://127.0.0.1:{node.tls_port}/probe"],
                            capture_output=True, text=True, timeout=30)
    head = result.stdout.lower()
    assert "grpc-status: 7" in head and "grpc-message: not you" in head and "content-type: application/grpc" in head


def test_exit_in_header_filter_replaces_the_answer(probe):
    probe.configure(header_filter="kong.response.exit(207, { message = 'changed' }, { ['X-New'] = '1' })")
    answer = probe.request(path="?size=100000")
    assert answer.status_code == 207 and answer.json() == {"message": "changed"} and answer.headers["X-New"] == "1"


# ---- bodies of answers ----

def test_body_filter_sees_every_chunk(probe):
    probe.configure(body_filter="""
        local t = kong.ctx.plugin
        t.bytes = (t.bytes or 0) + #ngx.arg[1]
        t.ends = (t.ends or 0) + (ngx.arg[2] and 1 or 0)
        kong.ctx.shared.seen = t.bytes .. " " .. t.ends""", log="return kong.ctx.shared.seen")
    answer = probe.request(path="?size=300000")
    assert len(answer.content) == 300000
    assert probe.logged("log")[1] == ["300000 1"]


def test_raw_body_is_gathered_and_replaced(probe):
    probe.configure(header_filter="kong.response.clear_header('Content-Length')", body_filter="""
        local body = kong.response.get_raw_body()
        if body then
          kong.response.set_raw_body("[" .. #body .. "]")
          return body:sub(1, 3)
        end""")
    assert probe.request(path="?size=200000").text == "[200000]"
    assert probe.request(path="?size=0").text == "[0]"


# ---- response phase and buffering ----

def test_response_phase(node, probe_response):
    code = """
        return kong.service.response.get_status(), kong.service.response.get_header("X-Up"), #kong.service.response.get_raw_body(),
               kong.response.get_status(), kong.response.get_header("x-up"), kong.service.response.get_headers()["content-type"]"""
    values = probe_response.run(code, "response", path="?size=5000&header=X-Up:1&status=201")
    assert values == [201, "1", 5000, 201, "1", "application/json"]
    assert probe_response.answer.status_code == 201 and probe_response.answer.content == b"x" * 5000
    assert probe_response.answer.headers["X-Up"] == "1"
    assert probe_response.answer.headers["Via"] == "1.1 kong/3.9.1"
    assert int(probe_response.answer.headers["X-Kong-Upstream-Latency"]) >= 0


def test_response_phase_changes_the_answer(probe_response):
    probe_response.configure(response="""
        kong.response.set_status(202)
        kong.response.set_header("X-Mine", kong.service.response.get_body().method)
        kong.response.clear_header("X-Up")""")
    answer = probe_response.request(path="?header=X-Up:1")
    assert answer.status_code == 202 and answer.headers["X-Mine"] == "GET" and "X-Up" not in answer.headers
    assert answer.json()["method"] == "GET"
    probe_response.configure(response="kong.response.exit(299, { was = kong.service.response.get_status() })")
    answer = probe_response.request()
    assert answer.status_code == 299 and answer.json() == {"was": 200}


def test_response_phase_may_wait(node, probe_response):
    values = probe_response.run(f"""
        local sock = ngx.socket.tcp()
        assert(sock:connect("127.0.0.1", {node.echo.port}))
        assert(sock:send("GET /side HTTP/1.0\\r\\n\\r\\n"))
        local line = sock:receive("*l")
        sock:close()
        ngx.sleep(0.01)
        return line""", "response")
    assert values == ["HTTP/1.1 200 OK"]


def test_response_phase_error(probe_response):
    probe_response.configure(response="ngx.header['X-Partly'] = '1'")
    assert probe_response.request(path="?close=1").status_code == 502


def test_response_phase_when_the_service_cannot_be_asked(node, plugin):
    service = create(node, "/services", name="nowhere", url="http://name.invalid")
    route = create(node, f"/services/{service['id']}/routes", paths=["/nowhere"])
    create(node, f"/routes/{route['id']}/plugins", name="probe-response", config={"response": "ngx.header['X-Ran'] = '1'"})
    answer = node.proxy.get("/nowhere")
    assert answer.status_code == 503 and answer.json()["message"] == "name resolution failed" and "X-Ran" not in answer.headers


def test_response_phase_with_bodies(probe_response):
    code = "return kong.request.get_raw_body(), kong.service.response.get_body().body"
    assert probe_response.run(code, "response", method="POST", data=b"payload") == ["payload", "payload"]
    assert probe_response.answer.json()["body"] == "payload"
    probe_response.configure(response="ngx.header['X-Size'] = #kong.service.response.get_raw_body()")
    answer = probe_response.request(path="?size=900000")
    assert len(answer.content) == 900000 and answer.headers["X-Size"] == "900000"
    assert probe_response.request("HEAD").status_code == 200


def test_response_phase_on_http2(node, probe_response):
    probe_response.configure(response="ngx.header['X-Status'] = kong.service.response.get_status()")
    for body in ([], ["--data-binary", "y" * 30000]):
        result = subprocess.run(["curl", "-sk", "--http2", "-i", "-H", "X-Case: h2", *body, f"https://127.0.0.1:{node.tls_port}/response"],
                                capture_output=True, text=True, timeout=30)
        assert result.stdout.startswith("HTTP/2 200"), result.stdout + result.stderr
        assert "x-status: 200" in result.stdout
        assert '"path": "/"' in result.stdout


def test_enable_buffering(probe):
    probe.configure(access="kong.service.request.enable_buffering()", header_filter="return kong.service.response.get_raw_body()")
    answer = probe.request(path="?size=10")
    assert json.loads(answer.headers["X-Probe-access"])["ok"]
    assert json.loads(answer.headers["X-Probe-header-filter"])["values"] == ["x" * 10] and answer.text == "x" * 10
    probe.configure(header_filter="return kong.service.response.get_raw_body()")
    assert "only available with buffered proxying" in json.loads(probe.request().headers["X-Probe-header-filter"])["values"][0]


# ---- kong.client, kong.router, kong.ctx ----

def test_client(probe):
    code = "return kong.client.get_ip(), kong.client.get_forwarded_ip(), kong.client.get_port() > 0, (kong.client.get_protocol())"
    assert probe.run(code) == ["127.0.0.1", "127.0.0.1", True, "http"]
    assert probe.run("return (kong.client.get_protocol())", site=probe.gw.proxy_tls) == ["https"]
    assert probe.run("return (kong.client.get_protocol(true))", headers={"X-Forwarded-Proto": "https"}) == ["https"]
    assert probe.run("return kong.client.get_consumer(), kong.client.get_credential()") == [None, None]


def test_authenticate(node, probe):
    ann = create(node, "/consumers", username="ann", custom_id="a1")
    values = probe.run(f"""
        local c = kong.client.load_consumer("{ann['id']}")
        kong.client.authenticate(c, {{ id = "k1" }})
        return c.username, kong.client.get_consumer() == c, kong.client.get_credential().id, ngx.ctx.authenticated_consumer.custom_id,
               kong.client.load_consumer("nobody", true), kong.client.load_consumer("ann", true).id""")
    assert values == ["ann", True, "k1", "a1", None, ann["id"]]
    for call, text in (("load_consumer(1)", "consumer_id must be a string"),
                       ("load_consumer('ann')", "cannot load a consumer with an id that is not a uuid"),
                       ("authenticate()", "either credential or consumer must be provided"),
                       ("authenticate('x')", "consumer must be a table or nil")):
        with pytest.raises(LuaError, match=re.escape(text)):
            probe.run(f"return kong.client.{call}")


def test_router_and_ctx(probe):
    values = probe.run("""
        kong.ctx.shared.a, kong.ctx.plugin.b = 1, 2
        return kong.router.get_route().id, kong.router.get_service().id, ngx.ctx.route == kong.router.get_route(), kong.ctx.shared.a,
               kong.ctx.plugin.b, kong.ctx.plugin.a, kong.plugin.get_id(), kong.router.get_route().snis""")
    assert values == [probe.route["id"], probe.service["id"], True, 1, 2, None, probe.row["id"], None]


# ---- kong.log ----

def test_log_lines(probe):
    probe.run("\nkong.log.err('one ', 2, ' ', nil, ' ', true)\nkong.log('plain')\nkong.log.inspect({ a = 1 })\nkong.log.warn()")
    log = probe.gw.log()
    assert re.search(r"\[error\] .*\[kong\] probe:2 \[probe\] one 2 nil true", log)
    assert re.search(r"\[notice\] .*\[kong\] probe:3 \[probe\] plain", log)
    assert "a = 1" in log
    probe.run("""
        local log = kong.log.new("mine", "%namespace|%message|%line_src")
        log.err("hello")
        kong.log.deprecation("old thing", { after = "1.0", removal = "2.0" })""")
    log = probe.gw.log()
    assert "mine|hello|3" in log
    assert "old thing (deprecated after 1.0, scheduled for removal in 2.0)" in log


def test_serialize(node, probe):
    node.admin.delete("/consumers/zoe")
    zoe = create(node, "/consumers", username="zoe")
    probe.configure(access=f"""
        kong.client.authenticate(kong.client.load_consumer("{zoe['id']}"), {{ id = "cred" }})
        kong.log.set_serialize_value("my.own.value", {{ 1, "x" }})
        kong.log.set_serialize_value("request.method", "CHANGED", {{ mode = "add" }})
        kong.log.set_serialize_value("nothing", 1, {{ mode = "replace" }})
        kong.log.set_serialize_value("response.size", nil)""", log="return kong.log.serialize()")
    answer = probe.request("POST", "/x?a=1&b&a=2", data=b"12345", headers={"Authorization": "secret", "Host": "log.example"})
    assert answer.status_code == 200
    entry = probe.logged("log")[1][0]
    assert entry["request"]["id"] == answer.headers["X-Kong-Request-Id"]
    assert entry["request"]["uri"] == "/probe/x?a=1&b&a=2" and entry["request"]["method"] == "POST"
    assert entry["request"]["url"] == f"http://log.example:{node.proxy_port}/probe/x?a=1&b&a=2"
    assert entry["request"]["querystring"] == {"a": ["1", "2"], "b": True}
    assert entry["request"]["headers"]["authorization"] == "REDACTED"
    assert entry["request"]["size"] > 5
    assert entry["upstream_uri"] == "/base/x?a=1&b&a=2" and entry["upstream_status"] == "200"
    assert entry["response"]["status"] == 200 and entry["response"]["headers"]["content-type"] == "application/json"
    assert "size" not in entry["response"], "removed by the plugin"
    assert all(isinstance(entry["latencies"][k], int) for k in ("kong", "proxy", "request", "receive"))
    assert entry["latencies"]["request"] >= entry["latencies"]["proxy"] >= 0
    assert entry["route"]["id"] == probe.route["id"] and entry["service"]["id"] == probe.service["id"]
    assert entry["route"]["ws_id"] == entry["workspace"] and entry["workspace_name"] == "default"
    assert entry["authenticated_entity"] == {"id": "cred", "consumer_id": zoe["id"]}
    assert entry["consumer"]["username"] == "zoe"
    assert entry["client_ip"] == "127.0.0.1" and entry["source"] == "upstream" and entry["started_at"] > 1.6e12
    assert entry["tries"][0]["ip"] == "127.0.0.1" and entry["tries"][0]["port"] == node.echo.port
    assert entry["my"]["own"]["value"] == [1, "x"] and "nothing" not in entry
    assert "snis" not in entry["route"], "nulls are left out"


def test_serialize_of_an_exit(probe):
    probe.configure(access="kong.response.exit(403)", log="return kong.log.serialize()")
    probe.request()
    entry = probe.logged("log")[1][0]
    assert entry["source"] == "kong" and entry["response"]["status"] == 403 and entry["upstream_status"] == ""
    assert entry["latencies"]["proxy"] == -1 and entry["latencies"]["receive"] == 0 and "tries" not in entry


# ---- the rest ----

def test_node_and_configuration(node, probe):
    values = probe.run("""
        return kong.version, kong.version_num, kong.configuration.plugins, kong.configuration.prefix, kong.configuration.nosuch,
               #kong.node.get_id(), kong.nginx.get_subsystem(), kong.nginx.get_statistics().connections_active >= 1,
               kong.node.get_memory_stats().workers_lua_vms[1].http_allocated_gc > 0,
               kong.node.get_memory_stats("k").lua_shared_dicts.probe_dict.capacity, kong.ip.is_trusted("127.0.0.1"),
               kong.ip.is_trusted("10.0.0.1"), kong.table.merge({ a = 1, b = 1 }, { b = 2 })""")
    assert values == ["3.9.1", 3009001, ["bundled", "probe", "probe-response"], str(node.prefix), None, 36, "http", True, True,
                      "1024.00 KiB", True, False, {"a": 1, "b": 2}]
    with pytest.raises(LuaError, match="cannot write to configuration"):
        probe.run("kong.configuration.x = 1")


def test_timers(probe):
    probe.run("assert(kong.timer:at(0, function(premature, a) ngx.log(ngx.NOTICE, 'timer ran ', a, ' ', tostring(premature)) end, 'once'))")
    probe.gw.wait_log("timer ran once false")
    assert probe.run("kong.timer:named_every('n', 60, function() end); local ok = kong.timer:cancel('n'); return ok, kong.timer:cancel('n')") == \
        [True, None, "timer not found"]


def test_variables(probe):
    values = probe.run("""
        local before = ngx.var.upstream_host
        ngx.var.upstream_uri = "/by/variable"
        ngx.var.upstream_host = "var.example"
        return before, ngx.var.upstream_uri, ngx.var.upstream_scheme, ngx.var.kong_request_id""", path="/x?q=1")
    assert values == [f"127.0.0.1:{probe.gw.echo.port}", "/by/variable", "http", probe.answer.headers["X-Kong-Request-Id"]]
    seen = probe.answer.json()
    assert seen["path"] == "/by/variable" and seen["query"] == "q=1" and seen["headers"]["host"] == "var.example"


def test_no_content_type_is_invented(probe):
    probe.configure(access="ngx.header['X-Set'] = '1'; kong.response.exit(200, 'plain')")
    assert "Content-Type" not in probe.request().headers


def test_ngx_api_reaches_the_service(probe):
    seen = sent(probe, """
        ngx.req.set_header("X-Raw", "1")
        ngx.req.set_uri_args({ a = "b" })
        ngx.req.clear_header("X-Gone")
        return kong.request.get_header("X-Raw")""", headers={"X-Gone": "1"})
    assert seen["headers"]["x-raw"] == "1" and seen["query"] == "a=b" and "x-gone" not in seen["headers"]
    seen = sent(probe, "ngx.req.read_body(); ngx.req.set_body_data('changed')", method="POST", data=b"original body")
    assert seen["body"] == "changed"
    seen = sent(probe, "ngx.req.set_method(ngx.HTTP_PUT)")
    assert seen["method"] == "PUT"
