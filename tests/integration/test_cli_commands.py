"""Every command and flag of the interface: what is accepted, what is printed where, and with which exit code."""
import contextlib
import http.server
import json
import os
import pathlib
import pty
import re
import shutil
import signal
import ssl
import subprocess
import threading

import pytest

from support import BUILD, PROGRAM, wait_for

HINT = "\n\n  Run with --v (verbose) or --vv (debug) for more details\n"
CONF_AND_PREFIX = {"-c, --conf", "-p, --prefix"}
TEMPLATE = CONF_AND_PREFIX | {"--nginx-conf", "--nginx-conf-flags"}
START = TEMPLATE | {"--run-migrations", "--db-timeout", "--lock-timeout"}

# Command -> (options, sub-commands).
INTERFACE = {
    "check": (set(), []),
    "config": (CONF_AND_PREFIX, ["init", "db_import", "db_export", "parse"]),
    "drain": (CONF_AND_PREFIX, []),
    "health": ({"-p, --prefix"}, []),
    "hybrid": ({"-d, --days"}, ["gen_cert"]),
    "migrations": (CONF_AND_PREFIX | {"-y, --yes", "-q, --quiet", "-f, --force", "--db-timeout", "--lock-timeout"},
                   ["bootstrap", "up", "finish", "list", "status", "reset"]),
    "prepare": (TEMPLATE, []),
    "quit": ({"-p, --prefix", "-t, --timeout", "-w, --wait"}, []),
    "reload": (TEMPLATE, []),
    "restart": (START, []),
    "roar": (set(), []),
    "start": (START, []),
    "stop": ({"-p, --prefix"}, []),
    "vault": (CONF_AND_PREFIX, ["get"]),
    "version": ({"-a, --all"}, []),
    # ours
    "completion": (set(), ["bash", "zsh", "fish"]),
    "docker-start": (START, []),
}


@pytest.fixture
def node(gateway):
    """A node that does not run."""
    return gateway(start=False)


def error(message):
    return f"Error: {message}{HINT}"


@pytest.mark.parametrize("verb", INTERFACE)
def test_help_names_every_option_and_sub_command(node, verb):
    options, subs = INTERFACE[verb]
    r = node.run(verb, "--help")
    assert (r.returncode, r.stderr) == (0, "")
    shown = {re.sub(r" [A-Z]+$", "", line[2:28].strip()) for line in r.stdout[r.stdout.index("Options:\n"):].splitlines()[1:]}
    assert shown >= options | {"--v", "--vv", "--help"}
    assert set(re.findall(r"^  (\w+) ", r.stdout[:r.stdout.index("Options:\n")], re.M)) - {"conf"} == set(subs)


def test_every_command_is_in_the_table(node):
    listed = re.findall(r"^  ([a-z-]+) ", node.run().stdout.split("Options:")[0], re.M)
    assert listed == sorted(INTERFACE)


