"""Requests by HTTP/2 that mean something else in HTTP/1.1: each is refused, or reaches the service in one form, byte for byte.

A row: what is odd about it, the fields, the body (None: the header ends the stream), the answer's status ("reset": the stream is ended
without one; "goaway": the connection), and what the service gets (None: nothing). As in test_proxy_smuggling.py, a plain request goes to the service afterwards, so that what a row left over would be seen.
"""
import pytest

import support
from h2_support import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, RawH2, block
from proxy_support import Raw, route_to
from test_proxy_smuggling import Recorder

PSEUDO = {"method": "GET", "scheme": "https", "authority": "h", "path": "/t/x"}


def fields(*more, **pseudo):
    """The pseudo-headers of a plain GET, with changes (None: without it), and more fields behind them."""
    return [(":" + name, value) for name, value in {**PSEUDO, **pseudo}.items() if value is not None] + list(more)


def post(*more, **pseudo):
    return fields(*more, **{"method": "POST", **pseudo})


def sent(line, host="h", path="/t/x", own="", body="", port="{tls}", proto="https", via="2"):
    """The whole request at the service: {tls} and {plain} are the gateway's ports, {service} the service's address."""
    return (f"{line} HTTP/1.1\r\nHost: {{service}}\r\nConnection: keep-alive\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: {proto}\r\n"
            f"X-Forwarded-Host: {host}\r\nX-Forwarded-Port: {port}\r\nX-Forwarded-Path: {path}\r\nX-Forwarded-Prefix: /t\r\n"
            f"X-Real-IP: 127.0.0.1\r\nVia: {via} kong/3.9.1\r\n{own}\r\n{body}")


HELLO = sent("POST /x", own="Content-Length: 5\r\n", body="hello")
SMUGGLED = "x HTTP/1.1\r\nHost: h\r\n\r\nGET /evil"

