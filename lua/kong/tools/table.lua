-- Tables.

local type, pairs, ipairs, select, setmetatable, getmetatable = type, pairs, ipairs, select, setmetatable, getmetatable

local _M = {}

-- A table that stays empty.
_M.EMPTY = setmetatable({}, {
  __newindex = function()
    error("attempt to update a read-only table", 2)
  end,
})


local function null()
  return ngx and ngx.null
end


function _M.pack(...)
  return { n = select("#", ...), ... }
end


function _M.unpack(t, i, j)
  return unpack(t, i or 1, j or t.n or #t)
end


-- A new table: t1, and t2 over it.
function _M.table_merge(t1, t2)
  local out = {}
  for k, v in pairs(t1 or {}) do
    out[k] = v
  end
  for k, v in pairs(t2 or {}) do
    out[k] = v
  end
  return out
end


-- The same, but a null of t2 does not hide a value of t1.
function _M.null_aware_table_merge(t1, t2)
  local out = {}
  for k, v in pairs(t1 or {}) do
    out[k] = v
  end
  for k, v in pairs(t2 or {}) do
    if v ~= null() or out[k] == nil then
      out[k] = v
    end
  end
  return out
end


function _M.table_contains(arr, val)
  for _, v in pairs(arr or {}) do
    if v == val then
      return true
    end
  end
  return false
end


-- Whether the keys are 1 … n. mode "fast" only looks at the first and the number of items; "lapis" see is_lapis_array.
function _M.is_array(t, mode)
  if type(t) ~= "table" then
    return false
  end
  if mode == "lapis" then
    return _M.is_lapis_array(t)
  end
  if mode == "fast" then
    return next(t) == nil or t[1] ~= nil
  end
  local n = 0
  for _ in pairs(t) do
    n = n + 1
    if t[n] == nil then
      return false
    end
  end
  return true
end


-- Whether the keys are 1 … n as numbers or as text ("1"), the way forms give them.
function _M.is_lapis_array(t)
  if type(t) ~= "table" then
    return false
  end
  local n = 0
  for _ in pairs(t) do
    n = n + 1
    if t[n] == nil and t[tostring(n)] == nil then
      return false
    end
  end
  return true
end


function _M.shallow_copy(orig)
  if type(orig) ~= "table" then
    return orig
  end
  local copy = {}
  for k, v in pairs(orig) do
    copy[k] = v
  end
  return copy
end


-- copy_mt: metatables are copied too (default); false: the copy shares them.
function _M.deep_copy(orig, copy_mt)
  if type(orig) ~= "table" then
    return orig
  end
  local copy = {}
  for k, v in pairs(orig) do
    copy[_M.deep_copy(k, copy_mt)] = _M.deep_copy(v, copy_mt)
  end
  local mt = getmetatable(orig)
  if mt ~= nil and copy_mt ~= false and type(mt) == "table" then
    mt = _M.deep_copy(mt)
  end
  return setmetatable(copy, mt)
end


-- A new table: t1, and t2 over it at every depth.
function _M.deep_merge(t1, t2)
  local out = _M.deep_copy(t1)
  for k, v in pairs(t2) do
    if type(v) == "table" and type(out[k]) == "table" then
      out[k] = _M.deep_merge(out[k], v)
    else
      out[k] = _M.deep_copy(v)
    end
  end
  return out
end


function _M.cycle_aware_deep_copy(orig, remove_metatables, deep_copy_keys, cycle_aware_cache)
  if type(orig) ~= "table" then
    return orig
  end
  local cache = cycle_aware_cache or {}
  if cache[orig] then
    return cache[orig]
  end
  local copy = {}
  cache[orig] = copy
  for k, v in pairs(orig) do
    if deep_copy_keys then
      k = _M.cycle_aware_deep_copy(k, remove_metatables, deep_copy_keys, cache)
    end
    copy[k] = _M.cycle_aware_deep_copy(v, remove_metatables, deep_copy_keys, cache)
  end
  local mt = getmetatable(orig)
  if mt ~= nil and not remove_metatables then
    setmetatable(copy, mt)
  end
  return copy
end


function _M.cycle_aware_deep_merge(t1, t2, remove_metatables, deep_copy_keys, cycle_aware_cache)
  local cache = cycle_aware_cache or {}
  local out = _M.cycle_aware_deep_copy(t1, remove_metatables, deep_copy_keys, cache)
  for k, v in pairs(t2) do
    if type(v) == "table" and type(out[k]) == "table" then
      out[k] = _M.cycle_aware_deep_merge(out[k], v, remove_metatables, deep_copy_keys, cache)
    else
      out[k] = _M.cycle_aware_deep_copy(v, remove_metatables, deep_copy_keys, cache)
    end
  end
  return out
end


-- The items of all arrays, in one.
function _M.concat(...)
  local out = {}
  for i = 1, select("#", ...) do
    for _, v in ipairs((select(i, ...))) do
      out[#out + 1] = v
    end
  end
  return out
end


-- Collects messages by name; a second message of a name makes a list.
function _M.add_error(errors, k, v)
  errors = errors or {}
  local before = errors[k]
  if before == nil then
    errors[k] = v
  elseif type(before) == "table" then
    before[#before + 1] = v
  else
    errors[k] = { before, v }
  end
  return errors
end


-- What a path ("a.b.c", or an array of names) leads to; nil, name of the missing part.
function _M.table_path(t, path)
  if type(path) == "string" then
    local names = {}
    for name in path:gmatch("[^.]+") do
      names[#names + 1] = name
    end
    path = names
  end
  for _, name in ipairs(path) do
    if type(t) ~= "table" then
      return nil, name
    end
    t = t[name]
    if t == nil then
      return nil, name
    end
  end
  return t
end


return _M
