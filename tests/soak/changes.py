"""The changes of the soak: one Admin write each, and at once a request that must already see it (read your writes).

A change is a method of Changes whose name begins with "change_"; any() picks one at random. Each knows what it made and returns nothing;
it raises when the Admin API refuses or the proxy does not obey.
"""
import random

import plan
from clients import Finding, ask, expect, judge
from tls_support import Cert, shown

SPARE_CERTIFICATES = 6


class Changes:
    def __init__(self, gw, seed, service_ports, connection):
        self.gw, self.random, self.ports, self.connection = gw, random.Random(seed), service_ports, connection
        self.targets, self.moving, self.marks, self.coming = {}, {}, None, None
        self.refused = {"request-termination": False, "ip-restriction": False}
        self.pairs = {name: [Cert(name) for _ in range(SPARE_CERTIFICATES if name != "steady.example" else 1)] for name in plan.NAMES}
        self.kinds = [getattr(self, n) for n in dir(self) if n.startswith("change_")]
        self.ids = {}

    # ---- the Admin API ----

    def admin(self, status, method, path, **body):
        answer = self.gw.admin.request(method, path, json=body or None)
        expect(answer.status_code == status, f"{method} {path} {body}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else None

    def see(self, path, status, text=b"", mark=...):
        """A request that must be answered like this now."""
        got = ask(self.connection, path)
        judge(path, *got)
        expect(got[0] == status and text in got[2], f"after the change {path}: {got[0]} {got[2][:100]!r}, expected {status} {text!r}")
        if mark is not ...:
            expect(got[1].get("x-soak") == mark, f"after the change {path} has mark {got[1].get('x-soak')}, expected {mark}")

    # ---- what stands from the beginning ----

    def prepare(self, echo_port, chat_port, grpc_port):
        first = self.ports[0]
        self.admin(201, "POST", "/upstreams", name="pool")
        self.admin(201, "POST", "/upstreams/pool/targets", target=f"127.0.0.1:{first}", weight=100)
        for name, url, path in (("fixed", "http://pool", "/fixed"), ("plain", f"http://127.0.0.1:{first}", "/plugged"),
                                ("echo", f"http://127.0.0.1:{echo_port}", "/echo"), ("chat", f"http://127.0.0.1:{chat_port}", "/chat")):
            self.admin(201, "POST", "/services", name=name, url=url)
            self.admin(201, "POST", f"/services/{name}/routes", name=name, paths=[path])
        self.admin(201, "POST", "/services", name="grpc", url=f"grpc://127.0.0.1:{grpc_port}")
        self.admin(201, "POST", "/services/grpc/routes", name="grpc", paths=["/echo.Echo"], protocols=["grpc", "grpcs"])
        for name, config in (("request-termination", {"status_code": 418, "message": plan.REFUSED}), ("ip-restriction", {"deny": ["127.0.0.0/8"]})):
            self.ids[name] = self.admin(201, "POST", "/routes/plain/plugins", name=name, enabled=False, config=config)["id"]
        for name in ("steady.example", "turning.example"):
            self.ids[name] = self.admin(201, "POST", "/certificates", snis=[name], **self.pairs[name][0].pair)["id"]

    def any(self):
        self.random.choice(self.kinds)()

    # ---- the changes ----

    def change_route(self):
        k = self.random.randrange(plan.MOVING)
        path, name = f"/moving/{k}", f"moving-{k}"
        if k not in self.moving:
            self.admin(201, "POST", "/services/plain/routes", name=name, paths=[path])
            self.moving[k] = True
        elif self.random.random() < 0.5:
            self.moving[k] = not self.moving[k]
            self.admin(200, "PATCH", f"/routes/{name}", paths=[path if self.moving[k] else f"/elsewhere/{k}"])
        else:
            self.admin(204, "DELETE", f"/routes/{name}")
            del self.moving[k]
        self.see(path, *((200, b"target-0") if self.moving.get(k) else (404,)))

    def change_regex_route(self):
        """By a regex and a header in place of a prefix: other classes of the router come and go."""
        k = self.random.randrange(plan.MOVING)
        if not self.moving.get(k):
            return self.change_route()
        paths = [f"~/moving/{k}$"] if self.random.random() < 0.5 else [f"/moving/{k}"]
        self.admin(200, "PATCH", f"/routes/moving-{k}", paths=paths)
        self.see(f"/moving/{k}", 200, b"target-0")
        return None

    def change_target(self):
        i = self.random.randrange(1, plan.TARGETS)
        target = f"127.0.0.1:{self.ports[i]}"
        if i not in self.targets:
            self.targets[i] = self.admin(201, "POST", "/upstreams/pool/targets", target=target, weight=100)["id"]
        elif self.random.random() < 0.5:
            self.admin(200, "PATCH", f"/upstreams/pool/targets/{self.targets[i]}", weight=self.random.randrange(1, 1000))
        else:
            self.admin(204, "DELETE", f"/upstreams/pool/targets/{self.targets.pop(i)}")
        for _ in range(3):
            status, _, body = ask(self.connection, "/fixed")
            allowed = [f"target-{j}".encode() for j in [0, *self.targets]]
            expect(status == 200 and body in allowed, f"after the change /fixed: {status} {body[:100]!r}, expected one of {allowed}")

    def change_certificate(self):
        name = "turning.example"
        pair = self.random.choice(self.pairs[name])
        self.admin(200, "PATCH", f"/certificates/{self.ids[name]}", **pair.pair)
        self.see_certificate(name, pair)

    def change_name(self):
        """A certificate with its name is made or deleted."""
        name = "coming.example"
        if self.coming:
            self.admin(204, "DELETE", f"/certificates/{self.coming}")
            self.coming = None
            self.see_certificate(name, None)
        else:
            pair = self.random.choice(self.pairs[name])
            self.coming = self.admin(201, "POST", "/certificates", snis=[name], **pair.pair)["id"]
            self.see_certificate(name, pair)

    def see_certificate(self, name, pair):
        got = shown(self.gw, name)
        expect(got == (pair.der if pair else self.ids["default"]), f"after the change {name} shows another certificate")

    def change_refusal(self):
        name = self.random.choice(sorted(self.refused))
        self.refused[name] = not self.refused[name]
        self.admin(200, "PATCH", f"/plugins/{self.ids[name]}", enabled=self.refused[name])
        self.see_plugged()

    def change_lua_plugin(self):
        mark = self.random.choice(sorted(plan.MARKS))
        if self.marks is None:
            self.ids["soak"] = self.admin(201, "POST", "/routes/plain/plugins", name="soak", config={"mark": mark})["id"]
        elif self.random.random() < 0.7:
            self.admin(200, "PATCH", f"/plugins/{self.ids['soak']}", config={"mark": mark})
        else:
            self.admin(204, "DELETE", f"/plugins/{self.ids['soak']}")
            mark = None
        self.marks = mark
        self.see_plugged()

    def see_plugged(self):
        if self.refused["ip-restriction"]:
            expected = (403, b"not allowed")
        elif self.refused["request-termination"]:
            expected = (418, plan.REFUSED.encode())
        else:
            expected = (200, b"target-0")
        self.see("/plugged", *expected, mark=self.marks)


def may_be_shown(changes):
    """name -> the certificates (DER) that a handshake for it may get."""
    allowed = {name: [c.der for c in pairs] for name, pairs in changes.pairs.items()}
    allowed["coming.example"].append(changes.ids["default"])
    return allowed


__all__ = ["Changes", "Finding", "may_be_shown"]
