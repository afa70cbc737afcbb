-- kong.client: who is calling.

local check = require "kong.pdk.private.check"
local sbffi = require "kong.silverback.ffi"
local state = require "kong.silverback.state"

local C, out, str, num = sbffi.C, sbffi.out, sbffi.str, sbffi.num
local guard = check.guard
local type, error = type, error
local ngx = ngx

local UUID = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"


local function string_getter(name, what)
  local allowed = guard(name)
  return function()
    return str(allowed(), what)
  end
end


local function number_getter(name, what)
  local allowed = guard(name)
  return function()
    return num(allowed(), what)
  end
end


-- The protocol of the connection, or what a trusted proxy in front says about it.
local function connection_protocol(r, allow_terminated)
  local scheme = str(r, C.SB_FFI_SCHEME)
  if scheme == "https" or not allow_terminated or num(r, C.SB_FFI_TRUSTED) ~= 1 then
    return scheme
  end
  if C.sb_ffi_request_header(r, "x-forwarded-proto", 17, 1, out) == 1 then
    return nil, "Only one X-Forwarded-Proto header allowed"
  end
  if C.sb_ffi_request_header(r, "x-forwarded-proto", 17, 0, out) == 1 and sbffi.taken(out):lower() == "https" then
    return "https"
  end
  return scheme
end


local function new()
  local _CLIENT = { tls = require("kong.pdk.client_tls").new() }

  _CLIENT.get_ip = string_getter("kong.client.get_ip", C.SB_FFI_CLIENT_IP)
  _CLIENT.get_forwarded_ip = string_getter("kong.client.get_forwarded_ip", C.SB_FFI_FORWARDED_IP)
  _CLIENT.get_port = number_getter("kong.client.get_port", C.SB_FFI_CLIENT_PORT)
  _CLIENT.get_forwarded_port = number_getter("kong.client.get_forwarded_port", C.SB_FFI_FORWARDED_CLIENT_PORT)


  local credential_allowed = guard "kong.client.get_credential"
  function _CLIENT.get_credential()
    credential_allowed()
    return ngx.ctx.authenticated_credential
  end


  local consumer_allowed = guard "kong.client.get_consumer"
  function _CLIENT.get_consumer()
    consumer_allowed()
    return ngx.ctx.authenticated_consumer
  end


  local load_allowed = guard "kong.client.load_consumer"
  function _CLIENT.load_consumer(consumer_id, search_by_username)
    local r = load_allowed()
    if type(consumer_id) ~= "string" then
      error("consumer_id must be a string", 2)
    end
    local is_id = consumer_id:find(UUID) ~= nil
    if not is_id and not search_by_username then
      error("cannot load a consumer with an id that is not a uuid", 2)
    end
    local field = not is_id and "username" or nil
    if C.sb_ffi_row(r, "consumers", field, consumer_id, #consumer_id, out, nil) == C.SB_FFI_OK then
      return state.entity(sbffi.take_owned())
    end
    return nil
  end


  local authenticate_allowed = guard "kong.client.authenticate"
  function _CLIENT.authenticate(consumer, credential)
    local r = authenticate_allowed()
    if consumer ~= nil and type(consumer) ~= "table" then
      error("consumer must be a table or nil", 2)
    end
    if credential ~= nil and type(credential) ~= "table" then
      error("credential must be a table or nil", 2)
    end
    if not consumer and not credential then
      error("either credential or consumer must be provided", 2)
    end
    state.authenticate(r, ngx.ctx, consumer, credential)
  end


  local protocol_allowed = guard "kong.client.get_protocol"
  function _CLIENT.get_protocol(allow_terminated)
    local r = protocol_allowed()
    local route = ngx.ctx.route
    if not route then
      return nil, "No active route found"
    end
    local protocols = route.protocols
    if type(protocols) == "table" and #protocols == 1 then
      return protocols[1]
    end
    local protocol, err = connection_protocol(r, allow_terminated)
    if protocol and num(r, C.SB_FFI_IS_GRPC) == 1 then
      protocol = protocol == "https" and "grpcs" or "grpc"
    end
    return protocol, err
  end


  return _CLIENT
end


return { new = new }
