"""Kill -9 of every part, alone and all together, under load: what clients and the record must not notice."""
import fcntl
import itertools
import os
import pathlib
import shutil
import signal
import socket
import threading

import pytest
import requests

import support
from proxy_support import Raw, route_to
from support import Load, open_files, state_of, wait_for, worker_of


class WriterWatch(threading.Thread):
    """Looks again and again who has the record open, and whether anybody but the holder of the writer lock does."""

    def __init__(self, gw):
        super().__init__(daemon=True)
        self.gw, self.ending, self.looks, self.holders, self.problems = gw, threading.Event(), 0, set(), []
        self.lock, self.record = (str(gw.prefix / "store" / n) for n in ("writer.lock", "silverback.db"))

    def holder(self):
        """The pid that /proc/locks names for the lock; None when nobody holds it."""
        inode = os.stat(self.lock).st_ino
        held = [line.split() for line in pathlib.Path("/proc/locks").read_text().splitlines()]
        pids = {int(f[4]) for f in held if f[1] == "FLOCK" and f[5].rsplit(":", 1)[1] == str(inode)}
        assert len(pids) <= 1, pids
        return next(iter(pids), None)

    def look(self):
        before = self.holder()
        users = {pid for pid in self.gw.processes() if self.record in open_files(pid)}
        if before == self.holder():  # else the role changed hands meanwhile: look again
            self.looks += 1
            self.holders |= {before} - {None}
            users = {pid for pid in users if state_of(pid) is not None}
            if not users <= {before}:
                self.problems.append(f"the record is open in {users}, the writer is {before}")

    def run(self):
        while not self.ending.is_set():
            self.look()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.ending.set()
        self.join(30)


KILLS = {"control's worker": lambda gw: gw.workers("control")[0], "control's master": lambda gw: gw.pid("control"),
         "the proxy's master": lambda gw: gw.pid("proxy")}


@pytest.mark.parametrize("victim", KILLS)
def test_killed_under_keepalive_load(gateway, echo_server, victim):
    """24 clients on kept connections see nothing; Admin writes again; one writer at a time."""
    gw = gateway()
    gw.allow_log(r"signal 9|the master of (proxy|control)")
    route_to(gw, echo_server.url)
    with WriterWatch(gw) as watch, Load(gw.proxy_port, "/s", clients=24, pause=0.01) as load:
        for n in range(3):
            pid = KILLS[victim](gw)
            os.kill(pid, signal.SIGKILL)
            wait_for(lambda: state_of(pid) is None, "its end")
            wait_for(lambda: requests.post(f"{gw.admin.base}/consumers", json={"username": f"u{n}"}, timeout=5).status_code in (201, 409),
                     "Admin to write", timeout=15)
            wait_for(lambda: len(gw.workers("control")) == 1 and len(gw.workers("proxy")) == 2 and gw.pid("proxy") != pid, "all to be back")
            load.wait(300)
        looked = watch.looks
        wait_for(lambda: watch.looks > max(20, looked + 2), "enough looks at the writer")
    assert load.errors == []
    if victim != "the proxy's master":
        assert load.retries == 0, "the proxy's connections have nothing to do with control"
        assert len(watch.holders) >= 2
    assert watch.problems == []


def test_killed_worker_fails_only_its_own_requests(gateway, echo_server):
    gw = gateway()
    gw.allow_log(r"exited on signal 9")
    route_to(gw, echo_server.url)
    by_worker = {pid: [] for pid in gw.workers("proxy")}
    for _ in range(200):
        raw = Raw(gw.proxy_port)
        raw.send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n").response()
        by_worker[worker_of(gw, raw.sock)].append(raw)
        if all(len(c) >= 4 for c in by_worker.values()):
            break
    (victim, hit), (other, spared) = by_worker.items()
    seen = len(echo_server.requests)
    for raw in hit[:4] + spared[:4]:
        raw.send("GET /s?delay=1.5 HTTP/1.1\r\nHost: h\r\n\r\n")
    wait_for(lambda: len(echo_server.requests) == seen + 8, "eight requests under way")
    os.kill(victim, signal.SIGKILL)
    for raw in hit[:4]:
        try:
            assert raw.closed()
        except ConnectionResetError:
            pass
    for raw in spared[:4]:
        assert raw.response()[0] == 200
    wait_for(lambda: len(gw.workers("proxy")) == 2 and victim not in gw.workers("proxy"), "another worker")
    assert other in gw.workers("proxy")
    came = set()
    for _ in range(400):
        raw = Raw(gw.proxy_port)
        assert raw.send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n").response()[0] == 200
        came.add(worker_of(gw, raw.sock))
        if came == set(gw.workers("proxy")):
            break
    assert came == set(gw.workers("proxy")), "both workers take requests"


