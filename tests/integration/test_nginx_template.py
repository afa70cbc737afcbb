"""Custom templates of the proxy's nginx configuration: --nginx-conf and --nginx-conf-flags of start, restart, reload and prepare."""
import os
import pathlib
import re
import signal

import pytest

import support
from support import wait_for

# As the interface's documentation has it: the usual file, with a server of one's own beside the gateway.
USUAL = """\
# ---------------------
# custom_nginx.template
# ---------------------
> if nginx_user then
user ${{NGINX_USER}};
> end
worker_processes ${{NGINX_WORKER_PROCESSES}}; # can be set by kong.conf
daemon ${{NGINX_DAEMON}};                     # can be set by kong.conf

pid pids/nginx.pid;                      # this setting is mandatory
error_log logs/error.log ${{LOG_LEVEL}}; # can be set by kong.conf

events {
    use epoll; # custom setting
> for _, el in ipairs(nginx_events_directives) do
    $(el.name) $(el.value);
> end
}

http {
    # include default Kong Nginx config
    include 'nginx-kong.conf';

    # custom server
    server {
        listen 127.0.0.1:PORT;
        server_name custom_server;

        location / {
            return 200 "TEXT";
        }
    }
}
> if #stream_listeners > 0 then
stream {
    include 'nginx-kong-stream.conf';
}
> end
"""


class Custom:
    """A node that does not run yet, and the template that it will have."""

    def __init__(self, node, folder, port):
        self.node, self.path, self.port = node, folder / "custom_nginx.template", port
        self.site = support.Site(f"http://127.0.0.1:{port}")
        self.write()

    def write(self, text=USUAL, says="mine"):
        self.path.write_text(text.replace("PORT", str(self.port)).replace("TEXT", says))

    def answer(self):
        return self.site.get("/").text

    def run(self, verb, *args):
        return self.node.run(verb, "--nginx-conf", str(self.path), *args)

    def refused(self, verb, message):
        r = self.run(verb)
        assert r.returncode == 1 and r.stdout == ""
        assert re.match(r"Error: (could not prepare Kong prefix at \S+: )?" + message + r"\n\n  Run with", r.stderr), r.stderr


@pytest.fixture
def custom(gateway, workdir, ports):
    made = Custom(gateway(start=False), workdir, ports.take())
    yield made
    made.site.close()


def written(node, name="nginx.conf"):
    return (node.prefix / name).read_text()


def test_the_usual_template(custom):
    node = custom.node
    assert custom.run("start").returncode == 0
    assert custom.answer() == "mine" and node.proxy.get("/none").status_code == 404
    assert node.admin.get("/status").status_code == 200 and node.status.get("/status").status_code == 200
    conf = written(node)
    assert "include 'nginx-kong.conf'" not in conf and "silverback_proxy on" in conf and not re.search(r"^\s*pid ", conf, re.M)
    assert conf.count("daemon off;") == 1 and "daemon on" not in conf
    part = written(node, "nginx-kong.conf")
    assert "silverback_proxy on" in part and f"listen 127.0.0.1:{node.proxy_port} " in part
    for name in ("nginx.conf", "nginx-kong.conf", "nginx-kong-stream.conf"):
        assert (node.prefix / name).stat().st_mode & 0o777 == 0o600
    assert custom.port not in [int(p) for p in re.findall(r"listen 127.0.0.1:(\d+)", written(node, "control.conf"))]


def test_reload_takes_what_changed(custom):
    node = custom.node
    custom.run("start")
    with support.Load(custom.port) as load:
        custom.write(says="changed")
        node.reload()
        load.wait(20)
    assert load.errors == [] and custom.answer() == "changed"
    custom.write(says="by signal")
    os.kill(node.pid(), signal.SIGHUP)
    wait_for(lambda: custom.answer() == "by signal", "what the template says now")


def test_reload_with_another_template_and_settings(custom, workdir, ports):
    node = custom.node
    custom.run("start")
    other = Custom(node, workdir, ports.take())
    other.path = workdir / "other.template"
    other.write(says="other")
    node.settings["nginx_events_worker_connections"] = 512
    (node.prefix / "kong.conf").write_text("")
    assert other.run("reload", "-p", str(node.prefix), "-c", str(node.prefix / "kong.conf")).returncode == 0
    assert other.answer() == "other" and "worker_connections 512;" in written(node)
    with pytest.raises(OSError):
        custom.answer()
    # It stays the node's.
    node.reload()
    assert other.answer() == "other"
    other.site.close()


def test_flags(custom):
    custom.write(USUAL.replace("TEXT", "\n> if loud then\nLOUD\n> end\n> if soft then\nsoft\n> end\n"))
    node = custom.node
    assert custom.run("start", "--nginx-conf-flags", "loud").returncode == 0
    assert custom.answer().split() == ["LOUD"]
    node.reload("--nginx-conf-flags", "soft, loud")
    assert custom.answer().split() == ["LOUD", "soft"]


