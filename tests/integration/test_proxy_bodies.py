"""Bodies both ways: framings, buffering, sizes, interruptions."""
import os
import socket
import threading
import time

import pytest

from proxy_support import Raw, create, route_to
from support import wait_for

GIB = 1 << 30


@pytest.mark.parametrize("query", ["size=0", "size=1", "size=100", "size=100000", "size=5000000"])
@pytest.mark.parametrize("chunked", ["", "&chunked=1"])
def test_answers_of_all_sizes(gateway_once, query, chunked):
    for path in ("/buffered", "/streamed"):
        answer = gateway_once.proxy.get(f"{path}?{query}{chunked}")
        assert answer.status_code == 200
        assert answer.content == b"x" * int(query.split("=")[1])


@pytest.fixture(scope="module")
def gateway_once():
    """One node in front of one echo server, with a buffered and a streamed route."""
    import support
    ports = support.Ports()
    server = support.EchoServer(ports.take())
    gw = support.Gateway(ports, {})
    gw.start()
    gw.echo = server
    service, _ = route_to(gw, server.url, "/buffered")
    create(gw, f"/services/{service['id']}/routes", paths=["/streamed"], request_buffering=False, response_buffering=False)
    yield gw
    gw.close()
    server.close()
    ports.release()


def generate(parts):
    yield from parts


@pytest.mark.parametrize("path", ["/buffered", "/streamed"])
@pytest.mark.parametrize("size", [0, 1, 10, 9000, 300000])
def test_request_bodies(gateway_once, path, size):
    gw, body = gateway_once, bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    seen = gw.proxy.post(path, data=body).json()
    assert seen["body"].encode("latin-1") == body and seen["headers"]["content-length"] == str(size)
    # In chunks: given a length when it was gathered first, passed on in chunks when not.
    parts = [body[:7], body[7:4000], body[4000:]]
    seen = gw.proxy.post(path, data=generate([p for p in parts if p])).json()
    assert seen["body"].encode("latin-1") == body
    if path == "/buffered":
        assert seen["headers"]["content-length"] == str(size) and "transfer-encoding" not in seen["headers"]
    else:  # what has come whole before the exchange begins may have its length
        assert ("transfer-encoding" in seen["headers"]) != ("content-length" in seen["headers"])


def test_no_body_has_no_framing(gateway_once):
    seen = gateway_once.proxy.get("/buffered").json()["headers"]
    assert "content-length" not in seen and "transfer-encoding" not in seen


