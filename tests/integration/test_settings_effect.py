"""Settings that belong to nginx, seen from outside: who the client is, what a listener takes, which TLS it speaks, what is logged."""
import socket
import ssl

import pytest

from proxy_support import Raw, route_to
from support import Site, wait_for


def seen_by_service(gw, **headers):
    return gw.proxy.get("/s", headers={k.replace("_", "-"): v for k, v in headers.items()}).json()["headers"]


@pytest.mark.parametrize("recursive, client", [("on", "9.9.9.9"), ("off", "127.0.0.5")])
def test_real_ip_recursive(gateway, echo_server, recursive, client):
    """The last address that is not trusted, or simply the last one."""
    gw = gateway(trusted_ips="127.0.0.0/8", real_ip_header="X-Forwarded-For", real_ip_recursive=recursive)
    route_to(gw, echo_server.url)
    assert seen_by_service(gw, X_Forwarded_For="8.8.8.8, 9.9.9.9, 127.0.0.5")["x-real-ip"] == client


def test_real_ip_by_another_header(gateway, echo_server):
    gw = gateway(trusted_ips="127.0.0.1, ::1", real_ip_header="X-Client")
    route_to(gw, echo_server.url)
    assert seen_by_service(gw, X_Client="2001:db8::7", X_Real_IP="1.1.1.1")["x-real-ip"] == "2001:db8::7"


def test_real_ip_of_a_stranger_does_not_count(gateway, echo_server):
    gw = gateway(trusted_ips="10.0.0.0/8", real_ip_header="X-Client")
    route_to(gw, echo_server.url)
    assert seen_by_service(gw, X_Client="1.1.1.1")["x-real-ip"] == "127.0.0.1"


def proxied(port, line, request="GET /s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"):
    return Raw(port).send(line + request)


def test_proxy_protocol(gateway, ports, echo_server):
    """The client as the load balancer in front names it; without its line there is no request."""
    port = ports.take()
    gw = gateway(proxy_listen=f"127.0.0.1:{port} proxy_protocol", real_ip_header="proxy_protocol", trusted_ips="127.0.0.1")
    gw.allow_log("broken header")
    route_to(gw, echo_server.url)
    status, _, body = proxied(port, "PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n").response()
    assert status == 200 and b'"x-real-ip": "1.2.3.4"' in body
    assert proxied(port, "").closed()


def test_proxy_protocol_of_a_stranger(gateway, ports, echo_server):
    port = ports.take()
    gw = gateway(proxy_listen=f"127.0.0.1:{port} proxy_protocol", real_ip_header="proxy_protocol", trusted_ips="10.0.0.0/8")
    route_to(gw, echo_server.url)
    status, _, body = proxied(port, "PROXY TCP4 1.2.3.4 5.6.7.8 1111 2222\r\n").response()
    assert status == 200 and b'"x-real-ip": "127.0.0.1"' in body


def test_every_listen_flag(gateway, ports, echo_server):
    port = ports.take()
    gw = gateway(proxy_listen=f"127.0.0.1:{port} reuseport deferred bind backlog=64 so_keepalive=30m::10")
    gw.proxy.base = f"http://127.0.0.1:{port}"
    route_to(gw, echo_server.url)
    assert gw.proxy.get("/s").status_code == 200
    assert f"listen 127.0.0.1:{port} reuseport deferred bind backlog=64 so_keepalive=30m::10;" in (gw.prefix / "nginx.conf").read_text()


def handshake(port, version=None, ciphers=None):
    """(version, cipher) that a client gets which speaks only `version`; None when refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers(ciphers or "ALL:@SECLEVEL=0")
    if version:
        context.minimum_version = context.maximum_version = version
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=30) as s, context.wrap_socket(s) as t:
            return t.version(), t.cipher()[0]
    except (ssl.SSLError, ConnectionError):
        return None


def test_cipher_suite_modern(gateway):
    gw = gateway(ssl_cipher_suite="modern")
    for port in (gw.tls_port, gw.admin_tls_port):
        assert handshake(port, ssl.TLSVersion.TLSv1_3) and handshake(port, ssl.TLSVersion.TLSv1_2) is None


def test_cipher_suite_custom(gateway):
    gw = gateway(ssl_cipher_suite="custom", ssl_protocols="TLSv1.2", ssl_ciphers="ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384")
    assert handshake(gw.tls_port) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
    assert handshake(gw.tls_port, ssl.TLSVersion.TLSv1_3) is None
    assert handshake(gw.tls_port, ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0") is None


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_access_logs(gateway, workdir, echo_server):
    """Another place, another format, or none; the Admin API's own is apart."""
    gw = gateway(proxy_access_log=f"{workdir}/traffic.log brief", nginx_http_log_format="brief '$status $uri'", admin_access_log="logs/admin.log")
    route_to(gw, echo_server.url)
    gw.proxy.get("/s/one")
    wait_for(lambda: lines(workdir / "traffic.log") == ["200 /s/one"], "a line of the proxy's log")
    wait_for(lambda: any("POST /services" in line for line in lines(gw.prefix / "logs" / "admin.log")), "a line of the Admin log")
    assert not (gw.prefix / "logs" / "access.log").exists()


def test_access_logs_off(gateway, echo_server):
    gw = gateway(proxy_access_log="off", admin_access_log="off")
    route_to(gw, echo_server.url)
    assert gw.proxy.get("/s").status_code == 200
    for name in ("nginx.conf", "control.conf"):
        assert "access_log off;" in (gw.prefix / name).read_text()
    assert not lines(gw.prefix / "logs" / "access.log") and not lines(gw.prefix / "logs" / "admin_access.log")


def test_error_logs(gateway):
    """Each instance into its own file, at log_level."""
    gw = gateway(proxy_error_log="logs/p.log", admin_error_log="logs/a.log", log_level="debug")
    wait_for(lambda: any("[debug]" in line or "[info]" in line for line in lines(gw.prefix / "logs" / "p.log")), "the proxy's error log")
    wait_for(lambda: lines(gw.prefix / "logs" / "a.log"), "control's error log")


def test_included_servers(gateway, workdir, ports, echo_server):
    """As the interface's documentation has it: a server in a file that nginx_http_include names. The proxy has it, control has not."""
    port = ports.take()
    (workdir / "my-server.conf").write_text(f"server {{\n  listen {port};\n  location / {{ return 202; }}\n}}\n")
    (workdir / "dict.conf").write_text("lua_shared_dict mine 1m;\n")
    gw = gateway(nginx_http_include=f"'{workdir}/*.conf'")
    site = Site(f"http://127.0.0.1:{port}")
    assert site.get("/").status_code == 202
    assert str(workdir) in (gw.prefix / "nginx.conf").read_text() and str(workdir) not in (gw.prefix / "control.conf").read_text()
    # The socket is the supervisor's, so other listeners can come and go beside it.
    gw.settings["proxy_listen"] = f"127.0.0.1:{ports.take()}"
    (gw.prefix / "kong.conf").write_text("")
    gw.reload("-c", str(gw.prefix / "kong.conf"))
    assert site.get("/").status_code == 202
    site.close()
    gw.settings["nginx_http_include"] = f"{workdir}/dict.conf"
    gw.restart()
    assert f"include {workdir}/dict.conf;" in (gw.prefix / "control.conf").read_text()
