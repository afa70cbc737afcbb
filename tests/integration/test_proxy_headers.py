"""Headers: what the service sees, what the client sees."""
import re

from proxy_support import Raw, route_to

ID = re.compile(r"[0-9a-f]{32}")
OURS = ("Via", "X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency", "X-Kong-Request-Id")


def test_headers_to_the_service(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/pre")
    answer = gw.proxy.get("/pre/x?q=1", headers={"Host": "Api.Example:99", "X-Custom": "kept"})
    seen = answer.json()["headers"]
    assert seen["x-forwarded-for"] == "127.0.0.1" and seen["x-real-ip"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http" and seen["x-forwarded-host"] == "api.example"
    assert seen["x-forwarded-port"] == str(gw.proxy_port)
    assert seen["x-forwarded-path"] == "/pre/x" and seen["x-forwarded-prefix"] == "/pre"
    assert seen["connection"] == "keep-alive" and seen["via"] == "1.1 kong/3.9.1"
    assert seen["x-custom"] == "kept"
    assert ID.fullmatch(seen["x-kong-request-id"]) and seen["x-kong-request-id"] == answer.headers["X-Kong-Request-Id"]


def test_untrusted_clients_cannot_set_forwarded_headers(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/", strip_path=False)
    seen = gw.proxy.get("/x", headers={
        "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "evil", "X-Forwarded-Port": "1",
        "X-Forwarded-Path": "/evil", "X-Forwarded-Prefix": "/evil", "X-Real-IP": "5.6.7.8", "X-Kong-Request-Id": "mine",
        "Via": "1.0 fred"}).json()["headers"]
    assert seen["x-forwarded-for"] == "1.2.3.4, 127.0.0.1" and seen["x-real-ip"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http" and seen["x-forwarded-host"] == "127.0.0.1"
    assert seen["x-forwarded-port"] == str(gw.proxy_port) and seen["x-forwarded-path"] == "/x"
    assert "x-forwarded-prefix" not in seen
    assert ID.fullmatch(seen["x-kong-request-id"])
    assert seen["via"] == "1.0 fred, 1.1 kong/3.9.1"


def test_trusted_proxies_are_believed(gateway, echo_server):
    gw = gateway(trusted_ips="127.0.0.0/8", real_ip_header="X-Forwarded-For")
    route_to(gw, echo_server.url, "/pre")
    seen = gw.proxy.get("/pre/x", headers={
        "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "api.example", "X-Forwarded-Port": "443",
        "X-Forwarded-Path": "/outer/pre/x", "X-Forwarded-Prefix": "/outer"}).json()["headers"]
    assert seen["x-forwarded-for"] == "1.2.3.4, 127.0.0.1" and seen["x-real-ip"] == "1.2.3.4"
    assert seen["x-forwarded-proto"] == "https" and seen["x-forwarded-host"] == "api.example"
    assert seen["x-forwarded-port"] == "443" and seen["x-forwarded-path"] == "/outer/pre/x" and seen["x-forwarded-prefix"] == "/outer"


def test_port_maps(gateway, echo_server, ports):
    port = ports.take()
    gw = gateway(proxy_listen=f"127.0.0.1:{port}", port_maps=f"80:{port}")
    gw.proxy.base = f"http://127.0.0.1:{port}"
    route_to(gw, echo_server.url, "/s")
    assert gw.proxy.get("/s").json()["headers"]["x-forwarded-port"] == "80"


def test_hop_by_hop_headers_stay_here(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/s")
    sent = ("GET /s HTTP/1.1\r\nHost: h\r\nConnection: close, X-One ,x-two\r\nX-One: 1\r\nX-Two: 2\r\nX-Three: 3\r\nKeep-Alive: 5\r\n"
            "Proxy: evil\r\nProxy-Connection: x\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\n"
            "X-Kong-Request-Debug: *\r\nX-Kong-Request-Debug-Token: t\r\nX-Kong-Request-Debug-Log: true\r\n\r\n")
    assert Raw(gw.proxy_port).send(sent).response()[0] == 200
    seen = echo_server.requests[-1]["headers"]
    assert seen["x-three"] == "3" and seen["te"] == "trailers" and seen["connection"] == "keep-alive"
    assert {"x-one", "x-two", "keep-alive", "proxy", "proxy-connection", "upgrade"} & set(seen) == set()
    assert not [name for name in seen if "debug" in name]


def test_repeated_headers_keep_their_order(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/s")
    sent = ("GET /s HTTP/1.1\r\nHost: h\r\nCookie: a=1\r\nX-R: 1\r\nCookie: b=2\r\nX-R: 2\r\nX-Forwarded-For: 1.1.1.1\r\n"
            "X-Forwarded-For: 2.2.2.2\r\nConnection: close\r\n\r\n")
    assert Raw(gw.proxy_port).send(sent).response()[0] == 200
    pairs = [(k.lower(), v) for k, v in echo_server.requests[-1]["header_list"]]
    assert [v for k, v in pairs if k == "x-r"] == ["1", "2"]
    assert [v for k, v in pairs if k == "cookie"] == ["a=1", "b=2"]
    assert [v for k, v in pairs if k == "x-forwarded-for"] == ["1.1.1.1, 2.2.2.2, 127.0.0.1"]


def test_headers_to_the_client(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/s")
    answer = gw.proxy.get("/s?header=Via:1.0 fred&header=X-Mine:1&header=Server:own&delay=0.15")
    assert answer.headers["Via"] == "1.0 fred, 1.1 kong/3.9.1"
    assert answer.headers["X-Mine"] == "1"
    assert 150 <= int(answer.headers["X-Kong-Upstream-Latency"]) < 20000
    assert int(answer.headers["X-Kong-Proxy-Latency"]) >= 0
    assert ID.fullmatch(answer.headers["X-Kong-Request-Id"])
    assert "own" in answer.headers["Server"] and "kong" not in answer.headers["Server"]
    assert "X-Kong-Response-Latency" not in answer.headers and "X-Kong-Upstream-Status" not in answer.headers
    ids = {gw.proxy.get("/s").headers["X-Kong-Request-Id"] for _ in range(300)}
    assert len(ids) == 300


def test_headers_of_our_own_answers(gateway):
    gw = gateway()
    answer = gw.proxy.get("/nothing")
    assert answer.headers["Server"] == "kong/3.9.1"
    assert int(answer.headers["X-Kong-Response-Latency"]) >= 0
    assert ID.fullmatch(answer.headers["X-Kong-Request-Id"])
    assert not {"Via", "X-Kong-Upstream-Latency", "X-Kong-Proxy-Latency"} & set(answer.headers)


def test_service_hop_by_hop_headers_are_dropped(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/s")
    answer = gw.proxy.get("/s?header=Connection:X-Drop,keep-alive&header=X-Drop:1&header=X-Keep:1&header=Upgrade:h2c"
                          "&header=Trailer:X-T&header=Keep-Alive:timeout%3D5")
    assert answer.headers["X-Keep"] == "1"
    assert not {"X-Drop", "Upgrade", "Trailer", "Keep-Alive"} & set(answer.headers)


def test_headers_setting(gateway, echo_server):
    gw = gateway(headers="X-Kong-Upstream-Status, X-Kong-Proxy-Latency")
    route_to(gw, echo_server.url, "/s")
    answer = gw.proxy.get("/s?status=207")
    assert answer.headers["X-Kong-Upstream-Status"] == "207" and "X-Kong-Proxy-Latency" in answer.headers
    assert not {"Via", "X-Kong-Upstream-Latency", "X-Kong-Request-Id"} & set(answer.headers)
    missed = gw.proxy.get("/nothing")
    assert not {"Server", "X-Kong-Response-Latency", "X-Kong-Request-Id", "X-Kong-Upstream-Status"} & set(missed.headers)


def test_headers_off(gateway, echo_server):
    gw = gateway(headers="off", headers_upstream="off")
    route_to(gw, echo_server.url, "/s")
    answer = gw.proxy.get("/s", headers={"X-Kong-Request-Id": "client"})
    assert not set(OURS) & set(answer.headers)
    assert answer.json()["headers"]["x-kong-request-id"] == "client"
    assert "Server" not in gw.proxy.get("/nothing").headers
    assert ID.fullmatch(gw.proxy.get("/nothing").json()["request_id"])


def test_request_id_in_the_access_log(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/s")
    request_id = gw.proxy.get("/s").headers["X-Kong-Request-Id"]
    gw.wait_log(rf'"GET /s HTTP/1.1" 200 .* kong_request_id: "{request_id}"', "access")
