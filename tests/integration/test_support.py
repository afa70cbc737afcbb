"""The servers that tests put behind a node do what the tests rely on."""
import requests


def test_echo_server(echo_server):
    r = requests.post(echo_server.url + "/a/b?x=1&chunked=1&header=X-A:1", data=b"hi", headers={"X-B": "2"})
    seen = r.json()
    assert (seen["method"], seen["path"], seen["body"], seen["headers"]["x-b"]) == ("POST", "/a/b", "hi", "2")
    assert r.headers["X-A"] == "1" and r.headers["Transfer-Encoding"] == "chunked"
    assert len(requests.get(echo_server.url + "/?size=100000").content) == 100000
    assert requests.get(echo_server.url + "/?status=418").status_code == 418
    assert len(echo_server.requests) == 3


def test_httpbin(httpbin):
    assert requests.get(httpbin + "/anything").json()["url"] == httpbin + "/anything"


def test_ports_are_distinct(ports):
    taken = [ports.take() for _ in range(20)]
    assert len(set(taken)) == 20
