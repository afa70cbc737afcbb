"""Names: hosts file, own name servers, search domains, cache, for services behind routes and for cosockets of plugins."""
import http.client
import threading

import pytest

import support
from dnsserver import DROP, DnsServer
from proxy_support import create

# GET /…?name=N&port=P: connects a cosocket by name, asks for /, answers with what it saw.
HANDLER = """
local Handler = { PRIORITY = 1000, VERSION = "0.1.0" }

local function answer(...)
  return kong.response.exit(200, { ... })
end

local ways = {}

function ways.tcp(host, port)
  local sock = ngx.socket.tcp()
  sock:settimeouts(5000, 5000, 5000)
  local ok, err = sock:connect(host, port)
  if not ok then
    return answer("error", err)
  end
  sock:send("GET / HTTP/1.1\\r\\nHost: " .. host .. "\\r\\n\\r\\n")
  local line = sock:receive("*l")
  local length
  repeat
    local header = sock:receive("*l")
    length = header:lower():match("^content%-length: (%d+)$") or length
  until header == ""
  sock:receive(tonumber(length))
  local reused = sock:getreusedtimes()
  sock:setkeepalive(10000, 10)
  return answer(line, reused)
end

function ways.udp(host, port)
  local sock = ngx.socket.udp()
  return answer(tostring(sock:setpeername(host, port)))
end

function ways.connect(host, port)
  local sock, err = ngx.socket.connect(host, port)
  return answer(sock and "connected" or err)
end

function ways.http(host, port)
  local res, err = require("resty.http").new():request_uri("http://" .. host .. ":" .. port .. "/")
  return answer(res and res.status or err, res and require("cjson").decode(res.body).headers.host)
end

function ways.raw(host, port)
  local sock = ngx.socket.tcp()
  return answer(tostring(select(2, pcall(sock.connect, sock))), tostring(select(2, sock:connect("127.0.0.1", 1))))
end

function Handler:access(conf)
  return ways[kong.request.get_query_arg("way")](kong.request.get_query_arg("name"), tonumber(kong.request.get_query_arg("port")))
end

return Handler
"""


@pytest.fixture
def dns():
    with DnsServer() as server:
        yield server


@pytest.fixture
def node(gateway, plugin, dns, echo_server, workdir):
    """node(**settings): a gateway that asks `dns`, with a service by name and a route /names that runs the plugin."""

    def make(**settings):
        path = plugin("names", HANDLER)
        hosts = workdir / "hosts"
        hosts.write_text("127.0.0.1 hosty.test hosty # comment\n::1 six.hosty.test\n")
        gw = gateway(plugins="bundled,names", lua_package_path=path, dns_resolver=f"127.0.0.1:{dns.port}", dns_hostsfile=str(hosts),
                     nginx_worker_processes=1, **settings)
        gw.admin.post("/services", json={"name": "lua", "url": echo_server.url})
        gw.admin.post("/services/lua/routes", json={"paths": ["/names"]})
        assert gw.admin.post("/services/lua/plugins", json={"name": "names"}).status_code == 201

        def ask(way, name, port=echo_server.port):
            answer = gw.proxy.get("/names", params={"way": way, "name": name, "port": port}, timeout=60)
            assert answer.status_code == 200, answer.text
            return answer.json()

        def serve(name, **fields):
            gw.admin.post("/services", json={"name": name, "host": name, "port": echo_server.port, "retries": 0, **fields})
            gw.admin.post(f"/services/{name}/routes", json={"paths": [f"/{name}"]})
            return lambda: gw.proxy.get(f"/{name}", timeout=60)

        gw.ask, gw.serve = ask, serve
        return gw

    return make


def test_cosockets_find_names_of_the_hosts_file_and_dns(node, dns):
    dns.table[("web.test", "A")] = [("127.0.0.1", 60)]
    gw = node()
    for name in ("hosty.test", "HOSTY", "localhost", "127.0.0.1", "web.test", "Web.Test"):
        assert gw.ask("tcp", name)[0] == "HTTP/1.1 200 OK", name
        assert gw.ask("connect", name) == ["connected"]
        assert gw.ask("udp", name) == ["1"]
    assert dns.asked == {("web.test", "SRV"): 1, ("web.test", "A"): 1}


