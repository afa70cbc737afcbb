-- The driver: what the proxy's nginx configuration calls in each phase (list in include/silverback/sb_ffi.h).
--
-- C walks the plugin chain and runs native steps; each time the next step is a Lua one, sb_ffi_chain_next() returns here and its
-- handler is run under xpcall. So native and Lua plugins interleave exactly by priority, and a chain without Lua never gets here.
-- Start reading at access().

local configure = require "kong.silverback.configure"
local confs = require "kong.silverback.confs"
local cosocket = require "kong.silverback.cosocket"
local defaults = require "kong.silverback.defaults"
local inspect = require "kong.silverback.inspect"
local loader = require "kong.silverback.loader"
local phases = require "kong.silverback.phases"
local preflight = require "kong.silverback.preflight"
local sbffi = require "kong.silverback.ffi"
local schema_loader = require "kong.silverback.schema_loader"
local semaphore = require "ngx.semaphore"
local state = require "kong.silverback.state"
local transformations = require "kong.silverback.transformations"
local ffi = require "ffi"

local C, get_request = sbffi.C, sbffi.get_request
local ffi_string = ffi.string
local xpcall, traceback = xpcall, debug.traceback
local ngx = ngx

local _M = {}

local P = phases.NUMBER
local ACCESS, REWRITE, RESPONSE, HEADER_FILTER, BODY_FILTER, LOG, CERTIFICATE =
  P.access, P.rewrite, P.response, P.header_filter, P.body_filter, P.log, P.certificate

local WAIT_SECONDS = 86400 -- longer than any upstream timeout: what is waited for always ends by itself

local plugins = {} -- as they run

local step = ffi.new("sb_ffi_step[1]")
local chunk = ffi.new("sb_ffi_str[1]")
local changed = ffi.new("int[1]")


-- What is logged of an error, which may be any value.
local function explain(err)
  return traceback(type(err) == "string" and err or inspect(err), 2)
end


-- ------------------------------------------------------------------ start

local function wanted_names()
  local names, n = {}, 0
  while C.sb_ffi_lua_plugin_name(n, sbffi.out) == 1 do
    n = n + 1
    names[n] = sbffi.taken(sbffi.out)
  end
  return names
end


