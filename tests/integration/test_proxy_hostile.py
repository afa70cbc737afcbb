"""Clients, services and plugins that do what they should not: requests and answers must stay whole, apart, and ours."""
import socket
import threading

import pytest

import support
from lua_support import Probe, package_path
from proxy_support import Raw, route_to
from test_proxy_protocols import H2Client


class Service:
    """Each connection gets script(sock, n), n counting from 0; what the script raises is in `problems`."""

    def __init__(self, script):
        self.script, self.connections, self.problems = script, 0, []
        self.server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.server.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            n, self.connections = self.connections, self.connections + 1
            threading.Thread(target=self.serve, args=(sock, n), daemon=True).start()

    def serve(self, sock, n):
        sock.settimeout(30)
        with sock:
            try:
                self.script(sock, n)
            except Exception as e:  # noqa: BLE001 - told by the test
                self.problems.append(e)

    def close(self):
        self.server.close()


@pytest.fixture
def service():
    made = []

    def make(script):
        made.append(Service(script))
        return made[-1]

    yield make
    for s in made:
        s.close()


@pytest.fixture(scope="module")
def node():
    """One worker, so that connections are shared; the probe plugins of the Lua tests are there."""
    ports = support.Ports()
    gw = support.Gateway(ports, {"plugins": "bundled,probe,probe-response", "nginx_worker_processes": 1,
                                 "lua_package_path": package_path("probe", "probe-response")})
    gw.start()
    yield gw
    gw.close()
    ports.release()


@pytest.fixture(scope="module")
def echo():
    ports = support.Ports()
    server = support.EchoServer(ports.take())
    yield server
    server.close()
    ports.release()


def read_head(sock):
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        if not byte:
            raise EOFError(f"closed after {data!r}")
        data += byte
    return data


def read_until(sock, mark, data=b""):
    while mark not in data:
        more = sock.recv(65536)
        if not more:
            raise EOFError(f"closed before {mark!r}: {data!r}")
        data += more
    return data


paths = iter(f"/h{n}" for n in range(10000))


def routed(node, service, **route):
    path = next(paths)
    route_to(node, service.url, path, service={"retries": 0}, **route)
    return path


# ---- interim and upgraded answers ----

