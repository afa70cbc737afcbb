#!/usr/bin/python3
"""Instructions and system calls per proxied request, by function: what a change to the request path costs, without the noise of clocks.

A worker of each kind runs under valgrind's callgrind, as one process, while a fixed number of requests goes through it in waves over
kept connections. User-space instructions are counted, not the kernel's; --strace counts system calls on an ordinary worker instead.

  profile.py [--requests 2000] [--functions 25] [--strace] KIND…
  KIND: nginx, nginx-full, bare, full, routes (10,000), unique (the same, paths never repeat), lua,
        and the cases of traffic_cases.py without TLS by their key: regex, nginx-regex …
"""

import argparse
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
import loader   # noqa: E402
from bench import BARE, LUA  # noqa: E402
from traffic_cases import CASES, make_sides, many_addresses  # noqa: E402

WAVE = 16
BY_KEY = {c.key: c for c in CASES if not c.tls}
KINDS = ("nginx", "nginx-full", "bare", "full", "routes", "unique", "lua", *BY_KEY, *("nginx-" + key for key in BY_KEY))


def request_text(path):
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n\r\n".encode()


class Waves:
    """WAVE connections that all send before any answer is read, as a load generator keeps them busy."""

    def __init__(self, port):
        self.conns = [loader.Connection(port) for _ in range(WAVE)]
        self.sent = 0

    def run(self, requests, text_of):
        for _ in range(requests // WAVE):
            for c in self.conns:
                if c.sock is None:
                    c.connect()
                c.sock.sendall(text_of(self.sent))
                self.sent += 1
            for c in self.conns:
                status, _ = c.read("GET")
                if status != 200:
                    raise RuntimeError(f"answered {status}")


def single_process(conf_path, work, name):
    """A copy of an nginx configuration that runs as one process on a port of its own."""
    with open(conf_path) as f:
        text = f.read()
    port = harness.free_port()
    text = re.sub(r"(?m)^\s*(daemon|master_process|worker_processes|pid|user)\s[^;]*;", "", text.replace("daemon off; worker_processes 1;", ""))
    text = re.sub(r"pid [^;]*; user [^;]*;", "", text)
    text = re.sub(r"listen 127\.0\.0\.1:\d+([^;]*);", lambda m: "" if "ssl" in m[1] else f"listen 127.0.0.1:{port}{m[1]};", text)
    text = re.sub(r"(?m)^\s*ssl_certificate(_key)?\s[^;]*;\n", "", text)
    path = os.path.join(work, f"{name}-single.conf")
    with open(path, "w") as f:
        f.write(f"daemon off;\nmaster_process off;\npid {work}/{name}-single.pid;\n" + text)
    return path, port


def case_of(kind):
    return BY_KEY.get(kind.removeprefix("nginx-"))


def texts(kind, routes):
    """The requests of a kind, by number."""
    if case_of(kind):
        return case_of(kind).request
    if kind == "routes":
        return lambda i: request_text(f"/r{i * 7919 % routes:06d}/anything")
    if kind == "unique":
        return lambda i: request_text(f"/r{i * 7919 % routes:06d}/{i:x}-one")
    return lambda i: request_text("/r000000/anything")


def start(kind, work, up, routes):
    """The ordinary server of a kind, its configuration file, and what stops it."""
    if kind in ("nginx", "nginx-full"):
        make = harness.nginx_bare if kind == "nginx" else harness.nginx_full
        server = make(work, kind, up.port, None)
        return server, os.path.join(server.dir, "nginx.conf")
    if case_of(kind):
        return start_case(kind, work, up)
    settings = {"full": {}, "lua": dict(BARE, **LUA)}.get(kind, BARE)
    g = harness.Gateway(work, kind, None, settings)
    loader.load_routes(g, up.port, routes if kind in ("routes", "unique") else 1, "bench-header" if kind == "lua" else None)
    return g, os.path.join(g.prefix, "nginx.conf")


class Several:
    """A server and what must end with it."""

    def __init__(self, server, others):
        self.server, self.others, self.port = server, others, server.port

    def worker(self):
        return self.server.worker()

    def stop(self):
        for s in [self.server] + self.others:
            s.stop()


def start_case(kind, work, up):
    folder = os.path.join(work, kind)
    os.makedirs(folder, mode=0o755)
    many = many_addresses(folder, None)
    gateway, native = make_sides(case_of(kind), folder, None, (up.port, many.port))
    if kind.startswith("nginx-"):
        return Several(native, [gateway, many]), os.path.join(native.dir, "nginx.conf")
    return Several(gateway, [native, many]), os.path.join(gateway.prefix, "nginx.conf")


def control(pid, *args):
    subprocess.run(["callgrind_control", *args, str(pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, timeout=120)


def callgrind(kind, work, conf, requests, text_of):
    single, port = single_process(conf, work, kind)
    out = os.path.join(work, f"{kind}.callgrind")
    p = harness.Process(["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}", "--cache-sim=no",
                         "nginx", "-c", single, "-e", f"{work}/{kind}.err"], log=f"{work}/{kind}.log")
    try:
        harness.wait_for(lambda: harness.listening(port), f"{kind} under valgrind", 120)
        waves = Waves(port)
        waves.run(requests // 2, text_of)
        control(p.p.pid, "-i", "on")
        waves.run(requests, text_of)
        control(p.p.pid, "-i", "off")
        p.p.terminate()
        p.p.wait(120)
    finally:
        p.stop()
    return out


def report(out, requests, functions):
    total, rows = 0, []
    for path in sorted(glob.glob(out + "*")):
        text = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100", path], stdout=subprocess.PIPE, text=True, check=True).stdout
        for line in text.splitlines():
            m = re.match(r"\s*([\d,]+)(?:\s+\(\s*[\d.]+%\))?\s+(\S.*)$", line)
            if m is None:
                continue
            n = int(m[1].replace(",", ""))
            if "PROGRAM TOTALS" in m[2]:
                total += n
            else:
                where, _, function = m[2].partition(":")
                rows.append((n, re.sub(r" \[.*/", " [", function or where)))
    rows.sort(reverse=True)
    print(f"  {total / requests:.0f} instructions per request")
    for n, function in rows[:functions]:
        print(f"  {n / requests:8.1f}  {function}")
    return total / requests


def strace(server, port, requests, text_of, work, kind):
    waves = Waves(port)
    waves.run(requests // 4, text_of)
    out = os.path.join(work, f"{kind}.strace")
    p = subprocess.Popen(["strace", "-c", "-o", out, "-p", str(server.worker())], stderr=subprocess.DEVNULL)
    harness.wait_for(lambda: "TracerPid:\t0" not in open(f"/proc/{server.worker()}/status").read(), "strace")
    waves.run(requests, text_of)
    p.send_signal(2)
    p.wait()
    for line in open(out):
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit():
            print(f"  {int(fields[3]) / requests:8.3f}  {fields[-1]}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("kinds", nargs="*", default=["nginx", "bare"], choices=KINDS)
    ap.add_argument("--requests", type=int, default=2000)
    ap.add_argument("--routes", type=int, default=10000)
    ap.add_argument("--functions", type=int, default=25)
    ap.add_argument("--strace", action="store_true")
    ap.add_argument("--keep", action="store_true", help="keep the work folder")
    args = ap.parse_args()
    harness.need("nginx", "strace" if args.strace else "valgrind")
    requests = args.requests // WAVE * WAVE
    work = tempfile.mkdtemp(prefix="sbprofile-", dir="/tmp")
    os.chmod(work, 0o755)
    up = harness.upstream(work, None)
    try:
        for kind in args.kinds:
            server, conf = start(kind, work, up, args.routes)
            print(f"{kind}:", flush=True)
            try:
                if args.strace:
                    strace(server, server.port, requests, texts(kind, args.routes), work, kind)
                else:
                    report(callgrind(kind, work, conf, requests, texts(kind, args.routes)), requests, args.functions)
            finally:
                server.stop()
    finally:
        up.stop()
        if args.keep:
            print(work)
        else:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
