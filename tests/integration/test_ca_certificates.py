"""CA certificates that a service or a plugin checks against cannot be deleted."""
import subprocess

import pytest

from lua_support import create

VERIFY = """
local P = { PRIORITY = 10, VERSION = "1.0.0" }
function P:access() end
return P
"""
VERIFY_SCHEMA = """
return { name = "verify", fields = { { config = { type = "record", fields = {
  { ca_certificates = { type = "array", elements = { type = "string", uuid = true } } } } } } } }
"""


@pytest.fixture(scope="module")
def pem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ca")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=ca.test", "-keyout", folder / "key", "-out", folder / "crt", "-addext", "basicConstraints=critical,CA:TRUE"],
                   check=True, capture_output=True)
    return (folder / "crt").read_text()


def refused(gw, ca, entity, row):
    answer = gw.admin.delete(f"/ca_certificates/{ca['id']}")
    assert answer.status_code == 400
    assert answer.json() == {"code": 19, "name": "referenced by others",
                             "message": f"ca certificate {ca['id']} is still referenced by {entity} (id = {row['id']})"}


def test_one_in_use_stays(gateway, plugin, pem):
    gw = gateway(plugins="bundled,verify", lua_package_path=plugin("verify", VERIFY, VERIFY_SCHEMA))
    ca = create(gw, "/ca_certificates", cert=pem)
    create(gw, "/workspaces", name="team")
    service = create(gw, "/team/services", url="https://a.test", ca_certificates=[ca["id"]])
    refused(gw, ca, "services", service)
    assert gw.admin.delete(f"/team/services/{service['id']}").status_code == 204
    user = create(gw, "/plugins", name="verify", config={"ca_certificates": [ca["id"]]})
    refused(gw, ca, "plugins", user)
    assert gw.admin.delete(f"/plugins/{user['id']}").status_code == 204
    assert gw.admin.delete(f"/ca_certificates/{ca['id']}").status_code == 204
    assert gw.admin.get("/ca_certificates").json()["data"] == []
