"""The gateway's error answers: formats, texts, and what nginx itself refuses."""
import re
import socket

import pytest

from proxy_support import Raw, route_to

NO_ROUTE = "no Route matched with those values"


def body_of(kind, message, request_id):
    return {
        "json": f'{{\n  "message":"{message}",\n  "request_id":"{request_id}"\n}}',
        "plain": f"{message}\nrequest_id: {request_id}\n",
        "xml": f'<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>{message}</message>\n'
               f"  <requestid>{request_id}</requestid>\n</error>\n",
        "html": f'<!doctype html>\n<html>\n  <head>\n    <meta charset="utf-8">\n    <title>Error</title>\n  </head>\n  <body>\n'
                f"    <h1>Error</h1>\n    <p>{message}.</p>\n    <p>request_id: {request_id}</p>\n  </body>\n</html>\n",
    }[kind]


TYPES = {"json": "application/json; charset=utf-8", "plain": "text/plain; charset=utf-8", "xml": "application/xml; charset=utf-8",
         "html": "text/html; charset=utf-8"}

ACCEPT = [
    (None, "json"), ("*/*", "json"), ("application/*", "json"), ("text/*", "plain"), ("text/html", "html"), ("application/xml", "xml"),
    ("text/plain", "plain"), ("image/png", "json"), ("text/html;q=0.5, application/xml;q=0.8", "xml"),
    ("text/plain, text/html", "plain"), ("text/html;level=1;q=0.4,text/plain;q=0.35", "html"), ("image/png,text/html;q=0.1", "html"),
    ("TEXT/HTML", "html"), ("text/html;q=0, text/plain;q=0.1", "plain"), (",,;q=1,text/html", "html"), ("text/html;q=x", "json"),
]


@pytest.fixture(scope="module")
def node(request):
    """One node for all that only asks."""
    import support
    ports = support.Ports()
    gw = support.Gateway(ports, {})
    gw.start()
    yield gw
    gw.close()
    ports.release()


@pytest.mark.parametrize("accept, kind", ACCEPT)
def test_no_route_by_accept(node, accept, kind):
    answer = node.proxy.get("/none", headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == TYPES[kind]
    assert answer.text == body_of(kind, NO_ROUTE, answer.headers["X-Kong-Request-Id"])
    assert answer.headers["Server"] == "kong/3.9.1"


def test_head_has_no_body(node):
    raw = Raw(node.proxy_port).send("HEAD /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    status, headers, _ = raw.response(head=True)
    assert status == 404 and int(headers["content-length"]) > 50
    assert raw.closed()


def refused(node, request):
    raw = Raw(node.proxy_port).send(request)
    status, headers, body = raw.response()
    assert headers["server"] == "kong/3.9.1"
    return status, headers, body.decode()


def test_bad_requests_are_answered_in_our_form(node):
    for request, status, message in [
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "Bad request"),
        ("GET / HTTP/1.1\r\n\r\n", 400, "Bad request"),
        ("\x01\x02\r\n\r\n", 400, "Bad request"),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n", 400, "Bad request"),
        ("GET / HTTP/9.1\r\nHost: h\r\n\r\n", 505, "HTTP version not supported"),
        ("GET /" + "x" * 40000 + " HTTP/1.1\r\nHost: h\r\n\r\n", 414, "URI too long"),
        ("GET / HTTP/1.1\r\nHost: h\r\nX-Big: " + "y" * 40000 + "\r\n\r\n", 400, "Request header or cookie too large"),
    ]:
        got, headers, body = refused(node, request)
        assert (got, headers["content-type"]) == (status, TYPES["plain"]), request[:40]
        assert body == body_of("plain", message, headers["x-kong-request-id"])


def test_errors_of_nginx_look_at_accept_and_content_type(node):
    start = "GET / HTTP/1.1\r\nHost: h\r\n"
    status, headers, body = refused(node, start + "Accept: application/json\r\nContent-Length: x\r\n\r\n")
    assert status == 400 and body == body_of("json", "Bad request", headers["x-kong-request-id"])
    status, headers, body = refused(node, start + "Content-Type: application/xml\r\nContent-Length: x\r\n\r\n")
    assert status == 400 and body == body_of("xml", "Bad request", headers["x-kong-request-id"])


def test_body_too_large(gateway, echo_server):
    gw = gateway(nginx_http_client_max_body_size="10")
    route_to(gw, echo_server.url)
    answer = gw.proxy.post("/s", data="x" * 11)
    assert answer.status_code == 413
    assert answer.json()["message"] == "Payload too large"


def test_error_default_type(gateway):
    gw = gateway(error_default_type="application/json")
    raw = Raw(gw.proxy_port).send("GET / HTTP/1.1\r\n\r\n")
    status, headers, _ = raw.response()
    assert status == 400 and headers["content-type"] == TYPES["json"]


def test_refused_connection_is_502(gateway, ports):
    gw = gateway()
    route_to(gw, f"http://127.0.0.1:{ports.take()}", service={"retries": 0})
    for accept, kind in (("text/html", "html"), ("application/json", "json")):
        answer = gw.proxy.get("/s", headers={"Accept": accept})
        assert answer.status_code == 502 and answer.headers["Content-Type"] == TYPES[kind]
        assert answer.text == body_of(kind, "An invalid response was received from the upstream server",
                                      answer.headers["X-Kong-Request-Id"])
        assert answer.headers["Server"] == "kong/3.9.1"


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon here", b"HTTP/1.1 200 OK\r\nA: \x00\r\n\r\n", b""])
def test_broken_answers_are_502(gateway, ports, answer):
    gw = gateway()
    with socket.create_server(("127.0.0.1", 0)) as server:
        route_to(gw, f"http://127.0.0.1:{server.getsockname()[1]}", service={"retries": 0})
        raw = Raw(gw.proxy_port).send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n")
        client, _ = server.accept()
        client.recv(65536)
        client.sendall(answer)
        client.close()
        status, headers, body = raw.response()
    assert status == 502
    assert "An invalid response was received from the upstream server" in body.decode()


def test_slow_service_is_504(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, service={"read_timeout": 200, "retries": 0})
    answer = gw.proxy.get("/s?delay=5")
    assert answer.status_code == 504
    assert answer.json()["message"] == "The upstream server is timing out"


def test_errors_of_the_service_pass_through(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url)
    for status in (400, 404, 418, 500, 502, 503, 504):
        answer = gw.proxy.get(f"/s?status={status}")
        assert answer.status_code == status
        assert answer.json()["method"] == "GET"
        assert re.fullmatch(r"\d+", answer.headers["X-Kong-Upstream-Latency"])
    assert len(echo_server.requests) == 7  # none was tried again


def test_unknown_name(gateway):
    gw = gateway()
    route_to(gw, "http://no-such-host.invalid", service={"retries": 0})
    answer = gw.proxy.get("/s")
    assert answer.status_code in (500, 503)
    if answer.status_code == 503:
        assert answer.json()["message"] == "name resolution failed"
