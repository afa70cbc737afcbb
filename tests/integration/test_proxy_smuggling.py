"""Request smuggling: what one reader could take for another request than the next one is refused, or reaches the service in one form.

A row: what is odd about it, the request, the status of the answer (0: an HTTP/0.9 answer, which has none), and what the service gets,
byte for byte (None: nothing). The service's side is read whole: after the row a plain request is sent over another connection, so what
was left over from the row would stand before it.
"""
import socket
import threading

import pytest

import support
from proxy_support import Raw, route_to
from test_proxy_protocols import H2Client

POST_BARE, GET_BARE, HOST = "POST /t/x HTTP/1.1\r\n", "GET /t/x HTTP/1.1\r\n", "Host: h\r\n"
POST, GET = POST_BARE + HOST, GET_BARE + HOST


def sent(line, host="h", path="/t/x", own="", body=""):
    """The whole request at the service: {port} is the gateway's, {service} the service's address."""
    return (f"{line} HTTP/1.1\r\nHost: {{service}}\r\nConnection: keep-alive\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\n"
            f"X-Forwarded-Host: {host}\r\nX-Forwarded-Port: {{port}}\r\nX-Forwarded-Path: {path}\r\nX-Forwarded-Prefix: /t\r\n"
            f"X-Real-IP: 127.0.0.1\r\nVia: 1.1 kong/3.9.1\r\n{own}\r\n{body}")


