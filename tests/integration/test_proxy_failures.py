"""What clients and services do wrong, and what becomes of it: a row each, with status, body, headers and the line in the log."""
import re
import socket
import ssl
import struct
import threading
import uuid

import pytest

import support
import tls_support
from dnsserver import DnsServer
from h2_support import CONTINUATION, END_HEADERS, END_STREAM, HEADERS, RawH2, block
from proxy_support import Raw, create, route_to, upstream
from test_proxy_errors import TYPES, body_of
from test_proxy_hostile import Service, read_head
from test_proxy_protocols import H2Client

LIMIT = 1000  # of client bodies
ID = re.compile(r"[0-9a-f]{32}")

BAD_REQUEST, TOO_LARGE_HEADER, URI_TOO_LONG = "Bad request", "Request header or cookie too large", "URI too long"
BAD_ANSWER, TIMED_OUT = "An invalid response was received from the upstream server", "The upstream server is timing out"


@pytest.fixture(scope="module")
def node():
    """Small limits, one worker. No name exists but those of nobody's."""
    ports = support.Ports()
    with DnsServer() as dns:
        gw = support.Gateway(ports, {"nginx_worker_processes": 1, "nginx_http_client_max_body_size": LIMIT,
                                     "dns_resolver": f"127.0.0.1:{dns.port}", "resolver_address": f"127.0.0.1:{dns.port}"})
        gw.start()
        gw.ports = ports
        gw.routes = {}
        yield gw
        gw.close()
    ports.release()


def lines_of(gw, name, mark):
    return [line for line in gw.log(name).splitlines() if mark in line]


def check_logs(gw, mark, status, log, request_id=None):
    """The error log's line, with the request's id where it has one by then, and the access log's."""
    line = support.wait_for(lambda: [x for x in lines_of(gw, "error", mark) if re.search(log, x)], f"{log!r} about {mark} in the error log")[0]
    assert request_id is None or f'request_id: "{request_id}"' in line
    support.wait_for(lambda: any(re.search(rf'" {status} \d+ "', x) for x in lines_of(gw, "access", mark)), f"{status} for {mark} in the access log")


def check_own_answer(headers, closes):
    """What the gateway itself answers says so, and nothing of a service."""
    assert headers["server"] == "kong/3.9.1" and ID.fullmatch(headers["x-kong-request-id"])
    assert headers["x-kong-response-latency"].isdigit()
    assert not {"via", "x-kong-upstream-latency", "x-kong-proxy-latency", "transfer-encoding"} & set(headers)
    assert headers["connection"] == ("close" if closes else "keep-alive")


# ---- clients ----

START = "{method} /{mark} HTTP/1.1\r\nHost: h\r\n"


def post(lines, body=""):
    return "POST /none/{mark} HTTP/1.1\r\nHost: h\r\n" + lines + "\r\n" + body


