-- Any Lua value as readable text: keys in order, one table level per indent, cycles named.

local concat, fmt = table.concat, string.format

local MAX_DEPTH = 32


local function key_order(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then
    return ta < tb
  end
  if ta == "number" or ta == "string" then
    return a < b
  end
  return tostring(a) < tostring(b)
end


local function key_text(key, show)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return key
  end
  return "[" .. show(key) .. "]"
end


local function table_text(t, depth, open, show)
  if open[t] or depth > MAX_DEPTH then
    return open[t] and "<cycle>" or "{...}"
  end
  open[t] = true
  local items, keys, n = {}, {}, #t
  for i = 1, n do
    items[i] = show(t[i])
  end
  for key in pairs(t) do
    if not (type(key) == "number" and key >= 1 and key <= n and key % 1 == 0) then
      keys[#keys + 1] = key
    end
  end
  table.sort(keys, key_order)
  for _, key in ipairs(keys) do
    items[#items + 1] = key_text(key, show) .. " = " .. show(t[key])
  end
  open[t] = nil
  if #items == 0 then
    return "{}"
  end
  if #keys == 0 then
    return "{ " .. concat(items, ", ") .. " }"
  end
  local indent = ("  "):rep(depth)
  return "{\n" .. indent .. concat(items, ",\n" .. indent) .. "\n" .. ("  "):rep(depth - 1) .. "}"
end


local function inspect(value)
  local open, depth = {}, 0
  local function show(v)
    if type(v) == "string" then
      return (fmt("%q", v):gsub("\\\n", "\\n"))
    elseif type(v) == "number" or type(v) == "boolean" or v == nil then
      return tostring(v)
    elseif type(v) ~= "table" then
      return "<" .. tostring(v) .. ">"
    end
    depth = depth + 1
    local text = table_text(v, depth, open, show)
    depth = depth - 1
    return text
  end
  return show(value)
end


return inspect
