-- kong.cache: values that plugins look up once and keep, per worker and shared between workers.
--
-- Two levels: a table in the worker (L1, any value) and the shared dictionary kong_db_cache (L2, text). A counter in the
-- dictionary "kong" moves with every invalidation; a worker that sees it moved empties its L1, so that an invalidated value is gone in
-- all workers at once. One caller per key runs the callback, others wait for it where they may yield.

local cjson = require "cjson.safe"
local lrucache = require "resty.lrucache"

local ngx = ngx
local type, tostring, error, pcall = type, tostring, error, pcall
local sub, find = string.sub, string.find

local _M = {}

local Cache = {}
Cache.__index = Cache

local L1_ITEMS = 10000
local GENERATION = "kong:cache:generation"
local NIL = {}            -- a remembered nil in L1
local LOCK_SECONDS = 30   -- a callback that takes longer loses its lock
local FOREVER = 1e9

local YIELDABLE = { rewrite = true, access = true, content = true, timer = true }


-- ------------------------------------------------------------------ text in the shared dictionary

-- "<ttl>:<kind>:<value>"; the ttl tells other workers how long the value lives in all.
local function to_text(value, ttl)
  local kind = type(value)
  if kind == "nil" then
    return ttl .. ":x"
  elseif kind == "string" then
    return ttl .. ":s" .. value
  elseif kind == "number" then
    return ttl .. ":n" .. ("%.17g"):format(value)
  elseif kind == "boolean" then
    return ttl .. ":b" .. tostring(value)
  elseif kind == "table" then
    local text, err = cjson.encode(value)
    return text and ttl .. ":t" .. text, err
  end
  return nil, "cannot cache value of type " .. kind
end


local FROM_TEXT = {
  x = function() return NIL end,
  s = function(text) return text end,
  n = tonumber,
  b = function(text) return text == "true" end,
  t = cjson.decode,
}


local function from_text(text)
  local colon = find(text, ":", 1, true)
  local kind = sub(text, colon + 1, colon + 1)
  return FROM_TEXT[kind](sub(text, colon + 2)), tonumber(sub(text, 1, colon - 1))
end


-- ------------------------------------------------------------------ levels

local function l1_of(self)
  local generation = self.marks:get(GENERATION) or 0
  if generation ~= self.generation then
    self.l1:flush_all()
    self.generation = generation
  end
  return self.l1
end


local function seconds(ttl)
  return ttl and ttl > 0 and ttl or nil
end


local function store(self, key, value, ttl)
  local text, err = to_text(value, ttl)
  if not text then
    return nil, err
  end
  local ok
  ok, err = self.shm:set(key, text, seconds(ttl) or 0)
  if not ok then
    return nil, "could not write to the shared dictionary: " .. err
  end
  l1_of(self):set(key, value == nil and NIL or value, seconds(ttl))
  return true
end


-- What L2 has, put into L1. Returns the value (NIL for nil), or nil when there is none.
local function fetch_l2(self, key, l1)
  local text = self.shm:get(key)
  if not text then
    return nil
  end
  local value = from_text(text)
  local left = self.shm:ttl(key)
  if value ~= nil then
    l1:set(key, value, seconds(left))
  end
  return value
end


local function unwrap(value)
  if value ~= NIL then
    return value
  end
end


-- ------------------------------------------------------------------ one caller at a time

local function lock(self, key)
  local name = "kong:cache:lock:" .. key
  local waited, pause = 0, 0.001
  while not self.locks:add(name, true, LOCK_SECONDS) do
    if not YIELDABLE[ngx.get_phase()] or waited > LOCK_SECONDS then
      return nil
    end
    ngx.sleep(pause)
    waited = waited + pause
    pause = math.min(pause * 2, 0.1)
  end
  return name
end


local function unlock(self, name)
  if name then
    self.locks:delete(name)
  end
end


local function ttl_of(opts, value, own)
  if own and type(own) == "number" and own >= 0 then
    return own
  end
  if value == nil then
    return opts.neg_ttl
  end
  return opts.ttl
