"""Who the client is: trusted_ips, real_ip_header and real_ip_recursive, over IPv4, IPv6, unix sockets and the PROXY protocol, and what is
made of it where it shows: the PDK, the service's headers, the logs.

Each request goes through a plugin that sends what the PDK says to the service, which answers with all it has got.
"""
import json
import re
import socket

import pytest

import support
from lua_support import Probe, package_path
from proxy_support import Raw

# What the PDK says, as JSON in a header for the service; and the serializer's word on the client, in the log.
ASK = """
local q, c = kong.request, kong.client
local n = cjson.null
local function opt(v) if v == nil then return n end return v end
kong.service.request.set_header("X-Pdk", cjson.encode({
  ip = opt(c.get_ip()), forwarded_ip = opt(c.get_forwarded_ip()), port = opt(c.get_port()), forwarded_port = opt(c.get_forwarded_port()),
  scheme = opt(q.get_forwarded_scheme()), host = opt(q.get_forwarded_host()), server_port = opt(q.get_forwarded_port()),
  path = opt(q.get_forwarded_path()), prefix = opt(q.get_forwarded_prefix()), protocol = opt(c.get_protocol(true)),
}))
"""
LOG = 'kong.log.notice("client of ", ngx.var.kong_request_id, " is ", kong.log.serialize().client_ip, ";")'


class UnixRaw(Raw):
    def __init__(self, path):  # noqa: the other connects by TCP
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(30)
        self.sock.connect(str(path))
        self.buffer = b""


class Raw6(Raw):
    def __init__(self, port):  # noqa: the other connects by IPv4
        self.sock = socket.create_connection(("::1", port), timeout=30)
        self.buffer = b""


class Node:
    """A gateway with listeners of every kind, the probe in front of an echo."""

    def __init__(self, ports, workdir, echo, settings):
        self.port, self.port6, self.proxied = ports.take(), ports.take(), ports.take()
        self.socket = workdir / "client.sock"
        self.gw = support.Gateway(ports, {
            "plugins": "bundled,probe", "nginx_worker_processes": 1, "lua_package_path": package_path("probe"),
            "proxy_listen": f"127.0.0.1:{self.port}, [::1]:{self.port6}, 127.0.0.1:{self.proxied} proxy_protocol",
            "nginx_proxy_listen": f"unix:{self.socket}", **settings})
        self.gw.allow_log("broken header")
        self.gw.start()
        self.probe = Probe(self.gw, echo.url)
        self.probe.configure(access=ASK, log=LOG)

    def connect(self, way):
        if way == "v6":
            return Raw6(self.port6)
        if way == "unix":
            return UnixRaw(self.socket)
        if way.startswith("PROXY"):
            return Raw(self.proxied).send(way + "\r\n")
        return Raw(self.port)

    def ask(self, way, headers, path="/probe/x?q=1", host="h", raw=None):
        """What the service got: (its headers, what the PDK said). The logs' word on the client is compared with it."""
        raw = raw or self.connect(way)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        status, answered, body = raw.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n").response()
        raw.close()
        assert status == 200, body
        seen, request_id = json.loads(body)["headers"], answered["x-kong-request-id"]
        client = re.escape(seen["x-real-ip"])
        self.gw.wait_log(rf'(?m)^{client} - .*kong_request_id: "{request_id}"', "access")
        self.gw.wait_log(rf"client of {request_id} is {client};")
        return seen, json.loads(seen["x-pdk"])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """nodes(**settings): a gateway with them, kept for the next row that wants the same."""
    ports, made = support.Ports(), {}
    echo = support.EchoServer(ports.take())

    def get(**settings):
        key = tuple(sorted(settings.items()))
        if key not in made:
            folder = tmp_path_factory.mktemp("sock")
            made[key] = Node(ports, folder, echo, settings)
        return made[key]

    yield get
    for node in made.values():
        node.gw.close()
    echo.close()
    ports.release()


