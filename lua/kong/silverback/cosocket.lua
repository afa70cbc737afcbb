--- Names given to cosockets are looked up by the gateway's resolver.
--
-- nginx's own resolver reads neither the hosts file nor the search domains of resolv.conf, so a plugin that works on the
-- author's machine would fail here. `install()` makes `connect` of TCP sockets and `setpeername` of UDP sockets ask ours
-- first and hand the address on. What the author can see stays: the connection pool is named after the host that was given,
-- and TLS uses the name that `sslhandshake` is given.
--
-- Call `install()` before any plugin code is loaded. The methods are replaced in the sockets' shared metatables, when the first
-- socket is made, so code that keeps `ngx.socket.tcp` in a local is served as well.

local ffi = require "ffi"
local semaphore = require "ngx.semaphore"

ffi.cdef [[
typedef struct sb_ffi_address {
    char ip[64];
    size_t len;
    int port;
} sb_ffi_address_t;
int sb_ffi_resolve(const char *name, size_t len, sb_ffi_address_t *out, const char **why);
void *sb_ffi_resolve_start(const char *name, size_t len, void *sema);
int sb_ffi_resolve_end(void *lookup, sb_ffi_address_t *out, const char **why);
]]

local C = ffi.C
local ffi_string = ffi.string
local ffi_gc = ffi.gc
local find = string.find
local sub = string.sub
local select = select
local type = type
local tonumber = tonumber
local getmetatable, rawset = getmetatable, rawset

local OK, AGAIN = 0, 2
local WAIT_SECONDS = 60 -- a bound only: the resolver gives up earlier, by the resolv.conf options

local address = ffi.new("sb_ffi_address_t")
local why = ffi.new("const char *[1]")

-- Semaphores that C may still post to, by the address of their lookup.
local posted_to = {} -- luacheck: ignore 241

local function key_of(lookup)
  return tonumber(ffi.cast("uintptr_t", lookup))
end

local function finish(lookup)
  posted_to[key_of(lookup)] = nil
  return C.sb_ffi_resolve_end(lookup, address, why)
end

local function answer(rc)
  if rc == OK then
    return ffi_string(address.ip, address.len), address.port ~= 0 and address.port or nil
  end
  return nil, ffi_string(why[0])
end

local function wait_for(name)
  local sema, err = semaphore.new(0)
  if not sema then
    return nil, err
  end
  local lookup = C.sb_ffi_resolve_start(name, #name, sema.sem)
  if lookup == nil then
    return nil, "no semaphores here"
  end
  posted_to[key_of(lookup)] = sema
  ffi_gc(lookup, finish) -- the thread may be killed while it waits
  local ok
  ok, err = sema:wait(WAIT_SECONDS)
  ffi_gc(lookup, nil)
  local rc = finish(lookup)
  if not ok and err ~= "timeout" then
    return nil, err
  end
  return answer(rc)
end

local _M = {}

--- The address of a name, as text (IPv6 in brackets); successive calls go round over the name's addresses. May yield.
-- @return address, and the port when the name has an SRV record that gives one; or nil and why
function _M.resolve(name)
  local rc = C.sb_ffi_resolve(name, #name, address, why)
  if rc ~= AGAIN then
    return answer(rc)
  end
  return wait_for(name)
end

local resolve = _M.resolve

local function is_name(host)
  return type(host) == "string" and sub(host, 1, 5) ~= "unix:" and not find(host, "^%d+%.%d+%.%d+%.%d+$")
    and not find(host, ":", 1, true)
end

local function failure(host, err)
  return nil, "[cosocket] DNS resolution failed: " .. err .. " (" .. host .. ")"
end

local function with_pool(opts, host, port)
  if opts == nil then
    return { pool = host .. ":" .. port }
  end
  if opts.pool ~= nil then
    return opts
  end
  local copy = {}
  for k, v in pairs(opts) do
    copy[k] = v
  end
  copy.pool = host .. ":" .. port
  return copy
end

local function wrap_connect(connect)
  return function(sock, host, ...)
    local port, opts = ...
    -- What is not a name and a port is the original's to refuse, in its words.
    if not is_name(host) or not tonumber(port) or (opts ~= nil and type(opts) ~= "table") then
      return connect(sock, host, ...)
    end
    local ip, srv_port = resolve(host)
    if not ip then
      return failure(host, srv_port)
    end
    return connect(sock, ip, srv_port or port, with_pool(opts, host, srv_port or port))
  end
end

local function wrap_setpeername(setpeername)
  return function(sock, host, ...)
    if not is_name(host) then
      return setpeername(sock, host, ...)
    end
    local ip, srv_port = resolve(host)
    if not ip then
      return failure(host, srv_port)
    end
    if srv_port then
      return setpeername(sock, ip, srv_port)
    end
    return setpeername(sock, ip, ...)
  end
end

local patched = setmetatable({}, { __mode = "k" })

local function patch(sock, method, wrap)
  local methods = getmetatable(sock).__index
  if not patched[methods] then
    methods[method] = wrap(methods[method])
    patched[methods] = true
  end
  return sock
end

local function maker(make, method, wrap)
  return function(...)
    local sock, err = make(...)
    if not sock then
      return sock, err
    end
    return patch(sock, method, wrap)
  end
end

local function connected(tcp)
  return function(...)
    if select("#", ...) == 0 then
      error("ngx.socket connect: expecting 1 or more arguments", 2)
    end
    local sock, err = tcp()
    if not sock then
      return nil, err
    end
    local ok
    ok, err = sock:connect(...)
    if not ok then
      return nil, err
    end
    return sock
  end
end

local installed

--- Replaces the makers of sockets in `ngx.socket`. Calling it again does nothing.
function _M.install()
  if installed then
    return
  end
  installed = true
  local socket = ngx.socket
  local tcp = maker(socket.tcp, "connect", wrap_connect)
  rawset(socket, "udp", maker(socket.udp, "setpeername", wrap_setpeername))
  rawset(socket, "tcp", tcp)
  rawset(socket, "stream", tcp)
  rawset(socket, "connect", connected(tcp))
end

return _M
