-- kong.service.response: what the service answered.

local bodies = require "kong.pdk.private.body"
local check = require "kong.pdk.private.check"
local sbffi = require "kong.silverback.ffi"

local C, out, out2, num = sbffi.C, sbffi.out, sbffi.out2, sbffi.num
local guard = check.guard
local type, error = type, error

-- Header tables answer any spelling of a name.
local headers_mt = {
  __index = function(headers, name)
    if type(name) == "string" then
      return rawget(headers, (name:lower():gsub("_", "-")))
    end
  end,
}


local function first(value)
  if type(value) == "table" then
    return value[1]
  end
  return value
end


local function read_headers(r, max)
  local headers, n = {}, 0
  while C.sb_ffi_service_header(r, n, out, out2) == 1 do
    if n == max then
      return setmetatable(headers, headers_mt), "truncated"
    end
    local name, value = sbffi.taken(out):lower(), sbffi.taken(out2)
    local before = headers[name]
    if before == nil then
      headers[name] = value
    elseif type(before) == "table" then
      before[#before + 1] = value
    else
      headers[name] = { before, value }
    end
    n = n + 1
  end
  return setmetatable(headers, headers_mt)
end


local function raw_body(r)
  if C.sb_ffi_captured_body(r, out) == 1 then
    return sbffi.taken(out)
  end
end


local function new(configuration)
  local _SRESPONSE = {}

  local status_allowed = guard "kong.service.response.get_status"
  function _SRESPONSE.get_status()
    return num(status_allowed(), C.SB_FFI_UPSTREAM_STATUS)
  end


  local headers_allowed = guard "kong.service.response.get_headers"
  function _SRESPONSE.get_headers(max_headers)
    local r = headers_allowed()
    check.limit(max_headers, "max_headers")
    return read_headers(r, max_headers or configuration.lua_max_resp_headers or 100)
  end


  local header_allowed = guard "kong.service.response.get_header"
  function _SRESPONSE.get_header(name)
    local r = header_allowed()
    if type(name) ~= "string" then
      error("name must be a string", 2)
    end
    return first(read_headers(r, 1000)[name])
  end


  local raw_allowed = guard "kong.service.response.get_raw_body"
  function _SRESPONSE.get_raw_body()
    local body = raw_body(raw_allowed())
    if not body then
      error("service body is only available with buffered proxying " ..
            "(see: kong.service.request.enable_buffering function)", 2)
    end
    return body
  end


  local body_allowed = guard "kong.service.response.get_body"
  function _SRESPONSE.get_body(mimetype, max_args)
    local r = body_allowed()
    if mimetype ~= nil and type(mimetype) ~= "string" then
      error("mimetype must be a string", 2)
    end
    check.limit(max_args, "max_args")
    local content_type = mimetype or first(read_headers(r, 1000)["content-type"])
    if not content_type then
      return nil, "missing content type"
    end
    local body = raw_body(r)
    if not body then
      error("service body is only available with buffered proxying " ..
            "(see: kong.service.request.enable_buffering function)", 2)
    end
    return bodies.decode(body, content_type, max_args or configuration.lua_max_post_args or 100)
  end


  return _SRESPONSE
end


return { new = new }
