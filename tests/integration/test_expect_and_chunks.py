"""Expect: 100-continue, and bodies in chunks in both directions at once."""
import http.server
import random
import threading

import pytest

import support
from proxy_support import Raw, create, route_to


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers a body with the same body, in chunks of other sizes; the head of the answer leaves when the request is complete."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def read_body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def do_POST(self):
        body, sizes = self.read_body(), random.Random(7)
        self.server.expects.append(self.headers.get("Expect"))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while body:
            n = sizes.choice((1, 10, 1000, 50000))
            self.wfile.write(b"%X\r\n%s\r\n" % (len(body[:n]), body[:n]))
            body = body[n:]
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def node():
    ports = support.Ports()
    gw = support.Gateway(ports, {})
    gw.start()
    mirror = http.server.ThreadingHTTPServer(("127.0.0.1", ports.take()), Mirror)
    mirror.daemon_threads, mirror.expects = True, []
    threading.Thread(target=mirror.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    url = f"http://127.0.0.1:{mirror.server_address[1]}"
    service, _ = route_to(gw, url, "/buffered")
    create(gw, f"/services/{service['id']}/routes", paths=["/streamed"], request_buffering=False, response_buffering=False)
    refused = create(gw, f"/services/{service['id']}/routes", paths=["/refused"])
    create(gw, f"/routes/{refused['id']}/plugins", name="request-termination", config={"status_code": 403, "message": "no"})
    gw.mirror = mirror
    yield gw
    gw.close()
    mirror.shutdown()
    mirror.server_close()
    ports.release()


def in_chunks(body, seed):
    sizes, out = random.Random(seed), b""
    while body:
        n = sizes.choice((1, 7, 4096, 70000))
        part, body = body[:n], body[n:]
        out += sizes.choice((b"%x\r\n%s\r\n", b"%X;ext=\"a b\"\r\n%s\r\n", b"000%x\r\n%s\r\n")) % (len(part), part)
    return out + b"0\r\n\r\n"


@pytest.mark.parametrize("path", ["/buffered", "/streamed"])
def test_chunks_both_ways(node, path):
    raw = Raw(node.proxy_port)
    for seed, size in enumerate((0, 1, 5000, 100000, 1 << 20)):
        body = random.Random(seed).randbytes(size)
        raw.send(f"POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + in_chunks(body, seed))
        status, headers, got = raw.response()
        assert status == 200 and headers["transfer-encoding"] == "chunked" and got == body


def test_chunks_to_a_client_of_http10(node):
    raw = Raw(node.proxy_port).send("POST /buffered HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
    status, headers, body = raw.response()
    assert status == 200 and "transfer-encoding" not in headers and body == b"hello"


def wait_for_continue(raw):
    assert raw.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue"


@pytest.mark.parametrize("path", ["/buffered", "/streamed"])
@pytest.mark.parametrize("chunked", [False, True])
def test_the_body_is_asked_for(node, path, chunked):
    """The gateway says so itself, once a request; the service gets the body without the question."""
    raw = Raw(node.proxy_port)
    framing = "Transfer-Encoding: chunked" if chunked else "Content-Length: 5"
    for _ in range(2):
        raw.send(f"POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\n{framing}\r\n\r\n")
        wait_for_continue(raw)
        assert raw.send("5\r\nhello\r\n0\r\n\r\n" if chunked else "hello").response()[2] == b"hello"
    assert node.mirror.expects[-2:] == [None, None]


@pytest.mark.parametrize("path", ["/buffered", "/streamed"])
def test_the_body_that_did_not_wait(node, path):
    raw = Raw(node.proxy_port)
    for _ in range(2):
        raw.send(f"POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
        answer = raw.response()
        assert (raw.response() if answer[0] == 100 else answer)[2] == b"hello"


@pytest.mark.parametrize("path,status", [("/refused", 403), ("/none", 404)])
def test_a_refusal_needs_no_body(node, path, status):
    """The client gets its answer without having sent the body; if it sends it after all, that is no request."""
    before = len(node.mirror.expects)
    raw = Raw(node.proxy_port).send(f"POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\n")
    answer = raw.response()
    if answer[0] == 100:
        answer = raw.response()
    assert answer[0] == status
    raw.send("POST /buffered HTTP/1.1\r\nHost: h\r\n\r\n"[:40].ljust(40, "x"))
    raw.send("POST /buffered HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok")
    assert raw.response()[2] == b"ok"
    assert len(node.mirror.expects) == before + 1


def test_no_body_to_ask_for(node):
    raw = Raw(node.proxy_port)
    for framing in ("", "Content-Length: 0\r\n"):
        answer = raw.send(f"POST /buffered HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n{framing}\r\n").response()
        assert (raw.response() if answer[0] == 100 else answer)[0] == 200


def test_http10_is_not_asked(node):
    raw = Raw(node.proxy_port).send("POST /buffered HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello")
    assert raw.response()[0] == 200