class Storm(threading.Thread):
    """Makes, moves and removes routes over the Admin API and remembers what was acknowledged; `unsure` is what was under way."""

    def __init__(self, gw, number, service):
        super().__init__(daemon=True)
        self.base, self.number, self.service = gw.admin.base, number, service
        self.paths, self.gone, self.unsure, self.acknowledged, self.ending = {}, set(), set(), 0, threading.Event()

    def send(self, method, path, status, body=None):
        r = requests.request(method, self.base + path, json=body, timeout=30)
        assert r.status_code == status, r.text
        self.acknowledged += 1

    def run(self):
        for n in itertools.count():
            if self.ending.is_set():
                return
            name = f"w{self.number}-{n}"
            self.unsure = {name}
            try:
                self.send("POST", "/routes", 201, {"name": name, "paths": [f"/{name}/first"], "service": {"id": self.service}})
                self.paths[name] = f"/{name}/first"
                if n % 3 == 1:
                    self.send("PATCH", f"/routes/{name}", 200, {"paths": [f"/{name}/second"]})
                    self.paths[name] = f"/{name}/second"
                if n % 3 == 2:
                    self.send("DELETE", f"/routes/{name}", 204)
                    del self.paths[name]
                    self.gone.add(name)
                self.unsure = set()
            except requests.RequestException:
                return  # killed: what was under way may or may not have happened


@pytest.mark.parametrize("model", ["kept", "lost", "broken"])
def test_everything_killed_in_a_write_storm(gateway, echo_server, model):
    """Every acknowledged write is there after the next start and served, whether the read model survived or not."""
    gw = gateway()
    service, _ = route_to(gw, echo_server.url)
    for again in range(2):
        storms = [Storm(gw, f"{again}{i}", service["id"]) for i in range(3)]
        for storm in storms:
            storm.start()
        wait_for(lambda: sum(s.acknowledged for s in storms) > 120, "acknowledged writes", timeout=60)
        kill_all(gw)
        for storm in storms:
            storm.ending.set()
            storm.join(40)
        damage(gw.prefix / "run" / "model", model)
        gw.start()
        check_record(gw, storms)


def kill_all(gw):
    pids = list(gw.processes())
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    wait_for(lambda: not any(state_of(p) for p in pids), "the end of all")


def damage(folder, how):
    assert folder.is_dir()
    if how == "lost":
        shutil.rmtree(folder)
    elif how == "broken":
        for file in folder.rglob("*"):
            if file.is_file() and file.stat().st_size > 4096:
                with open(file, "r+b") as f:
                    f.write(os.urandom(4096))


def check_record(gw, storms):
    site = support.Site(gw.proxy.base)
    rows, url = {}, "/routes?size=1000"
    while url:
        page = gw.admin.get(url).json()
        rows.update({r["name"]: r["paths"] for r in page["data"] if r["name"]})
        url = page["next"]
    for storm in storms:
        for name, path in storm.paths.items():
            if name in storm.unsure:
                continue
            assert rows[name] == [path]
            assert site.get(path).status_code == 200, path
            other = path.replace("first", "second") if "first" in path else path.replace("second", "first")
            assert site.get(other).status_code == 404, other
        for name in storm.gone:
            assert name not in rows and site.get(f"/{name}/first").status_code == 404
        for name in storm.unsure:  # record and read model agree, whatever became of it
            for path in (f"/{name}/first", f"/{name}/second"):
                assert (site.get(path).status_code == 200) == (rows.get(name) == [path])


