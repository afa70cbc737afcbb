"""Trailers: those of answers reach clients that can take them, those of requests end at the gateway."""
import socket
import time

import h2.events
import pytest

from proxy_support import Accepting, Raw, create, route_to
from test_proxy_bodies import Scripted, read_head
from test_proxy_protocols import H2Client

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"


class Service(Accepting):
    """Answers every request on every connection with the same bytes, whole or one by one."""

    def __init__(self, answer, one_by_one=False):
        self.answer, self.one_by_one = answer, one_by_one
        super().__init__()

    def serve(self, sock):
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                try:
                    read_head(sock)
                except (AssertionError, OSError):
                    return
                if not self.one_by_one:
                    sock.sendall(self.answer)
                    continue
                for byte in self.answer:
                    sock.sendall(bytes([byte]))
                    time.sleep(0.001)  # so that reads see single bytes; nothing is judged by it


@pytest.fixture
def service():
    made = []

    def make(body, head=HEAD, **how):
        made.append(Service(head + body, **how))
        return made[-1]
    yield make
    for s in made:
        s.close()


def answer_and_trailers(raw):
    """Head, body and trailers of an answer in chunks."""
    head = raw.until(b"\r\n\r\n").decode()
    assert "transfer-encoding: chunked" in head.lower(), head
    body = b""
    while (size := int(raw.until(b"\r\n"), 16)) != 0:
        body += raw.exactly(size)
        assert raw.until(b"\r\n") == b""
    trailers = []
    while (line := raw.until(b"\r\n")) != b"":
        trailers.append(line.decode())
    return head, body, trailers


def ask(raw, te="TE: trailers\r\n", path="/s"):
    return raw.send(f"GET {path} HTTP/1.1\r\nHost: h\r\n{te}\r\n")


@pytest.mark.parametrize("one_by_one", [False, True], ids=["whole", "one_by_one"])
@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
def test_trailers_of_answers(gateway, service, buffering, one_by_one):
    gw = gateway()
    s = service(b"5\r\nhello\r\n3;x=0\r\n000\r\n0\r\nX-Sum: 1\r\nx-other:  a b \r\nX-Sum: 2\r\n\r\n", one_by_one=one_by_one)
    route_to(gw, s.url, response_buffering=buffering)
    raw = Raw(gw.proxy_port)
    for _ in range(2):  # nothing is left over on either connection
        head, body, trailers = answer_and_trailers(ask(raw))
        assert body == b"hello000" and trailers == ["X-Sum: 1", "x-other: a b", "X-Sum: 2"]
        assert "\r\ntrailer: x-sum\r\n" in head.lower() + "\r\n"
    assert s.connections == 1