# Words, exit code, standard output, standard error. {p}: the node's prefix, which is empty.
WORDS = [
    ("roll", 1, "", re.compile("No such command: roll\n.*")),
    ("config roll", 1, "", "No such command for config: roll\n"),
    ("vault roll", 1, "", "No such command for vault: roll\n"),
    ("migrations -y reset", 1, "", "No such command for migrations: -y\n"),
    ("migrations", 0, re.compile("Usage: silverback migrations COMMAND .*"), ""),
    ("migrations up extra", 1, "", error("unexpected argument 'extra'")),
    ("migrations up --lock-timeout soon", 1, "", error("option 'lock-timeout' must be a number of seconds, got 'soon'")),
    ("migrations up --nope", 1, "", error("unknown option '--nope'")),
    ("hybrid gen_cert one.crt", 1, "", error("both cert and key path needs to be provided")),
    ("hybrid gen_cert -d 0", 1, "", error("option 'days' must be a whole number from 1 to 36500, got '0'")),
    ("hybrid gen_cert a b c", 1, "", error("unexpected argument 'c'")),
    ("hybrid gen_cert no/where.crt b.key", 1, "", re.compile(r"Error: could not write no/where\.crt: No such file or directory")),
    ("config parse", 1, "", error("argument 'file' is missing")),
    ("config parse kong.yml", 1, "", error("'kong config parse' is not available in this version: declarative files are not read or written yet")),
    ("config db-import kong.yml", 1, "", re.compile("Error: 'kong config db_import' is not available")),
    ("config db_export", 1, "", re.compile("Error: 'kong config db_export' is not available")),
    ("config init no/where.yml", 1, "", error("could not write no/where.yml: No such file or directory")),
    ("vault get", 1, "", error("argument 'reference' is missing")),
    ("vault get {{vault://aws/secret}}", 1, "", error("vault 'aws' is not available in this version, only 'env' is [{{vault://aws/secret}}]")),
    ("vault get env", 1, "", re.compile("Error: not a reference: 'env'")),
    ("vault get env/sb-unset", 1, "", error("could not get value from vault 'env': the variable SB_UNSET is not set [env/sb-unset]")),
    ("vault get env/sb-secret/none", 1, "", re.compile("Error: could not get value from vault 'env': the variable SB_SECRET has no member 'none'")),
    ("vault get {{vault://env/sb-secret}}", 0, '{{"user":"u","port":5}}\n', ""),
    ("vault get env/sb-secret/user", 0, "u\n", ""),
    ("vault get {{vault://env/sb-secret/port/}}", 0, "5\n", ""),
    ("vault get {{vault://env/secret?prefix=sb_}}", 0, '{{"user":"u","port":5}}\n', ""),
    ("migrations list", 3, "Database needs bootstrapping; run 'kong migrations bootstrap'\n", ""),
    ("migrations list -q", 3, "", ""),
    ("migrations up", 1, "", error("cannot run migrations: database needs bootstrapping; run 'kong migrations bootstrap'")),
    ("migrations finish", 1, "", error("cannot run migrations: database needs bootstrapping; run 'kong migrations bootstrap'")),
    ("migrations reset", 1, "", error("not a tty: invoke 'reset' non-interactively with the --yes flag")),
    ("migrations reset --yes", 1, "Database not bootstrapped, nothing to reset\n", ""),
    ("health --v", 1, "nginx.......not running\n\n", "Error: Kong is not running at {p}\n"),
    ("roar", 0, re.compile(".*roar"), ""),
]


@pytest.mark.parametrize("words, code, out, err", WORDS, ids=[w[0] for w in WORDS])
def test_words(node, words, code, out, err):
    node.extra_env["SB_SECRET"] = '{"user":"u","port":5}'
    r = node.run(*words.format(p=node.prefix).split())
    for got, want in ((r.stdout, out), (r.stderr, err)):
        if isinstance(want, str):
            assert got == want.format(p=node.prefix)
        else:
            assert re.match(want.pattern, got, re.S)
    assert r.returncode == code


# --- migrations ---

def test_life_of_a_record(node):
    def run(*args, code=0):
        r = node.run("migrations", *args)
        assert (r.returncode, r.stderr) == (code, "")
        return r.stdout

    before = json.loads(run("status"))
    assert before["needs_bootstrap"] is True and before["executed_migrations"] == []
    steps = before["new_migrations"][0]["migrations"]
    assert steps[0] == "000_base"
    assert run("bootstrap") == "Bootstrapping database...\nDatabase is up-to-date\n"
    assert run("bootstrap") == "Database already bootstrapped\n"
    assert run("bootstrap", "-q") == ""
    assert run("list") == f"Executed migrations:\ncore: {', '.join(steps)}\n"
    assert json.loads(run("status")) == {
        "needs_bootstrap": False, "executed_migrations": [{"subsystem": "core", "migrations": steps}], "pending_migrations": [],
        "missing_migrations": [], "new_migrations": []}
    assert run("up") == "Database is already up-to-date\n"
    assert run("up", "--force") == "Database is up-to-date\n"
    assert run("finish") == "No pending migrations to finish\n"
    assert run("reset", "-y") == "Resetting database...\nDatabase successfully reset\n"
    assert not list((node.prefix / "store").glob("silverback.db*"))
    assert run("reset", "-y", code=1) == "Database not bootstrapped, nothing to reset\n"


def test_new_and_missing_steps(node):
    """A record of another version: steps that it lacks are new, and run; steps that nobody here knows are refused by `up`."""
    import sqlite3
    node.run("migrations", "bootstrap", check=True)

    def sql(text):
        with contextlib.closing(sqlite3.connect(node.prefix / "store/silverback.db")) as db, db:
            db.execute(text)

    sql("INSERT INTO schema_meta VALUES('core','999_later',999,0)")
    assert json.loads(node.run("migrations", "status").stdout)["missing_migrations"] == [{"subsystem": "core", "migrations": ["999_later"]}]
    r = node.run("migrations", "up", "-f")
    assert r.returncode == 1 and "written by a newer version (migration 999_later is not known here)" in r.stderr


