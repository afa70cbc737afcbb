-- kong.service: where the request goes.

local check = require "kong.pdk.private.check"
local sbffi = require "kong.silverback.ffi"

local C = sbffi.C
local guard = check.guard


local function new()
  local _SERVICE = {}

  local upstream_allowed = guard "kong.service.set_upstream"
  function _SERVICE.set_upstream(host)
    local r = upstream_allowed()
    check.string(host, "host")
    if C.sb_ffi_upstream_name(r, host, #host) ~= C.SB_FFI_OK then
      return nil, "could not find an Upstream named '" .. host .. "'"
    end
    return true
  end


  local target_allowed = guard "kong.service.set_target"
  function _SERVICE.set_target(host, port)
    local r = target_allowed()
    check.string(host, "host")
    check.integer(port, "port", 0, 65535)
    C.sb_ffi_upstream_target(r, host, #host, port)
  end


  local retries_allowed = guard "kong.service.set_retries"
  function _SERVICE.set_retries(retries)
    local r = retries_allowed()
    check.integer(retries, "retries", 0, 32767)
    C.sb_ffi_upstream_retries(r, retries)
  end


  local timeouts_allowed = guard "kong.service.set_timeouts"
  function _SERVICE.set_timeouts(connect_timeout, write_timeout, read_timeout)
    local r = timeouts_allowed()
    check.integer(connect_timeout, "connect_timeout", 1, 2147483646)
    check.integer(write_timeout, "write_timeout", 1, 2147483646)
    check.integer(read_timeout, "read_timeout", 1, 2147483646)
    C.sb_ffi_upstream_timeouts(r, connect_timeout, write_timeout, read_timeout)
  end


  return _SERVICE
end


return { new = new }