-- Each plugin's definition of its configuration, for the defaults of fields that stored configurations lack, and what its schema does to
-- a configuration that is read.
local function load_schemas(list)
  local faults = {}
  for _, plugin in ipairs(list) do
    local loaded, err = schema_loader.load(plugin.name)
    if loaded then
      plugin.config_def = defaults.config_of(loaded.schema)
      plugin.readers = transformations.readers(loaded.schema)
    else
      faults[#faults + 1] = err
    end
  end
  if #faults > 0 then
    error("\n" .. table.concat(faults, "\n"), 0)
  end
end


-- Sockets are taught the gateway's names first: plugins may keep ngx.socket.tcp in a local when they are loaded.
local function init()
  cosocket.install()
  local kong = require("kong.pdk").new()
  rawset(_G, "kong", kong)
  local list, err = loader.load_all(wanted_names())
  if not list then
    error("\n" .. err, 0)
  end
  load_schemas(list)
  plugins = list
  local by_name = {}
  for _, plugin in ipairs(list) do
    by_name[plugin.name] = plugin
    C.sb_ffi_plugin_register(plugin.name, plugin.priority, plugin.phases)
  end
  confs.set_plugins(by_name)
end


-- init_by_lua: the PDK, then every enabled Lua plugin. Errors end the start.
function _M.init()
  return preflight.run(init)
end


local function report_gc(premature)
  C.sb_ffi_report_gc(collectgarbage("count"))
  if not premature then
    ngx.timer.at(10, report_gc)
  end
end


-- init_worker_by_lua.
function _M.init_worker()
  math.randomseed(ngx.now() * 1000 + ngx.worker.pid() * 65537)
  local st = state.worker_state
  for _, plugin in ipairs(plugins) do
    if plugin.handler.init_worker then
      st.plugin = plugin
      local ok, err = xpcall(plugin.handler.init_worker, explain, plugin.handler)
      if not ok then
        ngx.log(ngx.ERR, "[kong] plugin ", plugin.name, " failed in init_worker: ", err)
      end
    end
  end
  st.plugin = nil
  configure.start(plugins)
  report_gc(false)
  C.sb_ffi_worker_ready()
end


-- ------------------------------------------------------------------ steps

local function log_failure(plugin, phase, err)
  ngx.log(ngx.ERR, "[kong] plugin ", plugin.name, " failed in ", phases.NAME[phase], ": ", err)
end


-- Runs one Lua step. True when its handler ended without an error.
local function run_step(st, entry, phase, name)
  if entry.fault then
    log_failure(entry.plugin, phase, entry.fault)
    return false
  end
  local handler = entry.plugin.handler
  local outer_plugin, outer_entry = st.plugin, st.entry
  st.plugin, st.entry = entry.plugin, entry
  local ok, err = xpcall(handler[name], explain, handler, entry.conf)
  st.plugin, st.entry = outer_plugin, outer_entry
  if not ok then
    log_failure(entry.plugin, phase, err)
  end
  return ok
end


-- Waits until C posts: the end of a capture, or a native step that goes on. The semaphore lives as long as this waits.
local function wait(r, start)
  local sema = semaphore.new(0)
  C.sb_ffi_wait_on(r, sema.sem)
  if start and start(r) ~= C.SB_FFI_OK then
    return nil, "it could not be started"
  end
  local ok, err = sema:wait(WAIT_SECONDS)
  C.sb_ffi_wait_on(r, nil)
  return ok, err
end


-- Walks the chain of a phase that may yield. True when it ended without a response.
local function run_chain(st, r, phase, name)
  while true do
    local rc = C.sb_ffi_chain_next(r, phase, step)
    if rc == C.SB_FFI_STEP then
      if not run_step(st, confs.of_step(step[0]), phase, name) then
        C.sb_ffi_fail(r)
        return false
      end
    elseif rc == C.SB_FFI_WAIT then
      wait(r)
    else
      return rc == C.SB_FFI_DONE
    end
  end
end


-- Walks the chain of a phase that cannot yield; errors are only logged.
local function run_filters(st, r, phase, name)
  while C.sb_ffi_chain_next(r, phase, step) == C.SB_FFI_STEP do
    run_step(st, confs.of_step(step[0]), phase, name)
  end
end


-- ------------------------------------------------------------------ phases

-- In a handshake, when a global plugin has the handler; the request is one that nginx makes up for it.
function _M.certificate()
  local r = get_request()
  if C.sb_ffi_enter_certificate(r) == 0 then
    return
  end
  if C.sb_ffi_changes_pending() > 0 then
    configure.catch_up()
  end
  run_filters(state.enter(), r, CERTIFICATE, "certificate")
end


function _M.rewrite()
  local r = get_request()
  if C.sb_ffi_enter(r, REWRITE) == 0 then
    return
  end
  if C.sb_ffi_changes_pending() > 0 then
    configure.catch_up()
  end
  run_chain(state.enter(), r, REWRITE, "rewrite")
end


-- The exchange with the service, buffered, then the response handlers.
local function respond(st, r)
  local ok, err = wait(r, C.sb_ffi_capture_start)
  if not ok then
    ngx.log(ngx.ERR, "[kong] the buffered exchange with the service failed: ", err)
    C.sb_ffi_fail(r)
    return
  end
  if C.sb_ffi_begin_response(r) == 1 and run_chain(st, r, RESPONSE, "response") then
    C.sb_ffi_capture_commit(r)
  end
end


function _M.access()
  local r = get_request()
  if C.sb_ffi_enter(r, ACCESS) == 0 then
    return
  end
  if C.sb_ffi_changes_pending() > 0 then
    configure.catch_up()
  end
  local st = state.enter()
  if run_chain(st, r, ACCESS, "access") and C.sb_ffi_wants_capture(r) == 1 then
    respond(st, r)
  end
end


function _M.header_filter()
  local r = get_request()
  if C.sb_ffi_enter(r, HEADER_FILTER) == 0 then
    return
  end
  run_filters(state.enter(), r, HEADER_FILTER, "header_filter")
end


-- The chunk is handed to C as it stands, because native steps between Lua ones see it too.
local function next_body_step(r, data, eof)
  chunk[0].data, chunk[0].len = data, #data
  changed[0] = 0
  local rc = C.sb_ffi_chain_next_body(r, step, chunk, eof and 1 or 0, changed)
  if changed[0] ~= 0 then
    ngx.arg[1] = ffi_string(chunk[0].data, chunk[0].len)
  end
  return rc
end


function _M.body_filter()
  local r = get_request()
  if C.sb_ffi_enter(r, BODY_FILTER) == 0 then
    return
  end
  local st = state.enter()
  while true do
    local data = ngx.arg[1]
    if next_body_step(r, data, ngx.arg[2]) ~= C.SB_FFI_STEP then
      break
    end
    run_step(st, confs.of_step(step[0]), BODY_FILTER, "body_filter")
  end
end


function _M.log()
  local r = get_request()
  if C.sb_ffi_enter(r, LOG) == 0 then
    return
  end
  run_filters(state.enter(), r, LOG, "log")
end


return _M
