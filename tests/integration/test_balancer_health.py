"""Health checks: passive ones by traffic, active ones by probes, together; what stays over reloads and edits."""
import collections
import http.server
import socket
import ssl
import threading

import grpc
import pytest

from dnsserver import DnsServer
from grpc_support import Server
from proxy_support import Raw, create, route_to, upstream
from support import EchoHandler, EchoServer, wait_for
from test_admin_health import by_target
from test_client_certificates import certificate
from test_proxy_balancing import counts

FAST = 0.05


class Switch(EchoHandler):
    """An echo server whose health is server.health: the status of /health (0: no answer); other paths have server.status."""

    def answer(self):
        path = self.path.split("?")[0]
        if path == "/health":
            self.server.probes.append((self.request_version, dict(self.headers.items()), self.path))
            status = self.server.health
        else:
            status = self.server.status
        if status == 0:
            self.close_connection = True
            self.server.stuck.wait(30)
            return
        if status == 200:
            super().answer()
        else:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_GET = answer


class SwitchServer(EchoServer):
    def __init__(self, port):
        self.health = self.status = 200
        self.probes = []
        self.stuck = threading.Event()
        super().__init__(port)
        self.RequestHandlerClass = Switch

    def close(self):
        self.stuck.set()
        super().close()


@pytest.fixture
def switches(ports):
    made = []

    def make(port=None):
        made.append(SwitchServer(port or ports.take()))
        return made[-1]

    yield make
    for server in made:
        try:
            server.close()
        except OSError:
            pass


def passive(successes=0, **unhealthy):
    return {"passive": {"healthy": {"successes": successes}, "unhealthy": unhealthy}}


def active(successes=1, tcp_failures=1, timeouts=1, http_failures=1, **fields):
    return {"active": {"http_path": "/health", "healthy": {"interval": FAST, "successes": successes},
                       "unhealthy": {"interval": FAST, "tcp_failures": tcp_failures, "timeouts": timeouts,
                                     "http_failures": http_failures}, **fields}}


def target(server):
    return f"127.0.0.1:{server.port}"


def pool(gw, servers, **checks):
    upstream(gw, "pool", {target(s): 100 for s in servers}, healthchecks=checks)
    route_to(gw, "http://pool", service={"retries": 0})


# ---- passive ----

def test_bad_statuses_trip_it(gateway, switches):
    a, b = switches(), switches()
    gw = gateway()
    pool(gw, [a, b], **passive(http_failures=3, http_statuses=[500]))
    a.status = 500
    wait_for(lambda: gw.proxy.get("/s") and by_target(gw)[target(a)] == "UNHEALTHY", "the target to be unhealthy")
    assert a.requests == [] and counts(gw, 20) == {b.port: 20}
    a.status = 200
    assert counts(gw, 10) == {b.port: 10}, "without traffic nothing makes it healthy again"
    assert gw.admin.put(f"/upstreams/pool/targets/{target(a)}/healthy").status_code == 204
    assert set(counts(gw, 20)) == {a.port, b.port}


def test_exactly_so_many_in_a_row(gateway, switches):
    a = switches()
    gw = gateway(nginx_worker_processes=1)
    pool(gw, [a], **passive(http_failures=3, http_statuses=[500]))
    for status in (500, 500, 200, 500, 404, 500):  # 404 is in neither list: it changes nothing
        a.status = status
        assert gw.proxy.get("/s").status_code == status
    assert by_target(gw)[target(a)] == "HEALTHY"
    a.status = 500
    assert gw.proxy.get("/s").status_code == 500
    wait_for(lambda: by_target(gw)[target(a)] == "UNHEALTHY", "the third in a row to count")
    answer = gw.proxy.get("/s")
    assert (answer.status_code, answer.json()["message"]) == (503, "failure to get a peer from the ring-balancer")


