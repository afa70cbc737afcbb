-- kong.client.tls: the client's side of a TLS connection.

local check = require "kong.pdk.private.check"
local sbffi = require "kong.silverback.ffi"

local C = sbffi.C
local guard = check.guard


local function new()
  local _TLS = {}

  local request_allowed = guard "kong.client.tls.request_client_certificate"
  function _TLS.request_client_certificate(ca_certs)
    local r = request_allowed()
    if ca_certs ~= nil and type(ca_certs) ~= "cdata" then
      error("ca_certs must be a parsed certificate chain (cdata) or nil", 2)
    end
    if C.sb_ffi_client_request_certificate(r, ca_certs) ~= C.SB_FFI_OK then
      return nil, "not a TLS connection"
    end
    return true
  end


  local reuse_allowed = guard "kong.client.tls.disable_session_reuse"
  function _TLS.disable_session_reuse()
    local r = reuse_allowed()
    if C.sb_ffi_client_disable_session_reuse(r) ~= C.SB_FFI_OK then
      return nil, "session reuse cannot be disabled on this connection"
    end
    return true
  end


  local chain_allowed = guard "kong.client.tls.get_full_client_certificate_chain"
  function _TLS.get_full_client_certificate_chain()
    local r = chain_allowed()
    if C.sb_ffi_client_chain(r, sbffi.out) == 1 then
      return sbffi.take_owned()
    end
    return nil
  end


  local verify_allowed = guard "kong.client.tls.set_client_verify"
  function _TLS.set_client_verify(v)
    local r = verify_allowed()
    check.string(v, "v")
    if v ~= "SUCCESS" and v ~= "NONE" and v:sub(1, 7) ~= "FAILED:" then
      error("v must be \"SUCCESS\", \"NONE\" or begin with \"FAILED:\"", 2)
    end
    C.sb_ffi_client_verify(r, v, #v)
    ngx.ctx.CLIENT_VERIFY_OVERRIDE = v
  end


  return _TLS
end


return { new = new }
