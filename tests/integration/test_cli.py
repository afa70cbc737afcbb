"""The verbs: outputs, exit codes and complaints, in the interface's words."""
import os
import pathlib
import re
import signal
import subprocess

import pytest

from support import BUILD, PROGRAM, wait_for

HINT = "\n\n  Run with --v (verbose) or --vv (debug) for more details\n"


@pytest.fixture
def node(gateway):
    """A node that does not run."""
    return gateway(start=False)


def test_both_names_are_one_program():
    assert (BUILD / "bin" / "kong").samefile(PROGRAM)


@pytest.mark.parametrize("name", ["silverback", "kong"])
def test_no_command_prints_help(node, name):
    r = node.run(name=name)
    assert r.returncode == 0 and r.stderr == ""
    assert r.stdout.startswith(f"Usage: {name} COMMAND [OPTIONS]\n")
    for verb in ("check", "health", "prepare", "quit", "reload", "restart", "start", "stop", "version"):
        assert re.search(rf"^  {verb} ", r.stdout, re.M)


def test_unknown_command(node):
    r = node.run("roll")
    assert (r.returncode, r.stdout) == (1, "")
    assert r.stderr.startswith("No such command: roll\n")


@pytest.mark.parametrize("args, message", [
    (["start", "--nope"], "unknown option '--nope'"),
    (["start", "-c"], "option 'conf' needs a value"),
    (["start", "extra"], "unexpected argument 'extra'"),
    (["quit", "-t", "soon"], "option 'timeout' must be a number of seconds, got 'soon'"),
    (["version", "--all=1"], "option 'all' takes no value"),
])
def test_wrong_words(node, args, message):
    r = node.run(*args)
    assert (r.returncode, r.stdout, r.stderr) == (1, "", f"Error: {message}{HINT}")


def test_help_of_a_verb(node):
    r = node.run("quit", "--help")
    assert r.returncode == 0
    assert "-t, --timeout SECONDS" in r.stdout and "(default 10)" in r.stdout and "--vv" in r.stdout


def test_version(node):
    assert node.run("version").stdout == "3.9.1\n"
    assert re.match(r"Kong: 3\.9\.1\nngx_lua: 10\d+\nnginx: 10\d+\nLua: LuaJIT 2\.\S+\n", node.run("version", "-a").stdout)


def test_missing_prefix(node):
    for verb in ("stop", "quit", "health", "reload"):
        r = node.run(verb, "-p", "/nowhere/at/all")
        assert (r.returncode, r.stderr) == (1, f"Error: no such prefix: /nowhere/at/all{HINT}")


def test_not_running(node):
    for verb in ("stop", "quit", "reload"):
        r = node.run(verb)
        assert (r.returncode, r.stderr) == (1, f"Error: Kong is not running in {node.prefix}{HINT}")
    r = node.run("health")
    assert (r.returncode, r.stdout) == (1, "nginx.......not running\n\n")
    assert r.stderr == f"Error: Kong is not running at {node.prefix}{HINT}"


def test_prefix_lookup(node):
    """-p, then the environment, then the file."""
    conf = node.prefix / "a.conf"
    conf.write_text("prefix = /from/file\n")
    assert "no such prefix: /from/option" in node.run("health", "-p/from/option").stderr
    node.settings["prefix"] = "/from/environment"
    assert "no such prefix: /from/environment" in node.run("health").stderr
    r = node.run("prepare", "-c", str(conf), "--prefix=" + str(node.prefix / "x"))
    assert r.returncode == 0 and (node.prefix / "x" / ".kong_env").exists()
    node.settings["prefix"] = str(node.prefix)


