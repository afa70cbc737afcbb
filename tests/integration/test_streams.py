"""TCP, UDP and TLS through stream_listen: routes by port, address and name, TLS ended and passed through, balancing, live changes."""
import os
import re
import socket
import ssl
import subprocess

import pytest

from proxy_support import create, upstream
from stream_support import TcpEcho, UdpEcho, ask, ask_tls, ask_udp, connect, connect_tls, say
from support import wait_for
from test_admin_health import by_target
from test_client_certificates import certificate


class Node:
    """A node with one listener of each kind."""

    def __init__(self, gateway, ports, **settings):
        self.tcp, self.other, self.tls, self.udp, self.proxied = (ports.take() for _ in range(5))
        self.gw = gateway(stream_listen=f"127.0.0.1:{self.tcp} reuseport backlog=1024, 127.0.0.1:{self.other}, 127.0.0.1:{self.tls} ssl reuseport, "
                                        f"127.0.0.1:{self.udp} udp reuseport, 127.0.0.1:{self.proxied} proxy_protocol",
                          trusted_ips="127.0.0.1", **settings)

    def service(self, port, protocol="tcp", host="127.0.0.1", **fields):
        return create(self.gw, "/services", protocol=protocol, host=host, port=port, **fields)

    def route(self, service, protocols=("tcp",), **fields):
        return create(self.gw, "/routes", protocols=list(protocols), service={"id": service["id"]}, **fields)

    def change(self, path, **fields):
        answer = self.gw.admin.patch(path, json=fields)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def node(gateway, ports):
    return Node(gateway, ports)


@pytest.fixture
def echoes(ports):
    """echoes(name, kind=TcpEcho, …) starts a server of that name."""
    made = []

    def make(name="echo", kind=TcpEcho, **options):
        made.append(kind(ports.take(), name, **options))
        return made[-1]

    yield make
    for server in made:
        server.close()


def server_context(folder, name, issuer=None):
    cert, key = certificate(folder, name, issuer)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


# ---- TCP ----


def test_tcp(node, echoes):
    a, b = echoes("a"), echoes("b")
    assert ask(node.tcp) == "", "no route: closed"
    node.gw.wait_log("no Route matched with those values")
    node.route(node.service(a.port), destinations=[{"port": node.tcp}])
    node.route(node.service(b.port), destinations=[{"ip": "127.0.0.0/8", "port": node.other}])
    for _ in range(8):
        assert ask(node.tcp) == "a:hi"
        assert ask(node.other) == "b:hi"
    wait_for(lambda: len(re.findall(r"^127\.0\.0\.1 \[.+\] TCP 200 4 2 [\d.]+$", node.gw.log("access"), re.M)) == 16, "the access log")


def test_a_server_that_speaks_first_and_one_that_answers_the_end(node, echoes):
    a = echoes("a", greeting=b"220 ready\r\n")
    node.route(node.service(a.port), destinations=[{"port": node.tcp}])
    with connect(node.tcp) as sock:
        assert sock.recv(100) == b"220 ready\r\n"
        assert say(sock, "x") == "a:x"


def test_much_data_both_ways(node, echoes):
    node.route(node.service(echoes("").port), destinations=[{"port": node.tcp}])
    data = os.urandom(3_000_000)
    received = 0
    with connect(node.tcp) as sock:
        for i in range(0, len(data), 30_000):
            piece = data[i:i + 30_000]
            sock.sendall(piece)
            got = b""
            while len(got.replace(b":", b"")) < len(piece.replace(b":", b"")):
                more = sock.recv(65536)
                assert more
                got += more
            assert got.replace(b":", b"") == piece.replace(b":", b"")
            received += len(got)
    assert received >= len(data)


def test_sources(node, echoes, ports):
    a, b = echoes("a"), echoes("b")
    mine = ports.take()
    node.route(node.service(a.port), sources=[{"ip": "127.0.0.0/8"}])
    node.route(node.service(b.port), sources=[{"ip": "127.0.0.1", "port": mine}])
    assert ask(node.tcp) == "a:hi"
    assert ask(node.tcp, source_port=mine) == "b:hi"


