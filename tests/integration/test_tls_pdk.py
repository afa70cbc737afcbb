"""TLS for Lua plugins: the certificate handler, kong.client.tls, kong.service.set_tls_*."""
import json
import re
import socket
import ssl
import subprocess

import pytest

from proxy_support import create, route_to
from test_tls_upstream import node, root, serve  # noqa: F401 (fixtures)
from tls_support import Cert, client_context, shown

ASK = """
local H = { PRIORITY = 1000, VERSION = "1.0.0" }
function H:certificate(conf)
  if conf.wait then ngx.sleep(0.001) end
  local cas = conf.ca and assert(require("ngx.ssl").parse_pem_cert(conf.ca))
  assert(kong.client.tls.request_client_certificate(cas))
  if conf.fresh then assert(kong.client.tls.disable_session_reuse()) end
  local ok, err = pcall(kong.request.get_method)
  kong.log.notice("asked: ", not ok and err:match("certificate phase"))
end
function H:access(conf)
  if conf.verdict then kong.client.tls.set_client_verify(conf.verdict) end
  local ok, err = pcall(kong.client.tls.set_client_verify, "MAYBE")
  kong.response.exit(200, { chain = kong.client.tls.get_full_client_certificate_chain(), refused = not ok and err })
end
function H:log()
  kong.log.notice("verdict: <", kong.log.serialize().request.tls.client_verify, ">")
end
return H
"""
ASK_SCHEMA = """
return { name = "ask", fields = { { config = { type = "record", fields = {
  { wait = { type = "boolean", default = false } }, { fresh = { type = "boolean", default = false } },
  { ca = { type = "string" } }, { verdict = { type = "string" } } } } } } }
"""
CHOOSE = """
local H = { PRIORITY = 1000, VERSION = "1.0.0" }
local ssl = require "ngx.ssl"
function H:access(conf)
  local s = kong.service
  if conf.cert then
    local ok, err = s.set_tls_cert_key(assert(ssl.parse_pem_cert(conf.cert)), assert(ssl.parse_pem_priv_key(conf.key)))
    if not ok then return kong.response.exit(418, err) end
  end
  if conf.verify ~= nil then assert(s.set_tls_verify(conf.verify)) end
  if conf.depth then assert(s.set_tls_verify_depth(conf.depth)) end
end
return H
"""
CHOOSE_SCHEMA = """
return { name = "choose", fields = { { config = { type = "record", fields = {
  { cert = { type = "string" } }, { key = { type = "string" } },
  { verify = { type = "boolean" } }, { depth = { type = "integer" } } } } } } }
"""


def ask(gw, cert=None, folder=None, session=None, version=ssl.TLSVersion.TLSv1_2, context=None):
    """(answer, session, whether it was an earlier one) of a request by TLS that shows a certificate."""
    context = context or client_context(version=version)
    if cert:
        context.load_cert_chain(*cert.files(folder))
    with socket.create_connection(("127.0.0.1", gw.tls_port), timeout=30) as plain:
        with context.wrap_socket(plain, server_hostname="x.test", session=session) as tls:
            tls.sendall(b"GET /s HTTP/1.0\r\nHost: x.test\r\n\r\n")
            data = b""
            while chunk := tls.recv(65536):
                data += chunk
            return json.loads(data.partition(b"\r\n\r\n")[2]), tls.session, tls.session_reused


@pytest.fixture
def asking(gateway, plugin, echo_server):
    def make(**config):
        gw = gateway(plugins="bundled,ask", lua_package_path=plugin("ask", ASK, ASK_SCHEMA))
        create(gw, "/plugins", name="ask", config=config)
        route_to(gw, echo_server.url, "/s")
        return gw

    return make


@pytest.mark.parametrize("wait", [False, True])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificate_is_requested(asking, workdir, wait, version):
    """A handler may also wait for something; the certificate of the store is shown all the same."""
    gw = asking(wait=wait)
    site, client = Cert("x.test"), Cert("client.test")
    create(gw, "/certificates", snis=["x.test"], **site.pair)
    answer, _, _ = ask(gw, client, workdir, version=version)
    assert answer["chain"] == client.pem
    assert 'v must be "SUCCESS", "NONE" or begin with "FAILED:"' in answer["refused"]
    assert ask(gw, version=version)[0].get("chain") is None
    assert shown(gw, "x.test") == site.der
    gw.wait_log("asked: certificate phase")


def test_authorities_are_told(asking):
    ca = Cert("told.test", ca=True)
    gw = asking(ca=ca.pem)
    out = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{gw.tls_port}"], stdin=subprocess.DEVNULL, capture_output=True,
                         text=True, timeout=60).stdout
    assert re.search("Acceptable client certificate CA names\nCN ?= ?told.test", out)


def test_session_reuse(asking):
    gw = asking()
    context = client_context(version=ssl.TLSVersion.TLSv1_2)
    _, session, _ = ask(gw, context=context)
    assert ask(gw, session=session, context=context)[2]
    plugin = gw.admin.get("/plugins").json()["data"][0]
    assert gw.admin.patch(f"/plugins/{plugin['id']}", json={"config": {"fresh": True}}).status_code == 200
    _, session, _ = ask(gw, context=context)
    assert not ask(gw, session=session, context=context)[2]


def test_verdict_in_the_log(asking):
    gw = asking(verdict="FAILED:because")
    ask(gw)
    gw.wait_log("verdict: <FAILED:because>")


def test_without_a_global_handler_nobody_is_asked(asking, workdir):
    gw = asking()
    plugin = gw.admin.get("/plugins").json()["data"][0]
    route = gw.admin.get("/routes").json()["data"][0]
    assert gw.admin.delete(f"/plugins/{plugin['id']}").status_code == 204
    create(gw, f"/routes/{route['id']}/plugins", name="ask", config={})
    assert ask(gw, Cert("client.test"), workdir)[0].get("chain") is None


def test_choices_for_the_service(node, serve, root, plugin):  # noqa: F811
    port = serve(Cert("svc.test", root), clients=root)
    gw = node(plugins="bundled,choose", lua_package_path=plugin("choose", CHOOSE, CHOOSE_SCHEMA))
    own, other, third = Cert("own.test", root), Cert("other.test", root), Cert("third.test", root)
    row = create(gw, "/certificates", **other.pair)
    for path in ("/own", "/verify", "/wrong"):
        route_to(gw, f"https://svc.test:{port}", path, service={"retries": 0, "client_certificate": {"id": row["id"]}})
    routes = {r["paths"][0]: r["id"] for r in gw.admin.get("/routes").json()["data"]}
    configs = {"/own": own.pair, "/verify": {"verify": True, "depth": 3}, "/wrong": {"cert": own.pem, "key": third.key_pem}}
    for path, config in configs.items():
        create(gw, f"/routes/{routes[path]}/plugins", name="choose", config=config)
    route_to(gw, f"https://svc.test:{port}", "/plain", service={"client_certificate": {"id": row["id"]}})
    for _ in range(2):
        assert gw.proxy.get("/own").json()["shown"] == "own.test"
        assert gw.proxy.get("/plain").json()["shown"] == "other.test"
    assert gw.proxy.get("/verify").status_code == 502
    answer = gw.proxy.get("/wrong")
    assert (answer.status_code, answer.text) == (418, "certificate and key cannot be used together")