def test_prepare(node):
    r = node.run("prepare")
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")
    for path in ("nginx.conf", "control.conf", ".kong_env", "logs", "pids", "sockets", "store", "run", "ssl/kong-default.crt",
                 "ssl/kong-default.key", "ssl/kong-default-ecdsa.crt", "ssl/admin-kong-default.crt"):
        assert (node.prefix / path).exists(), path
    for private in (".kong_env", "nginx.conf", "ssl/kong-default.key"):
        assert (node.prefix / private).stat().st_mode & 0o077 == 0, private
    key = (node.prefix / "ssl/kong-default.key").read_bytes()
    assert node.run("prepare").returncode == 0
    assert (node.prefix / "ssl/kong-default.key").read_bytes() == key


def test_prepare_fails(node):
    (node.prefix / "file").write_text("")
    r = node.run("prepare", "-p", str(node.prefix / "file"))
    assert r.returncode == 1
    assert r.stderr.startswith(f"Error: could not prepare Kong prefix at {node.prefix}/file: ")


@pytest.mark.skipif(os.getuid() != 0, reason="only root's workers are somebody else")
def test_prefix_out_of_reach(node):
    """Workers that cannot enter the prefix: said at once."""
    node.prefix.chmod(0o700)
    r = node.run("start")
    node.prefix.chmod(0o755)
    assert r.returncode == 1
    assert f"the prefix {node.prefix} cannot be reached by the workers' user" in r.stderr
    assert not node.processes()


def test_check(node):
    conf = node.prefix / "kong.conf"
    conf.write_text("log_level = info # fine\n")
    r = node.run("check", str(conf))
    assert (r.returncode, r.stdout, r.stderr) == (0, f"configuration at {conf} is valid\n", "")


def test_check_names_every_problem(node):
    conf = node.prefix / "kong.conf"
    conf.write_text("lua_max_req_headers = many\nclient_ssl = maybe\nproxy_listen = nine\nno_such_setting = 1\n")
    del node.settings["proxy_listen"]
    r = node.run("check", str(conf))
    assert (r.returncode, r.stdout) == (1, "")
    assert r.stderr.splitlines() == [
        "[warn] unknown setting 'no_such_setting' is ignored",
        "[error] client_ssl is not a boolean: 'maybe'",
        "[error] lua_max_req_headers is not a number: 'many'",
        "[error] proxy_listen must be of form: [off] | <ip>:<port> [flags], [... next entry ...]",
    ]


def test_check_of_no_file(node):
    r = node.run("check", "/nowhere.conf")
    assert r.returncode == 1 and r.stderr.startswith("[error] no file at: /nowhere.conf")


def test_check_loads_plugins(node):
    conf = node.prefix / "kong.conf"
    conf.write_text("plugins = bundled,nobody-has-this\n")
    r = node.run("check", str(conf))
    assert r.returncode == 1 and "nobody-has-this" in r.stderr and r.stderr.startswith("[error] ")


@pytest.fixture
def looking_plugin(node, workdir):
    """Its handler notes mode and name of the prefix in `seen` when it is loaded, and waits for the file `go`."""
    folder = workdir / "code" / "kong" / "plugins" / "looks"
    folder.mkdir(parents=True)
    (folder / "schema.lua").write_text('return { name = "looks", fields = { { config = { type = "record", fields = {} } } } }\n')
    (folder / "handler.lua").write_text(f"""
        os.execute("stat -c '%a %n' " .. ngx.config.prefix() .. " > {workdir}/seen.new && mv {workdir}/seen.new {workdir}/seen")
        while not io.open("{workdir}/go") do os.execute("sleep 0.02") end
        return {{ PRIORITY = 1, VERSION = "1.0.0" }}
    """)
    conf = node.prefix / "kong.conf"
    conf.write_text(f"plugins = bundled,looks\nlua_package_path = {workdir}/code/?.lua;;\n")
    return conf


def seen(workdir):
    mode, folder = (workdir / "seen").read_text().split()
    assert folder.startswith("/tmp/silverback-check-")
    return mode, pathlib.Path(folder)