ROWS = [
    ("plain", fields(), None, 200, sent("GET /x")),
    ("plain with a body", post(), "hello", 200, HELLO),
    ("path with a space", fields(path="/t/x y"), None, 400, None),
    ("path with a tab", fields(path="/t/x\ty"), None, 400, None),
    ("path with a CR", fields(path="/t/x\ry"), None, "reset", None),
    ("path with a LF", fields(path="/t/x\ny"), None, "reset", None),
    ("path with a NUL", fields(path="/t/x\0y"), None, "reset", None),
    ("path with DEL", fields(path="/t/x\x7fy"), None, 400, None),
    ("path with a request in it", fields(path="/t/" + SMUGGLED), None, "reset", None),
    ("query with a request in it", fields(path="/t/x?" + SMUGGLED), None, "reset", None),
    ("query with a space", fields(path="/t/x?a b"), None, 400, None),
    ("path beyond ASCII", fields(path=b"/t/x\xff"), None, 200, sent("GET /x%FF", path="/t/x\xff")),
    ("path with an encoded line end", fields(path="/t/x%0d%0aX:y"), None, 200, sent("GET /x%0D%0AX:y", path="/t/x%0d%0aX:y")),
    ("path empty", fields(path=""), None, 400, None),
    ("path without a slash", fields(path="t/x"), None, 400, None),
    ("path in absolute form", fields(path="https://other/t/x"), None, 400, None),
    ("path that is a star", fields(path="*"), None, 400, None),
    ("path of two slashes", fields(path="//other/t/x"), None, 404, None),
    ("path missing", fields(path=None), None, 400, None),
    ("path twice", fields((":path", "/t/y")), None, 400, None),
    ("method twice", fields((":method", "POST")), None, 400, None),
    ("scheme twice", fields((":scheme", "http")), None, 400, None),
    ("authority twice", fields((":authority", "i")), None, 400, None),
    ("authority twice, equal", fields((":authority", "h")), None, 400, None),
    ("method missing", fields(method=None), None, 400, None),
    ("scheme missing", fields(scheme=None), None, 400, None),
    ("authority missing", fields(authority=None), None, 400, None),
    ("authority missing, host there", fields(("host", "h"), authority=None), None, 200, sent("GET /x")),
    ("authority empty", fields(authority=""), None, 400, None),
    ("host that differs", fields(("host", "i")), None, 400, None),
    ("host that is equal", fields(("host", "h")), None, 400, None),
    ("host twice", fields(("host", "h"), ("host", "i"), authority=None), None, 400, None),
    ("authority with a user", fields(authority="u@h"), None, 400, None),
    ("authority with a path", fields(authority="h/x"), None, 400, None),
    ("authority with a query", fields(authority="h?x"), None, 400, None),
    ("authority with a space", fields(authority="h i"), None, 400, None),
    ("authority with a line end", fields(authority="h\r\nX-Evil: 1"), None, "reset", None),
    ("authority with a NUL", fields(authority="h\0i"), None, "reset", None),
    ("authority with two ports", fields(authority="h:1:2"), None, 400, None),
    ("authority with a port", fields(authority="h:81"), None, 200, sent("GET /x")),
    ("method with a request in it", fields(method="GET /evil HTTP/1.1\r\nHost: h\r\n\r\nGET"), None, "reset", None),
    ("method with a space", fields(method="GET /t/y"), None, 400, None),
    ("method in small letters", fields(method="get"), None, 400, None),
    ("method empty", fields(method=""), None, 400, None),
    ("CONNECT", fields(method="CONNECT", scheme=None, path=None, authority="h:80"), None, 400, None),
    ("CONNECT with a path", fields(method="CONNECT"), None, 405, None),
    ("extended CONNECT", fields((":protocol", "websocket"), method="CONNECT"), None, 400, None),
    ("TRACE", fields(method="TRACE"), None, 405, None),
    ("scheme of plain text", fields(scheme="http"), None, 200, sent("GET /x")),
    ("scheme with a line end", fields(scheme="https\r\nX-Evil: 1"), None, "reset", None),
    ("scheme with a path", fields(scheme="https://evil/"), None, 400, None),
    ("scheme empty", fields(scheme=""), None, 400, None),
    ("unknown pseudo-header", fields((":evil", "1")), None, 400, None),
    ("pseudo-header of answers", fields((":status", "200")), None, 400, None),
    ("name in capitals", fields(("X-A", "1")), None, "reset", None),
    ("length in capitals", post(("Content-Length", "0")), "hello", "reset", None),
    ("name with a space", fields(("x a", "1")), None, "reset", None),
    ("name with a space at its end", post(("content-length ", "0")), "hello", "reset", None),
    ("name with a colon", fields(("x-a:b", "1")), None, "reset", None),
    ("name with a line end", fields(("x-a: 1\r\nx-evil", "1")), None, "reset", None),
    ("name with a NUL", fields(("x\0a", "1")), None, "reset", None),
    ("name that is a request", fields(("x\r\n\r\nget /evil http/1.1\r\nx", "1")), None, "reset", None),
    ("name empty", fields(("", "1")), None, "goaway", None),
    ("name with an underscore", post(("content_length", "0")), "hello", 200, HELLO),
    ("name with a bracket", fields(("x(a", "1")), None, 200, sent("GET /x")),
    ("value with a line end", fields(("x-a", "1\r\nx-evil: 1")), None, "reset", None),
    ("value with a LF", fields(("x-a", "1\nx-evil: 1")), None, "reset", None),
    ("value with a CR", fields(("x-a", "1\rx-evil: 1")), None, "reset", None),
    ("value with a NUL", fields(("x-a", "1\0002")), None, "reset", None),
    ("value that is a request", fields(("x-a", "1\r\n\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n")), None, "reset", None),
    ("value empty", fields(("x-a", "")), None, 200, sent("GET /x", own="x-a: \r\n")),
    ("value beyond ASCII", fields(("x-a", b"\xff")), None, 200, sent("GET /x", own="x-a: \xff\r\n")),
    ("value of folded lines", fields(("x-a", "1\r\n 2")), None, "reset", None),
    ("cookies in two fields", fields(("cookie", "a=1"), ("cookie", "b=2")), None, 200, sent("GET /x", own="cookie: a=1; b=2\r\n")),
    ("connection that names others", fields(("connection", "close, x-a"), ("x-a", "1")), None, 200, sent("GET /x")),
    ("keep-alive", fields(("keep-alive", "timeout=5"), ("proxy-connection", "x")), None, 200, sent("GET /x")),
    ("upgrade to a websocket", fields(("connection", "upgrade"), ("upgrade", "websocket")), None, 200, sent("GET /x")),
    ("upgrade to HTTP/2", fields(("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAAQAAP__")), None,
     200, sent("GET /x")),
    ("encoding chunked", post(("transfer-encoding", "chunked")), "0\r\n\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n", 400, None),
    ("encoding chunked, no body", fields(("transfer-encoding", "chunked")), None, 400, None),
    ("encoding identity", post(("transfer-encoding", "identity")), "hello", 400, None),
    ("encoding of another kind", post(("transfer-encoding", "gzip")), "hello", 400, None),
    ("encoding empty", post(("transfer-encoding", "")), "hello", 400, None),
    ("encoding and length", post(("content-length", "5"), ("transfer-encoding", "chunked")), "hello", 400, None),
    ("trailers welcome", fields(("te", "trailers")), None, 200, sent("GET /x", own="TE: trailers\r\n")),
    ("trailers among others", fields(("te", "trailers, chunked")), None, 200, sent("GET /x", own="TE: trailers\r\n")),
    ("encodings accepted", fields(("te", "chunked")), None, 200, sent("GET /x")),
    ("length", post(("content-length", "5")), "hello", 200, HELLO),
    ("length too small", post(("content-length", "4")), "hello", 400, None),
    ("length too large", post(("content-length", "6")), "hello", 400, None),
    ("length of nothing, with a body", post(("content-length", "0")), "hello", 400, None),
    ("length without a body", post(("content-length", "5")), None, 400, None),
    ("length of nothing", post(("content-length", "0")), None, 200, sent("POST /x", own="Content-Length: 0\r\n")),
    ("length twice, different", post(("content-length", "5"), ("content-length", "6")), "hello", 400, None),
    ("length twice, equal", post(("content-length", "5"), ("content-length", "5")), "hello", 400, None),
    ("length list", post(("content-length", "5, 5")), "hello", 400, None),
    ("length signed", post(("content-length", "+5")), "hello", 400, None),
    ("length negative", post(("content-length", "-1")), "hello", 400, None),
    ("length hex", post(("content-length", "0x5")), "hello", 400, None),
    ("length empty", post(("content-length", "")), "hello", 400, None),
    ("length of 20 digits", post(("content-length", "99999999999999999999")), "hello", 400, None),
    ("expectation", post(("expect", "100-continue")), "hello", 200, HELLO),
    ("GET with a body", fields(), "hello", 200, sent("GET /x", own="Content-Length: 5\r\n", body="hello")),
    ("body that is a request", post(), "GET /evil HTTP/1.1\r\nHost: h\r\n\r\n", 200,
     sent("POST /x", own="Content-Length: 31\r\n", body="GET /evil HTTP/1.1\r\nHost: h\r\n\r\n")),
]


