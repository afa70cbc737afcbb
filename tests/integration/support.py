"""What the integration tests stand on: one node with its own prefix and ports, servers to put behind it, and ways to wait.

A test asks for the `gateway` fixture (conftest.py) and calls it with settings:

    def test_something(gateway, echo_server):
        gw = gateway(plugins="bundled,my-plugin")
        gw.admin.post("/services", json={"name": "s", "url": echo_server.url})
        assert gw.proxy.get("/s").status_code == 200

Nothing here sleeps for a guessed time: wait_for() polls a condition and says what it waited for when it gives up.
"""
import fcntl
import http.client
import http.server
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

import requests

import sanitizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("SB_BUILD", ROOT / "build"))
PROGRAM = BUILD / "bin" / "silverback"
START_TIMEOUT = 60
# A log line that no test may cause unless it says so (Gateway.allow_log).
BAD_LOG = re.compile(r"\[(alert|emerg)\]|assertion|open socket #\d+ left")


def wait_for(condition, what, timeout=20, interval=0.02):
    """Calls condition() until it returns something true, and returns that. Exceptions of connections count as not yet."""
    end = time.monotonic() + timeout
    problem = None
    while True:
        try:
            result = condition()
            if result:
                return result
        except (OSError, requests.RequestException, AssertionError) as e:
            problem = e
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout} s for: {what}" + (f" (last: {problem!r})" if problem else ""))
        time.sleep(interval)


