"""ip-restriction on a real node, for requests and for streams."""
import pytest

from proxy_support import create, route_to
from stream_support import TcpEcho, ask


@pytest.fixture
def restricted(gateway, echo_server):
    """restricted(config): a node whose route is restricted so, and which believes 127.0.0.1 about X-Real-IP."""

    def make(**config):
        gw = gateway(trusted_ips="127.0.0.1")
        service, gw.route = route_to(gw, echo_server.url)
        gw.plugin = create(gw, f"/services/{service['id']}/plugins", name="ip-restriction", config=config)
        return gw

    return make


def status(gw, address):
    return gw.proxy.get("/s", headers={"X-Real-IP": address}).status_code


def test_lists(restricted):
    gw = restricted(allow=["10.0.0.0/9", "192.0.2.7", "2001:db8::/33"], deny=["10.1.2.3", "10.64.0.0/10"])
    assert gw.plugin["protocols"] == ["http", "https", "tcp", "tls", "grpc", "grpcs"]
    for address in ("10.0.0.1", "10.63.255.255", "192.0.2.7", "2001:db8:7fff::1"):
        assert status(gw, address) == 200, address
    for address in ("10.1.2.3", "10.64.0.1", "10.128.0.1", "192.0.2.8", "127.0.0.1", "2001:db8:8000::1"):
        assert status(gw, address) == 403, address
    answer = gw.proxy.get("/s", headers={"X-Real-IP": "192.0.2.8"})
    assert answer.json()["message"] == "IP address not allowed: 192.0.2.8" and answer.json()["request_id"]


def test_deny_alone(restricted):
    gw = restricted(deny=["192.0.2.0/24"], status=418, message="no tea")
    assert status(gw, "192.0.3.1") == 200
    answer = gw.proxy.get("/s", headers={"X-Real-IP": "192.0.2.8"})
    assert (answer.status_code, answer.json()["message"]) == (418, "no tea")


@pytest.mark.parametrize("wrong", [0, -1, 200, 600, 1e300, -1e300])
def test_a_status_that_is_no_error(restricted, wrong):
    gw = restricted(deny=["192.0.2.8"], status=wrong)
    answer = gw.proxy.get("/s", headers={"X-Real-IP": "192.0.2.8"})
    assert (answer.status_code, answer.json()["message"]) == (500, "An unexpected error occurred")
    assert status(gw, "192.0.2.9") == 200


@pytest.mark.parametrize("config, field", [({}, "@entity"), ({"allow": ["10.0.0.0/33"]}, "config"), ({"deny": ["nobody"]}, "config")])
def test_refused_configurations(gateway, config, field):
    gw = gateway()
    answer = gw.admin.post("/plugins", json={"name": "ip-restriction", "config": config})
    assert answer.status_code == 400 and field in answer.json()["fields"], answer.text


def test_streams(gateway, ports):
    port = ports.take()
    gw = gateway(stream_listen=f"127.0.0.1:{port} proxy_protocol", trusted_ips="127.0.0.1")
    server = TcpEcho(ports.take(), "a")
    try:
        service = create(gw, "/services", protocol="tcp", host="127.0.0.1", port=server.port)
        route = create(gw, "/routes", protocols=["tcp"], destinations=[{"port": port}], service={"id": service["id"]})
        create(gw, f"/routes/{route['id']}/plugins", name="ip-restriction", config={"deny": ["192.0.2.7"]})
        create(gw, "/plugins", name="ip-restriction", config={"deny": ["127.0.0.0/8", "192.0.2.8"]})  # the route's own comes first
        assert ask(port, f"PROXY TCP4 192.0.2.8 127.0.0.1 1234 {port}\r\nhi") == "a:hi"
        assert ask(port, f"PROXY TCP4 192.0.2.7 127.0.0.1 1234 {port}\r\nhi") == ""
        gw.wait_log("plugin ip-restriction closed the connection")
        assert server.connections == 1
    finally:
        server.close()
