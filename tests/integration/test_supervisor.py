"""The supervisor: what dies is replaced, and clients of the proxy do not notice."""
import os
import pathlib
import signal
import socket
import subprocess

import pytest
import requests

import support
from support import Load, wait_for

NO_ROUTE = 404  # what a node without configuration answers


def serve(gw, echo_server):
    """A route whose requests go through to a service: /s"""
    assert gw.admin.post("/services", json={"name": "s", "url": echo_server.url}).status_code == 201
    assert gw.admin.post("/services/s/routes", json={"paths": ["/s"]}).status_code == 201


def up(gw):
    return gw.run("health", "-p", str(gw.prefix)).returncode == 0


def test_start_and_stop(gateway):
    gw = gateway(start=False)
    assert gw.start().stdout == "Kong started\n"
    assert gw.proxy.get("/").status_code == NO_ROUTE
    assert gw.proxy_tls.get("/").status_code == NO_ROUTE
    assert gw.admin.get("/").status_code == 200
    assert gw.pid() in gw.processes() and len(gw.workers("proxy")) == 2 and len(gw.workers("control")) == 1
    assert gw.stop().stdout == "Kong stopped\n"
    assert not gw.processes()
    assert sorted(p.name for p in (gw.prefix / "pids").iterdir()) == ["lock"]


def test_workers_are_unprivileged(gateway):
    gw = gateway()
    owners = {pathlib.Path(f"/proc/{pid}").stat().st_uid for i in ("proxy", "control") for pid in gw.workers(i)}
    assert 0 not in owners
    assert (gw.prefix / ".kong_env").stat().st_mode & 0o777 == 0o600


def test_second_start_is_refused(gateway):
    gw = gateway()
    again = gw.run("start")
    assert again.returncode == 1
    assert again.stderr.startswith(f"Error: Kong is already running in {gw.prefix}\n")
    assert gw.proxy.get("/").status_code == NO_ROUTE


@pytest.mark.parametrize("taken", ["proxy_port", "admin_port"])
def test_taken_port_leaves_nothing(gateway, taken):
    gw = gateway(start=False)
    port = getattr(gw, taken)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(("127.0.0.1", port))
        s.listen()
        failed = gw.run("start")
    assert failed.returncode == 1
    assert f"127.0.0.1:{port} failed (98: Address already in use)" in failed.stderr
    assert not gw.processes()
    gw.start()


def test_invalid_injected_directive_leaves_nothing(gateway):
    gw = gateway(start=False, nginx_http_no_such_directive="on")
    gw.allow_log("unknown directive")
    failed = gw.run("start")
    assert failed.returncode == 1 and 'unknown directive "no_such_directive"' in failed.stderr
    assert not gw.processes()


def test_proxy_master_killed_under_load(gateway, echo_server):
    gw = gateway()
    serve(gw, echo_server)
    gw.allow_log(r"the master of proxy")
    with Load(gw.proxy_port, "/s") as load:
        for _ in range(3):
            master, workers = gw.pid("proxy"), gw.workers("proxy")
            os.kill(master, signal.SIGKILL)
            wait_for(lambda: gw.pid("proxy") != master and up(gw), "a new proxy master")
            load.wait(200)
            wait_for(lambda: not any(support.state_of(p) for p in workers), "the orphaned workers to end")
        load.wait(200)
    assert load.errors == []


def test_proxy_worker_killed(gateway):
    """Only what was in that worker may fail."""
    gw = gateway()
    gw.allow_log(r"exited on signal 9")
    old = gw.workers("proxy")
    os.kill(old[0], signal.SIGKILL)
    wait_for(lambda: len(gw.workers("proxy")) == 2 and old[0] not in gw.workers("proxy"), "a new worker")
    for _ in range(20):
        assert gw.proxy.get("/", headers={"Connection": "close"}).status_code == NO_ROUTE


