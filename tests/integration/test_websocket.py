"""WebSockets through the gateway, to a real server: with and without TLS on either side, both ways of everything the protocol has."""
import asyncio
import base64
import os
import ssl
import threading

import pytest
import websockets

from proxy_support import Raw, route_to
from support import wait_for
from test_proxy_bodies import Scripted, read_head
from tls_support import Cert, client_context


PROTOCOLS = ["chat.v2", "chat"]


def choose(*args):
    """The server's favourite of what the client offers, or none: newer releases of websockets would refuse a client that offers none."""
    offered = next(a for a in args if isinstance(a, (list, tuple)))  # (connection, offered), or before 14 (offered, known)
    return next((p for p in PROTOCOLS if p in offered), None)


class Server:
    """A websockets server on a thread of its own. What a client says first steers: see session()."""

    def __init__(self, tls=None):
        self.loop = asyncio.new_event_loop()
        self.tls, self.closed, self.ready = tls, [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(30)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self.main())

    async def main(self):
        self.stop = self.loop.create_future()
        async with websockets.serve(self.session, "127.0.0.1", 0, ssl=self.tls, max_size=None, ping_interval=None,
                                    subprotocols=PROTOCOLS, select_subprotocol=choose) as server:
            port = list(server.sockets)[0].getsockname()[1]
            self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{port}"
            self.ready.set()
            await self.stop

    async def session(self, ws, *_):
        try:
            async for message in ws:
                await self.answer(ws, message)
        except websockets.ConnectionClosed:
            pass
        self.closed.append((ws.close_code, ws.close_reason))

    async def answer(self, ws, message):
        if message == "ping me":
            await (await ws.ping(b"are you there"))
            await ws.send("ponged")
        elif message == "leave":
            await ws.close(4001, "so long")
        elif message == "vanish":
            ws.transport.abort()
        elif message == "in parts":
            await ws.send(["one ", "two ", "three"])
        else:
            await ws.send(message)

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set_result, None)
        self.thread.join(30)


@pytest.fixture
def server():
    made = []

    def make(tls=None):
        made.append(Server(tls))
        return made[-1]
    yield make
    for s in made:
        s.close()


@pytest.fixture
def server_tls(workdir):
    cert, key = Cert("service.test").files(workdir)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def connect(gw, scheme="ws", path="/chat", **how):
    port = gw.proxy_port if scheme == "ws" else gw.tls_port
    return websockets.connect(f"{scheme}://127.0.0.1:{port}{path}", max_size=None, ping_interval=None, open_timeout=30, close_timeout=30,
                              **({"ssl": client_context()} if scheme == "wss" else {}), **how)


def within(seconds, work):
    return asyncio.run(asyncio.wait_for(work, seconds))