@pytest.mark.parametrize("answers, left", [(b"y\n", False), (b"what\nYES\n", False), (b"no\n", True), (b"a\nb\nc\n", True), (b"\x04", True)])
def test_reset_asks(node, answers, left):
    """On a terminal: three tries, and only a yes counts."""
    node.run("migrations", "bootstrap", check=True)
    mine, its = pty.openpty()
    p = subprocess.Popen([PROGRAM, "migrations", "reset"], cwd=node.prefix, env=node.environ(), stdin=its, stdout=subprocess.PIPE, text=True)
    os.write(mine, answers)
    out = p.communicate(timeout=60)[0]
    os.close(mine)
    os.close(its)
    assert p.returncode == 0
    assert out.startswith("> Are you sure? This operation is irreversible. [y/n] ")
    assert out.endswith("cancelled\n" if left else "Resetting database...\nDatabase successfully reset\n")
    assert (node.prefix / "store/silverback.db").exists() == left


def test_migrations_beside_a_running_node(gateway):
    """What only looks works; what changes the record is refused, and nothing happens to it."""
    gw = gateway()
    gw.admin.post("/consumers", json={"username": "alice"})
    assert node_lines(gw, "list")[0] == "Executed migrations:"
    assert node_lines(gw, "bootstrap") == ["Database already bootstrapped"]
    assert node_lines(gw, "up") == ["Database is already up-to-date"]
    for words in (["reset", "-y"], ["up", "-f"]):
        r = gw.run("migrations", *words)
        assert (r.returncode, r.stdout, r.stderr) == (1, "", error(f"Kong is already running in {gw.prefix}"))
    assert gw.admin.get("/consumers/alice").status_code == 200
    assert gw.admin.post("/consumers", json={"username": "bob"}).status_code == 201


def node_lines(gw, *words):
    return gw.run("migrations", *words, check=True).stdout.splitlines()


def test_start_after_bootstrap_and_after_reset(gateway):
    gw = gateway(start=False)
    gw.run("migrations", "bootstrap", check=True)
    gw.start("--run-migrations", "--db-timeout", "5", "--lock-timeout=5")
    gw.admin.post("/services", json={"name": "s", "url": "http://127.0.0.1:1"})
    gw.admin.post("/services/s/routes", json={"paths": ["/s"]})
    wait_for(lambda: gw.proxy.get("/s").status_code != 404, "the route to be served")
    gw.stop()
    gw.run("migrations", "reset", "-y", check=True)
    gw.start()
    assert gw.admin.get("/services").json()["data"] == []
    assert gw.proxy.get("/s").status_code == 404


# --- config, hybrid ---

def test_config_init(node):
    assert node.run("config", "init").returncode == 0
    text = (node.prefix / "kong.yml").read_text()
    assert re.search(r'^_format_version: "3.0"$', text, re.M) and "# services:" in text
    (node.prefix / "kong.yml").write_text("mine")
    r = node.run("config", "init")
    assert (r.returncode, r.stdout, r.stderr) == (1, "", error("./kong.yml already exists.\nWill not overwrite it."))
    assert (node.prefix / "kong.yml").read_text() == "mine"
    assert node.run("config", "init", "other.yml", "-p", str(node.prefix)).returncode == 0
    assert (node.prefix / "other.yml").read_text() == text


