-- URI paths.

local char, byte, fmt = string.char, string.byte, string.format
local concat, remove = table.concat, table.remove

local _M = {}


local function decode_unreserved(hex)
  local c = char(tonumber(hex, 16))
  if c:find("^[%w%-%._~]$") then
    return c
  end
  return "%" .. hex:upper()
end


-- Percent-escapes of unreserved characters decoded, the others in upper case; dot segments removed; with merge_slashes (default
-- true) repeated slashes made one.
function _M.normalize(uri, merge_slashes)
  uri = uri:gsub("%%(%x%x)", decode_unreserved)
  if merge_slashes ~= false then
    uri = uri:gsub("//+", "/")
  end
  if not uri:find(".", 1, true) then
    return uri
  end
  local out = {}
  local segments = {}
  for segment in (uri .. "/"):gmatch("(.-)/") do
    segments[#segments + 1] = segment
  end
  for i, segment in ipairs(segments) do
    local last = i == #segments
    if segment == ".." then
      if #out > 1 or (out[1] and out[1] ~= "") then
        remove(out)
      end
      if last then
        out[#out + 1] = ""
      end
    elseif segment == "." then
      if last then
        out[#out + 1] = ""
      end
    else
      out[#out + 1] = segment
    end
  end
  local path = concat(out, "/")
  return path == "" and "/" or path
end


-- Everything that may not stand in a URI as percent-escapes; what may, escapes included, stays.
function _M.escape(uri)
  return (uri:gsub("[^!#$&'()*+,/:;=?@%[%]%w%-%._~%%]", function(c)
    return fmt("%%%02X", byte(c))
  end))
end


return _M
