"""Limits and timeouts that are settings: each is set to what a small request passes, and seen to hold. Nothing here measures time: a timeout
that is set to little is seen by what follows from it, one at its default by nothing happening."""
import socket
import threading

import pytest

import support
from proxy_support import Raw, route_to
from test_proxy_hostile import Service, read_head

GET = "GET /s HTTP/1.1\r\nHost: h\r\n"


def gateway_to(gateway, url, service=None, **settings):
    gw = gateway(nginx_worker_processes=1, **settings)
    route_to(gw, url, service={"retries": 0, **(service or {})})
    return gw


def asked(gw, request_text):
    raw = Raw(gw.proxy_port).send(request_text)
    status = raw.response()[0]
    raw.close()
    return status


# ---- what is too large ----

@pytest.mark.parametrize("limit,sizes", [("1000", {1000: 200, 1001: 413}), ("1k", {1024: 200, 1025: 413}), (None, {3_000_000: 200})])
def test_bodies(gateway, echo_server, limit, sizes):
    """nginx_http_client_max_body_size; without it any. The service sees nothing of what is refused."""
    settings = {"nginx_http_client_max_body_size": limit} if limit else {}
    gw = gateway_to(gateway, echo_server.url, **settings)
    for size, status in sizes.items():
        before = len(echo_server.requests)
        assert gw.proxy.post("/s", data=b"x" * size).status_code == status
        assert gw.proxy.post("/s", data=iter([b"x" * size])).status_code == status  # chunked
        assert len(echo_server.requests) - before == (2 if status == 200 else 0)


def test_bodies_of_a_location(gateway, echo_server):
    """nginx_proxy_… beats nginx_http_…, as the inner block does."""
    gw = gateway_to(gateway, echo_server.url, nginx_http_client_max_body_size="10", nginx_proxy_client_max_body_size="20")
    assert gw.proxy.post("/s", data="x" * 20).status_code == 200
    assert gw.proxy.post("/s", data="x" * 21).status_code == 413


@pytest.mark.parametrize("buffer,in_file", [("1k", True), ("64k", False)])
def test_body_buffers(gateway, echo_server, buffer, in_file):
    """nginx_http_client_body_buffer_size: what is larger waits in a file."""
    gw = gateway_to(gateway, echo_server.url, nginx_http_client_body_buffer_size=buffer)
    body = "x" * 30000
    assert gw.proxy.post("/s", data=body).json()["body"] == body
    gw.proxy.get("/s")
    support.wait_for(lambda: "GET /s " in gw.log("access"), "the access log")
    assert ("a client request body is buffered to a temporary file" in gw.log()) == in_file


@pytest.mark.parametrize("buffers,headers,targets", [
    (None, [(8000, 1, 200), (8200, 1, 400), (7000, 4, 200), (7000, 6, 400)], [(8000, 200), (8200, 414)]),
    ("2 1k", [(900, 1, 200), (1100, 1, 400), (700, 4, 400)], [(900, 200), (1100, 414)]),
    ("4 32k", [(30000, 2, 200), (33000, 1, 400)], [(30000, 200), (33000, 414)]),
])
def test_header_buffers(gateway, echo_server, buffers, headers, targets):
    """nginx_http_large_client_header_buffers: the longest line, and how many of that length."""
    settings = {"nginx_http_large_client_header_buffers": buffers} if buffers else {}
    gw = gateway_to(gateway, echo_server.url, **settings)
    for line, lines, status in headers:
        assert asked(gw, GET + f"X-L: {'x' * line}\r\n" * lines + "\r\n") == status, (line, lines)
        if status == 200:
            assert [len(v) for k, v in echo_server.requests[-1]["header_list"] if k == "X-L"] == [line] * lines
    for length, status in targets:
        assert asked(gw, f"GET /s?{'x' * length} HTTP/1.1\r\nHost: h\r\n\r\n") == status, length


