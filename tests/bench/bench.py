#!/usr/bin/python3
"""make bench: what a request and a change cost, against nginx and HAProxy on the same machine.

Request cost is the worker's CPU time per request, as a ratio to a neighbouring slice of the baseline: subject and baseline slices
alternate, second by second, so that what else the machine does hits both. A row is the median ratio over the rounds with its 95 %
interval; the A/A row (nginx against a second nginx) shows what noise alone gives. A bound is missed only when the whole
interval lies above it. Writes build/bench.json and prints the tables; --save writes docs/performance.md's figures too.

  bench.py [--rounds 40] [--only PATTERN] [--small] [--no-config] [--save]
  bench.py --admin …   the Admin API with many rows instead: admin_bench.py
  bench.py --traffic … more kinds of routes and connections instead: traffic_bench.py
"""

import argparse
import json
import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
import loader   # noqa: E402
from stats import median, median_interval, table  # noqa: E402

GATEWAY_CPU, LOAD_CPU = 0, 1
BARE = {"KONG_HEADERS": "off", "KONG_PROXY_ACCESS_LOG": "off", "KONG_ADMIN_ACCESS_LOG": "off"}
LUA = {"KONG_PLUGINS": "bundled,bench-header", "KONG_LUA_PACKAGE_PATH": f"{harness.ROOT}/tests/bench/lua/?.lua;;"}


class Target:
    def __init__(self, name, server, port, script="plain.lua", env=None):
        self.name, self.server, self.port, self.env = name, server, port, env or {}
        self.script = os.path.join(harness.ROOT, "tests/bench", script)
        self.pid = server.worker()
        self.slices = []

    def load(self, seconds):
        """A slice's load: what harness.wrk returns."""
        return harness.wrk(f"http://127.0.0.1:{self.port}/", self.script, seconds, cpu=LOAD_CPU)

    def slice(self, seconds, seed):
        os.environ.update(self.env, BENCH_SEED=str(seed))
        before = harness.cpu_ns(self.pid)
        r = self.load(seconds)
        r["cpu_us"] = (harness.cpu_ns(self.pid) - before) / 1000 / max(1, r["requests"])
        if r["errors"]:
            raise RuntimeError(f"{self.name}: {r['errors']} failed requests of {r['requests']}")
        self.slices.append(r)
        return r


class Row:
    """subject against baseline, with the bound the project sets itself (None: no bound)."""

    def __init__(self, name, subject, baseline, bound=None):
        self.name, self.subject, self.baseline, self.bound = name, subject, baseline, bound
        self.ratios, self.subject_slices, self.baseline_slices = [], [], []

    def run_round(self, seconds, seed):
        order = [self.subject, self.baseline]
        random.shuffle(order)
        got = {t.name: t.slice(seconds, seed * 1000 + i) for i, t in enumerate(order)}
        s, b = got[self.subject.name], got[self.baseline.name]
        self.subject_slices.append(s)
        self.baseline_slices.append(b)
        self.ratios.append(s["cpu_us"] / b["cpu_us"])

    def result(self):
        low, high = median_interval(self.ratios)
        out = {"row": self.name, "subject": self.subject.name, "baseline": self.baseline.name, "slices": len(self.ratios),
               "ratio": round(median(self.ratios), 3), "low": round(low, 3), "high": round(high, 3), "bound": self.bound,
               "missed": self.bound is not None and low > self.bound, "private_kb": harness.private_kb(self.subject.pid)}
        for key in ("cpu_us", "rps", "p50_us", "p99_us"):
            out[key] = round(median([x[key] for x in self.subject_slices]), 1)
            out["baseline_" + key] = round(median([x[key] for x in self.baseline_slices]), 1)
        return out


