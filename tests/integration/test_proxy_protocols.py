"""Protocols of the client's side: TLS, HTTP/2, WebSocket."""
import base64
import hashlib
import os
import socket
import ssl
import struct
import subprocess

import h2.connection
import h2.events
import pytest
import websocket

from proxy_support import Accepting, Raw, create, route_to


def test_tls_listener_with_the_default_certificate(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url)
    seen = gw.proxy_tls.get("/s", verify=False).json()["headers"]
    assert seen["x-forwarded-proto"] == "https" and seen["x-forwarded-port"] == str(gw.tls_port)
    assert subprocess.run(["openssl", "x509", "-in", gw.prefix / "ssl" / "kong-default.crt", "-noout"]).returncode == 0


def test_http_on_the_tls_port(gateway):
    gw = gateway()
    raw = Raw(gw.tls_port).send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    status, headers, _ = raw.response()
    assert status == 400 and headers["server"] == "kong/3.9.1"


class H2Client:
    def __init__(self, port):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=30), server_hostname="api.example")
        assert self.sock.selected_alpn_protocol() == "h2"
        self.h2 = h2.connection.H2Connection()
        self.h2.initiate_connection()
        self.flush()
        self.answers = {}

    def flush(self):
        self.sock.sendall(self.h2.data_to_send())

    def request(self, path, method="GET", body=None, headers=(), authority="api.example"):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [(":method", method), (":path", path), (":scheme", "https"), (":authority", authority), *headers],
                             end_stream=body is None)
        if body is not None:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        self.answers[stream] = {"headers": None, "body": b"", "trailers": None, "done": False, "reset": False}
        return stream

    def answer(self, stream):
        answer = self.answers[stream]
        while not answer["done"]:
            data = self.sock.recv(65536)
            assert data, "connection closed"
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()
        return answer

    @staticmethod
    def fields(headers):
        return {k.decode() if isinstance(k, bytes) else k: v.decode() if isinstance(v, bytes) else v for k, v in headers}

    def take(self, event):
        answer = self.answers.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.ResponseReceived):
            answer["headers"] = self.fields(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            answer["trailers"] = self.fields(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer["body"] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
            answer["done"], answer["reset"] = True, isinstance(event, h2.events.StreamReset)


def test_http2(gateway, echo_server):
    gw = gateway()
    service, _ = route_to(gw, echo_server.url)
    create(gw, f"/services/{service['id']}/routes", paths=["/streamed"], request_buffering=False, response_buffering=False)
    client = H2Client(gw.tls_port)
    for path in ("/s", "/streamed"):
        streams = [client.request(f"{path}?n={n}", "POST", b"body%d" % n) for n in range(10)]
        for n, stream in enumerate(streams):
            answer = client.answer(stream)
            assert answer["headers"][":status"] == "200"
            assert b'"body": "body%d"' % n in answer["body"]
            assert answer["headers"]["via"] == "1.1 kong/3.9.1"
    assert echo_server.requests[0]["headers"]["via"] == "2 kong/3.9.1"
    assert echo_server.requests[0]["headers"]["x-forwarded-host"] == "api.example"
    answer = client.answer(client.request("/none", headers=[("accept", "text/html")]))
    assert answer["headers"][":status"] == "404" and b"<h1>Error</h1>" in answer["body"]


def test_grpc_clients_get_grpc_errors(gateway):
    gw = gateway()
    client = H2Client(gw.tls_port)
    answer = client.answer(client.request("/pkg.Svc/Call", "POST", b"", headers=[("content-type", "application/grpc"), ("te", "trailers")]))
    assert answer["headers"]["content-type"] == "application/grpc"
    assert answer["headers"]["grpc-status"] == "5" and answer["headers"]["grpc-message"] == "no Route matched with those values"
    assert answer["body"] == b""


class WebSocketServer(Accepting):
    """Echoes messages; the handshake's request is kept."""

    request = None

    def serve(self, sock):
        stream = sock.makefile("rwb")
        lines = []
        while (line := stream.readline().strip()):
            lines.append(line.decode())
        self.request = {k.lower(): v.strip() for k, v in (x.split(":", 1) for x in lines[1:])}
        key = self.request["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        stream.write(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        stream.flush()
        while True:
            head = stream.read(2)
            if len(head) < 2:
                return
            length = head[1] & 127
            if length == 126:
                length = struct.unpack(">H", stream.read(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", stream.read(8))[0]
            mask = stream.read(4)
            data = bytes(b ^ mask[i % 4] for i, b in enumerate(stream.read(length)))
            if head[0] & 15 == 8:
                stream.write(bytes([0x88, 0]))
                stream.flush()
                return
            size = bytes([length]) if length < 126 else b"\x7e" + struct.pack(">H", length) if length < 65536 else b"\x7f" + struct.pack(">Q", length)
            stream.write(head[:1] + size + data)
            stream.flush()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websocket(gateway, scheme):
    server = WebSocketServer()
    gw = gateway()
    route_to(gw, server.url, "/chat")
    port = gw.proxy_port if scheme == "ws" else gw.tls_port
    ws = websocket.create_connection(f"{scheme}://127.0.0.1:{port}/chat/room", timeout=30, sslopt={"cert_reqs": ssl.CERT_NONE})
    assert ws.headers["upgrade"] == "websocket" and "x-kong-request-id" in ws.headers
    for message in ["hello", "x" * 200, "y" * 70000]:
        ws.send(message)
        assert ws.recv() == message
    binary = os.urandom(1000)
    ws.send_binary(binary)
    assert ws.recv() == binary
    ws.close()
    assert server.request["connection"] == "keep-alive, Upgrade" and server.request["upgrade"] == "websocket"
    assert server.request["x-forwarded-path"] == "/chat/room"
    server.close()


def test_websocket_refused_by_the_service(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/chat")
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        websocket.create_connection(f"ws://127.0.0.1:{gw.proxy_port}/chat?status=403", timeout=30)
    assert refused.value.status_code == 403
    assert echo_server.requests[-1]["headers"]["upgrade"] == "websocket"
