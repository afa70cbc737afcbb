"""A bare nginx with the Lua module and the repository's lua/ folder, that runs chunks of Lua: for libraries that need no gateway.

    with LuaNginx(tmp_path) as nginx:
        nginx.run("return 1 + 1")      -> [2]     (the chunk's results, through JSON)
"""
import http.client
import json
import os
import pathlib
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = pathlib.Path("/usr/lib/nginx/modules")

CONF = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off;
worker_processes 1;
error_log {prefix}/error.log info;
pid {prefix}/nginx.pid;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    client_body_buffer_size 1m;
    client_max_body_size 16m;
    lua_package_path "{path}{root}/lua/?.lua;{root}/lua/fallback/?.lua;;";
    {http}
    server {{
        listen 127.0.0.1:{port};
        location = /run {{
            content_by_lua_block {{
                ngx.req.read_body()
                local cjson = require "cjson"
                local chunk, err = loadstring(ngx.req.get_body_data(), "=chunk")
                if not chunk then
                    ngx.status = 400
                    return ngx.print(err)
                end
                local results = {{ pcall(chunk) }}
                if not results[1] then
                    ngx.status = 500
                    return ngx.print(tostring(results[2]))
                end
                local out = setmetatable({{}}, cjson.array_mt)
                for i = 2, table.maxn(results) do
                    out[i - 1] = results[i] == nil and cjson.null or results[i]
                end
                ngx.print(#out == 0 and "[]" or cjson.encode(out))
            }}
        }}
        {server}
    }}
}}
"""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("waited in vain for " + what)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class LuaNginx:
    def __init__(self, prefix, http="", server="", path=""):
        self.prefix = pathlib.Path(prefix)
        self.prefix.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        conf = CONF.format(modules=MODULES, prefix=self.prefix, root=ROOT, port=self.port, http=http, server=server,
                           path=path + ";" if path else "")
        if os.geteuid() == 0:
            conf = "user root;\n" + conf
        (self.prefix / "nginx.conf").write_text(conf)

    def __enter__(self):
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-p", str(self.prefix), "-c", "nginx.conf"])
        wait_until(lambda: self.process.poll() is not None or listens(self.port), "nginx")
        assert self.process.poll() is None, (self.prefix / "error.log").read_text()
        return self

    def __exit__(self, *exc):
        self.process.terminate()
        self.process.wait(20)

    def request(self, method, path, body=None, headers=None):
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        conn.request(method, path, body, headers or {})
        response = conn.getresponse()
        text = response.read()
        conn.close()
        return response, text

    def run(self, chunk):
        response, text = self.request("POST", "/run", chunk.encode())
        assert response.status == 200, text.decode()
        return json.loads(text)

    def log(self):
        return (self.prefix / "error.log").read_text()