class Ports:
    """Loopback ports below the ephemeral range, each held by a lock file so that parallel runs never share one."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.gettempdir()) / f"silverback-ports-{os.getuid()}"
        self.folder.mkdir(exist_ok=True)
        self.held = []

    def take(self):
        for _ in range(2000):
            port = random.randrange(20000, 31000)
            lock = open(self.folder / str(port), "w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                with socket.socket() as s:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind(("127.0.0.1", port))
            except OSError:
                lock.close()
                continue
            self.held.append(lock)
            return port
        raise RuntimeError("no free port found")

    def release(self):
        for lock in self.held:
            lock.close()
        self.held = []


class Site(requests.Session):
    """A requests session whose URLs may be paths; does not follow redirects, read proxies from the environment, or verify TLS."""

    def __init__(self, base):
        super().__init__()
        self.base = base
        self.trust_env = False
        self.verify = False

    def request(self, method, url, **kw):
        kw.setdefault("timeout", 30)
        kw.setdefault("allow_redirects", False)
        return super().request(method, self.base + url if url.startswith("/") else url, **kw)


def processes_in(folder):
    """pid -> command line of every process whose working directory is the folder (a node's processes keep the one it was started in)."""
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if os.readlink(entry / "cwd") == str(folder):
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
    return found


def state_of(pid):
    """The state letter of a process; None when it is gone (or only waits to be reaped)."""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None
    return None if state in "ZX" else state


def children_of(pid):
    try:
        return [int(p) for t in pathlib.Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]
    except OSError:
        return []


def worker_of(gw, sock):
    """The pid of the proxy worker that holds the other end of a client's connection; None when none does."""
    client, server = sock.getsockname()[1], sock.getpeername()[1]
    inode = None
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == server and int(fields[2].split(":")[1], 16) == client:
            inode = f"socket:[{fields[9]}]"
    for pid in gw.workers("proxy"):
        if inode in open_files(pid):
            return pid
    return None


def open_files(pid):
    """What a process has open, as its links in /proc name it."""
    found = set()
    try:
        for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(os.readlink(fd))
            except OSError:
                continue
    except OSError:
        pass
    return found


class Gateway:
    """One node. Settings are keyword arguments (name=value, as in kong.conf) and reach the node through its environment."""

    def __init__(self, ports, settings, env=None):
        self.prefix = pathlib.Path(tempfile.mkdtemp(prefix="sb-", dir="/tmp"))
        self.prefix.chmod(0o755)
        self.proxy_port, self.tls_port, self.admin_port, self.admin_tls_port, self.status_port = (ports.take() for _ in range(5))
        self.settings = {
            "prefix": str(self.prefix),
            "proxy_listen": f"127.0.0.1:{self.proxy_port} reuseport backlog=16384, 127.0.0.1:{self.tls_port} http2 ssl reuseport backlog=16384",
            "admin_listen": f"127.0.0.1:{self.admin_port}, 127.0.0.1:{self.admin_tls_port} http2 ssl",
            "status_listen": f"127.0.0.1:{self.status_port}",
            "nginx_worker_processes": 2,
            "nginx_events_worker_connections": 1024,
            "log_level": "info",
            **settings,
        }
        self.extra_env = env or {}
        self.allowed = []
        self.admin = Site(f"http://127.0.0.1:{self.admin_port}")
        self.status = Site(f"http://127.0.0.1:{self.status_port}")
        self.proxy = Site(f"http://127.0.0.1:{self.proxy_port}")
        self.proxy_tls = Site(f"https://127.0.0.1:{self.tls_port}")
        self.admin_tls = Site(f"https://127.0.0.1:{self.admin_tls_port}")

    def environ(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("KONG_")}
        env.update({"KONG_" + k.upper(): str(v) for k, v in self.settings.items() if v is not None})
        if os.environ.get("SB_SANITIZER"):
            env["LD_PRELOAD"] = os.environ["SB_SANITIZER"]
        env.update(self.extra_env)
        return env

    def run(self, *args, check=False, timeout=START_TIMEOUT + 30, name="silverback"):
        """Runs a verb. Standard output and error come back as text."""
        result = subprocess.run([PROGRAM.with_name(name), *args], cwd=self.prefix, env=self.environ(), timeout=timeout,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert not sanitizer.REPORT.search(result.stderr), result.stderr
        if check and result.returncode != 0:
            raise AssertionError(f"silverback {shlex.join(args)} -> {result.returncode}\n{result.stdout}{result.stderr}\n{self.log_tail()}")
        return result

    def start(self, *args):
        return self.run("start", *args, check=True)

    def stop(self):
        return self.run("stop", "-p", str(self.prefix), check=True)

    def restart(self, *args):
        return self.run("restart", *args, check=True)

    def reload(self, *args):
        return self.run("reload", "-p", str(self.prefix), *args, check=True)

    def pid(self, name="nginx"):
        """From P/pids: "nginx" (the supervisor), "proxy" or "control" (the masters)."""
        return int((self.prefix / "pids" / f"{name}.pid").read_text())

    def workers(self, instance="proxy"):
        """Pids of an instance's worker processes that are not on their way out."""
        found = []
        for pid in children_of(self.pid(instance)):
            try:
                title = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:
                continue
            if b"worker process" in title and b"shutting down" not in title:
                found.append(pid)
        return found

    def processes(self):
        return processes_in(self.prefix)

    def log(self, name="error"):
        path = self.prefix / "logs" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def log_tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def wait_log(self, pattern, name="error", timeout=20):
        return wait_for(lambda: re.search(pattern, self.log(name)), f"{pattern!r} in {name}.log", timeout)

    def allow_log(self, pattern):
        """This test causes such lines; they are no failure."""
        self.allowed.append(re.compile(pattern))

    def bad_log_lines(self):
        lines = [line for path in sorted((self.prefix / "logs").glob("*")) if "access" not in path.name
                 for line in path.read_text(errors="replace").splitlines()] if (self.prefix / "logs").exists() else []
        return [line for line in lines if sanitizer.REPORT.search(line) or BAD_LOG.search(line) and not any(a.search(line) for a in self.allowed)]

    def close(self, failed=False):
        """Stops the node, and fails when something of it lives on or its log holds what no log should."""
        for site in (self.admin, self.proxy, self.proxy_tls, self.admin_tls):
            site.close()
        stopped = self.run("stop", "-p", str(self.prefix)) if self.processes() else None
        try:
            wait_for(lambda: not self.processes(), "all processes of the node to end", timeout=20)
            left = {}
        except AssertionError:
            left = self.processes()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        bad = self.bad_log_lines()
        if failed or left or bad:
            print(f"\nkept: {self.prefix}\n{self.log_tail()}")
        else:
            shutil.rmtree(self.prefix, ignore_errors=True)
        assert stopped is None or stopped.returncode == 0, f"stop failed: {stopped.stderr}"
        assert not left, f"processes left behind: {left}"
        assert not bad, "in the node's log:\n" + "\n".join(bad[:20])


class EchoHandler(http.server.BaseHTTPRequestHandler):
    """Answers with the request as JSON. The query string steers: status=, delay= (seconds), close=1 (no response at all),
    chunked=1, size= (that many bytes instead of JSON), header=Name:value (repeatable), connection=close."""

    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            data = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self):
        body = self.body()
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
        seen = {
            "method": self.command, "path": url.path, "query": url.query, "uri": self.path, "version": self.request_version,
            "headers": {k.lower(): v for k, v in self.headers.items()}, "header_list": list(self.headers.items()),
            "body": body.decode("latin-1"), "port": self.server.server_address[1], "client": list(self.client_address),
        }
        self.server.requests.append(seen)
        if "delay" in query:
            time.sleep(float(query["delay"][0]))
        if "close" in query:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.respond(query, seen)

    def respond(self, query, seen):
        status = int(query.get("status", ["200"])[0])
        out = b"x" * int(query["size"][0]) if "size" in query else json.dumps(seen).encode()
        self.send_response(status)
        for header in query.get("header", []):
            self.send_header(*header.split(":", 1))
        if "connection" in query:
            self.send_header("Connection", query["connection"][0])
            self.close_connection = query["connection"][0] == "close"
        self.send_header("Content-Type", "application/json")
        if "chunked" in query:
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for i in range(0, len(out), 100):
                part = out[i:i + 100]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            self.wfile.write(b"0\r\n\r\n")
        elif status not in (204, 304):
            self.send_header("Content-Length", str(len(out)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(out)
        else:
            self.end_headers()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = answer

    def log_message(self, *args):
        pass


class EchoServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port):
        super().__init__(("127.0.0.1", port), EchoHandler)
        self.requests = []       # what arrived, oldest first
        self.connections = 0     # accepted so far
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def get_request(self):
        self.connections += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        pass  # clients that go away are part of what is tested

    def close(self):
        self.shutdown()
        self.server_close()


def start_httpbin(port):
    """httpbin under gunicorn, ready to answer."""
    process = subprocess.Popen(["/usr/bin/python3", "-m", "gunicorn", "-b", f"127.0.0.1:{port}", "--threads", "8", "httpbin:app"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(lambda: requests.get(f"http://127.0.0.1:{port}/get", timeout=5).ok, "httpbin to answer", timeout=60)
    return process


class Load:
    """Clients that ask for one path over kept connections until the block ends, and count what goes wrong.

    As HTTP allows, a client sends a request once more when a reused connection closes before any byte of an answer. Everything else is an
    error: a refused connection, a cut answer, another status than expected.
    """

    def __init__(self, port, path="/", expect=200, clients=4, headers=None, pause=0.0):
        self.port, self.path, self.expect, self.headers, self.pause = port, path, expect, headers or {}, pause
        self.done, self.retries, self.errors = 0, 0, []
        self.lock = threading.Lock()
        self.ending = threading.Event()
        self.threads = [threading.Thread(target=self.client, daemon=True) for _ in range(clients)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        self.wait(20)
        return self

    def __exit__(self, *exc):
        self.ending.set()
        for t in self.threads:
            t.join(30)

    def wait(self, more, timeout=60):
        """Until so many more requests have been answered: what has just happened has been lived through."""
        goal = self.done + more
        wait_for(lambda: self.done >= goal or self.errors, f"{more} more answers", timeout)

    def ask(self, connection):
        connection.request("GET", self.path, headers=self.headers)
        response = connection.getresponse()
        response.read()
        if response.status != self.expect:
            raise AssertionError(f"status {response.status}")
        return response

    def once(self, connection, reused):
        """One request; returns the connection to use next."""
        try:
            self.ask(connection)
            return connection
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if not reused:
                raise
        connection.close()
        with self.lock:
            self.retries += 1
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        self.ask(connection)
        return connection

    def client(self):
        connection = None
        while not self.ending.is_set():
            reused = connection is not None and connection.sock is not None
            connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
            try:
                connection = self.once(connection, reused)
                with self.lock:
                    self.done += 1
            except Exception as e:  # noqa: BLE001 - every kind is a failed request
                with self.lock:
                    self.errors.append(repr(e))
                connection.close()
                connection = None
            if self.pause:
                time.sleep(self.pause)
        if connection:
            connection.close()


def write_plugin(folder, name, handler, schema=None):
    """Writes kong/plugins/<name>/{handler,schema}.lua below the folder; returns the lua_package_path that finds it."""
    where = pathlib.Path(folder) / "kong" / "plugins" / name
    where.mkdir(parents=True, exist_ok=True)
    if schema is None:
        schema = f'return {{ name = "{name}", fields = {{ {{ config = {{ type = "record", fields = {{}} }} }} }} }}'
    (where / "handler.lua").write_text(handler)
    (where / "schema.lua").write_text(schema)
    return f"{folder}/?.lua;;"