def test_check_leaves_nothing(node, workdir, looking_plugin):
    (workdir / "go").touch()
    r = node.run("check", str(looking_plugin))
    assert (r.returncode, r.stderr) == (0, "")
    mode, folder = seen(workdir)
    assert mode == "700" and not folder.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_check_leaves_nothing(node, workdir, looking_plugin, number):
    process = subprocess.Popen([PROGRAM, "check", looking_plugin], env=node.environ(), stdin=subprocess.DEVNULL)
    try:
        wait_for(lambda: (workdir / "seen").exists(), "the plugin to be loaded")
        process.send_signal(number)
    finally:
        (workdir / "go").touch()
    assert process.wait(60) == -number
    assert not seen(workdir)[1].exists()


def test_unknown_setting_is_named(node):
    conf = node.prefix / "kong.conf"
    conf.write_text("log_levle = debug\n")
    r = node.run("prepare", "-c", str(conf))
    assert r.returncode == 0 and r.stderr == "[warn] unknown setting 'log_levle' is ignored\n"


def test_wrong_setting_stops_the_start(node):
    node.settings["client_ssl"] = "maybe"
    r = node.run("start")
    assert (r.returncode, r.stdout, r.stderr) == (1, "", f"Error: client_ssl is not a boolean: 'maybe'{HINT}")
    assert not (node.prefix / "pids").exists()


@pytest.mark.parametrize("plugins, handler, expected", [
    ("bundled,nobody-has-this", None, "nobody-has-this"),
    ("bundled,broken", "local x = = 1\n", r"kong/plugins/broken/handler\.lua:1:"),
])
def test_plugin_that_does_not_load_stops_the_start(gateway, plugin, plugins, handler, expected):
    path = plugin("broken", handler) if handler else None
    gw = gateway(start=False, plugins=plugins, **({"lua_package_path": path} if path else {}))
    gw.allow_log(r"\[emerg\]")
    r = gw.run("start")
    assert r.returncode == 1 and re.search(expected, r.stderr)
    assert not gw.processes()


def test_life_of_a_node(gateway):
    gw = gateway()
    r = gw.run("health")
    assert (r.returncode, r.stdout) == (0, f"nginx.......running\n\nKong is healthy at {gw.prefix}\n")
    assert gw.restart().stdout == "Kong stopped\nKong started\n"
    assert gw.reload().stdout == "Kong reloaded\n"
    assert gw.run("quit").stdout == "Kong stopped (gracefully)\n"
    assert not gw.processes()
    assert gw.restart().stdout == "Kong started\n"


def test_wrong_settings_do_not_cost_the_running_node(gateway):
    gw = gateway()
    conf = gw.prefix / "bad.conf"
    conf.write_text("client_ssl = maybe\n")
    pid = gw.pid()
    for verb in ("restart", "reload"):
        assert "client_ssl is not a boolean" in gw.run(verb, "-c", str(conf)).stderr
    assert gw.pid() == pid and gw.run("health").returncode == 0


def test_settings_file_and_injection(gateway):
    """A file with -c, an environment that beats it, and an injected directive that counts."""
    gw = gateway(start=False)
    conf = gw.prefix / "kong.conf"
    conf.write_text("log_level = debug\nnginx_proxy_add_header = X-Injected \"from file\" always\nadmin_access_log = logs/other.log\n")
    gw.settings["log_level"] = "notice"
    gw.start("-c", str(conf))
    assert gw.proxy.get("/").headers["X-Injected"] == "from file"
    assert gw.admin.get("/").json()["configuration"]["log_level"] == "notice"
    wait_for(lambda: "GET / " in gw.log("other"), "the Admin API's access log")


def test_log_format_with_the_proxys_variables(gateway):
    """A directive for http{} stands in both instances, and may use what only the proxy has values for."""
    gw = gateway(nginx_http_log_format="short '$status $kong_request_id'", proxy_access_log="logs/access.log short")
    answer = gw.proxy.get("/")
    gw.wait_log(rf"404 {answer.headers['X-Kong-Request-Id']}\n", "access")


def test_node_without_an_interface(gateway):
    gw = gateway(admin_listen="off")
    assert gw.proxy.get("/").status_code == 404
