"""The rows of `make bench BENCH=--traffic`: what a node is given, and the nginx that does the same by itself.

A Case is one row. fill(gateway, case) makes the entities; native(case, gateway) is nginx's configuration inside http {}, with the node at
hand for what both must have alike (TLS). Patterns with a number (%d) say what the requests look like; traffic.lua fills them in, and so
does Case.request() for profile.py.
"""

import os
import re
import subprocess

import harness
import loader
from bench import BARE

NAME = "localhost"  # what load generators ask for over TLS: the name in the URL
TARGETS = 100
UP = 'upstream up { server 127.0.0.1:%d; keepalive 512; keepalive_requests 1000000000; }\n'
PROXY = 'proxy_http_version 1.1; proxy_set_header Connection "";\n'


class Case:
    """key: short name; up: the port of the service, set before anything is made. count requests differ; tls, h2, close say how they are sent."""

    def __init__(self, key, name, fill, native, count=1, path="/r000000/anything", host=None, header=None, tls=False, h2=False, close=False,
                 settings=None):
        self.key, self.name, self.fill, self.native, self.count = key, name, fill, native, count
        self.path, self.host, self.header, self.tls, self.h2, self.close = path, host, header, tls, h2, close
        self.settings, self.up = dict(BARE, **(settings or {})), None

    def env(self):
        """For traffic.lua."""
        header, value = self.header or ("", "")
        return {"BENCH_COUNT": str(self.count), "BENCH_PATH": self.path, "BENCH_HOST": self.host or "", "BENCH_HEADER": header,
                "BENCH_VALUE": value, "BENCH_CLOSE": "1" if self.close else "0"}

    def request(self, i):
        """The i-th request as text, over a kept connection without TLS."""
        i = i * 7919 % self.count
        lines = [f"GET {filled(self.path, i)} HTTP/1.1", f"Host: {filled(self.host or 'bench', i // 100)}"]
        if self.header:
            lines.append(f"{self.header[0]}: {filled(self.header[1], i)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()


def filled(pattern, i):
    return pattern % i if "%" in pattern else pattern


# ---- the gateway's side ----

def service(gateway, case, host="127.0.0.1"):
    return gateway.admin("POST", "/services", {"name": "bench", "url": f"http://{host}:{case.up}"})["id"]


def fill_each(body):
    """One route per number; body(i) is what it has."""
    def fill(gateway, case):
        owner = {"service": {"id": service(gateway, case)}}
        loader.post_all(gateway, "/routes", [dict(body(i), **owner) for i in range(case.count)])
    return fill


def fill_plain(gateway, case):
    loader.post_all(gateway, "/routes", [{"paths": ["/r000000"], "service": {"id": service(gateway, case)}}])


def fill_tls(gateway, case):
    fill_plain(gateway, case)
    cert, key = certificate(os.path.dirname(gateway.prefix))
    with open(cert) as c, open(key) as k:
        gateway.admin("POST", "/certificates", {"cert": c.read(), "key": k.read(), "snis": [NAME]})


def fill_hash(gateway, case):
    gateway.admin("POST", "/upstreams", {"name": "pool", "algorithm": "consistent-hashing", "hash_on": "query_arg", "hash_on_query_arg": "k"})
    loader.post_all(gateway, "/upstreams/pool/targets", [{"target": f"{a}:{case.up}"} for a in target_addresses()])
    loader.post_all(gateway, "/routes", [{"paths": ["/r000000"], "service": {"id": service(gateway, case, "pool")}}])


# ---- nginx's side ----

def server(inside, flags="", before="", up=UP):
    """One server with one worker's usual settings; %(port)s is filled in later."""
    def native(case, gateway):
        return f"{before}{up % case.up}server {{ listen 127.0.0.1:@PORT@ {flags} backlog=4096; {PROXY} {inside(case, gateway)} }}"
    return native


def pass_all(case, gateway):
    return "location / { proxy_pass http://up; }"


def regex_locations(pattern):
    return lambda case, gateway: "\n".join(f'location ~ "^{pattern % i}" {{ proxy_pass http://up; }}' for i in range(case.count))


def header_map(case, gateway):
    name = "$http_" + case.header[0].lower().replace("-", "_")
    rows = "\n".join(f"{case.header[1] % i} up;" for i in range(case.count))
    return (f"map_hash_max_size 65536; map {name} $chosen {{\n{rows}\n}}\n{UP % case.up}"
            f"server {{ listen 127.0.0.1:@PORT@ backlog=4096; {PROXY} location / {{ proxy_pass http://$chosen; }} }}")


def host_servers(case, gateway):
    """A server per host with a location for each of its paths."""
    out = [UP % case.up, "server_names_hash_max_size 65536;"]
    for first in range(0, case.count, 100):
        inside = "\n".join(f"location {prefix_of(i)} {{ proxy_pass http://up; }}" for i in range(first, first + 100))
        default = "backlog=4096" if first == 0 else ""
        out.append(f"server {{ listen 127.0.0.1:@PORT@ {default}; server_name {case.host % (first // 100)}; {PROXY} {inside} }}")
    return "\n".join(out)


def tls_lines(gateway):
    """The ssl_ directives that the node's own configuration has for its listener, but for the certificates; the innermost counts."""
    with open(os.path.join(gateway.prefix, "nginx.conf")) as f:
        text = f.read().split("\nhttp {", 1)[1].split("location ", 1)[0]
    found = dict(re.findall(r"(?m)^\s*(ssl_(?!certificate)\w+)\s+([^;]*);", text))
    return " ".join(f"{k} {v};" for k, v in found.items())


def tls_server(case, gateway):
    cert, key = certificate(os.path.dirname(gateway.prefix))
    return f"server_name {NAME}; ssl_certificate {cert}; ssl_certificate_key {key}; {tls_lines(gateway)} {pass_all(case, gateway)}"


def target_addresses():
    return [f"127.0.2.{i + 1}" for i in range(TARGETS)]


def hashed(case, gateway):
    servers = " ".join(f"server {a}:{case.up};" for a in target_addresses())
    return (f"upstream up {{ hash $arg_k consistent; {servers} keepalive 512; keepalive_requests 1000000000; }}\n"
            f"server {{ listen 127.0.0.1:@PORT@ backlog=4096; {PROXY} location / {{ proxy_pass http://up; }} }}")


def certificate(work):
    """(certificate, key): files in the work folder, made once."""
    cert, key = os.path.join(work, "bench.crt"), os.path.join(work, "bench.key")
    if not os.path.exists(cert):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}", "-addext",
                        f"subjectAltName=DNS:{NAME}", "-days", "30", "-keyout", key, "-out", cert], check=True, stderr=subprocess.DEVNULL)
    return cert, key


