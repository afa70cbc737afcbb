"""resty.http against real servers: httpbin, nginx with TLS of an own CA, and sockets that answer byte for byte what a test says."""
import json
import socket
import subprocess
import threading

import pytest

from lua_nginx import LuaNginx, free_port, listens, wait_until


def make_ca(folder):
    """A CA and a certificate for tls.test and 127.0.0.1."""

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, cwd=folder, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=test CA")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/CN=tls.test")
    (folder / "ext").write_text("subjectAltName=DNS:tls.test\n")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", "tls.pem")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    folder = tmp_path_factory.mktemp("resty_http")
    make_ca(folder)
    tls_port = free_port()
    http = f"""
    lua_ssl_trusted_certificate {folder}/ca.pem;
    lua_shared_dict seen 1m;
    server {{
        listen 127.0.0.1:{tls_port} ssl;
        ssl_certificate {folder}/tls.pem;
        ssl_certificate_key {folder}/tls.key;
        location / {{ return 200 "sni=$ssl_server_name host=$http_host connection=$connection requests=$connection_requests"; }}
    }}
    """
    server = """
        location = /pong { return 200 "connection=$connection requests=$connection_requests host=$http_host"; }
        location = /client-body {
            content_by_lua_block {
                local reader = assert(require("resty.http").new()):get_client_body_reader(1000)
                local n, largest, sum = 0, 0, 0
                local piece, err
                while reader do
                    piece, err = reader()
                    if not piece then break end
                    n, largest, sum = n + 1, math.max(largest, #piece), sum + #piece
                end
                ngx.print(n, " ", largest, " ", sum, " ", tostring(err))
            }
        }
    """
    with LuaNginx(folder / "prefix", http, server) as server_:
        server_.tls_port = tls_port
        server_.folder = folder
        yield server_


@pytest.fixture(scope="module")
def httpbin(tmp_path_factory):
    port = free_port()
    command = ["/usr/bin/python3", "-m", "gunicorn", "-w", "1", "--threads", "8", "-k", "gthread", "-b", f"127.0.0.1:{port}", "httpbin:app"]
    process = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("httpbin"), stderr=subprocess.DEVNULL)
    wait_until(lambda: listens(port), "httpbin")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


class Script:
    """A server of one scripted connection after another: script(connection) runs for each."""

    def __init__(self, *scripts):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.received = []
        self.thread = threading.Thread(target=self._serve, args=(scripts,), daemon=True)
        self.thread.start()

    def _serve(self, scripts):
        for script in scripts:
            connection, _ = self.listener.accept()
            with connection:
                script(self, connection)

    def read_head(self, connection):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = connection.recv(65536)
            if not piece:
                break
            data += piece
        self.received.append(data)
        return data

    def close(self):
        self.listener.close()


def answering(*replies):
    def script(server, connection):
        for reply in replies:
            server.read_head(connection)
            connection.sendall(reply)

    return script


def run(nginx, chunk, **values):
    head = "".join(f"local {name} = {json.dumps(value)}\n" for name, value in values.items())
    return nginx.run(head + "local http = require 'resty.http'\n" + chunk)


def test_request_uri_sends_method_query_headers_and_body(nginx, httpbin):
    status, body, content_type = run(nginx, """
        local res = assert(http.new():request_uri(base .. "/anything/a b?x=1", {
            method = "post", query = { y = "2 3" }, body = { "a=", { "1" } },
            headers = { ["Content-Type"] = "application/x-www-form-urlencoded", ["X-Two"] = { "one", "two" }, ["X-Num"] = 7 },
        }))
        return res.status, res.body, res.headers["content-type"]""", base=httpbin)
    answer = json.loads(body)
    assert status == 200 and content_type == "application/json"
    assert answer["method"] == "POST" and answer["form"] == {"a": "1"}
    assert answer["args"] == {"y": "2 3"}
    assert answer["headers"]["X-Two"] == "one,two" and answer["headers"]["X-Num"] == "7"
    assert answer["headers"]["Host"] == httpbin[7:]
    assert "a b" in answer["url"] or "a%20b" in answer["url"]


def test_request_uri_keeps_the_uris_query(nginx, httpbin):
    body, = run(nginx, "return assert(http.new():request_uri(base .. '/get?a=1&b=2#part')).body", base=httpbin)
    assert json.loads(body)["args"] == {"a": "1", "b": "2"}


def test_head_has_no_body(nginx, httpbin):
    status, body, has_body = run(nginx, """
        local res = assert(http.new():request_uri(base .. "/get", { method = "HEAD" }))
        return res.status, res.body, res.has_body""", base=httpbin)
    assert (status, body, has_body) == (200, "", False)