def test_failures_are_told_as_such(node, dns):
    dns.table[("broken.test", "A")] = 2
    gw = node()
    error, text = gw.ask("tcp", "no-such.test")
    assert error == "error" and text == "[cosocket] DNS resolution failed: dns server error: 3 name error (no-such.test)"
    assert "DNS resolution failed" in gw.ask("tcp", "broken.test")[1]
    assert "DNS resolution failed" in gw.ask("connect", "no-such.test")[0]
    before = dns.asked.copy()
    gw.ask("tcp", "no-such.test")
    assert dns.asked == before  # known to fail


def test_what_is_no_name_is_left_to_nginx(node):
    gw = node()
    first, second = gw.ask("raw", "x")
    assert "bad argument" in first or "expecting" in first
    assert second == "connection refused"


def test_pools_are_named_after_the_name(node, dns):
    dns.table[("a.test", "A")] = [("127.0.0.1", 60)]
    dns.table[("b.test", "A")] = [("127.0.0.1", 60)]
    gw = node()
    assert [gw.ask("tcp", n)[1] for n in ("a.test", "a.test", "b.test", "a.test")] == [0, 1, 0, 2]


def test_resty_http_by_name_keeps_the_host_header(node, dns, echo_server):
    dns.table[("web.test", "A")] = [("127.0.0.1", 60)]
    assert node().ask("http", "web.test") == [200, f"web.test:{echo_server.port}"]


def test_search_domains(node, dns):
    dns.table[("short.search.test", "A")] = [("127.0.0.1", 60)]
    gw = node(nginx_main_env="LOCALDOMAIN=search.test")
    assert gw.ask("tcp", "short")[0] == "HTTP/1.1 200 OK"
    assert gw.serve("short")().status_code == 200


def test_services_by_name(node, dns):
    dns.table[("web.test", "A")] = [("127.0.0.1", 60)]
    gw = node()
    for name in ("hosty", "web.test", "localhost"):
        assert gw.serve(name)().status_code == 200, name
    missing = gw.serve("missing.test")
    assert missing().status_code == 503
    assert missing().json()["message"] == "name resolution failed"
    assert dns.asked[("missing.test", "A")] == 1
    dns.table[("broken.test", "A")] = 2
    broken = gw.serve("broken.test")()
    assert broken.status_code == 500 and broken.json()["message"] in ("dns server error: 2 server failure",
                                                                      "dns lookup failed: no name server gave an answer")


def test_family_order(node, dns):
    dns.table[("six.test", "AAAA")] = [("::1", 60)]
    dns.table[("both.test", "A")] = [("127.0.0.1", 60)]
    dns.table[("both.test", "AAAA")] = [("::1", 60)]
    gw = node(dns_order="LAST,AAAA,A")
    assert gw.ask("udp", "six.test") == ["1"] and gw.ask("udp", "both.test") == ["1"]
    assert dns.asked[("both.test", "A")] == 0
    gw.ask("tcp", "both.test")


def test_equal_lookups_are_one_question(node, dns):
    gw = node()
    dns.table[("slow.test", "A")] = [("127.0.0.1", 60)]
    dns.hold = True
    results = []
    ask = gw.ask
    threads = [threading.Thread(target=lambda: results.append(ask("udp", "slow.test"))) for _ in range(6)]
    for t in threads:
        t.start()
    support.wait_for(lambda: len(dns.held) == 1, "the question")
    dns.release()
    for t in threads:
        t.join()
    assert results == [["1"]] * 6 and dns.asked[("slow.test", "A")] == 1


def test_a_client_that_leaves_takes_its_lookup_along(node, dns):
    gw = node()
    dns.table[("gone.test", "A")] = [("127.0.0.1", 60)]
    serve = gw.serve("gone.test")
    dns.hold = True
    for path in ("/gone.test", "/names?way=tcp&name=gone.test&port=1"):
        client = http.client.HTTPConnection("127.0.0.1", gw.proxy_port)
        client.request("GET", path)
        support.wait_for(lambda: dns.held, "the question")
        client.close()
    dns.release()
    assert serve().status_code == 200
    assert len(gw.workers()) == 1