def test_the_client_address_of_the_proxy_protocol(node, echoes):
    a = echoes("a")
    node.route(node.service(a.port), sources=[{"ip": "192.0.2.7"}])
    assert ask(node.proxied, f"PROXY TCP4 192.0.2.7 127.0.0.1 1234 {node.proxied}\r\nhi") == "a:hi"
    assert ask(node.proxied, f"PROXY TCP4 192.0.2.8 127.0.0.1 1234 {node.proxied}\r\nhi") == ""


def test_live_changes(node, echoes):
    a, b = echoes("a"), echoes("b")
    first, second = node.service(a.port), node.service(b.port)
    route = node.route(first, destinations=[{"port": node.tcp}])
    with connect(node.tcp) as kept:
        assert say(kept, "1") == "a:1"
        for _ in range(10):  # what the Admin API has confirmed, the next connection sees, whichever worker takes it
            for service, name in ((second, "b"), (first, "a")):
                node.change(f"/routes/{route['id']}", service={"id": service["id"]})
                assert ask(node.tcp) == f"{name}:hi"
        node.change(f"/services/{first['id']}", enabled=False)
        assert ask(node.tcp) == ""
        node.change(f"/services/{first['id']}", enabled=True)
        assert ask(node.tcp) == "a:hi"
        assert node.gw.admin.delete(f"/routes/{route['id']}").status_code == 204
        assert ask(node.tcp) == ""
        assert say(kept, "2") == "a:2", "a connection that is there goes on"


def test_reload_keeps_connections(node, echoes):
    node.route(node.service(echoes("a").port), destinations=[{"port": node.tcp}])
    with connect(node.tcp) as kept:
        assert say(kept, "1") == "a:1"
        before = node.gw.workers()
        node.gw.reload()
        wait_for(lambda: not set(before) & set(node.gw.workers()), "new workers")
        assert ask(node.tcp) == "a:hi"
        assert say(kept, "2") == "a:2"


# ---- services ----


def test_balancing_around_a_dead_target(node, echoes, ports):
    a, b, dead = echoes("a"), echoes("b"), ports.take()
    upstream(node.gw, "pool", {f"127.0.0.1:{a.port}": 100, f"127.0.0.1:{b.port}": 100, f"127.0.0.1:{dead}": 100})
    node.route(node.service(1, host="pool"), destinations=[{"port": node.tcp}])
    seen = [ask(node.tcp) for _ in range(24)]
    assert set(seen) == {"a:hi", "b:hi"}
    node.gw.allow_log("connect\\(\\) failed")
    assert a.connections >= 6 and b.connections >= 6


def test_failed_connections_make_a_target_unhealthy(node, echoes, ports):
    """By tcp_failures in a row; it is not tried any more. A connection that stands ends the failures before it."""
    a, number = echoes("a"), ports.take()
    good, bad = f"127.0.0.1:{a.port}", f"127.0.0.1:{number}"
    upstream(node.gw, "pool", {good: 100, bad: 100}, healthchecks={"passive": {"unhealthy": {"tcp_failures": 3}}})
    node.route(node.service(1, host="pool"), destinations=[{"port": node.tcp}])

    def health():
        return by_target(node.gw)[bad]
    wait_for(lambda: ask(node.tcp) == "a:hi" and len(re.findall(r"connect\(\) failed", node.gw.log())) == 2, "two failures")
    assert health() == "HEALTHY"
    back = TcpEcho(number, "back")
    wait_for(lambda: ask(node.tcp) == "back:hi", "the target to be there")
    back.close()
    wait_for(lambda: ask(node.tcp) == "a:hi" and len(re.findall(r"connect\(\) failed", node.gw.log())) == 4, "two more")
    assert health() == "HEALTHY", "they do not add up"
    wait_for(lambda: ask(node.tcp) == "a:hi" and health() == "UNHEALTHY", "the third in a row")
    for _ in range(8):
        assert ask(node.tcp) == "a:hi"
    assert len(re.findall(r"connect\(\) failed", node.gw.log())) == 5


