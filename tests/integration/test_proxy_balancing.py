"""Where exchanges go: targets, retries, timeouts, kept connections, TLS to services."""
import collections
import http.client
import re
import socket
import ssl
import subprocess
import threading
import time

import pytest

from proxy_support import Raw, create, route_to, upstream
from support import wait_for


def counts(gw, n, path="/s"):
    """How many of n requests each server (by port) answered."""
    return collections.Counter(gw.proxy.get(path).json()["port"] for _ in range(n))


def test_weighted_targets(gateway, echo_servers):
    a, b, c = echo_servers(), echo_servers(), echo_servers()
    gw = gateway(nginx_worker_processes=1)
    upstream(gw, "pool.example", {f"127.0.0.1:{a.port}": 30, f"127.0.0.1:{b.port}": 10, f"127.0.0.1:{c.port}": 0})
    route_to(gw, "http://pool.example:1/base")
    assert counts(gw, 40) == {a.port: 30, b.port: 10}
    # Host is the target's, and the service's port plays no part.
    assert a.requests[0]["headers"]["host"] == f"127.0.0.1:{a.port}" and a.requests[0]["path"] == "/base"


def test_targets_and_upstreams_change(gateway, echo_servers):
    a, b = echo_servers(), echo_servers()
    gw = gateway()
    service, _ = route_to(gw, f"http://127.0.0.1:{a.port}")
    assert counts(gw, 4) == {a.port: 4}
    assert gw.admin.patch(f"/services/{service['id']}", json={"host": "pool.example"}).status_code == 200
    upstream(gw, "pool.example", {})
    answer = gw.proxy.get("/s")
    assert answer.status_code == 503 and answer.json()["message"] == "failure to get a peer from the ring-balancer"
    create(gw, "/upstreams/pool.example/targets", target=f"127.0.0.1:{a.port}")
    assert counts(gw, 4) == {a.port: 4}
    create(gw, "/upstreams/pool.example/targets", target=f"127.0.0.1:{b.port}")
    assert set(counts(gw, 12)) == {a.port, b.port}
    assert gw.admin.delete(f"/upstreams/pool.example/targets/127.0.0.1:{a.port}").status_code == 204
    assert counts(gw, 4) == {b.port: 4}


def test_host_header_of_the_upstream(gateway, echo_server):
    gw = gateway()
    upstream(gw, "pool.example", {f"127.0.0.1:{echo_server.port}": 100}, host_header="virtual.example")
    service, _ = route_to(gw, "http://pool.example")
    create(gw, f"/services/{service['id']}/routes", paths=["/keep"], preserve_host=True)
    assert gw.proxy.get("/s").json()["headers"]["host"] == "virtual.example"
    assert gw.proxy.get("/keep", headers={"Host": "mine.example"}).json()["headers"]["host"] == "mine.example"


def test_dead_targets_are_passed_over(gateway, echo_server, ports):
    dead = [ports.take() for _ in range(3)]
    gw = gateway(nginx_worker_processes=1)
    upstream(gw, "pool.example", {f"127.0.0.1:{p}": 100 for p in [*dead, echo_server.port]})
    route_to(gw, "http://pool.example")
    for _ in range(8):
        answer = gw.proxy.get("/s")
        assert answer.status_code == 200
        assert answer.json()["headers"]["host"] == f"127.0.0.1:{echo_server.port}"  # not the one tried first
    assert gw.proxy.post("/s", data="body").json()["body"] == "body"  # nothing had been sent yet


def test_log_tells_each_address_of_a_retry(gateway, ports, echo_server):
    """$upstream_addr names what each try went to, not the last address again and again."""
    gw = gateway(nginx_http_log_format="tries 'T $upstream_addr'", proxy_access_log="logs/access.log tries", nginx_worker_processes=1)
    dead = f"127.0.0.2:{ports.take()}"
    upstream(gw, "pool.example", {dead: 100, f"127.0.0.1:{echo_server.port}": 100})
    route_to(gw, "http://pool.example")
    for _ in range(4):
        assert gw.proxy.get("/s").status_code == 200
    gw.wait_log(rf"T {re.escape(dead)}, 127\.0\.0\.1:{echo_server.port}\n", "access")


def test_retries_are_the_services(gateway, ports):
    gw = gateway()
    for retries in (0, 1, 3):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(20)
            route_to(gw, f"http://127.0.0.1:{server.getsockname()[1]}", f"/r{retries}", service={"retries": retries})
            raw = Raw(gw.proxy_port).send(f"GET /r{retries} HTTP/1.1\r\nHost: h\r\n\r\n")
            for _ in range(retries + 1):
                connection, _ = server.accept()
                assert connection.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
                connection.close()
            assert raw.response()[0] == 502


