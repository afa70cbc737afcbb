"""Fixtures of the integration tests; the classes behind them are in support.py."""
import pathlib
import shutil
import signal
import tempfile
import os

import pytest

import sanitizer
import support


def pytest_configure(config):
    sanitizer.start()


def pytest_unconfigure(config):
    sanitizer.stop()


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_teardown(item):
    """The outermost of teardown, so that what a process reports while a node stops belongs to its test too."""
    yield
    reports = sanitizer.take_reports()
    assert not reports, "sanitizer reports:\n" + "\n".join(reports)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.sb_failed = report.failed
    if report.failed:
        report.sections.append(("rerun", f"make test T={item.nodeid.split('/')[-1]}"))


@pytest.fixture
def ports():
    """ports.take(): a free loopback port, ours until the test ends."""
    p = support.Ports()
    yield p
    p.release()


@pytest.fixture
def gateway(request, ports):
    """A factory: gateway(setting=value, …) starts a node of its own and returns it (support.Gateway); start=False only makes it."""
    made = []

    def make(start=True, env=None, **settings):
        gw = support.Gateway(ports, settings, env)
        made.append(gw)
        if start:
            gw.start()
        return gw

    yield make
    failed = getattr(request.node, "sb_failed", True)
    problems = []
    for gw in made:
        try:
            gw.close(failed)
        except AssertionError as e:
            problems.append(str(e))
    assert not problems, "\n".join(problems)


@pytest.fixture
def workdir():
    """A folder that the node's unprivileged workers can read, for plugins and certificates."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sbw-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def plugin(workdir):
    """plugin(name, handler, schema=None) writes a Lua plugin and returns the lua_package_path for it."""
    return lambda name, handler, schema=None: support.write_plugin(workdir, name, handler, schema)


@pytest.fixture(scope="session")
def httpbin():
    """URL of an httpbin server."""
    ports = support.Ports()
    port = ports.take()
    process = support.start_httpbin(port)
    yield f"http://127.0.0.1:{port}"
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)
    ports.release()


@pytest.fixture
def echo_server(ports):
    """A server that answers with the request as JSON; see support.EchoHandler for what its query strings do."""
    server = support.EchoServer(ports.take())
    yield server
    server.close()


@pytest.fixture
def echo_servers(ports):
    """A factory of more of them."""
    made = []

    def make():
        made.append(support.EchoServer(ports.take()))
        return made[-1]

    yield make
    for server in made:
        server.close()
