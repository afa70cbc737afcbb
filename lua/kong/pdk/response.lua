-- kong.response: what the client gets.

local cjson = require "cjson.safe"
local check = require "kong.pdk.private.check"
local http = require "kong.tools.http"
local phases = require "kong.silverback.phases"
local sbffi = require "kong.silverback.ffi"
local state = require "kong.silverback.state"

local C, num = sbffi.C, sbffi.num
local guard = check.guard
local type, error, concat = type, error, table.concat
local ngx = ngx

local HEADER_FILTER = phases.NUMBER.header_filter
local SOURCES = { "exit", "error", "service" }


local function first(value)
  if type(value) == "table" then
    return value[1]
  end
  return value
end


-- Transfer-Encoding is nginx's alone.
local function refused(name)
  if name:lower() == "transfer-encoding" then
    ngx.log(ngx.WARN, "[kong] manually setting Transfer-Encoding. Ignored.")
    return true
  end
end


local function values_of(value)
  local list = {}
  check.each_value(value, function(text) list[#list + 1] = text end)
  return #list == 1 and list[1] or list
end


local function set(name, value)
  if not refused(name) then
    ngx.header[name] = values_of(value)
  end
end


local function add(name, value)
  if refused(name) then
    return
  end
  local before = ngx.header[name]
  if before == nil then
    ngx.header[name] = values_of(value)
    return
  end
  local list = {}
  for _, item in ipairs(type(before) == "table" and before or { before }) do
    list[#list + 1] = item
  end
  check.each_value(value, function(text) list[#list + 1] = text end)
  ngx.header[name] = list
end


-- Headers of an exit or error. Content-Length is computed from the body that is really sent, unless the body is empty (HEAD).
local function set_headers(headers, has_body)
  local content_type
  for name, value in pairs(headers or {}) do
    local lower = type(name) == "string" and name:lower()
    if lower == "content-type" then
      content_type = check.header_text(first(value))
    end
    if lower ~= "content-length" or not has_body then
      set(name, value)
    end
  end
  return content_type
end


-- In header_filter the service's headers are there already; those that describe its body go with it.
local function forget_body_headers(phase)
  if phase == HEADER_FILTER then
    ngx.header["Content-Type"] = nil
    ngx.header["Content-Encoding"] = nil
  end
end


-- A response was given to C: nothing more of this phase runs. In header_filter the phase goes on, the body is replaced.
local function leave(phase)
  if phase ~= HEADER_FILTER then
    return ngx.exit(ngx.OK)
  end
end


local function check_exit(status, min, headers)
  if type(status) ~= "number" then
    error("code must be a number", 3)
  end
  if status < min or status > 599 then
    error(("code must be a number between %d and 599"):format(min), 3)
  end
  if headers ~= nil then
    if type(headers) ~= "table" then
      error("headers must be a nil or table", 3)
    end
    check.headers(headers, 2)
  end
end


local function new(configuration)
  local _RESPONSE = {}

  local status_allowed = guard "kong.response.get_status"
  function _RESPONSE.get_status()
    status_allowed()
    return ngx.status
  end


  local header_allowed = guard "kong.response.get_header"
  function _RESPONSE.get_header(name)
    header_allowed()
    if type(name) ~= "string" then
      error("header name must be a string", 2)
    end
    return first(ngx.header[name])
  end


  local headers_allowed = guard "kong.response.get_headers"
  function _RESPONSE.get_headers(max_headers)
    headers_allowed()
    check.limit(max_headers, "max_headers")
    return ngx.resp.get_headers(max_headers or configuration.lua_max_resp_headers or 100)
  end


  local source_allowed = guard "kong.response.get_source"
  function _RESPONSE.get_source()
    return SOURCES[num(source_allowed(), C.SB_FFI_SOURCE)]
  end


  local set_status_allowed = guard "kong.response.set_status"
  function _RESPONSE.set_status(status)
    set_status_allowed()
    check.not_sent()
    if type(status) ~= "number" then
      error("code must be a number", 2)
    end
    if status < 100 or status > 599 then
      error("code must be a number between 100 and 599", 2)
    end
    ngx.status = status
  end


  local set_header_allowed = guard "kong.response.set_header"
  function _RESPONSE.set_header(name, value)
    set_header_allowed()
    check.not_sent()
    check.header(name, value)
    set(name, value)
  end


  local add_header_allowed = guard "kong.response.add_header"
  function _RESPONSE.add_header(name, value)
    add_header_allowed()
    check.not_sent()
    check.header(name, value)
    add(name, value)
  end


  local clear_header_allowed = guard "kong.response.clear_header"
  function _RESPONSE.clear_header(name)
    clear_header_allowed()
    check.not_sent()
    if type(name) ~= "string" then
      error("header name must be a string", 2)
    end
    ngx.header[name] = nil
  end


  local set_headers_allowed = guard "kong.response.set_headers"
  function _RESPONSE.set_headers(headers)
    set_headers_allowed()
    check.not_sent()
    check.headers(headers)
    for name, value in pairs(headers) do
      set(name, value)
    end
  end


  local get_body_allowed = guard "kong.response.get_raw_body"
  -- Gathers the chunks: each is held back until the last one, which then is the whole body.
  function _RESPONSE.get_raw_body()
    get_body_allowed()
    local st = state.current()
    local chunks = st.body_chunks
    local data, eof = ngx.arg[1], ngx.arg[2]
    if not eof then
      if not chunks then
        chunks = {}
        st.body_chunks = chunks
      end
      if data and data ~= "" then
        chunks[#chunks + 1] = data
      end
      ngx.arg[1] = nil
      return nil
    end
    if chunks then
      chunks[#chunks + 1] = data
      data = concat(chunks)
      st.body_chunks = nil
      ngx.arg[1] = data
    end
    return data or ""
  end


  local set_body_allowed = guard "kong.response.set_raw_body"
  function _RESPONSE.set_raw_body(body)
    set_body_allowed()
    if type(body) ~= "string" then
      error("body must be a string", 2)
    end
    local st = state.current()
    st.body_chunks = nil
    if ngx.arg[2] then
      ngx.arg[1] = body
    else
      -- The rest of the service's body is not wanted: this is the last chunk. The mark needs bytes to stand on; they may go afterwards.
      ngx.arg[1] = body ~= "" and body or " "
      ngx.arg[2] = true
      if body == "" then
        ngx.arg[1] = body
      end
    end
  end


  local exit_allowed = guard "kong.response.exit"
  function _RESPONSE.exit(status, body, headers)
    local r, phase = exit_allowed()
    check.not_sent()
    check_exit(status, 100, headers)
    if body ~= nil and type(body) ~= "string" and type(body) ~= "table" then
      error("body must be a nil, string or table", 2)
    end
    if type(body) == "table" and num(r, C.SB_FFI_IS_GRPC) == 1 and type(body.message) == "string" then
      body = body.message
    end
    local json = type(body) == "table"
    if json then
      local err
      body, err = cjson.encode(body)
      if not body then
        error("body encoding failed while flushing response: " .. err, 2)
      end
    end
    forget_body_headers(phase)
    local content_type = set_headers(headers, body ~= nil)
    if json and not content_type then
      ngx.header["Content-Type"] = "application/json; charset=utf-8"
    end
    C.sb_ffi_exit(r, status, body, body and #body or 0)
    return leave(phase)
  end


  local error_allowed = guard "kong.response.error"
  function _RESPONSE.error(status, message, headers)
    local r, phase = error_allowed()
    check.not_sent()
    check_exit(status, 400, headers)
    if message ~= nil and type(message) ~= "string" and type(message) ~= "table" then
      error("message must be a nil, string or table", 2)
    end
    if type(message) == "table" then
      message = cjson.encode(message)
    end
    forget_body_headers(phase)
    local content_type = set_headers(headers, true)
    if content_type then
      content_type = http.get_mime_type(content_type)
    end
    C.sb_ffi_error(r, status, content_type, content_type and #content_type or 0, message, message and #message or 0)
    return leave(phase)
  end


  return _RESPONSE
end


return { new = new }
