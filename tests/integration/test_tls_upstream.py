"""TLS to services: who is trusted, how deep, which certificate is shown, and what a client is told when it fails."""
import http.server
import json
import ssl
import threading

import pytest

from proxy_support import create, route_to, upstream
from tls_support import Cert

MESSAGE = "An invalid response was received from the upstream server"


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the common name of the certificate that was shown, the server name asked for, and the connection's number."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        shown = self.connection.getpeercert() or {}
        names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
        body = json.dumps({"shown": names[0] if names else None, "sni": getattr(self.connection, "asked_for", None),
                           "host": self.headers["host"], "connection": self.client_address[1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, folder, cert, chain="", clients=None, mode=ssl.CERT_OPTIONAL):
        super().__init__(("127.0.0.1", port), Handler)
        crt, key = cert.files(folder)
        crt.write_text(cert.pem + chain)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(crt, key)
        context.sni_callback = lambda sock, name, _: setattr(sock, "asked_for", name)
        if clients:
            context.load_verify_locations(cadata=clients.pem)
            context.verify_mode = mode
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def root():
    return Cert("root.test", ca=True)


@pytest.fixture
def serve(ports, workdir):
    made = []

    def make(cert, **options):
        made.append(Server(ports.take(), workdir, cert, **options))
        return made[-1].server_port

    yield make
    for server in made:
        server.shutdown()
        server.server_close()


@pytest.fixture
def node(gateway, workdir):
    hosts = workdir / "hosts"
    hosts.write_text("127.0.0.1 svc.test other.test\n")
    return lambda **settings: gateway(dns_hostsfile=str(hosts), nginx_worker_processes=1, **settings)


def refused(gw, path):
    answer = gw.proxy.get(path)
    return answer.status_code == 502 and answer.json()["message"] == MESSAGE


def test_failed_verification(node, serve, root):
    port = serve(Cert("svc.test", root))
    gw = node()
    other = create(gw, "/ca_certificates", cert=Cert("stranger.test", ca=True).pem)
    service = {"tls_verify": True, "ca_certificates": [other["id"]], "retries": 0}
    route_to(gw, f"https://svc.test:{port}", "/a", service=service)
    assert refused(gw, "/a")
    gw.wait_log(r"upstream SSL certificate verify error: \(20:unable to get local issuer certificate\)")


def test_authorities_change_without_a_reload(node, serve, root):
    port = serve(Cert("svc.test", root))
    gw = node()
    ca = create(gw, "/ca_certificates", cert=Cert("stranger.test", ca=True).pem)
    fields = {"tls_verify": True, "ca_certificates": [ca["id"]], "retries": 0}
    first, _ = route_to(gw, f"https://svc.test:{port}", "/a", service=fields)
    route_to(gw, f"https://svc.test:{port}", "/b", service=fields)
    assert refused(gw, "/a") and refused(gw, "/b")
    assert gw.admin.patch(f"/ca_certificates/{ca['id']}", json={"cert": root.pem}).status_code == 200
    assert gw.proxy.get("/a").status_code == gw.proxy.get("/b").status_code == 200
    # a second authority in the set takes nothing away, whatever the order
    second = create(gw, "/ca_certificates", cert=Cert("third.test", ca=True).pem)
    assert gw.admin.patch(f"/services/{first['id']}", json={"ca_certificates": [second["id"], ca["id"]]}).status_code == 200
    assert gw.proxy.get("/a").status_code == 200
    # the connection that the trusted authority made possible is not for those who do not trust it
    assert gw.admin.patch(f"/services/{first['id']}", json={"ca_certificates": [second["id"]]}).status_code == 200
    assert refused(gw, "/a")
    assert gw.proxy.get("/b").status_code == 200


def test_depth(node, serve, root):
    middle = Cert("middle.test", root, ca=True)
    port = serve(Cert("svc.test", middle), chain=middle.pem)
    gw = node()
    ca = create(gw, "/ca_certificates", cert=root.pem)
    fields = {"tls_verify": True, "ca_certificates": [ca["id"]], "retries": 0}
    route_to(gw, f"https://svc.test:{port}", "/flat", service={**fields, "tls_verify_depth": 0})
    route_to(gw, f"https://svc.test:{port}", "/deep", service={**fields, "tls_verify_depth": 1})
    route_to(gw, f"https://svc.test:{port}", "/default", service=fields)
    assert refused(gw, "/flat")
    gw.wait_log("certificate chain too long")
    assert gw.proxy.get("/deep").status_code == 200
    assert gw.proxy.get("/default").status_code == 200  # lua_ssl_verify_depth is 1


def test_trusted_file_of_the_settings(node, serve, root, workdir):
    port = serve(Cert("svc.test", root))
    crt, _ = root.files(workdir)
    gw = node(lua_ssl_trusted_certificate=f"system,{crt}")
    route_to(gw, f"https://svc.test:{port}", "/a", service={"tls_verify": True, "retries": 0})
    route_to(gw, f"https://other.test:{port}", "/b", service={"tls_verify": True, "retries": 0})
    assert gw.proxy.get("/a").status_code == 200
    assert refused(gw, "/b")


def test_name_sent_and_verified(node, serve, root):
    """It is the host that is sent: the service's, the client's with preserve_host, the upstream entity's host_header."""
    port = serve(Cert("svc.test", root))
    gw = node()
    ca = create(gw, "/ca_certificates", cert=root.pem)
    fields = {"tls_verify": True, "ca_certificates": [ca["id"]], "retries": 0}
    route_to(gw, f"https://svc.test:{port}", "/plain", service=fields)
    route_to(gw, f"https://other.test:{port}", "/kept", service=fields, preserve_host=True)
    upstream(gw, "named", {f"127.0.0.1:{port}": 10}, host_header="svc.test")
    upstream(gw, "unnamed", {f"127.0.0.1:{port}": 10})
    route_to(gw, "https://named", "/named", service=fields)
    route_to(gw, "https://unnamed", "/unnamed", service=fields)
    assert gw.proxy.get("/plain").json()["sni"] == "svc.test"
    assert gw.proxy.get("/kept", headers={"Host": "svc.test"}).json()["sni"] == "svc.test"
    assert refused(gw, "/kept")
    answer = gw.proxy.get("/named").json()
    assert (answer["sni"], answer["host"]) == ("svc.test", "svc.test")
    assert refused(gw, "/unnamed")


def test_a_service_that_insists_on_a_certificate(node, serve, root):
    port = serve(Cert("svc.test", root), clients=root, mode=ssl.CERT_REQUIRED)
    gw = node()
    gw.allow_log("SSL")
    own = create(gw, "/certificates", **Cert("own.test", root).pair)
    stranger = create(gw, "/certificates", **Cert("stranger.test").pair)
    made, _ = route_to(gw, f"https://svc.test:{port}", "/a", service={"retries": 0})
    assert refused(gw, "/a")
    assert gw.admin.patch(f"/services/{made['id']}", json={"client_certificate": {"id": own["id"]}}).status_code == 200
    assert gw.proxy.get("/a").json()["shown"] == "own.test"
    assert gw.admin.patch(f"/services/{made['id']}", json={"client_certificate": {"id": stranger["id"]}}).status_code == 200
    assert refused(gw, "/a")


def test_certificate_of_an_upstream(node, serve, root):
    """Shown to targets of services that have none of their own; connections of different certificates are not mixed up."""
    port = serve(Cert("svc.test", root), clients=root)
    gw = node()
    of_upstream = create(gw, "/certificates", **Cert("upstream.test", root).pair)
    of_service = create(gw, "/certificates", **Cert("service.test", root, kind="rsa").pair)
    row = upstream(gw, "pool", {f"svc.test:{port}": 10}, client_certificate={"id": of_upstream["id"]})
    route_to(gw, "https://pool", "/theirs")
    route_to(gw, "https://pool", "/own", service={"client_certificate": {"id": of_service["id"]}})
    route_to(gw, f"https://svc.test:{port}", "/none")

    def shown(path):
        return gw.proxy.get(path).json()["shown"]

    for _ in range(3):
        assert (shown("/theirs"), shown("/own"), shown("/none")) == ("upstream.test", "service.test", None)
    assert gw.admin.patch(f"/certificates/{of_upstream['id']}", json=Cert("newer.test", root).pair).status_code == 200
    assert shown("/theirs") == "newer.test"
    assert gw.admin.patch(f"/upstreams/{row['id']}", json={"client_certificate": None}).status_code == 200
    assert shown("/theirs") is None
