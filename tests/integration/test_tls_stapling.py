"""OCSP stapling for certificates of the store, with a responder of our own."""
import datetime
import http.server
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID

from proxy_support import create
from support import wait_for
from tls_support import Cert, shown


class Responder(http.server.ThreadingHTTPServer):
    """Answers for certificates of `root`; counts what it is asked."""
    daemon_threads = True

    def __init__(self, port, root):
        super().__init__(("127.0.0.1", port), Answer)
        self.root, self.certs, self.asked, self.revoked, self.signer = root, {}, 0, False, root
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def issue(self, name):
        """A certificate that names this responder."""
        url = x509.UniformResourceIdentifier(f"http://localhost:{self.server_port}/ocsp")
        access = x509.AuthorityInformationAccess([x509.AccessDescription(AuthorityInformationAccessOID.OCSP, url)])
        cert = Cert(name, self.root, extensions=[access])
        self.certs[cert.x509.serial_number] = cert
        return cert

    def answer(self, request):
        cert = self.certs[request.serial_number]
        now = datetime.datetime.utcnow()
        return ocsp.OCSPResponseBuilder().add_response(
            cert=cert.x509, issuer=self.root.x509, algorithm=request.hash_algorithm,
            cert_status=ocsp.OCSPCertStatus.REVOKED if self.revoked else ocsp.OCSPCertStatus.GOOD,
            this_update=now - datetime.timedelta(minutes=1), next_update=now + datetime.timedelta(hours=2),
            revocation_time=now if self.revoked else None, revocation_reason=None,
        ).responder_id(ocsp.OCSPResponderEncoding.HASH, self.signer.x509).sign(self.signer.key, hashes.SHA256())


class Answer(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.asked += 1
        request = ocsp.load_der_ocsp_request(self.rfile.read(int(self.headers["Content-Length"])))
        body = self.server.answer(request).public_bytes(serialization.Encoding.DER)
        self.send_response(200)
        self.send_header("Content-Type", "application/ocsp-response")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def responder(ports):
    server = Responder(ports.take(), Cert("root.test", ca=True))
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def node(gateway):
    return lambda **settings: gateway(nginx_worker_processes=1, **{"nginx_proxy_ssl_stapling": "on", **settings})


def add(gw, cert, responder, name="site.test"):
    create(gw, "/certificates", snis=[name], cert=cert.pem + responder.root.pem, key=cert.key_pem)


def status(gw, name="site.test"):
    """What `openssl s_client` is stapled: "good", "revoked" … or None."""
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gw.tls_port}", "-servername", name, "-status"],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60).stdout
    assert "OCSP response" in out
    lines = [line.split(":")[1].strip() for line in out.splitlines() if "Cert Status:" in line]
    return lines[0] if lines else None


def test_answer_is_stapled(node, responder):
    """The first client starts the fetch, the next ones find its answer; it is asked for once."""
    gw = node()
    cert = responder.issue("site.test")
    add(gw, cert, responder)
    wait_for(lambda: status(gw) == "good", "the answer to be stapled")
    assert status(gw) == "good"
    assert responder.asked == 1
    assert shown(gw, "site.test") == cert.der  # a client that does not ask


def test_a_new_certificate_has_its_own_answer(node, responder):
    gw = node()
    add(gw, responder.issue("one.test"), responder)
    wait_for(lambda: status(gw) == "good", "the first answer")
    newer = responder.issue("two.test")
    assert gw.admin.patch("/certificates/site.test", json={"cert": newer.pem + responder.root.pem, "key": newer.key_pem}).status_code == 200
    wait_for(lambda: status(gw) == "good", "the second answer")
    assert responder.asked == 2


def test_a_revoked_certificate_is_not_stapled(node, responder):
    gw = node()
    responder.revoked = True
    add(gw, responder.issue("site.test"), responder)
    assert status(gw) is None
    gw.wait_log("OCSP answer of http://localhost:[0-9]+/ocsp cannot be used: the certificate is revoked")
    assert status(gw) is None


def test_an_answer_of_a_stranger_is_not_stapled(node, responder):
    gw = node()
    responder.signer = Cert("root.test", ca=True)
    add(gw, responder.issue("site.test"), responder)
    assert status(gw) is None
    gw.wait_log("its signature is not the issuer's")
    assert status(gw) is None


def test_a_responder_that_is_gone_harms_nobody(node, responder):
    gw = node()
    cert = responder.issue("site.test")
    responder.shutdown()
    responder.server_close()
    add(gw, cert, responder)
    assert status(gw) is None
    gw.wait_log("OCSP answer of .* cannot be used: (cannot connect|the connection broke)")
    assert shown(gw, "site.test") == cert.der


def test_without_the_setting_nobody_is_asked(gateway, responder):
    gw = gateway(nginx_worker_processes=1)
    add(gw, responder.issue("site.test"), responder)
    assert status(gw) is None
    assert status(gw) is None
    assert responder.asked == 0
