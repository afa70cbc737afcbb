-- kong.request: what the client sent.

local bodies = require "kong.pdk.private.body"
local check = require "kong.pdk.private.check"
local sbffi = require "kong.silverback.ffi"

local C, out, out2, str, num = sbffi.C, sbffi.out, sbffi.out2, sbffi.str, sbffi.num
local guard = check.guard
local type, error = type, error
local ngx = ngx


-- A getter without arguments for a string of the request.
local function string_getter(name, what)
  local allowed = guard(name)
  return function()
    return str(allowed(), what)
  end
end


local function number_getter(name, what)
  local allowed = guard(name)
  return function()
    return num(allowed(), what)
  end
end


local HTTP_VERSIONS = { [9] = 0.9, [10] = 1, [11] = 1.1, [20] = 2, [30] = 3 }


-- Bodies that nginx put into a file. max: nil or negative refuses them, 0 has no limit.
local function file_body(path, max)
  if not max or max < 0 then
    return nil, "request body did not fit into client body buffer, consider raising 'client_body_buffer_size'"
  end
  local file, err = io.open(path, "rb")
  if not file then
    return nil, "failed to open cached request body '" .. path .. "': " .. err
  end
  local size = file:seek("end")
  if max > 0 and size > max then
    file:close()
    return nil, ("request body file too big: %d > %d"):format(size, max)
  end
  file:seek("set")
  local body = file:read("*a")
  file:close()
  return body
end


local function raw_body(max)
  ngx.req.read_body()
  local body = ngx.req.get_body_data()
  if body then
    return body
  end
  local path = ngx.req.get_body_file()
  if path then
    return file_body(path, max)
  end
  return ""
end


local function new(configuration)
  local _REQUEST = {}

  _REQUEST.get_scheme = string_getter("kong.request.get_scheme", C.SB_FFI_SCHEME)
  _REQUEST.get_host = string_getter("kong.request.get_host", C.SB_FFI_HOST)
  _REQUEST.get_port = number_getter("kong.request.get_port", C.SB_FFI_PORT)
  _REQUEST.get_forwarded_scheme = string_getter("kong.request.get_forwarded_scheme", C.SB_FFI_FORWARDED_SCHEME)
  _REQUEST.get_forwarded_host = string_getter("kong.request.get_forwarded_host", C.SB_FFI_FORWARDED_HOST)
  _REQUEST.get_forwarded_port = number_getter("kong.request.get_forwarded_port", C.SB_FFI_FORWARDED_PORT)
  _REQUEST.get_forwarded_path = string_getter("kong.request.get_forwarded_path", C.SB_FFI_FORWARDED_PATH)
  _REQUEST.get_forwarded_prefix = string_getter("kong.request.get_forwarded_prefix", C.SB_FFI_FORWARDED_PREFIX)
  _REQUEST.get_method = string_getter("kong.request.get_method", C.SB_FFI_METHOD)
  _REQUEST.get_raw_path = string_getter("kong.request.get_raw_path", C.SB_FFI_RAW_PATH)
  _REQUEST.get_path_with_query = string_getter("kong.request.get_path_with_query", C.SB_FFI_URI)
  _REQUEST.get_start_time = number_getter("kong.request.get_start_time", C.SB_FFI_START_MS)


  function _REQUEST.get_path()
    return str(sbffi.get_request(), C.SB_FFI_PATH)
  end


  local version_allowed = guard "kong.request.get_http_version"
  function _REQUEST.get_http_version()
    return HTTP_VERSIONS[num(version_allowed(), C.SB_FFI_HTTP_VERSION)]
  end


  local query_allowed = guard "kong.request.get_raw_query"
  function _REQUEST.get_raw_query()
    return str(query_allowed(), C.SB_FFI_QUERY) or ""
  end


  local arg_allowed = guard "kong.request.get_query_arg"
  function _REQUEST.get_query_arg(name)
    arg_allowed()
    if type(name) ~= "string" then
      error("query argument name must be a string", 2)
    end
    local value = ngx.req.get_uri_args(1000)[name]
    if type(value) == "table" then
      return value[1]
    end
    return value
  end


  local args_allowed = guard "kong.request.get_query"
  function _REQUEST.get_query(max_args)
    args_allowed()
    check.limit(max_args, "max_args")
    return ngx.req.get_uri_args(max_args or configuration.lua_max_uri_args or 100)
  end


  local header_allowed = guard "kong.request.get_header"
  function _REQUEST.get_header(name)
    local r = header_allowed()
    if type(name) ~= "string" then
      error("header name must be a string", 2)
    end
    if C.sb_ffi_request_header(r, name, #name, 0, out) == 1 then
      return sbffi.taken(out)
    end
  end


  local headers_allowed = guard "kong.request.get_headers"
  function _REQUEST.get_headers(max_headers)
    headers_allowed()
    check.limit(max_headers, "max_headers")
    return ngx.req.get_headers(max_headers or configuration.lua_max_req_headers or 100)
  end


  local raw_allowed = guard "kong.request.get_raw_body"
  function _REQUEST.get_raw_body(max_allowed_file_size)
    raw_allowed()
    return raw_body(max_allowed_file_size)
  end


  local body_allowed = guard "kong.request.get_body"
  function _REQUEST.get_body(mimetype, max_args, max_allowed_file_size)
    local r = body_allowed()
    check.limit(max_args, "max_args")
    local content_type = mimetype
    if not content_type and C.sb_ffi_request_header(r, "content-type", 12, 0, out) == 1 then
      content_type = sbffi.taken(out)
    end
    if not content_type then
      return nil, "missing content type"
    end
    if not bodies.known(content_type) then
      return nil, "unsupported content type '" .. content_type .. "'", content_type
    end
    local body, err = raw_body(max_allowed_file_size)
    if not body then
      return nil, err, bodies.known(content_type)
    end
    return bodies.decode(body, content_type, max_args or configuration.lua_max_post_args or 100)
  end


  local captures_allowed = guard "kong.request.get_uri_captures"
  function _REQUEST.get_uri_captures()
    local r = captures_allowed()
    local unnamed, named, n = {}, {}, 0
    while C.sb_ffi_capture(r, n, out2, out) == 1 do
      local value, name = sbffi.taken(out), sbffi.taken(out2)
      unnamed[n] = value
      if name then
        named[name] = value
      end
      n = n + 1
    end
    return { unnamed = unnamed, named = named }
  end


  return _REQUEST
end


return { new = new }