def test_interim_answers_while_the_body_streams(node, service):
    """The framing of the rest of the body does not suffer from an answer that only announces another one."""
    seen, bodies = threading.Event(), []

    def script(sock, n):
        head = read_head(sock)
        assert b"transfer-encoding: chunked" in head.lower()
        data = read_until(sock, b"first\r\n")
        sock.sendall(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        seen.set()
        bodies.append(read_until(sock, b"0\r\n\r\n", data))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    s = service(script)
    path = routed(node, s, request_buffering=False)
    raw = Raw(node.proxy_port).send(f"POST {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    assert seen.wait(30)
    # The interim answer is read before the client goes on: another connection's exchange passes after it.
    assert node.proxy.get("/nothing-there").status_code == 404
    assert raw.send("6\r\nsecond\r\n0\r\n\r\n").response()[2] == b"ok"
    assert bodies == [b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"], s.problems


@pytest.mark.parametrize("upgrade", ["", "Connection: Upgrade\r\nUpgrade: h2c\r\n", "Connection: Upgrade\r\nUpgrade: websocket2\r\n"])
def test_switching_protocols_unasked(node, service, upgrade):
    heads = []

    def script(sock, n):
        heads.append(read_head(sock).lower())
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        sock.recv(1)

    path = routed(node, service(script))
    raw = Raw(node.proxy_port).send(f"GET {path} HTTP/1.1\r\nHost: h\r\n{upgrade}\r\n")
    assert raw.response()[0] == 502
    assert b"upgrade" not in heads[0]


def test_http1_0_does_not_upgrade(node, service):
    heads = []

    def script(sock, n):
        heads.append(read_head(sock).lower())
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    path = routed(node, service(script))
    raw = Raw(node.proxy_port).send(f"GET {path} HTTP/1.0\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert raw.response()[0] == 200 and b"upgrade" not in heads[0]


def test_http2_does_not_upgrade(node, service):
    heads = []

    def script(sock, n):
        heads.append(read_head(sock).lower())
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nraw bytes")
        sock.recv(1)

    path = routed(node, service(script))
    client = H2Client(node.tls_port)
    client.h2.config.validate_outbound_headers = client.h2.config.normalize_outbound_headers = False
    answer = client.answer(client.request(path, headers=[("upgrade", "websocket")]))
    assert answer["headers"] is None or answer["headers"][":status"] in ("400", "502")
    assert not heads or b"upgrade" not in heads[0]
    assert client.answer(client.request("/nothing-there"))["headers"][":status"] == "404" or answer["headers"] is None


def test_websocket_past_response_handlers(node, service):
    """Two streams cannot be gathered: handlers of the response phase do not see them, and they pass."""
    def script(sock, n):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        sock.sendall(sock.recv(5))

    s = service(script)
    probe = Probe(node, s.url, "probe-response", next(paths))
    probe.configure(response="kong.response.set_header('X-Seen', 'yes')")
    raw = Raw(node.proxy_port).send(f"GET {probe.path} HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    status, headers, _ = raw.response()
    assert status == 101 and "x-seen" not in headers
    assert raw.send("hello").exactly(5) == b"hello"


# ---- framing of answers ----

def ask(raw, path, method="GET"):
    raw.send(f"{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n")
    return raw.response(head=method == "HEAD")


@pytest.mark.parametrize("method,answer,status", [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n", 200),
    ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204),
    ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 304),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200),
])
def test_answers_without_body_keep_the_connection(node, service, method, answer, status):
    def script(sock, n):
        while True:
            read_head(sock)
            sock.sendall(answer)

    s = service(script)
    path, raw = routed(node, s), Raw(node.proxy_port)
    for _ in range(4):
        assert ask(raw, path, method)[0] == status
    assert s.connections == 1


@pytest.mark.parametrize("method,head", [
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n"),
    ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
    ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n"),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_body_where_none_belongs(node, service, method, head, buffered):
    """It reaches nobody, and what is left of it is not taken for the next answer."""
    def script(sock, n):
        while True:
            read_head(sock)
            sock.sendall(head + b"HTTP/1.1 299 Smuggled\r\nContent-Length: 0\r\n\r\n")

    s = service(script)
    path, raw = routed(node, s, response_buffering=buffered), Raw(node.proxy_port)
    for n in range(4):
        status, _, body = ask(raw, path, method)
        assert status in (200, 204, 304) and body == b""
        assert s.connections == n + 1


@pytest.mark.parametrize("lines", [
    b"Content-Length: 5\r\nContent-Length: 6\r\n", b"Content-Length: 5x\r\n", b"Content-Length: -1\r\n",
    b"Content-Length: 99999999999999999999\r\n", b"Content-Length: 5, 5\r\n", b"Content-Length:\r\n",
])
def test_lengths_that_contradict(node, service, lines):
    def script(sock, n):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\nhello")

    assert node.proxy.get(routed(node, service(script))).status_code == 502


@pytest.mark.parametrize("lines", [
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
])
def test_chunks_beat_other_framings(node, service, lines):
    def script(sock, n):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n5\r\nhello\r\n0\r\n\r\n")

    status, headers, body = ask(Raw(node.proxy_port), routed(node, service(script)))
    assert (status, body) == (200, b"hello")
    assert "content-length" not in headers


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nonly this", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n0\r\n",
])
@pytest.mark.parametrize("buffered", [True, False])
def test_cut_answers_are_seen_as_cut(node, service, answer, buffered):
    def script(sock, n):
        read_head(sock)
        sock.sendall(answer)

    path = routed(node, service(script), response_buffering=buffered)
    with pytest.raises((AssertionError, ConnectionResetError)):
        ask(Raw(node.proxy_port), path)


def test_cut_answers_do_not_reach_response_handlers(node, service):
    def script(sock, n):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX-From-Service: yes\r\n\r\nonly this")

    probe = Probe(node, service(script).url, "probe-response", next(paths))
    probe.configure(response="kong.response.set_header('X-Status', kong.service.response.get_status() or 'none')")
    answer = node.proxy.get(probe.path)
    assert answer.status_code == 502 and "only this" not in answer.text
    assert "X-From-Service" not in answer.headers


def test_head_past_response_handlers(node, echo):
    probe = Probe(node, echo.url, "probe-response", next(paths))
    probe.configure(response="kong.response.set_header('X-Seen', 'yes')")
    status, headers, _ = ask(Raw(node.proxy_port), probe.path + "?size=77", "HEAD")
    assert (status, headers["content-length"], headers["x-seen"]) == (200, "77", "yes")


def test_a_header_larger_than_its_buffer(gateway, service):
    def script(sock, n):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nX-Large: " + b"x" * 100000 + b"\r\nContent-Length: 0\r\n\r\n")

    gw = gateway()
    assert gw.proxy.get(routed(gw, service(script))).status_code == 502


def test_endless_interim_answers(node, service):
    def script(sock, n):
        read_head(sock)
        for _ in range(100000):
            sock.sendall(b"HTTP/1.1 102 P\r\n\r\n")

    assert node.proxy.get(routed(node, service(script))).status_code == 502


@pytest.mark.parametrize("request_buffering", [True, False])
def test_an_answer_before_the_request_is_complete(node, service, request_buffering):
    """The client has it, and a connection on which a body is missing is not used again."""
    over = threading.Event()

    def script(sock, n):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        assert over.wait(30)

    s, size = service(script), 20_000_000  # more than sockets hold
    path = routed(node, s, request_buffering=request_buffering)
    raw = Raw(node.proxy_port).send(f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {size}\r\n\r\n" + "x" * 1000)
    if request_buffering:
        raw.send(b"x" * (size - 1000))
    assert raw.response()[0] == 413
    raw.close()
    assert ask(Raw(node.proxy_port), path)[0] == 413
    assert s.connections == 2
    over.set()


# ---- requests ----

@pytest.mark.parametrize("request_text", [
    "GET {p} HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n folded: yes\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: h\r\nX-A : 1\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: h\r\nX-A: a\x00b\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: h\r\nX-A: a\rX-B: b\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: h\r\nX-A: a\nX-B: b\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: h/../x\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: h\t\r\n\r\n",
    "GET {p} HTTP/1.1\r\n\r\n",
    "GET {p}?a b HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET {p}\x7f HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET {p}?%00%0d%0aX:%20y HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET {p}/%0d%0aX:%20y HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://other{p}?x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://h? HTTP/1.1\r\nHost: h\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST {p} HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST {p} HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello",
    "POST {p} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer_Encoding: chunked\r\n\r\nhello",
    "GET {p} HTTP/1.1\r\nHost: h\r\nConnection: close, X-Forwarded-For, Host, Content-Length, X-Real-IP\r\n\r\n",
    "GET {p}" + "/%2e%2e" * 40 + " HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET {p}" + "%FF" * 2000 + " HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET {p} HTTP/1.1\r\nHost: h\r\n" + "".join(f"X-{n}: {'v' * 60}\r\n" for n in range(200)) + "\r\n",
    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
], ids=range(28))
@pytest.mark.parametrize("buffered", [True, False])
def test_what_reaches_the_service_is_one_well_formed_request(node, service, request_text, buffered):
    """Whatever a client sends, a service gets at most one request per answer, with one Host, one framing and no stray lines."""
    got = []

    def script(sock, n):
        while True:
            got.append(read_head(sock))
            length = [line for line in got[-1].lower().split(b"\r\n") if line.startswith(b"content-length:")]
            chunked = b"\r\ntransfer-encoding: chunked\r\n" in got[-1].lower()
            assert not (length and chunked) and len(length) < 2
            if length:
                data = b""
                while len(data) < int(length[0].split(b":")[1]):
                    data += sock.recv(1)
            elif chunked:
                read_until(sock, b"0\r\n\r\n")
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    s = service(script)
    path = routed(node, s, request_buffering=buffered)
    raw = Raw(node.proxy_port).send(request_text.replace("{p}", path))
    raw.sock.shutdown(socket.SHUT_WR)
    answer = raw.rest()
    assert len(got) <= 1 and answer.count(b"HTTP/1.1 ") <= 1
    assert not [p for p in s.problems if not isinstance(p, EOFError)]
    for head in got:
        lines = head[:-4].split(b"\r\n")
        assert lines[0].count(b" ") == 2 and lines[0].endswith(b" HTTP/1.1") and min(lines[0]) >= 0x20
        names = [line.split(b":")[0].lower() for line in lines[1:]]
        assert names.count(b"host") == 1 and names.count(b"x-forwarded-for") == 1 and names.count(b"x-real-ip") == 1
        assert all(b":" in line and min(line) >= 0x09 and b"\n" not in line and b"\r" not in line for line in lines[1:])
        assert not {b"x", b"x-b", b"folded"} & set(names) or "\nX-B" in request_text


# ---- what plugins set ----

EVIL = "a\\r\\nX-Evil: 1\\r\\n\\r\\nGET /evil HTTP/1.1\\r\\nHost: e\\r\\n\\r\\n\\0b"


@pytest.mark.parametrize("code", [
    f"kong.service.request.set_header('X-A', '{EVIL}')",
    f"kong.service.request.add_header('X-A', '{EVIL}')",
    f"kong.service.request.set_headers({{ ['X-A'] = {{ '{EVIL}', '{EVIL}' }} }})",
    "kong.service.request.set_header('X-A: 1\\r\\nX-Evil', '1')",
    f"kong.service.request.set_header('Host', '{EVIL}')",
    f"kong.service.request.set_path('/{EVIL}')",
    f"kong.service.request.set_raw_query('{EVIL}')",
    f"kong.service.request.set_query({{ a = '{EVIL}' }})",
    f"ngx.req.set_header('X-A', '{EVIL}')",
    f"ngx.var.upstream_host = '{EVIL}'",
    f"ngx.var.upstream_uri = '/{EVIL}'",
    f"ngx.var.args = '{EVIL}'",
    f"pcall(ngx.req.set_uri_args, '{EVIL}')",
    "kong.service.request.set_header('Content-Length', '1')",
    "kong.service.request.set_header('Transfer-Encoding', 'chunked')",
    "kong.service.request.clear_header('Content-Length')",
    "kong.service.request.clear_header('Host')",
    "kong.service.request.set_header('Connection', 'close')",
    f"kong.service.request.set_raw_body('12345') kong.service.request.set_header('Content-Length', '3')",
])
def test_plugins_cannot_break_out_of_the_request(node, service, code):
    got = []

    def script(sock, n):
        while True:
            got.append(read_head(sock))
            lengths = [line for line in got[-1].lower().split(b"\r\n") if line.startswith(b"content-length:")]
            assert len(lengths) == 1 and b"transfer-encoding" not in got[-1].lower()
            got.append(b"".join(sock.recv(1) for _ in range(int(lengths[0].split(b":")[1]))))
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    s = service(script)
    probe = Probe(node, s.url, path=next(paths))
    probe.configure(access=code)
    node.proxy.post(probe.path, data="hello")
    assert not [p for p in s.problems if not isinstance(p, EOFError)]
    assert len(got) <= 2
    if got:
        lines = got[0][:-4].split(b"\r\n")
        names = [line.split(b":")[0].lower() for line in lines[1:]]
        assert lines[0].startswith(b"POST /") and lines[0].count(b" ") == 2
        assert b"x-evil" not in names and names.count(b"host") == 1 and b"\x00" not in got[0]
        assert got[1] in (b"hello", b"12345")


@pytest.mark.parametrize("code", [
    f"kong.response.set_header('X-A', '{EVIL}')",
    f"kong.response.add_header('X-A', '{EVIL}')",
    "kong.response.set_header('X-A: 1\\r\\nX-Evil', '1')",
    f"kong.response.set_header('Content-Type', '{EVIL}')",
    f"kong.response.set_header('Location', '{EVIL}')",
    f"kong.response.exit(200, 'ok', {{ ['X-A'] = '{EVIL}' }})",
    f"kong.response.exit(200, 'ok', {{ ['Content-Type'] = '{EVIL}' }})",
    f"kong.response.error(500, 'x', {{ ['Content-Type'] = 'application/grpc' }})",
    f"kong.response.error(500, '{EVIL}', {{ ['Content-Type'] = 'application/grpc' }})",
])
def test_plugins_cannot_break_out_of_the_answer(node, echo, code):
    probe = Probe(node, echo.url, path=next(paths))
    probe.configure(access=code)
    raw = Raw(node.proxy_port).send(f"GET {probe.path} HTTP/1.1\r\nHost: h\r\n\r\n")
    status, headers, _ = raw.response()
    assert status in (200, 500) and "x-evil" not in headers
    assert all("\n" not in v and "\r" not in v and "\0" not in v for v in headers.values())
    raw.send("GET /nothing-there HTTP/1.1\r\nHost: h\r\n\r\n")
    assert raw.response()[0] == 404, "the connection is in step"


def test_a_head_that_a_plugin_makes_a_get_has_no_body(node, echo):
    probe = Probe(node, echo.url, path=next(paths))
    probe.configure(access="kong.service.request.set_method('GET')")
    raw = Raw(node.proxy_port)
    status, headers, _ = ask(raw, probe.path + "?size=10", "HEAD")
    assert status == 200 and headers["content-length"] == "10"
    assert ask(raw, "/nothing-there")[0] == 404, "no body followed"


# ---- clients that leave ----

@pytest.mark.parametrize("kind", ["plain", "response", "stream", "body"])
def test_clients_that_leave_at_any_point(node, service, kind):
    """The worker outlives them, and serves on."""
    def script(sock, n):
        while True:
            head = read_head(sock)
            if n % 4 == 0:
                return
            sock.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(20):
                sock.sendall(b"400\r\n" + b"x" * 1024 + b"\r\n")
            if n % 4 == 1:
                return
            sock.sendall(b"0\r\n\r\n")

    s = service(script)
    worker = node.workers()
    if kind == "response":
        probe = Probe(node, s.url, "probe-response", next(paths))
        probe.configure(response="kong.response.set_header('X-Seen', 'yes')")
        path = probe.path
    else:
        path = routed(node, s, request_buffering=kind != "stream", response_buffering=kind != "stream")
    request = f"POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 20000\r\n\r\n" + "b" * 20000
    for n in range(120):
        raw = Raw(node.proxy_port)
        raw.send(request[:len(request) * (n % 12 + 1) // 12])
        if n % 3 == 0:
            raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if n % 5 == 0 and n % 12 == 11:
            raw.sock.recv(10)
        raw.close()
    assert node.proxy.get("/nothing-there").status_code == 404
    assert node.workers() == worker
