"""Certificates that the gateway shows to services: client_ssl* for all, client_certificate of one service."""
import http.server
import json
import ssl
import subprocess
import threading

import pytest

from proxy_support import create


def certificate(folder, name, issuer=None):
    """(certificate, key) for CN `name`, signed by `issuer` or by itself."""
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9", "-subj",
               f"/CN={name}", "-keyout", key, "-out", cert]
    if issuer:
        command += ["-CA", folder / f"{issuer}.crt", "-CAkey", folder / f"{issuer}.key"]
    subprocess.run(command, check=True, capture_output=True)
    return cert, key


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with the common name in the certificate that the client showed."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        shown = self.connection.getpeercert()
        names = [value for part in (shown or {}).get("subject", ()) for key, value in part if key == "commonName"]
        body = json.dumps({"shown": names[0] if names else None, "connection": self.client_address[1]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port, context):
        super().__init__(("127.0.0.1", port), Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def service(ports, workdir):
    """A TLS service that asks for a certificate of our CA, but does not insist."""
    certificate(workdir, "ca")
    server_cert, server_key = certificate(workdir, "server", "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server_cert, server_key)
    context.load_verify_locations(workdir / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    server = Server(ports.take(), context)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def routed(gw, service, path, **fields):
    made = create(gw, "/services", protocol="https", host="127.0.0.1", port=service.server_port, **fields)
    create(gw, "/routes", paths=[path], service={"id": made["id"]})
    return made


def shown(gw, path):
    answer = gw.proxy.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()["shown"]


def pair(cert, key):
    return {"cert": cert.read_text(), "key": key.read_text()}


def test_client_ssl_for_all_services(gateway, service, workdir):
    cert, key = certificate(workdir, "gateway", "ca")
    gw = gateway(client_ssl="on", client_ssl_cert=str(cert), client_ssl_cert_key=str(key))
    routed(gw, service, "/a")
    assert shown(gw, "/a") == "gateway"


def test_client_ssl_off(gateway, service, workdir):
    cert, key = certificate(workdir, "gateway", "ca")
    gw = gateway(client_ssl_cert=str(cert), client_ssl_cert_key=str(key))
    routed(gw, service, "/a")
    assert shown(gw, "/a") is None


def test_client_ssl_with_the_default_certificate(gateway):
    """Without one of the user's own the generated certificate is shown, though no listener needs one."""
    gw = gateway(start=False, client_ssl="on")
    gw.settings["proxy_listen"] = f"127.0.0.1:{gw.proxy_port}"
    gw.start()
    assert (gw.prefix / "ssl" / "kong-default.crt").exists()
    assert f"proxy_ssl_certificate '{gw.prefix}/ssl/kong-default.crt'" in (gw.prefix / "nginx.conf").read_text()


@pytest.mark.parametrize("missing", ["client_ssl_cert", "client_ssl_cert_key"])
def test_half_a_pair_is_refused(gateway, workdir, missing):
    cert, key = certificate(workdir, "gateway")
    settings = {"client_ssl": "on", "client_ssl_cert": str(cert), "client_ssl_cert_key": str(key)}
    del settings[missing]
    r = gateway(start=False, **settings).run("start")
    assert r.returncode == 1 and f"{missing} must be specified" in r.stderr


def test_service_certificate(gateway, service, workdir):
    """A service's own comes before the one of the settings; connections of the two are never mixed up."""
    cert, key = certificate(workdir, "gateway", "ca")
    gw = gateway(client_ssl="on", client_ssl_cert=str(cert), client_ssl_cert_key=str(key), nginx_worker_processes="1")
    own = create(gw, "/certificates", **pair(*certificate(workdir, "own", "ca")))
    routed(gw, service, "/a")
    made = routed(gw, service, "/b", client_certificate={"id": own["id"]})
    for _ in range(3):
        assert (shown(gw, "/a"), shown(gw, "/b")) == ("gateway", "own")
    # changed, and read anew by the next request
    assert gw.admin.patch(f"/certificates/{own['id']}", json=pair(*certificate(workdir, "newer", "ca"))).status_code == 200
    assert shown(gw, "/b") == "newer"
    assert gw.admin.patch(f"/services/{made['id']}", json={"client_certificate": None}).status_code == 200
    assert shown(gw, "/b") == "gateway"


def test_service_certificate_with_its_chain(gateway, ports, service, workdir):
    """An intermediate that the service does not know is sent along."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9", "-subj",
                    "/CN=middle", "-keyout", workdir / "middle.key", "-out", workdir / "middle.crt", "-CA", workdir / "ca.crt", "-CAkey",
                    workdir / "ca.key", "-addext", "basicConstraints=critical,CA:TRUE"], check=True, capture_output=True)
    cert, key = certificate(workdir, "leaf", "middle")
    gw = gateway()
    both = create(gw, "/certificates", cert=cert.read_text() + (workdir / "middle.crt").read_text(), key=key.read_text())
    routed(gw, service, "/a", client_certificate={"id": both["id"]})
    assert shown(gw, "/a") == "leaf"
