"""Services that send anything: answers cut, mutated and joined at random (from fixed seeds) must cost the client an answer, never the worker."""
import random
import socket
import socketserver
import threading

import pytest

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n5;a=b\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\nx: y\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nuntil the end",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nSet-Cookie: a=b\r\nSet-Cookie: c=d\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/x\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi",
    b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx",
    b"HTTP/1.1 200 OK\r\nX-Accel-Redirect: /x\r\nX-Accel-Buffering: no\r\nRefresh: 1; url=/\r\nContent-Length: 2\r\n\r\nok",
]
PIECES = [b"\r\n", b"\n", b"\0", b":", b" ", b"0", b"-1", b"\xff" * 9, b"HTTP/1.1 200 OK\r\n\r\n", b"X" * 9000, b"\r\n\r\n",
          b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n"]


def mutated(rng):
    data = bytearray(rng.choice(ANSWERS))
    for _ in range(rng.randrange(0, 4)):
        at = rng.randrange(len(data) + 1)
        what = rng.randrange(4)
        if what == 0:
            data[at:at] = rng.choice(PIECES)
        elif what == 1:
            del data[at:at + rng.randrange(1, 20)]
        elif what == 2 and at < len(data):
            data[at] = rng.randrange(256)
        else:
            del data[at:]
    return bytes(data)


class Handler(socketserver.BaseRequestHandler):
    """One answer in a few pieces to whatever comes first, then the end."""

    def handle(self):
        try:
            self.request.recv(65536)
            with self.server.lock:
                rng = random.Random(self.server.rng.random())
            data = mutated(rng)
            cut = rng.randrange(len(data) + 1)
            self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.request.sendall(data[:cut])
            self.request.sendall(data[cut:])
            self.request.shutdown(socket.SHUT_WR)
            self.request.recv(65536)
        except OSError:
            pass  # the proxy has had enough


@pytest.fixture
def hostile(ports):
    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True
        daemon_threads = True

    server = Server(("127.0.0.1", ports.take()), Handler)
    server.lock = threading.Lock()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("buffering", [True, False])
def test_random_answers(gateway, hostile, echo_server, buffering):
    hostile.rng = random.Random(7 + buffering)
    gw = gateway(nginx_worker_processes=1)
    for name, port in (("bad", hostile.server_address[1]), ("good", echo_server.port)):
        assert gw.admin.post("/services", json={"name": name, "host": "127.0.0.1", "port": port, "retries": 0}).status_code == 201
        route = {"paths": [f"/{name}"], "response_buffering": buffering}
        assert gw.admin.post(f"/services/{name}/routes", json=route).status_code == 201
    worker = gw.workers()
    answered = 0
    for i in range(300):
        with socket.create_connection(("127.0.0.1", gw.proxy_port), timeout=20) as s:
            s.sendall(b"GET /bad HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            data = b""
            try:
                while chunk := s.recv(65536):
                    data += chunk
            except ConnectionResetError:
                pass
        # An answer that cannot be told from its start is refused as a whole; one that breaks later is cut.
        assert data == b"" or data.startswith(b"HTTP/1.1 "), data[:100]
        answered += data != b""
        if i % 50 == 0:
            assert gw.proxy.get("/good").status_code == 200
    assert answered > 200
    assert gw.workers() == worker