@pytest.mark.parametrize("service_scheme", ["http", "https"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_messages_and_pings(gateway, server, server_tls, scheme, service_scheme):
    s = server(server_tls if service_scheme == "https" else None)
    gw = gateway()
    route_to(gw, s.url, "/chat")

    async def talk():
        async with connect(gw, scheme, subprotocols=["chat", "chat.v2"]) as ws:
            assert ws.subprotocol in ("chat", "chat.v2")
            for message in ("hello", "", "ü" * 1000, os.urandom(70000), "x" * (1 << 20)):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.send(["one", "", " two", " three" * 50000])
            assert await ws.recv() == "one two" + " three" * 50000
            await ws.send("in parts")
            assert await ws.recv() == "one two three"
            await (await ws.ping(b"from the client"))
            await ws.send("ping me")
            assert await ws.recv() == "ponged"
    within(120, talk())


def test_big_messages_both_ways_at_once(gateway, server):
    """Neither side waits for the other: what comes back is read while more is sent."""
    s = server()
    gw = gateway()
    route_to(gw, s.url, "/chat", request_buffering=False, response_buffering=False)
    block = os.urandom(1 << 20)

    async def talk():
        async with connect(gw, compression=None) as ws:
            sending = asyncio.ensure_future(send(ws))
            for _ in range(16):
                assert await ws.recv() == block
            await sending

    async def send(ws):
        for _ in range(16):
            await ws.send(block)
    within(120, talk())


async def expect_close(ws):
    with pytest.raises(websockets.ConnectionClosed) as closed:
        await ws.recv()
    return closed.value.rcvd


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_close_codes(gateway, server, scheme):
    s = server()
    gw = gateway()
    route_to(gw, s.url, "/chat")

    async def service_closes():
        async with connect(gw, scheme) as ws:
            await ws.send("leave")
            said = await expect_close(ws)
            assert (said.code, said.reason) == (4001, "so long")

    async def client_closes(code, reason):
        async with connect(gw, scheme) as ws:
            await ws.send("x")
            await ws.recv()
            await ws.close(code, reason)
            assert ws.close_code == code

    async def service_vanishes():
        async with connect(gw, scheme) as ws:
            await ws.send("vanish")
            assert await expect_close(ws) is None

    async def client_vanishes():
        ws = await connect(gw, scheme)
        ws.transport.abort()

    within(60, service_closes())
    within(60, client_closes(1000, ""))
    within(60, client_closes(4002, "later"))
    within(60, client_closes(1001, "going away"))
    within(60, service_vanishes())
    within(60, client_vanishes())
    wait_for(lambda: len(s.closed) == 6, "all sessions to end at the service")
    assert sorted(code for code, _ in s.closed) == [1000, 1001, 1006, 1006, 4001, 4002]
    assert (4002, "later") in s.closed


def test_read_timeout_of_the_service_ends_idle_sockets(gateway, server):
    s = server()
    gw = gateway()
    route_to(gw, s.url, "/chat", service={"read_timeout": 1000})

    async def talk():
        async with connect(gw) as ws:
            await ws.send("x")
            assert await ws.recv() == "x"
            assert await expect_close(ws) is None  # no close frame: the gateway has nothing to say in this protocol
    within(60, talk())
    gw.wait_log("upstream timed out")


def wait_out_an_idle_connection(gw):
    """Returns when the gateway has closed a client's idle connection: its short timeouts are over."""
    raw = Raw(gw.proxy_port).send("GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n")
    assert raw.response()[0] == 404 and raw.closed()


def test_long_idle(gateway, server):
    """No timeout but the service's counts for a socket; one side's pings keep it open beyond that."""
    short = {f"nginx_proxy_{name}": "1s" for name in ("client_body_timeout", "client_header_timeout", "keepalive_timeout", "send_timeout")}
    s = server()
    gw = gateway(upstream_keepalive_idle_timeout=1, **short)
    route_to(gw, s.url, "/idle", service={"connect_timeout": 1000, "write_timeout": 1000, "read_timeout": 60000})
    route_to(gw, s.url, "/pinged", service={"read_timeout": 5000})

    async def talk():
        loop = asyncio.get_running_loop()
        async with connect(gw, path="/idle") as idle, connect(gw, path="/pinged") as pinged:
            for _ in range(7):
                await loop.run_in_executor(None, wait_out_an_idle_connection, gw)
                await (await pinged.ping())
            for ws in (idle, pinged):
                await ws.send("still here")
                assert await ws.recv() == "still here"
    within(120, talk())


def test_a_reload_leaves_open_sockets_alone(gateway, server):
    s = server()
    gw = gateway()
    route_to(gw, s.url, "/chat")

    async def talk():
        async with connect(gw) as ws:
            await asyncio.get_running_loop().run_in_executor(None, gw.reload)
            await ws.send("after")
            assert await ws.recv() == "after"
            async with connect(gw) as other:
                await other.send("new")
                assert await other.recv() == "new"
    within(120, talk())


HANDSHAKE = ("GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: {}\r\nSec-WebSocket-Version: 13\r\n"
             f"Sec-WebSocket-Key: {base64.b64encode(b'0123456789abcdef').decode()}\r\n\r\n")


def test_frames_that_come_with_the_handshake(gateway):
    """What either side sends in one piece with its head belongs to the socket."""
    def script(sock):
        read_head(sock)
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n\r\n\x81\x05early")
        data = b""
        while len(data) < 11:
            data += sock.recv(100)
        sock.sendall(data)
        while sock.recv(100):
            pass
    gw = gateway()
    route_to(gw, Scripted(script).url, "/chat")
    raw = Raw(gw.proxy_port).send(HANDSHAKE.format("WebSocket") + "\x81\x85\x00\x00\x00\x00hello")
    head = raw.until(b"\r\n\r\n").decode().lower()
    assert head.startswith("http/1.1 101") and "upgrade: websocket" in head and "connection: upgrade" in head
    assert raw.exactly(7) == b"\x81\x05early" and raw.exactly(11) == b"\x81\x85\x00\x00\x00\x00hello"
    raw.close()


@pytest.mark.parametrize("status", [200, 403, 426])
def test_refused(gateway, echo_server, status):
    """The service's no is an answer like any other, and the connection goes on."""
    gw = gateway()
    route_to(gw, echo_server.url, "/chat")
    raw = Raw(gw.proxy_port)
    for _ in range(2):
        got, headers, body = raw.send(HANDSHAKE.format("websocket").replace("/chat", f"/chat?status={status}&header=X-Why:no")).response()
        assert got == status and headers["x-why"] == "no" and b'"upgrade": "websocket"' in body

    async def talk():
        with pytest.raises(websockets.InvalidHandshake):
            await connect(gw, path=f"/chat?status={status}")
    within(60, talk())


def test_no_service_to_talk_to(gateway, ports):
    gw = gateway()
    route_to(gw, f"http://127.0.0.1:{ports.take()}", "/chat")
    status, headers, body = Raw(gw.proxy_port).send(HANDSHAKE.format("websocket")).response()
    assert status == 502 and "upgrade" not in headers and b"request_id" in body


@pytest.mark.parametrize("request_text", [
    HANDSHAKE.format("other"), HANDSHAKE.format("websocket").replace("HTTP/1.1", "HTTP/1.0"), HANDSHAKE.format("websocket, other")])
def test_other_upgrades_end_here(gateway, echo_server, request_text):
    gw = gateway()
    route_to(gw, echo_server.url, "/chat")
    assert Raw(gw.proxy_port).send(request_text).response()[0] == 200
    headers = echo_server.requests[-1]["headers"]
    assert headers["connection"] == "keep-alive" and "upgrade" not in headers
