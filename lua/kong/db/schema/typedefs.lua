-- Ready-made field types for schemas: `typedefs.header_name { required = true }` is a new field of that type with the members
-- given; `typedefs.header_name` alone is the type as it stands.
--
-- Pure Lua: control and the proxy load it.

local validators = require "kong.db.schema.validators"

local typedefs = {}

local HTTP_PROTOCOLS = { "grpc", "grpcs", "http", "https" }
local PROTOCOLS = { "grpc", "grpcs", "http", "https", "tcp", "tls", "tls_passthrough", "udp" }
local FORMATS = { "aws", "b3", "b3-single", "datadog", "gcp", "jaeger", "ot", "w3c" }
local INJECT_FORMATS = { "aws", "b3", "b3-single", "datadog", "gcp", "jaeger", "ot", "preserve", "w3c" }
local EXTRACT_FORMATS = { "aws", "b3", "datadog", "gcp", "jaeger", "ot", "w3c" }


local function null()
  return ngx and ngx.null or require("cjson").null
end


local function copy(t)
  if type(t) ~= "table" then
    return t
  end
  local out = {}
  for k, v in pairs(t) do
    out[k] = copy(v)
  end
  return out
end


local typedef_mt = {
  __call = function(def, members)
    local out = copy(def)
    for k, v in pairs(members or {}) do
      out[k] = v
    end
    return out
  end,
}


local function define(name, def)
  typedefs[name] = setmetatable(def, typedef_mt)
end


local function text(validator, more)
  local def = { type = "string", custom_validator = validators[validator] }
  for k, v in pairs(more or {}) do
    def[k] = v
  end
  return def
end


-- ------------------------------------------------------------------ text

define("http_method", { type = "string", match = "^%u+$" })
define("protocol", { type = "string", one_of = PROTOCOLS })
define("capability", { type = "string" })
define("name", text("name", { unique = true }))
define("utf8_name", text("utf8_name", { unique = true }))
define("header_name", text("header_name"))
define("cookie_name", text("http_token"))
define("host", text("host"))
define("redis_host", text("host"))
define("redis_server_name", text("sni"))
define("host_with_optional_port", text("host_with_optional_port"))
define("wildcard_host", text("wildcard_host"))
define("ip", text("ip"))
define("ip_or_cidr", text("ip_or_cidr"))
define("cidr", text("ip_or_cidr_v4"))
define("cidr_v4", text("ip_or_cidr_v4"))
define("sni", text("sni"))
define("url", text("url"))
define("tag", text("tag", { required = true }))
define("certificate", text("certificate_pem"))
define("key", text("private_key_pem"))
define("uuid", { type = "string", uuid = true, auto = true })

define("path", text("path", {
  starts_with = "/", match_none = { { pattern = "//", err = "must not have empty segments" } },
}))

define("semantic_version", {
  type = "string",
  match_any = {
    patterns = { "^%d+[%.%d]*$", "^%d+[%.%d]*%-?.*$" }, err = "invalid version number: must be in format of X.Y.Z",
  },
  match_none = { { pattern = "%.%.", err = "must not have empty version segments" } },
})

local router_path = text("router_path", {
  match_any = { patterns = { "^/", "^~/" }, err = "should start with: / (fixed path) or ~/ (regex path)" },
  match_none = { { pattern = "//", err = "must not have empty segments" } },
})

define("router_path", copy(router_path))


-- ------------------------------------------------------------------ numbers

define("port", { type = "integer", between = { 0, 65535 } })
define("timeout", { type = "integer", between = { 0, 2147483646 } })
define("ttl", { type = "number", between = { 0, 100000000 } })
define("auto_timestamp_s", { type = "integer", timestamp = true, auto = true })
define("auto_timestamp_ms", { type = "number", timestamp = true, auto = true })


-- ------------------------------------------------------------------ collections

local hosts = {
  type = "array",
  elements = text("host_with_wildcards", {
    match_all = { { pattern = "^[^*]*%*?[^*]*$", err = "invalid wildcard: must have at most one wildcard" } },
    match_any = {
      patterns = { "^%*%.", "%.%*$", "^[^*]*$" }, err = "invalid wildcard: must be placed at leftmost or rightmost label",
    },
  }),
}

local addresses = {
  type = "set",
  elements = {
    type = "record",
    fields = {
      { ip = { type = "string", custom_validator = validators.ip_or_cidr } },
      { port = { type = "integer", between = { 0, 65535 } } },
    },
    entity_checks = { { at_least_one_of = { "ip", "port" } } },
  },
}

