"""Settings as an operator gives them: file, environment, injected directives; listeners; who may run a node and who may read its files."""
import os
import pathlib
import pwd
import socket
import ssl
import subprocess

import pytest

import support
from proxy_support import Raw, route_to
from support import PROGRAM, wait_for


def refused(gw, *expected):
    """start fails, says why, and leaves nothing."""
    r = gw.run("start")
    assert r.returncode == 1 and r.stdout == ""
    for text in expected:
        assert text in r.stderr
    assert not gw.processes()
    assert not list((gw.prefix / "pids").glob("*.pid")) if (gw.prefix / "pids").exists() else True


def test_injected_directives_are_in_effect(gateway, echo_server):
    """One in each block of nginx's configuration, from the file and from the environment, which wins."""
    gw = gateway(start=False, nginx_main_worker_rlimit_nofile="5000", nginx_proxy_client_max_body_size="20")
    conf = gw.prefix / "kong.conf"
    conf.write_text("nginx_main_worker_rlimit_nofile = 4000\n"
                    "nginx_http_client_header_buffer_size = 2k\n"
                    "nginx_http_large_client_header_buffers = 2 2k # two\n"
                    "nginx_proxy_client_max_body_size = 5\n"
                    "nginx_admin_add_header = X-Hash \"a\\#b\" always\n"
                    "nginx_location_add_header = X-Location here\n"
                    "nginx_http_charset = NONE\n"
                    "nginx_location_proxy_ssl_server_name = NONE\n"
                    "nginx_admin_client_max_body_size = 100\n"
                    "nginx_events_worker_connections = 777\n")
    del gw.settings["nginx_events_worker_connections"]
    gw.start("-c", str(conf))
    route_to(gw, echo_server.url)
    for pid in gw.workers("proxy"):
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert [line.split()[3] for line in limits.splitlines() if line.startswith("Max open files")] == ["5000"]
    written = (gw.prefix / "nginx.conf").read_text()
    assert "worker_connections 777;" in written and "charset" not in written and "proxy_ssl_server_name" not in written
    assert gw.proxy.post("/s", data="x" * 20).status_code == 200
    assert gw.proxy.post("/s", data="x" * 21).status_code == 413
    assert gw.proxy.get("/s", headers={"X-Long": "y" * 3000}).status_code == 400
    assert gw.admin.get("/").headers["X-Hash"] == "a#b"
    assert gw.proxy.get("/s").headers["X-Location"] == "here"
    assert gw.admin.post("/services", json={"host": "h" * 100}).status_code == 413
    assert gw.admin.post("/services", json={"host": "h"}).status_code == 201


def test_client_body_limit_of_the_conf_file(gateway, echo_server):
    """0, the default, is no limit; a limit counts for lengths and for chunks."""
    gw = gateway(nginx_http_client_max_body_size="1k")
    route_to(gw, echo_server.url)
    assert gw.proxy.post("/s", data="x" * 1024).status_code == 200
    assert gw.proxy.post("/s", data="x" * 1025).status_code == 413
    assert gw.proxy.post("/s", data=iter([b"x" * 1000, b"x" * 100])).status_code == 413


def test_default_conf_path_and_precedence(gateway, workdir):
    """Environment before file before default; what is empty counts as given; unknown names are named."""
    gw = gateway(start=False)
    conf = workdir / "kong.conf"
    conf.write_text("# a comment\nlog_level=debug\nerror_default_type = text/html # trailing\nno_such_thing = 1\nheaders = server_tokens\n")
    gw.settings["log_level"] = "notice"
    r = gw.start("-c", str(conf))
    assert "no_such_thing" in r.stderr
    configuration = gw.admin.get("/").json()["configuration"]
    assert (configuration["log_level"], configuration["error_default_type"], configuration["headers"]) == \
        ("notice", "text/html", ["server_tokens"])
    assert "X-Kong-Response-Latency" not in gw.proxy.get("/").headers


