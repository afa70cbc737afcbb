"""gRPC through the gateway: real client and service, all kinds of streaming, trailers, errors of both sides."""
import queue

import grpc
import pytest

import support
from dnsserver import DnsServer
from grpc_support import SERVICE, Server, call, channel
from proxy_support import create, upstream
from tls_support import Cert

TIMEOUT = 30


class Node:
    def __init__(self, gw, port):
        self.gw, self.port = gw, port
        self.channel = channel(port)

    def route(self, url, service=None, **route):
        made = create(self.gw, "/services", url=url, **(service or {}))
        create(self.gw, f"/services/{made['id']}/routes", **{"protocols": ["grpc", "grpcs"], "paths": ["/" + SERVICE], **route})
        return made


@pytest.fixture
def node(gateway, ports):
    """A factory of gateways with a listener that speaks HTTP/2 without TLS."""
    made = []

    def make(**settings):
        port = ports.take()
        gw = gateway(start=False, **settings)
        gw.settings["proxy_listen"] += f", 127.0.0.1:{port} http2"
        gw.start()
        made.append(Node(gw, port))
        return made[-1]

    yield make
    for n in made:
        n.channel.close()


@pytest.fixture
def server():
    s = Server()
    yield s
    s.close()


def test_unary(node, server):
    n = node()
    n.route(f"grpc://127.0.0.1:{server.port}")
    for i in range(20):
        answer, done = call(n.channel, "Unary").with_call(b"message %d" % i, timeout=TIMEOUT, metadata=(("x-mine", "yes"), ("x-b-bin", b"\x01")))
        assert answer == b"message %d" % i and done.code() == grpc.StatusCode.OK
    initial, trailing = dict(done.initial_metadata()), dict(done.trailing_metadata())
    assert initial["x-initial"] == "from-service" and initial["via"] == "2 kong/3.9.1"
    assert "x-kong-upstream-latency" in initial and "x-kong-proxy-latency" in initial and "x-kong-request-id" in initial
    assert trailing["x-trailing"] == "at-the-end" and trailing["x-bytes-bin"] == b"\x00\xff"
    method, metadata = server.calls[-1]
    assert method == f"/{SERVICE}/Unary"
    assert metadata["x-mine"] == "yes" and metadata["x-b-bin"] == b"\x01"
    assert metadata["x-forwarded-for"] == "127.0.0.1" and metadata["x-forwarded-proto"] == "http"
    assert metadata["x-forwarded-path"] == f"/{SERVICE}/Unary" and metadata["x-forwarded-port"] == str(n.port)
    assert metadata["x-real-ip"] == "127.0.0.1" and metadata["via"] == "2 kong/3.9.1"
    assert metadata["x-kong-request-id"] == initial["x-kong-request-id"]


def test_streams(node, server):
    n = node()
    n.route(f"grpc://127.0.0.1:{server.port}")
    assert list(call(n.channel, "Count", "unary_stream")(b"500", timeout=TIMEOUT)) == [b"%d" % i for i in range(500)]
    assert call(n.channel, "Sum", "stream_unary")(iter([b"%d" % i for i in range(500)]), timeout=TIMEOUT) == b"124750"
    assert list(call(n.channel, "Chat", "stream_stream")(iter([b"a", b"b"]), timeout=TIMEOUT)) == [b"re: a", b"re: b"]
    assert list(call(n.channel, "Chat", "stream_stream")(iter([]), timeout=TIMEOUT)) == []


def test_a_conversation_is_not_buffered(node, server):
    """The next message is sent only when the answer to the last has come."""
    n = node()
    n.route(f"grpc://127.0.0.1:{server.port}")
    messages = queue.Queue()
    answers = call(n.channel, "Chat", "stream_stream")(iter(messages.get, None), timeout=TIMEOUT)
    for i in range(50):
        messages.put(b"%d" % i)
        assert next(answers) == b"re: %d" % i
    messages.put(None)
    assert list(answers) == [] and answers.code() == grpc.StatusCode.OK


