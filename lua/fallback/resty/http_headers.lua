-- A table of HTTP headers: keys keep the spelling they were first given, and are found in any case, with "_" as good as "-".
-- pairs() sees plain keys and values; repeated headers are tables of values.

local gsub, lower, rawget, rawset, setmetatable, type = string.gsub, string.lower, rawget, rawset, setmetatable, type
local pairs = pairs

local _M = {}


local function folded(key)
  return lower((gsub(key, "_", "-")))
end


-- Returns an empty header table, or one with the entries of `from`.
function _M.new(from)
  local spelling = {} -- folded name → key in the table

  local headers = setmetatable({}, {
    __index = function(t, key)
      if type(key) ~= "string" then
        return nil
      end
      local known = spelling[folded(key)]
      return known and rawget(t, known)
    end,

    __newindex = function(t, key, value)
      if type(key) ~= "string" then
        rawset(t, key, value)
        return
      end
      local name = folded(key)
      local known = spelling[name]
      if not known then
        known = key
        spelling[name] = key
      end
      rawset(t, known, value)
    end,
  })

  if from then
    for key, value in pairs(from) do
      headers[key] = value
    end
  end
  return headers
end


-- Adds a value: a second one of the same name makes a table of both.
function _M.add(headers, key, value)
  local before = headers[key]
  if before == nil then
    headers[key] = value
  elseif type(before) == "table" then
    before[#before + 1] = value
  else
    headers[key] = { before, value }
  end
end


return _M