def test_several_listeners(gateway, ports, echo_server):
    """Plain, TLS, a second plain one, IPv6 where there is any: each serves, in its protocol."""
    plain, tls, third = (ports.take() for _ in range(3))
    six = socket.has_ipv6 and os.path.exists("/proc/net/if_inet6") and "00000000000000000000000000000001" in open("/proc/net/if_inet6").read()
    listen = f"127.0.0.1:{plain}, 127.0.0.1:{tls} http2 ssl, 127.0.0.1:{third} reuseport backlog=128" + (f", [::1]:{third}" if six else "")
    gw = gateway(proxy_listen=listen)
    route_to(gw, echo_server.url)
    for base, port in ((f"http://127.0.0.1:{plain}", plain), (f"https://127.0.0.1:{tls}", tls), (f"http://127.0.0.1:{third}", third),
                       *([(f"http://[::1]:{third}", third)] if six else [])):
        seen = support.Site(base).get("/s").json()["headers"]
        assert (seen["x-forwarded-proto"], seen["x-forwarded-port"]) == (base.split(":")[0], str(port))
    assert negotiated(tls) == "h2"


def negotiated(port):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    with socket.create_connection(("127.0.0.1", port)) as s, context.wrap_socket(s) as t:
        return t.selected_alpn_protocol()


def test_proxy_can_be_off(gateway):
    gw = gateway(proxy_listen="off")
    with socket.socket() as s:
        assert s.connect_ex(("127.0.0.1", gw.proxy_port)) != 0
    assert gw.admin.post("/services", json={"host": "h"}).status_code == 201
    assert gw.run("health").returncode == 0


def test_own_certificates(gateway, workdir):
    """ssl_cert and admin_ssl_cert: each listener shows its own."""
    for name in ("proxy", "admin"):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9", "-subj",
                        f"/CN={name}.test", "-keyout", workdir / f"{name}.key", "-out", workdir / f"{name}.crt"], check=True, capture_output=True)
    gw = gateway(**{f"{prefix}ssl_cert{suffix}": str(workdir / f"{name}.{kind}") for prefix, name in (("", "proxy"), ("admin_", "admin"))
                    for suffix, kind in (("", "crt"), ("_key", "key"))})
    for port, name in ((gw.tls_port, "proxy"), (gw.admin_tls_port, "admin")):
        assert ssl.get_server_certificate(("127.0.0.1", port)).strip() == (workdir / f"{name}.crt").read_text().strip()


REFUSED = [
    ({"database": "cassandra"}, "database has an invalid value: 'cassandra' ("),
    ({"log_level": "loud"}, "log_level has an invalid value: 'loud' (debug, info, notice, warn, error, crit, alert, emerg)"),
    ({"proxy_listen": "127.0.0.1"}, "proxy_listen must be of form: [off] | <ip>:<port> [flags], [... next entry ...]"),
    ({"admin_listen": "127.0.0.1:99999"}, "admin_listen must be of form: [off] | <ip>:<port> [flags], [... next entry ...]"),
    ({"ssl_cert": "/none"}, "ssl_cert"),
    ({"trusted_ips": "300.1.1.1"}, "trusted_ips: invalid CIDR or IP address: '300.1.1.1'"),
    ({"upstream_keepalive_pool_size": "-1"}, "upstream_keepalive_pool_size"),
    ({"lua_max_uri_args": "0"}, "lua_max_uri_args"),
    ({"tracing_sampling_rate": "2"}, "tracing_sampling_rate"),
    ({"admin_gui_path": "x"}, "admin_gui_path"),
    ({"headers": "tokens"}, "headers has an invalid value: 'tokens' (Server, Via, "),
    ({"dns_order": "A,MX"}, "dns_order has an invalid value: 'MX' (LAST, SRV, A, AAAA, CNAME)"),
    ({"nginx_worker_processes": "0"}, "nginx_main_worker_processes must be 'auto' or a number from 1 to 1024: '0'"),
    ({"port_maps": "x"}, "port_maps: invalid port mapping: 'x'"),
    ({"nginx_main_no_such": "1"}, 'unknown directive "no_such"'),
    ({"nginx_proxy_proxy_pass": "x"}, "proxy_pass"),
]


@pytest.mark.parametrize("settings, text", [pytest.param(*r, id=next(iter(r[0]))) for r in REFUSED])
def test_bad_settings_name_themselves(gateway, settings, text):
    gw = gateway(start=False, **settings)
    gw.allow_log(r"\[emerg\]")
    refused(gw, text)


