"""A client's Connection header names headers that end at the gateway: the client's own, all of them, and nobody else's."""
import pytest

import support
from lua_support import Probe, create, package_path
from proxy_support import Raw


@pytest.fixture(scope="module")
def node():
    ports = support.Ports()
    gw = support.Gateway(ports, {"plugins": "bundled,probe", "nginx_worker_processes": 1, "lua_package_path": package_path("probe")})
    gw.start()
    gw.echo = support.EchoServer(ports.take())
    gw.probe = Probe(gw, gw.echo.url)
    yield gw
    gw.close()
    gw.echo.close()
    ports.release()


def seen(node, *lines, path="/probe"):
    """The service's headers: name (lower case) -> values."""
    raw = Raw(node.proxy_port).send(f"GET {path} HTTP/1.1\r\nHost: h\r\n" + "".join(line + "\r\n" for line in lines) + "\r\n")
    assert raw.response()[0] == 200
    raw.close()
    found = {}
    for name, value in node.echo.requests[-1]["header_list"]:
        found.setdefault(name.lower(), []).append(value)
    return found


# What a plugin does, and what of X-Mine reaches the service when the client has named it: with a value of its own, and without.
CASES = [
    ("nothing", "", None, None),
    ("set", "kong.service.request.set_header('X-Mine', 'plugin')", ["plugin"], ["plugin"]),
    ("add", "kong.service.request.add_header('X-Mine', 'plugin')", ["plugin"], ["plugin"]),
    ("set twice", "kong.service.request.set_headers({ ['X-Mine'] = { 'a', 'b' } })", ["a", "b"], ["a", "b"]),
    ("clear", "kong.service.request.clear_header('X-Mine')", None, None),
    ("clear and set", "kong.service.request.clear_header('X-Mine') kong.service.request.set_header('X-Mine', 'plugin')", ["plugin"], ["plugin"]),
    ("nginx's way", "ngx.req.set_header('X-Mine', 'plugin')", ["plugin"], ["plugin"]),
    ("nginx's way, cleared", "ngx.req.clear_header('X-Mine')", None, None),
    ("nginx's way, cleared and set", "ngx.req.clear_header('X-Mine') ngx.req.set_header('X-Mine', 'plugin')", ["plugin"], ["plugin"]),
    ("another", "kong.service.request.set_header('X-Own', '1')", None, None),
    ("its own Connection", "kong.service.request.set_header('Connection', 'X-Mine, X-Free')", None, None),
]


@pytest.mark.parametrize("code,sent,unsent", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_plugins_set_stays(node, code, sent, unsent):
    node.probe.configure(access=code)
    lines = ("Connection: close, X-Mine", "Connection: X-Other", "X-Other: 1", "X-Free: 1")
    for headers, mine in ((seen(node, *lines, "X-Mine: client", "X-Mine: more"), sent), (seen(node, *lines), unsent)):
        assert headers.get("x-mine") == mine
        assert "x-other" not in headers and headers["x-free"] == ["1"]


def test_headers_of_global_rewrite_plugins_stay(node):
    """They run before there is a route."""
    node.probe.configure()
    row = create(node, "/plugins", name="probe", config={"rewrite": "kong.service.request.set_header('X-Mine', 'plugin')"})
    headers = seen(node, "Connection: X-Mine, X-Other", "X-Mine: client", "X-Other: 1")
    assert headers["x-mine"] == ["plugin"] and "x-other" not in headers
    assert node.admin.delete(f"/plugins/{row['id']}").status_code == 204


@pytest.mark.parametrize("plugin", [True, False])
def test_every_line_counts(node, plugin):
    path = "/probe"
    if plugin:
        node.probe.configure(access="kong.service.request.set_header('X-Mine', 'plugin')")
    else:
        create(node, f"/services/{node.probe.service['id']}/routes", paths=["/bare"])
        path = "/bare"
    lines = [f"Connection: keep-alive, X-N{n}" for n in range(40)] + [f"X-N{n}: 1" for n in range(41)]
    headers = seen(node, *lines, path=path)
    assert [name for name in headers if name.startswith("x-n")] == ["x-n40"]
    assert headers.get("x-mine") == (["plugin"] if plugin else None)


def test_names_in_any_form(node):
    node.probe.configure()
    headers = seen(node, "connection:x-a,  X-B\t,,X-C ;q=1, x-d", "CONNECTION:  X-E  ",
                   *(f"X-{letter}: 1" for letter in "ABCDEFG"))
    assert [name for name in headers if len(name) == 3 and name.startswith("x-")] == ["x-c", "x-f", "x-g"]


def test_what_the_gateway_writes_cannot_be_named(node):
    node.probe.configure()
    headers = seen(node, "Connection: Host, Content-Length, X-Forwarded-For, X-Real-IP, X-Kong-Request-Id, Via, Transfer-Encoding",
                   "X-Forwarded-For: 9.9.9.9", "Via: 1.0 fred")
    assert headers["x-forwarded-for"] == ["9.9.9.9, 127.0.0.1"] and headers["via"] == ["1.0 fred, 1.1 kong/3.9.1"]
    assert {"host", "x-real-ip", "x-kong-request-id"} <= set(headers)
