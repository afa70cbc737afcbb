#!/usr/bin/python3
"""make soak MINUTES=10: mixed load while the configuration changes ten times a second. Nothing unexpected may be answered, and no memory grow.

A node with two workers gets load of all kinds (clients.py: kept and closed HTTP/1.1, bodies, TLS by name, HTTP/2, WebSocket, gRPC), each kind
in a process of its own, while one change after another goes through the Admin API (changes.py: routes, targets, certificates, native and Lua
plugins). Every answer is compared with what its path may answer (plan.py), and each change is seen by the next request. The private
memory of each process of the node is read every second; after the first quarter, the run's warming up, it must not grow.

Ends with 0 only when nothing was found: no unexpected answer, no growth, no restarted worker, no alert in the log. A node with findings
keeps its prefix.

  soak.py [--minutes 10] [--every 0.1] [--seed N]
"""
import argparse
import collections
import http.client
import multiprocessing
import os
import pathlib
import queue
import random
import shutil
import sqlite3
import sys
import tempfile
import time
import types

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration"), str(HERE.parent / "bench")]
import changes   # noqa: E402
import clients   # noqa: E402
import harness   # noqa: E402
import plan      # noqa: E402
import support   # noqa: E402
from bench import Progress  # noqa: E402
from stats import median, table  # noqa: E402
from tls_support import shown  # noqa: E402

WORKERS = 2
GROWTH_KB, GROWTH_PART = 1024, 0.04  # of the measured part of a run: noise of the allocator and of what is in flight


class Services(multiprocessing.Process):
    """What stands behind the gateway and does not change: echo, WebSocket and gRPC, in a process of its own. ports: filled when it is ready."""

    def __init__(self):
        super().__init__(daemon=True)
        self.told, self.telling = multiprocessing.Pipe(False)

    def run(self):
        import grpc_support
        from test_proxy_protocols import WebSocketServer
        echo, chat, grpc = support.EchoServer(0), WebSocketServer(), grpc_support.Server()
        echo.requests = grpc.service.calls = collections.deque(maxlen=1)
        self.telling.send((echo.server_address[1], chat.server.getsockname()[1], grpc.port))
        parent = os.getppid()
        while os.getppid() == parent:
            time.sleep(1)

    def ports(self):
        if not self.told.poll(60):
            raise RuntimeError("the services did not start")
        return self.told.recv()


def target_servers(work, ports):
    """One nginx that answers on each port with the target's name."""
    servers = "\n".join(f'server {{ listen 127.0.0.1:{p} backlog=4096; location / {{ return 200 "target-{i}"; }} }}' for i, p in enumerate(ports))
    return harness.Nginx(work, "targets", f"access_log off; default_type text/plain;\n{servers}", None)


