"""request-termination on a real node."""
import pytest

from proxy_support import create, route_to


@pytest.fixture
def terminated(gateway, echo_server):
    """terminated(config): a node whose route answers so; returns the node."""

    def make(**config):
        gw = gateway()
        gw.echo = echo_server
        service, gw.route = route_to(gw, echo_server.url)
        gw.plugin = create(gw, f"/services/{service['id']}/plugins", name="request-termination", config=config)
        return gw

    return make


def test_default(terminated):
    gw = terminated()
    assert gw.plugin["config"] == {"status_code": 503, "message": None, "content_type": None, "body": None, "echo": False, "trigger": None}
    answer = gw.proxy.get("/s")
    assert answer.status_code == 503
    assert answer.text == '{"message":"Service unavailable"}'
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Server"] == "kong/3.9.1" and "X-Kong-Response-Latency" in answer.headers and "Via" not in answer.headers
    assert gw.echo.requests == []


@pytest.mark.parametrize("config, status, body, content_type", [
    ({"status_code": 403, "message": 'a "quoted" message'}, 403, '{"message":"a \\"quoted\\" message"}', "application/json; charset=utf-8"),
    ({"status_code": 404}, 404, '{"message":"Not found"}', "application/json; charset=utf-8"),
    ({"status_code": 429}, 429, "", None),
    ({"status_code": 200, "body": "<html/>", "content_type": "text/html"}, 200, "<html/>", "text/html; charset=UTF-8"),
    ({"status_code": 200, "body": "[1]"}, 200, "[1]", "application/json; charset=utf-8"),
])
def test_answers(terminated, config, status, body, content_type):
    answer = terminated(**config).proxy.post("/s", data="x" * 100000)
    assert (answer.status_code, answer.text, answer.headers.get("Content-Type")) == (status, body, content_type)
    assert answer.headers["Content-Length"] == str(len(body))


def test_trigger(terminated):
    gw = terminated(trigger="X-Stop")
    assert gw.proxy.get("/s").status_code == 200
    assert gw.proxy.get("/s", headers={"x-stop": "1"}).status_code == 503
    assert gw.proxy.get("/s?X-Stop=").status_code == 503
    assert gw.proxy.get("/s?a=1&X%2DStop&b").status_code == 503
    assert gw.proxy.get("/s?a=X-Stop&X-Stopped=1").status_code == 200


def test_echo(terminated):
    gw = terminated(echo=True, status_code=200)
    answer = gw.proxy.post("/s/x?a=1&a=2&flag&b=%20c", data='{"k":1}', headers={"X-Mine": "v", "Content-Type": "application/json"}).json()
    seen = answer["request"]
    assert seen["method"] == "POST" and seen["path"] == "/s/x" and seen["scheme"] == "http" and seen["port"] == gw.proxy_port
    assert seen["query"] == {"a": ["1", "2"], "flag": True, "b": " c"}
    assert seen["headers"]["x-mine"] == "v" and seen["raw_body"] == '{"k":1}' and seen["body"] == {"k": 1}
    assert answer["matched_route"]["id"] == gw.route["id"]
    assert answer["matched_service"]["id"] == gw.route["service"]["id"]


def test_echo_of_a_body_that_comes_late(terminated):
    from proxy_support import Raw
    gw = terminated(echo=True, status_code=200)
    raw = Raw(gw.proxy_port).send("POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(10):
        raw.send("y" * 10000)
    assert b'"raw_body":"' + b"y" * 100000 + b'"' in raw.response()[2]
    assert raw.send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n").response()[0] == 200


@pytest.mark.parametrize("config, error", [
    ({"message": "m", "body": "b"}, "message cannot be used with content_type or body"),
    ({"content_type": "text/plain"}, "content_type requires a body"),
    ({"echo": True, "body": "b"}, "echo cannot be used with content_type and body"),
])
def test_combinations_that_are_refused(gateway, echo_server, config, error):
    gw = gateway()
    answer = gw.admin.post("/plugins", json={"name": "request-termination", "config": config})
    assert answer.status_code == 400
    assert error in answer.text


def test_the_most_specific_instance_answers(gateway, echo_server):
    gw = gateway()
    service, route = route_to(gw, echo_server.url)
    make = lambda path, text: create(gw, path, name="request-termination", config={"status_code": 400, "message": text})  # noqa: E731
    ids = []
    for path, text in [("/plugins", "global"), (f"/services/{service['id']}/plugins", "service"), (f"/routes/{route['id']}/plugins", "route")]:
        ids.append((f"/plugins/{make(path, text)['id']}", text))
        assert gw.proxy.get("/s").json() == {"message": text}
    assert gw.admin.patch(ids[2][0], json={"enabled": False}).status_code == 200
    assert gw.proxy.get("/s").json() == {"message": "service"}
    assert gw.admin.delete(ids[1][0]).status_code == 204
    assert gw.proxy.get("/s").json() == {"message": "global"}
    assert gw.admin.delete(ids[0][0]).status_code == 204
    assert gw.proxy.get("/s").status_code == 200
