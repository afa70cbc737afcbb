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


  local pair_allowed = guard "kong.service.set_tls_cert_key"
  function _SERVICE.set_tls_cert_key(chain, key)
    local r = pair_allowed()
    if type(chain) ~= "cdata" then
      error("chain must be a parsed cdata object", 2)
    end
    if type(key) ~= "cdata" then
      error("key must be a parsed cdata object", 2)
    end
    if C.sb_ffi_upstream_tls_pair(r, chain, key) ~= C.SB_FFI_OK then
      return nil, "certificate and key cannot be used together"
    end
    return true
  end


  local verify_allowed = guard "kong.service.set_tls_verify"
  function _SERVICE.set_tls_verify(on)
    local r = verify_allowed()
    if type(on) ~= "boolean" then
      error("argument must be a boolean", 2)
    end
    if C.sb_ffi_upstream_tls_verify(r, on and 1 or 0) ~= C.SB_FFI_OK then
      return nil, "verification cannot be set"
    end
    return true
  end


  local depth_allowed = guard "kong.service.set_tls_verify_depth"
  function _SERVICE.set_tls_verify_depth(depth)
    local r = depth_allowed()
    if type(depth) ~= "number" then
      error("argument must be a number", 2)
    end
    if C.sb_ffi_upstream_tls_depth(r, depth) ~= C.SB_FFI_OK then
      return nil, "depth must not be negative"
    end
    return true
  end


  -- The store is a resty.openssl.x509.store, whose `ctx` is OpenSSL's.
  local store_allowed = guard "kong.service.set_tls_verify_store"
  function _SERVICE.set_tls_verify_store(store)
    local r = store_allowed()
    if type(store) ~= "table" or type(store.ctx) ~= "cdata" then
      error("argument must be a resty.openssl.x509.store object", 2)
    end
    if C.sb_ffi_upstream_tls_store(r, store.ctx) ~= C.SB_FFI_OK then
      return nil, "the store cannot be used"
    end
    return true
  end


  return _SERVICE
end


return { new = new }
