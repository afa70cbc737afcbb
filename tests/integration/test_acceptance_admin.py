"""Every endpoint of the Admin API that concerns the entities of the gateway, by the table in tests/data/admin_endpoints.json.

What holds for all is swept over the table (methods, HEAD, OPTIONS, what is absent, create-read-change-delete on its own, below a parent and
through a link); below that, what single endpoints do differently.
"""
import json
import pathlib
import subprocess
import uuid

import pytest

import support
from support import wait_for

ENDPOINTS = json.loads((pathlib.Path(__file__).parents[1] / "data" / "admin_endpoints.json").read_text())
NOT_FOUND = {"message": "Not found"}
# The public key of RFC 7517's first example.
JWK = {"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}
# entity: the key that a path may name besides the id, a field that is not its key, two values of it, and the default it falls back to
ENTITIES = {
    "services": ("name", "retries", 7, 8, 5),
    "routes": ("name", "regex_priority", 7, 8, 0),
    "consumers": ("username", "custom_id", "c7", "c8", None),
    "plugins": ("instance_name", "enabled", False, True, True),
    "upstreams": ("name", "slots", 77, 88, 10000),
    "targets": ("target", "weight", 7, 8, 100),
    "certificates": (None, "tags", ["seven"], ["eight"], None),
    "snis": ("name", "tags", ["seven"], ["eight"], None),
    "ca_certificates": (None, "tags", ["seven"], ["eight"], None),
    "key_sets": ("name", "tags", ["seven"], ["eight"], None),
    "keys": ("name", "tags", ["seven"], ["eight"], None),
    "vaults": ("prefix", "description", "seven", "eight", None),
}


def collection(entity):
    return "/key-sets" if entity == "key_sets" else f"/{entity}"


def make_pem(folder):
    """A self-signed certificate, which is one of an authority as well, and its key."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "9", "-subj",
                    "/CN=sweep.test", "-keyout", folder / "key", "-out", folder / "cert"], check=True, capture_output=True)
    return {"cert": (folder / "cert").read_text(), "key": (folder / "key").read_text()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pem")


@pytest.fixture(scope="module")
def pem(folder):
    return make_pem(folder)


class Maker:
    """Valid bodies of entities, each with fresh unique values, and rows made from them."""

    def __init__(self, gw, pem, folder):
        self.gw, self.pem, self.folder, self.n = gw, pem, folder, 0

    def body(self, entity, parent=None, link=None):
        self.n += 1
        name = f"{entity}-{self.n}"
        bodies = {
            "services": {"name": name, "host": "h"},
            "routes": {"name": name, "paths": [f"/{name}"]},
            "consumers": {"username": name},
            "plugins": {"name": "request-termination", "instance_name": name},
            "upstreams": {"name": name},
            "targets": {"target": f"127.0.0.1:{1000 + self.n}"},
            "certificates": dict(self.pem),
            "snis": {"name": f"{name}.test"},
            "ca_certificates": {},
            "key_sets": {"name": name},
            "keys": {"name": name, "kid": name, "jwk": json.dumps({**JWK, "kid": name})},
            "vaults": {"name": "env", "prefix": f"v-{self.n}"},
        }
        body = bodies[entity]
        if entity == "ca_certificates":
            body["cert"] = make_pem(self.folder)["cert"]
        if entity == "snis" and parent is None:
            body["certificate"] = {"id": self.make("certificates")["id"]}
        if entity == "plugins" and parent is None:
            body["consumer"] = {"id": self.make("consumers")["id"]}
        if link == "client_certificate" and entity == "services":
            body["protocol"] = "https"
        return body

    def make(self, entity, **more):
        answer = self.gw.admin.post(collection(entity), json={**self.body(entity), **more})
        assert answer.status_code == 201, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def node():
    """One node for all; the fixture `maker` leaves it empty."""
    ports = support.Ports()
    gw = support.Gateway(ports, {"nginx_worker_processes": 1})
    gw.start()
    yield gw
    gw.close()
    ports.release()


@pytest.fixture
def maker(node, pem, folder):
    yield Maker(node, pem, folder)
    for entity in ("plugins", "routes", "services", "consumers", "upstreams", "certificates", "ca_certificates", "keys", "key_sets", "vaults"):
        path = collection(entity)
        for row in [r for p in pages(node, f"{path}?size=1000") for r in p["data"]]:
            answer(node, "DELETE", f"{path}/{row['id']}", 204)
    assert answer(node, "GET", "/tags", 200)["data"] == []


def of_kind(test):
    return [pytest.param(e, id=e["path"]) for e in ENDPOINTS if "methods" in e and test(e)]


def answer(gw, method, path, status, body=None, **kw):
    """One request whose status is asserted; returns the decoded body."""
    r = gw.admin.request(method, path, **({"json": body} if body is not None else {}), **kw)
    assert r.status_code == status, f"{method} {path} {body} -> {r.status_code} {r.text}"
    if status == 204:
        assert r.content == b""
        return None
    assert r.headers["Content-Type"] == "application/json; charset=utf-8"
    return r.json()


def filled(path):
    """A pattern with something in each place, that need not exist."""
    places = {"{name}": "services", "{db_entity_name}": "services", "{tags}": "some"}
    return "/".join(places.get(s, "none") if s.startswith("{") else s for s in path.split("/"))


def test_methods_and_options(node):
    """Each endpoint is listed, says what it takes, and refuses the rest."""
    gw = node
    listed = gw.admin.get("/endpoints").json()["data"]
    assert listed == sorted(listed)
    for e in ENDPOINTS:
        path = filled(e["path"])
        if "disabled" in e:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                assert answer(gw, method, path, 404) == NOT_FOUND
            continue
        assert e["path"] in listed
        if "wasm" in e:
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                assert answer(gw, method, path, 400) == {"message": "this endpoint is only available when wasm is enabled"}
            continue
        allow = sorted({*e["methods"], "OPTIONS", *(["HEAD"] if "GET" in e["methods"] else [])})
        r = gw.admin.options(path)
        assert (r.status_code, r.content, r.headers["Allow"]) == (204, b"", ", ".join(allow)), e["path"]
        assert r.headers["Access-Control-Allow-Methods"] == ", ".join(allow)
        assert r.headers["Access-Control-Allow-Headers"] == "Content-Type"
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - set(e["methods"]):
            assert answer(gw, method, path, 405) == {"message": "Method not allowed"}, (method, path)
        if "GET" in e["methods"]:
            get, head = gw.admin.get(path), gw.admin.head(path)
            assert (head.status_code, head.content) == (get.status_code, b""), path
            assert head.headers["Content-Type"] == get.headers["Content-Type"]
            slash = gw.admin.get(path.rstrip("/") + "/")
            assert (slash.status_code, slash.json().keys()) == (get.status_code, get.json().keys()), path


def test_sweep_entities(maker):
    for e in of_kind(lambda e: e.get("entity") in ENTITIES and e["path"].count("/") == 1):
        sweep_collection(maker, e.values[0])


def sweep_collection(maker, e):
    gw, path, entity = maker.gw, e["path"], e["entity"]
    key, field, one, two, default = ENTITIES[entity]
    assert answer(gw, "GET", path + "?tags=nobody-has-this", 200) == {"data": [], "next": None}
    made = answer(gw, "POST", path, 201, {**maker.body(entity), field: one})
    assert uuid.UUID(made["id"]) and made["created_at"] and made[field] == one
    assert made in answer(gw, "GET", path, 200)["data"]
    again = answer(gw, "POST", path, 400, {**maker.body(entity), "id": made["id"]})
    assert (again["code"], again["name"]) == (3, "primary key violation")
    assert again["message"] == "primary key violation on key '{id=\"%s\"}'" % made["id"]
    if key:
        clash = answer(gw, "POST", path, 409, {**maker.body(entity), key: made[key]})
        assert clash == {"code": 5, "name": "unique constraint violation", "fields": {key: made[key]},
                         "message": "UNIQUE violation detected on '{%s=\"%s\"}'" % (key, made[key])}
    sweep_one(maker, path, entity, made)


def keys_of(entity, row):
    key = ENTITIES[entity][0]
    return [row["id"], row[key]] if key else [row["id"]]


def sweep_one(maker, path, entity, made, parent=None, link=None):
    """PATH/{id or key} of a row that exists: GET, PATCH, PUT, DELETE, and what is absent. `parent`: the row
    whose children these are, tied by the field `link`."""
    gw, (key, field, one, two, default), nested = maker.gw, ENTITIES[entity], parent is not None
    for k in keys_of(entity, made):
        assert answer(gw, "GET", f"{path}/{k}", 200) == made
        changed = answer(gw, "PATCH", f"{path}/{k}", 200, {field: two})
        assert changed == {**made, field: two, "updated_at": changed["updated_at"]}
        assert answer(gw, "PATCH", f"{path}/{k}", 200, {field: one})[field] == one
        body = {**maker.body(entity, parent, link), **({key: made[key]} if key else {})}
        put = answer(gw, "PUT", f"{path}/{k}", 200, body)
        assert (put["id"], put[field]) == (made["id"], one if entity == "targets" else default), "what PUT does not give is reset, but for targets, which it updates"
        bad = answer(gw, "PATCH", f"{path}/{k}", 400, {"bogus": 1})
        assert bad == {"code": 2, "name": "schema violation", "fields": {"bogus": "unknown field"},
                       "message": "schema violation (bogus: unknown field)"}
        assert answer(gw, "GET", f"{path}/{k}", 200) == put
        made = answer(gw, "PATCH", f"{path}/{k}", 200, {field: one})
    answer(gw, "DELETE", f"{path}/{keys_of(entity, made)[-1]}", 204)
    answer(gw, "GET", f"{path}/{made['id']}", 404)
    answer(gw, "DELETE", f"{path}/{made['id']}", 404 if nested else 204)
    sweep_absent(maker, path, entity, parent, link)


def sweep_absent(maker, path, entity, parent, link):
    """GET and PATCH of what is not there, and PUT, which makes it (targets excepted)."""
    gw, (key, field, one, two, default) = maker.gw, ENTITIES[entity]
    fresh = maker.body(entity, parent, link)
    for k in [str(uuid.uuid4())] + ([fresh[key]] if key else []):
        assert answer(gw, "GET", f"{path}/{k}", 404) == NOT_FOUND
        assert answer(gw, "PATCH", f"{path}/{k}", 404, {field: two}) == NOT_FOUND
        if entity == "targets":
            assert answer(gw, "PUT", f"{path}/{k}", 404, fresh) == NOT_FOUND
            continue
        body = {n: v for n, v in maker.body(entity, parent, link).items() if n != key} if k == fresh.get(key) else \
            maker.body(entity, parent, link)
        put = answer(gw, "PUT", f"{path}/{k}", 200, body)
        assert k in (put["id"], put.get(key))
        assert answer(gw, "GET", f"{path}/{put['id']}", 200) == put
        answer(gw, "DELETE", f"{path}/{k}", 204)


def test_sweep_nested(maker):
    """PARENT/{key}/CHILDREN and the rows below."""
    for e in of_kind(lambda e: "parent" in e and e["path"].endswith("s") and not e["path"].endswith("}") and "foreign_field" in e):
        sweep_nested(maker, e.values[0])


def sweep_nested(maker, e):
    gw, entity, parents, link = maker.gw, e["entity"], e["parent"], e["foreign_field"]
    parent, other = maker.make(parents), maker.make(parents)
    above, last = collection(parents), e["path"].rsplit("/", 1)[1]
    for absent in (str(uuid.uuid4()), "no-such-parent"):
        r = gw.admin.get(f"{above}/{absent}/{last}")
        assert r.status_code == 404, e["path"]
        assert gw.admin.post(f"{above}/{absent}/{last}", json=maker.body(entity, parent, link)).status_code == 404
    for k in keys_of(parents, parent):
        path = f"{above}/{k}/{last}"
        assert answer(gw, "GET", path, 200) == {"data": [], "next": None}
        made = answer(gw, "POST", path, 201, {**maker.body(entity, parent, link), ENTITIES[entity][1]: ENTITIES[entity][2]})
        assert made[link] == {"id": parent["id"]}
        assert answer(gw, "GET", path, 200) == {"data": [made], "next": None}
        assert answer(gw, "GET", f"{above}/{other['id']}/{last}", 200)["data"] == []
        assert answer(gw, "GET", f"{above}/{other['id']}/{last}/{made['id']}", 404) == NOT_FOUND
        answer(gw, "DELETE", f"{above}/{other['id']}/{last}/{made['id']}", 404)
        sweep_one(maker, path, entity, made, parent, link)


def test_sweep_links(maker):
    """ENTITY/{key}/FOREIGN: the row that it references."""
    for e in of_kind(lambda e: "returns" in e):
        sweep_link(maker, e.values[0])


def sweep_link(maker, e):
    gw, entity, target = maker.gw, e["entity"], e["returns"]
    link, field, two = e["path"].rsplit("/", 1)[1], ENTITIES[target][1], ENTITIES[target][3]
    owner = maker.make(entity, **({"consumer": None} if entity == "plugins" else {"protocol": "https"} if entity == "services" else {}))
    for k in (str(uuid.uuid4()), "nobody"):
        for method in ("GET", "PATCH", "DELETE"):
            assert answer(gw, method, f"/{entity}/{k}/{link}", 404, {} if method == "PATCH" else None) == NOT_FOUND
    for k in keys_of(entity, owner):
        path = f"/{entity}/{k}/{link}"
        assert answer(gw, "GET", path, 404) == NOT_FOUND
        assert answer(gw, "DELETE", path, 404) == NOT_FOUND
        made = answer(gw, "PUT", path, 200, maker.body(target))
        assert answer(gw, "GET", f"/{entity}/{k}", 200)[link] == {"id": made["id"]}
        assert answer(gw, "GET", path, 200) == made
        assert answer(gw, "PATCH", path, 200, {field: two})[field] == two
        assert answer(gw, "PUT", path, 200, maker.body(target))["id"] == made["id"]
        assert answer(gw, "DELETE", path, 405) == {"message": "Method not allowed"}
        answer(gw, "PATCH", f"/{entity}/{k}", 200, {link: None})
    answer(gw, "DELETE", f"/{entity}/{owner['id']}", 204)


def pages(gw, path):
    """Every page that `next` leads to."""
    found = []
    while path:
        page = answer(gw, "GET", path, 200)
        assert set(page) == ({"data", "next", "offset"} if page["next"] else {"data", "next"})
        if page["next"]:
            assert "offset=" in page["next"]
        found.append(page)
        path = page["next"]
        assert len(found) < 300
    return found


def test_pagination(maker):
    """250 rows: the default size, sizes that divide and do not, the largest; filters stay on the way, below a parent they go."""
    gw = maker.gw
    service = maker.make("services")["id"]
    made = [maker.make("routes", service={"id": service}, tags=["all", "even" if i % 2 == 0 else "odd"])["id"] for i in range(250)]
    for size, counts in ((None, [100, 100, 50]), (50, [50] * 5), (249, [249, 1]), (250, [250]), (1000, [250]), (7, [7] * 35 + [5])):
        got = pages(gw, "/routes" + (f"?size={size}" if size else ""))
        assert [len(p["data"]) for p in got] == counts
        assert [r["id"] for p in got for r in p["data"]] == sorted(made)
    first = answer(gw, "GET", "/routes?size=10&tags=even", 200)
    assert first["next"].startswith("/routes?offset=") and "tags=even" in first["next"] and "size=10" in first["next"]
    assert [r["id"] for p in pages(gw, "/routes?size=10&tags=even") for r in p["data"]] == sorted(made[::2])
    assert answer(gw, "GET", f"/routes?size=10&tags=even&offset={first['offset']}", 200)["data"] == answer(gw, "GET", first["next"], 200)["data"]
    nested = answer(gw, "GET", f"/services/{service}/routes?size=200", 200)
    assert nested["next"].startswith(f"/services/{service}/routes?offset=") and "size" not in nested["next"]
    assert sorted(r["id"] for p in pages(gw, f"/services/{service}/routes?size=200") for r in p["data"]) == sorted(made)
    for size, text in (("0", "size must be an integer between 1 and 1000"), ("1001", "size must be an integer between 1 and 1000"),
                       ("1.5", "size must be an integer between 1 and 1000"), ("x", "size must be a number")):
        for path in ("/routes", f"/services/{service}/routes"):
            bad = answer(gw, "GET", f"{path}?size={size}", 400)
            assert bad == {"code": 9, "name": "invalid size", "message": text}, size


@pytest.mark.parametrize("entity", ENTITIES)
def test_tag_filters(maker, entity):
    gw = maker.gw
    if entity == "targets":
        upstream = maker.make("upstreams")
        for tags in (["a"], ["b"]):
            answer(gw, "POST", f"/upstreams/{upstream['id']}/targets", 201, {**maker.body("targets", upstream), "tags": tags})
        assert [t["entity_name"] for t in answer(gw, "GET", "/tags/a", 200)["data"]] == ["targets"]
        return
    rows = {t: maker.make(entity, tags=list(t) or None)["id"] for t in ("", "a", "b", "ab", "abc")}
    for query, found in (("a", ("a", "ab", "abc")), ("a,b", ("ab", "abc")), ("a/b", ("a", "b", "ab", "abc")), ("b,c", ("abc",)), ("d", ()),
                         ("a,b,c,d", ()), ("c/d", ("abc",))):
        page = answer(gw, "GET", f"{collection(entity)}?tags={query}", 200)
        assert [r["id"] for r in page["data"]] == sorted(rows[f] for f in found), query
    for query, text in (("a,b/c", "invalid filter syntax"), ("", "cannot be null")):
        bad = answer(gw, "GET", f"{collection(entity)}?tags={query}", 400)
        assert bad == {"code": 11, "name": "invalid options", "message": f"invalid option (tags: {text})", "options": {"tags": text}}
    tagged = pages(gw, "/tags/a?size=2")
    assert sorted(t["entity_id"] for p in tagged for t in p["data"]) == sorted(rows[f] for f in ("a", "ab", "abc"))
    assert {(t["tag"], t["entity_name"]) for p in tagged for t in p["data"]} == {("a", entity)}
    assert len([t for p in pages(gw, "/tags?size=3") for t in p["data"]]) == 7
    answer(gw, "PATCH", f"{collection(entity)}/{rows['a']}", 200, {"tags": None})
    assert sorted(r["id"] for r in answer(gw, "GET", f"{collection(entity)}?tags=a", 200)["data"]) == sorted(rows[f] for f in ("ab", "abc"))
    answer(gw, "DELETE", f"{collection(entity)}/{rows['ab']}", 204)
    assert len(answer(gw, "GET", "/tags/a", 200)["data"]) == 1


def test_tags_are_read_only(maker):
    text = "does not support insert/upsert/update/delete operations"
    refused = {"code": 2, "name": "schema violation", "message": f"schema violation (tags: {text})", "fields": {"tags": text}}
    assert answer(maker.gw, "POST", "/tags", 400, {"tag": "a"}) == refused
    assert answer(maker.gw, "PUT", "/tags/a", 400, {}) == refused


def test_consumers_by_custom_id(maker):
    gw, made = maker.gw, maker.make("consumers", custom_id="c 1")
    assert answer(gw, "GET", "/consumers?custom_id=c%201", 200) == {"data": [made], "next": None}
    assert answer(gw, "GET", "/consumers?custom_id=none", 200) == {"data": [], "next": None}
    for query in ("custom_id=", "custom_id=a&custom_id=b"):
        assert answer(gw, "GET", f"/consumers?{query}", 400)["message"] == "custom_id must be an unempty string"
    unnamed = answer(gw, "POST", "/consumers", 201, {"custom_id": "only"})
    assert unnamed["username"] is None
    clash = answer(gw, "POST", "/consumers", 409, {"custom_id": "only"})
    assert clash["fields"] == {"custom_id": "only"}


def test_certificates_by_server_name(maker):
    gw = maker.gw
    made = answer(gw, "POST", "/certificates", 201, {**maker.pem, "snis": ["a.test", "b.test"]})
    assert sorted(made["snis"]) == ["a.test", "b.test"]
    assert answer(gw, "GET", "/certificates/a.test", 200)["id"] == made["id"]
    assert [s["name"] for s in sorted(answer(gw, "GET", "/certificates/b.test/snis", 200)["data"], key=lambda s: s["name"])] == \
        ["a.test", "b.test"]
    for method in ("GET", "PATCH", "DELETE"):
        assert answer(gw, method, "/certificates/none.test", 404, {"tags": ["x"]} if method == "PATCH" else None) == \
            {"message": "SNI not found"}
    put = answer(gw, "PUT", "/certificates/c.test", 200, maker.pem)
    assert put["id"] != made["id"] and put["snis"] == ["c.test"]
    assert answer(gw, "PATCH", f"/certificates/{made['id']}", 200, {"snis": ["b.test", "d.test"]})["snis"] == ["b.test", "d.test"]
    answer(gw, "GET", "/snis/a.test", 404)
    answer(gw, "DELETE", "/certificates/d.test", 204)
    answer(gw, "GET", "/snis/b.test", 404)
    bad = answer(gw, "POST", "/certificates", 400, {"cert": "no", "key": "no"})
    assert bad["code"] == 2 and {"cert", "key"} <= set(bad["fields"])


def test_deletes_that_are_refused_or_cascade(maker):
    gw, service, consumer = maker.gw, maker.make("services"), maker.make("consumers")
    route = maker.make("routes", service={"id": service["id"]})
    text = "an existing 'routes' entity references this 'services' entity"
    assert answer(gw, "DELETE", f"/services/{service['name']}", 400) == \
        {"code": 4, "name": "foreign key violation", "message": text, "fields": {"@referenced_by": "routes"}}
    plugins = [answer(gw, "POST", f"{p}/plugins", 201, {"name": "request-termination"})["id"]
               for p in (f"/services/{service['id']}", f"/routes/{route['id']}", f"/consumers/{consumer['id']}")]
    answer(gw, "DELETE", f"/consumers/{consumer['id']}", 204)
    answer(gw, "DELETE", f"/routes/{route['name']}", 204)
    answer(gw, "DELETE", f"/services/{service['name']}", 204)
    for plugin in plugins:
        answer(gw, "GET", f"/plugins/{plugin}", 404)
    upstream = maker.make("upstreams")
    answer(gw, "POST", f"/upstreams/{upstream['id']}/targets", 201, {"target": "127.0.0.1"})
    answer(gw, "DELETE", f"/upstreams/{upstream['id']}", 204)
    certificate = maker.make("certificates", snis=["z.test"])
    held = maker.make("services", protocol="https", client_certificate={"id": certificate["id"]})
    assert answer(gw, "DELETE", f"/certificates/{certificate['id']}", 400)["fields"] == {"@referenced_by": "services"}
    answer(gw, "DELETE", f"/services/{held['id']}", 204)
    answer(gw, "DELETE", f"/certificates/{certificate['id']}", 204)
    assert answer(gw, "GET", "/snis", 200)["data"] == []


def test_targets(maker):
    """Newest first, one entry each, the port filled in; addressed by id or host:port."""
    gw = maker.gw
    upstream = maker.make("upstreams", name="u")
    for target in ("127.0.0.1", "127.0.0.2:9", "host.test:70"):
        answer(gw, "POST", "/upstreams/u/targets", 201, {"target": target})
    names = [t["target"] for t in answer(gw, "GET", "/upstreams/u/targets", 200)["data"]]
    assert names == ["host.test:70", "127.0.0.2:9", "127.0.0.1:8000"]
    assert sorted(t["target"] for t in answer(gw, "GET", "/upstreams/u/targets/all", 200)["data"]) == sorted(names)
    got = answer(gw, "GET", "/upstreams/u/targets/127.0.0.1:8000", 200)
    assert got["upstream"] == {"id": upstream["id"]} and got["weight"] == 100
    assert [len(p["data"]) for p in pages(gw, "/upstreams/u/targets?size=3")] == [3]
    first = answer(gw, "GET", "/upstreams/u/targets?size=2", 200)
    assert first["next"].startswith("/upstreams/u/targets?offset=") and first["offset"].isdigit()
    rest = answer(gw, "GET", f"/upstreams/u/targets?offset={first['offset']}", 200)["data"]
    assert [t["target"] for t in rest] == ["127.0.0.1:8000"]
    clash = answer(gw, "POST", "/upstreams/u/targets", 409, {"target": "127.0.0.1:8000"})
    assert clash["code"] == 5
    assert answer(gw, "POST", "/upstreams/u/targets", 400, {"target": "x y"})["fields"] == \
        {"target": "Invalid target ('x y'); not a valid hostname or ip address"}
    assert answer(gw, "GET", "/upstreams/none/targets/all", 404) == NOT_FOUND


def test_schemas(maker):
    """What /schemas says is enough to know the fields; /validate stores nothing."""
    gw = maker.gw
    for entity in ENTITIES:
        schema = answer(gw, "GET", f"/schemas/{entity}", 200)
        assert {"fields", "entity_checks"} == set(schema)
        names = [name for f in schema["fields"] for name in f]
        assert len(names) == len(schema["fields"]) and "id" in names
        row = {n: v for n, v in (maker.make(entity) if entity != "targets" else {}).items()}
        assert set(row) <= set(names) | {"snis"}
    before = answer(gw, "GET", "/services", 200)
    done = {"message": "schema validation successful"}
    assert answer(gw, "POST", "/schemas/services/validate", 200, {"host": "h"}) == done
    assert answer(gw, "POST", "/schemas/plugins/validate", 200, {"name": "request-termination"}) == done
    for path, body, fields in (("services", {}, {"host": "required field missing"}),
                               ("plugins", {"name": "request-termination", "config": {"status_code": 9}},
                                {"config": {"status_code": "value should be between 100 and 599"}})):
        bad = answer(gw, "POST", f"/schemas/{path}/validate", 400, body)
        assert (bad["code"], bad["fields"]) == (2, fields)
    assert answer(gw, "GET", "/services", 200) == before
    assert answer(gw, "GET", "/schemas/nothing", 404) == {"message": "No entity named 'nothing'"}
    assert answer(gw, "GET", "/schemas/plugins/nothing", 404) == {"message": "No plugin named 'nothing'"}
    config = answer(gw, "GET", "/schemas/plugins/request-termination", 200)["fields"]
    config = next(f["config"]["fields"] for f in config if "config" in f)
    assert answer(gw, "GET", "/plugins/schema/request-termination", 200) == {"fields": config}


def test_node(maker):
    """/, /status and /plugins/enabled speak of this node as it is now."""
    gw = maker.gw
    info = answer(gw, "GET", "/", 200)
    assert info["edition"] == "community" and info["version"] == "3.9.1"
    assert info["pids"]["master"] == gw.pid() and sorted(info["pids"]["workers"]) == sorted(gw.workers("proxy"))
    gw.reload()
    wait_for(lambda: answer(gw, "GET", "/", 200)["pids"]["workers"] == gw.workers("proxy"), "the new worker to be named")
    assert info["plugins"]["available_on_server"]["request-termination"]["priority"] == 2
    assert {"running", "pending"} <= set(info["timers"])
    maker.make("plugins")
    maker.make("plugins")
    assert answer(gw, "GET", "/", 200)["plugins"]["enabled_in_cluster"] == ["request-termination"]
    assert "request-termination" in answer(gw, "GET", "/plugins/enabled", 200)["enabled_plugins"]

    def server():
        return answer(gw, "GET", "/status", 200)["server"]

    before = server()["total_requests"]
    for _ in range(10):
        gw.proxy.get("/")
    wait_for(lambda: server()["total_requests"] >= before + 10, "the requests to be counted")
    counted = server()
    assert counted["connections_accepted"] >= counted["connections_active"] >= 1
    assert set(counted) == {"total_requests"} | {f"connections_{n}" for n in ("accepted", "active", "handled", "reading", "waiting", "writing")}
    for query, text in (("unit=x", "invalid unit 'x' (expected 'k/K', 'm/M', or 'g/G')"),
                        ("scale=-1", "scale must be equal or greater than 0")):
        assert answer(gw, "GET", f"/status?{query}", 400) == {"message": text}


def test_secrets_are_not_shown(gateway):
    gw = gateway(nginx_worker_processes=1, pg_password="not-to-be-seen", proxy_server="http://user:not-to-be-seen@127.0.0.1:1")
    r = gw.admin.get("/")
    assert "not-to-be-seen" not in r.text and r.json()["configuration"]["pg_password"] == "******"
    assert "not-to-be-seen" not in gw.log()


def test_form_and_json_say_the_same(maker):
    """A form with every way of writing nested fields makes the row that JSON makes."""
    gw = maker.gw
    form = ("name=f&paths[]=/a&paths[]=/b&methods[1]=GET&methods[2]=POST&hosts=h.test&headers.x-one[]=1&headers.x-one[]=2"
            "&headers[x-two]=3&strip_path=false&regex_priority=3&tags[]=t1&tags[]=t2")
    r = gw.admin.post("/routes", data=form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert r.status_code == 201, r.text
    body = {"name": "j", "paths": ["/a", "/b"], "methods": ["GET", "POST"], "hosts": ["h.test"], "headers": {"x-one": ["1", "2"], "x-two": ["3"]},
            "strip_path": False, "regex_priority": 3, "tags": ["t1", "t2"]}
    made = answer(gw, "POST", "/routes", 201, body)
    own = {"id": None, "name": None, "created_at": None, "updated_at": None}
    assert {**r.json(), **own} == {**made, **own}
    r = gw.admin.patch("/routes/f", data={"tags": "", "hosts[]": "other.test"})
    assert (r.status_code, r.json()["tags"], r.json()["hosts"]) == (200, None, ["other.test"])
    r = gw.admin.post("/routes", files={"name": (None, "m"), "paths[]": (None, "/m")})
    assert (r.status_code, r.json()["name"], r.json()["paths"]) == (201, "m", ["/m"])