def openssl(*args, cwd):
    return subprocess.run(["openssl", *args], cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def test_gen_cert(node):
    r = node.run("hybrid", "gen_cert")
    assert (r.returncode, r.stderr) == (0, "")
    assert r.stdout == ("Successfully generated certificate/key pairs, they have been written to: './cluster.crt' and './cluster.key'.\n")
    assert (node.prefix / "cluster.key").stat().st_mode & 0o777 == 0o600
    assert (node.prefix / "cluster.crt").stat().st_mode & 0o777 == 0o644
    text = openssl("x509", "-in", "cluster.crt", "-noout", "-text", cwd=node.prefix)
    assert re.search("Subject: CN ?= ?kong_clustering", text) and re.search("Issuer: CN ?= ?kong_clustering", text) and "secp384r1" in text
    assert openssl("x509", "-in", "cluster.crt", "-noout", "-pubkey", cwd=node.prefix) == openssl("pkey", "-in", "cluster.key", "-pubout", cwd=node.prefix)
    openssl("verify", "-CAfile", "cluster.crt", "-partial_chain", "cluster.crt", cwd=node.prefix)
    key = (node.prefix / "cluster.key").read_text()
    for words, name in ((["gen_cert"], "./cluster.crt"), (["gen_cert", "new.crt", "cluster.key"], "cluster.key")):
        r = node.run("hybrid", *words)
        assert (r.returncode, r.stderr) == (1, error(f"{name} already exists.\nWill not overwrite it."))
    assert (node.prefix / "cluster.key").read_text() == key and not (node.prefix / "new.crt").exists()


@pytest.mark.parametrize("days, within, beyond", [("2", 86400, 3 * 86400), ("1095", 1094 * 86400, 1096 * 86400)])
def test_gen_cert_days(node, days, within, beyond):
    assert node.run("hybrid", "gen-cert", "a.crt", "a.key", "--days", days).returncode == 0
    check = ["openssl", "x509", "-in", "a.crt", "-noout", "-checkend"]
    assert subprocess.run([*check, str(within)], cwd=node.prefix, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert subprocess.run([*check, str(beyond)], cwd=node.prefix, stdout=subprocess.DEVNULL, check=False).returncode == 1


# --- drain ---

class StatusHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.seen.append((self.path, self.headers["Content-Type"], self.rfile.read(int(self.headers["Content-Length"]))))
        if self.server.answer is not None:
            self.send_response(self.server.answer)
            self.end_headers()

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def status_server(port, answer, tls=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), StatusHandler)
    server.seen, server.answer = [], answer
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("answer, code, out", [
    (204, 0, "Kong's status successfully changed to 'draining'\n"),
    (404, 1, "Unexpected response status from {url}: 404\n"),
    (None, 1, "Failed to send request to {url}: closed\n"),
])
def test_drain(node, ports, answer, code, out):
    port = ports.take()
    node.settings["status_listen"] = f"0.0.0.0:{port}"
    with status_server(port, answer) as server:
        r = node.run("drain")
    assert server.seen == [("/status/ready", "application/json", b'{"status":"draining"}')]
    assert (r.returncode, r.stdout) == (code, out.format(url=f"http://0.0.0.0:{port}/status/ready"))


def test_drain_over_tls(node, ports):
    node.run("hybrid", "gen_cert", "a.crt", "a.key", check=True)
    port = ports.take()
    node.settings["status_listen"] = f"127.0.0.1:{port} ssl, 127.0.0.1:1"
    with status_server(port, 204, (node.prefix / "a.crt", node.prefix / "a.key")) as server:
        r = node.run("drain")
    assert (r.returncode, r.stdout) == (0, "Kong's status successfully changed to 'draining'\n")
    assert len(server.seen) == 1


def test_drain_without_anybody(node, ports):
    port = ports.take()
    node.settings["status_listen"] = f"127.0.0.1:{port}"
    r = node.run("drain")
    assert (r.returncode, r.stdout) == (1, f"Failed to send request to http://127.0.0.1:{port}/status/ready: Connection refused\n")
    node.settings["status_listen"] = "off"
    r = node.run("drain")
    assert (r.returncode, r.stdout) == (1, "No status listeners found in configuration.\n")


# --- docker-start ---

@contextlib.contextmanager
def foreground(node, *before):
    """The node as a container's main process: its output goes to files, as a container's goes to its log."""
    node.settings["nginx_main_daemon"] = None
    with open(node.prefix / "out", "w") as out, open(node.prefix / "err", "w") as err:
        p = subprocess.Popen([*before, PROGRAM, "docker-start"], cwd=node.prefix, env=node.environ(), stdin=subprocess.DEVNULL, stdout=out, stderr=err)
    try:
        wait_for(lambda: "Kong started" in (node.prefix / "out").read_text() or p.poll() is not None, "the node to start", timeout=60)
        assert p.poll() is None, (node.prefix / "err").read_text()
        yield p
    finally:
        if p.poll() is None:
            p.terminate()
        p.wait(30)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGQUIT, signal.SIGINT], ids=["TERM", "QUIT", "INT"])
def test_docker_start(node, ending):
    with foreground(node) as p:
        assert node.pid() == p.pid
        assert node.proxy.get("/hello").status_code == 404
        wait_for(lambda: "GET /hello " in (node.prefix / "out").read_text(), "the access log on standard output")
        assert "supervisor: started" in (node.prefix / "err").read_text()
        workers = set(node.workers("proxy"))
        p.send_signal(signal.SIGHUP)
        wait_for(lambda: node.workers("proxy") and not workers & set(node.workers("proxy")), "new workers after HUP")
        assert node.run("health").returncode == 0
        p.send_signal(ending)
        assert p.wait(30) == 0
    assert not node.processes()


