-- Times.

local ffi = require "ffi"

ffi.cdef [[
typedef struct sb_lua_timespec { long sec; long nsec; } sb_lua_timespec;
int clock_gettime(int clock, sb_lua_timespec *ts);
]]

local C = ffi.C
local floor, tonumber = math.floor, tonumber

local _M = {}

local REALTIME, MONOTONIC = 0, 1
local UNITS = { s = 1, m = 60, h = 3600, d = 86400, w = 604800, M = 2592000, y = 31536000 }

local ts = ffi.new("sb_lua_timespec")


-- Seconds of an nginx time ("1h 30m"); nil when it is none.
function _M.nginx_conf_time_to_seconds(str)
  local total, rest = 0, str:gsub("%s+", "")
  if rest == "" then
    return nil
  end
  while rest ~= "" do
    local number, unit, after = rest:match("^(%d+)(%a*)(.*)$")
    if not number then
      return nil
    end
    if unit == "ms" then
      total = total + tonumber(number) / 1000
    elseif unit == "" or UNITS[unit] then
      total = total + tonumber(number) * (UNITS[unit] or 1)
    else
      return nil
    end
    rest = after
  end
  return total
end


-- Nanoseconds of the clock.
function _M.time_ns()
  C.clock_gettime(REALTIME, ts)
  return tonumber(ts.sec) * 1e9 + tonumber(ts.nsec)
end


function _M.get_updated_now()
  ngx.update_time()
  return ngx.now()
end


function _M.get_now_ms()
  return floor(ngx.now() * 1000 + 0.5)
end


function _M.get_updated_now_ms()
  ngx.update_time()
  return _M.get_now_ms()
end


function _M.get_start_time_ms()
  return floor(ngx.req.start_time() * 1000 + 0.5)
end


function _M.get_updated_monotonic_ms()
  C.clock_gettime(MONOTONIC, ts)
  return tonumber(ts.sec) * 1000 + floor(tonumber(ts.nsec) / 1e6)
end


return _M
