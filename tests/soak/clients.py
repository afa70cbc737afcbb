"""The load of the soak: a process per kind of client, each a loop that asks, judges the answer, and asks again until it is told to stop.

What may come back is fixed by the plan (plan.py), whatever changes meanwhile. An answer that is not one of those, and every exception, is a
finding. A kind is a class with once(); CLIENTS lists them.
"""
import http.client
import json
import os
import random
import socket
import ssl
import sys
import traceback

import plan

FINDINGS_MAX = 20  # a kind that finds more stops: something is wrong for good


class Finding(Exception):
    pass


def expect(condition, what):
    if not condition:
        raise Finding(what)


def judge(path, status, headers, body):
    """Is this one of the answers that `path` may have? headers: names in lower case."""
    what = f"{path}: {status} {dict(headers)} {body[:200]!r}"
    mark = headers.get("x-soak")
    expect(mark is None or mark in plan.MARKS, f"mark of no configuration, {what}")
    for expected, text in plan.answers(path):
        if status == expected and text in body:
            return
    raise Finding(what)


def ask(connection, path, method="GET", body=None, headers=None, chunked=False):
    connection.request(method, path, body=body, headers=headers or {}, encode_chunked=chunked)
    response = connection.getresponse()
    return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()


class Client:
    """site: the ports and the certificates that may be shown."""

    def __init__(self, site, seed):
        self.site, self.random = site, random.Random(seed)

    def once(self):
        """A few requests; returns how many. Raises for what must not be."""
        raise NotImplementedError

    def plain(self):
        return http.client.HTTPConnection("127.0.0.1", self.site.proxy_port, timeout=60)

    def path(self):
        return self.random.choice(plan.PATHS)

    def close(self):
        pass


class Kept(Client):
    """HTTP/1.1 over one connection."""

    def __init__(self, site, seed):
        super().__init__(site, seed)
        self.connection = self.plain()

    def once(self):
        path = self.path()
        judge(path, *ask(self.connection, path))
        return 1


class Closing(Client):
    """A connection per request."""

    def once(self):
        path, connection = self.path(), self.plain()
        try:
            judge(path, *ask(connection, path, headers={"Connection": "close"}))
        finally:
            connection.close()
        return 1


class Bodies(Kept):
    """Bodies of all sizes, with a length or in chunks, that come back as they were sent."""

    def once(self):
        size = self.random.choice((0, 1, 1000, 20000, 70000, 300000))
        body = self.random.randbytes(size).hex().encode()[:size]
        if self.random.random() < 0.5:
            status, _, text = ask(self.connection, "/echo", "POST", body)
        else:
            status, _, text = ask(self.connection, "/echo", "POST", iter([body[i:i + 8192] for i in range(0, size, 8192)]),
                                  {"Transfer-Encoding": "chunked"}, True)
        expect(status == 200 and json.loads(text)["body"] == body.decode(), f"/echo: {status}, a body of {size} bytes came back otherwise")
        return 1


def tls_context(alpn=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


class Tls(Client):
    """A handshake per request, for one of the names; the certificate is one that the name has had."""

    def __init__(self, site, seed):
        super().__init__(site, seed)
        self.context = tls_context()

    def once(self):
        name = self.random.choice(sorted(self.site.shown))
        connection = http.client.HTTPConnection("127.0.0.1", self.site.tls_port, timeout=60)
        connection.sock = self.context.wrap_socket(socket.create_connection(("127.0.0.1", self.site.tls_port), timeout=60), server_hostname=name)
        try:
            shown = connection.sock.getpeercert(True)
            allowed = self.site.shown[name]
            expect(shown in allowed, f"{name}: a certificate that the name never had")
            path = self.path()
            judge(path, *ask(connection, path))
        finally:
            connection.close()
        return 1


class Http2(Client):
    """Several streams at once over a connection that lives for a while."""

    def __init__(self, site, seed):
        super().__init__(site, seed)
        self.client, self.left = None, 0

    def once(self):
        from test_proxy_protocols import H2Client
        if self.left == 0:
            self.close()
            self.client, self.left = H2Client(self.site.tls_port), 100
        self.left -= 1
        paths = [self.path() for _ in range(4)]
        streams = [self.client.request(p) for p in paths] + [self.client.request("/echo", "POST", b"h2" * 500)]
        answers = [self.client.answer(s) for s in streams]
        for a in answers:
            expect(a["headers"] is not None, "a stream was reset")
        for path, a in zip(paths, answers):
            judge(path, int(a["headers"][":status"]), a["headers"], a["body"])
        expect(answers[-1]["headers"][":status"] == "200" and b"h2" * 500 in answers[-1]["body"], f"/echo: {answers[-1]['headers']}")
        return len(streams)

    def close(self):
        if self.client:
            self.client.sock.close()


class WebSocket(Client):
    """A connection with some messages, as text and binary, over TLS or not."""

    def once(self):
        import websocket
        tls = self.random.random() < 0.5
        url = f"wss://127.0.0.1:{self.site.tls_port}/chat" if tls else f"ws://127.0.0.1:{self.site.proxy_port}/chat"
        ws = websocket.create_connection(url, timeout=60, sslopt={"cert_reqs": ssl.CERT_NONE})
        try:
            for _ in range(10):
                text, data = "m" * self.random.randrange(1, 3000), self.random.randbytes(self.random.randrange(1, 3000))
                ws.send(text)
                expect(ws.recv() == text, "a message came back otherwise")
                ws.send_binary(data)
                expect(ws.recv() == data, "a binary message came back otherwise")
        finally:
            ws.close()
        return 20


class Grpc(Client):
    """Calls of each kind over a channel that lives for a while."""

    def __init__(self, site, seed):
        super().__init__(site, seed)
        self.channel, self.left = None, 0

    def once(self):
        import grpc_support
        if self.left == 0:
            self.close()
            self.channel, self.left = grpc_support.channel(self.site.grpc_port), 200
        self.left -= 1
        text = self.random.randbytes(self.random.randrange(1, 5000))
        expect(grpc_support.call(self.channel, "Unary")(text, timeout=60) == text, "Unary answered otherwise")
        got = list(grpc_support.call(self.channel, "Count", "unary_stream")(b"5", timeout=60))
        expect(got == [b"0", b"1", b"2", b"3", b"4"], f"Count answered {got}")
        got = grpc_support.call(self.channel, "Sum", "stream_unary")(iter([b"1", b"2", b"3"]), timeout=60)
        expect(got == b"6", f"Sum answered {got}")
        return 3

    def close(self):
        if self.channel:
            self.channel.close()


CLIENTS = {"HTTP/1.1, kept": Kept, "HTTP/1.1, closed": Closing, "bodies": Bodies, "TLS by name": Tls, "HTTP/2": Http2, "WebSocket": WebSocket,
           "gRPC": Grpc}


def run(kind, site, seed, ending, done, findings):
    """The process of one kind. done: a shared number; findings: a queue of (kind, text)."""
    made, found = None, 0
    while not ending.is_set() and os.getppid() == site.parent and found < FINDINGS_MAX:
        try:
            made = made or CLIENTS[kind](site, seed)
            count = made.once()
            with done.get_lock():
                done.value += count
        except Exception as e:  # noqa: BLE001 - every kind of failure is a finding
            found += 1
            findings.put((kind, str(e) if isinstance(e, Finding) else traceback.format_exc(limit=-4)))
            made = None
    if made:
        made.close()
    findings.close()
    findings.join_thread()
    sys.exit(0)