@pytest.mark.parametrize("taken", ["tls_port", "admin_tls_port"])
def test_busy_tls_ports_leave_nothing(gateway, taken):
    gw = gateway(start=False)
    port = getattr(gw, taken)
    with socket.create_server(("127.0.0.1", port)):
        refused(gw, f"127.0.0.1:{port}", "Address already in use")
    gw.start()


def reachable(path, user):
    return subprocess.run(["test", "-x", path], user=user, group="nogroup", extra_groups=[]).returncode == 0 if os.getuid() == 0 else True


def test_files_are_private(gateway):
    """Secrets and data are the node's alone; its folders let nobody else write."""
    gw = gateway()
    gw.admin.post("/services", json={"host": "h"})
    for path in gw.prefix.rglob("*"):
        mode = path.stat().st_mode & 0o777
        assert mode & 0o022 == 0 or path.is_socket(), f"{path}: {mode:o}"
        if path.is_file() and path.suffix not in (".crt", ".pem") and path.parent.name not in ("logs", "pids"):
            assert mode & 0o077 == 0, f"{path}: {mode:o}"
        if path.is_socket():
            assert mode & 0o007 == 0 or path.parent.stat().st_mode & 0o007 == 0, f"{path}: {mode:o}"


def test_unprivileged_node(gateway, echo_server):
    """A user without any rights runs a whole node: start, serve, reload, survive, stop."""
    gw = gateway(start=False)
    if os.getuid() == 0:
        if not reachable(PROGRAM, "nobody"):
            pytest.skip("nobody cannot reach the build folder")
        nobody = pwd.getpwnam("nobody")
        os.chown(gw.prefix, nobody.pw_uid, nobody.pw_gid)
        usual = gw.run

        def run(*args, check=False, timeout=90):
            r = subprocess.run([PROGRAM, *args], cwd=gw.prefix, env=gw.environ(), timeout=timeout, stdin=subprocess.DEVNULL, text=True,
                               capture_output=True, user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[])
            assert not check or r.returncode == 0, r.stdout + r.stderr
            return r

        gw.run = run
        assert usual is not gw.run
    r = gw.start()
    assert "Error" not in r.stderr
    owners = {pathlib.Path(f"/proc/{pid}").stat().st_uid for pid in gw.processes()}
    assert owners == {nobody.pw_uid if os.getuid() == 0 else os.getuid()}
    route_to(gw, echo_server.url)
    assert gw.proxy.get("/s").status_code == 200 and gw.proxy_tls.get("/s").status_code == 200
    gw.reload()
    assert gw.proxy.get("/s").status_code == 200
    os.kill(gw.workers("control")[0], 9)
    gw.allow_log("exited on signal 9")
    wait_for(lambda: support.Site(gw.admin.base).post("/consumers", json={"username": "u"}).status_code in (201, 409), "Admin to be back")
    for path in gw.prefix.rglob("*"):
        assert path.stat().st_uid in owners, path
    gw.stop()
    assert not gw.processes()


def test_odd_requests(gateway, echo_server):
    """What is no ordinary request is refused in the interface's form or passed on, never misread."""
    gw = gateway()
    route_to(gw, echo_server.url)
    for line, status in (("OPTIONS *", 400), ("CONNECT h:80", 400), ("TRACE /s", 405), ("get /s", 400), ("GET /../s", 400), ("GET s", 400)):
        got, headers, body = Raw(gw.proxy_port).send(f"{line} HTTP/1.1\r\nHost: h\r\n\r\n").response()
        assert (got, headers["server"], "x-kong-request-id" in headers) == (status, "kong/3.9.1", True), line
        assert headers["x-kong-request-id"] in body.decode()
    got, headers, _ = Raw(gw.proxy_port).send("BREW /s HTTP/1.1\r\nHost: h\r\n\r\n").response()
    assert got == 501 and headers["server"].startswith("BaseHTTP"), "the service refuses it, not the gateway"
    assert Raw(gw.proxy_port).send("OPTIONS /s HTTP/1.1\r\nHost: h\r\n\r\n").response()[0] == 200
