"""Settings of the TLS listeners together with certificates of the store."""
import socket
import ssl

import pytest

from proxy_support import create, route_to
from tls_support import Cert, client_context, shown


def connect(gw, context, name="site.test"):
    with socket.create_connection(("127.0.0.1", gw.tls_port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname=name) as tls:
            return tls.version(), tls.session.has_ticket


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
@pytest.mark.parametrize("suite, refused", [("modern", ssl.TLSVersion.TLSv1_2), ("intermediate", ssl.TLSVersion.TLSv1_1),
                                            ("fips", ssl.TLSVersion.TLSv1_3)])
def test_presets(gateway, suite, refused):
    """What the preset refuses is refused, and what it takes gets the certificate of the store."""
    gw = gateway(ssl_cipher_suite=suite)
    cert = Cert("site.test", kind="rsa")
    create(gw, "/certificates", snis=["site.test"], **cert.pair)
    assert shown(gw, "site.test") == cert.der
    gw.allow_log("SSL_do_handshake")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        shown(gw, "site.test", client_context("ALL:@SECLEVEL=0", refused))


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_protocols(gateway):
    """OpenSSL's level of security must be lowered as well."""
    gw = gateway(ssl_cipher_suite="old", nginx_proxy_ssl_conf_command="CipherString DEFAULT:@SECLEVEL=0")
    cert = Cert("site.test", kind="rsa")
    create(gw, "/certificates", snis=["site.test"], **cert.pair)
    assert shown(gw, "site.test", client_context("ALL:@SECLEVEL=0", ssl.TLSVersion.TLSv1_1)) == cert.der


@pytest.mark.parametrize("tickets", [True, False])
def test_session_tickets(gateway, tickets):
    gw = gateway(ssl_session_tickets="on" if tickets else "off")
    create(gw, "/certificates", snis=["site.test"], **Cert("site.test").pair)
    assert connect(gw, client_context(version=ssl.TLSVersion.TLSv1_2)) == ("TLSv1.2", tickets)


def test_injected_verification_of_clients(gateway, workdir, echo_server):
    """nginx's own directives go on to work beside certificates by name."""
    ca = Cert("ca.test", ca=True)
    crt, _ = ca.files(workdir)
    gw = gateway(nginx_proxy_ssl_verify_client="on", nginx_proxy_ssl_client_certificate=str(crt))
    site = Cert("site.test")
    create(gw, "/certificates", snis=["site.test"], **site.pair)
    route_to(gw, echo_server.url, "/s")
    assert shown(gw, "site.test") == site.der

    def status(cert):
        return gw.proxy_tls.get("/s", cert=tuple(map(str, cert.files(workdir))) if cert else None).status_code

    assert status(None) == 400
    gw.proxy_tls.close()
    assert status(Cert("client.test", ca)) == 200
    gw.proxy_tls.close()
    assert status(Cert("stranger.test")) == 400