def test_first_header_buffer(gateway, echo_server):
    """nginx_http_client_header_buffer_size: only the memory; what does not fit goes to a large buffer."""
    gw = gateway_to(gateway, echo_server.url, nginx_http_client_header_buffer_size="256", nginx_http_large_client_header_buffers="2 1k")
    assert asked(gw, GET + f"X-L: {'x' * 900}\r\n\r\n") == 200
    assert asked(gw, GET + f"X-L: {'x' * 1100}\r\n\r\n") == 400
    assert "client_header_buffer_size 256;" in (gw.prefix / "nginx.conf").read_text()


@pytest.mark.parametrize("prefix", ["nginx_http_", "nginx_proxy_", "nginx_location_"])
def test_headers_of_services(gateway, prefix):
    """proxy_buffer_size, from whichever block."""
    def script(sock, n):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-L: " + b"x" * 20000 + b"\r\nContent-Length: 0\r\n\r\n")

    service = Service(script)
    for settings, status in [({}, 502), ({prefix + "proxy_buffer_size": "32k", prefix + "proxy_buffers": "8 32k"}, 200)]:
        gw = gateway_to(gateway, service.url, **settings)
        assert gw.proxy.get("/s").status_code == status
    service.close()


# ---- how long ----

def test_client_header_timeout(gateway):
    gw = gateway(nginx_http_client_header_timeout="200ms")
    raw = Raw(gw.proxy_port).send("GET /slow HTTP/1.1\r\nHost: h\r\n")
    assert raw.closed()
    gw.wait_log("client timed out .* while reading client request headers")
    gw.wait_log('"GET /slow HTTP/1.1" 408 0 ', "access")


def test_client_body_timeout(gateway, echo_server):
    gw = gateway_to(gateway, echo_server.url, nginx_http_client_body_timeout="200ms")
    raw = Raw(gw.proxy_port).send("POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello")
    assert raw.closed()
    gw.wait_log('"POST /s HTTP/1.1" 408 ', "access")
    assert echo_server.requests == []


def test_send_timeout(gateway):
    """A client that does not read: the gateway leaves it, and its service is left too."""
    left = threading.Event()

    def script(sock, n):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        try:
            while True:
                sock.sendall(b"x" * 100000)
        except OSError:
            left.set()

    service = Service(script)
    gw = gateway(nginx_worker_processes=1, nginx_http_send_timeout="500ms")
    route_to(gw, service.url, service={"retries": 0}, response_buffering=False)
    raw = Raw(gw.proxy_port)
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.send(GET + "\r\n").until(b"\r\n\r\n")
    assert left.wait(60)
    gw.wait_log("client timed out .* while sending to client")
    raw.close()
    service.close()


# ---- kept connections ----

def test_keepalive_requests(gateway):
    """nginx_http_keepalive_requests: the last answer says that it is the last."""
    gw = gateway(nginx_http_keepalive_requests="3")
    raw = Raw(gw.proxy_port)
    said = []
    for _ in range(3):
        said.append(raw.send(GET + "\r\n").response()[1]["connection"])
    assert said == ["keep-alive", "keep-alive", "close"] and raw.closed()


@pytest.mark.parametrize("timeout,kept", [("0", False), ("1h", True)])
def test_keepalive_timeout(gateway, timeout, kept):
    """nginx_http_keepalive_timeout: 0 keeps none."""
    gw = gateway(nginx_http_keepalive_timeout=timeout)
    raw = Raw(gw.proxy_port)
    said = raw.send(GET + "\r\n").response()[1]["connection"]
    assert said == ("keep-alive" if kept else "close")
    if kept:
        assert raw.send(GET + "\r\n").response()[0] == 404
    else:
        assert raw.closed()


def test_an_idle_client_is_left(gateway):
    gw = gateway(nginx_http_keepalive_timeout="200ms")
    raw = Raw(gw.proxy_port)
    assert raw.send(GET + "\r\n").response()[1]["connection"] == "keep-alive"
    assert raw.closed()
