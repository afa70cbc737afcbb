"""Certificates of the store on the proxy's TLS listeners: which one is shown for which name, and that changes show at once."""
import re
import socket
import ssl
import subprocess

import pytest

from proxy_support import create, route_to
from tls_support import Cert, client_context, shown


def own(gw, kind="ecdsa"):
    """The certificate that the node made for itself (ECDSA is what clients prefer)."""
    return ssl.PEM_cert_to_DER_cert((gw.prefix / "ssl" / f"kong-default{'-ecdsa' if kind == 'ecdsa' else ''}.crt").read_text())


def chain_of(gw, name, *options):
    """Certificates (PEM) that `openssl s_client` is sent, the leaf first."""
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gw.tls_port}", "-servername", name, "-showcerts", *options],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60).stdout
    return [pem + "\n" for pem in re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", out, re.S)]


@pytest.fixture
def gw(gateway):
    return gateway()


def test_exact_name(gw):
    cert = Cert("a.example.com")
    assert shown(gw, "a.example.com") == own(gw)
    create(gw, "/certificates", snis=["a.example.com"], **cert.pair)
    # the 201 is there, so every worker shows it: more handshakes than workers
    assert all(shown(gw, "a.example.com") == cert.der for _ in range(8))
    assert shown(gw, "A.Example.COM") == cert.der
    assert shown(gw, "b.example.com") == own(gw)
    assert shown(gw) == own(gw)


def test_wildcards_in_order(gw):
    """Exact, then the first label replaced, then the last, then "*"."""
    certs = {name: Cert("c%d.test" % i) for i, name in enumerate(["*", "www.example.*", "*.example.com", "www.example.com"])}
    for name, cert in certs.items():
        create(gw, "/certificates", snis=[name], **cert.pair)
        assert shown(gw, "www.example.com") == cert.der, name
    assert shown(gw, "www.example.org") == certs["www.example.*"].der
    assert shown(gw, "api.example.com") == certs["*.example.com"].der
    assert shown(gw, "a.b.example.com") == certs["*"].der
    assert shown(gw, "example.com") == certs["*"].der
    assert shown(gw, "localhost") == certs["*"].der
    assert shown(gw) == certs["*"].der
    # and back: each removal uncovers the next
    for name, following in (("www.example.com", "*.example.com"), ("*.example.com", "www.example.*"), ("www.example.*", "*")):
        assert gw.admin.delete(f"/snis/{name}").status_code == 204
        assert shown(gw, "www.example.com") == certs[following].der
    assert gw.admin.delete("/snis/*").status_code == 204
    assert shown(gw, "www.example.com") == own(gw)


def test_changes_show_at_the_next_handshake(gw):
    first, second, third = Cert("one.test"), Cert("two.test"), Cert("three.test")
    row = create(gw, "/certificates", snis=["live.test"], **first.pair)
    assert shown(gw, "live.test") == first.der
    assert gw.admin.patch(f"/certificates/{row['id']}", json=second.pair).status_code == 200
    assert all(shown(gw, "live.test") == second.der for _ in range(4))
    other = create(gw, "/certificates", **third.pair)
    assert gw.admin.patch("/snis/live.test", json={"certificate": {"id": other["id"]}}).status_code == 200
    assert all(shown(gw, "live.test") == third.der for _ in range(4))
    assert gw.admin.delete(f"/certificates/{other['id']}").status_code == 204
    assert all(shown(gw, "live.test") == own(gw) for _ in range(4))
    logs = gw.log() + gw.log("access") + gw.log("admin_access")
    assert not any(line in logs for cert in (first, second, third) for line in cert.key_pem.splitlines())


def test_rsa_and_ecdsa_in_one_certificate(gw):
    rsa, ecdsa = Cert("both.test", kind="rsa"), Cert("both.test")
    create(gw, "/certificates", snis=["both.test"], cert=rsa.pem, key=rsa.key_pem, cert_alt=ecdsa.pem, key_alt=ecdsa.key_pem)
    old = ssl.TLSVersion.TLSv1_2
    assert shown(gw, "both.test", client_context("ECDHE-RSA-AES128-GCM-SHA256", old)) == rsa.der
    assert shown(gw, "both.test", client_context("ECDHE-ECDSA-AES128-GCM-SHA256", old)) == ecdsa.der
    assert chain_of(gw, "both.test", "-tls1_3", "-sigalgs", "rsa_pss_rsae_sha256") == [rsa.pem]
    assert chain_of(gw, "both.test", "-tls1_3", "-sigalgs", "ecdsa_secp256r1_sha256") == [ecdsa.pem]


def test_a_pair_of_one_kind_hides_the_listeners_other(gw):
    """An RSA certificate of the store, and a client that prefers ECDSA: the node's own ECDSA certificate must not slip in."""
    rsa = Cert("rsa.test", kind="rsa")
    create(gw, "/certificates", snis=["rsa.test"], **rsa.pair)
    assert shown(gw, "rsa.test") == rsa.der


def test_chain_is_sent(gw):
    root = Cert("root.test", ca=True)
    middle = Cert("middle.test", root, ca=True)
    leaf = Cert("leaf.test", middle)
    create(gw, "/certificates", snis=["leaf.test"], cert=leaf.pem + middle.pem, key=leaf.key_pem)
    assert chain_of(gw, "leaf.test") == [leaf.pem, middle.pem]


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_both_protocols(gw, protocol):
    cert = Cert("alpn.test")
    create(gw, "/certificates", snis=["alpn.test"], **cert.pair)
    context = client_context(alpn=[protocol])
    with socket.create_connection(("127.0.0.1", gw.tls_port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="alpn.test") as tls:
            assert tls.selected_alpn_protocol() == protocol
            assert tls.getpeercert(True) == cert.der


def test_a_verifying_client_gets_its_answer(gw, echo_server, workdir):
    root = Cert("root.test", ca=True)
    leaf = Cert("site.test", root)
    create(gw, "/certificates", snis=["site.test"], **leaf.pair)
    route_to(gw, echo_server.url, "/s", hosts=["site.test"])
    root.files(workdir)
    command = ["curl", "-sS", "--cacert", workdir / "root.test.crt", "--resolve", f"site.test:{gw.tls_port}:127.0.0.1", "-w", "%{http_code}",
               "-o", "/dev/null", f"https://site.test:{gw.tls_port}/s"]
    out = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert out.stdout == "200", out.stderr


def test_resumption_keeps_working(gw):
    """A resumed session asks for no certificate; one of another name is not resumed."""
    cert = Cert("again.test")
    create(gw, "/certificates", snis=["again.test"], **cert.pair)
    context = client_context(version=ssl.TLSVersion.TLSv1_2)

    def connect(session=None):
        with socket.create_connection(("127.0.0.1", gw.tls_port), timeout=30) as plain:
            with context.wrap_socket(plain, server_hostname="again.test", session=session) as tls:
                return tls.session, tls.session_reused

    session, reused = connect()
    assert not reused
    assert connect(session)[1]


def test_a_thousand_certificates(gw):
    """More than anyone's cache would hold by luck; each name gets its own."""
    key = Cert("key.test").key
    certs = [Cert(f"n{i}.many.test", key=key) for i in range(1000)]
    for cert in certs:
        create(gw, "/certificates", snis=[cert.name], **cert.pair)
    for cert in certs[::37] + certs[-3:]:
        assert shown(gw, cert.name) == cert.der
    assert shown(gw, "n1000.many.test") == own(gw)


def test_certificates_survive_a_reload_and_a_restart(gw):
    cert = Cert("stay.test")
    create(gw, "/certificates", snis=["stay.test"], **cert.pair)
    gw.reload()
    assert shown(gw, "stay.test") == cert.der
    gw.restart()
    assert shown(gw, "stay.test") == cert.der


def test_a_small_cache_still_serves(gateway):
    """Certificates that do not fit are decoded again."""
    gw = gateway(mem_cache_size="40k", nginx_worker_processes=1)
    certs = [Cert(f"s{i}.test") for i in range(6)]
    for cert in certs:
        create(gw, "/certificates", snis=[cert.name], **cert.pair)
    for _ in range(2):
        for cert in certs:
            assert shown(gw, cert.name) == cert.der
