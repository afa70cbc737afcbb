"""docs/custom-plugin.md, as it stands: its files, its commands (other ports), the ways of getting a plugin onto a node."""
import os
import re
import shutil
import subprocess

import pytest

import support

DOC = (support.ROOT / "docs" / "custom-plugin.md").read_text()
EXAMPLE = support.ROOT / "examples" / "my-plugin"
HANDLER, SCHEMA = "kong/plugins/my-plugin/handler.lua", "kong/plugins/my-plugin/schema.lua"


def blocks(language):
    return re.findall(r"^```%s\n(.*?)^```$" % language, DOC, re.M | re.S)


def lua_files():
    """[(path below my-plugin/, text)], in the order of the page."""
    found = []
    for block in blocks("lua"):
        name, text = block.split("\n", 1)
        found.append((name.removeprefix("-- my-plugin/"), text))
    return found


def step_files(step):
    """The plugin's files as they are after that step."""
    files = lua_files()
    page = {1: files[:2], 2: files[:4], 3: files[:5]}[step]
    return dict(page)


def commands(beginning):
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith(beginning)]


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def httpbin_port(httpbin):
    return int(httpbin.rsplit(":", 1)[1])


class Walk:
    """Runs the page's curl commands against a node and httpbin on other ports."""

    def __init__(self, gw, httpbin_port):
        self.gw, self.httpbin_port = gw, httpbin_port

    def curl(self, command):
        for written, real in ((":8000", self.gw.proxy_port), (":8001", self.gw.admin_port), (":8080", self.httpbin_port)):
            command = command.replace(written, f":{real}")
        result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr
        head, _, body = result.stdout.replace("\r\n", "\n").partition("\n\n")
        status, *lines = head.split("\n")
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        return int(status.split()[1]), headers, body

    def set_up(self):
        for command in commands("curl")[:3]:
            status, _, body = self.curl(command)
            assert status == 201, body

    def request(self):
        return self.curl(commands("curl")[3])

    def check(self, expected):
        status, headers, body = self.request()
        assert status == 200, body
        assert headers["x-myplugin"] == expected
        assert '"url"' in body
        for name in ("x-kong-upstream-latency", "x-kong-proxy-latency", "x-kong-request-id", "via"):
            assert name in headers


@pytest.fixture
def plugin_folder(workdir, httpbin_port):
    """plugin_folder(files): the plugin's folder with these files, its outside service on httpbin's real port."""
    folder = workdir / "my-plugin"

    def make(files):
        write(folder, {name: text.replace(":8080", f":{httpbin_port}") for name, text in files.items()})
        return folder

    return make


def test_the_page_shows_the_example():
    files = lua_files()
    assert len(files) == 6
    assert step_files(3)[HANDLER] == (EXAMPLE / HANDLER).read_text()
    assert step_files(3)[SCHEMA] == (EXAMPLE / SCHEMA).read_text()
    assert files[5] == ("my-plugin-0.0.1-1.rockspec", (EXAMPLE / "my-plugin-0.0.1-1.rockspec").read_text())


@pytest.mark.parametrize("step", [1, 2, 3])
def test_each_step_by_environment(gateway, plugin_folder, httpbin_port, step):
    folder = plugin_folder(step_files(step))
    gw = gateway(plugins="bundled,my-plugin", lua_package_path=f"{folder}/?.lua;;")
    walk = Walk(gw, httpbin_port)
    walk.set_up()
    walk.check(f"http://localhost:{httpbin_port}/anything" if step == 3 else "response")


def test_step_2_refuses_a_bad_header_name(gateway, plugin_folder, httpbin_port):
    folder = plugin_folder(step_files(2))
    gw = gateway(plugins="bundled,my-plugin", lua_package_path=f"{folder}/?.lua;;")
    walk = Walk(gw, httpbin_port)
    walk.set_up()
    status, _, body = walk.curl(commands("curl")[4])
    assert status == 400 and "response_header_name" in body


def test_reload_takes_the_next_step(gateway, plugin_folder, httpbin_port):
    folder = plugin_folder(step_files(1))
    gw = gateway(plugins="bundled,my-plugin", lua_package_path=f"{folder}/?.lua;;")
    walk = Walk(gw, httpbin_port)
    walk.set_up()
    walk.check("response")
    plugin_folder(step_files(3))
    gw.reload()
    support.wait_for(lambda: walk.request()[1].get("x-myplugin", "").startswith("http"), "the new code to answer")
    # The stored configuration knows nothing of the field that came with step 2.
    rows = gw.admin.get("/services/example_service/plugins").json()["data"]
    assert rows[0]["config"] == {"response_header_name": "X-MyPlugin"}