def test_an_old_answer_serves_while_the_servers_fail(node, dns):
    answers = [("127.0.0.1", 1)]
    dns.table[("stale.test", "A")] = lambda: answers or 2
    gw = node(dns_stale_ttl=3600)
    assert gw.ask("udp", "stale.test") == ["1"]
    answers.clear()
    support.wait_for(lambda: gw.ask("udp", "stale.test") and dns.asked[("stale.test", "A")] > 1, "the refresh")
    assert gw.ask("udp", "stale.test") == ["1"]
    # And a new address is taken over.
    answers.append(("127.0.0.2", 60))
    before = dns.asked[("stale.test", "A")]
    support.wait_for(lambda: gw.ask("udp", "stale.test") and dns.asked[("stale.test", "A")] > before, "another refresh")
    assert gw.ask("udp", "stale.test") == ["1"]


def test_without_stale_answers_a_failure_shows(node, dns):
    answers = [("127.0.0.1", 1)]
    dns.table[("short-lived.test", "A")] = lambda: answers or 2
    gw = node(dns_stale_ttl=0)
    assert gw.ask("udp", "short-lived.test") == ["1"]
    answers.clear()
    support.wait_for(lambda: gw.ask("udp", "short-lived.test") != ["1"], "the answer to be forgotten")


def test_a_dead_name_server_is_given_up(node, dns):
    dns.table[("dead.test", "A")] = DROP
    gw = node()
    assert gw.ask("tcp", "dead.test") == ["error", "[cosocket] DNS resolution failed: dns lookup timed out (dead.test)"]
    # Others are not kept waiting by it.
    assert gw.ask("tcp", "hosty")[0] == "HTTP/1.1 200 OK"


def test_the_cache_is_bounded(node, dns):
    gw = node(dns_cache_size=10)
    for i in range(30):
        dns.table[(f"n{i}.test", "A")] = [("127.0.0.1", 600)]
    for i in range(30):
        assert gw.ask("udp", f"n{i}.test") == ["1"]
    gw.ask("udp", "n29.test")
    gw.ask("udp", "n0.test")
    assert dns.asked[("n29.test", "A")] == 1 and dns.asked[("n0.test", "A")] == 2


def hits(gw, path, n):
    """Which services n requests came to, by the Host header that each saw."""
    return [gw.proxy.get(path).json()["headers"]["host"] for _ in range(n)]


def test_a_service_with_srv_records(node, dns, echo_server, ports):
    """Ports, weights and the lowest priority, in turn; the Host header has the port that is connected to."""
    second = support.EchoServer(ports.take())
    try:
        dns.table[("srv.test", "SRV")] = [(f"10 1 {echo_server.port} one.test", 60), (f"10 3 {second.port} two.test", 60),
                                          (f"20 9 {ports.take()} one.test", 60)]
        dns.table[("one.test", "A")] = dns.table[("two.test", "A")] = [("127.0.0.1", 60)]
        gw = node()
        gw.serve("srv.test", port=9)
        assert sorted(hits(gw, "/srv.test", 12)) == sorted([f"srv.test:{echo_server.port}"] * 3 + [f"srv.test:{second.port}"] * 9)
        assert gw.ask("tcp", "srv.test", port=9)[0] == "HTTP/1.1 200 OK"
        assert dns.asked == {("srv.test", "SRV"): 1, ("one.test", "A"): 1, ("two.test", "A"): 1}
    finally:
        second.close()


def test_a_retry_goes_to_the_next_srv_record(node, dns, echo_server, ports):
    dns.table[("srv.test", "SRV")] = [(f"1 1 {ports.take()} one.test", 60), (f"1 1 {echo_server.port} one.test", 60)]
    dns.table[("one.test", "A")] = [("127.0.0.1", 60)]
    gw = node()
    gw.serve("srv.test", port=9, retries=3)
    assert hits(gw, "/srv.test", 4) == [f"srv.test:{echo_server.port}"] * 4