local methods = { type = "set", elements = { type = "string", match = "^%u+$" } }
local paths = { type = "array", elements = router_path }

local headers = {
  type = "map",
  keys = { type = "string", custom_validator = validators.header_name },
  values = { type = "array", elements = { type = "string" } },
}

-- The type with and without the right to have a value.
local function define_both(name, def)
  define(name, copy(def))
  local none = copy(def)
  none.eq = null()
  define("no_" .. name, none)
end

define_both("hosts", hosts)
define_both("sources", addresses)
define_both("destinations", addresses)
define_both("methods", methods)
define_both("headers", headers)

define("router_paths", copy(paths))
do
  local none = copy(paths)
  none.eq = null()
  define("no_paths", none)
end

define("tags", { type = "set", elements = text("tag", { required = true }) })

define("protocols", {
  type = "set", required = true, default = HTTP_PROTOCOLS, elements = { type = "string", one_of = PROTOCOLS },
})
define("protocols_http", {
  type = "set", required = true, default = HTTP_PROTOCOLS, elements = { type = "string", one_of = HTTP_PROTOCOLS },
})

define("lua_code", {
  type = "map",
  keys = { type = "string", len_min = 1 },
  values = { type = "string", len_min = 1, custom_validator = validators.lua_code },
})


-- ------------------------------------------------------------------ scopes

define("no_consumer", { type = "foreign", reference = "consumers", eq = null() })
define("no_route", { type = "foreign", reference = "routes", eq = null() })
define("no_service", { type = "foreign", reference = "services", eq = null() })


-- ------------------------------------------------------------------ records

local function optional_text()
  return { type = "string", required = false }
end

local function optional_texts()
  return { type = "array", required = false, elements = { type = "string", required = false } }
end

define("jwk", {
  type = "record", required = false, custom_validator = validators.jwk,
  fields = {
    { issuer = optional_text() }, { kty = optional_text() }, { use = optional_text() }, { key_ops = optional_texts() },
    { alg = optional_text() }, { kid = { type = "string", required = true } }, { x5u = optional_text() },
    { x5c = optional_texts() }, { x5t = optional_text() }, { ["x5t#S256"] = optional_text() }, { k = optional_text() },
    { x = optional_text() }, { y = optional_text() }, { crv = optional_text() }, { n = optional_text() },
    { e = optional_text() }, { d = optional_text() }, { p = optional_text() }, { q = optional_text() },
    { dp = optional_text() }, { dq = optional_text() }, { qi = optional_text() }, { oth = optional_text() },
    { r = optional_text() }, { t = optional_text() },
  },
})

define("pem", {
  type = "record", required = false, custom_validator = validators.pem_pair,
  fields = {
    { private_key = { type = "string", required = false, encrypted = true, referenceable = true } },
    { public_key = { type = "string", required = false, referenceable = true } },
  },
  entity_checks = { { at_least_one_of = { "private_key", "public_key" } } },
})

define("propagation", {
  type = "record",
  fields = {
    { extract = { type = "array", elements = { type = "string", one_of = EXTRACT_FORMATS } } },
    { clear = { type = "array", elements = { type = "string", custom_validator = validators.header_name } } },
    { inject = { type = "array", elements = { type = "string", one_of = INJECT_FORMATS } } },
    { default_format = { type = "string", one_of = FORMATS, required = true } },
  },
})

define("queue", {
  type = "record",
  fields = {
    { max_batch_size = { type = "integer", between = { 1, 1000000 }, default = 1 } },
    { max_coalescing_delay = { type = "number", between = { 0, 3600 }, default = 1 } },
    { max_entries = { type = "integer", between = { 1, 1000000 }, default = 10000 } },
    { max_bytes = { type = "integer" } },
    { max_retry_time = { type = "number", default = 60 } },
    { initial_retry_delay = { type = "number", between = { 0.001, 1000000 }, default = 0.01 } },
    { max_retry_delay = { type = "number", between = { 0.001, 1000000 }, default = 60 } },
    { concurrency_limit = { type = "integer", one_of = { -1, 1 }, default = 1 } },
  },
})


return setmetatable(typedefs, {
  __index = function(_, name)
    error("schema typedef error: definition '" .. tostring(name) .. "' does not exist", 2)
  end,
})
