"""The algorithms of upstreams over real connections: what is hashed, who is picked, and what clients see of it."""
import collections
import re
import threading
import time

import pytest

from dnsserver import DnsServer
from proxy_support import create, route_to, upstream
from support import wait_for


@pytest.fixture
def hashed(gateway, echo_servers):
    """hashed(hash_on=…, …): a node of two workers with an upstream of six servers behind /s that hashes so."""
    def make(settings=None, route=None, **fields):
        gw = gateway(**(settings or {}))
        servers = [echo_servers() for _ in range(6)]
        upstream(gw, "ring", {f"127.0.0.1:{s.port}": 100 for s in servers}, algorithm="consistent-hashing", **fields)
        route_to(gw, "http://ring", **(route or {}))
        return gw
    return make


def port(gw, path="/s", **kw):
    answer = gw.proxy.get(path, **kw)
    assert answer.status_code == 200, answer.text
    return answer.json()["port"]


def ports_of(gw, requests):
    """The servers of a dict {value: request arguments}: one per value, again and again, on every worker; and not all the same."""
    found = {}
    for value, (path, kw) in requests.items():
        seen = {port(gw, path, **kw) for _ in range(4)}
        assert len(seen) == 1, f"{value} went to {seen}"
        found[value] = seen.pop()
    assert len(set(found.values())) > 1
    return found


def test_by_header(hashed):
    gw = hashed(hash_on="header", hash_on_header="X-Key")
    ports_of(gw, {i: ("/s", {"headers": {"X-Key": f"k{i}"}}) for i in range(20)})


def test_by_path(hashed):
    gw = hashed(hash_on="path")
    found = ports_of(gw, {i: (f"/s/p{i}", {}) for i in range(20)})
    assert port(gw, "/s/./p3?other=1") == found[3], "normalised, without query"


def test_by_query_argument(hashed):
    gw = hashed(hash_on="query_arg", hash_on_query_arg="user id")
    found = ports_of(gw, {i: (f"/s?user%20id=u{i}&other={i}", {}) for i in range(20)})
    assert port(gw, "/s?x=1&user+id=%75%33") == found[3]
    assert port(gw, "/s?user+id=b&user+id=a") == port(gw, "/s?user+id=a&user+id=b") == port(gw, "/s?user+id=a,b")
    assert port(gw, "/s?user+id") == port(gw, "/s?user+id=true")


def test_by_capture(hashed):
    for name, path in (("id", r"~/s/(?<id>\w+)/x"), ("1", r"~/s/(\w+)/x")):
        gw = hashed(hash_on="uri_capture", hash_on_uri_capture=name, route={"path": path})
        ports_of(gw, {i: (f"/s/p{i}/x", {}) for i in range(12)})


def test_by_client_address(hashed):
    gw = hashed({"trusted_ips": "127.0.0.1", "real_ip_header": "X-Real-IP"}, hash_on="ip")
    ports_of(gw, {i: ("/s", {"headers": {"X-Real-IP": f"10.0.0.{i}"}}) for i in range(20)})


def test_fallback(hashed):
    """What gives nothing leaves it to the fallback; a cookie has none."""
    gw = hashed(hash_on="header", hash_on_header="X-Key", hash_fallback="query_arg", hash_fallback_query_arg="q")
    by_query = ports_of(gw, {i: (f"/s?q=k{i}", {}) for i in range(12)})
    by_header = ports_of(gw, {i: (f"/s?q={i}", {"headers": {"X-Key": f"k{i}"}}) for i in range(12)})
    assert by_query == by_header, "the same text is the same hash"
    assert len({port(gw) for _ in range(8)}) == 1, "nothing at all is the empty text"


CONSUMER = """
return { PRIORITY = 1000, VERSION = "1.0.0", access = function()
  local name = kong.request.get_header("x-consumer")
  if name then kong.client.authenticate(assert(kong.client.load_consumer(name, true)), { id = "c" }) end
  local credential = kong.request.get_header("x-credential")
  if credential then kong.client.authenticate(nil, { id = credential }) end
end }
"""


def test_by_consumer(hashed, plugin):
    gw = hashed({"plugins": "bundled,who", "lua_package_path": plugin("who", CONSUMER)}, hash_on="consumer", hash_fallback="path")
    create(gw, "/plugins", name="who")
    for i in range(12):
        create(gw, "/consumers", username=f"c{i}")
    ports_of(gw, {i: ("/s", {"headers": {"X-Consumer": f"c{i}"}}) for i in range(12)})
    ports_of(gw, {i: ("/s", {"headers": {"X-Credential": f"c{i}"}}) for i in range(12)})
    ports_of(gw, {i: (f"/s/{i}", {}) for i in range(12)})


