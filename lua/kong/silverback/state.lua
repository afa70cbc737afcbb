-- What Lua keeps of a request, and ngx.ctx as plugin authors know it.
--
-- The state hangs in ngx.ctx under a key nobody can name by accident. ngx.ctx gets a metatable that answers the well-known keys
-- (route, service, authenticated_consumer, KONG_*) from C when they are asked for, so that a request pays only for what is read.

local cjson = require "cjson.safe"
local sbffi = require "kong.silverback.ffi"

local C, get_request, str, num = sbffi.C, sbffi.get_request, sbffi.str, sbffi.num
local rawget, rawset, setmetatable, type = rawget, rawset, setmetatable, type
local ngx = ngx
local null = cjson.null

local _M = {}

local KEY = {}            -- the state's key in ngx.ctx
local ENTITY_CACHE = 2000 -- decoded entities kept per worker

local entities, n_entities = {}, 0


-- Removes nulls, at every depth, in place.
local function without_nulls(t)
  for k, v in pairs(t) do
    if v == null then
      t[k] = nil
    elseif type(v) == "table" then
      without_nulls(v)
    end
  end
  return t
end

_M.without_nulls = without_nulls


-- An entity as a table; the same text gives the same table while the worker remembers it.
local function entity(json)
  if not json then
    return nil
  end
  local t = entities[json]
  if t == nil then
    t = cjson.decode(json)
    if type(t) ~= "table" then
      return nil
    end
    without_nulls(t)
    if n_entities >= ENTITY_CACHE then
      entities, n_entities = {}, 0
    end
    entities[json] = t
    n_entities = n_entities + 1
  end
  return t
end

_M.entity = entity


local function balancer_data(r)
  local tries = num(r, C.SB_FFI_TRIES)
  if not tries then
    return nil
  end
  return {
    scheme = str(r, C.SB_FFI_UPSTREAM_SCHEME), host = str(r, C.SB_FFI_UPSTREAM_HOST), ip = str(r, C.SB_FFI_BALANCER_IP),
    port = num(r, C.SB_FFI_BALANCER_PORT), try_count = tries,
  }
end


-- Keys that are worked out when read. The first group never changes within a request and is kept.
local KEPT = {
  route = function(r) return entity(str(r, C.SB_FFI_ROUTE)) end,
  service = function(r) return entity(str(r, C.SB_FFI_SERVICE)) end,
  KONG_PROCESSING_START = function(r) return num(r, C.SB_FFI_START_MS) end,
  req_start_time = function() return ngx.req.start_time() end,
}

local LIVE = {
  authenticated_consumer = function(r) return entity(str(r, C.SB_FFI_CONSUMER)) end,
  authenticated_credential = function() end,
  balancer_data = balancer_data,
  KONG_PROXIED = function(r) return num(r, C.SB_FFI_PROXIED) == 1 or nil end,
  KONG_PROXY_LATENCY = function(r) return num(r, C.SB_FFI_PROXY_LATENCY_MS) end,
  KONG_WAITING_TIME = function(r) return num(r, C.SB_FFI_UPSTREAM_LATENCY_MS) end,
  KONG_RECEIVE_TIME = function(r) return num(r, C.SB_FFI_RECEIVE_MS) end,
  KONG_RESPONSE_LATENCY = function(r) return num(r, C.SB_FFI_RESPONSE_LATENCY_MS) end,
  KONG_UNEXPECTED = function(r) return num(r, C.SB_FFI_SOURCE) == 2 or nil end,
}


local function id_of(entity_table)
  local id = entity_table and entity_table.id
  return type(id) == "string" and id or nil
end


-- Makes a consumer and credential the request's; the tables keep their identity for readers in Lua, C gets the ids.
function _M.authenticate(r, ctx, consumer, credential)
  local st = rawget(ctx, KEY)
  st.consumer, st.credential = consumer or false, credential or false
  local c, k = id_of(consumer), id_of(credential)
  C.sb_ffi_authenticate(r, c, c and #c or 0, k, k and #k or 0)
end


local function own_entity(ctx, field, key, r)
  local st = rawget(ctx, KEY)
  local own = st and st[field]
  if own ~= nil then
    return own or nil
  end
  return LIVE[key](r)
end


local ctx_mt = {
  __index = function(ctx, key)
    local kept = KEPT[key]
    if kept then
      local r = get_request()
      local value = r and kept(r)
      if value ~= nil then
        rawset(ctx, key, value)
      end
      return value
    end
    local live = LIVE[key]
    if not live then
      return nil
    end
    local r = get_request()
    if key == "authenticated_consumer" then
      return own_entity(ctx, "consumer", key, r)
    elseif key == "authenticated_credential" then
      return own_entity(ctx, "credential", key, r)
    end
    return r and live(r)
  end,

  -- Plugins that write the authentication keys themselves mean kong.client.authenticate.
  __newindex = function(ctx, key, value)
    local st = rawget(ctx, KEY)
    if key == "authenticated_consumer" and st then
      _M.authenticate(get_request(), ctx, value, st.credential or nil)
    elseif key == "authenticated_credential" and st then
      _M.authenticate(get_request(), ctx, st.consumer or nil, value)
    else
      rawset(ctx, key, value)
    end
  end,
}


-- The state of the running request, made when it enters Lua for the first time.
function _M.enter()
  local ctx = ngx.ctx
  local st = rawget(ctx, KEY)
  if not st then
    st = {}
    rawset(ctx, KEY, st)
    setmetatable(ctx, ctx_mt)
  end
  return st, ctx
end


-- What init_worker and configure run for, where there is no request.
local worker_state = {}

_M.worker_state = worker_state


-- The state of the running request; that of the worker when there is no request; nil in timers.
function _M.current()
  if not get_request() then
    return worker_state
  end
  return rawget(ngx.ctx, KEY)
end


return _M
