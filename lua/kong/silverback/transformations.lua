-- The read side of a plugin schema's `transformations`: what a configuration is for handlers, made of what is stored.
--
-- The write side, and the read side of the Admin API, are in C (src/core/schema/transform.c), which calls the same functions in control;
-- the rules are the same: a function is called with the values of `input` and `needs`, in this order, when all are set, and returns
-- { config = { … } } to be merged, or nil and what is wrong.

local cjson = require "cjson"

local gmatch = string.gmatch
local ipairs, pairs, tostring, type, unpack = ipairs, pairs, tostring, type, unpack

local null = cjson.null

local _M = {}


--- The transformations of a schema that have an on_read; nil when there is none.
function _M.readers(schema)
  local out
  for _, item in ipairs(schema.transformations or {}) do
    if item.on_read then
      out = out or {}
      out[#out + 1] = item
    end
  end
  return out
end


-- The value at a dotted path; nil when it is not set.
local function at(row, path)
  for name in gmatch(path, "[^.]+") do
    if type(row) ~= "table" then
      return nil
    end
    row = row[name]
  end
  if row ~= null then
    return row
  end
end


-- Adds the values of some paths. False when one is not set.
local function add(args, row, paths)
  for _, path in ipairs(paths or {}) do
    local value = at(row, path)
    if value == nil then
      return false
    end
    args[#args + 1] = value
  end
  return true
end


-- A list replaces, as everything else that is no record or map.
local function is_map(value)
  return type(value) == "table" and #value == 0
end


local function merge(into, from)
  for name, value in pairs(from) do
    local old = into[name]
    if is_map(old) and is_map(value) then
      merge(old, value)
    else
      into[name] = value
    end
  end
end


--- Changes row.config in place. Returns true; or nil and what is wrong. `row` is a plugin's, of which config, the ids and the names are
-- known here.
function _M.read(readers, row)
  for _, item in ipairs(readers) do
    local args = {}
    if add(args, row, item.input) and add(args, row, item.needs) then
      local result, err = item.on_read(unpack(args, 1, #args))
      if result == false or (result == nil and err ~= nil) then
        return nil, tostring(err)
      end
      if result ~= nil then
        if type(result) ~= "table" or type(result.config) ~= "table" then
          return nil, "the function of a plugin must return a table { config = { ... } }"
        end
        merge(row.config, result.config)
      end
    end
  end
  return true
end


return _M