def test_unsafe_requests_are_sent_once(gateway):
    gw = gateway()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        route_to(gw, f"http://127.0.0.1:{server.getsockname()[1]}")
        raw = Raw(gw.proxy_port).send("POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx")
        connection, _ = server.accept()
        connection.recv(65536)
        connection.close()
        assert raw.response()[0] == 502
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()


def test_connect_timeout(gateway):
    gw = gateway()
    # A listener whose queue is full answers no further connection.
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        fill = [socket.socket() for _ in range(8)]
        for s in fill:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
        route_to(gw, f"http://127.0.0.1:{port}", service={"connect_timeout": 100, "retries": 1})
        answer = gw.proxy.get("/s")
        for s in fill:
            s.close()
    assert answer.status_code == 504


def test_connections_are_kept_and_shared(gateway, echo_server):
    gw = gateway(nginx_worker_processes=1)
    route_to(gw, echo_server.url, "/a")
    route_to(gw, echo_server.url, "/b")
    clients = set()
    for _ in range(10):
        for path in ("/a", "/b?chunked=1", "/a?status=204", "/b"):
            answer = gw.proxy.get(path)
            assert answer.status_code in (200, 204)
            if answer.content:
                clients.add(tuple(answer.json()["client"]))
    assert echo_server.connections == 1 and len(clients) == 1


@pytest.mark.parametrize("settings, requests_each", [({"upstream_keepalive_pool_size": 0}, 1), ({"upstream_keepalive_max_requests": 3}, 3)])
def test_keepalive_settings(gateway, echo_server, settings, requests_each):
    gw = gateway(nginx_worker_processes=1, **settings)
    route_to(gw, echo_server.url)
    for _ in range(9):
        assert gw.proxy.get("/s").status_code == 200
    assert echo_server.connections == 9 // requests_each


def test_idle_connections_are_closed(gateway):
    gw = gateway(nginx_worker_processes=1, upstream_keepalive_idle_timeout="0.3")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        route_to(gw, f"http://127.0.0.1:{server.getsockname()[1]}")
        raw = Raw(gw.proxy_port).send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
        connection, _ = server.accept()
        connection.settimeout(20)
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert raw.response()[0] == 200
        assert connection.recv(1) == b""  # closed by the gateway


