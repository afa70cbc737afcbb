-- Strings.

local type, tostring, tonumber, error = type, tostring, tonumber, error
local floor = math.floor

local _M = {}

local UNITS = { k = 1024, m = 1024 ^ 2, g = 1024 ^ 3 }
local UNIT_NAMES = { k = "KiB", m = "MiB", g = "GiB" }


-- The items of an array with `separator` between them.
function _M.join(separator, array)
  return table.concat(array, separator)
end


-- The parts of `str` between `separator` (plain text; white space when nil).
function _M.split(str, separator)
  local parts = {}
  if not separator then
    for part in str:gmatch("%S+") do
      parts[#parts + 1] = part
    end
    return parts
  end
  if separator == "" then
    return { str }
  end
  local from = 1
  while true do
    local at, last = str:find(separator, from, true)
    if not at then
      parts[#parts + 1] = str:sub(from)
      return parts
    end
    parts[#parts + 1] = str:sub(from, at - 1)
    from = last + 1
  end
end


-- Without white space at both ends; "" for nil.
function _M.strip(str)
  if str == nil then
    return ""
  end
  return (tostring(str):match("^%s*(.-)%s*$"))
end


-- How many bytes follow the lead byte, and the range of the first of them; nil when it leads nothing.
local function utf8_tail(lead)
  if lead >= 0xC2 and lead <= 0xDF then
    return 1, 0x80, 0xBF
  elseif lead >= 0xE0 and lead <= 0xEF then
    return 2, lead == 0xE0 and 0xA0 or 0x80, lead == 0xED and 0x9F or 0xBF
  elseif lead >= 0xF0 and lead <= 0xF4 then
    return 3, lead == 0xF0 and 0x90 or 0x80, lead == 0xF4 and 0x8F or 0xBF
  end
end


-- true, or false and the position of the first byte that is not part of valid UTF-8.
function _M.validate_utf8(val)
  local str = tostring(val)
  local i, len = 1, #str
  while i <= len do
    local lead = str:byte(i)
    if lead < 0x80 then
      i = i + 1
    else
      local n, low, high = utf8_tail(lead)
      if not n then
        return false, i
      end
      for k = 1, n do
        local byte = str:byte(i + k)
        if not byte or byte < low or byte > high then
          return false, i
        end
        low, high = 0x80, 0xBF
      end
      i = i + n + 1
    end
  end
  return true
end


-- A number of bytes as it is (unit "b") or as text such as "1.50 MiB".
function _M.bytes_to_str(bytes, unit, scale)
  local u = unit == nil and "b" or tostring(unit):lower()
  scale = scale or 2
  if type(scale) ~= "number" or scale < 0 then
    error("scale must be equal or greater than 0", 2)
  end
  if u == "b" or u == "" then
    return floor(bytes)
  end
  if not UNITS[u] then
    error("invalid unit '" .. tostring(unit) .. "' (expected 'k/K', 'm/M', or 'g/G')", 2)
  end
  return ("%." .. scale .. "f %s"):format(bytes / UNITS[u], UNIT_NAMES[u])
end


-- Bytes of a size as nginx writes them ("8k"); nil when it is none.
function _M.parse_ngx_size(str)
  if type(str) ~= "string" then
    return nil
  end
  local number, unit = str:match("^(%d+)([kKmMgG]?)$")
  if not number then
    return nil
  end
  return tonumber(number) * (unit == "" and 1 or UNITS[unit:lower()])
end


-- The decoded text, or the text itself when it is not base64.
function _M.try_decode_base64(str)
  return ngx.decode_base64(str) or str
end


function _M.replace_dashes(str)
  return (str:gsub("-", "_"))
end


function _M.replace_dashes_lower(str)
  return (str:gsub("-", "_"):lower())
end


return _M