def test_datagrams_without_an_answer_make_a_target_unhealthy(node, echoes, ports):
    a = echoes("a", kind=UdpEcho)
    bad = f"127.0.0.1:{ports.take()}"
    upstream(node.gw, "pool", {f"127.0.0.1:{a.port}": 100, bad: 100},
             healthchecks={"passive": {"unhealthy": {"tcp_failures": 1, "timeouts": 1}}})
    node.route(node.service(1, host="pool", protocol="udp", read_timeout=300), protocols=["udp"], destinations=[{"port": node.udp}])

    def is_out():
        try:
            ask_udp(node.udp, timeout=0.5)
        except OSError:
            pass
        return by_target(node.gw)[bad] == "UNHEALTHY"
    wait_for(is_out, "the target without a server to be unhealthy")
    assert by_target(node.gw)[f"127.0.0.1:{a.port}"] == "HEALTHY"
    for _ in range(4):
        assert ask_udp(node.udp) == "a:hi"


def test_a_retry_goes_to_another_address_of_the_host(gateway, ports, workdir):
    hosts = workdir / "hosts"
    hosts.write_text("127.0.0.9 three.example\n127.0.0.8 three.example\n127.0.0.1 three.example\n")
    node = Node(gateway, ports, dns_hostsfile=str(hosts), nginx_worker_processes=1)
    server = TcpEcho(ports.take(), "a")
    node.route(node.service(server.port, host="three.example", retries=2), destinations=[{"port": node.tcp}])
    assert [ask(node.tcp) for _ in range(7)] == ["a:hi"] * 7
    server.close()


def test_no_retries(node, ports):
    dead = ports.take()
    upstream(node.gw, "pool", {f"127.0.0.1:{dead}": 100})
    node.route(node.service(1, host="pool", retries=0), destinations=[{"port": node.tcp}])
    assert ask(node.tcp) == ""
    node.gw.wait_log(r"connect\(\) failed .*Connection refused")
    assert len(re.findall(r"connect\(\) failed", node.gw.log())) == 1


def test_names_are_resolved(node, echoes):
    a = echoes("a")
    node.route(node.service(a.port, host="localhost"), destinations=[{"port": node.tcp}])
    node.route(node.service(a.port, host="nobody.invalid"), destinations=[{"port": node.other}])
    assert ask(node.tcp) == "a:hi"
    assert ask(node.other, timeout=60) == ""
    node.gw.wait_log("name resolution failed for nobody.invalid")


def test_read_timeout_of_the_service(node, echoes):
    a = echoes("a")
    node.route(node.service(a.port, read_timeout=300), destinations=[{"port": node.tcp}])
    with connect(node.tcp) as sock:
        assert say(sock, "1") == "a:1"
        assert sock.recv(10) == b""


# ---- UDP ----


def test_udp(node, echoes):
    a, b = echoes("a", kind=UdpEcho), echoes("b", kind=UdpEcho)
    service = node.service(a.port, protocol="udp")
    route = node.route(service, protocols=["udp"], destinations=[{"port": node.udp}])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(20)
        sock.connect(("127.0.0.1", node.udp))
        for i in range(5):
            sock.send(b"%d" % i)
            assert sock.recv(100) == b"a:%d" % i
        assert len(set(a.peers)) == 1, "one session, one connection to the service"
    other = node.service(b.port, protocol="udp")
    node.change(f"/routes/{route['id']}", service={"id": other["id"]})
    assert ask_udp(node.udp) == "b:hi"


def test_protocols_are_kept_apart(node, echoes):
    node.route(node.service(echoes("a").port), protocols=["tls"], destinations=[{"port": node.tcp}, {"port": node.tls}])
    assert ask(node.tcp) == "", "plain TCP does not take a route for TLS"
    assert ask_tls(node.tls) == "a:hi"
    assert node.gw.proxy.get("/").status_code == 404


# ---- TLS ----


