-- HTTP/1 messages as a client needs them: request heads written, response heads and bodies read, on a cosocket. For resty.http.
--
-- Everything that comes from the peer is bounded (number of header lines, digits of a length) and checked: a message that two
-- readers could understand differently is an error, not a guess. Everything that goes out is refused when it could break out of
-- its line.

local http_headers = require "resty.http_headers"

local concat, find, format, lower, match = table.concat, string.find, string.format, string.lower, string.match
local min, tonumber, tostring, type, pairs, ipairs = math.min, tonumber, tostring, type, pairs, ipairs

local MAX_HEADER_LINES = 1000
local MAX_INTERIM = 20 -- 1xx responses before the final one

local _M = {}


-- ---- writing ----

local function header_line(out, name, value)
  local kind = type(value)
  if kind == "number" or kind == "boolean" then
    value = tostring(value)
  elseif kind ~= "string" then
    return nil, format("the value of header %s is a %s", name, kind)
  end
  if find(value, "[\r\n%z]") then
    return nil, format("the value of header %s has a line break", name)
  end
  out[#out + 1] = name .. ": " .. value .. "\r\n"
  return true
end


local function add_header(out, name, value)
  if type(name) ~= "string" or not find(name, "^[%w!#$%%&'*+.^_`|~-]+$") then
    return nil, "not a header name: " .. tostring(name)
  end
  if type(value) ~= "table" then
    return header_line(out, name, value)
  end
  for _, item in ipairs(value) do
    local ok, err = header_line(out, name, item)
    if not ok then
      return nil, err
    end
  end
  return true
end


-- The head of a request as text, or nil, err. `target` is path and query as they go on the wire.
function _M.request_head(method, target, version, headers)
  if not find(method, "^%a+[%w-]*$") then
    return nil, "not a method: " .. tostring(method)
  end
  if find(target, "[%c ]") then
    return nil, "the path has a space or a control character"
  end
  local out = { format("%s %s HTTP/%.1f\r\n", method, target, version) }
  for name, value in pairs(headers) do
    local ok, err = add_header(out, name, value)
    if not ok then
      return nil, err
    end
  end
  out[#out + 1] = "\r\n"
  return concat(out)
end


-- Bytes of a body that is a string or a (nested) table of strings; nil, err for anything else.
function _M.body_length(body)
  if type(body) == "string" then
    return #body
  end
  if type(body) == "number" then
    return #tostring(body)
  end
  if type(body) ~= "table" then
    return nil, "the body is a " .. type(body)
  end
  local sum = 0
  for _, part in ipairs(body) do
    local n, err = _M.body_length(part)
    if not n then
      return nil, err
    end
    sum = sum + n
  end
  return sum
end


-- ---- reading heads ----

local function read_header_lines(sock, headers)
  for _ = 1, MAX_HEADER_LINES do
    local line, err = sock:receive("*l")
    if not line then
      return nil, err
    end
    if line == "" then
      return true
    end
    local name, value = match(line, "^([^%s:]+):%s*(.-)%s*$")
    if not name then
      return nil, "malformed header line"
    end
    http_headers.add(headers, name, value)
  end
  return nil, "too many header lines"
end


local function read_head(sock)
  local line, err = sock:receive("*l")
  if not line then
    return nil, err
  end
  local major, minor, status, reason = match(line, "^HTTP/(%d)%.(%d) (%d%d%d) ?(.*)$")
  if major ~= "1" then
    return nil, "malformed status line"
  end
  local head = { status = tonumber(status), reason = reason, version = 1 + tonumber(minor) / 10, headers = http_headers.new() }
  local ok
  ok, err = read_header_lines(sock, head.headers)
  if not ok then
    return nil, err
  end
  return head
end


-- Reads a response head: { status, reason, version, headers }. Interim responses are passed over, unless `interim` asks for
-- the first one to be returned.
function _M.read_head(sock, interim)
  for _ = 1, MAX_INTERIM do
    local head, err = read_head(sock)
    if not head then
      return nil, err
    end
    if head.status >= 200 or head.status == 101 or interim then
      return head
    end
  end
  return nil, "too many interim responses"
end


local function has_token(value, token)
  if type(value) == "table" then
    value = concat(value, ",")
  end
  return value ~= nil and find("," .. lower(tostring(value)):gsub("%s+", "") .. ",", "," .. token .. ",", 1, true) ~= nil
end

_M.has_token = has_token


-- Whether these headers of a message of that version let the connection live on.
function _M.persistent(version, headers)
  if has_token(headers["Connection"], "close") then
    return false
  end
  return version >= 1.1 or has_token(headers["Connection"], "keep-alive")
end


-- ---- reading bodies ----
--
-- A reader is a function: reader(max) returns the next piece, of at most max bytes, nil at the end, or nil and an error. `state`
-- is shared with the client: state.over is set at the end of the body, state.failed at an error.

local function fail(state, err)
  state.failed = true
  return nil, err
end


local function nothing(state)
  state.over = true
  return function()
    return nil
  end
end


local function by_length(sock, state, length)
  local left = length
  state.over = left == 0
  return function(max)
    if left == 0 or state.failed then
      return nil
    end
    local want = max and min(max, left) or left
    local piece, err = sock:receive(want)
    if not piece then
      return fail(state, err)
    end
    left = left - want
    state.over = left == 0
    return piece
  end
end


local function until_close(sock, state)
  return function(max)
    if state.over or state.failed then
      return nil
    end
    local piece, err
    if max then
      piece, err = sock:receiveany(max)
    else
      piece, err = sock:receive("*a")
      state.over = piece ~= nil
    end
    if not piece and err == "closed" then
      state.over = true
      return nil
    end
    if not piece then
      return fail(state, err)
    end
    if piece == "" then
      return nil
    end
    return piece
  end
end


local function chunk_size(sock)
  local line, err = sock:receive("*l")
  if not line then
    return nil, err
  end
  local digits = match(line, "^(%x+)%s*$") or match(line, "^(%x+)%s*;")
  if not digits or #digits > 13 then
    return nil, "malformed chunk size"
  end
  return tonumber(digits, 16)
end


local function chunk_end(sock)
  local line, err = sock:receive("*l")
  if line ~= "" then
    return nil, err or "malformed chunk"
  end
  return true
end


local function chunked(sock, state)
  local left = 0 -- bytes of the current chunk

  local function next_chunk()
    local size, err = chunk_size(sock)
    if not size then
      return fail(state, err)
    end
    if size == 0 then
      state.trailers = http_headers.new()
      local ok
      ok, err = read_header_lines(sock, state.trailers)
      if not ok then
        return fail(state, err)
      end
      state.over = true
      return nil
    end
    left = size
    return true
  end

  return function(max)
    if state.over or state.failed then
      return nil
    end
    if left == 0 then
      local more, err = next_chunk()
      if not more then
        return nil, err
      end
    end
    local want = max and min(max, left) or left
    local piece, err = sock:receive(want)
    if not piece then
      return fail(state, err)
    end
    left = left - want
    if left == 0 then
      local ok
      ok, err = chunk_end(sock)
      if not ok then
        return fail(state, err)
      end
    end
    return piece
  end
end


-- The length that the headers give: nil when there is none, nil and an error when it is not one number.
local function content_length(headers)
  local value = headers["Content-Length"]
  if type(value) == "table" then
    for _, other in ipairs(value) do
      if other ~= value[1] then
        return nil, "contradicting Content-Length headers"
      end
    end
    value = value[1]
  end
  if value == nil then
    return nil
  end
  if not find(value, "^%d+$") or #value > 15 then
    return nil, "malformed Content-Length header"
  end
  return tonumber(value)
end


local function has_no_body(method, status)
  return method == "HEAD" or status == 204 or status == 304 or status < 200 or (method == "CONNECT" and status < 300)
end


-- The reader of a response's body. Returns reader, has_body (whether there can be one), keepable (false when only the end of the
-- connection ends the body), or nil, err.
function _M.body_reader(sock, method, head, state)
  local headers = head.headers
  if has_no_body(method, head.status) then
    return nothing(state), false, head.status ~= 101
  end
  local coding = headers["Transfer-Encoding"]
  if coding ~= nil then
    if not has_token(coding, "chunked") then
      return until_close(sock, state), true, false
    end
    -- With both headers a proxy in between may have seen another end: read it, but do not go on with this connection.
    return chunked(sock, state), true, headers["Content-Length"] == nil
  end
  local length, err = content_length(headers)
  if err then
    return nil, err
  end
  if length then
    return by_length(sock, state, length), true, true
  end
  return until_close(sock, state), true, false
end


-- Readers of a request's body, for get_client_body_reader.
_M.reader_by_length = by_length
_M.reader_chunked = chunked


return _M
