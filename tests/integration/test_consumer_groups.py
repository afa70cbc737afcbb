"""Consumer groups: endpoints, memberships, and which instance of a plugin runs for whom."""
import pytest

from lua_support import create, service_and_route

# An authentication of sorts, and a plugin that shows which of its instances ran.
WHO = """
local P = { PRIORITY = 1000, VERSION = "1.0.0" }
function P:access(conf)
  local name = kong.request.get_header("X-User")
  if name then
    kong.client.authenticate(assert(kong.client.load_consumer(name, true)), { id = "c0ffee00-0000-4000-8000-000000000000" })
  end
end
return P
"""
SHOW = """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
function P:access(conf)
  kong.response.set_header("X-Label", conf.label)
  kong.response.set_header("X-Key", conf.__key__)
end
return P
"""
SHOW_SCHEMA = """
return { name = "show", fields = { { config = { type = "record", fields = { { label = { type = "string", required = true } } } } } } }
"""


def answer(gw, method, path, status, body=None, **kw):
    got = gw.admin.request(method, path, json=body, **kw)
    assert got.status_code == status, f"{method} {path} {body} -> {got.status_code} {got.text}"
    return got.json() if got.content else None


@pytest.fixture
def node(gateway, plugin, echo_server):
    plugin("who", WHO)
    path = plugin("show", SHOW, SHOW_SCHEMA)
    gw = gateway(plugins="bundled,who,show", lua_package_path=path)
    gw.service, gw.route = service_and_route(gw, echo_server.url)
    create(gw, "/plugins", name="who")
    return gw


def label(gw, user=None):
    return gw.proxy.get("/s", headers={"X-User": user} if user else {}).headers.get("X-Label")


def test_endpoints(gateway):
    gw = gateway()
    gold = create(gw, "/consumer_groups", name="gold", tags=["t"])
    ann, bob = create(gw, "/consumers", username="ann"), create(gw, "/consumers", username="bob")
    assert sorted(gold) == ["created_at", "id", "name", "tags", "updated_at"]
    assert answer(gw, "POST", "/consumer_groups", 409, {"name": "gold"})["code"] == 5
    assert answer(gw, "POST", "/consumer_groups", 400, {})["fields"] == {"name": "required field missing"}
    assert answer(gw, "POST", "/consumer_groups/gold/consumers", 201, {"consumer": "ann"}) == {"consumer_group": gold, "consumers": [ann]}
    assert answer(gw, "POST", f"/consumers/{bob['id']}/consumer_groups", 201, {"group": "gold"}) == {"consumer": bob, "consumer_groups": [gold]}
    assert answer(gw, "POST", "/consumer_groups/gold/consumers", 409, {"consumer": ann["id"]})["code"] == 5
    listed = answer(gw, "GET", "/consumer_groups/gold/consumers", 200)
    assert sorted(c["username"] for c in listed["data"]) == ["ann", "bob"] and listed["next"] is None
    assert answer(gw, "GET", "/consumers/ann/consumer_groups", 200) == {"data": [gold], "next": None}
    one = answer(gw, "GET", "/consumer_groups/gold", 200)
    assert one["consumer_group"] == gold and len(one["consumers"]) == 2 and one["plugins"] == []
    assert answer(gw, "GET", "/consumer_groups/gold?list_consumers=false", 200)["consumers"] == []
    assert answer(gw, "GET", "/consumer_groups/gold/consumers/ann", 200)["consumer"] == ann
    assert answer(gw, "GET", "/consumers/ann/consumer_groups/gold", 200)["consumer_group"] == gold
    assert answer(gw, "GET", "/tags/t", 200)["data"] == [{"entity_name": "consumer_groups", "entity_id": gold["id"], "tag": "t"}]
    assert answer(gw, "PATCH", "/consumer_groups/gold", 200, {"tags": None})["tags"] is None