@pytest.mark.parametrize("victim", ["worker", "master"])
def test_control_killed_under_load(gateway, echo_server, victim):
    gw = gateway()
    serve(gw, echo_server)
    gw.allow_log(r"exited on signal 9|the master of control")
    with Load(gw.proxy_port, "/s") as load:
        for _ in range(3):
            before = gw.workers("control")[0]
            os.kill(before if victim == "worker" else gw.pid("control"), signal.SIGKILL)
            wait_for(lambda: gw.admin.get("/", headers={"Connection": "close"}, timeout=5).status_code == 200 and
                     gw.workers("control") not in ([], [before]), "Admin to be back")
            assert support.state_of(before) is None, "two writers at once"
            load.wait(100)
    assert load.errors == []


def test_killed_supervisor_takes_its_instances_along(gateway):
    gw = gateway()
    pids = list(gw.processes())
    os.kill(gw.pid(), signal.SIGKILL)
    wait_for(lambda: not any(support.state_of(p) for p in pids), "all to end")
    gw.start()
    assert gw.proxy.get("/").status_code == NO_ROUTE


def test_reload_under_load(gateway, echo_server):
    gw = gateway()
    serve(gw, echo_server)
    with Load(gw.proxy_port, "/s", clients=8) as load:
        for _ in range(4):
            before = gw.workers("proxy")
            assert gw.reload().stdout == "Kong reloaded\n"
            assert not set(before) & set(gw.workers("proxy"))
            load.wait(200)
    assert load.errors == []


def test_hup_is_a_reload(gateway):
    gw = gateway()
    before = gw.workers("proxy") + gw.workers("control")
    os.kill(gw.pid(), signal.SIGHUP)
    wait_for(lambda: up(gw) and not set(before) & set(gw.workers("proxy") + gw.workers("control")) and "supervisor: reloaded" in gw.log(),
             "new workers of both")


def test_reload_tells_clients_to_reconnect(gateway, echo_server):
    """A client that keeps its connection busy is told `Connection: close` before its worker goes, and not once the reload is over."""
    gw = gateway()
    serve(gw, echo_server)
    told = []
    with requests.Session() as session:
        session.trust_env = False

        def connection():
            answer = session.get(f"http://127.0.0.1:{gw.proxy_port}/s", timeout=30)
            return answer.headers["Connection"]

        assert connection() == "keep-alive"
        reload = subprocess.Popen([support.PROGRAM, "reload", "-p", str(gw.prefix)], cwd=gw.prefix, env=gw.environ(), stdout=subprocess.DEVNULL)
        while reload.poll() is None:
            told.append(connection())
        assert reload.returncode == 0
        assert "close" in told
        assert {connection() for _ in range(20)} == {"keep-alive"}


def test_last_answer_of_a_leaving_worker_says_so(gateway):
    gw = gateway(nginx_worker_processes=1)
    with socket.create_server(("127.0.0.1", 0)) as service, socket.create_connection(("127.0.0.1", gw.proxy_port)) as client:
        assert gw.admin.post("/services", json={"name": "s", "url": f"http://127.0.0.1:{service.getsockname()[1]}"}).status_code == 201
        assert gw.admin.post("/services/s/routes", json={"paths": ["/s"]}).status_code == 201
        client.sendall(b"GET /s HTTP/1.1\r\nHost: a\r\n\r\n")
        held, _ = service.accept()
        with held:
            gw.reload()
            held.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            answer = b""
            while chunk := client.recv(65536):
                answer += chunk
    assert answer.endswith(b"ok") and b"\r\nConnection: close\r\n" in answer


