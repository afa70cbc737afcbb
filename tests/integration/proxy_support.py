"""What the tests of the proxy share: making entities, and talking HTTP byte by byte."""
import socket
import threading
import uuid


def create(gw, path, **body):
    answer = gw.admin.post(path, json=body)
    assert answer.status_code == 201, f"POST {path} {body} -> {answer.status_code} {answer.text}"
    return answer.json()


def route_to(gw, url, path="/s", service=None, **route):
    """A service at the URL and a route to it; `service` holds further fields of the service."""
    made = create(gw, "/services", name="s" + uuid.uuid4().hex[:8], url=url, **(service or {}))
    return made, create(gw, f"/services/{made['id']}/routes", **{"paths": [path], **route})


def upstream(gw, name, targets, **fields):
    """An upstream entity with targets: {"host:port": weight}."""
    made = create(gw, "/upstreams", name=name, **fields)
    for target, weight in targets.items():
        create(gw, f"/upstreams/{name}/targets", target=target, weight=weight)
    return made


class Accepting:
    """A server that gives each connection to serve(sock), on a thread of its own."""

    def __init__(self):
        self.connections = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def close(self):
        self.server.close()


class Raw:
    """A connection on which a test writes what it likes."""

    def __init__(self, port, timeout=30):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.buffer = b""

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))
        return self

    def fill(self):
        more = self.sock.recv(65536)
        self.buffer += more
        return more

    def until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise AssertionError(f"closed before {mark!r}: {self.buffer!r}")
        before, self.buffer = self.buffer.split(mark, 1)
        return before

    def response(self, head=False):
        """Status, headers (lower-case names), body; framed by length, chunks or the end."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        assert lines[0].startswith("HTTP/1."), f"not the beginning of an answer: {lines[0]!r}"
        status = int(lines[0].split()[1])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        if head or status < 200 or status in (204, 304):
            return status, headers, b""
        if headers.get("transfer-encoding") == "chunked":
            return status, headers, self.chunks()
        if "content-length" in headers:
            return status, headers, self.exactly(int(headers["content-length"]))
        return status, headers, self.rest()

    def exactly(self, n):
        while len(self.buffer) < n:
            if not self.fill():
                raise AssertionError(f"closed after {len(self.buffer)} of {n} bytes")
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def chunks(self):
        data = b""
        while True:
            size = int(self.until(b"\r\n"), 16)
            data += self.exactly(size)
            self.until(b"\r\n")
            if size == 0:
                return data

    def rest(self):
        while self.fill():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def closed(self):
        """True when the other side closes without another byte."""
        return self.buffer == b"" and self.sock.recv(1) == b""

    def close(self):
        self.sock.close()