def test_tls_is_ended(node, echoes):
    a, b, c = echoes("a"), echoes("b"), echoes("c")
    node.route(node.service(a.port), protocols=["tls"], snis=["a.test"])
    node.route(node.service(b.port), protocols=["tls"], snis=["*.b.test"])
    assert ask_tls(node.tls, name="a.test") == "a:hi"
    assert ask_tls(node.tls, name="x.b.test") == "b:hi"
    assert ask_tls(node.tls, name="c.test") == ""
    node.route(node.service(c.port), protocols=["tls"], destinations=[{"port": node.tls}])
    assert ask_tls(node.tls, name="c.test") == "c:hi"
    assert ask_tls(node.tls, name="a.test") == "a:hi", "a name weighs more"


def test_a_server_name_cannot_write_the_log(node):
    assert ask_tls(node.tls, name="a\nforged line.test") == ""
    node.gw.wait_log('no Route matched with those values: port \\d+, SNI ""')
    assert "forged line" not in node.gw.log()


def test_openssl_client(node, echoes):
    node.route(node.service(echoes("a").port), protocols=["tls"], snis=["a.test"])
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{node.tls}", "-servername", "a.test", "-quiet", "-no_ign_eof"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        client.stdin.write(b"hello\n")
        client.stdin.flush()
        assert client.stdout.readline() == b"a:hello\n"
        client.stdin.close()
        client.wait(20)


def test_tls_is_passed_through(node, echoes, workdir):
    own = echoes("own", context=server_context(workdir, "own.test"))
    ended = echoes("ended")
    node.route(node.service(own.port), protocols=["tls_passthrough"], snis=["own.test", "*.own.test"])
    node.route(node.service(ended.port), protocols=["tls"], destinations=[{"port": node.tls}])
    with connect_tls(node.tls, name="own.test", ca=workdir / "own.test.crt") as sock:  # the certificate is the service's
        assert say(sock, "hi") == "own:hi"
    assert ask_tls(node.tls, name="x.own.test") == "own:hi"
    assert own.server_names == ["own.test", "x.own.test"]
    assert ask_tls(node.tls, name="other.test") == "ended:hi"
    assert ask_tls(node.tls) == "ended:hi", "no name: ended here"


