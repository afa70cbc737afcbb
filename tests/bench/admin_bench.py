#!/usr/bin/python3
"""make bench BENCH=--admin: what the Admin API does with many rows, beside a raw loop of durable inserts and a static nginx location.

  writes   POST /consumers from 16 clients, as a ratio to one loop of durable SQLite inserts in the slice before or after
  reads    GET of one consumer by name: CPU of the control process per request, as a ratio to nginx answering a fixed body
  pages    all consumers, 1,000 a page: time per page at the beginning and at the end, and the memory of the control process meanwhile

Writes and reads with --rows rows (100,000), pages with --page-rows (1,000,000). Slices alternate in random order, as in bench.py.
--save puts the tables into docs/performance.md.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
import loader   # noqa: E402
from stats import median, median_interval, table  # noqa: E402

LOAD = os.path.join(harness.ROOT, "build/tests/bench/admin_load")
SCRIPT = os.path.join(harness.ROOT, "tests/bench/admin.lua")
CONTROL_CPU, CLIENT_CPU = 0, 1
EVERY_CPU = f"0-{os.cpu_count() - 1}"
WRITES, READS = 0.8, 5
STEADY_KB, FLAT = 1024, 1.25  # how much memory the second half of the pages may add, and the last pages may cost beside the first


def cpu_ns(pid):
    """Of all threads: the store thread does the work."""
    return sum(harness.cpu_ns(f"{pid}/task/{t}") for t in os.listdir(f"/proc/{pid}/task"))


def static_nginx(work, body):
    port = harness.free_port()
    n = harness.Nginx(work, "static", f"""
  access_log off;
  server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json; location / {{ return 200 '{body}'; }} }}""", CONTROL_CPU)
    harness.wait_for(lambda: harness.listening(port), "the static location")
    n.port = port
    return n


class Node(harness.Gateway):
    """A node whose record is filled from outside while it is stopped."""

    def start(self):
        done = subprocess.run([self.binary, "start"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
        if done.returncode != 0:
            raise RuntimeError(f"the node did not start:\n{done.stdout}")

    def fill(self, first, n):
        self.stop()
        owner = os.stat(os.path.join(self.prefix, "store", "silverback.db"))
        out = subprocess.check_output([LOAD, "fill", self.prefix, str(first), str(n)], text=True)
        for folder in ("store", "run/model", "run"):
            for entry in os.scandir(os.path.join(self.prefix, folder)):
                os.chown(entry.path, owner.st_uid, owner.st_gid)
        self.start()
        return float(out)

    def pin(self, cpu):
        """The control process on one processor, for what is measured in CPU time."""
        subprocess.run(["taskset", "-apc", str(cpu), str(self.control())], stdout=subprocess.DEVNULL, check=True)

    def control(self):
        with open(f"{self.prefix}/pids/control.pid") as f:
            master = int(f.read())
        harness.wait_for(lambda: harness.children(master), "the control process")
        return harness.children(master)[0]


def load(port, what, seconds, seed, rows, connections, cpu):
    os.environ.update({"BENCH_ADMIN": what, "BENCH_ROWS": str(rows), "BENCH_SEED": str(seed)})
    r = harness.wrk(f"http://127.0.0.1:{port}/", SCRIPT, seconds, connections, cpu)
    if r["errors"]:
        raise RuntimeError(f"{what}: {r['errors']} failed requests of {r['requests']}")
    return r


def ratio_row(name, ratios, ours, base, bound, at_least):
    low, high = median_interval(ratios)
    missed = high < bound if at_least else low > bound
    return {"row": name, "ratio": round(median(ratios), 2), "low": round(low, 2), "high": round(high, 2), "bound": bound,
            "at_least": at_least, "missed": missed, "ours": round(median(ours), 1), "base": round(median(base), 1)}


def writes(node, work, rounds, seconds, rows):
    """Nothing is pinned: both sides have the whole machine, the clients included."""
    ours, base = [], []
    raw_file = os.path.join(work, "raw.db")
    for i in range(rounds):
        def raw():
            base.append(float(subprocess.check_output([LOAD, "raw", raw_file, str(seconds)], text=True)))

        def post():
            ours.append(load(node.admin_port, "post", seconds, i + 1, rows, 16, EVERY_CPU)["rps"])
        for step in random.sample([raw, post], 2):
            step()
    return ratio_row("durable writes a second, 16 clients", [a / b for a, b in zip(ours, base)], ours, base, WRITES, True)


def reads(node, static, rounds, seconds, rows):
    node.pin(CONTROL_CPU)
    subjects = {"get": (node.admin_port, node.control()), "static": (static.port, static.worker())}
    cost = {"get": [], "static": []}
    for i in range(rounds):
        for what in random.sample(list(subjects), 2):
            port, pid = subjects[what]
            before = cpu_ns(pid)
            r = load(port, what, seconds, i + 1, rows, 32, CLIENT_CPU)
            cost[what].append((cpu_ns(pid) - before) / 1000 / r["requests"])
    return ratio_row("CPU µs of a read", [a / b for a, b in zip(cost["get"], cost["static"])], cost["get"], cost["static"], READS, False)


def pages(node, rows):
    """Reads every page twice: once so that memory is what paging needs, then measured."""
    pid, took, resident = node.control(), [], []
    conn = loader.Connection(node.admin_port)
    for measured in (False, True):
        path, seen = "/consumers?size=1000", 0
        while path:
            before = cpu_ns(pid)
            status, text = conn.request("GET", path)
            if measured:
                took.append((cpu_ns(pid) - before) / 1000)
                resident.append(harness.private_kb(pid))
            if status != 200:
                raise RuntimeError(f"{path}: {status}")
            page = json.loads(text)
            seen += len(page["data"])
            path = page["next"]
            if not measured and seen >= 20000:
                break
        if measured and seen < rows:
            raise RuntimeError(f"{seen} of {rows} rows in all pages")
    conn.close()
    part = max(1, len(took) // 10)
    first, last = median(took[:part]), median(took[-part:])
    half = len(resident) // 2
    grown = max(resident[half:]) - max(resident[:half])
    return {"rows": rows, "pages": len(took), "first_us": round(first), "last_us": round(last), "ratio": round(last / first, 2),
            "grown_kb": grown, "missed": last / first > FLAT or grown > STEADY_KB}


def verdict(missed):
    return "MISSED" if missed else "held"


def report(results, paging, rows):
    bounds = table(["row", "ours", "base", "ratio", "interval", "bound"], [
        [r["row"], r["ours"], r["base"], r["ratio"], f"{r['low']} – {r['high']}",
         f"{'at least' if r['at_least'] else 'at most'} {r['bound']} {verdict(r['missed'])}"] for r in results])
    parts = [f"Admin API with {rows:,} consumers", bounds]
    if paging:
        parts += [f"All of {paging['rows']:,} consumers, 1,000 a page", table(
            ["pages", "CPU µs, first tenth", "CPU µs, last tenth", "ratio", "private memory, 2nd half beside 1st", "bound"],
            [[paging["pages"], paging["first_us"], paging["last_us"], paging["ratio"], f"{paging['grown_kb']:+d} KB",
              f"at most {FLAT} and {STEADY_KB} KB {verdict(paging['missed'])}"]])]
    return "\n\n".join(parts)


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=40)
    ap.add_argument("--seconds", type=int, default=1)
    ap.add_argument("--rows", type=int, default=100000)
    ap.add_argument("--page-rows", type=int, default=1000000, help="0: no pages")
    ap.add_argument("--save", action="store_true", help="put the tables into docs/performance.md")
    args = ap.parse_args(argv)
    harness.need("wrk", "nginx", "taskset")
    work = tempfile.mkdtemp(prefix="sbbench-", dir="/tmp")
    os.chmod(work, 0o755)
    results, paging, node, static = [], None, None, None
    try:
        node = Node(work, "node", None, {"KONG_ADMIN_ACCESS_LOG": "off"})
        node.fill(0, args.rows)
        row = json.dumps(node.admin("GET", "/consumers/c0000000"))
        static = static_nginx(work, row)
        results = [reads(node, static, args.rounds, args.seconds, args.rows),
                   writes(node, work, args.rounds, args.seconds, args.rows)]
        if args.page_rows:
            node.fill(args.rows, max(0, args.page_rows - args.rows))
            paging = pages(node, args.page_rows)
    finally:
        for s in (node, static):
            if s is not None:
                s.stop()
        shutil.rmtree(work, ignore_errors=True)
    text = report(results, paging, args.rows)
    print("\n" + text)
    if args.save:
        import bench
        bench.save(text, args, "admin figures")
    with open(os.path.join(harness.ROOT, "build/bench-admin.json"), "w") as f:
        json.dump({"bounds": results, "pages": paging, "rows": args.rows, "taken": time.strftime("%Y-%m-%d")}, f, indent=1)
    return 1 if any(r["missed"] for r in results + ([paging] if paging else [])) else 0


if __name__ == "__main__":
    sys.exit(main())
