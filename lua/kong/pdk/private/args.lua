-- Query strings and form bodies from tables.

local escape = ngx.escape_uri
local concat, sort = table.concat, table.sort

local _M = {}


local function add(out, name, value)
  if value == true then
    out[#out + 1] = name
  elseif value ~= false then
    out[#out + 1] = name .. "=" .. escape(tostring(value))
  end
end


local function acceptable(value)
  local t = type(value)
  return t == "string" or t == "number" or t == "boolean"
end


-- name → string, number, boolean or array of those, ordered by name; true gives a bare name, false nothing. nil, message when a
-- value has another type.
function _M.encode(args)
  local names, out = {}, {}
  for name in pairs(args) do
    if type(name) ~= "string" then
      return nil, "arg keys must be strings"
    end
    names[#names + 1] = name
  end
  sort(names)
  for _, name in ipairs(names) do
    local values = args[name]
    for _, value in ipairs(type(values) == "table" and values or { values }) do
      if not acceptable(value) then
        return nil, "unexpected value of type " .. type(value) .. " in argument '" .. name .. "'"
      end
      add(out, escape(name), value)
    end
    if type(values) ~= "table" and not acceptable(values) then
      return nil, "unexpected value of type " .. type(values) .. " in argument '" .. name .. "'"
    end
  end
  return concat(out, "&")
end


-- The query without the arguments called `name`, everything else as it was.
function _M.without(query, name)
  local out = {}
  for part in query:gmatch("[^&]+") do
    if ngx.unescape_uri((part:match("^[^=]*"))) ~= name then
      out[#out + 1] = part
    end
  end
  return concat(out, "&")
end


return _M