ROWS = [
    ("length twice, different", POST + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400, None),
    ("length twice, equal", POST + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400, None),
    ("length list", POST + "Content-Length: 5, 5\r\n\r\nhello", 400, None),
    ("length signed", POST + "Content-Length: +5\r\n\r\nhello", 400, None),
    ("length negative", POST + "Content-Length: -5\r\n\r\nhello", 400, None),
    ("length hex", POST + "Content-Length: 0x5\r\n\r\nhello", 400, None),
    ("length with letters", POST + "Content-Length: 5a\r\n\r\nhello", 400, None),
    ("length empty", POST + "Content-Length:\r\n\r\nhello", 400, None),
    ("length fraction", POST + "Content-Length: 5.0\r\n\r\nhello", 400, None),
    ("length of 20 digits", POST + "Content-Length: 99999999999999999999\r\n\r\nhello", 400, None),
    ("length with a space inside", POST + "Content-Length: 1 5\r\n\r\nhello", 400, None),
    ("length with zeros", POST + "Content-Length: 005\r\n\r\nhello", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("length with spaces around", POST + "Content-Length:   5   \r\n\r\nhello", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("length with a tab before", POST + "Content-Length:\t5\r\n\r\nhello", 400, None),
    ("length, then chunked", POST + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, None),
    ("chunked, then length", POST + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400, None),
    ("chunked twice", POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, None),
    ("chunked after another", POST + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400, None),
    ("chunked before another", POST + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400, None),
    ("identity", POST + "Transfer-Encoding: identity\r\n\r\n", 400, None),
    ("xchunked", POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, None),
    ("chunked quoted", POST + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400, None),
    ("encoding empty", POST + "Transfer-Encoding:\r\n\r\n0\r\n\r\n", 400, None),
    ("encoding with vertical tab", POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400, None),
    ("encoding with space before colon", POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, None),
    ("length with space before colon", POST + "Content-Length : 5\r\n\r\nhello", 400, None),
    ("encoding with underscore", POST + "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("encoding in capitals", POST + "TRANSFER-ENCODING: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("chunked in HTTP/1.0", "POST /t/x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, None),
    ("chunked, well formed", POST + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("chunk extension", POST + "Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("chunk size with zeros", POST + "Transfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n0\r\n\r\n", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("chunk trailer", POST + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("chunk trailer that frames", POST + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("chunk size not hex", POST + "Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n", 400, None),
    ("chunk size with 0x", POST + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n", 400, None),
    ("chunk size negative", POST + "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n", 400, None),
    ("chunk size signed", POST + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", 400, None),
    ("chunk size too large", POST + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400, None),
    ("chunk size empty", POST + "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", 400, None),
    ("chunk without its line end", POST + "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", 400, None),
    ("chunk lines end in LF", POST + "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("bare LF in headers", "GET /t/x HTTP/1.1\nHost: h\nX-A: 1\n\n", 200, sent("GET /x", own="X-A: 1\r\n")),
    ("bare LF hides a header", GET + "X-A: a\nX-B: b\r\n\r\n", 200, sent("GET /x", own="X-A: a\r\nX-B: b\r\n")),
    ("bare CR in a value", GET + "X-A: a\rX-B: b\r\n\r\n", 400, None),
    ("folded line", GET + "X-A: 1\r\n folded: yes\r\n\r\n", 400, None),
    ("folded by a tab", GET + "X-A: 1\r\n\tfolded: yes\r\n\r\n", 400, None),
    ("folded encoding", POST + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400, None),
    ("space before the first header", GET_BARE + " Host: h\r\n\r\n", 400, None),
    ("NUL in a value", GET + "X-A: a\x00b\r\n\r\n", 400, None),
    ("NUL in a name", GET + "X\x00A: b\r\n\r\n", 400, None),
    ("NUL in the path", "GET /t/x\x00y HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("encoded NUL in the path", "GET /t/x%00y HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("encoded line end in the path", "GET /t/x%0d%0aX:%20y HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /x%0D%0AX:%20y", path="/t/x%0d%0aX:%20y")),
    ("encoded line end in the query", "GET /t/x?%0d%0aX:%20y HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /x?%0d%0aX:%20y")),
    ("name with a space", GET + "X A: 1\r\n\r\n", 400, None),
    ("name with a bracket", GET + "X(A: 1\r\n\r\n", 200, sent("GET /x")),
    ("no name", GET + ": 1\r\n\r\n", 400, None),
    ("no colon", GET + "X-A\r\n\r\n", 200, sent("GET /x", own="X-A: \r\n")),
    ("empty lines before", "\r\n\r\nGET /t/x HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /x")),
    ("no host", GET_BARE + "\r\n", 400, None),
    ("empty host", GET_BARE + "Host:\r\n\r\n", 400, None),
    ("host twice, different", GET + "Host: i\r\n\r\n", 400, None),
    ("host twice, equal", GET + "Host: h\r\n\r\n", 400, None),
    ("host with a path", GET_BARE + "Host: h/x\r\n\r\n", 400, None),
    ("host with user", GET_BARE + "Host: u@h\r\n\r\n", 400, None),
    ("host with a query", GET_BARE + "Host: h?x\r\n\r\n", 400, None),
    ("host with a fragment", GET_BARE + "Host: h#x\r\n\r\n", 400, None),
    ("host with a backslash", GET_BARE + "Host: h\\x\r\n\r\n", 400, None),
    ("host with a space", GET_BARE + "Host: h i\r\n\r\n", 400, None),
    ("host with a NUL", GET_BARE + "Host: h\x00i\r\n\r\n", 400, None),
    ("host with a port that is none", GET_BARE + "Host: h:80x\r\n\r\n", 400, None),
    ("host with two ports", GET_BARE + "Host: h:80:81\r\n\r\n", 400, None),
    ("host with an empty port", GET_BARE + "Host: h:\r\n\r\n", 200, sent("GET /x")),
    ("host of an address with a port", GET_BARE + "Host: [::1]:80\r\n\r\n", 200, sent("GET /x", host="[::1]")),
    ("absolute form beats host", "GET http://other/t/x HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /x", host="other")),
    ("absolute form with user", "GET http://u@other/t/x HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("absolute form of another scheme", "GET ftp://other/t/x HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /x", host="other")),
    ("no version", "GET /t/x\r\n\r\n", 0, sent("GET /x", host="kong")),
    ("unknown version", "GET /t/x HTTP/9.9\r\nHost: h\r\n\r\n", 505, None),
    ("version in small letters", "GET /t/x http/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("space in the target", "GET /t/x y HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("tab in the target", "GET /t/x\ty HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("two spaces", "GET  /t/x  HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /x")),
    ("fragment", "GET /t/x#y HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("fragment in the query", "GET /t/x?a#y HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("fragment behind a slash", "GET /t/#y HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("encoded fragment", "GET /t/x%23y HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /x%23y", path="/t/x%23y")),
    ("method in small letters", "get /t/x HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("method with a control character", "G\x01T /t/x HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("no leading slash", "GET t/x HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("dots out of the root", "GET /t/../../x HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("encoded dots", "GET /t/%2e%2e/t/x HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /x", path="/t/%2e%2e/t/x")),
    ("encoded slash", "GET /t%2fx HTTP/1.1\r\nHost: h\r\n\r\n", 200, sent("GET /%2Fx", path="/t%2fx")),
    ("half an escape", "GET /t/x%4 HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("TRACE", "TRACE /t/x HTTP/1.1\r\nHost: h\r\n\r\n", 405, None),
    ("connection names the framing", POST + "Connection: Content-Length\r\nContent-Length: 5\r\n\r\nhello", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("connection names the host", GET + "Connection: close, Host\r\n\r\n", 200, sent("GET /x")),
    ("upgrade to HTTP/2", GET + "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", 200, sent("GET /x")),
    ("expectation that is none", POST + "Expect: 200-ok\r\nContent-Length: 5\r\n\r\nhello", 200, sent("POST /x", own="Content-Length: 5\r\n", body="hello")),
    ("a second request behind a GET with a body", GET + "Content-Length: 5\r\n\r\nhello", 200, sent("GET /x", own="Content-Length: 5\r\n", body="hello")),
]


class Recorder:
    """A service that keeps every byte it gets, and answers each request that is complete by its own framing."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.got = b""
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        data = b""
        with sock:
            while more := sock.recv(65536):
                self.got += more
                data += more
                head, end, body = data.partition(b"\r\n\r\n")
                lengths = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
                if end and len(body) >= sum(lengths):
                    data = b""
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


@pytest.fixture(scope="module")
def node():
    ports = support.Ports()
    gw = support.Gateway(ports, {"nginx_worker_processes": 1, "headers_upstream": "off"})
    gw.start()
    gw.recorder = Recorder()
    route_to(gw, f"http://{gw.recorder.address}", "/t", service={"retries": 0})
    gw.admin.post("/routes", json={"name": "kept", "paths": ["/kept"], "hosts": ["kept.test"], "preserve_host": True,
                                   "service": {"id": gw.admin.get("/services").json()["data"][0]["id"]}})
    yield gw
    gw.close()
    gw.recorder.server.close()
    ports.release()


def test_the_table_is_whole():
    assert len(ROWS) >= 60 and len({name for name, *_ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("request_text,status,upstream", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_one_reading(node, request_text, status, upstream):
    def expected(text):
        return text.replace("{service}", node.recorder.address).replace("{port}", str(node.proxy_port)).encode("latin-1")

    node.recorder.got = b""
    raw = Raw(node.proxy_port).send(request_text)
    if status:
        answer = raw.response()
        assert answer[0] == status
        assert status != 400 or b"Bad request" in answer[2]
    else:
        assert raw.rest() == b"ok"
    raw.close()
    assert Raw(node.proxy_port).send("GET /t/after HTTP/1.1\r\nHost: h\r\n\r\n").response()[0] == 200
    assert node.recorder.got == expected((upstream or "") + sent("GET /after", path="/t/after"))


def test_http2_preface(node):
    """From 1.25.1 on, nginx speaks HTTP/2 on all of a server's listeners when it is on for one; before, the preface is a bad request."""
    raw = Raw(node.proxy_port).send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    raw.fill()
    settings_frame = raw.buffer[3:5] == b"\x04\x00"
    assert settings_frame or raw.response()[0] == 400


@pytest.mark.parametrize("target,host,kept", [
    ("/kept", "kept.test", b"kept.test"),
    ("http://kept.test/kept", "h", b"kept.test"),
    ("http://kept.test:81/kept", "h:82", b"kept.test:81"),
    ("http://kept.test:81?x", "h", None),
    ("http://h/kept", "kept.test", None),
])
def test_one_host(node, target, host, kept):
    """Routes are matched by the host that the service is told of: the target's, where it has one."""
    node.recorder.got = b""
    raw = Raw(node.proxy_port).send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert raw.response()[0] == (200 if kept else 404)
    hosts = [line for line in node.recorder.got.split(b"\r\n") if line.lower().startswith(b"host:")]
    assert hosts == ([b"Host: " + kept] if kept else [])


@pytest.mark.parametrize("path,authority,headers", [
    ("/t/x#y", "h", []),
    ("/t/x?a#y", "h", []),
    ("/t/x", "u@h", []),
    ("/t/x", "h:80x", []),
    ("/t/x", "h", [("host", "i")]),
    ("/t/x", "h", [("transfer-encoding", "gzip")]),
])
def test_one_reading_of_http2(node, path, authority, headers):
    node.recorder.got = b""
    client = H2Client(node.tls_port)
    client.h2.config.validate_outbound_headers = client.h2.config.normalize_outbound_headers = False
    answer = client.answer(client.request(path, authority=authority, headers=headers))
    assert answer["headers"][":status"] == "400" and b"Bad request" in answer["body"]
    assert node.recorder.got == b""
