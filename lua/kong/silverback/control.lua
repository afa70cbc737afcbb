-- Lua in the control instance: the schemas of Lua plugins, nothing else. Handlers run in proxy workers; here they are only loaded for
-- their PRIORITY and VERSION.
--
-- control.conf:  init_by_lua_block { require("kong.silverback.control").init("<prefix>") }
--
-- The functions of schemas (custom validators and the like) live in `functions`; C calls run() through an FFI callback, on the event
-- loop. They must not yield; they get what authors expect: values as tables, absent ones as ngx.null. Control does nothing else while one
-- runs, so one that does not end is stopped (limited()). Lua is not compiled here: compiled code could not be stopped.

local cjson = require "cjson.safe"
local ffi = require "ffi"
local loader = require "kong.silverback.loader"
local preflight = require "kong.silverback.preflight"
local schema_loader = require "kong.silverback.schema_loader"

local format = string.format

ffi.cdef [[
typedef void (*sb_ctl_call_pt)(int ref, const char *json, size_t len);
const char *sb_ctl_begin(const char *prefix, const char *lua_version);
const char *sb_ctl_plugin_name(int n);
const char *sb_ctl_plugin_schema_add(const char *name, const char *json, size_t len, int priority, const char *version);
void sb_ctl_commit(sb_ctl_call_pt call);
void sb_ctl_answer(int outcome, const char *data, size_t len);
]]

local C = ffi.C
local FINE, REFUSED, FIELDS, RAISED, STOPPED = 0, 1, 2, 3, 4
local TIME_LIMIT = 2 -- seconds of processor time that a function may take
local STEP = 100000  -- instructions between two looks at the clock

local clock, getinfo, sethook = os.clock, debug.getinfo, debug.sethook

local _M = {}

local functions = {} -- by reference: { fn, kind, plugin, where }


-- ---- calls from C ----

local CALL = {
  validator = function(fn, value) return fn(value) end,
  check = function(fn, value) return fn(value) end,
  shorthand = function(fn, value) return fn(value) end,
  transformation = function(fn, values) return fn(unpack(values, 1, table.maxn(values))) end,
}

local PRODUCES = { shorthand = true, transformation = true }


