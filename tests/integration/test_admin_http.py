"""The Admin API over HTTP: what nginx and the control module add to the functions that tests/unit/admin tries one by one."""
import concurrent.futures
import http.client
import json
import socket
import threading
import uuid

import pytest
import requests

from support import Site, wait_for

def raw(port, data, shut=False):
    """Sends bytes, returns (status, body) of the one answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as s:
        s.sendall(data)
        if shut:
            s.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(s)
        response.begin()
        return response.status, response.read()


def test_headers(gateway):
    gw = gateway()
    r = gw.admin.get("/")
    assert r.status_code == 200
    assert r.headers["Server"] == "kong/3.9.1"
    assert r.headers["Content-Type"] == "application/json; charset=utf-8"
    assert r.headers["Access-Control-Allow-Origin"] == "*"
    assert r.headers["Access-Control-Allow-Credentials"] == "true"
    assert r.headers["X-Kong-Admin-Latency"].isdigit()
    assert gw.admin.get("/", headers={"Origin": "http://a.test"}).headers["Access-Control-Allow-Origin"] == "http://a.test"
    r = gw.admin.options("/services", headers={"Access-Control-Request-Headers": "X-A"})
    assert r.status_code == 204 and r.content == b"" and "Content-Length" not in r.headers
    assert r.headers["Access-Control-Allow-Headers"] == "X-A"
    assert r.headers["Allow"] == r.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS, POST"
    r = gw.admin.head("/services")
    assert r.status_code == 200 and r.content == b"" and int(r.headers["Content-Length"]) == len('{"data":[],"next":null}')


def test_node_information(gateway):
    gw = gateway()
    info = gw.admin.get("/").json()
    assert info["version"] == "3.9.1" and info["silverback"]["version"]
    assert info["pids"]["master"] == gw.pid()
    assert uuid.UUID(info["node_id"]) and info["hostname"] == socket.gethostname()
    assert info["lua_version"].startswith("LuaJIT")
    assert info["configuration"]["prefix"] == str(gw.prefix)
    assert info["plugins"]["enabled_in_cluster"] == []
    status = gw.admin.get("/status").json()
    assert status["database"] == {"reachable": True} and status["server"]["total_requests"] >= 0
    gw.restart()
    assert gw.admin.get("/").json()["node_id"] == info["node_id"]


def test_headers_off(gateway):
    gw = gateway(headers="off")
    r = gw.admin.get("/services")
    assert "Server" not in r.headers and "X-Kong-Admin-Latency" not in r.headers


def test_configured_origins(gateway):
    gw = gateway(admin_gui_url="http://one.test:8002/manager, https://two.test")
    for origin, answer in (("https://two.test", "https://two.test"), ("http://evil.test", "http://one.test:8002"), (None, "http://one.test:8002")):
        r = gw.admin.get("/", headers={"Origin": origin} if origin else {})
        assert r.headers["Access-Control-Allow-Origin"] == answer


def test_over_tls(gateway):
    gw = gateway()
    assert gw.admin_tls.post("/services", json={"name": "s", "host": "h"}).status_code == 201
    assert gw.admin.get("/services/s").json()["host"] == "h"


def test_what_nginx_refuses(gateway):
    gw = gateway()
    assert raw(gw.admin_port, b"NOT HTTP\r\n\r\n") == (400, b'{"message":"Bad request"}')
    assert raw(gw.admin_port, b"GET / HTTP/1.1\r\n\r\n") == (400, b'{"message":"Bad request"}')
    long = b"GET /" + b"x" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    assert raw(gw.admin_port, long) == (414, b'{"message":"URI too long"}')
    many = b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"x" * 40000 + b"\r\n\r\n"
    assert raw(gw.admin_port, many) == (400, b'{"message":"Request header or cookie too large"}')
    r = gw.admin.post("/services", data="x" * (11 << 20), headers={"Origin": "http://a.test"})
    assert r.status_code == 413 and r.headers["Access-Control-Allow-Origin"] == "http://a.test" and r.headers["Vary"] == "Origin"


@pytest.mark.parametrize("buffer", ["10m", "1k"])
def test_large_body(gateway, buffer):
    """A body that stays in memory, and one that nginx has put into a file."""
    gw = gateway(nginx_admin_client_body_buffer_size=buffer)
    tags = [f"tag-{i}" for i in range(20000)]
    r = gw.admin.post("/services", json={"name": "s", "host": "h", "tags": tags})
    assert r.status_code == 201
    assert gw.admin.get("/services/s").json()["tags"] == tags


def test_chunked_body(gateway):
    gw = gateway()
    r = gw.admin.post("/services", data=iter([b'{"na', b'me":"s","ho', b'st":"h"}']), headers={"Content-Type": "application/json"})
    assert r.status_code == 201 and r.json()["name"] == "s"


def test_keep_alive_and_pipelining(gateway):
    gw = gateway()
    body = b'{"host":"h"}'
    post = b"POST /services HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with socket.create_connection(("127.0.0.1", gw.admin_port), timeout=20) as s:
        answers = s.makefile("rb")
        for _ in range(5):
            s.sendall(post * 2)
            for _ in range(2):
                assert answers.readline() == b"HTTP/1.1 201 Created\r\n"
                headers = http.client.parse_headers(answers)
                assert json.loads(answers.read(int(headers["Content-Length"])))["host"] == "h"
    assert len(gw.admin.get("/services").json()["data"]) == 10


def test_client_that_closes_its_half(gateway):
    gw = gateway()
    status, body = raw(gw.admin_port, b"POST /consumers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
                       b'{"username":"u"}', shut=True)
    assert status == 201 and json.loads(body)["username"] == "u"


def test_client_that_goes_away(gateway):
    """A write that was sent whole is done; one that was cut is not; the instance lives."""
    gw = gateway()
    head = b"POST /consumers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n"
    for i in range(20):
        with socket.create_connection(("127.0.0.1", gw.admin_port)) as s:
            s.sendall(head + b'{"username":"%c"}' % (ord("a") + i))
        with socket.create_connection(("127.0.0.1", gw.admin_port)) as s:
            s.sendall(head + b'{"username":')
    wait_for(lambda: len(gw.admin.get("/consumers").json()["data"]) == 20, "all twenty writes")
    worker = gw.workers("control")
    assert len(worker) == 1 and gw.admin.get("/").status_code == 200


def test_concurrent_writes(gateway):
    gw = gateway()

    def write(n):
        site = Site(gw.admin.base)
        for i in range(25):
            assert site.post("/consumers", json={"username": f"u-{n}-{i}"}).status_code == 201
            assert site.get(f"/consumers/u-{n}-{i}").status_code == 200
            assert site.post("/consumers", json={"username": f"u-{n}-{i}"}).status_code == 409

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert len(gw.admin.get("/consumers?size=1000").json()["data"]) == 200


def test_pages_while_writing(gateway):
    gw = gateway()
    for i in range(30):
        gw.admin.post("/consumers", json={"username": f"u{i}", "tags": ["even" if i % 2 == 0 else "odd"]})
    seen, url = [], "/consumers?size=7&tags=even"
    while url:
        page = gw.admin.get(url).json()
        seen += [c["username"] for c in page["data"]]
        assert ("offset" in page) == (page["next"] is not None)
        url = page["next"]
    assert sorted(seen) == sorted(f"u{i}" for i in range(0, 30, 2))


def test_workers_are_told(gateway):
    """A proxy worker's connection gets {"seq":n} for commits; bursts may be merged, the last number always comes."""
    gw = gateway()
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(str(gw.prefix / "sockets" / "events.sock"))
        s.sendall(b'{"hello":"proxy","pid":1}\n')
        lines = s.makefile("rb")
        gw.admin.post("/consumers", json={"username": "one"})
        first = json.loads(lines.readline())["seq"]
        for i in range(10):
            gw.admin.post("/consumers", json={"username": f"u{i}"})
        last = first
        while last < first + 10:
            last = json.loads(lines.readline())["seq"]
        assert last == first + 10
        s.sendall(b"rubbish\n")
        assert lines.readline() == b""