def test_a_kept_connection_that_died_is_replaced(gateway):
    gw = gateway(nginx_worker_processes=1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        route_to(gw, f"http://127.0.0.1:{server.getsockname()[1]}", service={"retries": 0})
        raw = Raw(gw.proxy_port)
        for turn in range(4):
            raw.send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert raw.response()[0] == 200
            connection.close()


def test_answers_that_lie_about_their_length_end_the_connection(gateway):
    gw = gateway(nginx_worker_processes=1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        route_to(gw, f"http://127.0.0.1:{server.getsockname()[1]}")
        for _ in range(3):
            raw = Raw(gw.proxy_port).send("GET /s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            connection, _ = server.accept()  # a new one each time
            connection.settimeout(20)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok-and-more")
            status, _, body = raw.response()
            assert (status, body) == (200, b"ok")
            assert connection.recv(1) in (b"",)
            connection.close()


def test_names_with_several_addresses(gateway, echo_server, workdir, ports):
    hosts = workdir / "hosts"
    hosts.write_text("127.0.0.1 two.example\n127.0.0.9 two.example\n")
    gw = gateway(dns_hostsfile=str(hosts))
    route_to(gw, f"http://two.example:{echo_server.port}")
    for _ in range(6):  # 127.0.0.9 refuses: the other address answers
        answer = gw.proxy.get("/s")
        assert answer.status_code == 200
        assert answer.json()["headers"]["host"] == f"two.example:{echo_server.port}"


class Hangup(threading.Thread):
    """Takes requests and closes the connection a moment later, without an answer."""

    def __init__(self, host, port):
        super().__init__(daemon=True)
        self.server = socket.create_server((host, port))
        self.connections = 0
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with client:
            client.recv(65536)
            time.sleep(0.01)

    def close(self):
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()


def test_a_retry_goes_to_another_address_of_the_host(gateway, echo_server, workdir):
    """Also when others take turns on the same addresses meanwhile. The log names the addresses in their order."""
    hosts = workdir / "hosts"
    hosts.write_text("127.0.0.1 two.example\n127.0.0.9 two.example\n")
    gw = gateway(nginx_worker_processes=1, dns_hostsfile=str(hosts), nginx_http_log_format="tries 'T $upstream_addr'",
                 proxy_access_log="logs/tries.log tries")
    route_to(gw, f"http://two.example:{echo_server.port}", service={"retries": 1})
    closing, statuses = Hangup("127.0.0.9", echo_server.port), []

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", gw.proxy_port, timeout=60)
        for _ in range(20):
            connection.request("GET", "/s")
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
    clients = [threading.Thread(target=client) for _ in range(6)]
    for c in clients:
        c.start()
    for c in clients:
        c.join()
    closing.close()
    assert statuses == [200] * 120 and closing.connections >= 30
    gw.wait_log(rf"(?m)^T 127\.0\.0\.9:{echo_server.port}, 127\.0\.0\.1:{echo_server.port}$", name="tries")


# ---- TLS to services ----

def make_certificate(folder, name, ca=None):
    """A key and a certificate for the name, self-signed or by a CA made before."""
    key, crt = folder / f"{name}.key", folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-keyout", key,
               "-out", crt, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"]
    if ca:
        command += ["-CA", folder / f"{ca}.crt", "-CAkey", folder / f"{ca}.key", "-addext", "basicConstraints=CA:FALSE"]
    subprocess.run(command, check=True, capture_output=True)
    return key, crt


class TlsServer:
    """Answers every request with the server name that the client asked for."""

    def __init__(self, key, crt):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(crt, key)
        self.context.sni_callback = lambda sock, name, context: setattr(sock, "asked_for", name)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.handshakes = self.resumed = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                plain, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(plain,), daemon=True).start()

    def serve(self, plain):
        try:
            with self.context.wrap_socket(plain, server_side=True) as sock:
                self.handshakes += 1
                self.resumed += bool(sock.session_reused)
                while sock.recv(65536):
                    name = (getattr(sock, "asked_for", None) or "-").encode()
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))
        except OSError:
            pass

    def close(self):
        self.server.close()


@pytest.fixture
def tls(workdir):
    """A service by TLS, its certificate issued for svc.example by a CA of ours."""
    make_certificate(workdir, "ca.example")
    server = TlsServer(*make_certificate(workdir, "svc.example", "ca.example"))
    server.ca = (workdir / "ca.example.crt").read_text()
    yield server
    server.close()


def tls_node(gateway, workdir, tls, **settings):
    hosts = workdir / "hosts"
    hosts.write_text("127.0.0.1 svc.example other.example\n")
    return gateway(dns_hostsfile=str(hosts), nginx_worker_processes=1, **settings)


def test_tls_service(gateway, workdir, tls):
    gw = tls_node(gateway, workdir, tls)
    service, _ = route_to(gw, f"https://svc.example:{tls.port}")
    for _ in range(5):
        assert gw.proxy.get("/s").text == "svc.example"
    assert tls.handshakes == 1
    # Another name is another connection.
    route_to(gw, f"https://other.example:{tls.port}", "/other")
    assert gw.proxy.get("/other").text == "other.example"
    assert tls.handshakes == 2


def test_tls_verification(gateway, workdir, tls):
    gw = tls_node(gateway, workdir, tls)
    ca = create(gw, "/ca_certificates", cert=tls.ca)
    url = f"https://svc.example:{tls.port}"
    route_to(gw, url, "/no-trust", service={"tls_verify": True, "retries": 0})
    route_to(gw, url, "/trust", service={"tls_verify": True, "ca_certificates": [ca["id"]]})
    route_to(gw, f"https://other.example:{tls.port}", "/name", service={"tls_verify": True, "ca_certificates": [ca["id"]], "retries": 0})
    assert gw.proxy.get("/no-trust").status_code == 502
    assert gw.proxy.get("/trust").text == "svc.example"
    assert gw.proxy.get("/name").status_code == 502  # the certificate is for another name
    gw.wait_log("upstream SSL certificate verify error")


def test_tls_sessions_are_resumed(gateway, workdir, tls):
    gw = tls_node(gateway, workdir, tls, upstream_keepalive_pool_size=0)
    route_to(gw, f"https://svc.example:{tls.port}")
    for _ in range(4):
        assert gw.proxy.get("/s").status_code == 200
    wait_for(lambda: tls.handshakes == 4, "four handshakes")
    assert tls.resumed >= 2
