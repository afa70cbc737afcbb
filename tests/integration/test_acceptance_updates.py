"""Read your writes: when the Admin API has answered, every worker does as it was told."""
import concurrent.futures
import http.client
import re

import pytest

from proxy_support import create
from support import Site, wait_for, worker_of

WORKERS = 4


def ask(connection, path, method="GET", headers=None):
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    return response.status, response.read()


def connection_to(gw):
    return http.client.HTTPConnection("127.0.0.1", gw.proxy_port, timeout=30)


def one_in_each(gw):
    """A kept connection in each worker."""
    found, spare = {}, []
    while len(found) < WORKERS:
        c = connection_to(gw)
        ask(c, "/")
        pid = worker_of(gw, c.sock)
        if pid is None or pid in found:
            spare.append(c)
        else:
            found[pid] = c
        assert len(spare) < 500, "connections spread over all workers"
    for c in spare:
        c.close()
    return list(found.values())


class Everywhere:
    """Asks all workers over kept connections, and whichever a fresh one comes to."""

    def __init__(self, gw):
        self.gw, self.kept = gw, one_in_each(gw)

    def check(self, path, status, body=b""):
        for c in self.kept + [connection_to(self.gw)]:
            got = ask(c, path)
            assert got[0] == status and body in got[1], f"{path}: expected {status} {body!r}, got {got}"
            if c not in self.kept:
                c.close()


@pytest.fixture
def node(gateway, echo_server):
    gw = gateway(nginx_worker_processes=WORKERS, log_level="notice")
    create(gw, "/services", name="s", url=echo_server.url)
    return gw


def test_every_worker_obeys_at_once(node):
    everywhere = Everywhere(node)
    for n in range(40):
        round_of_edits(node.admin, everywhere, n)


def round_of_edits(admin, everywhere, n):
    def done(status, method, at, **body):
        r = admin.request(method, at, json=body)
        assert r.status_code == status, r.text

    everywhere.check(f"/a{n}", 404)
    done(201, "POST", "/services/s/routes", name="r", paths=[f"/a{n}"])
    everywhere.check(f"/a{n}", 200, b'"path": "/"')
    done(200, "PATCH", "/routes/r", paths=[f"/b{n}"], strip_path=False)
    everywhere.check(f"/a{n}", 404)
    everywhere.check(f"/b{n}", 200, b'"path": "/b%d"' % n)
    done(200, "PATCH", "/services/s", path=f"/base{n}")
    everywhere.check(f"/b{n}", 200, b'"path": "/base%d/b%d"' % (n, n))
    done(201, "POST", "/routes/r/plugins", name="request-termination", instance_name="p", config={"status_code": 418, "message": "first"})
    everywhere.check(f"/b{n}", 418, b"first")
    done(200, "PATCH", "/plugins/p", config={"message": "second"})
    everywhere.check(f"/b{n}", 418, b"second")
    done(200, "PATCH", "/plugins/p", enabled=False)
    everywhere.check(f"/b{n}", 200)
    done(204, "DELETE", "/plugins/p")
    done(201, "POST", "/plugins", name="request-termination", instance_name="g", config={"status_code": 419})
    everywhere.check(f"/b{n}", 419)
    done(204, "DELETE", "/plugins/g")
    everywhere.check(f"/b{n}", 200)
    done(200, "PATCH", "/services/s", path=None)
    done(200, "PUT", "/routes/r", paths=[f"/c{n}"], service={"name": "s"})
    everywhere.check(f"/b{n}", 404)
    everywhere.check(f"/c{n}", 200, b'"path": "/"')
    done(204, "DELETE", "/routes/r")
    everywhere.check(f"/c{n}", 404)


def test_targets_at_once(node, echo_servers):
    one, two = echo_servers(), echo_servers()
    create(node, "/upstreams", name="u")
    create(node, "/services", name="balanced", host="u")
    create(node, "/services/balanced/routes", paths=["/u"])
    everywhere = Everywhere(node)
    everywhere.check("/u", 503, b"failure to get a peer from the ring-balancer")
    for n in range(20):
        at, other = (one, two) if n % 2 == 0 else (two, one)
        create(node, "/upstreams/u/targets", target=f"127.0.0.1:{at.port}")
        everywhere.check("/u", 200, b'"port": %d' % at.port)
        create(node, "/upstreams/u/targets", target=f"127.0.0.1:{other.port}", weight=0)
        everywhere.check("/u", 200, b'"port": %d' % at.port)
        for server in (at, other):
            assert node.admin.delete(f"/upstreams/u/targets/127.0.0.1:{server.port}").status_code == 204
        everywhere.check("/u", 503)


def test_many_writers_at_once(node):
    """Writers that share commits each see their own edit, in whichever worker."""

    def writer(w):
        admin, everywhere = Site(node.admin.base), Everywhere(node)
        for n in range(12):
            name = f"r{w}-{n}"
            assert admin.post("/services/s/routes", json={"name": name, "paths": [f"/{name}/"]}).status_code == 201
            everywhere.check(f"/{name}/x", 200)
            assert admin.delete(f"/routes/{name}").status_code == 204
            everywhere.check(f"/{name}/x", 404)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(writer, range(4)))


def test_at_once_after_a_reload_and_a_restart(node):
    """Workers of a new configuration know what was written before they came, and follow on."""
    create(node, "/services/s/routes", paths=["/kept"])
    for again in (node.reload, node.restart):
        again()
        wait_for(lambda: len(node.workers("proxy")) == WORKERS, "all workers")
        everywhere = Everywhere(node)
        everywhere.check("/kept", 200)
        assert node.admin.post("/services/s/routes", json={"name": "n", "paths": ["/new"]}).status_code == 201
        everywhere.check("/new", 200)
        assert node.admin.delete("/routes/n").status_code == 204
        everywhere.check("/new", 404)
    assert not re.search(r"\[error\]|\[crit\]", re.sub(r".*ring-balancer.*", "", node.log()))
