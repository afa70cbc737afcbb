"""What the Admin and the Status API show of the proxy's workers, and do to all of them at once."""
import gzip
import json
import uuid

import requests

from lua_support import create, service_and_route
from support import wait_for
from test_acceptance_updates import WORKERS, ask, one_in_each
from test_admin_http import raw

# Keeps what it made by the query's kind; a counter of its own tells how often.
CACHER = """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
local made = 0
local values = { table = function() return { n = made, list = { 1, 2 } } end, text = function() return ngx.worker.id() .. "-" .. made end,
                 number = function() return made end, no = function() return false end }
function P:access(conf)
  local kind = kong.request.get_query_arg("kind")
  local value, err = kong.cache:get("cacher:" .. kind, nil, function() made = made + 1; return values[kind]() end)
  kong.response.exit(200, { value = value, made = made, err = err })
end
return P
"""
CALLER = """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
function P:access(conf)
  local id = kong.request.get_query_arg("id")
  kong.log.debug("debug-", id, "-end")
  kong.log.err("error-", id, "-end")
  kong.response.exit(200, "")
end
return P
"""
SCHEMA = 'return { name = "%s", fields = { { config = { type = "record", fields = {} } } } }'


def node(gateway, plugin, echo_server, name, handler, **settings):
    gw = gateway(plugins=f"bundled,{name}", lua_package_path=plugin(name, handler, SCHEMA % name), nginx_worker_processes=WORKERS, **settings)
    service, _ = service_and_route(gw, echo_server.url)
    create(gw, f"/services/{service['id']}/plugins", name=name)
    return gw


def test_cache(gateway, plugin, echo_server):
    gw = node(gateway, plugin, echo_server, "cacher", CACHER)
    workers = one_in_each(gw)

    def seen(kind):
        """What each worker answers."""
        return [json.loads(ask(c, f"/s?kind={kind}")[1]) for c in workers]

    assert gw.admin.get("/cache/cacher:text").status_code == 404
    first = json.loads(ask(workers[0], "/s?kind=text")[1])["value"]
    for kind, shown in (("text", {"message": first}), ("number", {"message": 2}), ("table", {"n": 3, "list": [1, 2]}),
                        ("no", {"message": False})):
        value = json.loads(ask(workers[0], f"/s?kind={kind}")[1])["value"]
        assert shown in (value, {"message": value})
        assert all(answer["value"] == value for answer in seen(kind)), "one made it, all have it"
        r = gw.admin.get(f"/cache/cacher:{kind}")
        assert (r.status_code, r.json()) == (200, shown)
    before = [answer["made"] for answer in seen("text")]
    assert before == [4, 0, 0, 0]
    # Forgotten by one key, everywhere: the next worker that is asked makes it, and the others have that one.
    r = gw.admin.delete("/cache/cacher:text")
    assert (r.status_code, r.content) == (204, b"")
    assert gw.admin.get("/cache/cacher:text").status_code == 404
    second = json.loads(ask(workers[1], "/s?kind=text")[1])["value"]
    assert second != first
    assert [(answer["value"], answer["made"]) for answer in seen("text")] == [(second, 4), (second, 1), (second, 0), (second, 0)]
    assert gw.admin.get("/cache/cacher:number").json() == {"message": 2}
    # And all of it.
    assert gw.admin.delete("/cache").status_code == 204
    for kind in ("text", "number", "table", "no"):
        assert gw.admin.get(f"/cache/cacher:{kind}").status_code == 404
    assert json.loads(ask(workers[2], "/s?kind=number")[1])["value"] == 1
    assert [answer["value"] for answer in seen("number")] == [1] * WORKERS
    assert gw.admin.delete("/cache/none").status_code == 204


