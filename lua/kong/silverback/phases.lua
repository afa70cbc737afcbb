-- The one phase table: which phases may call which PDK function.
--
-- The runtime check (kong.pdk.private.check) and the tests read it. A function that is not listed may be called anywhere.
-- Bits follow ORDER, and so does the list of phases in an error message. `phase` numbers are those of enum sb_phase in
-- include/silverback/request.h, plus a few phases that only exist here.

local bit = require "bit"

local bor, lshift = bit.bor, bit.lshift

local _M = {}

-- The order in which a message lists phases.
local ORDER = {
  "init_worker", "certificate", "client_hello", "rewrite", "access", "balancer", "response", "header_filter", "body_filter",
  "log", "preread", "error", "admin_api", "cluster_listener",
}

-- Number of a phase; 0 to 9 are C's.
_M.NUMBER = {
  init_worker = 0, configure = 1, certificate = 2, rewrite = 3, access = 4, balancer = 5, response = 6, header_filter = 7,
  body_filter = 8, log = 9, client_hello = 10, preread = 11, error = 12, admin_api = 13, cluster_listener = 14, timer = 15,
}

_M.NAME = {}
for name, number in pairs(_M.NUMBER) do
  _M.NAME[number] = name
end

local REQUEST = "rewrite access balancer response header_filter body_filter log error admin_api cluster_listener"
local BODY = "rewrite access response error admin_api"
local RESPONSE_READ = "response header_filter body_filter log error admin_api"
local RESPONSE_WRITE = "rewrite access balancer response header_filter error admin_api"
local ROUTED = "access response header_filter body_filter log"
local SERVICE_RESPONSE = "response header_filter body_filter log"
local UPSTREAM = "rewrite access balancer"
local SERVICE_TLS = "rewrite access balancer preread"
local BEFORE_UPSTREAM = "rewrite access"
local ANY_REQUEST = "certificate client_hello rewrite access balancer response header_filter body_filter log preread error " ..
                    "admin_api cluster_listener"

