-- HTTP: arguments, header names, media types.

local type, tostring, tonumber, pairs, ipairs = type, tostring, tonumber, pairs, ipairs
local concat, sort = table.concat, table.sort

local _M = {}


-- ------------------------------------------------------------------ arguments

local function key_order(a, b)
  if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
    return a < b
  end
  return tostring(a) < tostring(b)
end


local function sorted_keys(t)
  local keys = {}
  for k in pairs(t) do
    keys[#keys + 1] = k
  end
  sort(keys, key_order)
  return keys
end


local function add_argument(out, name, value, escape, no_array_indexes)
  if type(value) == "table" then
    for _, key in ipairs(sorted_keys(value)) do
      local sub = type(key) == "number" and no_array_indexes and "" or tostring(key)
      local full = type(key) == "number" and no_array_indexes and name .. "[]" or name .. "[" .. sub .. "]"
      add_argument(out, full, value[key], escape, no_array_indexes)
    end
  elseif value == true then
    out[#out + 1] = escape(name)
  elseif value ~= false and value ~= nil and value ~= "" then
    out[#out + 1] = escape(name) .. "=" .. escape(tostring(value))
  elseif value == "" then
    out[#out + 1] = escape(name) .. "="
  end
end


-- A query string of a table, nested names in brackets, ordered by name. raw: nothing is escaped.
function _M.encode_args(args, raw, no_array_indexes)
  local out = {}
  local escape = raw and function(s) return s end or ngx.escape_uri
  for _, key in ipairs(sorted_keys(args)) do
    add_argument(out, tostring(key), args[key], escape, no_array_indexes)
  end
  return concat(out, "&")
end


local function place(t, name, value)
  local head, rest = name:match("^([^%[]+)(.*)$")
  if not head then
    t[name] = value
    return
  end
  local key = tonumber(head) or head
  for part in rest:gmatch("%[([^%]]*)%]") do
    if type(t[key]) ~= "table" then
      t[key] = {}
    end
    t = t[key]
    key = part == "" and #t + 1 or tonumber(part) or part
  end
  t[key] = value
end


-- Names with brackets ("a[b]", "a[1]", "a[]") into nested tables.
function _M.decode_args(args)
  local out = {}
  for name, value in pairs(args) do
    place(out, tostring(name), value)
  end
  return out
end


-- ------------------------------------------------------------------ names

local TOKEN_CHARS = "^[^%c\127-\255 ()<>@,;:\\\"/?={}%[%]]+$"
local TOKEN_ERROR = "contains one or more invalid characters. ASCII control characters (0-31;127), space, tab and the " ..
                    "characters ()<>@,;:\\\"/?={}[] are not allowed."


function _M.validate_http_token(token)
  if token == nil or token == "" then
    return nil, "no token provided"
  end
  if not token:find(TOKEN_CHARS) then
    return nil, TOKEN_ERROR
  end
  return token
end


_M.validate_cookie_name = _M.validate_http_token


function _M.validate_header_name(name)
  if name == nil or name == "" then
    return nil, "no header name provided"
  end
  if not name:find("^[%w_%-]+$") then
    return nil, "bad header name '" .. name .. "', allowed characters are A-Z, a-z, 0-9, '_', and '-'"
  end
  return name
end


-- ------------------------------------------------------------------ media types and errors

_M.TYPES = {
  html = "text/html; charset=utf-8", json = "application/json; charset=utf-8", plain = "text/plain; charset=utf-8",
  xml = "application/xml; charset=utf-8", grpc = "application/grpc",
}

local BY_ACCEPT = {
  ["text/html"] = "html", ["application/json"] = "json", ["text/plain"] = "plain", ["text/xml"] = "xml",
  ["application/xml"] = "xml", ["application/grpc"] = "grpc", ["*/*"] = "json", ["application/*"] = "json", ["text/*"] = "plain",
}


-- The Content-Type that an Accept header asks for: highest q, then first; JSON when nothing fits.
function _M.get_response_type(accept_header)
  local best, best_q = "json", 0
  if type(accept_header) == "table" then
    accept_header = concat(accept_header, ",")
  end
  for item in (accept_header or "*/*"):gmatch("[^,]+") do
    local mime = item:match("^%s*([^;%s]+)")
    local q = tonumber(item:match(";%s*[qQ]=([%d.]+)")) or 1
    local kind = mime and BY_ACCEPT[mime:lower()]
    if kind and q > best_q then
      best, best_q = kind, q
    end
  end
  return _M.TYPES[best]
end


-- The gateway's Content-Type for a media type; use_default (default true): JSON when it has none for it.
function _M.get_mime_type(content_header, use_default)
  use_default = use_default ~= false
  local mime = type(content_header) == "string" and content_header:match("^%s*([^;%s]+)")
  local kind = mime and BY_ACCEPT[mime:lower()]
  if kind then
    return _M.TYPES[kind]
  end
  return use_default and _M.TYPES.json or nil
end


local EXIT_BODIES = { [401] = "Unauthorized", [404] = "Not found", [503] = "Service unavailable" }
local FORCED = { [405] = "Method not allowed", [500] = "An unexpected error occurred", [502] = "Bad gateway" }


-- The body text of a status; a message of the caller's counts except for 405, 500 and 502.
function _M.get_default_exit_body(status, message)
  return FORCED[status] or message or EXIT_BODIES[status]
end


local TEMPLATES = {
  [_M.TYPES.json] = '{\n  "message":"%s",\n  "request_id":"%s"\n}',
  [_M.TYPES.plain] = "%s\nrequest_id: %s\n",
  [_M.TYPES.xml] = '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n  <message>%s</message>\n' ..
                   "  <requestid>%s</requestid>\n</error>\n",
  [_M.TYPES.html] = '<!doctype html>\n<html>\n  <head>\n    <meta charset="utf-8">\n    <title>Error</title>\n  </head>\n' ..
                    "  <body>\n    <h1>Error</h1>\n    <p>%s.</p>\n    <p>request_id: %s</p>\n  </body>\n</html>\n",
  [_M.TYPES.grpc] = "",
}


-- With "%s" for message and request id. In a proxy the one that error bodies are made from: error_template_* may have replaced it.
function _M.get_error_template(mime_type)
  local template = TEMPLATES[mime_type]
  local sbffi = package.loaded["kong.silverback.ffi"]
  if template and sbffi and sbffi.C.sb_ffi_error_template(mime_type:match("^[^;]+"), sbffi.out) == 1 then
    return sbffi.taken(sbffi.out)
  end
  return template
end


-- ------------------------------------------------------------------ requests

-- Whether the client used HTTPS; allow_terminated: or says so through X-Forwarded-Proto and may be believed.
function _M.check_https(trusted_ip, allow_terminated)
  if ngx.var.scheme == "https" then
    return true
  end
  if not trusted_ip or not allow_terminated then
    return false
  end
  local proto = ngx.req.get_headers()["x-forwarded-proto"]
  if type(proto) == "table" then
    return nil, "Only one X-Forwarded-Proto header allowed"
  end
  return tostring(proto):lower() == "https"
end


function _M.get_header(name, _)
  local value = ngx.req.get_headers(1000)[name]
  if type(value) == "table" then
    return value[1]
  end
  return value
end


-- "a=1, b, c="x"" into { a = 1, b = true, c = "x" }, names in lower case.
function _M.parse_directive_header(h)
  local out = {}
  if type(h) == "table" then
    h = concat(h, ", ")
  end
  for item in (h or ""):gmatch("[^,]+") do
    local name, value = item:match("^%s*([^=%s]+)%s*=%s*\"?([^\"]*)\"?%s*$")
    if name then
      out[name:lower()] = tonumber(value) or value
    else
      name = item:match("^%s*(.-)%s*$")
      if name ~= "" then
        out[name:lower()] = true
      end
    end
  end
  return out
end


-- Seconds a response may be kept, by its Cache-Control directives or Expires; 0 when unknown.
function _M.calculate_resource_ttl(res_cc)
  local max_age = res_cc and (res_cc["s-maxage"] or res_cc["max-age"])
  if max_age then
    return tonumber(max_age) or 0
  end
  local expires = ngx.var.sent_http_expires
  local time = expires and ngx.parse_http_time(tostring(expires))
  return time and math.max(time - ngx.time(), 0) or 0
end


return _M
