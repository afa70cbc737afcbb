-- kong.log: lines in the error log, and the request as a table for log plugins.
--
-- A line names the caller's file and line and, in a plugin, the plugin. Nothing is formatted unless the level is on.

local check = require "kong.pdk.private.check"
local cjson = require "cjson.safe"
local errlog = require "ngx.errlog"
local inspect = require "kong.silverback.inspect"
local sbffi = require "kong.silverback.ffi"
local state = require "kong.silverback.state"

local C, get_request = sbffi.C, sbffi.get_request
local raw_log = errlog.raw_log
local getinfo, select, tostring, type, error, concat = debug.getinfo, select, tostring, type, error, table.concat

local LEVELS = { emerg = 1, alert = 2, crit = 3, err = 4, warn = 5, notice = 6, info = 7, debug = 8 }
local DEFAULT_FORMAT = "[kong] %file_src:%line_src %message"
local PLUGIN_FORMAT = "[kong] %file_src:%line_src [%namespace] %message"
local BOX = 120 -- columns of what inspect draws
local MODES = { set = 1, add = 2, replace = 3 }
local MODIFIERS = { file_src = true, line_src = true, func_name = true, namespace = true, message = true }


-- ngx_lua's numbers of levels start at 0 (stderr), as nginx's do.
local function enabled(level)
  return C.sb_ffi_log_enabled(get_request(), level) == 1
end


local function joined(...)
  local n = select("#", ...)
  if n == 1 then
    return tostring((...))
  end
  local parts = { ... }
  for i = 1, n do
    parts[i] = tostring(parts[i])
  end
  return concat(parts, "", 1, n)
end


local function plugin_name()
  local st = state.current()
  return st and st.plugin and st.plugin.name
end


-- depth: of the caller, as getinfo counts inside this function.
local function line(facility, depth, message)
  local namespace = facility.namespace or plugin_name()
  local format = facility.format or (namespace and PLUGIN_FORMAT or DEFAULT_FORMAT)
  local info = getinfo(depth, "Sln") or {}
  local values = {
    file_src = (info.short_src or "?"):match("([^/]*)$"), line_src = tostring(info.currentline or 0),
    func_name = info.name or "?", namespace = namespace or "", message = message,
  }
  return (format:gsub("%%([%a_]+)", values))
end


local function writer(facility, level)
  return function(...)
    if enabled(level) then
      raw_log(level, line(facility, 3, joined(...)))
    end
  end
end


-- ------------------------------------------------------------------ inspect

local function boxed(facility, ...)
  local parts = {}
  for i = 1, select("#", ...) do
    local value = select(i, ...)
    parts[i] = type(value) == "string" and value or inspect(value)
  end
  local text = concat(parts, " ")
  local rule = ("-"):rep(BOX - 2)
  local out = { line(facility, 4, ""), "+" .. rule .. "+" }
  for row in (text .. "\n"):gmatch("(.-)\n") do
    repeat
      local part = row:sub(1, BOX - 2)
      out[#out + 1] = "|" .. part .. (" "):rep(BOX - 2 - #part) .. "|"
      row = row:sub(BOX - 1)
    until row == ""
  end
  out[#out + 1] = "+" .. rule .. "+"
  return concat(out, "\n")
end


local function new_inspect(facility)
  local on = true
  return setmetatable({
    on = function() on = true end,
    off = function() on = false end,
  }, {
    __call = function(_, ...)
      if on and enabled(LEVELS.notice) then
        raw_log(LEVELS.notice, boxed(facility, ...))
      end
    end,
  })
end


-- ------------------------------------------------------------------ deprecation

local function deprecation(facility)
  return function(...)
    if not enabled(LEVELS.warn) then
      return
    end
    local n = select("#", ...)
    local last = select(n, ...)
    local parts, note = { ... }, ""
    if type(last) == "table" then
      parts[n] = nil
      n = n - 1
      if last.after and last.removal then
        note = " (deprecated after " .. last.after .. ", scheduled for removal in " .. last.removal .. ")"
      elseif last.after then
        note = " (deprecated after " .. last.after .. ")"
      elseif last.removal then
        note = " (scheduled for removal in " .. last.removal .. ")"
      end
    end
    raw_log(LEVELS.warn, line(facility, 3, joined(unpack(parts, 1, n)) .. note))
  end
end


-- ------------------------------------------------------------------ serialize

local function serializable(value, seen)
  local t = type(value)
  if t == "nil" or t == "number" or t == "string" or t == "boolean" then
    return true
  end
  if t ~= "table" or seen[value] then
    return false
  end
  seen[value] = true
  for k, v in pairs(value) do
    if (type(k) ~= "string" and type(k) ~= "number") or not serializable(v, seen) then
      return false
    end
  end
  seen[value] = nil
  return true
end


local function add_serializer(_LOG)
  local set_allowed = check.guard "kong.log.set_serialize_value"
  function _LOG.set_serialize_value(key, value, options)
    local r = set_allowed()
    if type(key) ~= "string" then
      error("key must be a string", 2)
    end
    if options ~= nil and type(options) ~= "table" then
      error("options must be a table", 2)
    end
    local mode = MODES[options and options.mode or "set"]
    if not mode then
      error("mode must be 'set', 'add' or 'replace'", 2)
    end
    if not serializable(value, {}) then
      error("value must be nil, a number, string, boolean or a non-self-referencial table containing numbers, " ..
            "string and booleans", 2)
    end
    local json = value ~= nil and cjson.encode(value) or nil
    C.sb_ffi_log_value(r, key, #key, json, json and #json or 0, mode)
  end


  local serialize_allowed = check.guard "kong.log.serialize"
  function _LOG.serialize()
    local r = serialize_allowed()
    if C.sb_ffi_log_serialize(r, sbffi.out) ~= C.SB_FFI_OK then
      return nil
    end
    return cjson.decode(sbffi.take_owned())
  end
end


-- ------------------------------------------------------------------ facilities

local function check_format(format)
  if type(format) ~= "string" then
    error("format must be a string if specified", 3)
  end
  for modifier in format:gmatch("%%([%a_]+)") do
    if not MODIFIERS[modifier] then
      error("unknown modifier in format: %" .. modifier, 3)
    end
  end
end


local function new_facility(namespace, format)
  local facility = { namespace = namespace, format = format }
  local _LOG = {}

  for name, level in pairs(LEVELS) do
    _LOG[name] = writer(facility, level)
  end
  _LOG.deprecation = deprecation(facility)
  _LOG.inspect = new_inspect(facility)

  function _LOG.set_format(text)
    if text ~= nil then
      check_format(text)
    end
    facility.format = text
  end


  function _LOG.new(name, text)
    if type(name) ~= "string" then
      error("namespace must be a string", 2)
    end
    if text ~= nil then
      check_format(text)
    end
    return new_facility(name, text)
  end


  return setmetatable(_LOG, {
    __call = function(_, ...)
      if enabled(LEVELS.notice) then
        raw_log(LEVELS.notice, line(facility, 3, joined(...)))
      end
    end,
  })
end


local function new()
  local _LOG = new_facility(nil, nil)
  add_serializer(_LOG)
  return _LOG
end


return { new = new }
