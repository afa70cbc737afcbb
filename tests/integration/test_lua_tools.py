"""Modules that plugins require and that need no gateway: kong.tools.*, typedefs, constants, meta, bodies."""
import base64
import gzip
import re

import pytest

from lua_nginx import LuaNginx


@pytest.fixture(scope="module")
def lua(tmp_path_factory):
    with LuaNginx(tmp_path_factory.mktemp("lua")) as nginx:
        yield nginx.run


def test_strings(lua):
    assert lua("return require('kong.tools.string').split('a,b,,c', ',')") == [["a", "b", "", "c"]]
    assert lua("local s = require 'kong.tools.string'; return s.strip('  a b\\n'), s.strip(nil), s.join('-', { 'a', 'b' })") == ["a b", "", "a-b"]
    assert lua("local s = require 'kong.tools.string'; return s.validate_utf8('h\\195\\169'), s.validate_utf8('a\\195(')") == [True, False, 2]
    assert lua("local s = require 'kong.tools.string'; return s.validate_utf8('\\237\\160\\128')") == [False, 1], "a surrogate"
    assert lua("local s = require 'kong.tools.string'; return s.bytes_to_str(1536, 'k'), s.bytes_to_str(5.5), s.parse_ngx_size('8k'), "
               "s.parse_ngx_size('8x')") == ["1.50 KiB", 5, 8192]
    assert lua("local s = require 'kong.tools.string'; return s.replace_dashes('A-b'), s.replace_dashes_lower('A-b')") == ["A_b", "a_b"]


def test_tables(lua):
    assert lua("local t = require 'kong.tools.table'; return t.deep_merge({ a = { b = 1, c = 2 } }, { a = { c = 3 } })") == [{"a": {"b": 1, "c": 3}}]
    assert lua("local t = require 'kong.tools.table'; return t.is_array({ 1, 2 }), t.is_array({ 1, x = 2 }), t.is_lapis_array({ ['1'] = 1 })") == \
        [True, False, True]
    assert lua("local t = require 'kong.tools.table'; local a = { 1 }; a.self = a; local b = t.cycle_aware_deep_copy(a); "
               "return b ~= a and b.self == b") == [True]
    assert lua("local t = require 'kong.tools.table'; return select('#', t.unpack(t.pack(1, nil, nil))), t.table_path({ a = { b = 1 } }, 'a.b')") == [3, 1]
    assert lua("local t = require 'kong.tools.table'; return pcall(function() t.EMPTY.x = 1 end)")[0] is False


def test_uris(lua):
    code = "local n, out = require('kong.tools.uri').normalize, {}; for i, p in ipairs { %s } do out[i] = n(p) end; return out"
    given = ["/a/./b", "/a/../b", "/..", "/a/..", "/a//b", "/%7ea/%2f", "/", "/a/.", "/../../x/y/..", "/a/b/../../c/"]
    assert lua(code % ", ".join(f"'{p}'" for p in given)) == [["/a/b", "/b", "/", "/", "/a/b", "/~a/%2F", "/", "/a/", "/x/", "/c/"]]
    assert lua("return require('kong.tools.uri').escape('/a b/%41?x#é')") == ["/a%20b/%41?x#%C3%A9"]