# ---- the rows ----

def prefix_of(i):
    return f"/r{i:06d}"


def regex_case(key, name, pattern, path):
    return Case(key, name, fill_each(lambda i: {"paths": ["~" + pattern % i]}), server(regex_locations(pattern)), 1000, path)


def header_route(i):
    return {"paths": ["/"], "headers": {"x-tenant": [f"t{i:06d}"]}}


def expression_route(i):
    return {"expression": f'http.host == "h{i // 100:03d}.example" && http.path ^= "{prefix_of(i)}"', "priority": 1}


NEW_SESSIONS = {"KONG_NGINX_PROXY_SSL_SESSION_CACHE": "off", "KONG_NGINX_PROXY_SSL_SESSION_TICKETS": "off"}
OLD_TLS = {"KONG_NGINX_PROXY_SSL_PROTOCOLS": "TLSv1.2"}  # the one in which wrk resumes
CASES = [
    regex_case("regex", "1,000 regex routes", "/r%06d/[a-z]+$", "/r%06d/anything"),
    regex_case("regex-alike", "1,000 regex routes that start alike", r"/v\d+/r%06d/[a-z]+$", "/v1/r%06d/anything"),
    Case("headers", "1,000 header routes", fill_each(header_route), header_map, 1000, "/anything", header=("x-tenant", "t%06d")),
    Case("expressions", "10,000 expressions of host and path", fill_each(expression_route), host_servers, 10000, "/r%06d/anything",
         host="h%03d.example", settings={"KONG_ROUTER_FLAVOR": "expressions"}),
    Case("hash", "consistent hashing, 100 targets", fill_hash, hashed, 10000, "/r000000/anything?k=%d"),
    Case("tls", "TLS, kept connections", fill_tls, server(tls_server, "ssl"), tls=True),
    Case("handshakes", "TLS, a new handshake each", fill_tls, server(tls_server, "ssl"), tls=True, close=True, settings=NEW_SESSIONS),
    Case("resumed", "TLS 1.2, a resumed session each", fill_tls, server(tls_server, "ssl"), tls=True, close=True, settings=OLD_TLS),
    Case("h2", "HTTP/2 over TLS", fill_tls, server(tls_server, "ssl http2"), tls=True, h2=True),
]


def make_sides(case, work, cpu, ports):
    """The node and the nginx of a case. ports: of the service for one address and for many (the hashed targets)."""
    case.up = ports[1] if case.key == "hash" else ports[0]
    gateway = harness.Gateway(work, case.key, cpu, case.settings)
    try:
        case.fill(gateway, case)
        native = native_nginx(case, work, cpu, gateway)
    except BaseException:
        gateway.stop()
        raise
    return gateway, native


def native_nginx(case, work, cpu, gateway):
    port = harness.free_port()
    n = harness.Nginx(work, "nginx-" + case.key, "access_log off;\n" + case.native(case, gateway).replace("@PORT@", str(port)), cpu)
    n.port = n.tls_port = port
    harness.wait_for(lambda: harness.listening(port), f"nginx of {case.key}")
    return n


def many_addresses(work, cpu):
    """The service on all addresses of the hashed targets, one port."""
    port = harness.free_port()
    listens = " ".join(f"listen {a}:{port} backlog=1024;" for a in target_addresses())
    n = harness.Nginx(work, "upstreams", f"""
  access_log off;
  server {{ {listens} default_type text/plain; location / {{ return 200 "{harness.BODY}"; }} }}""", cpu, 4096)
    n.port = port
    harness.wait_for(lambda: subprocess.run(["curl", "-sf", "-o", os.devnull, f"http://{target_addresses()[-1]}:{port}/"]).returncode == 0,
                     "the upstreams")
    return n
