"""The health of targets, as the Admin API shows and sets it, and what the proxy makes of it."""
import uuid

import pytest

from proxy_support import create, route_to, upstream
from test_proxy_balancing import counts

CHECKED = {"passive": {"unhealthy": {"http_failures": 1}}}


@pytest.fixture
def pool(gateway, echo_servers):
    """A node with the upstream "pool" of two servers behind /s."""
    a, b = echo_servers(), echo_servers()
    gw = gateway()
    upstream(gw, "pool", {f"127.0.0.1:{a.port}": 10, f"127.0.0.1:{b.port}": 30}, healthchecks=CHECKED)
    route_to(gw, "http://pool")
    return gw, a, b


def put(gw, path, status=204):
    answer = gw.admin.put(path)
    assert answer.status_code == status, f"PUT {path} -> {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def health(gw, query="", name="pool"):
    answer = gw.admin.get(f"/upstreams/{name}/health{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_target(gw, name="pool"):
    return {t["target"]: t["health"] for t in health(gw, name=name)["data"]}


def test_shape(pool):
    gw, a, b = pool
    body = health(gw)
    assert set(body) == {"data", "next", "node_id"} and body["next"] is None and uuid.UUID(body["node_id"])
    first = body["data"][0]
    assert first["target"] == f"127.0.0.1:{b.port}", "newest first"
    assert {k: first[k] for k in ("health", "weight")} == {"health": "HEALTHY", "weight": 30} and uuid.UUID(first["id"])
    assert first["data"] == {
        "host": "127.0.0.1", "port": b.port, "dns": "A", "nodeWeight": 30, "weight": {"total": 30, "available": 30, "unavailable": 0},
        "addresses": [{"ip": "127.0.0.1", "port": b.port, "weight": 30, "health": "HEALTHY"}]}
    page = health(gw, "?size=1")
    assert (len(page["data"]), page["offset"], page["next"]) == (1, "1", "/upstreams/pool/health?offset=1")
    assert [t["target"] for t in health(gw, "?offset=1")["data"]] == [f"127.0.0.1:{a.port}"]
    assert gw.admin.get("/upstreams/pool/health?size=0").json()["code"] == 9
    assert gw.admin.get("/upstreams/none/health").json() == {"message": "Not found"}


def test_unhealthy_targets_get_no_traffic(pool):
    """At once on every worker; all unhealthy is a 503; what is healthy again gets its share again."""
    gw, a, b = pool
    one, two = (f"/upstreams/pool/targets/127.0.0.1:{s.port}" for s in (a, b))
    put(gw, f"{two}/unhealthy")
    assert counts(gw, 20) == {a.port: 20}
    assert by_target(gw) == {f"127.0.0.1:{a.port}": "HEALTHY", f"127.0.0.1:{b.port}": "UNHEALTHY"}
    put(gw, f"{two}/unhealthy")
    put(gw, f"{one}/unhealthy")
    answer = gw.proxy.get("/s")
    assert (answer.status_code, answer.json()["message"]) == (503, "failure to get a peer from the ring-balancer")
    put(gw, f"{two}/healthy")
    assert counts(gw, 20) == {b.port: 20}
    put(gw, f"{one}/healthy")
    assert set(counts(gw, 60)) == {a.port, b.port}


def test_by_address(pool):
    gw, a, b = pool
    target = f"/upstreams/pool/targets/127.0.0.1:{a.port}"
    put(gw, f"{target}/127.0.0.1:{a.port}/unhealthy")
    assert counts(gw, 8) == {b.port: 8}
    put(gw, f"{target}/127.0.0.1:{a.port}/healthy")
    assert by_target(gw)[f"127.0.0.1:{a.port}"] == "HEALTHY"
    for address in (f"127.0.0.1:{b.port}", "127.0.0.9", "no-address", "[::1]:80"):
        assert put(gw, f"{target}/{address}/unhealthy", 400) == \
            {"message": f"'{address}' is not an address of target '127.0.0.1:{a.port}'"}
    assert put(gw, f"/upstreams/none/targets/127.0.0.1:{a.port}/unhealthy", 404) == {"message": "Not found"}
    assert put(gw, f"/upstreams/pool/targets/127.0.0.1:1/unhealthy", 404) == {"message": "Not found"}
    assert put(gw, f"/upstreams/pool/targets/{uuid.uuid4()}/healthy", 404) == {"message": "Not found"}


def test_names(gateway, echo_server):
    """A name's addresses are the proxy's; one that has none is a DNS error."""
    gw = gateway()
    upstream(gw, "named", {f"localhost:{echo_server.port}": 5, "nothing.invalid:80": 7}, healthchecks=CHECKED)
    route_to(gw, "http://named")
    found = {t["data"]["host"]: t for t in health(gw, name="named")["data"]}
    assert found["localhost"]["data"]["addresses"][0]["ip"] in ("127.0.0.1", "::1")
    bad = found["nothing.invalid"]
    assert bad["health"] == "DNS_ERROR" and bad["data"]["addresses"] == [] and bad["data"]["dns"] not in ("A", "unknown")
    assert bad["data"]["weight"] == {"total": 0, "available": 0, "unavailable": 0}
    put(gw, f"/upstreams/named/targets/localhost:{echo_server.port}/unhealthy")
    assert gw.proxy.get("/s").status_code == 503
    assert by_target(gw, "named")[f"localhost:{echo_server.port}"] == "UNHEALTHY"
    put(gw, f"/upstreams/named/targets/localhost:{echo_server.port}/healthy")
    assert gw.proxy.get("/s").status_code == 200
    assert "has no address" in put(gw, "/upstreams/named/targets/nothing.invalid:80/healthy", 400)["message"]


def test_balancer_and_threshold(pool):
    gw, a, b = pool
    whole = health(gw, "?balancer_health=1")
    assert whole["next"] is None and whole["data"]["health"] == whole["data"]["balancer_health"] == "HEALTHY"
    details = whole["data"]["details"]
    assert details["healthy"] is True and details["weight"] == {"total": 40, "available": 40, "unavailable": 0}
    assert [(h["port"], h["addresses"][0]["healthy"]) for h in details["hosts"]] == [(b.port, True), (a.port, True)]
    assert gw.admin.patch("/upstreams/pool", json={"healthchecks": {"threshold": 50}}).status_code == 200
    put(gw, f"/upstreams/pool/targets/127.0.0.1:{b.port}/unhealthy")
    whole = health(gw, "?balancer_health=1")["data"]
    assert (whole["health"], whole["details"]["weight"]["available"]) == ("UNHEALTHY", 10)
    assert gw.proxy.get("/s").status_code == 503, "a quarter of the weight is not above the threshold"
    assert gw.admin.patch("/upstreams/pool", json={"healthchecks": {"threshold": 20}}).status_code == 200
    assert counts(gw, 4) == {a.port: 4}


def test_checks_off(gateway, echo_server):
    """Without checks the word is HEALTHCHECKS_OFF, also for what has no weight; by hand it can be taken out all the same."""
    gw = gateway()
    target = f"127.0.0.1:{echo_server.port}"
    upstream(gw, "off", {target: 10})
    route_to(gw, "http://off")
    assert by_target(gw, "off") == {target: "HEALTHCHECKS_OFF"}
    put(gw, f"/upstreams/off/targets/{target}/unhealthy")
    assert gw.proxy.get("/s").status_code == 503
    upstream(gw, "weightless", {"127.0.0.1:9": 0}, healthchecks=CHECKED)
    assert by_target(gw, "weightless") == {"127.0.0.1:9": "HEALTHCHECKS_OFF"}


def test_what_stays(pool):
    """A reload and a control that was killed change nothing; a target made anew and a restart begin healthy."""
    gw, a, b = pool
    target = f"/upstreams/pool/targets/127.0.0.1:{a.port}"
    put(gw, f"{target}/unhealthy")
    gw.reload()
    assert counts(gw, 8) == {b.port: 8}
    assert gw.admin.delete(target).status_code == 204
    create(gw, "/upstreams/pool/targets", target=f"127.0.0.1:{a.port}", weight=10)
    assert a.port in counts(gw, 40)
    put(gw, f"{target}/unhealthy")
    gw.restart()
    assert by_target(gw)[f"127.0.0.1:{a.port}"] == "HEALTHY"
