--- resty.http: an HTTP/1 client on cosockets.
--
-- The gateway's own implementation of the interface that plugins know under this name: objects from `new()`, with a streaming
-- half (connect, request, read, set_keepalive) and a one-call half (request_uri). A copy of the library that a plugin brings, in
-- a LuaRocks tree or on lua_package_path, is found before this one.
--
-- Life of an object: `connect` sets where it goes to (self.peer) and the socket; `request` leaves in self.response the state of
-- the body under way; `set_keepalive` puts the connection into the pool only when that body was read to its end and both sides'
-- headers allow it.

local http_headers = require "resty.http_headers"
local message = require "kong.silverback.http_message"

local concat, find, gsub, lower = table.concat, string.find, string.gsub, string.lower
local match, rawget, rawset, sub, upper = string.match, rawget, rawset, string.sub, string.upper
local ngx = ngx
local ipairs, pairs, setmetatable, tonumber, tostring, type = ipairs, pairs, setmetatable, tonumber, tostring, type
local escape_uri, encode_args = ngx.escape_uri, ngx.encode_args

local DEFAULT_PORTS = { http = 80, https = 443 }
local CLIENT_CHUNK = 65536
local USER_AGENT = "lua-resty-http/0.17.2 (Silverback) ngx_lua/" .. ngx.config.ngx_lua_version

local _M = {
  _VERSION = "0.17.2", -- of the interface
  _USER_AGENT = USER_AGENT,
}

local mt = { __index = _M }


-- ---- connection ----

--- Makes a client. Returns nil, err where cosockets are not allowed.
function _M.new()
  -- looked up late: the gateway replaces the function by one that knows the hosts file and search domains
  local sock, err = ngx.socket.tcp()
  if not sock then
    return nil, err
  end
  return setmetatable({ sock = sock, keepalive = true }, mt)
end


function _M.set_timeout(self, time)
  return self.sock:settimeout(time)
end


function _M.set_timeouts(self, connect_timeout, send_timeout, read_timeout)
  return self.sock:settimeouts(connect_timeout, send_timeout, read_timeout)
end


--- TLS on a connection made with connect(host, port). Arguments and results are those of the socket's sslhandshake.
function _M.ssl_handshake(self, ...)
  self.ssl = true
  if self.peer then
    self.peer.scheme = "https"
  end
  return self.sock:sslhandshake(...)
end


function _M.set_proxy_options(self, opts)
  local copy = {}
  for key, value in pairs(opts or {}) do
    copy[key] = value
  end
  self.proxy_opts = copy
end


function _M.get_reused_times(self)
  return self.sock:getreusedtimes()
end


function _M.close(self)
  self.response = nil
  return self.sock:close()
end


--- Keeps the connection for reuse, or closes it when it cannot be reused: then 2, "connection must be closed".
function _M.set_keepalive(self, ...)
  local response = self.response
  local unread = response and not (response.over and not response.failed)
  if self.keepalive and not unread then
    return self.sock:setkeepalive(...)
  end
  local ok, err = self:close()
  if not ok then
    return nil, err
  end
  return 2, "connection must be closed"
end


-- "example.com" of "Example.COM:80" and "::1" of "[::1]:80".
local function bare_host(host)
  return lower(match(host, "^%[(.*)%]") or match(host, "^([^:]*):%d+$") or host)
end