def test_a_client_hello_in_pieces(node, echoes, workdir):
    own = echoes("own", context=server_context(workdir, "own.test"))
    node.route(node.service(own.port), protocols=["tls_passthrough"], snis=["own.test"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(workdir / "own.test.crt")
    tls = context.wrap_bio(incoming, outgoing, server_hostname="own.test")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    with connect(node.tls) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(0, len(hello), 50):
            sock.sendall(hello[i:i + 50])
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                incoming.write(sock.recv(65536))
        assert tls.getpeercert()["subject"] == ((("commonName", "own.test"),),)


def test_not_tls_on_a_tls_listener(node, echoes):
    node.route(node.service(echoes("a").port), protocols=["tls"], destinations=[{"port": node.tls}])
    assert "a:" not in ask(node.tls, "GET / HTTP/1.0\r\n\r\n")
    assert ask_tls(node.tls) == "a:hi"


def test_tls_to_the_service(node, echoes, workdir):
    certificate(workdir, "ca")
    context = server_context(workdir, "service.test", "ca")
    context.load_verify_locations(workdir / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    server = echoes("tls", context=context)
    upstream(node.gw, "service.pool", {f"127.0.0.1:{server.port}": 100}, host_header="service.test")
    service = node.service(1, protocol="tls", host="service.pool")
    node.route(service, destinations=[{"port": node.tcp}])
    assert ask(node.tcp) == "tls:hi"
    assert server.server_names == ["service.test"]
    node.change(f"/services/{service['id']}", tls_verify=True)
    assert ask(node.tcp) == "", "nobody vouches for it"
    ca = create(node.gw, "/ca_certificates", cert=(workdir / "ca.crt").read_text())
    node.change(f"/services/{service['id']}", ca_certificates=[ca["id"]])
    assert ask(node.tcp) == "tls:hi"
    cert, key = certificate(workdir, "gateway", "ca")
    shown = create(node.gw, "/certificates", cert=cert.read_text(), key=key.read_text())
    node.change(f"/services/{service['id']}", client_certificate={"id": shown["id"]})
    assert ask(node.tcp) == "tls:hi"
    assert server.shown[-1]["subject"] == ((("commonName", "gateway"),),)
    of_upstream = create(node.gw, "/certificates", **dict(zip(("cert", "key"), (p.read_text() for p in certificate(workdir, "pool", "ca")))))
    node.change("/upstreams/service.pool", client_certificate={"id": of_upstream["id"]})
    assert ask(node.tcp) == "tls:hi"
    assert server.shown[-1]["subject"] == ((("commonName", "gateway"),),), "the service's own comes first"
    node.change(f"/services/{service['id']}", client_certificate=None)
    assert ask(node.tcp) == "tls:hi"
    assert server.shown[-1]["subject"] == ((("commonName", "pool"),),)
    node.change("/upstreams/service.pool", host_header="other.test")
    assert ask(node.tcp) == "", "another name than the certificate's"


def test_each_try_asks_for_its_own_name(gateway, ports, echoes, workdir):
    """What was tried first is refused; the next target is asked for by its own name, and the log names both addresses."""
    node = Node(gateway, ports, nginx_stream_log_format="tries 'T $upstream_addr'", proxy_stream_access_log="logs/stream.log tries")
    dead, server = ports.take(), echoes("tls", context=server_context(workdir, "service.test"))
    upstream(node.gw, "pool", {f"127.0.0.1:{dead}": 100, f"localhost:{server.port}": 100})
    service = node.service(1, protocol="tls", host="pool")
    node.route(service, destinations=[{"port": node.tcp}])
    for _ in range(12):
        assert ask(node.tcp) == "tls:hi"
    node.gw.wait_log(rf"(?m)^T 127\.0\.0\.1:{dead}, .*127\.0\.0\.1:{server.port}$", name="stream")
    node.gw.allow_log("connect\\(\\) failed")
    assert set(server.server_names) == {"localhost"}


# ---- settings and plugins ----


def test_injected_directives(gateway, ports, echoes):
    denied = Node(gateway, ports, nginx_sproxy_deny="all", nginx_stream_log_format="short 'S $protocol $status'",
                  proxy_stream_access_log="logs/stream.log short", proxy_stream_error_log="logs/stream_error.log")
    denied.route(denied.service(echoes("a").port), destinations=[{"port": denied.tcp}])
    assert ask(denied.tcp) == ""
    denied.gw.wait_log("^S TCP 403$", name="stream")
    denied.gw.wait_log("access forbidden by rule", name="stream_error")


def test_wrong_listeners_are_refused(gateway):
    gw = gateway(start=False, stream_listen="127.0.0.1:9000 http2")
    result = gw.run("check", str(write_conf(gw)))
    assert result.returncode != 0 and "stream_listen must be of form" in result.stderr


def write_conf(gw):
    path = gw.prefix / "kong.conf"
    path.write_text("")
    return path


def test_lua_plugins_are_refused(gateway, ports, echoes, plugin):
    path = plugin("watcher", "return { PRIORITY = 10, VERSION = '1.0.0', access = function() end }")
    node = Node(gateway, ports, plugins="bundled,watcher", lua_package_path=path)
    route = node.route(node.service(echoes("a").port), destinations=[{"port": node.tcp}])
    for body, why in (({}, "must match the associated route's protocols"),
                      ({"protocols": ["tcp"]}, "plugin 'watcher' is written in Lua, which does not run on streams: 'tcp' cannot be among its protocols")):
        answer = node.gw.admin.post(f"/routes/{route['id']}/plugins", json={"name": "watcher", **body})
        assert answer.status_code == 400
        assert answer.json()["fields"]["protocols"] == why
    assert node.gw.admin.post("/plugins", json={"name": "watcher", "protocols": ["http", "udp"]}).status_code == 400
    create(node.gw, "/plugins", name="watcher")
    assert ask(node.tcp) == "a:hi", "an instance for requests has nothing to do with streams"