class Memory:
    """Private kilobytes of each process of the node, by time. Control keeps the pages of the record in memory (at most 64 MiB), and the record
    grows with its log of changes: there, the size of the record is taken off."""

    def __init__(self, gw):
        self.control = gw.workers("control")
        self.pids = {pid: f"proxy worker {i + 1}" for i, pid in enumerate(gw.workers("proxy"))}
        self.pids.update((pid, "control, without the record's pages") for pid in self.control)
        self.samples = {pid: [] for pid in self.pids}
        self.record = gw.prefix / "store" / "silverback.db"

    def record_kb(self):
        db = sqlite3.connect(f"file:{self.record}?mode=ro", uri=True)
        try:
            return db.execute("select page_count * page_size / 1024 from pragma_page_count, pragma_page_size").fetchone()[0]
        finally:
            db.close()

    def sample(self, at):
        for pid, seen in self.samples.items():
            seen.append((at, harness.private_kb(pid) - (self.record_kb() if pid in self.control else 0)))

    def rows(self):
        """(name, at the start, after warming up, at the end, growth by the fitted line, whether that is too much)"""
        out = []
        for pid, seen in self.samples.items():
            settled = seen[len(seen) // 4:]
            slope, growth = fitted_growth(settled)
            level = median([kb for _, kb in settled])
            out.append([self.pids[pid], seen[0][1], settled[0][1], settled[-1][1], round(slope * 60, 1), round(growth),
                        growth > max(GROWTH_KB, GROWTH_PART * level)])
        return out


def fitted_growth(samples):
    """Slope (KB a second) of the least-squares line, and what it makes over the samples' time."""
    n = len(samples)
    mean_t, mean_kb = sum(t for t, _ in samples) / n, sum(kb for _, kb in samples) / n
    spread = sum((t - mean_t) ** 2 for t, _ in samples)
    slope = sum((t - mean_t) * (kb - mean_kb) for t, kb in samples) / spread if spread else 0
    return slope, slope * (samples[-1][0] - samples[0][0])


class Run:
    def __init__(self, args):
        self.args, self.findings = args, []
        self.ports, self.gw, self.targets, self.load = support.Ports(), None, None, []
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="sbsoak-", dir="/tmp"))
        self.work.chmod(0o755)
        self.services, self.found, self.ending = Services(), multiprocessing.Queue(), multiprocessing.Event()
        self.done = {kind: multiprocessing.Value("q", 0) for kind in clients.CLIENTS}
        self.changed, self.late = 0, 0

    # ---- before ----

    def start(self):
        self.services.start()
        inside = self.services.ports()
        target_ports = [self.ports.take() for _ in range(plan.TARGETS)]
        self.targets = target_servers(str(self.work), target_ports)
        support.wait_for(lambda: all(harness.listening(p) for p in target_ports), "the targets")
        self.start_node()
        connection = http.client.HTTPConnection("127.0.0.1", self.gw.proxy_port, timeout=60)
        self.changes = changes.Changes(self.gw, self.args.seed, target_ports, connection)
        self.changes.ids["default"] = shown(self.gw, "nobody.example")
        self.changes.prepare(*inside)

    def start_node(self):
        path = support.write_plugin(self.work, "soak", plan.LUA_HANDLER, plan.LUA_SCHEMA)
        grpc_port = self.ports.take()
        self.gw = support.Gateway(self.ports, {"plugins": "bundled,soak", "lua_package_path": path, "log_level": "notice",
                                               "nginx_worker_processes": WORKERS, "proxy_access_log": "off", "admin_access_log": "off"})
        self.gw.settings["proxy_listen"] += f", 127.0.0.1:{grpc_port} http2"
        self.gw.start()
        self.site = types.SimpleNamespace(proxy_port=self.gw.proxy_port, tls_port=self.gw.tls_port, grpc_port=grpc_port, parent=os.getpid())

    def start_load(self):
        self.site.shown = changes.may_be_shown(self.changes)
        for i, kind in enumerate(clients.CLIENTS):
            p = multiprocessing.Process(target=clients.run, daemon=True,
                                        args=(kind, self.site, self.args.seed + i, self.ending, self.done[kind], self.found))
            p.start()
            self.load.append(p)

    # ---- meanwhile ----

    def change(self):
        try:
            self.changes.any()
            self.changed += 1
        except Exception as e:  # noqa: BLE001 - every kind of failure is a finding
            self.findings.append(("changes", repr(e)))
            self.changes.connection.close()

    def take_findings(self):
        try:
            while True:
                self.findings.append(self.found.get_nowait())
        except queue.Empty:
            pass

    def measure(self):
        memory, progress = Memory(self.gw), Progress(max(1, round(self.args.minutes * 60)), "soak, seconds")
        start = due = time.monotonic()
        while (now := time.monotonic()) < start + self.args.minutes * 60 and len(self.findings) < clients.FINDINGS_MAX:
            self.change()
            due += self.args.every
            self.late += time.monotonic() > due + self.args.every
            time.sleep(max(0, due - time.monotonic()))
            due = max(due, time.monotonic() - self.args.every)  # a slow change is not made up for by a burst
            if now - start >= progress.done:
                memory.sample(now - start)
                self.take_findings()
                progress.step()
        return memory

    # ---- after ----

    def end_load(self):
        self.ending.set()
        for p in self.load:
            p.join(90)
            if p.is_alive():
                self.findings.append(("soak", f"the client process {p.pid} did not end: an answer never came"))
                p.kill()
        self.take_findings()

    def check_node(self, memory):
        now = set(self.gw.workers("proxy")) | set(self.gw.workers("control"))
        if now != set(memory.pids):
            self.findings.append(("node", f"workers were {sorted(memory.pids)}, are {sorted(now)}"))
        errors = [line for line in self.gw.log().splitlines() if "[error]" in line or "[crit]" in line]
        self.findings += [("error.log", line) for line in errors[:10]]

    def close(self):
        self.ending.set()
        for p in self.load:
            if p.is_alive():
                p.kill()
        if self.gw is not None:
            try:
                self.gw.close(bool(self.findings))
            except AssertionError as e:
                self.findings.append(("node", str(e)))
        if self.targets is not None:
            self.targets.stop()
        if self.services.pid is not None:
            self.services.kill()
        self.ports.release()
        shutil.rmtree(self.work, ignore_errors=True)


def report(run, memory):
    rows = memory.rows() if memory else []
    asked = {kind: n.value for kind, n in run.done.items()}
    print("\n" + table(["client", "answers"], [[k, n] for k, n in asked.items()]))
    print(f"\n{run.changed} changes, each seen by the next request; {run.late} came later than planned.\n")
    print(table(["process", "private KB at first", "warm", "at the end", "KB a minute", "growth KB", "verdict"],
                [r[:-1] + ["GROWS" if r[-1] else "flat"] for r in rows]))
    idle = [k for k, n in asked.items() if n == 0]
    if idle:
        run.findings.append(("soak", f"nothing was answered to {idle}"))
    for kind, text in run.findings[:clients.FINDINGS_MAX]:
        print(f"\nFOUND by {kind}: {text}")
    print(f"\nsoak: {sum(asked.values())} answers, {run.changed} changes, {len(run.findings)} unexpected, seed {run.args.seed}")
    return 1 if run.findings or not rows or any(r[-1] for r in rows) else 0


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--minutes", type=float, default=10)
    ap.add_argument("--every", type=float, default=0.1, help="seconds from change to change")
    ap.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    args = ap.parse_args()
    run, memory = Run(args), None
    try:
        run.start()
        run.start_load()
        memory = run.measure()
        run.end_load()
        run.check_node(memory)
    finally:
        run.close()
    return report(run, memory)


if __name__ == "__main__":
    sys.exit(main())