def test_docker_start_keeps_log_files_and_says_what_is_wrong(node):
    (node.prefix / "logs").mkdir()
    (node.prefix / "logs/access.log").write_text("kept\n")
    node.settings["client_ssl"] = "maybe"
    r = node.run("docker-start")
    assert (r.returncode, r.stdout, r.stderr) == (1, "", error("client_ssl is not a boolean: 'maybe'"))
    assert (node.prefix / "logs/access.log").read_text() == "kept\n"
    assert os.readlink(node.prefix / "logs/error.log") == "/dev/stderr"


def can_unshare():
    return os.getuid() == 0 and subprocess.run(["unshare", "-p", "-f", "--mount-proc", "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="needs a process namespace of its own")
def test_as_the_first_process_of_a_container(node):
    """Verbs find process number 1."""
    with foreground(node, "unshare", "-p", "-f", "--mount-proc") as p:
        assert (node.prefix / "pids/nginx.pid").read_text() == "1\n"
        first = (pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text()).split()[0]
        inside = ["nsenter", "-p", "-m", "-r", "-t", first, PROGRAM]

        def run(*args):
            return subprocess.run([*inside, *args], cwd=node.prefix, env=node.environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                  timeout=120, check=False)

        assert run("health").returncode == 0
        r = run("reload")
        assert (r.returncode, r.stdout) == (0, "Kong reloaded\n")
        run("quit")
        assert p.wait(30) == 0


# --- completion ---

def complete(node, *words):
    """What bash offers for the last word."""
    script = node.run("completion", "bash", check=True).stdout
    line = " ".join(f"'{w}'" for w in words)
    r = subprocess.run(["bash", "-c", f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _silverback; printf '%s\\n' \"${{COMPREPLY[@]}}\""],
                       cwd=node.prefix, stdout=subprocess.PIPE, text=True, check=True)
    return set(r.stdout.split("\n")) - {""}


def test_bash_completion(node):
    (node.prefix / "a file.conf").write_text("")
    (node.prefix / "folder").mkdir()
    assert complete(node, "kong", "st") == {"start", "stop"}
    assert complete(node, "kong", "") >= set(INTERFACE)
    assert complete(node, "kong", "migrations", "b") == {"bootstrap"}
    assert complete(node, "kong", "migrations", "up", "--l") == {"--lock-timeout"}
    assert complete(node, "kong", "start", "-c", "a") == {"a file.conf"}
    assert complete(node, "kong", "start", "--prefix", "") == {"folder"}
    assert complete(node, "kong", "quit", "-t", "") == set()
    assert complete(node, "kong", "check", "a") == {"a file.conf"}
    for verb, (options, subs) in INTERFACE.items():
        assert complete(node, "kong", verb, "-") >= ({o.split(", ")[-1] for o in options} if not subs else set())
        assert complete(node, "kong", verb, "") >= set(subs)


@pytest.mark.parametrize("shell, check", [("bash", ["-n"]), ("zsh", ["-n"]), ("fish", ["--no-execute"])])
def test_completion_scripts(node, shell, check):
    """All names are in each shell's script, and the shell, where there is one, can read it."""
    script = node.run("completion", shell, check=True).stdout
    for verb, (options, subs) in INTERFACE.items():
        for word in [verb, *subs, *(o.split("--")[-1] for o in options)]:
            assert re.search(rf"(?<![\w-])(--)?{word}(?![\w-])", script), word
    if shutil.which(shell):
        (node.prefix / "script").write_text(script)
        subprocess.run([shell, *check, node.prefix / "script"], check=True)


# --- the manual ---

def test_manual_page():
    page = (BUILD / "tools" / "docgen" / "silverback.1").read_text()
    assert page.startswith(".") and ".TH SILVERBACK 1" in page
    for verb, (options, subs) in INTERFACE.items():
        part = page.split(f'.SS "{verb}"\n')[1].split(".SS ")[0]
        part = re.sub(r"\\f[BIR]", " ", part).replace("\\-", "-")
        for word in [*subs, *(w for o in options for w in o.split(", "))]:
            assert re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", part), (verb, word)
    assert "\\-c" in page and "{{" not in page
    if shutil.which("man"):
        r = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", BUILD / "tools" / "docgen" / "silverback.1"],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=True)
        assert r.stderr == ""
    assert (BUILD / "tools" / "docgen" / "kong.1").read_text() == ".so man1/silverback.1\n"