def test_clients_that_do_not_read_their_answer(gateway):
    """An answer larger than what the kernel takes at once outlives the job that made it; then the client hangs up."""
    gw = gateway()
    worker = gw.workers("control")
    plugin = gw.admin.post("/plugins", json={"name": "request-termination", "config": {"body": "x" * 8_000_000}})
    assert plugin.status_code == 201
    for _ in range(3):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(20)
            s.connect(("127.0.0.1", gw.admin_port))
            s.sendall(f"GET /plugins/{plugin.json()['id']} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert s.recv(12) == b"HTTP/1.1 200"
            assert gw.admin.get("/plugins").status_code == 200  # the loop has gone on
    assert gw.admin.get("/").status_code == 200
    assert gw.workers("control") == worker


def test_reload_keeps_requests(gateway):
    """Writes go on through reloads: the old worker hands the record on to the new one."""
    gw = gateway()
    stop, done, failed = threading.Event(), [], []

    def write():
        n = 0
        while not stop.is_set():
            name, n = f"u{n}", n + 1
            try:
                status = requests.post(f"{gw.admin.base}/consumers", json={"username": name}, timeout=30).status_code
                (done if status == 201 else failed).append((name, status))
            except requests.RequestException as e:
                failed.append((name, repr(e)))

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(3):
            old = gw.workers("control")
            seen = len(done)
            gw.reload()
            wait_for(lambda: gw.workers("control") not in ([], old), "a new worker")
            wait_for(lambda: len(done) > seen + 5, "writes after the reload")
    finally:
        stop.set()
        thread.join()
    assert not failed
    names = set()
    url = "/consumers?size=1000"
    while url:
        page = gw.admin.get(url).json()
        names |= {c["username"] for c in page["data"]}
        url = page["next"]
    assert names == {name for name, _ in done}


def test_slow_client_does_not_hold_up_a_reload(gateway):
    gw = gateway()
    with socket.create_connection(("127.0.0.1", gw.admin_port)) as s:
        s.sendall(b"POST /consumers HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{")
        assert gw.admin.get("/").status_code == 200
        gw.reload()
        assert Site(gw.admin.base).post("/consumers", json={"username": "u"}).status_code == 201


def test_log_level(gateway):
    gw = gateway(log_level="notice")
    assert gw.admin.get("/debug/node/log-level").json() == {"message": "log level: notice"}
    assert gw.admin.put("/debug/node/log-level/debug").json() == {"message": "log level changed"}
    assert gw.admin.get("/debug/node/log-level").json() == {"message": "log level: debug"}
    assert gw.admin.put("/debug/node/log-level/notice?timeout=0").json() == {"message": "log level changed"}
    assert gw.admin.put("/debug/node/log-level/error?timeout=1").json() == {"message": "log level changed"}
    wait_for(lambda: gw.admin.get("/debug/node/log-level").json() == {"message": "log level: notice"}, "the level to come back")


def test_access_log(gateway):
    gw = gateway()
    gw.admin.get("/services?size=3")
    gw.wait_log(r'"GET /services\?size=3 HTTP/1.1" 200 ', name="admin_access")


def test_no_secrets_in_logs(gateway):
    """No log has the value of an argument that is a secret by its name, or a key in a path, whether the request was answered, refused by
    nginx, malformed, or never finished."""
    gw = gateway(admin_access_log="logs/admin_access.log every", nginx_http_client_header_timeout="1s",
                 nginx_http_log_format="every '\"$request\" $status $uri $request_uri $args'")
    secrets = "password=hid-1&size=3&api_key=hid-2&a%5Bclient_secret%5D=hid-3&access_token=hid-4&Authorization=hid-5&x=shown"
    assert gw.admin.get(f"/services?{secrets}").status_code == 200
    assert gw.admin.post(f"/services?{secrets}&end=1", data="x" * (11 << 20)).status_code == 413
    for path in ("/key-auths/hid-6", "/consumers/c/key-auth/hid-7", "/cache/hid-8", "/key%2Dauths/hid-9", f"/key-auths/{uuid.UUID(int=1)}",
                 "/key-sets/shown"):
        assert gw.admin.get(path).status_code == 404
    assert raw(gw.admin_port, b"GET /key-auths/hid-10?token=hid-11 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")[0] == 400
    assert raw(gw.admin_port, b"GET /key-auths/hid-12 NOT-HTTP\r\n\r\n")[0] == 400
    with socket.create_connection(("127.0.0.1", gw.admin_port)) as s:
        s.sendall(b"GET /key-auths/hid-13?token=hid-14&end=2 HTTP/1.1\r\nHost: a\r\n")
        assert s.recv(100) == b""
    assert gw.admin_tls.post("/key-auths/hid-15?token=hid-16&end=3", data="x" * (11 << 20)).status_code == 413
    for end in (1, 2, 3):
        gw.wait_log(rf"end={end}", name="admin_access")
    gw.wait_log(r"client sent duplicate host header.*request: \"GET /key-auths/\*\*\*\?token=\*\*\* HTTP/1.1\"")
    gw.wait_log(r"too large body.*request: \"POST /services\?password=\*\*\*&size=3")
    for name in ("admin_access", "error"):
        assert "hid-" not in gw.log(name)
    log = gw.log("admin_access")
    assert '"GET /services?password=***&size=3&api_key=***&a%5Bclient_secret%5D=***&access_token=***&Authorization=***&x=shown HTTP/1.1" 200' in log
    assert '"GET /consumers/c/key-auth/*** HTTP/1.1" 404' in log and f"/key-auths/{uuid.UUID(int=1)} " in log and "/key-sets/shown " in log


def test_admin_can_be_off(gateway):
    gw = gateway(start=False, admin_listen="off")
    gw.start()
    with pytest.raises(requests.ConnectionError):
        gw.admin.get("/")