_M.ALLOWED = {
  ["kong.client.get_ip"] = ANY_REQUEST,
  ["kong.client.get_forwarded_ip"] = ANY_REQUEST,
  ["kong.client.get_port"] = ANY_REQUEST,
  ["kong.client.get_forwarded_port"] = ANY_REQUEST,
  ["kong.client.get_credential"] = ROUTED,
  ["kong.client.get_consumer"] = ROUTED,
  ["kong.client.load_consumer"] = ROUTED,
  ["kong.client.authenticate"] = "access",
  ["kong.client.get_protocol"] = ROUTED,
  ["kong.client.tls.request_client_certificate"] = "certificate",
  ["kong.client.tls.disable_session_reuse"] = "certificate",
  ["kong.client.tls.get_full_client_certificate_chain"] = "rewrite access response balancer log",
  ["kong.client.tls.set_client_verify"] = "rewrite access response balancer",

  ["kong.log.set_serialize_value"] = "rewrite access response header_filter body_filter",
  ["kong.log.serialize"] = "log",

  ["kong.request.get_scheme"] = REQUEST,
  ["kong.request.get_host"] = REQUEST,
  ["kong.request.get_port"] = ANY_REQUEST,
  ["kong.request.get_forwarded_scheme"] = REQUEST,
  ["kong.request.get_forwarded_host"] = REQUEST,
  ["kong.request.get_forwarded_port"] = REQUEST,
  ["kong.request.get_forwarded_path"] = REQUEST,
  ["kong.request.get_forwarded_prefix"] = REQUEST,
  ["kong.request.get_http_version"] = REQUEST,
  ["kong.request.get_method"] = REQUEST,
  ["kong.request.get_raw_path"] = REQUEST,
  ["kong.request.get_path_with_query"] = REQUEST,
  ["kong.request.get_raw_query"] = REQUEST,
  ["kong.request.get_query_arg"] = REQUEST,
  ["kong.request.get_query"] = REQUEST,
  ["kong.request.get_header"] = REQUEST,
  ["kong.request.get_headers"] = REQUEST,
  ["kong.request.get_raw_body"] = BODY,
  ["kong.request.get_body"] = BODY,
  ["kong.request.get_start_time"] = REQUEST,
  ["kong.request.get_uri_captures"] = REQUEST,

  ["kong.response.get_status"] = RESPONSE_READ,
  ["kong.response.get_header"] = RESPONSE_READ,
  ["kong.response.get_headers"] = RESPONSE_READ,
  ["kong.response.get_source"] = RESPONSE_READ,
  ["kong.response.set_status"] = RESPONSE_WRITE,
  ["kong.response.set_header"] = RESPONSE_WRITE,
  ["kong.response.add_header"] = RESPONSE_WRITE,
  ["kong.response.clear_header"] = RESPONSE_WRITE,
  ["kong.response.set_headers"] = RESPONSE_WRITE,
  ["kong.response.get_raw_body"] = "body_filter",
  ["kong.response.set_raw_body"] = "body_filter",
  ["kong.response.exit"] = RESPONSE_WRITE,
  ["kong.response.error"] = RESPONSE_WRITE,

  ["kong.router.get_route"] = ROUTED,
  ["kong.router.get_service"] = ROUTED,

  ["kong.service.set_upstream"] = "access",
  ["kong.service.set_target"] = "rewrite access balancer preread",
  ["kong.service.set_retries"] = "access",
  ["kong.service.set_timeouts"] = "access",
  ["kong.service.set_tls_cert_key"] = SERVICE_TLS,
  ["kong.service.set_tls_verify"] = SERVICE_TLS,
  ["kong.service.set_tls_verify_depth"] = SERVICE_TLS,
  ["kong.service.set_tls_verify_store"] = SERVICE_TLS,

  ["kong.service.request.enable_buffering"] = UPSTREAM,
  ["kong.service.request.set_scheme"] = UPSTREAM,
  ["kong.service.request.set_path"] = UPSTREAM,
  ["kong.service.request.set_raw_query"] = BEFORE_UPSTREAM,
  ["kong.service.request.set_method"] = BEFORE_UPSTREAM,
  ["kong.service.request.set_query"] = BEFORE_UPSTREAM,
  ["kong.service.request.clear_query_arg"] = BEFORE_UPSTREAM,
  ["kong.service.request.set_header"] = UPSTREAM,
  ["kong.service.request.add_header"] = BEFORE_UPSTREAM,
  ["kong.service.request.clear_header"] = BEFORE_UPSTREAM,
  ["kong.service.request.set_headers"] = BEFORE_UPSTREAM,
  ["kong.service.request.set_raw_body"] = UPSTREAM,
  ["kong.service.request.set_body"] = BEFORE_UPSTREAM,

  ["kong.service.response.get_status"] = SERVICE_RESPONSE,
  ["kong.service.response.get_headers"] = SERVICE_RESPONSE,
  ["kong.service.response.get_header"] = SERVICE_RESPONSE,
  ["kong.service.response.get_raw_body"] = SERVICE_RESPONSE,
  ["kong.service.response.get_body"] = SERVICE_RESPONSE,
}


local function has_word(words, word)
  for w in words:gmatch("%S+") do
    if w == word then
      return true
    end
  end
  return false
end


-- The bits of the phases in which function `name` may run; nil when it may run everywhere.
function _M.mask(name)
  local words = _M.ALLOWED[name]
  if not words then
    return nil
  end
  local mask = 0
  for word in words:gmatch("%S+") do
    mask = bor(mask, lshift(1, _M.NUMBER[word]))
  end
  return mask
end


-- The interface's message for a call of `name` in phase number `phase`.
function _M.message(name, phase)
  local words, list = _M.ALLOWED[name], {}
  for _, word in ipairs(ORDER) do
    if has_word(words, word) then
      list[#list + 1] = word
    end
  end
  return string.format("function cannot be called in %s phase (only in: %s)", _M.NAME[phase] or "unknown",
                       table.concat(list, ", "))
end


return _M