def test_start_without_a_template_forgets_it(custom):
    custom.run("start")
    custom.node.restart()
    assert "custom server" not in written(custom.node)
    with pytest.raises(OSError):
        custom.answer()


def test_prepare_writes_and_starts_nothing(custom):
    node = custom.node
    node.settings["stream_listen"] = f"127.0.0.1:{custom.port}"
    custom.write(USUAL.replace("PORT", str(custom.port + 1)))
    r = node.run("prepare", "--nginx-conf", os.path.relpath(custom.path, node.prefix))
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    conf = written(node)
    assert "silverback_stream plain" in conf and conf.index("silverback_stream plain") > conf.index("silverback_proxy on")
    assert "silverback_stream plain" in written(node, "nginx-kong-stream.conf")
    assert not node.processes()


def test_all_that_is_injected(custom):
    """Directives of main and events, put by the template: what the supervisor decides among them stands once."""
    node = custom.node
    node.settings["nginx_main_timer_resolution"] = "100ms"
    start = USUAL.index("worker_processes")
    loop = "> for _, el in ipairs(nginx_main_directives) do\n$(el.name) $(el.value);\n> end\n"
    custom.write(loop + re.sub("(user|worker_processes|daemon) .*;.*", "", USUAL[start:]))
    assert custom.run("start").returncode == 0 and custom.answer() == "mine"
    conf = written(node)
    for line in ("timer_resolution 100ms;", "worker_processes 2;", "daemon off;"):
        assert conf.count(line) == 1
    assert re.findall("worker_rlimit_nofile (.*);", conf) != ["auto"] and len(re.findall("worker_rlimit_nofile .*;", conf)) == 1


def test_streams(custom, ports, echo_server):
    node = custom.node
    port = ports.take()
    node.settings["stream_listen"] = f"127.0.0.1:{port}"
    assert custom.run("start").returncode == 0
    node.admin.post("/services", json={"name": "s", "url": f"tcp://127.0.0.1:{echo_server.port}"})
    node.admin.post("/services/s/routes", json={"protocols": ["tcp"], "destinations": [{"port": port}]})
    site = support.Site(f"http://127.0.0.1:{port}")
    assert site.get("/hello").json()["path"] == "/hello"
    site.close()


def test_an_included_listener_survives_the_master(custom, workdir):
    """A server in a file that the template includes: its socket is the supervisor's too."""
    included = workdir / "own.conf"
    included.write_text(f"server {{ listen 127.0.0.1:{custom.port} reuseport; location / {{ return 200 mine; }} }}\n")
    start = USUAL.index("    # custom server")
    custom.write(USUAL[:start] + f"    include {included};\n" + USUAL[USUAL.index("}\n> if #stream"):])
    node = custom.node
    assert custom.run("start").returncode == 0
    before = node.pid("proxy")
    with support.Load(custom.port) as load:
        os.kill(before, signal.SIGKILL)
        wait_for(lambda: node.pid("proxy") != before and len(node.workers()) == 2, "a new master of the proxy")
        load.wait(100)
    assert load.errors == []


VALUES = """\
# ${{LOG_LEVEL}} ${{ADMIN_GUI_PATH}} ${{ plugins }} $(1 + 1) $(nothing)$(nothing or "so") ${{NGINX_HTTP_TYPES_HASH_MAX_SIZE}} $( unbalanced
> -- a comment
>> local list = {}
> for i = 1, 3 do list[i] = ("x"):rep(i) end
# $(table.concat(list, ",")) $(type(proxy_listeners[1].port)) $(proxy_listeners[1].ip) $(tostring(anonymous_reports)) $(#plugins)
> if io or os or require or load or loadstring or dofile or pcall or debug or _G or rawget or getmetatable then
# open
> end
# a\\backslash "quote" 'single' \t tab
"""


def test_values(custom):
    custom.node.settings.update(plugins="bundled,request-termination", nginx_http_types_hash_max_size=1024, anonymous_reports="off")
    custom.write(VALUES + USUAL)
    assert custom.run("prepare").returncode == 0
    conf = written(custom.node)
    lines = conf[conf.index("# info"):].split("\n")
    assert lines[0] == "# info / bundled request-termination 2 so 1024 $( unbalanced"
    assert lines[1] == "# x,xx,xxx number 127.0.0.1 false 2"
    assert lines[2] == "# a\\backslash \"quote\" 'single' \t tab"