def test_statuses_without_body(gateway_once):
    raw = Raw(gateway_once.proxy_port)
    for status in (204, 304):
        raw.send(f"GET /buffered?status={status} HTTP/1.1\r\nHost: h\r\n\r\n")
        assert raw.response()[0] == status
    raw.send("HEAD /buffered?size=77 HTTP/1.1\r\nHost: h\r\n\r\n")
    status, headers, _ = raw.response(head=True)
    assert status == 200 and headers["content-length"] == "77"
    raw.send("GET /buffered?size=3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert raw.response()[2] == b"xxx"


def test_pipelined_requests(gateway_once):
    raw = Raw(gateway_once.proxy_port)
    raw.send("".join(f"GET /buffered?size={n} HTTP/1.1\r\nHost: h\r\n\r\n" for n in range(1, 20)))
    for n in range(1, 20):
        assert raw.response()[2] == b"x" * n


def test_expect_100_continue(gateway_once):
    raw = Raw(gateway_once.proxy_port).send("POST /buffered HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
    assert raw.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
    status, _, body = raw.send("hello").response()
    assert status == 200 and b'"body": "hello"' in body
    assert "expect" not in gateway_once.echo.requests[-1]["headers"]


class Scripted:
    """A service that does what a test says with the one connection it gets."""

    def __init__(self, script):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(30)
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.thread = threading.Thread(target=self.run, args=(script,), daemon=True)
        self.thread.start()

    def run(self, script):
        sock, _ = self.server.accept()
        sock.settimeout(30)
        with sock:
            script(sock)
        self.server.close()


def read_head(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        byte = sock.recv(1)
        assert byte, f"closed after {data!r}"
        data += byte
    return data


def test_interim_answers_are_not_the_answer(gateway):
    def script(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        sock.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\nX-Final: 1\r\n\r\ndone")
    gw = gateway()
    route_to(gw, Scripted(script).url)
    answer = gw.proxy.get("/s")
    assert (answer.status_code, answer.text, answer.headers["X-Final"]) == (201, "done", "1")
    assert "Link" not in answer.headers


def test_answers_until_the_end_of_the_connection(gateway):
    def script(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.0 200 OK\r\nX-Old: 1\r\n\r\n")
        for _ in range(50):
            sock.sendall(b"part ")
    gw = gateway()
    route_to(gw, Scripted(script).url)
    assert gw.proxy.get("/s").text == "part " * 50


@pytest.mark.parametrize("bad", [b"zz\r\nxx\r\n", b"5\r\nhelloXX", b"FFFFFFFFFFFFFFFFFF\r\nx"])
def test_broken_chunks_end_the_answer(gateway, bad):
    def script(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        sock.sendall(bad)
        sock.recv(1)
    gw = gateway()
    route_to(gw, Scripted(script).url)
    raw = Raw(gw.proxy_port).send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
    with pytest.raises((AssertionError, ValueError)):
        raw.response()


def test_chunks_split_anywhere(gateway):
    text = b"5;ext=1\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nTrailer-Like: x\r\n\r\n"

    def script(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in text:
            sock.sendall(bytes([byte]))
            time.sleep(0.001)  # so that reads see single bytes; nothing is judged by it
    gw = gateway()
    service, _ = route_to(gw, Scripted(script).url, "/s", response_buffering=False)
    assert gw.proxy.get("/s").text == "hello0123456789abcdef"


def test_streamed_answers_arrive_as_they_come(gateway):
    step = threading.Event()

    def script(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert step.wait(30)
        sock.sendall(b"6\r\nsecond\r\n0\r\n\r\n")
    gw = gateway()
    route_to(gw, Scripted(script).url, "/s", response_buffering=False)
    raw = Raw(gw.proxy_port).send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
    raw.until(b"\r\n\r\n")
    assert raw.until(b"\r\n") == b"5" and raw.exactly(5) == b"first"
    step.set()
    raw.until(b"\r\n")
    assert raw.chunks() == b"second"


def test_streamed_requests_arrive_as_they_come(gateway):
    seen = threading.Event()

    def script(sock):
        head = read_head(sock)
        assert b"Transfer-Encoding: chunked" in head
        data = b""
        while b"first" not in data:
            data += sock.recv(65536)
        seen.set()
        while not data.endswith(b"0\r\n\r\n"):
            data += sock.recv(65536)
        assert b"5\r\nfirst\r\n" in data and b"6\r\nsecond\r\n" in data
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    gw = gateway()
    route_to(gw, Scripted(script).url, "/s", request_buffering=False)
    raw = Raw(gw.proxy_port).send("POST /s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert seen.wait(30), "the first part reached the service before the request was complete"
    assert raw.send("6\r\nsecond\r\n0\r\n\r\n").response()[2] == b"ok"


def test_client_that_leaves_ends_the_exchange(gateway):
    begun, gone = threading.Event(), threading.Event()

    def script(sock):
        read_head(sock)
        begun.set()
        if sock.recv(1) == b"":
            gone.set()
    gw = gateway()
    route_to(gw, Scripted(script).url)
    raw = Raw(gw.proxy_port).send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
    assert begun.wait(30)
    raw.close()
    assert gone.wait(30)


def test_smuggling_is_refused(gateway_once):
    before = len(gateway_once.echo.requests)
    for request in [
        "POST /buffered HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /buffered HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST /buffered HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ]:
        status = Raw(gateway_once.proxy_port).send(request).response()[0]
        assert status in (400, 501), request
    assert len(gateway_once.echo.requests) == before


# ---- two gibibytes each way ----

def rss_kb(pid):
    for line in open(f"/proc/{pid}/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1])


class Peak:
    """The highest resident size of some processes while the block runs."""

    def __init__(self, pids):
        self.pids, self.kb, self.ending = pids, 0, threading.Event()

    def watch(self):
        while not self.ending.is_set():
            self.kb = max(self.kb, *(rss_kb(p) for p in self.pids))
            self.ending.wait(0.05)

    def __enter__(self):
        self.kb = max(rss_kb(p) for p in self.pids)
        self.start = self.kb
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.ending.set()
        self.thread.join()


def swallow(sock, n):
    block = bytearray(1 << 20)
    while n:
        got = sock.recv_into(block, min(len(block), n))
        if not got:
            raise AssertionError(f"closed with {n} bytes to come")
        n -= got


def test_two_gib_down(gateway):
    block = b"\xa5" * (1 << 20)

    def script(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * GIB))
        for _ in range(2 * GIB >> 20):
            sock.sendall(block)
    gw = gateway()
    route_to(gw, Scripted(script).url, "/s", response_buffering=False)
    raw = Raw(gw.proxy_port).send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
    with Peak(gw.workers()) as peak:
        assert b"Content-Length: %d" % (2 * GIB) in raw.until(b"\r\n\r\n")
        swallow(raw.sock, 2 * GIB - len(raw.buffer))
    assert peak.kb - peak.start < 16384


def test_two_gib_up(gateway):
    def script(sock):
        head = read_head(sock)
        assert b"Content-Length: %d" % (2 * GIB) in head
        swallow(sock, 2 * GIB)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    gw = gateway()
    route_to(gw, Scripted(script).url, "/s", request_buffering=False)
    raw = Raw(gw.proxy_port, timeout=120).send(f"POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: {2 * GIB}\r\n\r\n")
    block = b"\x5a" * (1 << 20)
    with Peak(gw.workers()) as peak:
        for _ in range(2 * GIB >> 20):
            raw.sock.sendall(block)
        assert raw.response()[2] == b"ok"
    assert peak.kb - peak.start < 16384


def test_buffered_bodies_use_files_not_memory(gateway):
    size = 256 << 20

    def script(sock):
        read_head(sock)
        swallow(sock, size)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 20):
            sock.sendall(bytes(1 << 20))
    gw = gateway()
    route_to(gw, Scripted(script).url)
    raw = Raw(gw.proxy_port, timeout=120).send(f"POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n")
    with Peak(gw.workers()) as peak:
        for _ in range(size >> 20):
            raw.sock.sendall(bytes(1 << 20))
        raw.until(b"\r\n\r\n")
        swallow(raw.sock, size - len(raw.buffer))
    assert peak.kb - peak.start < 16384
    wait_for(lambda: not [f for _, _, files in os.walk(gw.prefix / "tmp") for f in files], "temporary files to be removed")
