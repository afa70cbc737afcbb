-- kong.service.request: what is sent to the service.

local args = require "kong.pdk.private.args"
local bodies = require "kong.pdk.private.body"
local check = require "kong.pdk.private.check"
local cjson = require "cjson.safe"
local multipart = require "kong.pdk.private.multipart"
local sbffi = require "kong.silverback.ffi"
local uri = require "kong.tools.uri"

local C, str = sbffi.C, sbffi.str
local guard = check.guard
local type, error = type, error
local ngx = ngx

local METHODS = {}
for method in ("GET HEAD PUT POST DELETE OPTIONS MKCOL COPY MOVE PROPFIND PROPPATCH LOCK UNLOCK PATCH TRACE"):gmatch("%u+") do
  METHODS[method] = true
end


local function header(r, op, name, value)
  C.sb_ffi_upstream_header(r, op, name, #name, value, #value)
end


-- Replaces what is there by the value, or the values of an array.
local function set_header(r, name, value)
  local op = C.SB_FFI_SET
  if type(value) == "table" and #value == 0 then
    header(r, C.SB_FFI_CLEAR, name, "")
    return
  end
  check.each_value(value, function(text)
    header(r, op, name, text)
    op = C.SB_FFI_ADD
  end)
end


-- ":authority" means something to gRPC services only.
local function check_authority(r, name)
  if name:lower() == ":authority" and C.sb_ffi_get_num(r, C.SB_FFI_IS_GRPC) ~= 1 then
    error("pseudo-header :authority can only be set for gRPC services", 3)
  end
end


local function random_boundary()
  local out = {}
  for i = 1, 24 do
    local n = math.random(0, 61)
    out[i] = string.char(n < 10 and 48 + n or n < 36 and 55 + n or 61 + n)
  end
  return table.concat(out)
end


-- Body and Content-Type of `values` as a media type.
local ENCODE = {
  [bodies.FORM] = function(values, content_type)
    local body, err = args.encode(values)
    return body, err, content_type
  end,

  [bodies.JSON] = function(values, content_type)
    local body, err = cjson.encode(values)
    return body, err, content_type
  end,

  [bodies.MULTIPART] = function(values, content_type)
    local boundary = multipart.boundary(content_type)
    if not boundary then
      boundary = random_boundary()
      content_type = bodies.MULTIPART .. "; boundary=" .. boundary
    end
    return multipart.encode(values, boundary), nil, content_type
  end,
}


local function new()
  local _SREQUEST = {}

  local buffering_allowed = guard "kong.service.request.enable_buffering"
  function _SREQUEST.enable_buffering()
    local r = buffering_allowed()
    C.sb_ffi_enable_buffering(r)
  end


  local scheme_allowed = guard "kong.service.request.set_scheme"
  function _SREQUEST.set_scheme(scheme)
    local r = scheme_allowed()
    check.string(scheme, "scheme")
    if scheme ~= "http" and scheme ~= "https" then
      error("invalid scheme: " .. scheme, 2)
    end
    C.sb_ffi_upstream_scheme(r, scheme, #scheme)
  end


  local path_allowed = guard "kong.service.request.set_path"
  function _SREQUEST.set_path(path)
    local r = path_allowed()
    check.string(path, "path")
    if path:sub(1, 1) ~= "/" then
      error("path must start with /", 2)
    end
    path = uri.escape(path)
    C.sb_ffi_upstream_path(r, path, #path)
  end


  local raw_query_allowed = guard "kong.service.request.set_raw_query"
  function _SREQUEST.set_raw_query(query)
    local r = raw_query_allowed()
    check.string(query, "query")
    C.sb_ffi_upstream_query(r, query, #query)
  end


  local method_allowed = guard "kong.service.request.set_method"
  function _SREQUEST.set_method(method)
    local r = method_allowed()
    check.string(method, "method")
    if not METHODS[method] then
      error("invalid method: " .. method, 2)
    end
    C.sb_ffi_upstream_method(r, method, #method)
  end


  local query_allowed = guard "kong.service.request.set_query"
  function _SREQUEST.set_query(query_args)
    local r = query_allowed()
    if type(query_args) ~= "table" then
      error("args must be a table", 2)
    end
    local query, err = args.encode(query_args)
    if not query then
      error(err, 2)
    end
    C.sb_ffi_upstream_query(r, query, #query)
  end


  local clear_arg_allowed = guard "kong.service.request.clear_query_arg"
  function _SREQUEST.clear_query_arg(name)
    local r = clear_arg_allowed()
    check.string(name, "query argument name")
    local query = args.without(str(r, C.SB_FFI_QUERY) or "", name)
    C.sb_ffi_upstream_query(r, query, #query)
  end


  local set_header_allowed = guard "kong.service.request.set_header"
  function _SREQUEST.set_header(name, value)
    local r = set_header_allowed()
    check.header(name, value)
    check_authority(r, name)
    set_header(r, name, value)
  end


  local add_header_allowed = guard "kong.service.request.add_header"
  function _SREQUEST.add_header(name, value)
    local r = add_header_allowed()
    check.header(name, value)
    check_authority(r, name)
    check.each_value(value, function(text)
      header(r, name:lower() == "host" and C.SB_FFI_SET or C.SB_FFI_ADD, name, text)
    end)
  end


  local clear_header_allowed = guard "kong.service.request.clear_header"
  function _SREQUEST.clear_header(name)
    local r = clear_header_allowed()
    if type(name) ~= "string" then
      error("header must be a string", 2)
    end
    header(r, C.SB_FFI_CLEAR, name, "")
  end


  local set_headers_allowed = guard "kong.service.request.set_headers"
  function _SREQUEST.set_headers(headers)
    local r = set_headers_allowed()
    check.headers(headers)
    for name, value in pairs(headers) do
      check_authority(r, name)
      set_header(r, name, value)
    end
  end


  local raw_body_allowed = guard "kong.service.request.set_raw_body"
  function _SREQUEST.set_raw_body(body)
    raw_body_allowed()
    check.string(body, "body")
    ngx.req.read_body() -- what the client sent is taken off the connection first
    ngx.req.set_body_data(body)
  end


  local body_allowed = guard "kong.service.request.set_body"
  function _SREQUEST.set_body(values, mime)
    local r = body_allowed()
    if type(values) ~= "table" then
      error("args must be a table", 2)
    end
    if mime ~= nil and type(mime) ~= "string" then
      error("mime must be a string", 2)
    end
    if not mime and C.sb_ffi_request_header(r, "content-type", 12, 0, sbffi.out) == 1 then
      mime = sbffi.taken(sbffi.out)
    end
    if not mime then
      return nil, "content type was neither explicitly given as an argument or received as a header"
    end
    local known = bodies.known(mime)
    if not known then
      return nil, "unsupported content type " .. mime
    end
    local body, err, content_type = ENCODE[known](values, mime)
    if not body then
      return nil, err
    end
    ngx.req.read_body()
    ngx.req.set_body_data(body)
    set_header(r, "Content-Type", content_type)
    return true
  end


  return _SREQUEST
end


return { new = new }