def test_post_without_body_says_so(nginx, httpbin):
    body, = run(nginx, "return assert(http.new():request_uri(base .. '/post', { method = 'POST' })).body", base=httpbin)
    assert json.loads(body)["headers"]["Content-Length"] == "0"


def test_streamed_body_in_pieces(nginx, httpbin):
    sizes, total, left = run(nginx, """
        local c = http.new()
        assert(c:connect{ scheme = "http", host = "127.0.0.1", port = tonumber(base:match(":(%d+)$")) })
        local res = assert(c:request{ path = "/bytes/5000" })
        local sizes, total = {}, 0
        for piece in res.body_reader, 2048 do sizes[#sizes + 1] = #piece; total = total + #piece end
        return sizes, total, res.body_reader() == nil""", base=httpbin)
    assert sizes == [2048, 2048, 904] and total == 5000 and left is True


def test_chunked_response_with_trailer(nginx):
    server = Script(answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n"))
    pieces, before, after = run(nginx, """
        local c = http.new()
        assert(c:connect{ host = "127.0.0.1", port = port })
        local res = assert(c:request{})
        local pieces = {}
        for piece in res.body_reader, 4 do pieces[#pieces + 1] = piece end
        local before = res.headers["X-Sum"] or "none"
        res:read_trailers()
        return pieces, before, res.headers["x-sum"]""", port=server.port)
    assert pieces == ["hell", "o", " wor", "ld"] and (before, after) == ("none", "11")


def test_chunked_request_with_iterator(nginx, httpbin):
    body, = run(nginx, """
        local parts = { "5\\r\\nhello\\r\\n", "0\\r\\n\\r\\n" }
        local res = assert(http.new():request_uri(base .. "/post", {
            method = "POST", headers = { ["Transfer-Encoding"] = "chunked", ["Content-Type"] = "text/plain" },
            body = function() return table.remove(parts, 1) end }))
        return res.body""", base=httpbin)
    assert json.loads(body)["data"] == "hello"


def test_iterator_without_length_is_refused(nginx, httpbin):
    res, err = run(nginx, "return http.new():request_uri(base .. '/post', { method = 'POST', body = function() end })", base=httpbin)
    assert res is None and "Content-Length" in err


def test_connections_are_pooled_and_counted(nginx):
    first, second, reused, third = run(nginx, """
        local function get(opts)
            return assert(http.new():request_uri("http://127.0.0.1:" .. port .. "/pong", opts)).body:match("connection=(%d+)")
        end
        local first, second = get(), get()
        local c = http.new()
        assert(c:connect{ scheme = "http", host = "127.0.0.1", port = port })
        local reused = c:get_reused_times()
        local res = assert(c:request{ path = "/pong" })
        res:read_body()
        local kept = c:set_keepalive()
        local third = get{ keepalive = false }
        assert(get{ keepalive = false } ~= third)
        return first, second, reused, kept == 1 and third""", port=nginx.port)
    assert first == second == third and reused == 2


def test_a_closing_connection_is_not_pooled(nginx):
    server = Script(
        answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"),
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        answering(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        answering(b"HTTP/1.1 200 OK\r\n\r\nto the end"))
    results, = run(nginx, """
        local results = {}
        for _, opts in ipairs{ {}, { headers = { Connection = "close" } }, {}, {} } do
            local c = http.new()
            assert(c:connect{ host = "127.0.0.1", port = port })
            local res = assert(c:request(opts))
            local body = res:read_body()
            local ok, err = c:set_keepalive()
            results[#results + 1] = { body, ok, err }
        end
        return results""", port=server.port)
    closed = "connection must be closed"
    assert results == [["ok", 2, closed], ["ok", 2, closed], ["ok", 2, closed], ["to the end", 2, closed]]


def test_unread_body_is_not_pooled(nginx):
    result = run(nginx, """
        local c = http.new()
        assert(c:connect{ host = "127.0.0.1", port = port })
        assert(c:request{ path = "/pong" })
        return c:set_keepalive()""", port=nginx.port)
    assert result == [2, "connection must be closed"]


def test_expect_continue(nginx):
    def patient(server, connection):
        server.read_head(connection)
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = connection.recv(100)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    refusing = answering(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
    server = Script(patient, refusing)
    status, body, refused, kept = run(nginx, """
        local params = { method = "PUT", body = "the body", headers = { Expect = "100-continue" } }
        local c = http.new()
        assert(c:connect{ host = "127.0.0.1", port = port })
        local res = assert(c:request(params))
        local body = res:read_body()
        c:close()
        assert(c:connect{ host = "127.0.0.1", port = port })
        local refused = assert(c:request(params))
        return res.status, body, refused.status, c:set_keepalive()""", port=server.port)[:4]
    assert (status, body, refused, kept) == (200, "the body", 417, 2)
    assert b"the body" not in server.received[0] + server.received[1]


def test_interim_responses_are_passed_over(nginx):
    server = Script(answering(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx"))
    result = run(nginx, "local r = http.new():request_uri('http://127.0.0.1:' .. port) return r.status, r.body", port=server.port)
    assert result == [200, "x"]


@pytest.mark.parametrize("reply, reason", [
    (b"SSH-2.0-OpenSSH\r\n", "malformed status line"),
    (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "malformed header line"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\n", "malformed Content-Length"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "contradicting Content-Length"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "malformed chunk size"),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", "malformed chunk"),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", "closed"),
    (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1500 + b"\r\n", "too many header lines"),
    (b"", "closed"),
])
def test_bad_answers_are_errors(nginx, reply, reason):
    server = Script(answering(reply))
    res, err = run(nginx, "return http.new():request_uri('http://127.0.0.1:' .. port)", port=server.port)
    assert res is None and reason in err


def test_requests_cannot_be_split(nginx):
    for params in ('{ headers = { ["X"] = "a\\r\\nEvil: 1" } }', '{ headers = { ["X\\r\\nEvil"] = "1" } }', '{ method = "GET / HTTP/1.1\\r\\n" }'):
        server = Script(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        res, err = run(nginx, f"return http.new():request_uri('http://127.0.0.1:' .. port, {params})", port=server.port)
        assert res is None and err, params
    server = Script(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    run(nginx, "return http.new():request_uri('http://127.0.0.1:' .. port, { path = '/a\\r\\nEvil: 1 b' }) ~= nil", port=server.port)
    assert server.received[0].startswith(b"GET /a%0D%0AEvil:%201%20b HTTP/1.1\r\n")


def test_header_table(nginx):
    server = Script(answering(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-One:  spaced \r\nContent-Length: 0\r\n\r\n"))
    result = run(nginx, """
        local h = http.new():request_uri('http://127.0.0.1:' .. port).headers
        local keys = {}
        for k in pairs(h) do keys[#keys + 1] = k end
        table.sort(keys)
        h["x-new"] = 1
        h["X-New"] = 2
        return h["SET-COOKIE"], h.x_one, keys, h["x-new"]""", port=server.port)
    assert result == [["a=1", "b=2"], "spaced", ["Content-Length", "Set-Cookie", "X-One"], 2]


def test_pipeline(nginx):
    result, = run(nginx, """
        local c = http.new()
        assert(c:connect{ host = "127.0.0.1", port = port })
        local bodies = {}
        for _, r in ipairs(assert(c:request_pipeline{ { path = "/pong" }, { path = "/nothing" }, { path = "/pong" } })) do
            bodies[#bodies + 1] = r.status .. " " .. r:read_body():sub(1, 10)
        end
        bodies[#bodies + 1] = c:set_keepalive()
        return bodies""", port=nginx.port)
    assert result == ["200 connection", "404 <html>\r\n<h", "200 connection", 1]


def test_timeouts(nginx):
    def silent(server, connection):
        server.read_head(connection)
        connection.recv(1)  # until the client goes

    server = Script(silent, silent)
    result = run(nginx, """
        local c = http.new()
        c:set_timeout(50)
        local a, err_a = c:request_uri('http://127.0.0.1:' .. port)
        c = http.new()
        c:set_timeouts(5000, 5000, 50)
        local b, err_b = c:request_uri('http://127.0.0.1:' .. port)
        return a == nil and err_a, b == nil and err_b""", port=server.port)
    assert result == ["timeout", "timeout"]


def test_tls_verification(nginx):
    good, bad_name, unverified = run(nginx, """
        local function get(opts)
            local res, err = http.new():request_uri("https://127.0.0.1:" .. port .. "/", opts)
            return res and res.body or ("ERR " .. err)
        end
        return get{ ssl_server_name = "tls.test" }, get{ ssl_server_name = "other.test" }, get{ ssl_verify = false, ssl_server_name = "other.test" }
        """, port=nginx.tls_port)
    assert good.startswith("sni=tls.test host=127.0.0.1:")
    assert bad_name.startswith("ERR ") and unverified.startswith("sni=other.test")


def test_tls_pools_are_kept_apart(nginx):
    """A connection that was not verified must not serve one that asks for verification."""
    bodies, = run(nginx, """
        local bodies = {}
        for _, opts in ipairs{ { ssl_verify = false, ssl_server_name = "a.test" }, { ssl_verify = false, ssl_server_name = "a.test" },
                               { ssl_server_name = "a.test" }, { ssl_verify = false, ssl_server_name = "b.test" } } do
            local res, err = http.new():request_uri("https://127.0.0.1:" .. port .. "/", opts)
            bodies[#bodies + 1] = res and res.body:match("sni=(%S+)") .. " " .. res.body:match("requests=(%d+)") or "ERR " .. err
        end
        return bodies""", port=nginx.tls_port)
    assert bodies[:2] == ["a.test 1", "a.test 2"] and bodies[2].startswith("ERR") and bodies[3] == "b.test 1"


def test_older_calls(nginx):
    plain, tls = run(nginx, """
        local c = http.new()
        c:set_timeout(5000)
        assert(c:connect("127.0.0.1", port))
        local plain = assert(c:request{ path = "/pong", headers = { Host = "given" } }):read_body()
        c:close()
        assert(c:connect("127.0.0.1", tls_port))
        assert(c:ssl_handshake(nil, "tls.test", true))
        return plain, assert(c:request{ path = "/" }):read_body()""", port=nginx.port, tls_port=nginx.tls_port)
    assert plain.endswith("host=given") and tls.startswith("sni=tls.test")


def test_parse_uri(nginx):
    result, = run(nginx, """
        local out = {}
        for _, uri in ipairs{ "http://a.b", "HTTPS://A.b:8443/x/y?z=1#f", "http://u:p@h:1?q", "http://[::1]:81/p", "ftp://x/", "nonsense",
                              "http://", "http://h:99999/", "http://h:x/" } do
            local p, err = http:parse_uri(uri, false)
            out[#out + 1] = p or err
        end
        out[#out + 1] = http.new():parse_uri("http://a.b/c?d=e")
        return out""")
    assert result == [["http", "a.b", 80, "/", ""], ["https", "A.b", 8443, "/x/y", "z=1"], ["http", "h", 1, "/", "q"],
                      ["http", "[::1]", 81, "/p", ""], "bad uri: ftp://x/", "bad uri: nonsense", "bad uri: http://",
                      "bad uri: http://h:99999/", "bad uri: http://h:x/", ["http", "a.b", 80, "/c?d=e", ""]]


def test_client_body_reader(nginx):
    _, text = nginx.request("POST", "/client-body", b"x" * 2500)
    assert text == b"3 1000 2500 nil"
    _, text = nginx.request("GET", "/client-body")
    assert text == b"0 0 0 nil"


def test_through_a_proxy(nginx):
    seen = []

    def tunnel(server, connection):
        seen.append(server.read_head(connection))
        upstream = socket.create_connection(("127.0.0.1", nginx.tls_port))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")

        def pump(a, b):
            while data := a.recv(65536):
                b.sendall(data)

        threading.Thread(target=pump, args=(upstream, connection), daemon=True).start()
        pump(connection, upstream)

    plain = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nproxy")
    server = Script(tunnel, plain)
    over_tls, over_http, direct = run(nginx, """
        local opts = { http_proxy = "http://127.0.0.1:" .. port, http_proxy_authorization = "Basic aaa",
                       https_proxy = "http://127.0.0.1:" .. port, https_proxy_authorization = "Basic bbb", no_proxy = "10.0.0.1,.direct,127.0.0.1" }
        local c = http.new()
        c:set_proxy_options(opts)
        local direct = assert(c:request_uri("http://127.0.0.1:" .. own .. "/pong")).body
        opts.no_proxy = nil
        c = http.new()
        c:set_proxy_options(opts)
        local tls = assert(c:request_uri("https://127.0.0.1:" .. tls_port .. "/", { ssl_server_name = "tls.test", keepalive = false })).body
        local plain = assert(c:request_uri("http://some.test:81/p?q=1", { keepalive = false })).body
        return tls, plain, direct""", port=server.port, own=nginx.port, tls_port=nginx.tls_port)
    assert over_tls.startswith("sni=tls.test") and over_http == "proxy" and direct.startswith("connection=")
    assert seen[0].startswith(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n" % nginx.tls_port) and b"Proxy-Authorization: Basic bbb" in seen[0]
    assert server.received[1].startswith(b"GET http://some.test:81/p?q=1 HTTP/1.1\r\n")
    assert b"Host: some.test:81\r\n" in server.received[1] and b"Proxy-Authorization: Basic aaa" in server.received[1]


def test_unix_socket_needs_a_host(nginx, tmp_path):
    path = str(tmp_path / "s.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve():
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                if connection.recv(65536):
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix")

    threading.Thread(target=serve, daemon=True).start()
    refused, body = run(nginx, """
        local c = http.new()
        assert(c:connect{ host = "unix:" .. path })
        local res, err = c:request{}
        c:close()
        assert(c:connect{ host = "unix:" .. path })
        return err, assert(c:request{ headers = { Host = "h" } }):read_body()""", path=path)
    assert "Host" in refused and body == "unix"
