#!/usr/bin/python3
"""make bench BENCH=--traffic: kinds of routes and connections beside nginx doing the same by itself. The rows: traffic_cases.py.

Slices alternate as in bench.py. Beside the CPU per request stands the ratio of the 99th percentiles of neighbouring slices: load generator
and service share the machine with both sides, so it says less than the CPU does. Both have a bound, missed when the whole interval
lies above it.

  bench.py --traffic [--rounds 40] [--seconds 1] [--only PATTERN] [--save]
"""

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness  # noqa: E402
from bench import GATEWAY_CPU, LOAD_CPU, Progress, Row, Target, save  # noqa: E402
from stats import median, median_interval, table  # noqa: E402
from traffic_cases import CASES, NAME, Case, fill_plain, make_sides, many_addresses, pass_all, native_nginx, server  # noqa: E402

CPU_BOUND, P99_BOUND = 1.12, 1.2


class TrafficTarget(Target):
    def __init__(self, name, srv, case, work):
        super().__init__(name, srv, srv.tls_port if case.tls else srv.port, "traffic.lua", case.env())
        self.case, self.log = case, os.path.join(work, "h2load.log")
        self.url = f"https://{NAME}:{self.port}" if case.tls else f"http://127.0.0.1:{self.port}"

    def load(self, seconds):
        if self.case.h2:
            return harness.h2load(self.url + self.case.path, self.log, seconds, cpu=LOAD_CPU)
        return harness.wrk(self.url + "/", self.script, seconds, cpu=LOAD_CPU)


class TrafficRow(Row):
    """With the ratio of the 99th percentiles as well."""

    def result(self):
        out = super().result()
        ratios = [s["p99_us"] / max(1, b["p99_us"]) for s, b in zip(self.subject_slices, self.baseline_slices)]
        low, high = median_interval(ratios)
        p99_missed = self.bound is not None and low > P99_BOUND
        out.update(p99_ratio=round(median(ratios), 3), p99_low=round(low, 3), p99_high=round(high, 3), p99_missed=p99_missed)
        return out


def noise_row(work, up):
    """nginx against itself."""
    case = Case("noise", "A/A: nginx against itself", fill_plain, server(pass_all))
    case.up = up
    servers = []
    for name in ("noise", "noise-again"):
        case.key = name
        servers.append(native_nginx(case, work, GATEWAY_CPU, None))
    return TrafficRow(case.name, *(TrafficTarget(f"nginx {i}", s, case, work) for i, s in enumerate(servers))), servers


def make_rows(work, cases, ports, stoppable):
    """A row per case; what was started is added to stoppable at once."""
    row, servers = noise_row(work, ports[0])
    stoppable += servers
    rows = [row]
    progress = Progress(len(cases), "nodes filled")
    for case in cases:
        gateway, native = make_sides(case, work, GATEWAY_CPU, ports)
        stoppable += [gateway, native]
        rows.append(TrafficRow(case.name, TrafficTarget(case.key, gateway, case, work), TrafficTarget("nginx " + case.key, native, case, work),
                               CPU_BOUND))
        progress.step()
    return rows


def verdict(bound, missed):
    return "–" if bound is None else f"{bound} {'MISSED' if missed else 'held'}"


def report(results):
    return "CPU per request and 99th percentile beside nginx doing the same (median of slices, 95 % interval)\n\n" + table(
        ["row", "CPU", "interval", "bound", "µs", "nginx µs", "req/s", "nginx req/s", "p99", "interval", "bound", "private MB"], [
            [r["row"], r["ratio"], f"{r['low']} – {r['high']}", verdict(r["bound"], r["missed"]), r["cpu_us"], r["baseline_cpu_us"],
             int(r["rps"]), int(r["baseline_rps"]), r["p99_ratio"], f"{r['p99_low']} – {r['p99_high']}",
             verdict(None if r["bound"] is None else P99_BOUND, r["p99_missed"]), round(r["private_kb"] / 1024, 1)] for r in results])


def measure(work, args, stoppable):
    up = harness.upstream(work, LOAD_CPU)
    stoppable.append(up)
    many = many_addresses(work, LOAD_CPU)
    stoppable.append(many)
    rows = make_rows(work, [c for c in CASES if re.search(args.only, c.name)], (up.port, many.port), stoppable)
    progress = Progress(args.rounds * len(rows), "slices")
    for i in range(args.rounds):
        for r in random.sample(rows, len(rows)):
            r.run_round(args.seconds, i + 1)
            progress.step()
    return [r.result() for r in rows]


def main(argv):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--rounds", type=int, default=40)
    ap.add_argument("--seconds", type=int, default=1)
    ap.add_argument("--only", default="")
    ap.add_argument("--save", action="store_true", help="put the table into docs/performance.md")
    ap.add_argument("--keep", action="store_true", help="keep the work folder")
    args = ap.parse_args(argv)
    harness.need("wrk", "h2load", "nginx", "openssl", "curl", "taskset")
    work = tempfile.mkdtemp(prefix="sbtraffic-", dir="/tmp")
    os.chmod(work, 0o755)
    stoppable = []
    try:
        results = measure(work, args, stoppable)
    finally:
        for s in stoppable:
            s.stop()
        if not args.keep:
            shutil.rmtree(work, ignore_errors=True)
    text = report(results)
    print("\n" + text)
    if args.save:
        save(text, args, "traffic figures")
    with open(os.path.join(harness.ROOT, "build/bench-traffic.json"), "w") as f:
        json.dump({"requests": results, "rounds": args.rounds, "slice_s": args.seconds}, f, indent=1)
    return 1 if any(r["missed"] or r["p99_missed"] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