local function answer(outcome, data)
  data = data or ""
  C.sb_ctl_answer(outcome, data, #data)
end


local function answer_refusal(err)
  if type(err) ~= "table" then
    return answer(REFUSED, err ~= nil and tostring(err) or "")
  end
  local text, why = cjson.encode(err)
  if not text then
    return answer(RAISED, "its error is not JSON: " .. why)
  end
  return answer(FIELDS, text)
end


local function answer_result(kind, result, err)
  local produces = PRODUCES[kind]
  if result == false or (result == nil and (err ~= nil or not produces)) then
    return answer_refusal(err)
  end
  if result == nil or not produces then
    return answer(FINE)
  end
  local text, why = cjson.encode(result)
  if not text then
    return answer(RAISED, "its result is not JSON: " .. why)
  end
  return answer(FINE, text)
end


-- ---- the time limit ----

local deadline, stopped
local limited


-- An error that the function catches itself, as in `while true do pcall(f) end`, does not save it: from then on every instruction raises
-- one, outside of limited().
local function on_count()
  if clock() < deadline or getinfo(2, "f").func == limited then
    return
  end
  stopped = true
  sethook(on_count, "", 1)
  error("stopped", 0)
end


-- xpcall() with the time limit.
function limited(call, fn, value)
  deadline, stopped = clock() + TIME_LIMIT, false
  sethook(on_count, "", STEP)
  local ok, result, err = xpcall(call, debug.traceback, fn, value)
  sethook()
  return ok, result, err
end


local function name_of(entry)
  local info = getinfo(entry.fn, "S")
  local file = info.source:gsub("^@", "")
  return format("%s (%s:%d)", entry.where, file, info.linedefined)
end


local function run(ref, json, len)
  local entry = functions[ref]
  if not entry then
    return answer(RAISED, "no such function")
  end
  local value = cjson.decode(ffi.string(json, len))
  local ok, result, err = limited(CALL[entry.kind], entry.fn, value)
  if stopped then
    return answer(STOPPED, format("%s ran for more than %d seconds and was stopped", name_of(entry), TIME_LIMIT))
  end
  if not ok then
    return answer(RAISED, tostring(result))
  end
  return answer_result(entry.kind, result, err)
end

-- An error that escapes a callback would tear down the process.
local function run_safely(ref, json, len)
  local ok, err = pcall(run, ref, json, len)
  if not ok then
    answer(RAISED, tostring(err))
  end
end

-- ---- start ----

local function log_at(level)
  return function(...)
    ngx.log(level, "[kong] ", ...)
  end
end


-- A stand-in for `kong`: handlers may keep PDK functions in locals when they are loaded. Calling one here is an error that says why.
local function placeholder(path)
  return setmetatable({}, {
    __index = function(t, key)
      local child = placeholder(path .. "." .. tostring(key))
      rawset(t, key, child)
      return child
    end,
    __call = function()
      error(path .. " cannot be used in the control instance, where only schemas run", 2)
    end,
  })
end


local function define_kong()
  local kong = placeholder("kong")
  local log = setmetatable({}, { __index = getmetatable(kong).__index, __call = function(_, ...) log_at(ngx.NOTICE)(...) end })
  for _, level in ipairs { "debug", "info", "notice", "warn", "err", "crit", "alert", "emerg" } do
    log[level] = log_at(ngx[level:upper()])
  end
  rawset(kong, "log", log)
  local meta_ok, meta = pcall(require, "kong.meta")
  if meta_ok then
    rawset(kong, "version", meta.version or meta._VERSION)
  end
  rawset(_G, "kong", kong)
end


local function plugin_names()
  local names, n = {}, 0
  while true do
    local name = C.sb_ctl_plugin_name(n)
    if name == nil then
      return names
    end
    n = n + 1
    names[n] = ffi.string(name)
  end
end


-- References are numbered through all plugins; translate() numbered them from 1 for each.
local function renumber(json, base)
  if base == 0 then
    return json
  end
  return (json:gsub('{"lua_ref":(%d+)}', function(n) return '{"lua_ref":' .. (n + base) .. "}" end))
end


local function add(name)
  local handler, plugin, err
  handler, err = loader.load(name) -- first: its faults are the ones that the proxy finds as well
  if not handler then
    return err
  end
  plugin, err = schema_loader.load(name)
  if not plugin then
    return err
  end
  local base = #functions
  for _, entry in ipairs(plugin.functions) do
    functions[#functions + 1] = { fn = entry.fn, kind = entry.kind, plugin = name, where = entry.where }
  end
  local json = renumber(plugin.json, base)
  local fault = C.sb_ctl_plugin_schema_add(name, json, #json, handler.priority, handler.version)
  if fault ~= nil then
    fault = ffi.string(fault)
    return name .. " plugin: bad schema: " .. schema_loader.locate(plugin.file, fault:match("^field '([^']+)'"), fault)
  end
end


local function init(prefix)
  jit.off()
  jit.flush()
  define_kong()
  local failure = C.sb_ctl_begin(prefix, jit.version)
  if failure ~= nil then
    error("\n" .. ffi.string(failure), 0)
  end
  local faults = {}
  for _, name in ipairs(plugin_names()) do
    faults[#faults + 1] = add(name)
  end
  if #faults > 0 then
    error("\n" .. table.concat(faults, "\n"), 0)
  end
  _M.callback = ffi.cast("sb_ctl_call_pt", run_safely) -- kept: it lives as long as this Lua state
  C.sb_ctl_commit(_M.callback)
end


--- Loads every Lua plugin's schema and installs them. Raises an error that lists every fault, one per line.
function _M.init(prefix)
  return preflight.run(init, prefix)
end


return _M