def test_by_configuration_file(gateway, plugin_folder, httpbin_port, workdir):
    folder = plugin_folder(step_files(3))
    conf = workdir / "kong.conf"
    conf.write_text(f"plugins = bundled,my-plugin\nlua_package_path = {folder}/?.lua;;\n")
    gw = gateway(start=False)
    gw.start("-c", str(conf))
    walk = Walk(gw, httpbin_port)
    walk.set_up()
    walk.check(f"http://localhost:{httpbin_port}/anything")


def rock(folder, home):
    """Makes, packs and installs the rock as the page says, with a network that leads nowhere. The last command installs into ~/.luarocks."""
    nowhere = "http://127.0.0.1:1"
    env = {**os.environ, "HOME": str(home), "http_proxy": nowhere, "https_proxy": nowhere}
    for command in commands("luarocks"):
        result = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=120)
        assert result.returncode == 0, result.stdout + result.stderr
        if " pack " in command:  # what follows must stand on the packed file alone
            shutil.rmtree(folder / "build-tree")
            shutil.rmtree(folder / "kong")


@pytest.mark.parametrize("way", ["default tree", "package path"])
def test_as_a_rock(gateway, plugin_folder, httpbin_port, workdir, way):
    files = step_files(3) | {lua_files()[5][0]: lua_files()[5][1]}
    folder = plugin_folder(files)
    home = workdir / "home"
    home.mkdir()
    rock(folder, home)
    tree = home / ".luarocks" / "share" / "lua" / "5.1"
    assert (tree / HANDLER).exists()
    if way == "default tree":
        gw = gateway(plugins="bundled,my-plugin", env={"HOME": str(home)})
    else:
        gw = gateway(plugins="bundled,my-plugin", lua_package_path=f"{tree}/?.lua;;")
    walk = Walk(gw, httpbin_port)
    walk.set_up()
    walk.check(f"http://localhost:{httpbin_port}/anything")


def test_failure_of_the_service_is_the_clients_error(gateway, plugin_folder, httpbin_port, ports):
    folder = plugin_folder(step_files(3))
    handler = folder / HANDLER
    handler.write_text(handler.read_text().replace(f":{httpbin_port}", f":{ports.take()}"))
    gw = gateway(plugins="bundled,my-plugin", lua_package_path=f"{folder}/?.lua;;")
    walk = Walk(gw, httpbin_port)
    walk.set_up()
    status, headers, body = walk.request()
    assert status == 500 and "cannot be reached" in body and "x-kong-request-id" in headers


FAULTS = [
    ("unknown", {}, r"my-plugin plugin is enabled but not installed"),
    ("handler syntax", {HANDLER: "local x =\nreturn {}\n"}, r"my-plugin/kong/plugins/my-plugin/handler\.lua:2: "),
    ("schema syntax", {SCHEMA: "return {\n  fields = }\n"}, r"my-plugin/kong/plugins/my-plugin/schema\.lua:2: "),
    ("handler raises", {HANDLER: "\n\nerror('boom')\n"}, r"my-plugin/kong/plugins/my-plugin/handler\.lua:3: boom"),
    ("no priority", {HANDLER: 'return { VERSION = "1.0.0" }\n'}, r"handler\.lua: PRIORITY must be"),
    ("bad type", {SCHEMA: 'return { name = "my-plugin", fields = {\n  { config = { type = "record", fields = {\n'
                          '    { colour = { type = "strnig" } },\n  } } },\n} }\n'}, r"schema\.lua:3: .*colour"),
]


@pytest.mark.parametrize("what, changes, message", FAULTS, ids=[f[0] for f in FAULTS])
def test_faults_end_the_start(gateway, workdir, plugin_folder, what, changes, message):
    files = {} if what == "unknown" else step_files(1) | changes
    folder = plugin_folder(files)
    gw = gateway(start=False, plugins="bundled,my-plugin", lua_package_path=f"{folder}/?.lua;;")
    conf = workdir / "kong.conf"
    conf.write_text("")
    for verb in (("check", str(conf)), ("start",)):
        result = gw.run(*verb)
        assert result.returncode != 0, f"{verb} went well"
        assert re.search(message, result.stderr), result.stderr
    assert not gw.processes()


def test_a_reload_with_bad_code_keeps_the_old(gateway, plugin_folder, httpbin_port):
    folder = plugin_folder(step_files(1))
    gw = gateway(plugins="bundled,my-plugin", lua_package_path=f"{folder}/?.lua;;")
    walk = Walk(gw, httpbin_port)
    walk.set_up()
    plugin_folder({HANDLER: "return {\n  oops oops\n}\n"})
    result = gw.run("reload", "-p", str(gw.prefix))
    assert result.returncode != 0 and "handler.lua:2:" in result.stderr
    walk.check("response")