def test_form_bodies(gateway):
    gw = gateway()
    create(gw, "/consumer_groups", name="gold")
    create(gw, "/consumers", username="ann")
    assert gw.admin.post("/consumer_groups/gold/consumers", data={"consumer": "ann"}).status_code == 201
    assert gw.admin.delete("/consumer_groups/gold/consumers/ann").status_code == 204
    assert gw.admin.post("/consumers/ann/consumer_groups", data={"group": "gold"}).status_code == 201


def test_mistakes(gateway):
    gw = gateway()
    create(gw, "/consumer_groups", name="gold")
    create(gw, "/consumers", username="ann")
    for body in ({"consumer": "nobody"}, {"consumer": "c0ffee00-0000-4000-8000-000000000000"}):
        assert answer(gw, "POST", "/consumer_groups/gold/consumers", 404, body) == {"message": "Not found"}
    assert answer(gw, "POST", "/consumer_groups/gold/consumers", 400, {})["fields"] == {"consumer": "required field missing"}
    assert answer(gw, "POST", "/consumer_groups/gold/consumers", 400, {"consumer": 7})["fields"] == {"consumer": "expected a string"}
    assert answer(gw, "POST", "/consumers/ann/consumer_groups", 400, {})["fields"] == {"group": "required field missing"}
    for path in ("/consumer_groups/none/consumers", "/consumers/none/consumer_groups", "/consumer_groups/gold/consumers/ann",
                 "/consumers/ann/consumer_groups/gold", "/consumer_groups/none"):
        answer(gw, "GET", path, 404)
    answer(gw, "DELETE", "/consumer_groups/gold/consumers/ann", 404)


def test_members_come_page_by_page(gateway):
    gw = gateway()
    create(gw, "/consumer_groups", name="gold")
    for n in range(5):
        create(gw, "/consumers", username=f"u{n}")
        answer(gw, "POST", "/consumer_groups/gold/consumers", 201, {"consumer": f"u{n}"})
    seen, url = [], "/consumer_groups/gold/consumers?size=2"
    while url:
        page = answer(gw, "GET", url, 200)
        assert len(page["data"]) <= 2
        seen += [c["username"] for c in page["data"]]
        url = page["next"]
    assert sorted(seen) == [f"u{n}" for n in range(5)]
    answer(gw, "DELETE", "/consumer_groups/gold/consumers", 204)
    assert answer(gw, "GET", "/consumer_groups/gold/consumers", 200)["data"] == []


def test_memberships_and_plugins_go_with_either_side(gateway):
    gw = gateway()
    for group in ("gold", "blue"):
        create(gw, "/consumer_groups", name=group)
        create(gw, f"/consumer_groups/{group}/plugins", name="request-termination")
    for user in ("ann", "bob"):
        create(gw, "/consumers", username=user)
        for group in ("gold", "blue"):
            answer(gw, "POST", f"/consumer_groups/{group}/consumers", 201, {"consumer": user})
    answer(gw, "DELETE", "/consumer_groups/blue", 204)
    assert [g["name"] for g in answer(gw, "GET", "/consumers/ann/consumer_groups", 200)["data"]] == ["gold"]
    assert len(answer(gw, "GET", "/plugins", 200)["data"]) == 1
    answer(gw, "DELETE", "/consumers/ann", 204)
    assert [c["username"] for c in answer(gw, "GET", "/consumer_groups/gold/consumers", 200)["data"]] == ["bob"]
    answer(gw, "DELETE", "/consumers/bob/consumer_groups", 204)
    assert answer(gw, "GET", "/consumer_groups/gold/consumers", 200)["data"] == []