def test_reload_with_other_ports(gateway, ports):
    """Addresses that stay are served throughout; new ones appear, old ones go."""
    gw = gateway()
    new, conf = ports.take(), gw.prefix / "new.conf"
    old_tls = gw.tls_port
    conf.write_text(f"proxy_listen = 127.0.0.1:{gw.proxy_port} reuseport backlog=16384, 127.0.0.1:{new}\nnginx_worker_processes = 3\n")
    del gw.settings["proxy_listen"], gw.settings["nginx_worker_processes"]
    with Load(gw.proxy_port, expect=NO_ROUTE) as load:
        gw.reload("-c", str(conf))
        load.wait(100)
    assert load.errors == []
    assert support.Site(f"http://127.0.0.1:{new}").get("/").status_code == NO_ROUTE
    wait_for(lambda: len(gw.workers("proxy")) == 3, "three workers")
    wait_for(lambda: not listening(old_tls), "the old port to be closed")


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_failed_reload_changes_nothing(gateway):
    gw = gateway()
    gw.allow_log("unknown directive")
    workers, env = gw.workers("proxy") + gw.workers("control"), (gw.prefix / ".kong_env").read_bytes()
    conf = gw.prefix / "bad.conf"
    conf.write_text("nginx_http_no_such_directive = on\n")
    failed = gw.run("reload", "-p", str(gw.prefix), "-c", str(conf))
    assert failed.returncode == 1 and 'unknown directive "no_such_directive"' in failed.stderr
    assert gw.workers("proxy") + gw.workers("control") == workers
    assert (gw.prefix / ".kong_env").read_bytes() == env
    assert not list(gw.prefix.glob("*.try")) and not (gw.prefix / ".kong_env.next").exists()
    assert gw.reload().returncode == 0


def test_quit_finishes_what_has_begun(gateway, echo_server):
    gw = gateway()
    serve(gw, echo_server)
    with socket.create_connection(("127.0.0.1", gw.proxy_port)) as s:
        s.sendall(b"GET /s?delay=2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        wait_for(lambda: echo_server.requests, "the request to be under way")
        assert gw.run("quit", "-p", str(gw.prefix)).stdout == "Kong stopped (gracefully)\n"
        answer = b"".join(iter(lambda: s.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200")
    assert not gw.processes()


def test_quit_gives_up(gateway, echo_server):
    gw = gateway()
    serve(gw, echo_server)
    gw.allow_log("open socket #|aborting")  # what a finishing worker of nginx says when it is cut short
    with socket.create_connection(("127.0.0.1", gw.proxy_port)) as s:
        s.sendall(b"GET /s?delay=30 HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: echo_server.requests, "the request to be under way")
        assert gw.run("quit", "-p", str(gw.prefix), "-t", "0.5").stdout == "Timeout, Kong stopped forcefully\n"
    assert not gw.processes()


def test_logs_are_reopened(gateway):
    gw = gateway()
    log = gw.prefix / "logs" / "access.log"
    gw.proxy.get("/before")
    wait_for(lambda: "/before" in gw.log("access"), "the access log")
    log.rename(log.with_suffix(".1"))
    os.kill(gw.pid(), signal.SIGUSR1)
    wait_for(log.exists, "a new log file")
    wait_for(lambda: gw.proxy.get("/after").status_code == NO_ROUTE and "/after" in gw.log("access"), "the new file to be written")


def test_foreground(gateway):
    """nginx_main_daemon = off: the verb is the node, says where it listens, and ends on SIGINT."""
    gw = gateway(start=False, nginx_main_daemon="off")
    process = subprocess.Popen([support.PROGRAM, "start"], cwd=gw.prefix, env=gw.environ(), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "Kong started\n"
        text = "".join(process.stdout.readline() for _ in range(4))
        assert f"http://127.0.0.1:{gw.proxy_port}" in text and f"http://127.0.0.1:{gw.admin_port}" in text
        assert gw.proxy.get("/").status_code == NO_ROUTE
        assert gw.pid() == process.pid
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not gw.processes()


def test_tells_the_service_manager(gateway, workdir):
    """systemd's Type=notify: READY=1 comes when the node serves, STOPPING=1 when it goes."""
    gw = gateway(start=False, nginx_main_daemon="off")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(workdir / "notify"))
        manager.settimeout(support.START_TIMEOUT)
        process = subprocess.Popen([support.PROGRAM, "start"], cwd=gw.prefix, env=gw.environ() | {"NOTIFY_SOCKET": str(workdir / "notify")},
                                   stdout=subprocess.DEVNULL)
        assert manager.recv(100) == b"READY=1"
        assert gw.proxy.get("/").status_code == NO_ROUTE and gw.admin.get("/").status_code == 200
        process.send_signal(signal.SIGQUIT)
        assert manager.recv(100) == b"STOPPING=1"
        assert process.wait(timeout=support.START_TIMEOUT) == 0
