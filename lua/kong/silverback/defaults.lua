-- Fields that a plugin's schema has gained since a configuration was written get their defaults when it is read.
--
-- A stored configuration has every field that its schema had, unset ones as null. So a field that is absent is new, and one that is
-- null was left or made empty by the user and stays so.

local ipairs, next, pairs, type = ipairs, next, pairs, type

local _M = {}


local function copy(value)
  if type(value) ~= "table" then
    return value
  end
  local out = {}
  for k, v in pairs(value) do
    out[k] = copy(v)
  end
  return out
end


local fill_record


local function fill_value(def, value)
  if type(value) ~= "table" then
    return
  end
  if def.type == "record" then
    fill_record(def, value)
  elseif def.type == "array" or def.type == "set" then
    for _, item in ipairs(value) do
      fill_value(def.elements, item)
    end
  elseif def.type == "map" then
    for _, item in pairs(value) do
      fill_value(def.values, item)
    end
  end
end


local function missing(def)
  if def.default ~= nil then
    return copy(def.default)
  end
  if def.type == "record" and def.required ~= false and def.fields then
    return {}
  end
end


function fill_record(def, values)
  for _, item in ipairs(def.fields or {}) do
    local name, field = next(item)
    local value = values[name]
    if value == nil then
      value = missing(field)
      values[name] = value
    end
    fill_value(field, value)
  end
end


--- Completes `values`, in place, by the record definition `def`.
_M.fill = fill_record


--- The definition of `config` in a plugin's schema; nil when it has none.
function _M.config_of(schema)
  for _, item in ipairs(schema.fields) do
    local name, field = next(item)
    if name == "config" then
      return field
    end
  end
end


return _M