def test_the_default_order(node, dns):
    local = [("127.0.0.1", 60)]
    dns.table.update({("a.test", "A"): local, ("alias.test", "CNAME"): [("a.test", 60)], ("failing.test", "A"): 2, ("failing.test", "SRV"): 2})
    gw = node()
    for name, asked in (("a.test", ["SRV", "A"]), ("alias.test", ["SRV", "A"]), ("failing.test", ["SRV", "A", "CNAME"]),
                        ("missing.test", ["SRV", "A", "CNAME"])):
        gw.ask("udp", name)
        assert [kind for n, kind in dns.asked if n == name] == asked, name


@pytest.mark.parametrize("settings,name,asked", [
    ({"dns_order": "A"}, "n.test", ["A"]),
    ({"dns_order": "AAAA,A"}, "n.test", ["AAAA", "A"]),
    ({"dns_order": "LAST,CNAME"}, "n.test", ["CNAME"]),
    ({"new_dns_client": "on"}, "n.test", ["A"]),
    ({"new_dns_client": "on", "resolver_family": "A,AAAA"}, "n.test", ["A", "AAAA"]),
    ({"new_dns_client": "on", "resolver_family": "A,SRV"}, "_http._tcp.n.test", ["SRV"]),
    ({"new_dns_client": "on", "resolver_family": "A"}, "_http._tcp.n.test", ["A"]),
], ids=range(7))
def test_types_that_are_asked_for(node, dns, settings, name, asked):
    gw = node(resolver_address=f"127.0.0.1:{dns.port}", **settings)
    assert "name error" in gw.ask("tcp", name)[1]
    assert [kind for n, kind in dns.asked if n == name] == asked


@pytest.mark.parametrize("options,name,asked", [
    ("ndots:1", "a.b", ["a.b"]),
    ("ndots:2", "a.b", ["a.b.search.test"]),
    ("ndots:1", "a", ["a.search.test"]),
    ("ndots:1", "a.b.", ["a.b"]),
], ids=range(4))
def test_resolver_options(node, dns, options, name, asked):
    """Of resolv.conf, or the environment, which says the same."""
    for n in asked:
        dns.table[(n, "A")] = [("127.0.0.1", 60)]
    gw = node(nginx_main_env=f'LOCALDOMAIN=search.test;env "RES_OPTIONS={options}"', dns_order="A")
    assert gw.ask("udp", name) == ["1"]
    assert [n for n, _ in dns.asked] == asked


def test_attempts(node, dns):
    dns.table[("dead.test", "A")] = DROP
    gw = node(nginx_main_env='"RES_OPTIONS=attempts:2 timeout:1"', dns_order="A")
    assert "timed out" in gw.ask("tcp", "dead.test")[1]
    assert dns.asked == {("dead.test", "A"): 2}


def test_an_alias_without_addresses_is_followed(node, dns):
    """A name server that does not do it itself."""
    dns.table[("alias.test", "CNAME")] = [("real.test", 60)]
    dns.table[("alias.test", "A")] = bytes.fromhex("81800000000000000000")
    dns.table[("real.test", "A")] = [("127.0.0.1", 60)]
    gw = node(dns_order="CNAME,A")
    assert gw.ask("udp", "alias.test") == ["1"]
    assert dns.asked == {("alias.test", "CNAME"): 1, ("real.test", "CNAME"): 1, ("real.test", "A"): 1}


def test_answers_that_are_none(node, dns):
    """The worker lives, and other names are served."""
    question = b"\1a\4test\0\0\1\0\1"
    answers = [b"", b"\x81\x80", bytes.fromhex("81800001000100000000") + question + b"\xc0\xff",
               bytes.fromhex("8180000100ff00000000") + question, bytes.fromhex("8180000100010000ffff") + question + b"\xc0\x0c"]
    dns.table[("a.test", "A")] = lambda: answers[min(dns.asked[("a.test", "A")], len(answers)) - 1]
    dns.table[("web.test", "A")] = [("127.0.0.1", 60)]
    gw = node(nginx_main_env='"RES_OPTIONS=attempts:1 timeout:1"', dns_order="A", dns_error_ttl=0)
    workers = gw.workers()
    for n in range(len(answers)):
        assert gw.ask("tcp", "a.test")[0] == "error", answers[n]
    assert gw.ask("udp", "web.test") == ["1"]
    assert gw.workers() == workers


