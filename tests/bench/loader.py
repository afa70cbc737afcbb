"""Fills a node through its Admin API, over a few kept connections, and the small HTTP client that does it."""

import json
import socket
import threading
import time


class Connection:
    """One kept HTTP/1.1 connection; reconnects once when the server closed it."""

    def __init__(self, port):
        self.port, self.sock, self.buf = port, None, b""

    def connect(self):
        self.sock = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buf = b""

    def request(self, method, path, body=None):
        data = body.encode() if body else b""
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n"
        if data:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        for attempt in (1, 2):
            try:
                if self.sock is None:
                    self.connect()
                self.sock.sendall(head.encode() + b"\r\n" + data)
                return self.read(method)
            except (ConnectionError, BrokenPipeError):
                self.close()
                if attempt == 2:
                    raise

    def _fill(self):
        got = self.sock.recv(65536)
        if not got:
            raise ConnectionError("closed")
        self.buf += got

    def read(self, method):
        while b"\r\n\r\n" not in self.buf:
            self._fill()
        head, self.buf = self.buf.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        status = int(lines[0].split()[1])
        headers = {k.lower(): v.strip() for k, v in (line.split(b":", 1) for line in lines[1:])}
        if method == "HEAD" or status in (204, 304):
            return status, b""
        if b"content-length" in headers:
            n = int(headers[b"content-length"])
            while len(self.buf) < n:
                self._fill()
            body, self.buf = self.buf[:n], self.buf[n:]
            return status, body
        return status, self._chunks()

    def _chunks(self):
        out = b""
        while True:
            while b"\r\n" not in self.buf:
                self._fill()
            line, self.buf = self.buf.split(b"\r\n", 1)
            n = int(line.split(b";")[0], 16)
            while len(self.buf) < n + 2:
                self._fill()
            out += self.buf[:n]
            self.buf = self.buf[n + 2:]
            if n == 0:
                return out

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def post_all(gateway, path, bodies, threads=4):
    """POSTs each body to an Admin path over a few connections."""
    failures = []

    def work(first):
        conn = Connection(gateway.admin_port)
        for body in bodies[first::threads]:
            status, text = conn.request("POST", path, json.dumps(body))
            if status != 201:
                failures.append(f"{status} {text[:200]} for {body}")
                return
        conn.close()
    pool = [threading.Thread(target=work, args=(k,)) for k in range(threads)]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    if failures:
        raise RuntimeError(f"POST {path}: {failures[0]}")


def load_routes(gateway, upstream_port, routes, plugin=None):
    """One service, `routes` routes /r000000 …; returns the seconds it took."""
    service = gateway.admin("POST", "/services", {"name": "bench", "url": f"http://127.0.0.1:{upstream_port}"})
    if plugin:
        gateway.admin("POST", "/services/bench/plugins", {"name": plugin})
    bodies = [{"name": f"r{i:06d}", "paths": [f"/r{i:06d}"], "service": {"id": service["id"]}} for i in range(routes)]
    start = time.monotonic()
    post_all(gateway, "/routes", bodies)
    return time.monotonic() - start