def test_a_plugin_is_unique_per_group(gateway):
    gw = gateway()
    gold, blue = create(gw, "/consumer_groups", name="gold"), create(gw, "/consumer_groups", name="blue")
    one = create(gw, "/plugins", name="request-termination", consumer_group={"id": gold["id"]})
    assert one["consumer_group"] == {"id": gold["id"]}
    plain = create(gw, "/plugins", name="request-termination")
    assert "consumer_group" not in plain
    create(gw, "/plugins", name="request-termination", consumer_group={"name": "blue"})
    clash = answer(gw, "POST", "/consumer_groups/gold/plugins", 409, {"name": "request-termination"})
    assert clash["code"] == 5 and clash["fields"]["consumer_group"] == {"id": gold["id"]}
    assert answer(gw, "PATCH", f"/plugins/{plain['id']}", 409, {"consumer_group": {"id": blue["id"]}})["code"] == 5
    missing = {"id": "c0ffee00-0000-4000-8000-000000000000"}
    assert answer(gw, "POST", "/plugins", 400, {"name": "request-termination", "consumer_group": missing})["fields"] == {
        "consumer_group": missing}
    answer(gw, "DELETE", f"/plugins/{plain['id']}", 204)
    assert "consumer_group" not in answer(gw, "PATCH", f"/plugins/{one['id']}", 200, {"consumer_group": None})
    assert answer(gw, "GET", "/consumer_groups/gold/plugins", 200)["data"] == []


def test_scope_precedence(node):
    gw = node
    gold = create(gw, "/consumer_groups", name="gold")
    users = {name: create(gw, "/consumers", username=name) for name in ("ann", "bob", "cid")}
    for user in ("ann", "bob"):
        answer(gw, "POST", "/consumer_groups/gold/consumers", 201, {"consumer": user})
    scopes = {"route": {"id": gw.route["id"]}, "service": {"id": gw.service["id"]}, "consumer": {"id": users["ann"]["id"]},
              "consumer_group": {"id": gold["id"]}}
    # Least specific first: each new one wins, for requests that fit it.
    order = ["", "service", "route", "consumer_group", "consumer", "route+service", "service+consumer_group", "route+consumer_group",
             "service+consumer", "route+consumer", "route+service+consumer_group", "route+service+consumer"]
    best = {"ann": None, "bob": None, "cid": None, None: None}
    made = []
    for scope in order:
        parts = [s for s in scope.split("+") if s]
        made.append(create(gw, "/plugins", name="show", config={"label": scope or "global"}, **{s: scopes[s] for s in parts}))
        for user in best:
            if ("consumer" not in parts or user == "ann") and ("consumer_group" not in parts or user in ("ann", "bob")):
                best[user] = scope or "global"
        assert {user: label(gw, user) for user in best} == best
    # And back: as the most specific is deleted, the next one takes over.
    for n in range(len(order) - 1, 0, -1):
        answer(gw, "DELETE", f"/plugins/{made[n]['id']}", 204)
        assert label(gw, "ann") == (order[n - 1] or "global")


def test_membership_counts_at_once(node):
    gw = node
    for name in ("a", "b"):
        group = create(gw, "/consumer_groups", name=name)
        create(gw, "/plugins", name="show", config={"label": name}, consumer_group={"id": group["id"]})
    create(gw, "/consumers", username="ann")
    assert label(gw, "ann") is None
    answer(gw, "POST", "/consumer_groups/b/consumers", 201, {"consumer": "ann"})
    assert label(gw, "ann") == "b"
    answer(gw, "POST", "/consumer_groups/a/consumers", 201, {"consumer": "ann"})
    assert label(gw, "ann") == "a"  # of two groups the first by name
    answer(gw, "PATCH", "/consumer_groups/a", 200, {"name": "z"})
    assert label(gw, "ann") == "b"
    answer(gw, "DELETE", "/consumer_groups/b/consumers/ann", 204)
    assert label(gw, "ann") == "a"
    answer(gw, "DELETE", "/consumer_groups/z", 204)
    assert label(gw, "ann") is None


def test_instances_of_two_groups_have_two_keys(node):
    gw, keys = node, set()
    for user in ("ann", "bob"):
        group = create(gw, "/consumer_groups", name=user)
        create(gw, "/plugins", name="show", config={"label": user}, consumer_group={"id": group["id"]})
        create(gw, "/consumers", username=user)
        answer(gw, "POST", f"/consumer_groups/{user}/consumers", 201, {"consumer": user})
        keys.add(gw.proxy.get("/s", headers={"X-User": user}).headers["X-Key"])
    assert len(keys) == 2