class Progress:
    def __init__(self, total, what):
        self.total, self.done, self.what, self.start = total, 0, what, time.monotonic()

    def step(self, n=1):
        self.done += n
        if sys.stderr.isatty() or self.done == self.total:
            left = (time.monotonic() - self.start) / self.done * (self.total - self.done)
            filled = 30 * self.done // self.total
            end = "\n" if self.done == self.total else ""
            sys.stderr.write(f"\r{self.what} [{'#' * filled}{'.' * (30 - filled)}] {self.done}/{self.total} {left:4.0f} s left {end}")
            sys.stderr.flush()


def make_gateways(work, up, sizes):
    """The nodes: bare and default settings with one route, one per table size, one with a Lua plugin."""
    nodes = {}

    def node(name, settings, routes, plugin=None):
        g = harness.Gateway(work, name, GATEWAY_CPU, settings)
        g.import_s = loader.load_routes(g, up.port, routes, plugin)
        nodes[name] = g
    node("bare", BARE, 1)
    node("full", {}, 1)
    for n in sizes:
        node(f"r{n}", BARE, n)
    node("lua", dict(BARE, **LUA), 1, "bench-header")
    return nodes


def make_rows(work, up, nodes, sizes):
    ng = harness.nginx_bare(work, "nginx-a", up.port, GATEWAY_CPU)
    ng2 = harness.nginx_bare(work, "nginx-aa", up.port, GATEWAY_CPU)
    ngfull = harness.nginx_full(work, "nginx-b", up.port, GATEWAY_CPU)
    ha = harness.Haproxy(work, up.port, GATEWAY_CPU)
    servers = [ng, ng2, ngfull, ha]
    t_ng, t_ng2 = Target("nginx bare", ng, ng.port), Target("nginx bare again", ng2, ng2.port)
    t_full, t_ha = Target("nginx full", ngfull, ngfull.port), Target("haproxy", ha, ha.port)
    one = Target("1 route", nodes["bare"], nodes["bare"].port)
    rows = [
        Row("A/A: nginx against itself", t_ng2, t_ng),
        Row("(a) 1 route, headers and logs off", one, t_ng, 1.08),
        Row("(b) 1 route, all defaults", Target("1 route, defaults", nodes["full"], nodes["full"].port), t_full, 1.00),
        Row("HAProxy, nothing added", t_ha, t_ng),
    ]
    for n in sizes:
        g = nodes[f"r{n}"]
        for unique, bound in ((False, 1.10), (True, 1.20)):
            name = f"{n} routes, {'never-repeating paths' if unique else 'random'}"
            asked = {"BENCH_ROUTES": str(n), "BENCH_UNIQUE": "1" if unique else "0"}
            t = Target(name, g, g.port, "routes.lua", dict(asked, BENCH_FIXED="0"))
            base = Target("1 route, load made alike", nodes["bare"], nodes["bare"].port, "routes.lua", dict(asked, BENCH_FIXED="1"))
            rows.append(Row(f"{name}, to 1 route", t, base, bound if n == 100000 else None))
    rows.append(Row("1 Lua plugin adding a header", Target("lua", nodes["lua"], nodes["lua"].port), t_ng))
    return rows, servers


def visit_all(g, n):
    """Every route once, so that what a worker keeps of them is in its memory figure."""
    conn = loader.Connection(g.port)
    for i in range(n):
        status, _ = conn.request("GET", f"/r{i:06d}/visit")
        if status != 200:
            raise RuntimeError(f"/r{i:06d}: {status}")
    conn.close()


def raw_insert_us(work):
    """One durable SQLite insert of a route-sized row: the floor for a write that survives a power cut."""
    db = sqlite3.connect(os.path.join(work, "raw.db"), isolation_level=None)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    db.execute("create table if not exists t (id text primary key, body text)")
    start = time.perf_counter()
    db.execute("insert into t values (?, ?)", (os.urandom(16).hex(), "r" * 600))
    took = (time.perf_counter() - start) * 1e6
    db.close()
    return took


