"""error_template_*: files of one's own in place of the built-in error bodies."""
import pytest

from proxy_support import create, route_to
from test_proxy_errors import TYPES, body_of

ACCEPTS = {"json": "application/json", "plain": "text/plain", "xml": "application/xml", "html": "text/html"}


def templates(workdir, **texts):
    for kind, text in texts.items():
        (workdir / f"{kind}.tpl").write_text(text)
    return {f"error_template_{kind}": str(workdir / f"{kind}.tpl") for kind in texts}


def test_each_type_has_its_own(gateway, workdir):
    gw = gateway(**templates(workdir, json='{"m":"%s","i":"%s","own":true}', plain="sorry: %s (%s), 100%% ours, not %d or %s\n", xml="<e><m>%s</m></e>",
                             html="<p>%s</p>"))
    for kind, accept in ACCEPTS.items():
        answer = gw.proxy.get("/none", headers={"Accept": accept})
        message, request_id = "no Route matched with those values", answer.headers["X-Kong-Request-Id"]
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, TYPES[kind])
        assert answer.text == {"json": f'{{"m":"{message}","i":"{request_id}","own":true}}',
                               "plain": f"sorry: {message} ({request_id}), 100% ours, not %d or %s\n",
                               "xml": f"<e><m>{message}</m></e>", "html": f"<p>{message}</p>"}[kind]
        assert int(answer.headers["Content-Length"]) == len(answer.content)


def test_the_others_stay_built_in(gateway, workdir):
    gw = gateway(**templates(workdir, html="<h1>%s</h1> %s"))
    answer = gw.proxy.get("/none", headers={"Accept": "text/plain"})
    assert answer.text == body_of("plain", "no Route matched with those values", answer.headers["X-Kong-Request-Id"])


def test_errors_that_nginx_finds(gateway, workdir):
    """413 by a limit, in the type of error_default_type."""
    gw = gateway(nginx_proxy_client_max_body_size="5", error_default_type="text/html", **templates(workdir, html="own %s"))
    answer = gw.proxy.post("/none", data="x" * 6, headers={"Accept": None, "Content-Type": None})
    assert (answer.status_code, answer.text) == (413, "own Payload too large")


def test_read_again_by_a_reload(gateway, workdir):
    """The files are read when a node starts or reloads, not by requests."""
    gw = gateway(**templates(workdir, json="one %s"))
    ask = lambda: gw.proxy.get("/none", headers={"Accept": "application/json"}).text[:3]  # noqa: E731
    (workdir / "json.tpl").write_text("two %s")
    assert ask() == "one"
    gw.reload()
    assert ask() == "two"


def test_a_missing_file_does_not_cost_the_running_node(gateway, workdir):
    gw = gateway(**templates(workdir, json="one %s"))
    (workdir / "json.tpl").unlink()
    r = gw.run("restart")
    assert r.returncode == 1 and f"error_template_json: no such file at {workdir / 'json.tpl'}" in r.stderr
    assert gw.proxy.get("/none", headers={"Accept": "application/json"}).text.startswith("one ")


@pytest.mark.parametrize("make, text", [
    (lambda path: None, "no such file at"), (lambda path: path.mkdir(), "not a file of at most 1048576 bytes"),
    (lambda path: path.write_text("x" * (1048576 + 1)), "not a file of at most 1048576 bytes"),
])
def test_a_file_that_cannot_be_used_stops_the_start(gateway, workdir, make, text):
    path = workdir / "html.tpl"
    make(path)
    gw = gateway(start=False, error_template_html=str(path))
    r = gw.run("start")
    assert r.returncode == 1 and f"error_template_html: {text}" in r.stderr and str(path) in r.stderr
    assert not gw.processes()


def test_plugins_use_them(gateway, workdir, plugin, echo_server):
    """kong.response.error, and the template as plugins can read it."""
    path = plugin("failing", """
        local http = require "kong.tools.http"
        return { PRIORITY = 1, VERSION = "1.0.0", access = function()
            kong.response.set_header("X-Template", http.get_error_template(http.TYPES.json))
            return kong.response.error(418, "mine")
        end }""")
    gw = gateway(lua_package_path=path, plugins="bundled,failing", **templates(workdir, json="<%s|%s>"))
    route_to(gw, echo_server.url)
    create(gw, "/plugins", name="failing")
    answer = gw.proxy.get("/s", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.text) == (418, f"<mine|{answer.headers['X-Kong-Request-Id']}>")
    assert answer.headers["X-Template"] == "<%s|%s>"
