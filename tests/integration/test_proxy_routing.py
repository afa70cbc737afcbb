"""From a request to a service: which route, which path, which host."""
import pytest

from proxy_support import Raw, create, route_to


def test_path_prefix_is_stripped_or_kept(gateway, echo_server):
    gw = gateway()
    service, _ = route_to(gw, echo_server.url + "/base", "/strip")
    create(gw, f"/services/{service['id']}/routes", paths=["/keep"], strip_path=False)
    assert gw.proxy.get("/strip/a/b?x=1&y=%20").json()["uri"] == "/base/a/b?x=1&y=%20"
    assert gw.proxy.get("/strip").json()["uri"] == "/base"
    assert gw.proxy.get("/strip/").json()["uri"] == "/base/"
    assert gw.proxy.get("/keep/a").json()["uri"] == "/base/keep/a"


def test_paths_are_normalised_and_escaped(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/s", strip_path=False)
    for sent, seen in {
        "/s/a//b": "/s/a/b", "/s/x/../y": "/s/y", "/s/./z": "/s/z", "/s/%41%7e": "/s/A~", "/s/%2f%e4": "/s/%2F%E4",
        '/s/"<>': "/s/%22%3C%3E", "/s/a?": "/s/a?", "/s/a?//../%41": "/s/a?//../%41", "/s/{x}|y": "/s/%7Bx%7D%7Cy",
    }.items():
        raw = Raw(gw.proxy_port).send(f"GET {sent} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        status, _, _ = raw.response()
        raw.close()
        assert status == 200
        assert echo_server.requests[-1]["uri"] == seen, sent


def test_host_header(gateway, echo_server):
    gw = gateway()
    service, _ = route_to(gw, echo_server.url, "/service-host")
    create(gw, f"/services/{service['id']}/routes", paths=["/client-host"], preserve_host=True)
    assert gw.proxy.get("/service-host", headers={"Host": "Api.Example:81"}).json()["headers"]["host"] == f"127.0.0.1:{echo_server.port}"
    assert gw.proxy.get("/client-host", headers={"Host": "Api.Example:81"}).json()["headers"]["host"] == "Api.Example:81"


def test_hosts_and_methods(gateway, echo_servers):
    one, two = echo_servers(), echo_servers()
    gw = gateway()
    route_to(gw, one.url, "/", hosts=["one.example"])
    route_to(gw, two.url, "/", hosts=["*.two.example"], methods=["POST"])
    assert gw.proxy.get("/", headers={"Host": "one.example"}).json()["port"] == one.port
    assert gw.proxy.post("/", headers={"Host": "a.two.example"}).json()["port"] == two.port
    assert gw.proxy.get("/", headers={"Host": "a.two.example"}).status_code == 404
    assert gw.proxy.get("/", headers={"Host": "none.example"}).status_code == 404


def test_absolute_form_and_http_1_0(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/s")
    raw = Raw(gw.proxy_port).send("GET http://elsewhere/s/x HTTP/1.1\r\nHost: elsewhere\r\nConnection: close\r\n\r\n")
    assert raw.response()[0] == 200
    assert echo_server.requests[-1]["uri"] == "/x"
    raw = Raw(gw.proxy_port).send("GET /s/old HTTP/1.0\r\n\r\n")
    status, headers, _ = raw.response()
    assert status == 200 and headers["connection"] == "close"
    assert echo_server.requests[-1]["uri"] == "/old" and echo_server.requests[-1]["version"] == "HTTP/1.1"


def test_edits_are_served_at_once(gateway, echo_servers):
    """Read your writes, on every worker."""
    one, two = echo_servers(), echo_servers()
    gw = gateway()
    service, route = route_to(gw, one.url, "/s")
    for turn in range(15):
        server = (one, two)[turn % 2]
        assert gw.admin.patch(f"/services/{service['id']}", json={"port": server.port}).status_code == 200
        path = f"/turn{turn}"
        assert gw.admin.patch(f"/routes/{route['id']}", json={"paths": [path]}).status_code == 200
        for _ in range(4):
            gw.proxy.close()  # another connection, maybe another worker
            assert gw.proxy.get(path).json()["port"] == server.port
            assert gw.proxy.get(f"/turn{turn - 1}").status_code == 404
    assert gw.admin.delete(f"/routes/{route['id']}").status_code == 204
    assert gw.proxy.get("/turn14").status_code == 404


def test_disabled_service_and_route_without_service(gateway, echo_server):
    gw = gateway()
    service, _ = route_to(gw, echo_server.url, "/s")
    create(gw, "/routes", paths=["/alone"])
    assert gw.proxy.get("/s").status_code == 200
    assert gw.admin.patch(f"/services/{service['id']}", json={"enabled": False}).status_code == 200
    answer = gw.proxy.get("/s")
    assert answer.status_code == 404 and answer.json()["message"] == "no Route matched with those values"
    answer = gw.proxy.get("/alone")
    assert answer.status_code == 503 and answer.json()["message"] == "no Service found with those values"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_https_only_route_redirects(gateway, echo_server, status):
    gw = gateway()
    route_to(gw, echo_server.url, "/s", protocols=["https"], https_redirect_status_code=status)
    answer = gw.proxy.request("GET", "/s/a?b=1", headers={"Host": "api.example:8000"})
    assert answer.status_code == status
    assert answer.headers["Location"] == "https://api.example/s/a?b=1"
    assert answer.content == b""
    assert echo_server.requests == []


def test_https_only_route_asks_for_upgrade(gateway, echo_server):
    gw = gateway(trusted_ips="127.0.0.1")
    route_to(gw, echo_server.url, "/s", protocols=["https"])
    answer = gw.proxy.get("/s")
    assert answer.status_code == 426
    assert answer.json()["message"] == "Please use HTTPS protocol"
    assert answer.headers["Upgrade"] == "TLS/1.2, HTTP/1.1" and "Upgrade" in answer.headers["Connection"]
    # A trusted peer says that its client came by https.
    assert gw.proxy.get("/s", headers={"X-Forwarded-Proto": "https"}).status_code == 200
    assert gw.proxy_tls.get("/s", verify=False).status_code == 200


def test_debug_headers(gateway, echo_server):
    gw = gateway(allow_debug_header="on")
    service, route = route_to(gw, echo_server.url, "/s", name="the-route")
    answer = gw.proxy.get("/s", headers={"Kong-Debug": "1"})
    assert answer.headers["Kong-Route-Id"] == route["id"] and answer.headers["Kong-Route-Name"] == "the-route"
    assert answer.headers["Kong-Service-Id"] == service["id"] and answer.headers["Kong-Service-Name"] == service["name"]
    assert "Kong-Route-Id" not in gw.proxy.get("/s").headers


def test_debug_headers_are_off_by_default(gateway, echo_server):
    gw = gateway()
    route_to(gw, echo_server.url, "/s")
    assert "Kong-Route-Id" not in gw.proxy.get("/s", headers={"Kong-Debug": "1"}).headers