XFF, XRI, OWN = "X-Forwarded-For", "X-Real-IP", "X-Client"
NOBODY = {}
LOCAL = {"trusted_ips": "127.0.0.1, ::1, unix:"}
LISTS = {"trusted_ips": "127.0.0.0/8, ::1, 10.0.0.0/8, unix:", "real_ip_header": XFF, "real_ip_recursive": "on"}
LAST = {"trusted_ips": "127.0.0.0/8, ::1, 10.0.0.0/8, unix:", "real_ip_header": XFF, "real_ip_recursive": "off"}
STRANGERS = {"trusted_ips": "10.0.0.0/8, 2001:db8::/32", "real_ip_header": XFF}
CUSTOM = {"trusted_ips": "0.0.0.0/0, ::/0", "real_ip_header": OWN}
BALANCER = {"trusted_ips": "127.0.0.1", "real_ip_header": "proxy_protocol"}
LINE, LINE6 = "PROXY TCP4 1.2.3.4 5.6.7.8 1111 80", "PROXY TCP6 2001:db8::7 2001:db8::8 1111 80"

# Settings, how the client connects, its headers, the peer, the client, and what the service gets as X-Forwarded-For.
ADDRESSES = [
    (NOBODY, "v4", [], "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (NOBODY, "v4", [(XRI, "1.1.1.1"), (XFF, "2.2.2.2")], "127.0.0.1", "127.0.0.1", "2.2.2.2, 127.0.0.1"),
    (NOBODY, "v6", [(XRI, "1.1.1.1")], "::1", "::1", "::1"),
    (NOBODY, "unix", [(XRI, "1.1.1.1")], "unix:", "unix:", "unix:"),
    (NOBODY, LINE, [], "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (LOCAL, "v4", [], "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (LOCAL, "v4", [(XRI, "1.1.1.1")], "127.0.0.1", "1.1.1.1", "127.0.0.1"),
    (LOCAL, "v4", [(XRI, "1.1.1.1"), (XFF, "2.2.2.2")], "127.0.0.1", "1.1.1.1", "2.2.2.2, 127.0.0.1"),
    (LOCAL, "v4", [(XRI, "2001:db8::7")], "127.0.0.1", "2001:db8::7", "127.0.0.1"),
    (LOCAL, "v4", [(XRI, "1.1.1.1:4444")], "127.0.0.1", "1.1.1.1", "127.0.0.1"),
    (LOCAL, "v4", [(XRI, "nobody")], "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (LOCAL, "v4", [(XRI, "")], "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (LOCAL, "v6", [(XRI, "1.1.1.1")], "::1", "1.1.1.1", "::1"),
    (LOCAL, "unix", [(XRI, "1.1.1.1")], "unix:", "1.1.1.1", "unix:"),
    (LOCAL, "unix", [], "unix:", "unix:", "unix:"),
    (LOCAL, LINE, [], "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (LISTS, "v4", [(XFF, "9.9.9.9")], "127.0.0.1", "9.9.9.9", "9.9.9.9, 127.0.0.1"),
    (LISTS, "v4", [(XFF, "8.8.8.8, 9.9.9.9, 10.0.0.1")], "127.0.0.1", "9.9.9.9", "8.8.8.8, 9.9.9.9, 10.0.0.1, 127.0.0.1"),
    (LISTS, "v4", [(XFF, "8.8.8.8"), (XFF, "9.9.9.9, 10.0.0.1")], "127.0.0.1", "9.9.9.9", "8.8.8.8, 9.9.9.9, 10.0.0.1, 127.0.0.1"),
    (LISTS, "v4", [(XFF, "10.0.0.2, 10.0.0.1")], "127.0.0.1", "10.0.0.2", "10.0.0.2, 10.0.0.1, 127.0.0.1"),
    (LISTS, "v4", [(XFF, "8.8.8.8, nobody, 10.0.0.1")], "127.0.0.1", "10.0.0.1", "8.8.8.8, nobody, 10.0.0.1, 127.0.0.1"),
    (LISTS, "v4", [(XRI, "1.1.1.1")], "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (LISTS, "v6", [(XFF, "2001:db8::9, 10.0.0.1")], "::1", "2001:db8::9", "2001:db8::9, 10.0.0.1, ::1"),
    (LISTS, "unix", [(XFF, "9.9.9.9, 10.0.0.1")], "unix:", "9.9.9.9", "9.9.9.9, 10.0.0.1, unix:"),
    (LAST, "v4", [(XFF, "8.8.8.8, 9.9.9.9, 10.0.0.1")], "127.0.0.1", "10.0.0.1", "8.8.8.8, 9.9.9.9, 10.0.0.1, 127.0.0.1"),
    (LAST, "v6", [(XFF, "8.8.8.8, 9.9.9.9")], "::1", "9.9.9.9", "8.8.8.8, 9.9.9.9, ::1"),
    (STRANGERS, "v4", [(XFF, "9.9.9.9")], "127.0.0.1", "127.0.0.1", "9.9.9.9, 127.0.0.1"),
    (STRANGERS, "v6", [(XFF, "9.9.9.9")], "::1", "::1", "9.9.9.9, ::1"),
    (STRANGERS, "unix", [(XFF, "9.9.9.9")], "unix:", "unix:", "9.9.9.9, unix:"),
    (CUSTOM, "v4", [(OWN, "2001:db8::7"), (XRI, "1.1.1.1"), (XFF, "2.2.2.2")], "127.0.0.1", "2001:db8::7", "2.2.2.2, 127.0.0.1"),
    (CUSTOM, "v6", [(OWN, "1.1.1.1")], "::1", "1.1.1.1", "::1"),
    (CUSTOM, "unix", [(OWN, "1.1.1.1")], "unix:", "unix:", "unix:"),
    (BALANCER, LINE, [], "127.0.0.1", "1.2.3.4", "127.0.0.1"),
    (BALANCER, LINE6, [(XFF, "9.9.9.9"), (XRI, "1.1.1.1")], "127.0.0.1", "2001:db8::7", "9.9.9.9, 127.0.0.1"),
    (BALANCER, "PROXY UNKNOWN", [], "127.0.0.1", "127.0.0.1", "127.0.0.1"),
    (BALANCER, "v4", [(XRI, "1.1.1.1"), (XFF, "9.9.9.9")], "127.0.0.1", "127.0.0.1", "9.9.9.9, 127.0.0.1"),
]


@pytest.mark.parametrize("settings,way,headers,peer,client,chain", ADDRESSES, ids=range(len(ADDRESSES)))
def test_addresses(nodes, settings, way, headers, peer, client, chain):
    seen, pdk = nodes(**settings).ask(way, headers)
    assert (pdk["ip"], pdk["forwarded_ip"]) == (peer, client)
    assert (seen["x-real-ip"], seen["x-forwarded-for"]) == (client, chain)


# Settings, way, headers, and whether the peer has a port; then the client's: a number, PEER, or None where nobody knows it.
PEER = "the peer's"
PORTS = [
    (NOBODY, "v4", [], True, PEER),
    (NOBODY, "v6", [(XRI, "1.1.1.1:4444")], True, PEER),
    (NOBODY, "unix", [], False, None),
    (LOCAL, "v4", [(XRI, "1.1.1.1:4444")], True, 4444),
    (LOCAL, "v4", [(XRI, "[2001:db8::7]:4444")], True, 4444),
    (LOCAL, "v4", [(XRI, "1.1.1.1")], True, None),
    (LOCAL, "unix", [(XRI, "1.1.1.1:4444")], False, 4444),
    (LOCAL, "unix", [(XRI, "1.1.1.1")], False, None),
    (BALANCER, LINE, [], True, 1111),
    (BALANCER, "PROXY UNKNOWN", [], True, PEER),
]


@pytest.mark.parametrize("settings,way,headers,peer,client", PORTS, ids=range(len(PORTS)))
def test_ports(nodes, settings, way, headers, peer, client):
    raw = nodes(**settings).connect(way)
    own = raw.sock.getsockname()[1] if way != "unix" else None
    _, pdk = nodes(**settings).ask(way, headers, raw=raw)
    assert pdk["port"] == (own if peer else None)
    assert pdk["forwarded_port"] == (own if client is PEER else client)


# A header, what the service gets of it from a client that is trusted, and what the PDK says: (name, value).
FORWARDED = [
    ("X-Forwarded-Proto", "https", "https", ("scheme", "https")),
    ("X-Forwarded-Proto", "HTTPS", "HTTPS", ("scheme", "https")),
    ("X-Forwarded-Host", "api.example", "api.example", ("host", "api.example")),
    ("X-Forwarded-Host", "API.Example:8443", "API.Example:8443", ("host", "api.example")),
    ("X-Forwarded-Host", "user@api.example", "user@api.example", ("host", "api.example")),
    ("X-Forwarded-Host", "[2001:db8::7]:81", "[2001:db8::7]:81", ("server_port", 81)),
    ("X-Forwarded-Host", "api.example:8443", "api.example:8443", ("server_port", 8443)),
    ("X-Forwarded-Port", "443", "443", ("server_port", 443)),
    ("X-Forwarded-Path", "/outer/probe/x", "/outer/probe/x", ("path", "/outer/probe/x")),
    ("X-Forwarded-Prefix", "/outer", "/outer", ("prefix", "/outer")),
]
WAYS = [(LOCAL, "v4"), (LOCAL, "v6"), (LOCAL, "unix"), (LISTS, "v4"), (BALANCER, LINE), (CUSTOM, "v6")]
DISTRUSTED = [(NOBODY, "v4"), (NOBODY, "unix"), (STRANGERS, "v4"), (STRANGERS, "v6"), (STRANGERS, "unix"), (CUSTOM, "unix")]


@pytest.mark.parametrize("settings,way", WAYS, ids=range(len(WAYS)))
@pytest.mark.parametrize("also", [[], [(XRI, "1.1.1.1"), (XFF, "9.9.9.9"), (OWN, "3.3.3.3")]], ids=["peer", "client"])
def test_trusted_peers_are_believed(nodes, settings, way, also):
    """Trust is in who connects, whoever the client is said to be."""
    node = nodes(**settings)
    for name, value, passed, (what, told) in FORWARDED:
        seen, pdk = node.ask(way, [(name, value), *also])
        assert seen[name.lower()] == passed, name
        assert pdk[what] == told, (name, value)


@pytest.mark.parametrize("settings,way", DISTRUSTED, ids=range(len(DISTRUSTED)))
def test_others_are_not(nodes, settings, way):
    node = nodes(**settings)
    seen, pdk = node.ask(way, [(name, value) for name, value, *_ in FORWARDED] + [("X-Forwarded-Port", "1")])
    port = {"v4": node.port, "v6": node.port6}.get(way, 0)
    assert {name: seen["x-forwarded-" + name] for name in ("proto", "host", "port", "path", "prefix")} == {
        "proto": "http", "host": "h", "port": str(port), "path": "/probe/x", "prefix": "/probe"}
    assert (pdk["scheme"], pdk["host"], pdk["path"], pdk["prefix"], pdk["protocol"]) == ("http", "h", "/probe/x", "/probe", "http")


def test_what_is_empty_or_odd_does_not_count(nodes):
    """A trusted peer that says nothing is as one that is silent; ports that are none are passed on and not told."""
    node = nodes(**LOCAL)
    seen, pdk = node.ask("v4", [("X-Forwarded-" + name, "") for name in ("Proto", "Host", "Port", "Path", "Prefix")])
    assert {name: seen["x-forwarded-" + name] for name in ("proto", "host", "port", "path", "prefix")} == {
        "proto": "http", "host": "h", "port": str(node.port), "path": "/probe/x", "prefix": "/probe"}
    for port in ("0", "65536", "x"):
        seen, pdk = node.ask("v4", [("X-Forwarded-Port", port)])
        assert (seen["x-forwarded-port"], pdk["server_port"]) == (port, node.port)


@pytest.mark.parametrize("settings", [NOBODY, LOCAL], ids=["distrusted", "trusted"])
def test_forwarded_is_passed_on(nodes, settings):
    """RFC 7239's header is nobody's here: neither believed nor changed."""
    seen, pdk = nodes(**settings).ask("v4", [("Forwarded", 'for=1.1.1.1;proto=https;host="evil"')])
    assert seen["forwarded"] == 'for=1.1.1.1;proto=https;host="evil"'
    assert (pdk["scheme"], pdk["host"], pdk["forwarded_ip"]) == ("http", "h", "127.0.0.1")
    assert seen["x-forwarded-for"] == "127.0.0.1"


def test_a_client_without_a_host(nodes):
    """HTTP/1.0 allows it: then the server's own name stands for it, in the header as in the PDK."""
    node = nodes(**NOBODY)
    status, _, body = Raw(node.port).send("GET /probe/x HTTP/1.0\r\n\r\n").response()
    seen = json.loads(body)["headers"]
    assert status == 200 and seen["x-forwarded-host"] == "kong" and json.loads(seen["x-pdk"])["host"] == "kong"


def test_two_protocols_of_a_trusted_peer(nodes):
    """kong.client.get_protocol says that it cannot tell."""
    seen, pdk = nodes(**LOCAL).ask("v4", [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")])
    assert pdk["protocol"] is None
    assert nodes(**LOCAL).ask("v4", [("X-Forwarded-Proto", "https")])[1]["protocol"] == "https"