def write_until_served_us(g, conn_admin, conn_proxy, service_id, serial):
    """POST a route, then ask for it: from the first byte of the POST until a proxied 200."""
    path = f"/w{serial}"
    body = json.dumps({"name": f"w{serial}", "paths": [path], "service": {"id": service_id}})
    start = time.perf_counter()
    status, text = conn_admin.request("POST", "/routes", body)
    if status != 201:
        raise RuntimeError(f"POST /routes: {status} {text[:200]}")
    status, _ = conn_proxy.request("GET", path)
    took = (time.perf_counter() - start) * 1e6
    if status != 200:
        raise RuntimeError(f"{path} answered {status} right after 201")
    conn_admin.request("DELETE", f"/routes/w{serial}")
    return took


def config_figures(work, nodes, sizes, rounds):
    """Edits at each table size, a raw insert in the same round, and the worst proxied latency while edits go on."""
    out, raw, times = [], {}, {}
    prepared = {}
    for n in sizes:
        g = nodes["bare" if n == 1 else f"r{n}"]
        prepared[n] = (g, loader.Connection(g.admin_port), loader.Connection(g.port), g.admin("GET", "/services/bench")["id"])
        times[n], raw[n] = [], []
    progress = Progress(rounds * len(sizes), "edits")
    for i in range(rounds):
        for n in sizes:
            g, admin, proxy, service = prepared[n]
            raw[n].append(raw_insert_us(work))
            times[n].append(write_until_served_us(g, admin, proxy, service, f"{n}-{i}"))
            progress.step()
    for n in sizes:
        ratios = [t / r for t, r in zip(times[n], raw[n])]
        low, high = median_interval(ratios)
        out.append({"routes": n, "write_until_served_us": round(median(times[n])), "raw_insert_us": round(median(raw[n])),
                    "ratio": round(median(ratios), 2), "low": round(low, 2), "high": round(high, 2), "bound": 5,
                    "missed": low > 5, "worst_latency_ms": worst_latency_ms(prepared[n], n)})
    for n in sizes:
        prepared[n][1].close()
        prepared[n][2].close()
    base = next((r for r in out if r["routes"] == 100), None)
    for r in out:
        r["to_100_routes"] = round(r["write_until_served_us"] / base["write_until_served_us"], 2) if base else None
    return out


def worst_latency_ms(prepared, n, edits=200):
    g, admin, proxy, service = prepared
    stop, worst = threading.Event(), [0.0]

    def load():
        conn = loader.Connection(g.port)
        while not stop.is_set():
            start = time.perf_counter()
            conn.request("GET", "/r000000/latency")
            worst[0] = max(worst[0], time.perf_counter() - start)
        conn.close()
    t = threading.Thread(target=load)
    t.start()
    try:
        for i in range(edits):
            write_until_served_us(g, admin, proxy, service, f"lat-{n}-{i}")
    finally:
        stop.set()
        t.join()
    return round(worst[0] * 1000, 2)


def requests_table(results):
    return table(["row", "ratio", "interval", "bound", "µs", "base µs", "req/s", "base req/s", "p50 µs", "p99 µs", "private MB"], [
        [r["row"], r["ratio"], f"{r['low']} – {r['high']}",
         "–" if r["bound"] is None else f"{r['bound']} {'MISSED' if r['missed'] else 'held'}",
         r["cpu_us"], r["baseline_cpu_us"], int(r["rps"]), int(r["baseline_rps"]), r["p50_us"], r["p99_us"],
         round(r["private_kb"] / 1024, 1)] for r in results])


def config_table(figures):
    return table(["routes", "µs", "raw insert µs", "ratio", "interval", "bound", "to 100 routes", "worst proxied ms meanwhile"], [
        [f["routes"], f["write_until_served_us"], f["raw_insert_us"], f["ratio"], f"{f['low']} – {f['high']}",
         "5 " + ("MISSED" if f["missed"] else "held"), f["to_100_routes"], f["worst_latency_ms"]] for f in figures])


