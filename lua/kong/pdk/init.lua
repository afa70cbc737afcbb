-- The global `kong`: one file per namespace in this folder. What is not part of it yet is absent.

local cjson = require "cjson.safe"
local meta = require "kong.meta"
local misc = require "kong.pdk.misc"
local sbffi = require "kong.silverback.ffi"

local C = sbffi.C


-- The settings, read-only.
local function new_configuration()
  local values = {}
  if C.sb_ffi_settings(sbffi.out) == 1 then
    values = cjson.decode(sbffi.taken(sbffi.out)) or {}
    require("kong.silverback.state").without_nulls(values)
  end
  return setmetatable({}, {
    __index = values,
    __newindex = function()
      error("cannot write to configuration", 2)
    end,
    __pairs = function()
      return pairs(values)
    end,
  })
end


local function new_service(configuration)
  local service = require("kong.pdk.service").new()
  service.request = require("kong.pdk.service.request").new()
  service.response = require("kong.pdk.service.response").new(configuration)
  return service
end


local function new()
  local configuration = new_configuration()
  return {
    version = meta._VERSION, version_num = meta._VERSION_NUM, configuration = configuration,
    cache = require("kong.silverback.cache").new(configuration),
    client = require("kong.pdk.client").new(),
    ctx = require("kong.pdk.ctx").new(),
    ip = misc.ip(),
    log = require("kong.pdk.log").new(),
    nginx = misc.nginx(),
    node = misc.node(),
    plugin = misc.plugin(),
    request = require("kong.pdk.request").new(configuration),
    response = require("kong.pdk.response").new(configuration),
    router = require("kong.pdk.router").new(),
    service = new_service(configuration),
    table = misc.table(),
    timer = require("kong.silverback.timer").new(),
    default_workspace = sbffi.node(C.SB_FFI_DEFAULT_WS),
  }
end


return { new = new }
