"""Ten thousand targets: made, picked from by every algorithm, edited while requests go on."""
import collections
import http.client
import json
import threading

import pytest

from proxy_support import route_to, upstream
from support import Load
from test_proxy_balancing import counts

MANY = 10000


def fill(gw, name, real):
    """MANY targets of weight 0, but for `real`; eight clients, so that they share commits."""
    problems, numbers = [], iter(range(MANY))
    lock = threading.Lock()

    def client():
        connection = http.client.HTTPConnection("127.0.0.1", gw.admin_port, timeout=60)
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            target = {"target": f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}:80", "weight": 0}
            if n < len(real):
                target = {"target": real[n], "weight": 100}
            connection.request("POST", f"/upstreams/{name}/targets", json.dumps(target), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                problems.append(text)
    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems, problems[:3]


@pytest.fixture
def many(gateway, echo_servers):
    servers = [echo_servers() for _ in range(4)]
    gw = gateway()
    upstream(gw, "many", {})
    fill(gw, "many", [f"127.0.0.1:{s.port}" for s in servers])
    route_to(gw, "http://many")
    return gw, servers


def test_many_targets(many):
    gw, servers = many
    ports = {s.port for s in servers}
    for change in ({}, {"algorithm": "least-connections"}, {"algorithm": "latency"}):
        assert gw.admin.patch("/upstreams/many", json=change).status_code == 200
        found = counts(gw, 60)
        assert set(found) <= ports and len(found) >= (4 if not change else 1)
    assert gw.admin.patch("/upstreams/many", json={"hash_on": "header", "hash_on_header": "X-Key"}).status_code == 200
    places = collections.Counter(gw.proxy.get("/s", headers={"X-Key": str(i)}).json()["port"] for i in range(60))
    assert set(places) == ports
    # Edits while requests go on: none fails, and the last one counts at once.
    with Load(gw.proxy_port, "/s") as load:
        for i in range(10):
            assert gw.admin.patch(f"/upstreams/many/targets/127.0.0.1:{servers[0].port}", json={"weight": i % 2 * 100}).status_code == 200
            load.wait(20)
        assert gw.admin.delete(f"/upstreams/many/targets/127.0.0.1:{servers[1].port}").status_code == 204
        assert set(counts(gw, 60)) <= ports - {servers[1].port}