def test_supervisor_killed_under_load(gateway, echo_server):
    """Nothing of the node lives on unmanaged; `start` says so and works, with all that was written."""
    gw = gateway()
    route_to(gw, echo_server.url)
    pids = list(gw.processes())
    for _ in range(40):
        gw.proxy.get("/s")
    os.kill(gw.pid(), signal.SIGKILL)
    wait_for(lambda: not any(state_of(p) for p in pids), "the end of the others")
    health = gw.run("health", "-p", str(gw.prefix))
    assert health.returncode == 1
    with open(gw.prefix / "store" / "writer.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert gw.start().stdout == "Kong started\n"
    assert gw.proxy.get("/s").status_code == 200 and gw.admin.post("/consumers", json={"username": "u"}).status_code == 201


# ---- reload ----

class SlowServer:
    """Takes one connection at a time and leaves it to the test what to say and when."""

    def __init__(self, port):
        self.sock = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{port}"

    def accept(self):
        conn, _ = self.sock.accept()
        conn.settimeout(30)
        return conn


def test_begun_requests_live_through_reloads(gateway, ports):
    """A slow upload, a slow download and a WebSocket go on in the old workers while new ones take over."""
    gw = gateway()
    server = SlowServer(ports.take())
    route_to(gw, server.url, response_buffering=False)
    down = Raw(gw.proxy_port).send("GET /s/down HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    down_up = server.accept()
    Raw.until(wrap(down_up), b"\r\n\r\n")
    down_up.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nab")
    down.until(b"\r\n\r\n")
    while down.buffer != b"ab":
        assert down.fill()
    up = Raw(gw.proxy_port).send("POST /s/up HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\nConnection: close\r\n\r\nab")
    ws = Raw(gw.proxy_port).send("GET /s/ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    ws_up = server.accept()
    Raw.until(wrap(ws_up), b"\r\n\r\n")
    ws_up.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert ws.response()[0] == 101
    old = {worker_of(gw, r.sock) for r in (down, up, ws)}
    for _ in range(2):
        gw.reload()
        assert not old & set(gw.workers("proxy"))
        ws.send("ping")
        assert ws_up.recv(4) == b"ping"
        ws_up.sendall(b"pong")
        while ws.buffer != b"pong":
            assert ws.fill()
        ws.buffer = b""
    up.send("cdef")
    up_up = server.accept()
    Raw.until(wrap(up_up), b"abcdef")
    up_up.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert up.response()[0::2] == (200, b"ok")
    down_up.sendall(b"cdef")
    while down.fill():
        pass
    assert down.buffer == b"abcdef"
    for conn in (down_up, ws_up, up_up, down.sock, up.sock, ws.sock):
        conn.close()
    wait_for(lambda: not any(state_of(pid) for pid in old), "the old workers to end")


class wrap:  # noqa: N801 - gives Raw's reader another socket
    fill = Raw.fill

    def __init__(self, sock):
        self.sock, self.buffer = sock, b""


def test_reload_takes_settings(gateway, echo_server):
    """Settings of a file given to reload count in both instances, for kept clients too, under load."""
    gw = gateway()
    route_to(gw, echo_server.url)
    conf = gw.prefix / "new.conf"
    conf.write_text("headers = off\nnginx_http_client_max_body_size = 5\nnginx_proxy_add_header = X-New yes always\nadmin_access_log = logs/new.log\n"
                    "trusted_ips = 127.0.0.1\nerror_default_type = text/html\n")
    kept = Raw(gw.proxy_port)
    assert "via" in kept.send("GET /s HTTP/1.1\r\nHost: h\r\n\r\n").response()[1]
    with Load(gw.proxy_port, "/s", clients=8, pause=0.005) as load:
        gw.reload("-c", str(conf))
        load.wait(100)
    assert load.errors == []
    r = gw.proxy.get("/s", headers={"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Host": "far.test"})
    assert r.headers["X-New"] == "yes" and "Via" not in r.headers and "X-Kong-Request-Id" not in r.headers
    assert r.json()["headers"]["x-forwarded-host"] == "far.test"
    assert gw.proxy.post("/s", data="123456").status_code == 413
    assert Raw(gw.proxy_port).send("GET / HTTP/1.1\r\n\r\n").response()[1]["content-type"].startswith("text/html")
    assert "X-Kong-Admin-Latency" not in support.Site(gw.admin.base).get("/").headers
    wait_for(lambda: "GET / " in gw.log("new"), "the new access log")