def test_memory_of_lua(gateway, plugin, echo_server):
    gw = node(gateway, plugin, echo_server, "cacher", CACHER)
    for site in (gw.admin, gw.status):
        memory = site.get("/status?unit=b").json()["memory"]
        dicts = memory["lua_shared_dicts"]
        assert dicts["kong"]["capacity"] == 5 << 20 and dicts["kong_db_cache"]["capacity"] == 128 << 20
        assert all(0 < d["allocated_slabs"] < d["capacity"] for d in dicts.values()), dicts
        assert sorted(vm["pid"] for vm in memory["workers_lua_vms"]) == sorted(gw.workers("proxy"))
        assert all(vm["http_allocated_gc"] > 100000 for vm in memory["workers_lua_vms"])
        assert site.get("/status?unit=m&scale=1").json()["memory"]["lua_shared_dicts"]["kong"]["capacity"] == "5.0 MiB"


def test_without_lua(gateway):
    """No plugin in Lua: no dictionaries are kept for any."""
    gw = gateway()
    assert gw.status.get("/status").json()["memory"]["lua_shared_dicts"] == {}


def test_gzip(gateway):
    gw = gateway(nginx_status_gzip_min_length=20)
    for site, path in ((gw.admin, "/schemas/routes"), (gw.status, "/status")):
        with requests.get(site.base + path, headers={"Accept-Encoding": "gzip"}, stream=True, timeout=30) as r:
            zipped = r.raw.read(decode_content=False)
            assert (r.status_code, r.headers["Content-Encoding"], r.headers["Content-Type"]) == (200, "gzip", "application/json; charset=utf-8")
        plain = requests.get(site.base + path, headers={"Accept-Encoding": "identity"}, timeout=30)
        assert "Content-Encoding" not in plain.headers
        assert json.loads(gzip.decompress(zipped)).keys() == plain.json().keys()
    assert "Content-Encoding" not in gw.admin.get("/services").headers, "too short to be worth it"


def test_drain(gateway, echo_server):
    gw = gateway()
    service_and_route(gw, echo_server.url)
    with gw.proxy:
        assert gw.proxy.get("/s").status_code == 200
        assert gw.status.get("/status/ready").json() == {"message": "ready"}
        r = gw.run("drain", "-p", str(gw.prefix))
        assert (r.returncode, r.stdout) == (0, "Kong's status successfully changed to 'draining'\n")
        for _ in range(8):
            r = gw.status.get("/status/ready")
            assert (r.status_code, r.json()) == (503, {"message": "draining"})
            assert gw.proxy.get("/s").status_code == 200
    for _ in range(8):
        assert requests.get(gw.proxy.base + "/s", timeout=30).status_code == 200, "and new clients as well"
    assert gw.admin.get("/services").status_code == 200


def test_log_level_of_all_workers(gateway, plugin, echo_server):
    """A change is there for the first request after its answer, in whichever worker; so is the end of one, for which a timer stands."""
    gw = node(gateway, plugin, echo_server, "caller", CALLER, log_level="notice")
    workers = one_in_each(gw)

    def levels():
        """What each worker logs now."""
        found = []
        for c in workers:
            name = uuid.uuid4().hex
            assert ask(c, f"/s?id={name}")[0] == 200
            gw.wait_log(f"error-{name}-end")
            found.append("debug" if f"debug-{name}-end" in gw.log() else "error")
        return found

    assert levels() == ["error"] * WORKERS
    assert gw.admin.put("/debug/node/log-level/debug?timeout=0").json() == {"message": "log level changed"}
    assert levels() == ["debug"] * WORKERS
    assert gw.admin.put("/debug/node/log-level/notice?timeout=0").json() == {"message": "log level changed"}
    assert levels() == ["error"] * WORKERS
    assert gw.admin.put("/debug/node/log-level/debug?timeout=1").json() == {"message": "log level changed"}
    wait_for(lambda: levels() == ["error"] * WORKERS, "the configured level in all workers")
    assert gw.admin.get("/debug/node/log-level").json() == {"message": "log level: notice"}
    # Control's own requests as well: what nginx says of these two Host headers is of level info.
    broken = b"GET /%b HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"
    assert raw(gw.admin_port, broken % b"before")[0] == 400
    assert gw.admin.put("/debug/node/log-level/info?timeout=0").status_code == 200
    assert raw(gw.admin_port, broken % b"after")[0] == 400
    gw.wait_log('duplicate host header.*"GET /after ')
    assert '"GET /before ' not in gw.log()
