"""The PROXY protocol on listeners, text (v1) and binary (v2): the client's address is what the load balancer in front says."""
import http.client
import socket
import struct

import pytest

import support
from proxy_support import Raw, create, route_to
from tls_support import client_context

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
REQUEST = b"GET /s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def v2(source, port=1111, tlvs=b"", command=1, kind=1):
    """The binary head: command 1 speaks for a client, 0 for the load balancer itself."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    there = "2001:db8::99" if family == socket.AF_INET6 else "5.6.7.8"
    addresses = socket.inet_pton(family, source) + socket.inet_pton(family, there) + struct.pack(">HH", port, 2222)
    block = (addresses if kind else b"") + tlvs
    code = (0x20 if family == socket.AF_INET6 else 0x10) | kind if kind else 0
    return SIGNATURE + bytes([0x20 | command, code]) + struct.pack(">H", len(block)) + block


@pytest.fixture(scope="module")
def node():
    ports = support.Ports()
    plain, tls = ports.take(), ports.take()
    gw = support.Gateway(ports, {"proxy_listen": f"127.0.0.1:{plain} proxy_protocol, 127.0.0.1:{tls} ssl http2 proxy_protocol",
                                 "real_ip_header": "proxy_protocol", "trusted_ips": "127.0.0.1"})
    gw.allow_log("broken header")
    gw.plain, gw.tls = plain, tls
    gw.start()
    gw.echo = support.EchoServer(ports.take())
    route_to(gw, gw.echo.url)
    _, refused = route_to(gw, gw.echo.url, "/some")
    create(gw, f"/routes/{refused['id']}/plugins", name="ip-restriction", config={"allow": ["192.0.2.0/24", "2001:db8::/32"]})
    yield gw
    gw.echo.close()
    gw.close()
    ports.release()


CLIENTS = [
    (b"PROXY TCP4 192.0.2.7 5.6.7.8 1111 2222\r\n", "192.0.2.7"),
    (b"PROXY TCP6 2001:db8::7 2001:db8::99 1111 2222\r\n", "2001:db8::7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    (v2("192.0.2.8"), "192.0.2.8"),
    (v2("2001:db8::8"), "2001:db8::8"),
    (v2("192.0.2.9", tlvs=b"\x01\x00\x02h2" + b"\x04\x00\x03\0\0\0"), "192.0.2.9"),
    (v2("192.0.2.9", command=0, kind=0), "127.0.0.1"),
]
IDS = ["v1 IPv4", "v1 IPv6", "v1 unknown", "v1 unknown with addresses", "v2 IPv4", "v2 IPv6", "v2 with extensions", "v2 of the balancer"]


@pytest.mark.parametrize("head,client", CLIENTS, ids=IDS)
def test_the_client_is_the_one_that_is_named(node, head, client):
    status, _, body = Raw(node.plain).send(head + REQUEST).response()
    assert status == 200
    seen = node.echo.requests[-1]["headers"]
    assert seen["x-real-ip"] == client and seen["x-forwarded-for"] == "127.0.0.1"


@pytest.mark.parametrize("head,client", CLIENTS[3:6], ids=IDS[3:6])
def test_before_tls(node, head, client):
    with socket.create_connection(("127.0.0.1", node.tls), timeout=30) as plain:
        plain.sendall(head)
        with client_context(alpn=["http/1.1"]).wrap_socket(plain, server_hostname="h") as tls:
            tls.sendall(REQUEST)
            answer = http.client.HTTPResponse(tls)
            answer.begin()
            assert answer.status == 200 and answer.read()
    seen = node.echo.requests[-1]["headers"]
    assert seen["x-real-ip"] == client and seen["x-forwarded-proto"] == "https"


@pytest.mark.parametrize("head,status", [(v2("192.0.2.1"), 200), (v2("198.51.100.1"), 403), (b"PROXY TCP4 198.51.100.1 5.6.7.8 1 2\r\n", 403),
                                         (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", 200), (v2("2001:db9::1"), 403)])
def test_plugins_see_it(node, head, status):
    assert Raw(node.plain).send(head + REQUEST.replace(b"/s", b"/some")).response()[0] == status


def test_in_pieces_and_for_all_requests_of_a_connection(node):
    for head in (CLIENTS[0][0], v2("192.0.2.7", tlvs=b"\x04\x00\x40" + bytes(64))):
        raw = Raw(node.plain)
        raw.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.send(head + REQUEST[:10]).send(REQUEST[10:].replace(b"close", b"keep-alive"))
        assert raw.response()[0] == 200
        assert raw.send(REQUEST).response()[0] == 200
        assert [r["headers"]["x-real-ip"] for r in node.echo.requests[-2:]] == ["192.0.2.7"] * 2


@pytest.mark.parametrize("head", [
    b"", b"PROXY TCP4 192.0.2.7\r\n", b"PROXY TCP4 a b c d\r\n", b"PROXY TCP5 192.0.2.7 5.6.7.8 1111 2222\r\n", b"PROXY " + b"x" * 200 + b"\r\n",
    SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12), SIGNATURE + b"\x21\x11\x00\x04" + bytes(4)])
def test_what_is_no_such_head_is_no_request(node, head):
    """Not one byte is answered, and the service hears nothing."""
    before = len(node.echo.requests)
    raw = Raw(node.plain).send(head + REQUEST)
    try:
        assert raw.closed()
    except ConnectionResetError:
        pass
    assert len(node.echo.requests) == before


def test_only_a_trusted_peer_is_believed(gateway, ports, echo_server):
    port = ports.take()
    gw = gateway(proxy_listen=f"127.0.0.1:{port} proxy_protocol", real_ip_header="proxy_protocol", trusted_ips="10.0.0.0/8")
    route_to(gw, echo_server.url)
    assert Raw(port).send(v2("192.0.2.7") + REQUEST).response()[0] == 200
    assert echo_server.requests[-1]["headers"]["x-real-ip"] == "127.0.0.1"