def test_by_cookie(hashed):
    gw = hashed(hash_on="cookie", hash_on_cookie="stick", hash_on_cookie_path="/s")
    answer = gw.proxy.get("/s")
    line = answer.headers["Set-Cookie"]
    value = re.fullmatch(r"stick=([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}); Path=/s; Same-Site=Lax; HttpOnly", line).group(1)
    gw.proxy.cookies.clear()
    for _ in range(4):
        again = gw.proxy.get("/s", headers={"Cookie": f"other=1; stick={value} ; x=stick"})
        assert again.json()["port"] == answer.json()["port"] and "Set-Cookie" not in again.headers
    ports_of(gw, {i: ("/s", {"headers": {"Cookie": f"stick=v{i}"}}) for i in range(20)})
    gw.proxy.cookies.clear()
    assert gw.proxy.get("/s", headers={"Cookie": "stick=; sticky=1"}).headers["Set-Cookie"] != line, "an empty one is none"


def test_hash_fallback_cookie(hashed):
    gw = hashed(hash_on="header", hash_on_header="X-Key", hash_fallback="cookie", hash_on_cookie="stick")
    assert "Set-Cookie" not in gw.proxy.get("/s", headers={"X-Key": "a"}).headers
    assert gw.proxy.get("/s").headers["Set-Cookie"].startswith("stick=")


def test_same_targets_same_places(gateway, echo_servers):
    """The order in which targets came, or which node it is, makes no difference; one that leaves takes only its own along."""
    servers = [echo_servers() for _ in range(5)]
    targets = [f"127.0.0.1:{s.port}" for s in servers]
    found = []
    for order in (targets, targets[::-1]):
        gw = gateway()
        upstream(gw, "ring", {t: 100 for t in order}, hash_on="header", hash_on_header="X-Key")
        route_to(gw, "http://ring")
        found.append([port(gw, headers={"X-Key": str(i)}) for i in range(30)])
    assert found[0] == found[1]
    assert gw.admin.delete(f"/upstreams/ring/targets/{targets[0]}").status_code == 204
    now = [port(gw, headers={"X-Key": str(i)}) for i in range(30)]
    assert all(a == b or a == servers[0].port for a, b in zip(found[0], now)) and servers[0].port not in now


def test_hashing_with_a_dead_target(gateway, echo_servers, ports):
    """Its requests are tried elsewhere, the others stay where they are."""
    servers = [echo_servers() for _ in range(3)]
    gw = gateway(upstream_keepalive_pool_size=0)
    upstream(gw, "ring", {f"127.0.0.1:{s.port}": 100 for s in servers}, hash_on="header", hash_on_header="X-Key")
    route_to(gw, "http://ring")
    before = [port(gw, headers={"X-Key": str(i)}) for i in range(20)]
    servers[0].close()
    after = [port(gw, headers={"X-Key": str(i)}) for i in range(20)]
    assert all(a == b or a == servers[0].port for a, b in zip(before, after)) and servers[0].port not in after