def test_ip(lua):
    code = "local ip, out = require 'kong.tools.ip', {}; for i, a in ipairs { %s } do out[i] = ip.is_valid_ip(a) end; return out"
    good = ["1.2.3.4", "::", "::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "fe80::1", "1:2:3:4:5:6:7::"]
    bad = ["1.2.3", "1.2.3.256", "1::2::3", "12345::", "a.b", "", ":::", "1:2:3:4:5:6:7:8:9", "1.2.3.4:80", "::g"]
    assert lua(code % ", ".join(f"'{a}'" for a in good)) == [[True] * len(good)]
    assert lua(code % ", ".join(f"'{a}'" for a in bad)) == [[False] * len(bad)]
    assert lua("local ip = require 'kong.tools.ip'; return ip.is_valid_cidr('10.0.0.0/8'), ip.is_valid_cidr('::/129'), ip.is_valid_cidr('1.2.3.4')") == \
        [True, False, False]
    assert lua("local ip = require 'kong.tools.ip'; return ip.format_host('::1', 80), ip.format_host('h', 1), ip.normalize_ip('h:99999')") == \
        ["[0000:0000:0000:0000:0000:0000:0000:0001]:80", "h:1", None, "invalid port number"]


def test_http(lua):
    assert lua("return require('kong.tools.http').encode_args({ a = { 1, 2 }, b = true, c = { x = 'y z' } })") == ["a%5B1%5D=1&a%5B2%5D=2&b&c%5Bx%5D=y%20z"]
    assert lua("return require('kong.tools.http').decode_args({ ['a[b]'] = '1', ['l[1]'] = 'x', ['l[2]'] = 'y', p = 'q' })") == \
        [{"a": {"b": "1"}, "l": ["x", "y"], "p": "q"}]
    assert lua("local h = require 'kong.tools.http'; return h.get_response_type('text/html;q=0.5, application/xml'), h.get_response_type('image/png'), "
               "h.get_mime_type('text/plain')") == ["application/xml; charset=utf-8", "application/json; charset=utf-8", "text/plain; charset=utf-8"]
    assert lua("return require('kong.tools.http').parse_directive_header('max-age=60, no-store, x=\"q\"')") == [{"max-age": 60, "no-store": True, "x": "q"}]


def test_bytes(lua):
    zipped, = lua("return ngx.encode_base64(require('kong.tools.gzip').deflate_gzip(('ab'):rep(50000)))")
    assert gzip.decompress(base64.b64decode(zipped)) == b"ab" * 50000
    theirs = base64.b64encode(gzip.compress(bytes(range(256)) * 300)).decode()
    assert lua(f"return #require('kong.tools.gzip').inflate_gzip(ngx.decode_base64('{theirs}'))") == [76800]
    assert lua("return require('kong.tools.gzip').inflate_gzip('junk')")[0] is None
    cut = base64.b64encode(gzip.compress(b"x" * 100)[:-12]).decode()
    assert lua(f"return require('kong.tools.gzip').inflate_gzip(ngx.decode_base64('{cut}'))")[0] is None
    assert lua("return require('kong.tools.sha256').sha256_hex('abc')") == ["ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"]
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", lua("return require('kong.tools.uuid').uuid()")[0])
    assert re.fullmatch(r"[0-9A-Za-z]{32}", lua("return require('kong.tools.rand').random_string()")[0])


def test_times(lua):
    assert lua("local t = require 'kong.tools.time'; return t.nginx_conf_time_to_seconds('1h 30m'), t.nginx_conf_time_to_seconds('x')") == [5400]
    assert lua("local t = require('kong.tools.timestamp').get_timestamps(1700000000000); return t.year, t.month, t.day, t.hour, t.minute, t.second") == \
        [1672531200000, 1698796800000, 1699920000000, 1699999200000, 1699999980000, 1700000000000]
    assert lua("return math.abs(require('kong.tools.time').time_ns() / 1e9 - ngx.now()) < 60") == [True]


def test_modules(lua):
    assert lua("local m = require 'kong.tools.module'; return (m.load_module_if_exists('cjson')), (m.load_module_if_exists('no.such'))") == [True, False]
    assert lua("local u = require 'kong.tools.utils'; return type(u.uuid), type(u.split), type(u.deep_copy), type(u.encode_args)") == ["function"] * 4
    assert lua("local m = require 'kong.meta'; return m._VERSION, m._VERSION_NUM, tostring(m._VERSION_TABLE)") == ["3.9.1", 3009001, "3.9.1"]
    assert lua("local c = require 'kong.constants'; return c.HEADERS.UPSTREAM_LATENCY, c.RATELIMIT.PERIODS[3]") == ["X-Kong-Upstream-Latency", "hour"]
    assert lua("return (pcall(require, 'kong.plugins.base_plugin'))") == [False]


def test_typedefs(lua):
    assert lua("local t = require 'kong.db.schema.typedefs'; local f = t.header_name { required = false, default = 'X-A' }; "
               "return f.type, f.required, f.default, f.custom_validator('X-A'), f.custom_validator('a b')") == \
        ["string", False, "X-A", True, None, "bad header name 'a b', allowed characters are A-Z, a-z, 0-9, '_', and '-'"]
    assert lua("local t = require 'kong.db.schema.typedefs'; local a, b = t.protocols {}, t.protocols {}; a.default[1] = 'x'; "
               "return b.default, t.no_consumer.eq == ngx.null") == [["grpc", "grpcs", "http", "https"], True]
    assert lua("return pcall(function() return require('kong.db.schema.typedefs').nope end)")[0] is False


@pytest.mark.parametrize("name, good, bad, text", [
    ("host", "a.example", "a.example:1", "must not have a port"), ("sni", "a.example", "1.2.3.4", "must not be an IP"),
    ("wildcard_host", "*.a.example", "a.*.b", "wildcard must be leftmost or rightmost character"),
    ("url", "http://h/p", "http:///p", "missing host in url"), ("url", "https://h", "h/p", "missing scheme in url"),
    ("path", "/a/%41", "/a b", "invalid path: '/a b' (characters outside of the reserved list of RFC 3986 found)"),
    ("path", "/", "/%4", "invalid url-encoded value: '%4'"), ("ip", "::1", "x", "not an ip address: x"),
    ("router_path", "~/a(b)", "~/a(", None), ("router_path", "/a", "/a/../b", "non-normalized path, consider use '/b' instead"),
    ("name", "a-b", "a b", "invalid value 'a b': it must only contain alphanumeric and '., -, _, ~' characters"),
    ("utf8_name", "h\\195\\169", "a/b", "invalid value 'a/b': the only accepted ascii characters are alphanumerics or ., -, _, and ~"),
    ("tag", "a b", "a,b", "invalid tag 'a,b': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"),
    ("cookie_name", "sid", "a;b", None), ("ip_or_cidr", "10.0.0.0/8", "10.0.0.0/33", "invalid ip or cidr range: '10.0.0.0/33'"),
    ("key", None, "x", None), ("certificate", None, "x", None),
])
def test_validators(lua, name, good, bad, text):
    code = "local f = require('kong.db.schema.typedefs').%s.custom_validator; return f('%s')"
    if good:
        assert lua(code % (name, good)) == [True]
    refused = lua(code % (name, bad))
    assert refused[0] is None and (refused[1] == text if text else refused[1])


def test_multipart(lua):
    code = "local m = require 'kong.pdk.private.multipart'; return m.decode(%s, 'multipart/form-data; boundary=\"B B\"')"
    body = "'--B B\\r\\nContent-Disposition: form-data; filename=\"f\"; name=\"a\"\\r\\n\\r\\n1\\r\\n--B B\\r\\nX: y\\r\\n\\r\\nlost\\r\\n--B B--\\r\\n'"
    assert lua(code % body) == [{"a": "1"}]
    for broken in ("''", "'junk'", "'--B B'", "'--B B\\r\\nContent-Disposition: form-data; name=\"a\"\\r\\n\\r\\n1'"):
        assert lua(code % broken) == [] or lua(code % broken) == [None]


def test_cache(tmp_path):
    dicts = "".join(f"lua_shared_dict {n} 1m; " for n in ("kong", "kong_db_cache", "kong_locks"))
    init = "init_by_lua_block { cache = require('kong.silverback.cache').new({ db_cache_ttl = 100 }); calls = 0 }"
    with LuaNginx(tmp_path, http=dicts + init) as nginx:
        get = """
            local function load(a, b) calls = calls + 1; return %s end
            local v, err, level = cache:get("%s", { ttl = %s, neg_ttl = %s }, load, 1, 2)
            return v, err, level, calls"""
        assert nginx.run(get % ("{ sum = a + b }", "k", 10, 5)) == [{"sum": 3}, None, 3, 1]
        assert nginx.run(get % ("'other'", "k", 10, 5)) == [{"sum": 3}, None, 1, 1]
        assert nginx.run("cache.l1:flush_all(); " + get % ("'other'", "k", 10, 5)) == [{"sum": 3}, None, 2, 1]
        assert nginx.run(get % ("nil", "none", 10, 5)) == [None, None, 3, 2]
        assert nginx.run(get % ("1", "none", 10, 5)) == [None, None, 1, 2], "a nil is remembered"
        assert nginx.run(get % ("nil, 'broken'", "bad", 10, 5)) == [None, "broken", None, 3]
        assert "callback threw an error" in nginx.run(get % ("error('x')", "bad", 10, 5))[1]
        ttl, err, value = nginx.run("return cache:probe('k')")
        assert 0 < ttl <= 10 and err is None and value == {"sum": 3}
        nginx.run("cache:invalidate('k')")
        assert nginx.run("return (cache:probe('k'))") in ([], [None])
        assert nginx.run(get % ("false", "k", 0, 0))[0] is False
        assert nginx.run(get % ("5", "k", 0, 0))[:3] == [False, None, 1]
        assert nginx.run("return pcall(cache.get, cache, 1, nil, print)")[0] is False
        # Ten callers at once, one callback.
        assert nginx.run("""
            calls = 0
            local function slow() calls = calls + 1; ngx.sleep(0.05); return "v" end
            local threads = {}
            for i = 1, 10 do threads[i] = ngx.thread.spawn(function() return cache:get("herd", nil, slow) end) end
            for i = 1, 10 do local ok, v = ngx.thread.wait(threads[i]); assert(ok and v == "v") end
            return calls""") == [1]
