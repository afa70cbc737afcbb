-- Follows configuration changes in a worker: drops conf tables that are out of date and calls `configure` handlers.
--
-- C queues a change for each event on a plugin row. They are taken when a request enters Lua in rewrite or access, so that a
-- plugin never runs with a configuration its `configure` has not seen, and by a thread that waits on a semaphore, so that an
-- idle worker follows too. Only plugins that were touched are called, with all their configurations, or nil when none is left.

local cjson = require "cjson.safe"
local confs = require "kong.silverback.confs"
local sbffi = require "kong.silverback.ffi"
local state = require "kong.silverback.state"
local ffi = require "ffi"

local C, out = sbffi.C, sbffi.out
local ngx = ngx

local _M = {}

local CATCH_UP_SECONDS = 30

local id_buf = ffi.new("char[37]")
local version_buf = ffi.new("uint64_t[1]")

local handlers = {} -- plugin name → plugin, those with configure
local rows = {}     -- plugin name → { [plugin id] = conf }, of those
local name_of = {}  -- plugin id → name, of those
local running = 0      -- until when a catch_up has the right to run alone; 0: none runs


local function call(plugin)
  local list = {}
  for _, conf in pairs(rows[plugin.name]) do
    list[#list + 1] = conf
  end
  table.sort(list, function(a, b) return a.__plugin_id < b.__plugin_id end)
  local st = state.worker_state
  local before = st.plugin
  st.plugin = plugin
  local ok, err = xpcall(plugin.handler.configure, debug.traceback, plugin.handler, #list > 0 and list or nil)
  st.plugin = before
  if not ok then
    ngx.log(ngx.ERR, "[kong] plugin ", plugin.name, " failed in configure: ", tostring(err))
  end
end


local function keep(row, version)
  if handlers[row.name] and row.enabled ~= false then
    local conf, fault = confs.of_row(row, version)
    if fault then
      ngx.log(ngx.ERR, "[kong] plugin ", row.name, ", configuration ", row.id, ": ", fault)
    end
    rows[row.name][row.id] = conf
    name_of[row.id] = row.name
    return row.name
  end
end


local function drop(id)
  local name = name_of[id]
  if name then
    rows[name][id] = nil
    name_of[id] = nil
  end
  return name
end


local function load_all(name)
  rows[name] = {}
  if C.sb_ffi_plugin_rows(name, out) ~= C.SB_FFI_OK then
    return
  end
  for _, item in ipairs(cjson.decode(sbffi.take_owned()) or {}) do
    keep(item.row, item.version)
  end
end


-- One changed plugin row. Returns through `touched` the names whose configure is due.
local function apply(id, touched)
  local before, now = drop(id), nil
  local row, version
  if C.sb_ffi_row(nil, "plugins", nil, id, #id, out, version_buf) == C.SB_FFI_OK then
    version = tonumber(version_buf[0])
    row = cjson.decode(sbffi.take_owned())
  end
  confs.forget(id, version)
  if type(row) == "table" then
    now = keep(row, version)
  end
  touched[before or false], touched[now or false] = true, true
end


local function apply_everything(touched)
  for _, id in ipairs(confs.ids()) do
    apply(id, touched)
  end
  for name in pairs(handlers) do
    load_all(name)
    touched[name] = true
  end
end


-- Takes what waits. A change that arrives while handlers run is seen by the next call. A handler may yield and never come back
-- (its request ended), so the right to run alone expires.
function _M.catch_up()
  if running > ngx.now() then
    return
  end
  running = ngx.now() + CATCH_UP_SECONDS
  local touched = {}
  local kind = C.sb_ffi_change_take(id_buf)
  while kind ~= 0 do
    if kind == 2 then
      apply_everything(touched)
    else
      apply(ffi.string(id_buf, 36), touched)
    end
    kind = C.sb_ffi_change_take(id_buf)
  end
  for name, plugin in pairs(handlers) do
    if touched[name] then
      call(plugin)
    end
  end
  running = 0
end


local function follow(premature)
  if premature then
    return
  end
  local semaphore = require "ngx.semaphore"
  local sema = semaphore.new(0)
  C.sb_ffi_changes_sema(sema.sem)
  while not ngx.worker.exiting() do
    if sema:wait(3600) and not ngx.worker.exiting() then
      local ok, err = pcall(_M.catch_up)
      if not ok then
        running = 0
        ngx.log(ngx.ERR, "[kong] following configuration changes failed: ", err)
      end
    end
  end
  C.sb_ffi_changes_sema(nil)
end


-- At worker start: configure with what is there, then follow.
function _M.start(plugins)
  for _, plugin in ipairs(plugins) do
    if plugin.handler.configure then
      handlers[plugin.name] = plugin
      load_all(plugin.name)
    end
  end
  for _, plugin in ipairs(plugins) do
    if handlers[plugin.name] then
      call(plugin)
    end
  end
  if #plugins > 0 then
    local ok, err = ngx.timer.at(0, follow)
    if not ok then
      ngx.log(ngx.ERR, "[kong] cannot follow configuration changes: ", err)
    end
  end
end


return _M