def test_the_hosts_file_is_read_again(node, workdir):
    gw = node()
    assert gw.ask("udp", "hosty") == ["1"]
    (workdir / "hosts").write_text("127.0.0.1 changed.test\n")
    support.wait_for(lambda: gw.ask("udp", "changed.test") == ["1"], "the new name")
    assert gw.ask("udp", "hosty") != ["1"]


def test_counters_of_the_newer_client(node, dns):
    dns.table[("web.test", "A")] = [("127.0.0.1", 600)]
    gw = node(new_dns_client="on", resolver_address=f"127.0.0.1:{dns.port}")
    assert gw.ask("udp", "web.test") == gw.ask("udp", "web.test") == ["1"]
    assert "name error" in gw.ask("tcp", "no.test")[1]
    answer = gw.admin.get("/status/dns")
    assert answer.status_code == 200
    told = answer.json()
    assert told["worker"] == {"id": 0, "count": 1}
    assert told["stats"]["web.test"].items() >= {"runs": 2, "miss": 1, "hit_lru": 1, "query": 1, "query_succ": 1}.items()
    assert told["stats"]["no.test"].items() >= {"runs": 1, "miss": 1, "query": 1, "query_fail": 1}.items()


def test_the_older_client_has_no_counters(node):
    answer = node().admin.get("/status/dns")
    assert (answer.status_code, answer.json()) == (501, {"message": "not implemented with the legacy DNS client"})


@pytest.mark.parametrize("of", ["service", "target"])
@pytest.mark.parametrize("ttl", [0, 1])
def test_records_that_change_under_load_drop_nothing(node, dns, echo_server, ports, ttl, of):
    """Services, aliases and failures of servers come and go; every request has its answer."""
    second = support.EchoServer(ports.take())
    local = [("127.0.0.1", ttl)]
    targets = {("one.test", "A"): local, ("two.test", "A"): local + local, ("real.test", "A"): local}
    one, two = f"1 1 {second.port} one.test", f"1 5 {echo_server.port} two.test"
    # Whatever is asked between two states has an answer in both.
    states = [
        {**targets, ("web.test", "A"): local},
        {**targets, ("web.test", "A"): local, ("web.test", "SRV"): [(one, ttl)]},
        {**targets, ("web.test", "A"): local, ("web.test", "SRV"): [(one, ttl), (two, ttl)]},
        {**targets, ("web.test", "CNAME"): [("real.test", ttl)]},
    ]
    if ttl:
        states.append({("web.test", kind): 2 for kind in ("A", "SRV", "CNAME")})  # the old answer serves on
    dns.table = states[0]
    failed, done, stop = [], [], threading.Event()

    def client():
        raw = http.client.HTTPConnection("127.0.0.1", gw.proxy_port, timeout=60)
        while not stop.is_set():
            raw.request("GET", "/web.test")
            answer = raw.getresponse()
            answer.read()
            (done if answer.status == 200 else failed).append(answer.status)

    try:
        gw = node()
        gw.serve("web.test")
        if of == "target":  # the host of the service becomes the name of an upstream
            create(gw, "/upstreams", name="web.test")
            create(gw, "/upstreams/web.test/targets", target=f"web.test:{echo_server.port}")
        threads = [threading.Thread(target=client) for _ in range(4)]
        for t in threads:
            t.start()
        for n in range(5 * len(states)):
            asked, answered = sum(dns.asked.values()), len(done)
            dns.table = states[n % len(states)]
            support.wait_for(lambda: sum(dns.asked.values()) > asked and len(done) > answered + 20, "questions and requests")
        stop.set()
        for t in threads:
            t.join()
        assert not failed and len(done) > 100 * len(states)
    finally:
        stop.set()
        second.close()
