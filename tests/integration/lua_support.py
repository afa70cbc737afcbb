"""What the tests of Lua plugins share: the plugins of tests/plugins, and a node whose probe plugin runs snippets of Lua."""
import json
import re
import struct
import uuid

from support import ROOT, wait_for

PLUGINS = ROOT / "tests" / "plugins"


def package_path(*names):
    """lua_package_path for plugins of tests/plugins."""
    return ";".join(f"{PLUGINS / name}/?.lua" for name in names) + ";;"


def lua_entries(gw):
    """How many requests have entered Lua since the node started (sb_runtime_t.lua_entries)."""
    state = (gw.prefix / "run" / "state").read_bytes()
    return struct.unpack_from("<Q", state, 5 * 64 + 6 * 8 + 8)[0]


def create(gw, path, **body):
    answer = gw.admin.post(path, json=body)
    assert answer.status_code == 201, f"POST {path} {body} -> {answer.status_code} {answer.text}"
    return answer.json()


def change(gw, path, **body):
    answer = gw.admin.patch(path, json=body)
    assert answer.status_code == 200, f"PATCH {path} {body} -> {answer.status_code} {answer.text}"
    return answer.json()


def service_and_route(gw, url, path="/s", **route):
    service = create(gw, "/services", name="s" + uuid.uuid4().hex[:8], url=url)
    return service, create(gw, f"/services/{service['id']}/routes", paths=[path], **route)


class LuaError(Exception):
    pass


class Probe:
    """Runs Lua in a plugin's phase on a real request and brings back what it returned."""

    def __init__(self, gw, upstream, plugin="probe", path="/probe"):
        self.gw, self.plugin, self.path = gw, plugin, path
        self.prefix = "X-Probe-" if plugin == "probe" else "X-Probe-R-"
        self.service, self.route = service_and_route(gw, upstream, path)
        self.row = create(gw, f"/routes/{self.route['id']}/plugins", name=plugin, config={})

    def configure(self, **phases):
        """Sets the code of phases; the others are cleared."""
        names = ["access", "response", "log"] if self.plugin != "probe" else ["rewrite", "access", "header_filter", "body_filter", "log"]
        change(self.gw, f"/plugins/{self.row['id']}", config={n: phases.get(n) for n in names})

    def request(self, method="GET", path="", site=None, headers=None, **kw):
        self.case = uuid.uuid4().hex
        return (site or self.gw.proxy).request(method, self.path + path, headers={"X-Case": self.case, **(headers or {})}, **kw)

    def logged(self, phase):
        """What the phase returned in the request made last, from the log: ok, values."""
        pattern = re.compile(rf"{self.plugin} {phase} {self.case} (\d+)/(\d+) (.*?) end")

        def parts():
            found = {int(i): (int(n), part) for i, n, part in pattern.findall(self.gw.log())}
            return found and len(found) == found[1][0] and "".join(found[i][1] for i in sorted(found))

        result = json.loads(wait_for(parts, f"{phase} of {self.case} in the log"))
        return result["ok"], result["values"] or []

    def run(self, code, phase="access", **request):
        """The values that the code returns in the phase; raises LuaError with the message when it raises."""
        self.configure(**{phase: code})
        self.answer = self.request(**request)
        header = self.answer.headers.get(self.prefix + phase.replace("_", "-"))
        result = json.loads(header) if header else None
        ok, values = (result["ok"], result["values"] or []) if result else self.logged(phase)
        if not ok:
            raise LuaError(values[0])
        return values

    def value(self, code, phase="access", **request):
        """The first of the values."""
        values = self.run(code, phase, **request)
        return values[0] if values else None