@pytest.fixture(scope="module")
def node():
    ports = support.Ports()
    gw = support.Gateway(ports, {"nginx_worker_processes": 1, "headers_upstream": "off"})
    gw.start()
    gw.recorder = Recorder()
    service, _ = route_to(gw, f"http://{gw.recorder.address}", "/t", service={"retries": 0})
    gw.admin.post(f"/services/{service['id']}/routes", json={"paths": ["/u"], "request_buffering": False})
    yield gw
    gw.close()
    gw.recorder.server.close()
    ports.release()


def expected(node, text):
    for name, value in {"service": node.recorder.address, "tls": node.tls_port, "plain": node.proxy_port}.items():
        text = text.replace("{" + name + "}", str(value))
    return text.encode("latin-1")


def before_another(node):
    """What the service got before the plain request of another connection that is sent now, and stands behind it whole."""
    assert Raw(node.proxy_port).send("GET /t/after HTTP/1.1\r\nHost: h\r\n\r\n").response()[0] == 200
    after = expected(node, sent("GET /after", path="/t/after", port="{plain}", proto="http", via="1.1"))
    assert node.recorder.got.endswith(after)
    return node.recorder.got[:-len(after)]


def nothing_is_left(node, got):
    assert before_another(node) == expected(node, got)


def test_the_table_is_whole():
    assert len({name for name, *_ in ROWS}) == len(ROWS)


@pytest.mark.parametrize("request_fields,body,status,upstream", [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_one_reading(node, request_fields, body, status, upstream):
    node.recorder.got = b""
    client = RawH2(node.tls_port).request(request_fields, body)
    got, headers, answer = client.answer()
    assert got == status
    assert status != 400 or b"Bad request" in answer
    client.close()
    nothing_is_left(node, upstream or "")


def test_pseudo_headers_behind_others(node):
    """They count as if they stood in front: there is one of each."""
    node.recorder.got = b""
    client = RawH2(node.tls_port).request([("x-a", "1"), *fields()])
    assert client.answer()[0] == 200
    client.close()
    nothing_is_left(node, sent("GET /x", own="x-a: 1\r\n"))


def test_header_blocks_in_pieces(node):
    """A block that is continued is one block; another frame in between ends the connection."""
    node.recorder.got = b""
    whole = block(fields(("x-a", "1")))
    client = RawH2(node.tls_port)
    client.send(HEADERS, END_STREAM, 1, whole[:20]).send(CONTINUATION, 0, 1, whole[20:40]).send(CONTINUATION, END_HEADERS, 1, whole[40:])
    assert client.answer()[0] == 200
    client.close()
    client = RawH2(node.tls_port)
    client.send(HEADERS, 0, 1, whole[:20]).send(DATA, END_STREAM, 1, whole[20:])
    assert client.answer()[0] in ("goaway", "closed")
    client.close()
    nothing_is_left(node, sent("GET /x", own="x-a: 1\r\n"))


def test_trailers_are_not_headers(node):
    """Nothing of a trailer reaches the service as a header, nor is half a request left there."""
    node.recorder.got = b""
    client = RawH2(node.tls_port).request(post(), "hello", trailers=[("content-length", "0"), ("x-evil", "1")])
    assert client.answer()[0] in ("goaway", "closed", "reset", 400)
    client.close()
    nothing_is_left(node, "")


@pytest.mark.parametrize("length", ["0", "4", "6"])
def test_lengths_that_lie_while_the_body_streams(node, length):
    """The service may see the beginning of such a request, never more than its announced length, and nothing on that connection after it."""
    node.recorder.got = b""
    client = RawH2(node.tls_port).request(post(("content-length", length), path="/u/x"), "hello")
    status = client.answer()[0]
    client.close()
    begun = before_another(node)
    head, _, rest = begun.partition(b"\r\n\r\n")
    assert status in ((200, 400) if length == "0" else (400,)), begun  # what comes behind no body at all may be too late to be looked at
    assert not begun or (head.count(b"Content-Length: ") == 1 and f"Content-Length: {length}".encode() in head and len(rest) <= int(length))
