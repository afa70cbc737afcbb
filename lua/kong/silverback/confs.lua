-- Plugin configurations as Lua tables.
--
-- A configuration is decoded once per (plugin id, row version) and keeps its identity until the row changes, whatever happens to
-- the steps that plans hold of it. A step is found by its serial, a number that C never uses twice in a worker; an entry lives
-- while it is current (by_id) or a step that uses it does (by_serial).

local cjson = require "cjson.safe"
local defaults = require "kong.silverback.defaults"
local sbffi = require "kong.silverback.ffi"
local state = require "kong.silverback.state"
local transformations = require "kong.silverback.transformations"
local ffi = require "ffi"

local C = sbffi.C
local ffi_string, pcall, tonumber, tostring = ffi.string, pcall, tonumber, tostring

local _M = {}

local BATCH = 64

local by_serial = {} -- step serial → entry { plugin, conf, id, version }
local by_id = {}     -- plugin id → current entry
local plugins = {}   -- plugin name → loaded plugin
local sequence = 0

local facts = ffi.new("sb_ffi_step_facts")
local serials = ffi.new("uint64_t[?]", BATCH)


-- Tells which plugins there are: the loader's records by name.
function _M.set_plugins(by_name)
  plugins = by_name
end


-- The table that handlers get. `ids` holds what the plugin row says besides its config.
local function make_conf(config, ids)
  local conf = state.without_nulls(type(config) == "table" and config or {})
  local ws = ids.ws_id or sbffi.node(C.SB_FFI_DEFAULT_WS)
  sequence = sequence + 1
  conf.route_id, conf.service_id, conf.consumer_id = ids.route_id, ids.service_id, ids.consumer_id
  conf.plugin_instance_name = ids.instance_name
  conf.__plugin_id, conf.__ws_id, conf.__seq__ = ids.id, ws, sequence
  conf.__key__ = "plugins:" .. ids.name .. ":" .. (ids.route_id or "") .. ":" .. (ids.service_id or "") .. ":" ..
                 (ids.consumer_id or "") .. ":" .. (ids.group_id or "") .. ":" .. (ws or "")
  return conf
end


local function reference(id)
  return id and { id = id }
end


-- Runs the schema's on_read functions on a stored config, in place. Returns nothing, or what is wrong.
local function read_config(plugin, config, ids)
  local ok, done, err = pcall(transformations.read, plugin.readers, {
    id = ids.id, name = ids.name, instance_name = ids.instance_name, config = config, route = reference(ids.route_id),
    service = reference(ids.service_id), consumer = reference(ids.consumer_id), consumer_group = reference(ids.group_id),
  })
  if not ok or not done then
    return "transformation failed: " .. tostring(ok and err or done)
  end
end


-- Makes an entry, and the current one unless a newer is known. One with a `fault` has no conf and is not kept: the next to want it tries
-- again.
local function new_entry(version, config, ids)
  local plugin = plugins[ids.name]
  if plugin and plugin.readers and type(config) == "table" then
    local fault = read_config(plugin, config, ids)
    if fault then
      return { id = ids.id, version = version, plugin = plugin, fault = fault }
    end
  end
  if plugin and plugin.config_def and type(config) == "table" then
    defaults.fill(plugin.config_def, config)
  end
  local entry = { id = ids.id, version = version, conf = make_conf(config, ids), plugin = plugin }
  local current = by_id[ids.id]
  if not current or current.version <= version then
    by_id[ids.id] = entry
  end
  return entry
end


local function drop_released()
  repeat
    local n = tonumber(C.sb_ffi_steps_released(serials, BATCH))
    for i = 0, n - 1 do
      by_serial[tonumber(serials[i])] = nil
    end
  until n < BATCH
end


local function text(cstr)
  local s = ffi_string(cstr)
  if s ~= "" then
    return s
  end
end


local function bind(step, serial)
  drop_released()
  C.sb_ffi_step_facts_get(step.step, facts)
  local id, version = text(facts.id), tonumber(facts.version)
  local entry = by_id[id]
  if not entry or entry.version ~= version then
    local config = cjson.decode(ffi_string(facts.config.data, facts.config.len))
    entry = new_entry(version, config, {
      id = id, name = text(facts.name), route_id = text(facts.route_id), service_id = text(facts.service_id),
      consumer_id = text(facts.consumer_id), group_id = text(facts.group_id), ws_id = text(facts.ws_id),
      instance_name = text(facts.instance_name),
    })
  end
  if not entry.fault then
    by_serial[serial] = entry
  end
  return entry
end


-- The entry { plugin, conf, … } of a chain step, or { plugin, fault }.
function _M.of_step(step)
  local serial = tonumber(step.serial)
  return by_serial[serial] or bind(step, serial)
end


local function id_of(foreign)
  return type(foreign) == "table" and foreign.id or nil
end


local function not_null(value)
  if value ~= cjson.null then
    return value
  end
end


-- The conf table of a plugin row; or nil and what is wrong with it.
function _M.of_row(row, version)
  local entry = by_id[row.id]
  if not entry or entry.version ~= version then
    entry = new_entry(version, row.config, {
      id = row.id, name = row.name, route_id = id_of(row.route), service_id = id_of(row.service),
      consumer_id = id_of(row.consumer), group_id = id_of(row.consumer_group), ws_id = not_null(row.ws_id),
      instance_name = not_null(row.instance_name),
    })
  end
  return entry.conf, entry.fault
end


-- Forgets the current entry of a plugin, unless it is of this version.
function _M.forget(id, version)
  local entry = by_id[id]
  if entry and entry.version ~= version then
    by_id[id] = nil
  end
end


-- Ids of all current entries.
function _M.ids()
  local ids = {}
  for id in pairs(by_id) do
    ids[#ids + 1] = id
  end
  return ids
end


return _M