def report(results, figures, imports, idle):
    """The tables as text; the same in the terminal and in docs/performance.md."""
    parts = ["CPU per request (median of slices, 95 % interval)", requests_table(results),
             f"Idle worker, no Lua, 1,024 connections: {idle / 1024:.1f} MB private."]
    if figures:
        parts += ["One Admin route write until served", config_table(figures)]
    parts.append("Import through the Admin API: " + ", ".join(f"{n} routes in {s:.1f} s" for n, s in imports.items()) + ".")
    return "\n\n".join(parts)


def save(text, args, mark="figures"):
    """Puts the report between the marks of docs/performance.md; the words around it stay."""
    path = os.path.join(harness.ROOT, "docs/performance.md")
    with open(path) as f:
        page = f.read()
    start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
    head, rest = page.split(start, 1)
    tail = rest.split(end, 1)[1]
    taken = (f"Taken on {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores ({harness.cpu_model()}), {args.rounds} slices of "
             f"{args.seconds} s a row.")
    with open(path, "w") as f:
        f.write(f"{head}{start}\n\n{taken}\n\n{text}\n\n{end}{tail}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=40)
    ap.add_argument("--seconds", type=int, default=1)
    ap.add_argument("--only", default="")
    ap.add_argument("--small", action="store_true", help="100 and 1,000 routes only: a quick look")
    ap.add_argument("--no-config", action="store_true")
    ap.add_argument("--save", action="store_true", help="put the tables into docs/performance.md")
    ap.add_argument("--keep", action="store_true", help="keep the work folder")
    args = ap.parse_args()
    harness.need("wrk", "haproxy", "nginx", "taskset")
    sizes = [100, 1000] if args.small else [100, 10000, 100000]
    work = tempfile.mkdtemp(prefix="sbbench-", dir="/tmp")
    os.chmod(work, 0o755)
    stoppable, results, figures, nodes = [], [], [], {}
    try:
        up = harness.upstream(work, LOAD_CPU)
        stoppable.append(up)
        nodes = make_gateways(work, up, sizes)
        idle = harness.private_kb(nodes["bare"].worker())
        rows, servers = make_rows(work, up, nodes, [n for n in sizes if n > 100])
        stoppable += servers
        rows = [r for r in rows if re.search(args.only, r.name)]
        for n in sizes[1:]:
            visit_all(nodes[f"r{n}"], n)
        progress = Progress(args.rounds * len(rows), "slices")
        for i in range(args.rounds):
            for r in random.sample(rows, len(rows)):
                r.run_round(args.seconds, i + 1)
                progress.step()
        results = [r.result() for r in rows]
        if not args.no_config:
            figures = config_figures(work, nodes, sizes, args.rounds)
        imports = {n: round(nodes[f"r{n}"].import_s, 1) for n in sizes}
    finally:
        for g in nodes.values():
            g.stop()
        for s in stoppable:
            s.stop()
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    text = report(results, figures, imports, idle)
    print("\n" + text)
    if args.save:
        save(text, args)
    os.makedirs(os.path.join(harness.ROOT, "build"), exist_ok=True)
    with open(os.path.join(harness.ROOT, "build/bench.json"), "w") as f:
        json.dump({"requests": results, "configuration": figures, "import_s": imports, "idle_private_kb": idle,
                   "rounds": args.rounds, "slice_s": args.seconds}, f, indent=1)
    return 1 if any(r["missed"] for r in results + figures) else 0


if __name__ == "__main__":
    if "--admin" in sys.argv:
        import admin_bench
        sys.exit(admin_bench.main([a for a in sys.argv[1:] if a != "--admin"]))
    if "--traffic" in sys.argv:
        import traffic_bench
        sys.exit(traffic_bench.main([a for a in sys.argv[1:] if a != "--traffic"]))
    sys.exit(main())