end


local function run_callback(self, key, opts, callback, ...)
  local ok, value, err, own_ttl = pcall(callback, ...)
  if not ok then
    return nil, "callback threw an error: " .. tostring(value)
  end
  if err ~= nil then
    return value, tostring(err)
  end
  local stored, why = store(self, key, value, ttl_of(opts, value, own_ttl))
  if not stored then
    return nil, why
  end
  return value
end


-- ------------------------------------------------------------------ interface

local function check_key(key)
  if type(key) ~= "string" then
    error("key must be a string", 3)
  end
end


local function options(self, opts)
  opts = opts or {}
  if type(opts) ~= "table" then
    error("opts must be a table", 3)
  end
  local ttl = opts.ttl or self.ttl
  return { ttl = ttl, neg_ttl = opts.neg_ttl or self.neg_ttl or ttl }
end


-- value, err, hit level: 1 this worker, 2 shared, 3 callback.
function Cache:get(key, opts, callback, ...)
  check_key(key)
  if type(callback) ~= "function" then
    error("callback must be a function", 2)
  end
  opts = options(self, opts)
  local value = l1_of(self):get(key)
  if value ~= nil then
    return unwrap(value), nil, 1
  end
  value = fetch_l2(self, key, l1_of(self))
  if value ~= nil then
    return unwrap(value), nil, 2
  end
  local name = lock(self, key)
  value = fetch_l2(self, key, l1_of(self)) -- another may have been faster
  if value ~= nil then
    unlock(self, name)
    return unwrap(value), nil, 2
  end
  local result, err = run_callback(self, key, opts, callback, ...)
  unlock(self, name)
  if err then
    return nil, err
  end
  return result, nil, 3
end


-- Runs the callback whatever is cached. value, err, ttl.
function Cache:renew(key, opts, callback, ...)
  check_key(key)
  if type(callback) ~= "function" then
    error("callback must be a function", 2)
  end
  opts = options(self, opts)
  local name = lock(self, key)
  local value, err = run_callback(self, key, opts, callback, ...)
  unlock(self, name)
  if err then
    return nil, err
  end
  self.marks:incr(GENERATION, 1, 0)
  return value, nil, ttl_of(opts, value)
end


function Cache:safe_set(key, value)
  check_key(key)
  local ok, err = store(self, key, value, self.ttl)
  if ok then
    self.marks:incr(GENERATION, 1, 0)
  end
  return ok, err
end


-- Seconds left (FOREVER without end), nil, value; nil when it is not cached.
function Cache:probe(key)
  check_key(key)
  local text = self.shm:get(key)
  if not text then
    return nil
  end
  local value = from_text(text)
  local left = self.shm:ttl(key)
  return left and left > 0 and left or FOREVER, nil, unwrap(value)
end


function Cache:invalidate_local(key)
  check_key(key)
  self.shm:delete(key)
  self.l1:delete(key)
  self.marks:incr(GENERATION, 1, 0)
end


-- Other nodes are told once nodes can talk to each other.
function Cache:invalidate(key)
  return self:invalidate_local(key)
end


function Cache:purge()
  self.shm:flush_all()
  self.l1:flush_all()
  self.marks:incr(GENERATION, 1, 0)
end


-- nil when the node has no shared dictionaries (no Lua plugin).
function _M.new(configuration)
  local shm, marks, locks = ngx.shared.kong_db_cache, ngx.shared.kong, ngx.shared.kong_locks
  if not shm or not marks or not locks then
    return nil
  end
  local ttl = configuration.db_cache_ttl or 0
  local dbless = configuration.database == "off"
  return setmetatable({
    shm = shm, marks = marks, locks = locks, l1 = lrucache.new(L1_ITEMS), generation = 0,
    ttl = dbless and 0 or ttl, neg_ttl = dbless and 0 or configuration.db_cache_neg_ttl or ttl,
  }, Cache)
end


return _M
