"""router_flavor = expressions, and GET /debug/route-match in all flavors."""
import pytest

from proxy_support import create, route_to

FAILED = "Router Expression failed validation: "
CLASSIC = "'methods', 'hosts', 'paths', 'headers', 'snis', 'sources' or 'destinations'"


def expression(gw, service, text, **fields):
    return create(gw, f"/services/{service['id']}/routes", expression=text, **fields)


def explain(gw, **args):
    answer = gw.admin.get("/debug/route-match", params=args)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_expressions_route_requests(gateway, echo_servers):
    one, two = echo_servers(), echo_servers()
    gw = gateway(router_flavor="expressions")
    a = create(gw, "/services", url=one.url)
    b = create(gw, "/services", url=two.url)
    expression(gw, a, 'http.path ^= "/a"')
    route = expression(gw, b, 'http.path ^= "/a" && any(http.headers.x_team) == "blue" && http.queries.v == "1"', priority=5)
    assert route["priority"] == 5 and route["expression"].startswith("http.path")
    assert gw.proxy.get("/a/x").json()["port"] == one.port
    assert gw.proxy.get("/a/x?v=1", headers={"X-Team": "blue"}).json()["port"] == two.port
    assert gw.proxy.get("/a/x?v=2", headers={"X-Team": "blue"}).json()["port"] == one.port
    assert gw.proxy.get("/b").status_code == 404
    # An edit counts at once.
    assert gw.admin.patch(f"/routes/{route['id']}", json={"expression": 'http.path == "/b"'}).status_code == 200
    assert gw.proxy.get("/a/x?v=1", headers={"X-Team": "blue"}).json()["port"] == one.port
    assert gw.proxy.get("/b").json()["port"] == two.port


def test_paths_are_stripped_by_what_matched(gateway, echo_server):
    gw = gateway(router_flavor="expressions")
    service = create(gw, "/services", url=echo_server.url + "/base")
    expression(gw, service, 'http.path ^= "/prefix"')
    expression(gw, service, r'http.path ~ r#"^/users/\d+"#')
    expression(gw, service, 'http.path == "/exact"')
    for sent, seen in {"/prefix/x": "/base/x", "/users/12/y": "/base/y", "/exact": "/base/exact"}.items():
        assert gw.proxy.get(sent).json()["uri"] == seen


def test_addresses_ports_and_protocols(gateway, echo_server):
    gw = gateway(router_flavor="expressions")
    service = create(gw, "/services", url=echo_server.url)
    expression(gw, service, "net.src.ip in 127.0.0.0/8 && net.dst.ip == 127.0.0.1 && http.path == \"/local\"")
    expression(gw, service, "net.src.ip not in 127.0.0.0/8 && http.path == \"/remote\"")
    expression(gw, service, f"net.dst.port == {gw.proxy_port} && http.path == \"/port\"")
    expression(gw, service, 'http.path == "/secure"', protocols=["https"])
    create(gw, f"/services/{service['id']}/routes", paths=["/sources"], sources=[{"ip": "10.0.0.0/8"}])
    assert gw.proxy.get("/local").status_code == 200
    assert gw.proxy.get("/remote").status_code == 404
    assert gw.proxy.get("/port").status_code == 200
    assert gw.proxy.get("/port", headers={"Host": "h:1"}).status_code == 404
    assert gw.proxy.get("/secure").status_code == 426
    assert gw.proxy.get("/sources").status_code == 404


@pytest.mark.parametrize("fields, message", [
    ({"expression": "http.foo == \"a\""}, FAILED + "Unknown LHS field"),
    ({"expression": "net.dst.port == \"a\""}, FAILED + "Type mismatch between the LHS and RHS values of predicate"),
    ({"expression": "http.path == \"/a\"", "paths": ["/a"]}, FAILED + f"cannot set 'expression' with {CLASSIC} simultaneously"),
    ({"expression": "http.path == \"/a\"", "regex_priority": 1}, FAILED + "cannot set 'regex_priority' with 'expression' simultaneously"),
    ({"paths": ["/a"], "priority": 1}, FAILED + f"cannot set 'priority' with {CLASSIC} simultaneously"),
    ({"expression": "http.path = \"/a\""}, FAILED + " --> 1:11\n  |\n1 | http.path = \"/a\"\n  |           ^---\n"),
])
def test_mistakes_are_refused(gateway, fields, message):
    gw = gateway(router_flavor="expressions")
    answer = gw.admin.post("/routes", json=fields)
    assert answer.status_code == 400
    body = answer.json()
    assert body["code"] == 2 and body["name"] == "schema violation"
    assert body["fields"]["@entity"][0].startswith(message)
    assert gw.admin.get("/routes").json()["data"] == []


def test_other_flavors_have_no_expressions(gateway):
    gw = gateway()
    answer = gw.admin.post("/routes", json={"paths": ["/a"], "expression": "http.path == \"/a\""})
    assert answer.status_code == 400 and answer.json()["fields"]["expression"] == "unknown field"


def test_route_match_says_what_would_happen(gateway, echo_server):
    gw = gateway()
    service, route = route_to(gw, echo_server.url + "/base", "/mock", name="mock", methods=["GET"])
    create(gw, f"/services/{service['id']}/plugins", name="request-termination", config={"status_code": 418})
    got = explain(gw, url=f"http://h:{gw.proxy_port}/mock/./x%20y?q=1")
    assert got["matched"] and got["route"]["id"] == route["id"] and got["service"]["id"] == service["id"]
    assert got["upstream_url"] == f"{echo_server.url}/base/x%20y?q=1"
    assert [p["name"] for p in got["plugins"]] == ["request-termination"] and got["plugins"][0]["scope"] == "service"
    got = explain(gw, url="/mock", method="POST")
    assert not got["matched"] and got["message"] == "no Route matched with those values"
    assert got["candidates"][0]["attribute"] == "methods" and got["candidates"][0]["reason"] == "none of the methods is POST"
    answer = gw.admin.get("/debug/route-match", params={"url": "ftp://h/"})
    assert answer.status_code == 400 and answer.json()["message"].startswith("invalid argument url: 'ftp://h/'")


def test_route_match_blames_a_part_of_an_expression(gateway, echo_server):
    gw = gateway(router_flavor="expressions")
    service = create(gw, "/services", url=echo_server.url)
    expression(gw, service, 'http.path ^= "/a" && (http.method == "PUT" || http.host == "h")')
    got = explain(gw, url="/a")
    assert not got["matched"]
    assert got["candidates"][0]["reason"] == 'this part does not hold: (http.method == "PUT" || http.host == "h")'
    assert explain(gw, url="/a", header="Host: h")["matched"]
