"""HTTP/2 of many streams at once, with nghttp2's client, which checks the protocol on its side."""
import re
import subprocess

import pytest

from proxy_support import create, route_to


def h2load(url, *args, n=600):
    """Every request must be answered with success, over connections that speak HTTP/2."""
    result = subprocess.run(["h2load", "-n", str(n), "-c", "6", "-m", "25", *args, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=120)
    assert result.returncode == 0, result.stdout
    assert re.search(rf"requests: {n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout", result.stdout), result.stdout
    return result.stdout


@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
def test_many_streams(gateway, echo_server, workdir, buffering):
    gw = gateway()
    route_to(gw, echo_server.url, request_buffering=buffering, response_buffering=buffering)
    url = f"https://127.0.0.1:{gw.tls_port}/s"
    assert "Application protocol: h2" in h2load(url)
    body = workdir / "body"
    body.write_bytes(b"0123456789" * 3000)
    h2load(f"{url}?size=0", "-d", str(body), n=200)
    assert {len(r["body"]) for r in echo_server.requests[600:]} == {30000}
    h2load(f"{url}?size=300000&chunked=1", "-w", "16", n=60)  # more than a window: the gateway waits for room


def test_small_windows_and_a_lua_plugin(gateway, echo_server, plugin):
    path = plugin("touch", """
        local touch = { PRIORITY = 10, VERSION = "1.0.0" }
        function touch:access() kong.service.request.set_header("X-Touched", "1") end
        function touch:body_filter() kong.response.set_raw_body(kong.response.get_raw_body()) end
        return touch""")
    gw = gateway(plugins="bundled,touch", lua_package_path=path)
    service, _ = route_to(gw, echo_server.url)
    create(gw, f"/services/{service['id']}/plugins", name="touch")
    h2load(f"https://127.0.0.1:{gw.tls_port}/s?size=100000", "-w", "10", "-W", "14", n=120)
    assert {r["headers"].get("x-touched") for r in echo_server.requests} == {"1"}


def test_without_tls(gateway, ports, echo_server):
    """Prior knowledge on a plain listener with the flag."""
    port = ports.take()
    gw = gateway(proxy_listen=f"127.0.0.1:{port} http2")
    route_to(gw, echo_server.url)
    h2load(f"http://127.0.0.1:{port}/s")
    assert echo_server.requests[-1]["headers"]["via"] == "2 kong/3.9.1" and echo_server.requests[-1]["headers"]["x-forwarded-proto"] == "http"