# What is odd, the request, status, message, the line in the log, and whether the connection ends. {mark} is in a part that is logged.
CLIENT = [
    ("not HTTP", "\x01{mark}\r\n\r\n", 400, BAD_REQUEST, "client sent invalid method while reading client request line", True),
    ("TLS to a plain port", "\x16\x03\x01\x00\x05{mark}\r\n\r\n", 400, BAD_REQUEST, "client sent invalid method", True),
    ("method in small letters", "get /{mark} HTTP/1.1\r\nHost: h\r\n\r\n", 400, BAD_REQUEST, "client sent invalid method", True),
    ("no such version", "GET /{mark} HTTP/9.1\r\nHost: h\r\n\r\n", 505, "HTTP version not supported", "client sent invalid version", True),
    ("half a version", "GET /{mark} HTTP/1.x\r\nHost: h\r\n\r\n", 400, BAD_REQUEST, "client sent invalid request", True),
    ("space in the target", "GET /{mark} x HTTP/1.1\r\nHost: h\r\n\r\n", 400, BAD_REQUEST, "client sent invalid request", True),
    ("out of the root", "GET /{mark}/../.. HTTP/1.1\r\nHost: h\r\n\r\n", 400, BAD_REQUEST, "client sent invalid request", True),
    ("no host", "GET /{mark} HTTP/1.1\r\n\r\n", 400, BAD_REQUEST, 'client sent HTTP/1.1 request without "Host" header', True),
    ("two hosts", "GET /{mark} HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400, BAD_REQUEST, "client sent duplicate host header", True),
    ("bad host", "GET /{mark} HTTP/1.1\r\nHost: h/x\r\n\r\n", 400, BAD_REQUEST, "client sent invalid host header", True),
    ("NUL in a header", "GET /{mark} HTTP/1.1\r\nHost: h\r\nX: \0\r\n\r\n", 400, BAD_REQUEST, "client sent invalid header line", True),
    ("folded header", "GET /{mark} HTTP/1.1\r\nHost: h\r\nX: 1\r\n 2\r\n\r\n", 400, BAD_REQUEST, "client sent invalid header line", True),
    ("length that is none", post("Content-Length: x\r\n"), 400, BAD_REQUEST, 'client sent invalid "Content-Length" header', True),
    ("two lengths", post("Content-Length: 1\r\nContent-Length: 1\r\n"), 400, BAD_REQUEST, "client sent duplicate header line", True),
    ("length and chunks", post("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400, BAD_REQUEST,
     'client sent "Content-Length" and "Transfer-Encoding" headers at the same time', True),
    ("unknown framing", post("Transfer-Encoding: gzip\r\n"), 400, BAD_REQUEST, 'client sent unknown "Transfer-Encoding": "gzip"', True),
    ("TRACE", "TRACE /{mark} HTTP/1.1\r\nHost: h\r\n\r\n", 405, "Method not allowed", "client sent TRACE method", True),
    ("URI too long", "GET /{mark}" + "x" * 40000 + " HTTP/1.1\r\nHost: h\r\n\r\n", 414, URI_TOO_LONG, "client sent too long URI", True),
    ("header too long", "GET /{mark} HTTP/1.1\r\nHost: h\r\nX: " + "x" * 40000 + "\r\n\r\n", 400, TOO_LARGE_HEADER, "client sent too long header line", True),
    ("headers too long", "GET /{mark} HTTP/1.1\r\nHost: h\r\n" + ("X: " + "x" * 7000 + "\r\n") * 6 + "\r\n", 400, TOO_LARGE_HEADER,
     "client sent too long header line", True),
    ("body too large", post(f"Content-Length: {LIMIT + 1}\r\n", "x" * (LIMIT + 1)), 413, "Payload too large",
     f"client intended to send too large body: {LIMIT + 1} bytes", True),
]


@pytest.mark.parametrize("request_text,status,message,log,closes", [row[1:] for row in CLIENT], ids=[row[0] for row in CLIENT])
def test_clients(node, request_text, status, message, log, closes):
    mark = uuid.uuid4().hex
    raw = Raw(node.proxy_port).send(request_text.replace("{mark}", mark))
    got, headers, body = raw.response()
    assert got == status
    check_own_answer(headers, closes)
    assert headers["content-type"] == TYPES["plain"]
    assert body.decode() == body_of("plain", message, headers["x-kong-request-id"])
    assert not closes or raw.closed()
    raw.close()
    line = support.wait_for(lambda: [x for x in node.log().splitlines() if log in x and ("client sent too" in log or mark in x or "reading client request line" in x)],
                            f"{log!r} in the error log")
    assert line
    support.wait_for(lambda: any(f'" {status} ' in x and headers["x-kong-request-id"] in x for x in node.log("access").splitlines()), "the access log's line")


def test_a_chunked_body_that_is_too_large(node):
    """Its length is not known before: it is refused where it passes the limit."""
    path = routed(node, lambda sock: read_head(sock))[1]
    raw = Raw(node.proxy_port).send(f"POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + f"{LIMIT + 1:x}\r\n" + "x" * (LIMIT + 1) + "\r\n0\r\n\r\n")
    status, headers, body = raw.response()
    assert status == 413 and headers["server"] == "kong/3.9.1"
    assert body.decode() == body_of("plain", "Payload too large", headers["x-kong-request-id"])
    check_logs(node, path, 413, "client intended to send too large chunked body", headers["x-kong-request-id"])


@pytest.mark.parametrize("part", ["5\r\nhel", "x\r\n", "5\r\nhelloX"], ids=["in a chunk", "no size", "no line end"])
def test_a_chunked_body_that_breaks(node, part):
    path = routed(node, lambda sock: read_head(sock))[1]
    raw = Raw(node.proxy_port).send(f"POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + part)
    raw.sock.shutdown(socket.SHUT_WR)
    if part == "5\r\nhel":
        assert raw.closed()
        check_logs(node, path, 400, "client prematurely closed connection")
        return
    status, headers, body = raw.response()
    assert status == 400 and body.decode() == body_of("plain", BAD_REQUEST, headers["x-kong-request-id"])
    check_logs(node, path, 400, "client sent invalid chunked body", headers["x-kong-request-id"])


def test_plain_http_to_the_tls_port(node):
    status, headers, body = Raw(node.tls_port).send("GET /plain HTTP/1.1\r\nHost: h\r\n\r\n").response()
    assert status == 400 and body.decode() == body_of("plain", BAD_REQUEST, headers["x-kong-request-id"])
    check_logs(node, "/plain", 400, "client sent plain HTTP request to HTTPS port")


# ---- services ----

def reset(sock):
    """Closes so that the other side's next read is an error."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def says(data, then=None):
    def script(sock):
        read_head(sock)
        sock.sendall(data)
        if then is not None:
            then(sock)
    return script


def holds(sock):
    sock.recv(1)  # until the gateway gives up


OK = b"HTTP/1.1 200 OK\r\n"
HEADER = "while reading response header from upstream"

# What the service does, its fields, status, message, the line in the log.
SERVICE = [
    ("closes at once", says(b""), {}, 502, BAD_ANSWER, "upstream prematurely closed connection " + HEADER),
    ("closes in the header", says(OK + b"X-A: 1\r\n"), {}, 502, BAD_ANSWER, "upstream prematurely closed connection " + HEADER),
    ("resets", says(b"", reset), {}, 502, BAD_ANSWER, r"recv\(\) failed \(104: Connection reset by peer\) " + HEADER),
    ("resets in the header", says(OK + b"X-A: 1\r\n", reset), {}, 502, BAD_ANSWER, r"recv\(\) failed \(104: Connection reset by peer\) " + HEADER),
    ("says nothing", says(b"", holds), {"read_timeout": 100}, 504, TIMED_OUT, r"upstream timed out \(110: .*\) " + HEADER),
    ("stops in the header", says(OK + b"X-A", holds), {"read_timeout": 100}, 504, TIMED_OUT, r"upstream timed out \(110: .*\) " + HEADER),
    ("does not speak HTTP", says(b"garbage\r\n\r\n"), {}, 502, BAD_ANSWER, "upstream sent no valid HTTP/1.0 header"),
    ("speaks HTTP/2", says(b"\0\0\0\4\0\0\0\0\0"), {}, 502, BAD_ANSWER, "upstream sent no valid HTTP/1.0 header"),
    ("status of two digits", says(b"HTTP/1.1 20 OK\r\n\r\n"), {}, 502, BAD_ANSWER, "upstream sent no valid HTTP/1.0 header"),
    ("header with a NUL", says(OK + b"X: \0\r\n\r\n"), {}, 502, BAD_ANSWER, "upstream sent invalid header"),
    ("header without a colon", says(OK + b"no colon here\r\n\r\n"), {}, 502, BAD_ANSWER, "upstream sent invalid header"),
    ("length that is none", says(OK + b"Content-Length: x\r\n\r\n"), {}, 502, BAD_ANSWER, "upstream sent invalid header"),
    ("lengths that differ", says(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"), {}, 502, BAD_ANSWER, "upstream sent invalid header"),
    ("header too large", says(OK + b"X: " + b"x" * 100000 + b"\r\n\r\n"), {}, 502, BAD_ANSWER, "upstream sent too big header " + HEADER),
    ("switches unasked", says(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"), {}, 502, BAD_ANSWER, "upstream switched protocols without being asked"),
    ("speaks no TLS", lambda sock: sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"), {"scheme": "https"}, 502, BAD_ANSWER,
     r"SSL_do_handshake\(\) failed .*while SSL handshaking to upstream"),
]

counter = iter(range(100000))


def routed(node, script, scheme="http", **service):
    """(service, path): a service that runs the script for each connection, and the path of its route."""
    made = Service(lambda sock, n: script(sock))
    path = f"/f{next(counter)}"
    route_to(node, f"{scheme}://127.0.0.1:{made.port}", path, service={"retries": 0, **service})
    return made, path


def check_failed(node, path, answer, status, message, log):
    headers = {k.lower(): v for k, v in answer.headers.items()}
    assert answer.status_code == status
    check_own_answer(headers, False)
    assert headers["content-type"] == TYPES["json"]
    assert answer.text == body_of("json", message, headers["x-kong-request-id"])
    check_logs(node, f"GET {path} ", status, log, headers["x-kong-request-id"])


@pytest.mark.parametrize("script,service,status,message,log", [row[1:] for row in SERVICE], ids=[row[0] for row in SERVICE])
def test_services(node, script, service, status, message, log):
    made, path = routed(node, script, **service)
    check_failed(node, path, node.proxy.get(path), status, message, log)
    made.close()


def test_a_service_that_refuses(node):
    path = f"/f{next(counter)}"
    route_to(node, f"http://127.0.0.1:{node.ports.take()}", path, service={"retries": 0})
    check_failed(node, path, node.proxy.get(path), 502, BAD_ANSWER, r"connect\(\) failed \(111: Connection refused\) while connecting to upstream")


def test_a_service_that_does_not_take_connections(node):
    """Its queue is full, so that nobody answers the first packet."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        waiting = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
            waiting.append(s)
        path = f"/f{next(counter)}"
        route_to(node, f"http://127.0.0.1:{port}", path, service={"retries": 0, "connect_timeout": 200})
        check_failed(node, path, node.proxy.get(path), 504, TIMED_OUT, r"upstream timed out \(110: .*\) while connecting to upstream")
        for s in waiting:
            s.close()


def test_a_service_that_does_not_read(gateway):
    over = threading.Event()
    gw = gateway(nginx_worker_processes=1)
    made, path = routed(gw, lambda sock: over.wait(60), write_timeout=300)
    answer = gw.proxy.post(path, data=b"x" * 30_000_000)
    over.set()
    assert answer.status_code == 504 and answer.text == body_of("json", TIMED_OUT, answer.headers["X-Kong-Request-Id"])
    check_logs(gw, f"POST {path} ", 504, r"upstream timed out \(110: .*\) while sending request to upstream", answer.headers["X-Kong-Request-Id"])
    made.close()


def test_a_service_that_is_not_trusted(node, workdir):
    cert, key = tls_support.Cert("service.test").files(workdir)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)

    def script(sock):
        with context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(1)

    made, path = routed(node, script, scheme="https", tls_verify=True)
    check_failed(node, path, node.proxy.get(path), 502, BAD_ANSWER, r"upstream SSL certificate verify error: \(\d+:.*\) while SSL handshaking to upstream")
    made.close()


def test_a_service_whose_name_does_not_exist(node):
    path = f"/f{next(counter)}"
    route_to(node, "http://nobody.test", path, service={"retries": 0})
    check_failed(node, path, node.proxy.get(path), 503, "name resolution failed", "nobody.test")


def test_an_upstream_without_targets(node):
    path, name = f"/f{next(counter)}", "up" + uuid.uuid4().hex[:8]
    upstream(node, name, {})
    route_to(node, f"http://{name}", path, service={"retries": 0})
    answer = node.proxy.get(path)
    assert answer.status_code == 503
    check_own_answer({k.lower(): v for k, v in answer.headers.items()}, False)
    assert answer.text == body_of("json", "failure to get a peer from the ring-balancer", answer.headers["X-Kong-Request-Id"])


def test_a_route_without_a_service(node):
    path = f"/f{next(counter)}"
    create(node, "/routes", paths=[path])
    answer = node.proxy.get(path)
    assert answer.status_code == 503
    check_own_answer({k.lower(): v for k, v in answer.headers.items()}, False)
    assert answer.text == body_of("json", "no Service found with those values", answer.headers["X-Kong-Request-Id"])


# ---- answers that break off ----

LONG = OK + b"Content-Length: 100\r\n\r\nonly this"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n"

CUT = [
    ("closes in the body", says(LONG), {}, "upstream prematurely closed connection while (reading upstream|sending to client)"),
    ("closes between chunks", says(CHUNKED), {}, "upstream prematurely closed connection while (reading upstream|sending to client)"),
    ("stops in the body", says(LONG, holds), {"read_timeout": 100}, r"upstream timed out \(110: .*\) while reading upstream"),
    ("stops between chunks", says(CHUNKED, holds), {"read_timeout": 100}, r"upstream timed out \(110: .*\) while reading upstream"),
    ("bad chunk", says(CHUNKED + b"xyz\r\n", holds), {"read_timeout": 10000}, "upstream sent invalid chunked response while (reading upstream|sending to client|reading response header)"),
]


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("script,service,log", [row[1:] for row in CUT], ids=[row[0] for row in CUT])
def test_answers_that_break_off(node, script, service, log, buffered):
    """The status is out already: what is left is to let the client see that the body is not whole."""
    made = Service(lambda sock, n: script(sock))
    path = f"/f{next(counter)}"
    route_to(node, made.url, path, service={"retries": 0, **service}, response_buffering=buffered)
    raw = Raw(node.proxy_port).send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
    head = raw.until(b"\r\n\r\n").decode("latin-1").lower()
    assert head.startswith("http/1.1 200 ") and "via: 1.1 kong/3.9.1" in head and "x-kong-upstream-latency: " in head
    rest = raw.rest()
    assert rest in ((b"", b"only this", b"9\r\nonly this\r\n") if buffered else (b"only this", b"9\r\nonly this\r\n"))
    request_id = re.search("x-kong-request-id: ([0-9a-f]{32})", head).group(1)
    check_logs(node, f"GET {path} ", 200, log, request_id)
    made.close()


def test_an_answer_that_is_reset(node):
    """What the gateway has of it by then goes out, and no end of a body follows."""
    go_on = threading.Event()

    def script(sock):
        read_head(sock)
        sock.sendall(LONG)
        assert go_on.wait(30)
        reset(sock)

    made = Service(lambda sock, n: script(sock))
    path = f"/f{next(counter)}"
    route_to(node, made.url, path, service={"retries": 0}, response_buffering=False)
    raw = Raw(node.proxy_port).send(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n")
    raw.until(b"only this")
    go_on.set()
    assert raw.rest() == b""
    check_logs(node, f"GET {path} ", 200, r"recv\(\) failed \(104: Connection reset by peer\) while reading upstream")
    made.close()


def test_answers_that_break_off_reset_http2_streams(node):
    """One stream ends; the connection and its others do not."""
    made, path = routed(node, says(LONG))
    client = H2Client(node.tls_port)
    answer = client.answer(client.request(path))
    assert answer["headers"][":status"] == "200" and answer["body"] in (b"", b"only this") and answer["reset"]
    assert client.answer(client.request("/nothing-there"))["headers"][":status"] == "404"
    made.close()


# ---- bodies ----

FORMS = [("application/json", "json"), ("text/html", "html"), ("application/xml", "xml"), ("text/plain", "plain"), ("image/png", "json")]


@pytest.mark.parametrize("accept,kind", FORMS)
def test_bodies_by_accept(node, accept, kind):
    """The same for errors of the gateway, of nginx, and of services."""
    broken, bad = routed(node, says(b"garbage\r\n\r\n"))
    silent, slow = routed(node, says(b"", holds), read_timeout=100)
    lines = f"Host: h\r\nAccept: {accept}\r\n"
    for request_text, status, message in [
        (f"GET {bad} HTTP/1.1\r\n{lines}\r\n", 502, BAD_ANSWER),
        (f"GET {slow} HTTP/1.1\r\n{lines}\r\n", 504, TIMED_OUT),
        (f"GET /nothing-there HTTP/1.1\r\n{lines}\r\n", 404, "no Route matched with those values"),
        (f"GET / HTTP/1.1\r\n{lines}Content-Length: x\r\n\r\n", 400, BAD_REQUEST),
        (f"TRACE / HTTP/1.1\r\n{lines}\r\n", 405, "Method not allowed"),
        (f"POST {bad} HTTP/1.1\r\n{lines}Content-Length: {LIMIT + 1}\r\n\r\n" + "x" * (LIMIT + 1), 413, "Payload too large"),
        (f"GET / HTTP/1.1\r\n{lines}X: {'x' * 40000}\r\n\r\n", 400, TOO_LARGE_HEADER),
    ]:
        got, headers, body = Raw(node.proxy_port).send(request_text).response()
        assert (got, headers["content-type"]) == (status, TYPES[kind]), message
        assert body.decode() == body_of(kind, message, headers["x-kong-request-id"])
    broken.close()
    silent.close()


def test_head_requests_get_the_header_alone(node):
    made, path = routed(node, says(b"garbage\r\n\r\n"))
    raw = Raw(node.proxy_port).send(f"HEAD {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    status, headers, _ = raw.response(head=True)
    assert status == 502 and int(headers["content-length"]) == len(body_of("plain", BAD_ANSWER, "x" * 32))
    assert raw.closed()
    made.close()


@pytest.mark.parametrize("headers,path", [([("x-large", "x" * 9000)], "/big"), ([(f"x-{n}", "x" * 7000) for n in range(6)], "/big"), ([], "/" + "x" * 9000)],
                         ids=["field", "fields", "target"])
def test_headers_too_large_for_http2(node, headers, path):
    """There is no answer: the compression's state is lost with what was not read, so that the connection ends. The worker lives on."""
    client = RawH2(node.tls_port)
    payload = block([(":method", "GET"), (":scheme", "https"), (":authority", "h"), (":path", path), *headers])
    parts = [payload[at:at + 16000] for at in range(0, len(payload), 16000)]
    worker, before = node.workers(), node.log().count("client sent too large header")
    client.send(HEADERS, END_STREAM | (END_HEADERS if len(parts) == 1 else 0), 1, parts[0])
    for part in parts[1:]:
        client.send(CONTINUATION, END_HEADERS if part is parts[-1] else 0, 1, part)
    assert client.answer()[0] == "goaway"
    support.wait_for(lambda: node.log().count("client sent too large header") == before + 1, "the error log's line")
    assert node.proxy.get("/nothing-there").status_code == 404 and node.workers() == worker


def test_a_body_of_unknown_length_that_is_too_large_for_http2(node):
    made, path = routed(node, lambda sock: read_head(sock))
    client = RawH2(node.tls_port).request([(":method", "POST"), (":scheme", "https"), (":authority", "h"), (":path", path)], "x" * (LIMIT + 1))
    status, answered, body = client.answer()
    assert status == 413 and body.decode() == body_of("plain", "Payload too large", answered["x-kong-request-id"])
    made.close()


def test_errors_over_http2(node):
    made, path = routed(node, says(b"garbage\r\n\r\n"))
    client = H2Client(node.tls_port)
    for request, status, message in [((path,), "502", BAD_ANSWER), (("/nothing-there",), "404", "no Route matched with those values"),
                                     ((path, "POST", b"x" * (LIMIT + 1)), "413", "Payload too large")]:
        answer = client.answer(client.request(*request, headers=[("accept", "application/json")]))
        headers = answer["headers"]
        assert headers[":status"] == status and headers["server"] == "kong/3.9.1" and headers["content-type"] == TYPES["json"]
        assert answer["body"].decode() == body_of("json", message, headers["x-kong-request-id"])
        assert "connection" not in headers
    made.close()
