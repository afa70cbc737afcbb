"""A worker that cannot read the configuration answers 500: nothing passes by plugins of which nobody can know.

What breaks it is its place in the read model's table of readers, which this process takes from it and gives back. The layout is LMDB's:
mutexes and counters in 128 bytes, then a record of 64 bytes for each reader, its process at offset 8.
"""
import contextlib
import json
import os
import re
import struct

import pytest
import requests

from lua_support import change, create, package_path
from proxy_support import route_to

HEAD, RECORD = 128, 64


@contextlib.contextmanager
def no_place_for(gw, pid):
    """While it lasts, no new snapshot can be taken by the process."""
    current = (gw.prefix / "run" / "model" / "current").read_text()
    path = gw.prefix / "run" / "model" / (re.search(r"model-\d+\.mdb", current).group() + "-lock")
    file = os.open(path, os.O_RDWR)
    places = [at + 8 for at in range(HEAD, os.fstat(file).st_size, RECORD) if os.pread(file, 4, at + 8) == struct.pack("<i", pid)]
    assert places, "the layout is not what it was"

    def give_to(owner):
        for at in places:
            os.pwrite(file, struct.pack("<i", owner), at)

    give_to(os.getpid())
    try:
        yield
    finally:
        give_to(pid)
        os.close(file)


def test_global_plugins_are_not_passed_by(gateway, echo_server):
    gw = gateway(plugins="bundled,probe", nginx_worker_processes=1, lua_package_path=package_path("probe"))
    row = create(gw, "/plugins", name="probe", config={"rewrite": "kong.service.request.set_header('X-Checked', 'old')"})
    route_to(gw, echo_server.url)
    assert gw.proxy.get("/s").json()["headers"]["x-checked"] == "old"
    with no_place_for(gw, gw.workers()[0]):
        change(gw, f"/plugins/{row['id']}", config={"rewrite": "kong.service.request.set_header('X-Checked', 'new')"})
        for _ in range(3):
            answer = gw.proxy.get("/s")
            assert answer.status_code == 500
            assert json.loads(answer.text)["message"] == "An unexpected error occurred"
        gw.wait_log("cannot read which plugins are global: read model: snapshot: ")
        with pytest.raises(requests.exceptions.SSLError):  # nor is a certificate shown past plugins that may want another
            gw.proxy_tls.get("/s")
    assert len(echo_server.requests) == 1
    assert gw.proxy.get("/s").json()["headers"]["x-checked"] == "new"