@pytest.mark.parametrize("te", ["", "TE: gzip\r\n", "TE: xtrailers\r\n"])
def test_who_did_not_ask_gets_none(gateway, service, te):
    gw = gateway()
    route_to(gw, service(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").url)
    raw = Raw(gw.proxy_port)
    for _ in range(2):
        head, body, trailers = answer_and_trailers(ask(raw, te))
        assert body == b"hello" and trailers == [] and "trailer:" not in head.lower()


def test_http10_gets_none(gateway, service):
    gw = gateway()
    route_to(gw, service(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").url)
    raw = Raw(gw.proxy_port).send("GET /s HTTP/1.0\r\nHost: h\r\nTE: trailers\r\n\r\n")
    raw.until(b"\r\n\r\n")
    assert raw.rest() == b"hello"


def test_what_frames_or_routes_is_no_trailer(gateway, service):
    gw = gateway()
    fields = [b"Transfer-Encoding: chunked", b"Content-Length: 7", b"Host: other", b"Connection: close", b"Content-Type: x/y",
              b"Trailer: a", b"no colon", b"nocolon", b": x", b" folded: x", b"Keep-Alive: 1", b"Upgrade: h2c", b"TE: trailers", b"X-Mine: 1"]
    head = HEAD.replace(b"Trailer:", b"Connection: keep-alive, X-Mine\r\nTrailer:")
    route_to(gw, service(b"5\r\nhello\r\n0\r\n" + b"\r\n".join(fields) + b"\r\nX-Sum: 1\r\n\r\n", head=head).url)
    raw = Raw(gw.proxy_port)
    for _ in range(2):
        _, body, trailers = answer_and_trailers(ask(raw))
        assert body == b"hello" and trailers == ["X-Sum: 1"]
    gw.wait_log("a trailer that cannot be one")


def test_too_large_trailers_are_dropped_whole(gateway, service):
    gw = gateway()
    route_to(gw, service(b"5\r\nhello\r\n0\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"v" * 100) for n in range(200)) + b"\r\n").url)
    raw = Raw(gw.proxy_port)
    for _ in range(2):
        _, body, trailers = answer_and_trailers(ask(raw))
        assert body == b"hello" and trailers == []
    gw.wait_log("too large trailers")


def test_many_trailers(gateway, service):
    gw = gateway()
    lines = [f"X-{n}: {'v' * 60}" for n in range(100)]
    route_to(gw, service(b"0\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n").url)
    assert answer_and_trailers(ask(Raw(gw.proxy_port)))[1:] == (b"", lines)


@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
def test_http2_clients_get_a_frame(gateway, service, buffering):
    gw = gateway()
    route_to(gw, service(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").url, response_buffering=buffering)
    client = H2Client(gw.tls_port)
    for _ in range(3):
        answer = client.answer(client.request("/s"))
        assert answer["body"] == b"hello" and answer["trailers"] == {"x-sum": "1"} and "trailer" not in answer["headers"]
    answer = client.answer(client.request("/s", headers=[("te", "trailers")]))
    assert answer["trailers"] == {"x-sum": "1"} and answer["headers"]["trailer"] == "X-Sum"


def test_a_plugin_that_sees_the_whole_answer(gateway, service, plugin):
    path = plugin("seer", """
        local seer = { PRIORITY = 10, VERSION = "1.0.0" }
        function seer:response() kong.response.set_header("X-Length", #kong.service.response.get_raw_body()) end
        return seer""")
    gw = gateway(plugins="bundled,seer", lua_package_path=path)
    made, _ = route_to(gw, service(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").url)
    create(gw, f"/services/{made['id']}/plugins", name="seer")
    head, body, trailers = answer_and_trailers(ask(Raw(gw.proxy_port)))
    assert "X-Length: 5" in head and body == b"hello" and trailers == ["X-Sum: 1"]
    client = H2Client(gw.tls_port)
    assert client.answer(client.request("/s"))["trailers"] == {"x-sum": "1"}
    raw = ask(Raw(gw.proxy_port), te="")
    status, headers, body = raw.response()
    assert status == 200 and headers["content-length"] == "5" and body == b"hello"


def test_a_plugin_that_rewrites_the_body(gateway, service, plugin):
    path = plugin("writer", """
        local writer = { PRIORITY = 10, VERSION = "1.0.0" }
        function writer:body_filter()
          local body = kong.response.get_raw_body()
          if body then kong.response.set_raw_body(body:upper()) end
        end
        return writer""")
    gw = gateway(plugins="bundled,writer", lua_package_path=path)
    made, _ = route_to(gw, service(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").url)
    create(gw, f"/services/{made['id']}/plugins", name="writer")
    assert answer_and_trailers(ask(Raw(gw.proxy_port)))[1:] == (b"HELLO", ["X-Sum: 1"])


@pytest.mark.parametrize("gather", ["", "kong.response.get_raw_body()"], ids=["at_once", "gathering"])
@pytest.mark.parametrize("body", ["other", ""])
def test_a_plugin_that_ends_the_body_early(gateway, service, plugin, body, gather):
    """Whatever it puts in place of the first piece, also nothing, is the whole answer; the next one is whole again."""
    path = plugin("ender", f"""
        local ender = {{ PRIORITY = 10, VERSION = "1.0.0" }}
        function ender:body_filter()
          {gather}
          kong.response.set_raw_body("{body}")
        end
        return ender""")
    gw = gateway(plugins="bundled,ender", lua_package_path=path)
    made, _ = route_to(gw, service(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n").url)
    create(gw, f"/services/{made['id']}/plugins", name="ender")
    raw = Raw(gw.proxy_port)
    for _ in range(2):
        assert answer_and_trailers(ask(raw))[1] == body.encode()


def test_trailers_of_requests_end_here(gateway):
    """Streamed bodies too are framed anew: what follows the body is never the service's next request."""
    seen = []

    def script(sock):
        data = read_head(sock)
        end = b"\r\n\r\nhello" if b"Content-Length: 5\r\n" in data else b"0\r\n\r\n"  # of what came whole before the exchange, or in chunks
        while not data.endswith(end):
            data += sock.recv(65536)
        seen.append(data)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        seen.append(read_head(sock))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnow")
    gw = gateway(nginx_worker_processes=1)
    s = Scripted(script)
    route_to(gw, s.url, request_buffering=False)
    raw = Raw(gw.proxy_port).send("POST /s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n5\r\nhello\r\n")
    raw.send("0\r\nX-Sum: 1\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\nGET /s/next HTTP/1.1\r\nHost: h\r\n\r\n")
    assert raw.response()[2] == b"ok" and raw.response()[2] == b"now"
    assert b"X-Sum: 1" not in seen[0]
    assert seen[1].startswith(b"GET /next HTTP/1.1\r\n")


@pytest.mark.parametrize("buffering", [True, False], ids=["buffered", "streamed"])
def test_trailers_of_http2_requests(gateway, buffering):
    """nginx takes no second head on a stream and ends the connection: no service sees what came so far as a whole request."""
    gw = gateway()
    with socket.create_server(("127.0.0.1", 0)) as service:
        route_to(gw, f"http://127.0.0.1:{service.getsockname()[1]}", request_buffering=buffering, service={"retries": 0})
        client = H2Client(gw.tls_port)
        client.h2.send_headers(1, [(":method", "POST"), (":path", "/s"), (":scheme", "https"), (":authority", "h")])
        client.h2.send_data(1, b"hello")
        client.h2.send_headers(1, [("x-sum", "1")], end_stream=True)
        client.flush()
        events = []
        while data := client.sock.recv(65536):
            events += client.h2.receive_data(data)
        assert any(isinstance(e, h2.events.ConnectionTerminated) for e in events)
        assert not any(isinstance(e, h2.events.ResponseReceived) for e in events)
        service.setblocking(False)
        try:
            sock, _ = service.accept()  # what came, and its end, wait in there
        except BlockingIOError:
            return
        assert not buffering
        sock.settimeout(30)
        with sock, sock.makefile("rb") as stream:
            got = stream.read()
        assert b"Content-Length" not in got and not got.endswith(b"0\r\n\r\n") and b"x-sum" not in got