@pytest.mark.parametrize("size", [0, 1, 16384, 70000, 9_000_000])
def test_messages_of_all_sizes(node, server, size):
    n = node()
    n.route(f"grpc://127.0.0.1:{server.port}")
    data = bytes(range(256)) * (size // 256 + 1)
    assert call(n.channel, "Unary")(data[:size], timeout=TIMEOUT) == data[:size]


def failure(of, *args, **options):
    with pytest.raises(grpc.RpcError) as error:
        result = of(*args, timeout=options.pop("timeout", TIMEOUT), **options)
        list(result)
    return error.value


def test_errors_of_the_service(node, server):
    n = node()
    n.route(f"grpc://127.0.0.1:{server.port}")
    error = failure(call(n.channel, "Fail"), b"")
    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION and error.details() == "not now: 50% of ü"
    assert dict(error.trailing_metadata())["x-reason"] == "because"
    error = failure(call(n.channel, "None"), b"")
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED
    error = failure(call(n.channel, "Break", "unary_stream"), b"")
    assert error.code() == grpc.StatusCode.DATA_LOSS and error.details() == "broken off"


@pytest.fixture
def names():
    """A name server that knows no name, in place of the machine's, which may not answer at all."""
    with DnsServer() as server:
        yield server


def test_errors_of_the_gateway(node, server, ports, names):
    n = node(dns_resolver=f"127.0.0.1:{names.port}")
    error = failure(call(n.channel, "Unary"), b"")
    assert error.code() == grpc.StatusCode.NOT_FOUND and error.details() == "no Route matched with those values"
    service = n.route(f"grpc://127.0.0.1:{ports.take()}", service={"retries": 1})
    error = failure(call(n.channel, "Unary"), b"")
    assert error.code() == grpc.StatusCode.INTERNAL and error.details() == "An invalid response was received from the upstream server"
    n.gw.admin.patch(f"/services/{service['id']}", json={"port": server.port, "read_timeout": 300})
    error = failure(call(n.channel, "Slow"), b"")
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and error.details() == "The upstream server is timing out"
    n.gw.admin.patch(f"/services/{service['id']}", json={"host": "not-there.example.test"})
    error = failure(call(n.channel, "Unary"), b"")
    assert error.code() == grpc.StatusCode.UNAVAILABLE and error.details() == "name resolution failed"
    create(n.gw, f"/services/{service['id']}/plugins", name="request-termination", config={"status_code": 403, "message": "not you"})
    error = failure(call(n.channel, "Unary"), b"")
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED


def test_deadline_reaches_the_service(node, server):
    n = node()
    n.route(f"grpc://127.0.0.1:{server.port}")
    assert failure(call(n.channel, "Slow"), b"", timeout=0.5).code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert server.service.cancelled.wait(TIMEOUT)


def test_client_that_cancels_ends_the_call(node, server):
    n = node()
    n.route(f"grpc://127.0.0.1:{server.port}")
    answers = call(n.channel, "Endless", "unary_stream")(b"", timeout=TIMEOUT)
    assert next(answers) == b"more"
    answers.cancel()
    assert server.service.cancelled.wait(TIMEOUT)


def test_connections_are_kept(node, server):
    """One after the other on one worker: the service sees one connection, whose streams are numbered on."""
    n = node(nginx_worker_processes=1)
    n.route(f"grpc://127.0.0.1:{server.port}")
    peers = set()
    unary = server.service.Unary

    def noted(request, context):
        peers.add(context.peer())
        return unary(request, context)

    server.service.Unary = noted
    for i in range(20):
        assert call(n.channel, "Unary")(b"x", timeout=TIMEOUT) == b"x"
    assert len(peers) < 20


def test_grpc_and_http_do_not_share_connections(node, server, echo_server):
    """A target of an upstream that is asked by both protocols is asked by each in its own."""
    n = node(nginx_worker_processes=1)
    upstream(n.gw, "both.test", {f"127.0.0.1:{echo_server.port}": 1})
    made = create(n.gw, "/services", url="http://both.test")
    create(n.gw, f"/services/{made['id']}/routes", paths=["/s"])
    n.route("grpc://both.test", service={"retries": 0})
    for _ in range(3):
        assert n.gw.proxy.get("/s").status_code == 200
        assert failure(call(n.channel, "Unary"), b"").code() == grpc.StatusCode.INTERNAL


def test_retries_go_to_another_target_by_its_name(node, server, ports):
    n = node()
    upstream(n.gw, "pool.test", {f"127.0.0.1:{ports.take()}": 100, f"localhost:{server.port}": 100})
    n.route("grpc://pool.test")
    for i in range(10):
        assert call(n.channel, "Unary")(b"%d" % i, timeout=TIMEOUT) == b"%d" % i
    assert len(server.calls) == 10


def test_tls_on_both_sides(node, workdir):
    ca = Cert("authority", ca=True)
    own, front = Cert("svc.test", issuer=ca), Cert("api.test", issuer=ca)
    server = Server(grpc.ssl_server_credentials([(own.key_pem.encode(), own.pem.encode())]))
    (workdir / "ca.pem").write_text(ca.pem)
    n = node(lua_ssl_trusted_certificate=str(workdir / "ca.pem"), nginx_location_grpc_ssl_verify="on")
    create(n.gw, "/certificates", **front.pair, snis=["api.test"])
    upstream(n.gw, "svc.test", {f"127.0.0.1:{server.port}": 1}, host_header="svc.test")
    n.route("grpcs://svc.test")
    secure = channel(n.gw.tls_port, grpc.ssl_channel_credentials(ca.pem.encode()), "api.test")
    for _ in range(5):
        assert call(secure, "Unary")(b"secret", timeout=TIMEOUT) == b"secret"
        assert call(n.channel, "Unary")(b"from plain", timeout=TIMEOUT) == b"from plain"
    assert server.calls[0][1]["x-forwarded-proto"] == "https"
    n.gw.admin.patch("/upstreams/svc.test", json={"host_header": "other.test"})
    assert failure(call(secure, "Unary"), b"").code() == grpc.StatusCode.INTERNAL
    secure.close()
    server.close()


def test_a_plugin_that_wants_the_service_verified(node, workdir, plugin):
    """Where verification is off but for what a plugin says, the settings' authorities are there all the same."""
    ca = Cert("authority", ca=True)
    (workdir / "ca.pem").write_text(ca.pem)
    path = plugin("strict", "return { PRIORITY = 10, VERSION = '1.0.0', access = function() assert(kong.service.set_tls_verify(true)) end }")
    n = node(plugins="bundled,strict", lua_package_path=path, lua_ssl_trusted_certificate=str(workdir / "ca.pem"))
    servers = []
    for cert in (Cert("localhost", issuer=ca), Cert("localhost")):
        servers.append(Server(grpc.ssl_server_credentials([(cert.key_pem.encode(), cert.pem.encode())])))
    service = n.route(f"grpcs://localhost:{servers[1].port}")
    assert call(n.channel, "Unary")(b"not verified", timeout=TIMEOUT) == b"not verified"
    create(n.gw, "/plugins", name="strict")
    assert failure(call(n.channel, "Unary"), b"").code() == grpc.StatusCode.INTERNAL
    assert n.gw.admin.patch(f"/services/{service['id']}", json={"port": servers[0].port}).status_code == 200
    assert call(n.channel, "Unary")(b"verified", timeout=TIMEOUT) == b"verified"
    for server in servers:
        server.close()


def test_lua_plugins_around_a_call(node, server, plugin):
    path = plugin("around", """
        local H = { PRIORITY = 10, VERSION = "1.0.0" }
        function H:access() kong.service.request.set_header("x-added", kong.client.get_protocol()) end
        function H:response() kong.response.set_header("x-never", "streams are not gathered") end
        function H:log() end
        return H
    """)
    n = node(plugins="bundled,around", lua_package_path=path)
    n.route(f"grpc://127.0.0.1:{server.port}")
    create(n.gw, "/plugins", name="around")
    answer, done = call(n.channel, "Unary").with_call(b"x", timeout=TIMEOUT)
    assert answer == b"x" and "x-never" not in dict(done.initial_metadata())
    assert dict(done.trailing_metadata())["x-trailing"] == "at-the-end"
    assert server.calls[-1][1]["x-added"] == "grpc"


def test_reload_lets_calls_finish(node, server):
    n = node()
    n.route(f"grpc://127.0.0.1:{server.port}")
    messages = queue.Queue()
    answers = call(n.channel, "Chat", "stream_stream")(iter(messages.get, None), timeout=TIMEOUT)
    messages.put(b"before")
    assert next(answers) == b"re: before"
    n.gw.reload()
    messages.put(b"after")
    assert next(answers) == b"re: after"
    messages.put(None)
    assert list(answers) == []
    support.wait_for(lambda: call(n.channel, "Unary")(b"x", timeout=TIMEOUT) == b"x", "a call to the new workers")