def test_least_connections(gateway, echo_servers):
    """Requests that hang on one server keep others away from it."""
    a, b = echo_servers(), echo_servers()
    gw = gateway(nginx_worker_processes=1)
    upstream(gw, "least", {f"127.0.0.1:{a.port}": 100, f"127.0.0.1:{b.port}": 100}, algorithm="least-connections")
    route_to(gw, "http://least")
    slow = []
    threads = [threading.Thread(target=lambda: slow.append(port(gw, "/s?delay=3"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(a.requests) == len(b.requests) == 1, "one slow request on each")
    for thread in threads:
        thread.join()
    hang = threading.Thread(target=lambda: slow.append(port(gw, "/s?delay=3")))
    hang.start()
    wait_for(lambda: len(a.requests) + len(b.requests) == 3, "the slow request to arrive")
    busy = a if len(a.requests) == 2 else b
    assert busy.port not in {port(gw) for _ in range(6)}
    hang.join()
    assert {port(gw) for _ in range(6)} == {a.port, b.port}


def slow_down(server, seconds):
    class Slow(server.RequestHandlerClass):
        def respond(self, query, seen):
            time.sleep(seconds)
            super().respond(query, seen)

    server.RequestHandlerClass = Slow


def test_latency(gateway, echo_servers):
    """The slow server is found out, and gets little."""
    a, b = echo_servers(), echo_servers()
    gw = gateway(nginx_worker_processes=1)
    upstream(gw, "fast", {f"127.0.0.1:{a.port}": 100, f"127.0.0.1:{b.port}": 100}, algorithm="latency")
    route_to(gw, "http://fast")
    slow_down(b, 0.2)
    n = collections.Counter(port(gw) for _ in range(40))
    assert 1 <= n[b.port] < 10


def test_connections_are_counted_over_edits(gateway, echo_servers):
    """Requests that hang keep others away from their server, whatever is edited meanwhile, until they end."""
    a, b, c = (echo_servers() for _ in range(3))
    gw = gateway(nginx_worker_processes=1)
    upstream(gw, "least", {f"127.0.0.1:{s.port}": 100 for s in (a, b)}, algorithm="least-connections")
    route_to(gw, "http://least")
    release = threading.Event()
    original = a.RequestHandlerClass

    class Hanging(original):
        def respond(self, query, seen):
            if "hang" in query:
                release.wait(60)
            super().respond(query, seen)

    for server in (a, b, c):
        server.RequestHandlerClass = Hanging
    hung = []
    threads = []

    def hang(n):
        for _ in range(n):
            threads.append(threading.Thread(target=lambda: hung.append(port(gw, "/s?hang=1"))))
            threads[-1].start()
        wait_for(lambda: len(threads) == sum("hang" in r["query"] for s in (a, b, c) for r in s.requests), "the hanging requests to arrive")

    try:
        hang(1)
        busy, free = (a, b) if a.requests else (b, a)
        for edit in ("/upstreams/least", f"/upstreams/least/targets/127.0.0.1:{busy.port}", f"/upstreams/least/targets/127.0.0.1:{free.port}"):
            assert gw.admin.patch(edit, json={"tags": ["edited"]}).status_code == 200
            assert {port(gw) for _ in range(6)} == {free.port}
        create(gw, "/upstreams/least/targets", target=f"127.0.0.1:{c.port}", weight=100)
        assert {port(gw) for _ in range(12)} == {free.port, c.port}
        hang(2)
        assert gw.admin.patch("/upstreams/least", json={"tags": ["again"]}).status_code == 200
        assert {port(gw) for _ in range(12)} == {a.port, b.port, c.port}, "one each"
    finally:
        release.set()
    for thread in threads:
        thread.join()
    assert sorted(hung) == sorted([a.port, b.port, c.port])


def test_latencies_are_known_over_edits(gateway, echo_servers):
    a, b = echo_servers(), echo_servers()
    gw = gateway(nginx_worker_processes=1)
    upstream(gw, "fast", {f"127.0.0.1:{a.port}": 100, f"127.0.0.1:{b.port}": 100}, algorithm="latency")
    route_to(gw, "http://fast")
    slow_down(b, 0.5)
    assert collections.Counter(port(gw) for _ in range(10))[b.port] == 1, "found out with one request"
    for i in range(6):
        assert gw.admin.patch("/upstreams/fast", json={"tags": [f"t{i}"]}).status_code == 200
        assert port(gw) == a.port
        assert gw.admin.patch(f"/upstreams/fast/targets/127.0.0.1:{b.port}", json={"tags": [f"t{i}"]}).status_code == 200
        assert port(gw) == a.port


def test_names_of_srv_records(gateway, ports, echo_server):
    """With use_srv_name they become the Host header, port and all; before them come host_header and preserve_host."""
    with DnsServer({("srv.test", "SRV"): [(f"1 1 {echo_server.port} one.test", 60)], ("one.test", "A"): [("127.0.0.1", 60)]}) as dns:
        gw = gateway(dns_resolver=f"127.0.0.1:{dns.port}", dns_order="SRV,A")
        upstream(gw, "named", {f"srv.test:{ports.take()}": 100})
        _, route = route_to(gw, "http://named")

        def host(**change):
            if change:
                assert gw.admin.patch("/upstreams/named", json=change).status_code == 200
            return gw.proxy.get("/s", headers={"Host": "client.test"}).json()["headers"]["host"]
        assert host() == f"srv.test:{echo_server.port}"
        assert host(use_srv_name=True) == f"one.test:{echo_server.port}"
        assert host(host_header="virtual.test") == "virtual.test"
        assert host(host_header=None) == f"one.test:{echo_server.port}"
        assert gw.admin.patch(f"/routes/{route['id']}", json={"preserve_host": True}).status_code == 200
        assert host() == "client.test"


def test_weights_of_srv_records_among_others(gateway, ports, echo_servers):
    """A record's weight takes the place of its target's, and is of the same measure as the other targets'."""
    a, b, c = (echo_servers() for _ in range(3))
    with DnsServer({("srv.test", "SRV"): [(f"1 20 {a.port} one.test", 60), (f"1 0 {b.port} one.test", 60)],
                    ("one.test", "A"): [("127.0.0.1", 60)]}) as dns:
        gw = gateway(nginx_worker_processes=1, dns_resolver=f"127.0.0.1:{dns.port}", dns_order="SRV,A")
        upstream(gw, "mixed", {f"srv.test:{ports.take()}": 7, f"127.0.0.1:{c.port}": 19})
        route_to(gw, "http://mixed")
        wait_for(lambda: port(gw) == a.port, "the name to be known")
        before = [len(s.requests) for s in (a, b, c)]
        for _ in range(40):
            port(gw)
        assert [len(s.requests) - n for s, n in zip((a, b, c), before)] == [20, 1, 19]


def test_names_that_must_not_be_cached(gateway, echo_server):
    """TTL 0, and failures for no time at all: requests have their answer, by addresses that follow the name."""
    with DnsServer({("now.test", "A"): [("127.0.0.1", 0)], ("never.test", "A"): 2}) as dns:
        gw = gateway(nginx_worker_processes=1, dns_resolver=f"127.0.0.1:{dns.port}", dns_order="A", dns_error_ttl=0, dns_not_found_ttl=0)
        upstream(gw, "now", {f"now.test:{echo_server.port}": 100})
        upstream(gw, "never", {"never.test:80": 100, "unheard.test:80": 100})
        route_to(gw, "http://now", "/now")
        route_to(gw, "http://never", "/never")
        for _ in range(5):
            assert port(gw, "/now") == echo_server.port
            assert gw.proxy.get("/never", timeout=20).status_code in (500, 503)
        dns.table[("never.test", "A")] = [("127.0.0.1", 0)]
        dns.table[("now.test", "A")] = 3
        wait_for(lambda: gw.proxy.get("/never").status_code == 502, "the name to be known: nobody listens there")
        wait_for(lambda: gw.proxy.get("/now").status_code == 503, "the name to be gone")


def test_algorithm_changes_at_once(gateway, echo_servers):
    a, b = echo_servers(), echo_servers()
    gw = gateway()
    upstream(gw, "pool", {f"127.0.0.1:{s.port}": 100 for s in (a, b)})
    route_to(gw, "http://pool")
    assert {port(gw) for _ in range(20)} == {a.port, b.port}
    assert gw.admin.patch("/upstreams/pool", json={"hash_on": "path"}).status_code == 200
    assert len({port(gw) for _ in range(20)}) == 1
    assert gw.admin.patch("/upstreams/pool", json={"algorithm": "round-robin", "hash_on": "none"}).status_code == 200
    assert {port(gw) for _ in range(20)} == {a.port, b.port}


def test_each_address_of_a_name_has_the_targets_weight(gateway, ports):
    """Two addresses of one name and a single one get a third each."""
    from support import EchoServer

    class At(EchoServer):
        def __init__(self, host, number):
            self.host = host
            super().__init__(number)

        def server_bind(self):
            self.server_address = (self.host, self.server_address[1])
            super().server_bind()

    number = ports.take()
    servers = [At(f"127.0.0.{i}", number) for i in (1, 2, 3)]
    with DnsServer({("two.test", "A"): [("127.0.0.1", 60), ("127.0.0.2", 60)], ("one.test", "A"): [("127.0.0.3", 60)]}) as dns:
        gw = gateway(nginx_worker_processes=1, dns_resolver=f"127.0.0.1:{dns.port}", dns_order="A")
        upstream(gw, "names", {f"two.test:{number}": 100, f"one.test:{number}": 100})
        route_to(gw, "http://names")
        wait_for(lambda: gw.proxy.get("/s").status_code == 200 and all(s.requests for s in servers), "all names to be known")
        before = [len(s.requests) for s in servers]
        for _ in range(30):
            assert gw.proxy.get("/s").status_code == 200
        assert [len(s.requests) - n for s, n in zip(servers, before)] == [10, 10, 10]
    for s in servers:
        s.close()


def test_addresses_of_a_name_change(gateway, ports, echo_server):
    """When the name is looked up again and has other addresses, they are the ones that are picked from."""
    from support import EchoServer

    class At(EchoServer):
        def server_bind(self):
            self.server_address = ("127.0.0.2", self.server_address[1])
            super().server_bind()

    other = At(echo_server.port)
    with DnsServer({("moves.test", "A"): [("127.0.0.1", 1)]}) as dns:
        gw = gateway(nginx_worker_processes=1, dns_resolver=f"127.0.0.1:{dns.port}", dns_order="A")
        upstream(gw, "names", {f"moves.test:{echo_server.port}": 100})
        route_to(gw, "http://names")
        assert gw.proxy.get("/s").status_code == 200 and len(echo_server.requests) == 1
        dns.table[("moves.test", "A")] = [("127.0.0.2", 1)]

        def moved():
            gw.proxy.get("/s")
            return len(other.requests) > 0
        wait_for(moved, "the new address to be used")
        seen = len(echo_server.requests)
        for _ in range(5):
            gw.proxy.get("/s")
        assert len(echo_server.requests) == seen
    other.close()
