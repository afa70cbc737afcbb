-- The small namespaces: kong.table, kong.ip, kong.node, kong.nginx, kong.plugin.

local sbffi = require "kong.silverback.ffi"
local state = require "kong.silverback.state"
local ffi = require "ffi"

local C = sbffi.C
local type, error, tonumber = type, error, tonumber
local ngx = ngx

local _M = {}

local UNITS = { b = 1, k = 1024, m = 1024 ^ 2, g = 1024 ^ 3 }


function _M.table()
  local new_tab = require "table.new"
  local clear_tab = require "table.clear"

  return {
    new = function(narr, nrec)
      return new_tab(narr or 0, nrec or 0)
    end,

    clear = clear_tab,

    merge = function(t1, t2)
      local merged = {}
      for k, v in pairs(t1 or {}) do
        merged[k] = v
      end
      for k, v in pairs(t2 or {}) do
        merged[k] = v
      end
      return merged
    end,
  }
end


function _M.ip()
  return {
    is_trusted = function(address)
      if type(address) ~= "string" then
        error("address must be a string", 2)
      end
      return C.sb_ffi_ip_trusted(address, #address) == 1
    end,
  }
end


-- Bytes in the unit asked for: a number for bytes, text such as "1.50 MiB" otherwise.
local function in_unit(bytes, unit, scale)
  if unit == "b" then
    return bytes
  end
  local names = { k = "KiB", m = "MiB", g = "GiB" }
  return ("%." .. scale .. "f %s"):format(bytes / UNITS[unit], names[unit])
end


local function lua_vms(unit, scale)
  local list = {}
  local pid, kilobytes = ffi.new("double[1]"), ffi.new("double[1]")
  local n = 0
  C.sb_ffi_report_gc(collectgarbage("count"))
  while C.sb_ffi_worker_gc(n, pid, kilobytes) == 1 do
    n = n + 1
    list[n] = { pid = tonumber(pid[0]), http_allocated_gc = in_unit(kilobytes[0] * 1024, unit, scale) }
  end
  return list
end


local function shared_dicts(unit, scale)
  local dicts = {}
  for name, dict in pairs(ngx.shared) do
    local capacity = dict:capacity()
    dicts[name] = {
      capacity = in_unit(capacity, unit, scale), allocated_slabs = in_unit(capacity - dict:free_space(), unit, scale),
    }
  end
  return dicts
end


function _M.node()
  return {
    get_id = function()
      return sbffi.node(C.SB_FFI_NODE_ID)
    end,

    get_hostname = function()
      return sbffi.node(C.SB_FFI_HOSTNAME)
    end,

    get_memory_stats = function(unit, scale)
      unit, scale = unit or "b", scale or 2
      if type(unit) ~= "string" or not UNITS[unit:lower()] then
        error("invalid unit '" .. tostring(unit) .. "' (expected 'k/K', 'm/M', or 'g/G')", 2)
      end
      if type(scale) ~= "number" then
        error("scale must be a number", 2)
      end
      unit = unit:lower()
      return { workers_lua_vms = lua_vms(unit, scale), lua_shared_dicts = shared_dicts(unit, scale) }
    end,
  }
end


function _M.nginx()
  return {
    get_subsystem = function()
      return ngx.config.subsystem
    end,

    get_statistics = function()
      local n = ffi.new("double[7]")
      C.sb_ffi_statistics(n)
      return {
        connections_active = tonumber(n[0]), connections_reading = tonumber(n[1]), connections_writing = tonumber(n[2]),
        connections_waiting = tonumber(n[3]), connections_accepted = tonumber(n[4]), connections_handled = tonumber(n[5]),
        total_requests = tonumber(n[6]),
      }
    end,
  }
end


function _M.plugin()
  return {
    get_id = function()
      local st = state.current()
      local entry = st and st.entry
      return entry and entry.id
    end,
  }
end


return _M
