"""What the benchmark runs against: small servers it starts and ends itself, on free loopback ports, one worker each.

A Target has a url, the pid whose CPU counts, and a wrk script. CPU is the scheduler's own count for the process (utime + stime
in nanoseconds, /proc/<pid>/schedstat): the tick-based fields of /proc/<pid>/stat are too coarse for one-second slices.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SB_BUILD", os.path.join(ROOT, "build"))
BODY = "x" * 1024


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(check, what, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.02)
    raise RuntimeError(f"gave up waiting for {what}")


def listening(port):
    with socket.socket() as s:
        s.settimeout(0.5)
        return s.connect_ex(("127.0.0.1", port)) == 0


def children(pid):
    out = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as f:
                    fields = f.read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                out.append(int(entry))
    return out


def cpu_model():
    with open("/proc/cpuinfo") as f:
        for line in f:
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return "unknown"


def cpu_ns(pid):
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0])


def private_kb(pid):
    total = 0
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            if line.startswith("Private_"):
                total += int(line.split()[1])
    return total


class Process:
    """A child with its own process group, ended by pid."""

    def __init__(self, argv, env=None, cpu=None, log=None):
        prefix = ["taskset", "-c", str(cpu)] if cpu is not None else []
        self.log = open(log, "ab") if log else subprocess.DEVNULL
        self.p = subprocess.Popen(prefix + argv, env=env, stdout=self.log, stderr=self.log, start_new_session=True)

    def stop(self):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            try:
                self.p.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.p.pid, signal.SIGKILL)
                self.p.wait()


NGINX_HEAD = """
daemon off; worker_processes 1; error_log {dir}/error.log warn; pid {dir}/nginx.pid; user www-data;
events {{ worker_connections {connections}; multi_accept on; }}  # as the node has it
http {{
  client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3; uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
  keepalive_requests 1000000000; keepalive_timeout 75s; sendfile on; tcp_nodelay on; tcp_nopush on;
"""


class Nginx:
    def __init__(self, workdir, name, http, cpu, connections=1024):
        self.dir = os.path.join(workdir, name)
        os.makedirs(self.dir)
        os.chmod(self.dir, 0o777)
        conf = os.path.join(self.dir, "nginx.conf")
        with open(conf, "w") as f:
            f.write(NGINX_HEAD.format(dir=self.dir, connections=connections) + http + "\n}\n")
        self.process = Process(["nginx", "-c", conf, "-e", f"{self.dir}/error.log"], cpu=cpu, log=f"{self.dir}/out.log")

    def worker(self):
        found = []

        def look():
            found[:] = children(self.process.p.pid)
            return bool(found)
        wait_for(look, f"the worker of {self.dir}")
        return found[0]

    def stop(self):
        self.process.stop()


def upstream(workdir, cpu):
    port = free_port()
    n = Nginx(workdir, "upstream", f"""
  access_log off;
  server {{ listen 127.0.0.1:{port} backlog=4096; default_type text/plain; location / {{ return 200 "{BODY}"; }} }}""", cpu, 4096)
    wait_for(lambda: listening(port), "the upstream")
    n.port = port
    return n


def nginx_bare(workdir, name, up_port, cpu):
    """Comparison (a): proxy_pass with keep-alive, nothing added, no access log."""
    port = free_port()
    n = Nginx(workdir, name, f"""
  access_log off;
  upstream up {{ server 127.0.0.1:{up_port}; keepalive 512; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}""", cpu)
    wait_for(lambda: listening(port), name)
    n.port = port
    return n


def nginx_full(workdir, name, up_port, cpu):
    """Comparison (b): the same request and response headers and the same access log as the gateway's defaults."""
    port = free_port()
    n = Nginx(workdir, name, f"""
  log_format gw '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                '"$http_referer" "$http_user_agent" kong_request_id: "$request_id"';
  access_log {workdir}/{name}/access.log gw;
  server_tokens off;
  upstream up {{ server 127.0.0.1:{up_port}; keepalive 512; keepalive_requests 1000000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://up; proxy_http_version 1.1;
      proxy_set_header Connection "keep-alive";
      proxy_set_header Host $proxy_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Forwarded-Path $request_uri;
      proxy_set_header X-Forwarded-Prefix /r0;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Kong-Request-Id $request_id;
      proxy_set_header Via "1.1 kong/3.9.1";
      add_header Via "1.1 kong/3.9.1" always;
      add_header X-Kong-Upstream-Latency $upstream_response_time always;
      add_header X-Kong-Proxy-Latency $request_time always;
      add_header X-Kong-Request-Id $request_id always;
    }} }}""", cpu)
    wait_for(lambda: listening(port), name)
    n.port = port
    return n


class Haproxy:
    def __init__(self, workdir, up_port, cpu):
        self.port = free_port()
        conf = os.path.join(workdir, "haproxy.cfg")
        with open(conf, "w") as f:
            f.write(f"""
global
  nbthread 1
  maxconn 1024
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend f
  bind 127.0.0.1:{self.port}
  default_backend b
backend b
  server s 127.0.0.1:{up_port}
""")
        self.process = Process(["haproxy", "-db", "-f", conf], cpu=cpu, log=f"{workdir}/haproxy.log")
        wait_for(lambda: listening(self.port), "haproxy")

    def worker(self):
        return self.process.p.pid

    def stop(self):
        self.process.stop()


class Gateway:
    """A Silverback node of one worker on its own prefix."""

    def __init__(self, workdir, name, cpu, settings=None, binary=None):
        self.prefix = os.path.join(workdir, name)
        os.makedirs(self.prefix)
        self.port, self.admin_port, self.tls_port, self.admin_tls_port = (free_port() for _ in range(4))
        self.binary = binary or os.path.join(BUILD, "bin/silverback")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("KONG_")}
        self.env.update({
            "KONG_PREFIX": self.prefix,
            "KONG_PROXY_LISTEN": f"127.0.0.1:{self.port} backlog=4096, 127.0.0.1:{self.tls_port} http2 ssl",
            "KONG_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
            "KONG_STATUS_LISTEN": "off",
            "KONG_NGINX_MAIN_WORKER_PROCESSES": "1",
            "KONG_NGINX_EVENTS_WORKER_CONNECTIONS": "1024",
            "KONG_NGINX_HTTP_KEEPALIVE_REQUESTS": "1000000000",
            "KONG_UPSTREAM_KEEPALIVE_MAX_REQUESTS": "1000000000",
        })
        self.env.update(settings or {})
        pin = ["taskset", "-c", str(cpu)] if cpu is not None else []
        done = subprocess.run(pin + [self.binary, "start"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"{name} did not start:\n{done.stdout}")

    def worker(self):
        found = []

        def look():
            with open(f"{self.prefix}/pids/proxy.pid") as f:
                found[:] = children(int(f.read()))
            return bool(found)
        wait_for(look, "the proxy's worker")
        return found[0]

    def admin(self, method, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        req = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}{path}", data=data, method=method,
                                     headers={"Content-Type": "application/json"} if data else {})
        with urllib.request.urlopen(req, timeout=60) as res:
            text = res.read()
            return json.loads(text) if text else None

    def stop(self):
        subprocess.run([self.binary, "stop", "-p", self.prefix], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=60, check=False)


def wrk(url, script=None, seconds=1, connections=32, cpu=None):
    """One slice of load. Returns requests done, errors, p50 and p99 in microseconds, requests per second."""
    argv = (["taskset", "-c", str(cpu)] if cpu is not None else []) + [
        "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script or os.path.join(ROOT, "tests/bench/plain.lua"), url]
    out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 30, check=True).stdout
    m = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) ([\d.]+)", out)
    if m is None:
        raise RuntimeError(f"wrk said:\n{out}")
    return {"requests": int(m[1]), "errors": int(m[2]), "p50_us": int(m[3]), "p99_us": int(m[4]), "rps": float(m[5])}


def h2load(url, log, seconds=1, connections=16, streams=4, cpu=None):
    """The same over HTTP/2. log: a file to write to."""
    if os.path.exists(log):
        os.remove(log)
    argv = (["taskset", "-c", str(cpu)] if cpu is not None else []) + [
        "h2load", "-t1", f"-c{connections}", f"-m{streams}", f"-D{seconds}", f"--log-file={log}", url]
    out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 60, check=True).stdout
    m = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", out)
    status = re.search(r"status codes: (\d+) 2xx", out)
    if m is None or status is None:
        raise RuntimeError(f"h2load said:\n{out}")
    with open(log) as f:
        took = sorted(int(line.split()[2]) for line in f)
    done = int(m[2])
    return {"requests": done, "errors": int(m[3]) + int(m[4]) + int(m[5]) + max(0, done - int(status[1])), "p50_us": took[len(took) // 2],
            "p99_us": took[len(took) * 99 // 100], "rps": done / seconds}


def need(*programs):
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        raise SystemExit(f"the benchmark needs {', '.join(missing)}: run `make deps`")