def test_workers_count_together(gateway, switches):
    a = switches()
    gw = gateway(nginx_worker_processes=2)
    pool(gw, [a], **passive(http_failures=20, http_statuses=[500]))
    a.status = 500
    answers = collections.Counter()
    for _ in range(40):  # each by a connection of its own, so that the workers share them
        raw = Raw(gw.proxy_port).send("GET /s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answers[raw.response()[0]] += 1
        raw.close()
    assert 20 <= answers[500] <= 21 and answers[503] >= 19


def test_dead_targets_trip_it(gateway, switches, ports):
    a, dead = switches(), ports.take()
    gw = gateway(nginx_worker_processes=1)
    upstream(gw, "pool", {target(a): 100, f"127.0.0.1:{dead}": 100}, healthchecks=passive(tcp_failures=1))
    route_to(gw, "http://pool")
    assert counts(gw, 6) == {a.port: 6}, "tried elsewhere"
    assert by_target(gw) == {target(a): "HEALTHY", f"127.0.0.1:{dead}": "UNHEALTHY"}


def test_timeouts_trip_it(gateway, switches):
    a = switches()
    gw = gateway(nginx_worker_processes=1)
    upstream(gw, "pool", {target(a): 100}, healthchecks=passive(timeouts=2))
    route_to(gw, "http://pool", service={"retries": 0, "read_timeout": 100})
    a.status = 0
    for _ in range(2):
        assert gw.proxy.get("/s").status_code == 504
    wait_for(lambda: by_target(gw)[target(a)] == "UNHEALTHY", "the second timeout to count")


def test_a_kept_connection_that_died_is_no_failure(gateway):
    gw = gateway(nginx_worker_processes=1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        name = f"127.0.0.1:{server.getsockname()[1]}"
        upstream(gw, "pool", {name: 100}, healthchecks=passive(tcp_failures=1))
        route_to(gw, "http://pool", service={"retries": 1})
        raw = Raw(gw.proxy_port)
        for turn in range(3):
            raw.send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert raw.response()[0] == 200
            connection.close()
        assert by_target(gw) == {name: "HEALTHY"}


# ---- active ----

def test_active_checks_take_out_and_bring_back(gateway, switches):
    a, b = switches(), switches()
    gw = gateway()
    pool(gw, [a, b], **active(successes=2, http_failures=2))
    a.health = 500
    wait_for(lambda: by_target(gw)[target(a)] == "UNHEALTHY", "the target to be unhealthy")
    assert counts(gw, 20) == {b.port: 20}
    a.health = 200
    wait_for(lambda: by_target(gw)[target(a)] == "HEALTHY", "the target to be healthy")
    assert set(counts(gw, 20)) == {a.port, b.port}


def test_what_a_check_sends(gateway, switches):
    a, b = switches(), switches()
    gw = gateway()
    pool(gw, [a], **active(headers={"X-Probe": ["one", "two"]}))
    wait_for(lambda: a.probes, "a check")
    version, headers, path = a.probes[0]
    assert (version, path, headers["Host"]) == ("HTTP/1.0", "/health", "127.0.0.1")
    assert headers["X-Probe"] == "two" and "Connection" not in headers
    upstream(gw, "named", {f"localhost:{b.port}": 100}, host_header="virtual.example:80", healthchecks=active())
    wait_for(lambda: b.probes, "a check of a name's address")
    assert b.probes[0][1]["Host"] == "virtual.example:80"


@pytest.mark.parametrize("kind", ["dead", "stuck"])
def test_active_checks_of_targets_that_do_not_answer(gateway, switches, kind):
    a, b = switches(), switches()
    gw = gateway()
    pool(gw, [a, b], **active(timeout=0.3))
    wait_for(lambda: a.probes and b.probes, "checks")
    if kind == "dead":
        a.close()
    else:
        a.health = 0
    wait_for(lambda: by_target(gw)[target(a)] == "UNHEALTHY", "the target to be unhealthy")
    assert counts(gw, 10) == {b.port: 10}
    if kind == "dead":
        switches(a.port)
    else:
        a.health = 200
        a.stuck.set()
    wait_for(lambda: by_target(gw)[target(a)] == "HEALTHY", "the target to be healthy")


def test_passive_trips_and_active_brings_back(gateway, switches):
    """The circuit breaker: traffic opens it, a check closes it."""
    a, b = switches(), switches()
    gw = gateway()
    checks = {**active(), **passive(http_failures=1, http_statuses=[500])}
    checks["active"]["healthy"]["interval"] = 0  # only the unhealthy are checked
    pool(gw, [a, b], **checks)
    a.status = a.health = 500
    wait_for(lambda: gw.proxy.get("/s") and by_target(gw)[target(a)] == "UNHEALTHY", "the target to be unhealthy")
    wait_for(lambda: len(a.probes) >= 2, "it to be checked")
    assert by_target(gw)[target(a)] == "UNHEALTHY" and b.probes == []
    a.status = a.health = 200
    wait_for(lambda: by_target(gw)[target(a)] == "HEALTHY", "the target to be healthy")
    assert set(counts(gw, 20)) == {a.port, b.port}


def test_intervals_of_zero_are_off(gateway, switches):
    a, b = switches(), switches()
    gw = gateway()
    checks = active()
    upstream(gw, "off", {target(a): 100}, healthchecks={"active": {"http_path": "/health", "unhealthy": {"http_failures": 1}}})
    upstream(gw, "on", {target(b): 100}, healthchecks=checks)
    wait_for(lambda: len(b.probes) >= 5, "checks of the other")
    assert a.probes == []
    assert gw.admin.patch("/upstreams/on", json={"healthchecks": {"active": {"healthy": {"interval": 0}, "unhealthy": {"interval": 0}}}}
                          ).status_code == 200
    upstream(gw, "last", {target(a): 100}, healthchecks=checks)
    wait_for(lambda: a.probes, "checks of the last")
    seen = len(b.probes)
    wait_for(lambda: len(a.probes) >= 5, "more of them")
    assert len(b.probes) == seen


def test_checks_by_connection(gateway, ports):
    number = ports.take()
    gw = gateway()
    server = socket.create_server(("127.0.0.1", number))
    upstream(gw, "pool", {f"127.0.0.1:{number}": 100}, healthchecks=active(type="tcp"))
    route_to(gw, "http://pool")
    server.settimeout(20)
    server.accept()[0].close()
    assert by_target(gw) == {f"127.0.0.1:{number}": "HEALTHY"}
    server.close()
    wait_for(lambda: by_target(gw) == {f"127.0.0.1:{number}": "UNHEALTHY"}, "nobody to listen")
    server = socket.create_server(("127.0.0.1", number))
    wait_for(lambda: by_target(gw) == {f"127.0.0.1:{number}": "HEALTHY"}, "somebody to listen")
    server.close()


SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"  # messages of gRPC's health service


@pytest.fixture
def grpcs(workdir):
    """grpcs(tls=False) starts a gRPC server; with TLS its certificate, in workdir, is for svc.example."""
    made = []

    def make(tls=False):
        certificate(workdir, "ca")
        crt, key = certificate(workdir, "svc.example", "ca")
        made.append(Server(grpc.ssl_server_credentials([(key.read_bytes(), crt.read_bytes())]) if tls else None))
        return made[-1]

    yield make
    for server in made:
        server.close()


@pytest.mark.parametrize("kind", ["grpc", "grpcs"])
def test_grpc_checks(gateway, grpcs, kind, workdir):
    """A call of the health service, whose answer counts; a server without one is healthy as long as it answers."""
    server = grpcs(tls=kind == "grpcs")
    server.service.health = SERVING
    gw = gateway(lua_ssl_trusted_certificate=str(workdir / "ca.crt"))
    name = f"127.0.0.1:{server.port}"
    upstream(gw, "pool", {name: 100}, host_header="svc.example", healthchecks=active(
        type=kind, https_sni="svc.example", http_failures=2, headers={"X-Probe": ["one", "two\nlines"], "Connection": ["close"]}))

    def becomes(health):
        wait_for(lambda: by_target(gw) == {name: health}, f"the target to be {health}")

    wait_for(lambda: len(server.calls) > 3, "checks")
    method, metadata = server.calls[0]
    assert (method, metadata["x-probe"]) == ("/grpc.health.v1.Health/Check", "one") and "connection" not in metadata
    becomes("HEALTHY")
    server.service.health = NOT_SERVING
    becomes("UNHEALTHY")
    server.service.health = None
    becomes("HEALTHY")
    server.service.health = b""  # UNKNOWN
    becomes("UNHEALTHY")
    server.service.health = SERVING
    becomes("HEALTHY")
    server.close()
    becomes("UNHEALTHY")


def test_what_is_no_grpc_fails_its_check(gateway, switches, ports):
    """A server of HTTP/1, and one that hangs up, fail as connections do."""
    a, number = switches(), ports.take()
    gw = gateway()
    with socket.create_server(("127.0.0.1", number)) as silent:
        upstream(gw, "http", {target(a): 100}, healthchecks=active(type="grpc", tcp_failures=2, http_failures=0))
        upstream(gw, "silent", {f"127.0.0.1:{number}": 100}, healthchecks=active(type="grpc", timeout=0.1, timeouts=2))
        wait_for(lambda: by_target(gw, "http") == {target(a): "UNHEALTHY"}, "HTTP/1 to be refused")
        wait_for(lambda: by_target(gw, "silent") == {f"127.0.0.1:{number}": "UNHEALTHY"}, "the silent server to be given up")
        assert silent.fileno() >= 0


class Quiet(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        shown = self.connection.getpeercert()
        names = [value for part in (shown or {}).get("subject", ()) for key, value in part if key == "commonName"]
        self.server.seen.append((getattr(self.connection, "asked_for", None), names[0] if names else None, self.headers["Host"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass


class TlsServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, folder, name):
        certificate(folder, "ca")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate(folder, name, "ca"))
        context.load_verify_locations(folder / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL
        context.sni_callback = lambda sock, asked, _: setattr(sock, "asked_for", asked)
        self.seen = []
        super().__init__(("127.0.0.1", port), Quiet)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass

    def close(self):
        self.shutdown()
        self.server_close()


@pytest.fixture
def tls(ports, workdir):
    server = TlsServer(ports.take(), workdir, "svc.example")
    yield server
    server.close()


def test_https_checks(gateway, tls, workdir):
    """Verified by default, against lua_ssl_trusted_certificate and the name in https_sni; with the upstream's certificate."""
    gw = gateway(lua_ssl_trusted_certificate=str(workdir / "ca.crt"))
    cert, key = certificate(workdir, "shown", "ca")
    own = create(gw, "/certificates", cert=cert.read_text(), key=key.read_text())
    name = f"127.0.0.1:{tls.server_port}"
    upstream(gw, "right", {name: 100}, healthchecks=active(type="https", https_sni="svc.example"), client_certificate={"id": own["id"]})
    upstream(gw, "wrong", {name: 100}, healthchecks=active(type="https", https_sni="other.example"))
    upstream(gw, "trusting", {name: 100}, healthchecks=active(type="https", https_sni="other.example", https_verify_certificate=False))
    wait_for(lambda: by_target(gw, "wrong") == {name: "UNHEALTHY"}, "the name of the certificate to be refused")
    wait_for(lambda: ("svc.example", "shown", "127.0.0.1") in tls.seen and ("other.example", None, "127.0.0.1") in tls.seen, "checks")
    assert [by_target(gw, n)[name] for n in ("right", "trusting")] == ["HEALTHY"] * 2


def test_upstreams_certificate_is_shown(gateway, tls, workdir):
    """To its targets, unless the service has one of its own; read anew when it changes."""
    gw = gateway(nginx_worker_processes=1)

    def pair(name):
        cert, key = certificate(workdir, name, "ca")
        return {"cert": cert.read_text(), "key": key.read_text()}
    of_ups, of_service = create(gw, "/certificates", **pair("of-ups")), create(gw, "/certificates", **pair("of-service"))
    upstream(gw, "pool", {f"127.0.0.1:{tls.server_port}": 100}, client_certificate={"id": of_ups["id"]})
    route_to(gw, "https://pool", "/a")
    route_to(gw, "https://pool", "/b", service={"client_certificate": {"id": of_service["id"]}})
    route_to(gw, f"https://127.0.0.1:{tls.server_port}", "/c")

    def shown(path):
        assert gw.proxy.get(path).status_code == 200
        return tls.seen[-1][1]
    for _ in range(2):
        assert [shown(p) for p in ("/a", "/b", "/c")] == ["of-ups", "of-service", None]
    assert gw.admin.patch(f"/certificates/{of_ups['id']}", json=pair("newer")).status_code == 200
    assert [shown(p) for p in ("/a", "/b", "/c")] == ["newer", "of-service", None]


@pytest.mark.parametrize("edited", ["other", "pool"])
def test_checks_end_while_upstreams_are_edited(gateway, switches, edited):
    """A check takes longer than it is from one edit to the next; its result counts all the same."""
    a = switches()
    gw = gateway()
    pool(gw, [a], **active(timeout=1))
    upstream(gw, "other", {target(a): 100}, healthchecks=active())
    a.health = 0
    edits = iter(range(100000))

    def edit():
        gw.admin.patch(f"/upstreams/{edited}", json={"tags": [f"t{next(edits)}"]}).raise_for_status()
        return by_target(gw)[target(a)] == "UNHEALTHY"

    wait_for(edit, "the target that does not answer to be unhealthy")


def test_stopping_with_checks_under_way(gateway, switches):
    servers = [switches() for _ in range(4)]
    for s in servers:
        s.health = 0
    gw = gateway()
    pool(gw, servers, **active(timeout=20))
    wait_for(lambda: all(s.probes for s in servers), "checks")
    gw.reload()
    wait_for(lambda: all(len(s.probes) > 1 for s in servers), "checks of the next worker")
    gw.stop()


def test_srv_records_have_ports_and_weights_of_their_own(gateway, switches, ports):
    """Checks go where requests go; health is shown and set by those ports."""
    a, b = switches(), switches()
    records = [(f"1 1 {a.port} one.test", 60), (f"1 3 {b.port} one.test", 60)]
    with DnsServer({("srv.test", "SRV"): records, ("one.test", "A"): [("127.0.0.1", 60)]}) as dns:
        gw = gateway(nginx_worker_processes=1, dns_resolver=f"127.0.0.1:{dns.port}", dns_order="SRV,A")
        upstream(gw, "pool", {f"srv.test:{ports.take()}": 50}, healthchecks={**active(), "threshold": 20})
        route_to(gw, "http://pool", service={"retries": 0})
        wait_for(lambda: a.probes and b.probes, "checks of both records' ports")
        assert a.probes[0][1]["Host"] == "srv.test"
        assert counts(gw, 40) == {a.port: 10, b.port: 30}

        def addresses():
            data = gw.admin.get("/upstreams/pool/health").json()["data"][0]["data"]
            assert (data["dns"], data["nodeWeight"], data["weight"]["total"]) == ("SRV", 50, 4)
            return {x["port"]: (x["weight"], x["health"]) for x in data["addresses"]}
        assert addresses() == {a.port: (1, "HEALTHY"), b.port: (3, "HEALTHY")}
        a.health = 500
        wait_for(lambda: addresses()[a.port] == (1, "UNHEALTHY"), "the first to be unhealthy")
        assert addresses()[b.port] == (3, "HEALTHY") and counts(gw, 8) == {b.port: 8}
        a.health, b.health = 200, 500
        wait_for(lambda: gw.proxy.get("/s").json().get("port") == a.port, "only the first to serve: a quarter is above the threshold")
        b.health = 200
        wait_for(lambda: addresses() == {a.port: (1, "HEALTHY"), b.port: (3, "HEALTHY")}, "both to be healthy")


def test_an_srv_records_address_set_by_hand(gateway, switches, ports):
    a, b = switches(), switches()
    records = [(f"1 1 {a.port} one.test", 60), (f"1 1 {b.port} one.test", 60)]
    with DnsServer({("srv.test", "SRV"): records, ("one.test", "A"): [("127.0.0.1", 60)]}) as dns:
        gw = gateway(dns_resolver=f"127.0.0.1:{dns.port}", dns_order="SRV,A")
        name = f"srv.test:{ports.take()}"
        upstream(gw, "pool", {name: 50})
        route_to(gw, "http://pool")
        assert gw.admin.put(f"/upstreams/pool/targets/{name}/127.0.0.1:{a.port}/unhealthy").status_code == 204
        assert counts(gw, 8) == {b.port: 8}
        assert gw.admin.put(f"/upstreams/pool/targets/{name}/healthy").status_code == 204
        assert set(counts(gw, 20)) == {a.port, b.port}


# ---- what stays ----

def test_health_stays(gateway, switches):
    """Over a reload, edits of other entities, and of the upstream itself; a target that is made anew begins healthy."""
    a, b = switches(), switches()
    gw = gateway()
    pool(gw, [a, b], **passive(http_failures=1, http_statuses=[500]))
    a.status = 500
    wait_for(lambda: gw.proxy.get("/s") and by_target(gw)[target(a)] == "UNHEALTHY", "the target to be unhealthy")
    a.status = 200
    create(gw, "/consumers", username="somebody")
    upstream(gw, "another", {"127.0.0.1:9": 100})
    assert gw.admin.patch("/upstreams/pool", json={"tags": ["t"]}).status_code == 200
    create(gw, "/upstreams/pool/targets", target="127.0.0.1:9", weight=0)
    assert counts(gw, 10) == {b.port: 10}
    gw.reload()
    assert counts(gw, 10) == {b.port: 10}
    assert gw.admin.delete(f"/upstreams/pool/targets/{target(a)}").status_code == 204
    create(gw, "/upstreams/pool/targets", target=target(a), weight=100)
    assert set(counts(gw, 20)) == {a.port, b.port}


def test_checks_go_on_after_a_reload(gateway, switches):
    a, b = switches(), switches()
    gw = gateway()
    pool(gw, [a, b], **active())
    wait_for(lambda: a.probes, "checks")
    gw.reload()
    a.health = 500
    wait_for(lambda: by_target(gw)[target(a)] == "UNHEALTHY", "the target to be unhealthy")
    gw.reload()
    assert by_target(gw)[target(a)] == "UNHEALTHY" and counts(gw, 10) == {b.port: 10}
    a.health = 200
    wait_for(lambda: by_target(gw)[target(a)] == "HEALTHY", "the target to be healthy")


def test_hashing_passes_over_the_unhealthy(gateway, switches):
    """Only what went to the one that is unhealthy moves, and comes back."""
    servers = [switches() for _ in range(4)]
    gw = gateway()
    upstream(gw, "pool", {target(s): 100 for s in servers}, hash_on="header", hash_on_header="X-Key")
    route_to(gw, "http://pool")

    def places():
        return [gw.proxy.get("/s", headers={"X-Key": str(i)}).json()["port"] for i in range(30)]
    before, gone = places(), servers[1].port
    assert gw.admin.put(f"/upstreams/pool/targets/127.0.0.1:{gone}/unhealthy").status_code == 204
    during = places()
    assert gone not in during and all(x == y or x == gone for x, y in zip(before, during))
    assert gw.admin.put(f"/upstreams/pool/targets/127.0.0.1:{gone}/healthy").status_code == 204
    assert places() == before
