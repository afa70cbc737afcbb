"""HTTP/3 on a listener with the flag quic, where nginx has it; elsewhere the refusal."""
import json
import re
import shutil
import subprocess

import pytest

from proxy_support import create, route_to
from test_proxy_protocols import H2Client

HAS_HTTP3 = "--with-http_v3_module" in subprocess.run([shutil.which("nginx") or "/usr/sbin/nginx", "-V"], stderr=subprocess.PIPE, text=True).stderr
http3 = pytest.mark.skipif(not HAS_HTTP3, reason="nginx here has no HTTP/3")


def listen(port, flags="ssl http2 quic"):
    return f"127.0.0.1:{port} {flags} reuseport backlog=64"


class Answer:
    def __init__(self, out):
        head, _, self.body = out.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.version, self.status = lines[0].split()[0], int(lines[0].split()[1])
        self.headers = dict(line.split(": ", 1) for line in lines[1:])


def curl(gw, path, *args, data=b""):
    """One request by HTTP/3 and nothing else."""
    result = subprocess.run(["curl", "-skg", "--http3-only", "-i", "--max-time", "60", "--resolve", f"api.example:{gw.tls_port}:127.0.0.1", *args,
                             f"https://api.example:{gw.tls_port}{path}"], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert result.returncode == 0, (result.returncode, result.stderr)
    return Answer(result.stdout)


@pytest.fixture
def node(gateway, ports):
    def make(**settings):
        tls = ports.take()
        gw = gateway(proxy_listen=f"127.0.0.1:{ports.take()}, {listen(tls)}", **settings)
        gw.tls_port, gw.proxy_tls.base = tls, f"https://127.0.0.1:{tls}"
        return gw
    return make


@http3
def test_requests(node, echo_server):
    gw = node()
    route_to(gw, echo_server.url)
    answer = curl(gw, "/s/x?a=b")
    seen = json.loads(answer.body)
    assert (answer.version, answer.status) == ("HTTP/3", 200) and answer.headers["via"] == "1.1 kong/3.9.1"
    assert seen["uri"] == "/x?a=b" and seen["headers"]["via"] == "3 kong/3.9.1" and seen["headers"]["x-real-ip"] == "127.0.0.1"
    assert seen["headers"]["x-forwarded-proto"] == "https" and seen["headers"]["x-forwarded-port"] == str(gw.tls_port)
    assert seen["headers"]["x-forwarded-host"] == "api.example"
    missing = curl(gw, "/none", "-H", "Accept: application/json")
    assert missing.status == 404 and json.loads(missing.body)["message"] == "no Route matched with those values"


@http3
@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
def test_bodies(node, echo_server, buffering):
    gw = node()
    route_to(gw, echo_server.url, request_buffering=buffering, response_buffering=buffering)
    body = b"0123456789" * 50000
    for framing in ([], ["-H", "Transfer-Encoding: chunked"]):
        answer = curl(gw, "/s", "--data-binary", "@-", *framing, data=body)
        assert json.loads(answer.body)["body"].encode() == body
    assert len(curl(gw, "/s?size=3000000").body) == 3000000
    assert len(curl(gw, "/s?size=300000&chunked=1").body) == 300000


@http3
def test_many_workers_and_connections(node, echo_server):
    """Each connection stays with its worker; every worker takes some."""
    gw = node(nginx_worker_processes=3)
    route_to(gw, echo_server.url)
    for n in range(20):
        assert curl(gw, f"/s?n={n}").status == 200


@http3
def test_alt_svc(node, echo_server):
    gw = node()
    service, _ = route_to(gw, echo_server.url)
    own = f'h3=":{gw.tls_port}"; ma=86400'
    client = H2Client(gw.tls_port)
    for path in ("/s", "/none"):
        assert client.answer(client.request(path))["headers"]["alt-svc"] == own
    assert client.answer(client.request("/s?header=Alt-Svc:clear"))["headers"]["alt-svc"] == "clear"
    assert gw.proxy_tls.get("/s").headers["alt-svc"] == own
    assert "alt-svc" not in curl(gw, "/s").headers


@http3
def test_the_public_port(gateway, ports, echo_server):
    tls = ports.take()
    gw = gateway(proxy_listen=listen(tls), port_maps=f"443:{tls}")
    gw.proxy_tls.base = f"https://127.0.0.1:{tls}"
    assert gw.proxy_tls.get("/none").headers["alt-svc"] == 'h3=":443"; ma=86400'


@http3
def test_certificates_and_plugins(node, echo_server, plugin, workdir):
    """The store's certificate for the name, and Lua plugins in each phase."""
    from tls_support import Cert
    path = plugin("probe3", """
        local probe = { PRIORITY = 10, VERSION = "1.0.0" }
        function probe:access() kong.service.request.set_header("X-Version", kong.request.get_http_version()) end
        function probe:header_filter() kong.response.set_header("X-Probe", kong.request.get_scheme()) end
        function probe:body_filter()
          local body = kong.response.get_raw_body()
          if body then kong.response.set_raw_body(body:upper()) end
        end
        return probe""")
    gw = node(plugins="bundled,probe3", lua_package_path=path)
    service, _ = route_to(gw, echo_server.url)
    cert = Cert("api.example")
    create(gw, "/certificates", **cert.pair, snis=["api.example"])
    create(gw, f"/services/{service['id']}/plugins", name="probe3")
    (workdir / "ca.pem").write_text(cert.pem)
    answer = curl(gw, "/s", "--no-insecure", "--cacert", str(workdir / "ca.pem"))
    assert answer.headers["x-probe"] == "https" and b'"X-VERSION": "3"' in answer.body


@http3
def test_reload(node, echo_server):
    gw = node()
    route_to(gw, echo_server.url)
    for _ in range(2):
        gw.reload()
        assert curl(gw, "/s").status == 200


@pytest.mark.skipif(HAS_HTTP3, reason="nginx here has HTTP/3")
def test_nginx_without_it(gateway, ports):
    port = ports.take()
    gw = gateway(start=False, proxy_listen=listen(port))
    for verb in (["start"], ["check", "/dev/null"]):
        result = gw.run(*verb)
        assert result.returncode == 1
        assert re.search(rf"proxy_listen: '127.0.0.1:{port}' has the flag quic: it needs an nginx with HTTP/3 .* nginx 1\.\d+\.\d+ here has none",
                         result.stderr), result.stderr


@pytest.mark.parametrize("settings,problem", [
    ({"proxy_listen": "127.0.0.1:1 quic"}, "proxy_listen: '127.0.0.1:1' has the flag quic: it needs ssl in the same entry"),
    ({"admin_listen": "127.0.0.1:1 ssl quic"}, "admin_listen: '127.0.0.1:1' has the flag quic: proxy_listen alone takes it"),
    ({"proxy_listen": "127.0.0.1:1 ssl quic proxy_protocol"}, "proxy_listen: '127.0.0.1:1' has the flag quic: it cannot stand with proxy_protocol")])
def test_where_it_cannot_stand(gateway, settings, problem):
    gw = gateway(start=False, **settings)
    result = gw.run("check", "/dev/null")
    assert result.returncode == 1 and problem in result.stderr