BROKEN = [
    # what is added in front of the usual template, the place and the reason
    ("> if x then\n", r"\d+: 'end' expected \(to close 'if' at line 1\) near '<eof>'"),
    ("a\n> x +\n", r"2: '=' expected near '\+'"),
    ("\n\n# ${{NO_SUCH}}\n", r"3: \$\{\{NO_SUCH\}\}: there is no such setting"),
    ("> error('stop')\n", "1: stop"),
    ("> error({})\n", " an error that is no text"),
    ("\n$(none.field)\n", "2: attempt to index global 'none' .*"),
    ("\n$({})\n", "2: a table is no text"),
    ("\n> while true do\n> end\n", r"[23]: it runs for longer than 5 seconds"),
    ("> local s = ('x'):rep(2^20) for i = 1, 20 do\n$(s)\n> end\n", "2: the text that it makes is longer than 16777216 bytes"),
    ("master_process off;\n", "1: master_process is 'off': a node needs it on"),
    ("\nworker_processes 7;\n", "2: worker_processes is '7' here and '2' in the settings, which decide: set nginx_main_worker_processes"),
    ("daemon off;\n", "1: daemon is 'off' here and 'on' in the settings, which decide: set nginx_main_daemon"),
    ("user nobody;\n", "1: user is 'nobody' here and '.*' in the settings, which decide: set nginx_main_user"),
    ("include nginx-kong.conf;\n", "1: 'nginx-kong.conf' can be included in the http block only"),
    ("\nhttp {\n include nginx-kong.conf;\n}\n", "26: 'nginx-kong.conf' is included in line 3 already"),
    ("}\n", "1: unexpected '}'"),
    ("\n\nuser 'a\n", r"3: a quote is not closed"),
]


@pytest.mark.parametrize("text, where", BROKEN, ids=[re.sub(r"\W+", "-", b[0]).strip("-") or "brace" for b in BROKEN])
def test_mistakes_in_a_template(custom, text, where):
    custom.write(text + USUAL.replace("'", ""))
    custom.refused("prepare", re.escape(str(custom.path)) + ":" + where)
    assert not (custom.node.prefix / "nginx.conf").exists()


def test_a_template_without_the_gateway(custom):
    path = re.escape(str(custom.path))
    custom.write("events {}\nhttp {}\n")
    custom.refused("start", path + ": there is no `include 'nginx-kong.conf';` in an http block, so it would have no gateway")
    custom.node.settings["stream_listen"] = f"127.0.0.1:{custom.port}"
    custom.write(USUAL.replace("nginx-kong-stream", "other"))
    custom.refused("start", path + ": stream_listen is set, but there is no `include 'nginx-kong-stream.conf';` in a stream block")
    assert not custom.node.processes()


def test_what_nginx_refuses(custom):
    """nginx names a line of what came of the template; the line of the template stands behind it."""
    custom.node.allow_log("server_nome")
    custom.write(USUAL.replace("server_name custom_server;", "server_nome custom_server;"))
    line = 1 + custom.path.read_text().split("server_nome")[0].count("\n")
    custom.refused("start", rf'nginx configuration is invalid: \[emerg\] unknown directive "server_nome" in '
                   rf"{custom.node.prefix}/nginx.conf:\d+ \({re.escape(str(custom.path))}:{line}\)")
    assert not custom.node.processes()


@pytest.mark.parametrize("verb", ["reload", "restart"])
def test_a_mistake_does_not_cost_the_running_node(custom, verb):
    node = custom.node
    custom.run("start")
    pid, conf = node.pid(), written(node)
    custom.write("> broken\n" + USUAL)
    custom.refused(verb, re.escape(str(custom.path)) + ":[12]: .*")
    assert node.pid() == pid and written(node) == conf and custom.answer() == "mine"
    assert not [p.name for p in node.prefix.iterdir() if p.name.endswith((".try", ".next"))]


def test_no_such_file(custom):
    custom.path = pathlib.Path("/none/x.template")
    for verb in ("start", "restart", "reload", "prepare"):
        custom.refused(verb, "option 'nginx-conf': /none/x.template: No such file or directory")


def test_stream_block_of_ones_own(custom, ports, echo_server):
    """nginx's stream module is there also when the gateway has no stream listener."""
    port = ports.take()
    custom.write(USUAL[:USUAL.index("> if #stream")] +
                 f"stream {{ server {{ listen 127.0.0.1:{port}; proxy_pass 127.0.0.1:{echo_server.port}; }} }}\n")
    assert custom.run("start").returncode == 0
    site = support.Site(f"http://127.0.0.1:{port}")
    assert site.get("/x").json()["path"] == "/x"
    site.close()


def test_with_a_lua_plugin(custom, plugin):
    """The plugins are loaded before anything starts, as without a template."""
    node = custom.node
    handler = 'return { PRIORITY = 1, VERSION = "1.0.0", access = function() kong.response.exit(203) end }'
    node.settings.update(plugins="bundled,mine", lua_package_path=plugin("mine", handler))
    assert custom.run("start").returncode == 0
    node.admin.post("/services", json={"name": "s", "url": "http://127.0.0.1:1"})
    node.admin.post("/services/s/routes", json={"paths": ["/s"]})
    node.admin.post("/plugins", json={"name": "mine"})
    assert node.proxy.get("/s").status_code == 203
    plugin("mine", "return {", None)
    r = node.run("reload", "--nginx-conf", str(custom.path))
    assert r.returncode == 1 and "mine plugin: loading its handler failed" in r.stderr
    assert node.proxy.get("/s").status_code == 203