local function excluded_from_proxy(no_proxy, host)
  host = bare_host(host)
  for item in no_proxy:gmatch("[^,%s]+") do
    if item == "*" then
      return true
    end
    item = bare_host(gsub(item, "^%*?%.", ""))
    if host == item or sub(host, -#item - 1) == "." .. item then
      return true
    end
  end
  return false
end


-- The proxy to use for a peer: { host, port, authorization }, false for none; nil, err when it is configured wrongly.
local function proxy_for(opts, scheme, host)
  local uri = opts and opts[scheme .. "_proxy"]
  if not uri or (opts.no_proxy and excluded_from_proxy(opts.no_proxy, host)) then
    return false
  end
  local parsed, err = _M:parse_uri(uri)
  if not parsed then
    return nil, "proxy: " .. err
  end
  if parsed[1] ~= "http" then
    return nil, "proxy: only http proxies can be used: " .. uri
  end
  return { host = parsed[2], port = parsed[3], authorization = opts[scheme .. "_proxy_authorization"] }
end


local function authority(host, port)
  if find(host, ":", 1, true) and sub(host, 1, 1) ~= "[" then
    host = "[" .. host .. "]"
  end
  return host .. ":" .. port
end


-- Opens a tunnel to the peer through the proxy that the socket is connected to.
local function open_tunnel(sock, host, port, authorization)
  local target = authority(host, port)
  local headers = { Host = target, ["User-Agent"] = USER_AGENT, ["Proxy-Authorization"] = authorization }
  local head, err = message.request_head("CONNECT", target, 1.1, headers)
  if not head then
    return nil, err
  end
  local ok
  ok, err = sock:send(head)
  if not ok then
    return nil, err
  end
  local answer
  answer, err = message.read_head(sock)
  if not answer then
    return nil, err
  end
  if answer.status < 200 or answer.status > 299 then
    return nil, "proxy: the tunnel was refused with status " .. answer.status
  end
  return true
end


-- Connections may be shared only by those who would have made the same one.
local function pool_name(peer, options, proxy)
  local parts = { peer.scheme or "", peer.host, peer.port or "" }
  if proxy then
    parts[#parts + 1] = "via " .. proxy.host .. ":" .. proxy.port .. ":" .. (proxy.authorization or "")
  end
  if peer.scheme == "https" then
    parts[#parts + 1] = options.ssl_server_name or ""
    parts[#parts + 1] = tostring(options.ssl_verify ~= false)
    parts[#parts + 1] = tostring(options.ssl_client_cert or "")
    parts[#parts + 1] = tostring(options.ssl_client_priv_key or "")
  end
  return concat(parts, ":")
end


local function handshake(self, options)
  local sock = self.sock
  self.ssl = true
  if options.ssl_client_cert then
    if not sock.setclientcert then
      return nil, "client certificates are not supported by this Lua module"
    end
    local ok, err = sock:setclientcert(options.ssl_client_cert, options.ssl_client_priv_key)
    if not ok then
      return nil, err
    end
  end
  local name = options.ssl_server_name or gsub(self.peer.host, "^%[(.*)%]$", "%1")
  return sock:sslhandshake(options.ssl_reused_session, name, options.ssl_verify ~= false, options.ssl_send_status_req)
end


local function peer_of(options)
  local host, port, scheme = options.host, options.port, options.scheme
  if type(host) ~= "string" or host == "" then
    return nil, "connect: host is missing"
  end
  scheme = scheme and lower(scheme)
  if scheme and not DEFAULT_PORTS[scheme] then
    return nil, "connect: scheme must be http or https, it is " .. tostring(options.scheme)
  end
  local unix = sub(host, 1, 5) == "unix:"
  if not unix then
    port = tonumber(port) or DEFAULT_PORTS[scheme or "http"]
  end
  return { host = host, port = port, scheme = scheme or "http", unix = unix }
end


local function begin(self, peer)
  self.peer, self.ssl, self.keepalive, self.response, self.proxy = peer, false, true, nil, false
end


-- What a new connection still needs: the tunnel and TLS. A reused one has both.
local function secure(self, options, proxy)
  local peer = self.peer
  if peer.scheme ~= "https" then
    return true
  end
  self.ssl = true
  local reused = self.sock:getreusedtimes()
  if reused and reused > 0 then
    return true
  end
  local ok, err
  if proxy then
    ok, err = open_tunnel(self.sock, peer.host, peer.port, proxy.authorization)
    if not ok then
      self:close()
      return nil, err
    end
  end
  local session
  session, err = handshake(self, options)
  if not session then
    self:close()
    return nil, err
  end
  return true, nil, session
end


local function connect_with(self, options)
  local peer, err, ok
  peer, err = peer_of(options)
  if not peer then
    return nil, err
  end
  local proxy = false
  if not peer.unix then
    proxy, err = proxy_for(options.proxy_opts or self.proxy_opts, peer.scheme, peer.host)
    if proxy == nil then
      return nil, err
    end
  end
  begin(self, peer)
  self.proxy = proxy
  local socket_options = {
    pool = options.pool or pool_name(peer, options, proxy), pool_size = options.pool_size, backlog = options.backlog,
  }
  if peer.unix then
    ok, err = self.sock:connect(peer.host, socket_options)
  else
    local to = proxy or peer
    ok, err = self.sock:connect(to.host, to.port, socket_options)
  end
  if not ok then
    return nil, err
  end
  return secure(self, options, proxy)
end


--- connect{ scheme, host, port, … }, or the older connect(host, port, socket_options) without TLS.
-- Returns true, nil, tls_session; or nil, err.
function _M.connect(self, options, ...)
  if type(options) == "table" then
    return connect_with(self, options)
  end
  local unix = type(options) == "string" and sub(options, 1, 5) == "unix:"
  local port = not unix and tonumber((...)) or nil
  begin(self, { host = options, port = port, scheme = "http", unix = unix })
  return self.sock:connect(options, ...)
end


--- The older way through a proxy; TLS is the caller's then.
function _M.connect_proxy(self, proxy_uri, scheme, host, port, proxy_authorization)
  local proxy, err = proxy_for({ http_proxy = proxy_uri }, "http", host)
  if not proxy then
    return nil, err
  end
  begin(self, { host = host, port = tonumber(port), scheme = scheme, unix = false })
  local ok
  ok, err = self.sock:connect(proxy.host, proxy.port)
  if not ok then
    return nil, err
  end
  local reused = self.sock:getreusedtimes()
  if scheme == "https" and (reused or 0) == 0 then
    ok, err = open_tunnel(self.sock, host, port, proxy_authorization)
    if not ok then
      return nil, err
    end
  end
  return 1
end


-- ---- addresses ----

-- "host", "host:80", "[::1]:80"
local function split_authority(text)
  text = match(text, "@([^@]*)$") or text
  local host, port = match(text, "^(%[[%x:.]+%])(.*)$")
  if not host then
    host, port = match(text, "^([^:]+)(.*)$")
  end
  if not host then
    return nil
  end
  if port == "" or port == ":" then
    return host, nil
  end
  local number = tonumber(match(port, "^:(%d+)$") or "")
  if not number or number > 65535 then
    return nil
  end
  return host, number
end


--- Splits a URI: { scheme, host, port, path, query }. With query_in_path (the default) path includes "?query" and query is "".
function _M.parse_uri(_, uri, query_in_path)
  local bad = "bad uri: " .. tostring(uri)
  if type(uri) ~= "string" then
    return nil, bad
  end
  local scheme, rest = match(uri, "^(%a[%w+.-]*)://(.*)$")
  if not scheme then
    rest = match(uri, "^//(.*)$")
    scheme = rest and ngx.var.scheme
  end
  scheme = scheme and lower(scheme)
  if not DEFAULT_PORTS[scheme or ""] then
    return nil, bad
  end
  local authority_text, path, query = match(gsub(rest, "#.*$", ""), "^([^/?]*)([^?]*)%??(.*)$")
  local host, port = split_authority(authority_text)
  if not host then
    return nil, bad
  end
  path = path ~= "" and path or "/"
  if query_in_path ~= false and query ~= "" then
    path, query = path .. "?" .. query, ""
  end
  return { scheme, host, port or DEFAULT_PORTS[scheme], path, query }
end


local function query_text(query)
  if type(query) == "table" then
    return encode_args(query)
  end
  return (gsub(tostring(query), "^%?", ""))
end


-- What stands between method and version. Spaces and control characters of a path are escaped: callers pass decoded paths.
local function target_of(self, params)
  local path = params.path or "/"
  if find(path, "[%c ]") then
    path = gsub(path, "[%c ]", escape_uri)
  end
  local query = params.query and query_text(params.query) or ""
  if query ~= "" then
    if find(query, "[%c ]") then
      query = gsub(query, "[%c ]", escape_uri)
    end
    path = path .. (find(path, "?", 1, true) and "&" or "?") .. query
  end
  local peer = self.peer
  if self.proxy and peer.scheme == "http" and sub(path, 1, 1) == "/" then
    return "http://" .. authority(peer.host, peer.port) .. path
  end
  return path
end


-- ---- request ----

local function host_header(peer)
  if not peer or peer.unix then
    return nil, "a Host header is needed with a unix socket"
  end
  if peer.port == nil or peer.port == DEFAULT_PORTS[peer.scheme] then
    return (gsub(authority(peer.host, 0), ":0$", ""))
  end
  return authority(peer.host, peer.port)
end


local function set_length(headers, method, body)
  if headers["Content-Length"] ~= nil or headers["Transfer-Encoding"] ~= nil then
    return true
  end
  if type(body) == "function" then
    return nil, "the request body is a function, but neither Content-Length nor Transfer-Encoding is given"
  end
  if body ~= nil then
    local length, err = message.body_length(body)
    if not length then
      return nil, err
    end
    headers["Content-Length"] = length
  elseif method == "POST" or method == "PUT" or method == "PATCH" then
    headers["Content-Length"] = 0
  end
  return true
end


local function complete_headers(self, params, method, version)
  local headers = http_headers.new(params.headers)
  local ok, err = set_length(headers, method, params.body)
  if not ok then
    return nil, err
  end
  if headers["Host"] == nil then
    headers["Host"], err = host_header(self.peer)
    if err then
      return nil, err
    end
  end
  if headers["User-Agent"] == nil then
    headers["User-Agent"] = _M._USER_AGENT
  end
  if version == 1.0 and headers["Connection"] == nil then
    headers["Connection"] = "Keep-Alive"
  end
  local proxy = self.proxy
  if proxy and self.peer.scheme == "http" and proxy.authorization and headers["Proxy-Authorization"] == nil then
    headers["Proxy-Authorization"] = proxy.authorization
  end
  return headers
end


local function send_body(sock, body)
  if type(body) ~= "function" then
    return sock:send(body)
  end
  while true do
    local piece, err = body()
    if piece == nil and err == nil then
      return true
    end
    if piece == nil then
      return nil, err
    end
    local ok
    ok, err = sock:send(piece)
    if not ok then
      return nil, err
    end
  end
end


-- Sends head and, unless the peer is asked first (Expect), body. Returns { method, version, headers, waits } or nil, err.
local function send_request(self, params)
  local method, version = upper(params.method or "GET"), tonumber(params.version) or 1.1
  if version ~= 1.1 and version ~= 1.0 then
    return nil, "only HTTP/1.0 and HTTP/1.1 can be spoken"
  end
  local headers, err = complete_headers(self, params, method, version)
  if not headers then
    return nil, err
  end
  local head
  head, err = message.request_head(method, target_of(self, params), version, headers)
  if not head then
    return nil, err
  end
  local body = params.body
  local sent = { method = method, version = version, headers = headers }
  sent.waits = body ~= nil and version == 1.1 and message.has_token(headers["Expect"], "100-continue")
  local ok
  if body == nil or sent.waits or type(body) == "function" then
    ok, err = self.sock:send(head)
  else
    ok, err = self.sock:send({ head, body })
    body = nil
  end
  if ok and body ~= nil and not sent.waits then
    ok, err = send_body(self.sock, body)
  end
  if not ok then
    return nil, err
  end
  return sent
end


local function read_body(res)
  local parts, n = {}, 0
  local reader = res.body_reader
  while true do
    local piece, err = reader(CLIENT_CHUNK)
    if err then
      return nil, err, concat(parts)
    end
    if piece == nil then
      return concat(parts)
    end
    n = n + 1
    parts[n] = piece
  end
end


-- Trailers come beneath the headers: a header of the same name stays.
local function read_trailers(res)
  local state = res._state
  for name, value in pairs(state.trailers or {}) do
    if res.headers[name] == nil then
      res.headers[name] = value
    end
  end
  return res.headers
end


local function response_of(self, sent, head, into)
  local state = {}
  local reader, has_body, keepable = message.body_reader(self.sock, sent.method, head, state)
  if not reader then
    return nil, has_body
  end
  self.response = state
  self.keepalive = keepable and message.persistent(sent.version, sent.headers) and message.persistent(head.version, head.headers)
  into.status, into.reason, into.headers, into.version = head.status, head.reason, head.headers, head.version
  into.has_body, into.body_reader, into.read_body, into.read_trailers = has_body, reader, read_body, read_trailers
  into._state = state
  return into
end


local function broken(self, err)
  self.keepalive = false
  self.response = { failed = true }
  return nil, err
end


-- The head that answers a request; sends a body that waited for the peer's 100.
local function await_head(self, sent, body)
  if not sent.waits then
    return message.read_head(self.sock)
  end
  local head, err = message.read_head(self.sock, true)
  if not head or head.status ~= 100 then
    self.refused = head ~= nil -- the announced body will never come: this connection cannot go on
    return head, err
  end
  local ok
  ok, err = send_body(self.sock, body)
  if not ok then
    return nil, err
  end
  return message.read_head(self.sock)
end


--- Sends a request and reads the head of its response; the body is read with what the result holds.
function _M.request(self, params)
  local sent, err = send_request(self, params)
  if not sent then
    return broken(self, err)
  end
  local head
  self.refused = false
  head, err = await_head(self, sent, params.body)
  if not head then
    return broken(self, err)
  end
  local res
  res, err = response_of(self, sent, head, {})
  if not res then
    return broken(self, err)
  end
  if self.refused then
    self.keepalive = false
  end
  return res
end


--- Sends several requests at once; each response is read when one of its fields is first looked at, in order.
function _M.request_pipeline(self, requests)
  local all_sent = {}
  for i, params in ipairs(requests) do
    if params.headers and message.has_token(http_headers.new(params.headers)["Expect"], "100-continue") then
      return broken(self, "Expect: 100-continue cannot be pipelined")
    end
    local sent, err = send_request(self, params)
    if not sent then
      return broken(self, err)
    end
    all_sent[i] = sent
  end
  local responses = {}
  for i, sent in ipairs(all_sent) do
    local read = false
    responses[i] = setmetatable({}, {
      __index = function(t, key)
        if read then
          return nil
        end
        read = true
        local head, err = message.read_head(self.sock)
        local ok = head
        if head then
          ok, err = response_of(self, sent, head, t)
        end
        if not ok then
          broken(self, err)
          rawset(t, "error", err)
        end
        return rawget(t, key)
      end,
    })
  end
  return responses
end


local function with_uri(self, uri, params)
  local parsed, err = self:parse_uri(uri, false)
  if not parsed then
    return nil, err
  end
  local all = {}
  for key, value in pairs(params or {}) do
    all[key] = value
  end
  local scheme, host, port, path, query = parsed[1], parsed[2], parsed[3], parsed[4], parsed[5]
  all.scheme = all.scheme or scheme
  all.host = all.host or host
  all.port = all.port or port
  all.path = all.path or path
  if all.query == nil and query ~= "" then
    all.query = query
  end
  return all
end


local function finish(self, params)
  if params.keepalive == false then
    return self:close()
  end
  return self:set_keepalive(params.keepalive_timeout, params.keepalive_pool)
end


--- The whole exchange in one call: connects, sends, reads the body into res.body, and keeps or closes the connection.
function _M.request_uri(self, uri, params)
  local all, err = with_uri(self, uri, params)
  if not all then
    return nil, err
  end
  local ok
  ok, err = self:connect(all)
  if not ok then
    return nil, err
  end
  local res, body
  res, err = self:request(all)
  if not res then
    self:close()
    return nil, err
  end
  body, err = res:read_body()
  if not body then
    self:close()
    return nil, err
  end
  res.body = body
  res:read_trailers()
  ok, err = finish(self, all)
  if not ok then
    ngx.log(ngx.ERR, "resty.http: ", err)
  end
  return res
end


-- ---- the body of the client's request ----

local function stored_body_reader(default_size)
  local data, file = ngx.req.get_body_data(), ngx.req.get_body_file()
  if not data and file then
    local handle, err = io.open(file, "rb")
    if not handle then
      return nil, err
    end
    return function(size)
      local piece = handle:read(size or default_size)
      if not piece then
        handle:close()
        handle = { read = function() end, close = function() end }
      end
      return piece
    end
  end
  local at = 1
  return function(size)
    if not data or at > #data then
      return nil
    end
    local piece = sub(data, at, at + (size or default_size) - 1)
    at = at + #piece
    return piece
  end
end


--- An iterator over the client's request body, in pieces of at most `chunksize` bytes (or those that each call asks for).
function _M.get_client_body_reader(_, chunksize, sock)
  chunksize = chunksize or CLIENT_CHUNK
  local headers = ngx.req.get_headers(0)
  local err
  if not sock then
    sock, err = ngx.req.socket()
    if not sock then
      if err == "no body" then
        return nil
      end
      if err and find(err, "already", 1, true) then
        return stored_body_reader(chunksize)
      end
      return nil, err
    end
  end
  local reader
  local length = tonumber(headers["Content-Length"])
  if message.has_token(headers["Transfer-Encoding"], "chunked") then
    reader = message.reader_chunked(sock, {})
  elseif length then
    reader = message.reader_by_length(sock, {}, length)
  else
    return nil
  end
  return function(size)
    return reader(size or chunksize)
  end
end


return _M
