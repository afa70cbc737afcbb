-- Runs Lua from its configuration, one piece per phase, and shows what it returned: as the header X-Probe-<Phase> where headers
-- can still be set, and in every phase as the log line "probe <phase> <value of the request header X-Case> <JSON>".

local cjson = require "cjson.safe"

local Probe = { PRIORITY = 900, VERSION = "1.0.0" }

local PART = 1000 -- a log line has room for some 2000 bytes

local compiled = {}


local function compile(code)
  local fn = compiled[code]
  if not fn then
    fn = assert(loadstring("local conf, cjson = ...; " .. code, "=probe"))
    compiled[code] = fn
  end
  return fn
end


local function show(phase, ok, ...)
  local n = select("#", ...)
  local values = {}
  for i = 1, n do
    local v = select(i, ...)
    values[i] = v == nil and cjson.null or v
  end
  local json = cjson.encode({ ok = ok, n = n, values = values }) or '{"ok":false,"n":1,"values":["not JSON"]}'
  local parts = math.ceil(#json / PART)
  for i = 1, parts do
    local part = json:sub((i - 1) * PART + 1, i * PART)
    ngx.log(ngx.NOTICE, "probe ", phase, " ", ngx.var.http_x_case or "-", " ", i, "/", parts, " ", part, " end")
  end
  if not ngx.headers_sent and phase ~= "body_filter" and phase ~= "log" then
    ngx.header["X-Probe-" .. phase:gsub("_", "-")] = json
  end
end


for _, phase in ipairs { "rewrite", "access", "header_filter", "body_filter", "log" } do
  Probe[phase] = function(_, conf)
    if conf[phase] then
      show(phase, pcall(compile(conf[phase]), conf, cjson))
    end
  end
end


return Probe
