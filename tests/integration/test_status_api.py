"""The Status API: its own listener, answered by the proxy whether or not control is there."""
import os
import signal

import support
from support import Site, wait_for

NOT_FOUND = {"message": "Not found"}
JSON = "application/json; charset=utf-8"


def test_endpoints(gateway):
    gw = gateway()
    for path, status, body in (("/status/ready", 200, {"message": "ready"}),
                               ("/status/dns", 501, {"message": "not implemented with the legacy DNS client"}),
                               ("/", 404, NOT_FOUND), ("/services", 404, NOT_FOUND), ("/metrics", 404, NOT_FOUND),
                               ("/upstreams/u/health", 404, NOT_FOUND),
                               ("/status?unit=x", 400, {"message": "invalid unit 'x' (expected 'k/K', 'm/M', or 'g/G')"})):
        r = gw.status.get(path)
        assert (r.status_code, r.json(), r.headers["Content-Type"]) == (status, body, JSON), path
        assert r.headers["Server"] == "kong/3.9.1" and r.headers["X-Kong-Admin-Latency"].isdigit()
        head = gw.status.head(path)
        assert (head.status_code, head.content) == (status, b"")
    assert gw.status.options("/status").headers["Allow"] == "GET, HEAD, OPTIONS"
    assert gw.status.options("/status/ready").headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    r = gw.status.put("/status")
    assert (r.status_code, r.json()) == (405, {"message": "Method not allowed"})
    assert gw.admin.get("/status/ready").status_code == 404, "only on the Status API"


def test_status(gateway):
    gw = gateway()
    status = gw.status.get("/status").json()
    assert set(status) == {"database", "memory", "server"} and status["database"] == {"reachable": True}
    assert set(status["memory"]) == {"lua_shared_dicts", "workers_lua_vms"}
    before = status["server"]["total_requests"]
    for _ in range(5):
        gw.proxy.get("/")
    after = gw.status.get("/status").json()["server"]
    assert after["total_requests"] == before + 5, "its own requests are not counted"
    assert set(after) == set(gw.admin.get("/status").json()["server"])


def test_without_control(gateway):
    """Control stops: the proxy still serves, and says so; the record cannot be reached."""
    gw = gateway()
    control = gw.pid("control")
    workers = gw.workers("control")
    for pid in [control, *workers]:
        os.kill(pid, signal.SIGSTOP)
    try:
        assert gw.status.get("/status/ready").status_code == 200
        assert gw.status.get("/status").status_code == 200
    finally:
        for pid in [control, *workers]:
            os.kill(pid, signal.SIGCONT)
    gw.allow_log(r"exited on signal|worker process|control")
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
    assert gw.status.get("/status/ready").status_code == 200
    wait_for(lambda: gw.status.get("/status").json()["database"] == {"reachable": True}, "another control worker")


def test_draining(gateway):
    gw = gateway()
    for body in ({"status": "ready"}, {}, {"status": 1}):
        r = gw.status.post("/status/ready", json=body)
        assert (r.status_code, r.json()) == (400, {"message": "status must be 'draining'"})
    r = gw.status.post("/status/ready", data="{", headers={"Content-Type": "application/json"})
    assert (r.status_code, r.json()) == (400, {"message": "Cannot parse JSON body"})
    r = gw.status.post("/status/ready", json={"status": "draining"})
    assert (r.status_code, r.content) == (204, b"")
    for _ in range(8):
        r = gw.status.get("/status/ready")
        assert (r.status_code, r.json()) == (503, {"message": "draining"})
    assert gw.proxy.get("/").status_code == 404, "it still serves what comes"
    gw.reload()
    assert gw.status.get("/status/ready").status_code == 503
    gw.restart()
    assert gw.status.get("/status/ready").status_code == 200


def test_tls_and_off(gateway):
    ports = support.Ports()
    tls = ports.take()
    gw = gateway(status_listen=f"127.0.0.1:{tls} ssl http2", status_access_log="logs/status_access.log")
    site = Site(f"https://127.0.0.1:{tls}")
    assert site.get("/status/ready").json() == {"message": "ready"}
    gw.wait_log(r'"GET /status/ready HTTP/1.1" 200 ', name="status_access")
    ports.release()
    gw = gateway(status_listen="off")
    assert gw.admin.get("/status").status_code == 200


def test_what_nginx_refuses(gateway):
    from test_admin_http import raw
    gw = gateway()
    assert raw(gw.status_port, b"NOT HTTP\r\n\r\n") == (400, b'{"message":"Bad request"}')
    long = b"GET /" + b"x" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"
    assert raw(gw.status_port, long) == (414, b'{"message":"URI too long"}')
