-- IP addresses and host names as text.

local type, tonumber = type, tonumber

local _M = {}


local function decimal(text, max)
  return text ~= nil and #text <= 5 and text:find("^%d+$") ~= nil and tonumber(text) <= max
end


function _M.is_valid_ipv4(ipv4)
  if type(ipv4) ~= "string" then
    return false
  end
  local a, b, c, d = ipv4:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  return decimal(a, 255) and decimal(b, 255) and decimal(c, 255) and decimal(d, 255) or false
end


-- Counts the 16-bit groups of a part without "::"; nil when one is malformed.
local function groups(part, may_end_in_ipv4)
  if part == "" then
    return 0
  end
  local n = 0
  for group in (part .. ":"):gmatch("(.-):") do
    if group:find("^%x%x?%x?%x?$") then
      n = n + 1
    elseif may_end_in_ipv4 and group:find(".", 1, true) and part:sub(-#group) == group and _M.is_valid_ipv4(group) then
      n = n + 2
    else
      return nil
    end
  end
  return n
end


function _M.is_valid_ipv6(ipv6)
  if type(ipv6) ~= "string" or not ipv6:find(":", 1, true) then
    return false
  end
  local at, after = ipv6:find("::", 1, true)
  if not at then
    return groups(ipv6, true) == 8
  end
  if ipv6:find("::", after, true) then
    return false
  end
  local left, right = groups(ipv6:sub(1, at - 1), false), groups(ipv6:sub(after + 1), true)
  return left ~= nil and right ~= nil and left + right <= 7
end


function _M.is_valid_ip(ip)
  return _M.is_valid_ipv4(ip) or _M.is_valid_ipv6(ip)
end


local function cidr(text, valid, max)
  if type(text) ~= "string" then
    return false
  end
  local address, bits = text:match("^(.-)/(%d+)$")
  return address ~= nil and valid(address) and decimal(bits, max)
end


function _M.is_valid_cidr_v4(cidr_v4)
  return cidr(cidr_v4, _M.is_valid_ipv4, 32)
end


function _M.is_valid_cidr_v6(cidr_v6)
  return cidr(cidr_v6, _M.is_valid_ipv6, 128)
end


function _M.is_valid_cidr(text)
  return _M.is_valid_cidr_v4(text) or _M.is_valid_cidr_v6(text)
end


function _M.is_valid_ip_or_cidr_v4(text)
  return _M.is_valid_ipv4(text) or _M.is_valid_cidr_v4(text)
end


function _M.is_valid_ip_or_cidr_v6(text)
  return _M.is_valid_ipv6(text) or _M.is_valid_cidr_v6(text)
end


function _M.is_valid_ip_or_cidr(text)
  return _M.is_valid_ip(text) or _M.is_valid_cidr(text)
end


-- "ipv4", "ipv6" or "name", by the looks of it.
function _M.hostname_type(name)
  local clean = name:gsub("^%[", ""):gsub("%].*$", "")
  local _, colons = name:gsub(":", "")
  if colons > 1 or name:sub(1, 1) == "[" then
    return "ipv6"
  end
  if clean:find("^[%d%.:]+$") then
    return "ipv4"
  end
  return "name"
end


local function port_of(text)
  if text == "" then
    return nil
  end
  if not text:find("^:%d+$") then
    return nil, "invalid port number"
  end
  local port = tonumber(text:sub(2))
  if port > 65535 then
    return nil, "invalid port number"
  end
  return port
end


-- The address and its port (nil without one); nil, message when it is none.
function _M.normalize_ipv4(address)
  local host, rest = address:match("^([^:]*)(.*)$")
  if not _M.is_valid_ipv4(host) then
    return nil, "invalid ipv4 address: " .. address
  end
  local port, err = port_of(rest)
  if err then
    return nil, err
  end
  return host, port
end


-- Fills "::" with zero groups and every group with zeros.
local function expand_ipv6(address)
  local v4 = address:match("[%d]+%.[%d%.]+$")
  if v4 then
    local a, b, c, d = v4:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
    address = address:sub(1, -#v4 - 1) .. ("%x:%x"):format(a * 256 + b, c * 256 + d)
  end
  local at, after = address:find("::", 1, true)
  if at then
    local _, colons = (address:sub(1, at - 1) .. address:sub(after + 1)):gsub(":", ":")
    local left, right = address:sub(1, at - 1), address:sub(after + 1)
    local have = (left ~= "" and 1 or 0) + (right ~= "" and 1 or 0) + colons
    local zeros = ("0:"):rep(8 - have)
    address = (left ~= "" and left .. ":" or "") .. zeros .. right
    address = address:gsub(":$", "")
  end
  return (address:lower():gsub("%x+", function(group) return ("0"):rep(4 - #group) .. group end))
end


function _M.normalize_ipv6(address)
  local host, rest = address:match("^%[([^%]]*)%](.*)$")
  if not host then
    host, rest = address, ""
  end
  if not _M.is_valid_ipv6(host) then
    return nil, "invalid ipv6 address: " .. address
  end
  local port, err = port_of(rest)
  if err then
    return nil, err
  end
  return expand_ipv6(host), port
end


-- A host name and its port (nil without one); nil, message when it is none.
function _M.check_hostname(address)
  local name, rest = address:match("^([^:]*)(.*)$")
  local port, err = port_of(rest)
  if err then
    return nil, err
  end
  if name == "" or #name > 255 or name:find("[^%w%-%._]") or name:find("%.%.") or name:find("^%.") or name:find("^%-") or
     name:find("%-%.") or name:find("%.%-") or name:find("%-$") then
    return nil, "invalid hostname: " .. address
  end
  return name, port
end


-- { type, host, port } of an address with optional port; nil, message.
function _M.normalize_ip(address)
  local kind = _M.hostname_type(address)
  local host, port_or_err
  if kind == "ipv4" then
    host, port_or_err = _M.normalize_ipv4(address)
  elseif kind == "ipv6" then
    host, port_or_err = _M.normalize_ipv6(address)
  else
    host, port_or_err = _M.check_hostname(address)
  end
  if not host then
    return nil, port_or_err
  end
  return { type = kind, host = host, port = port_or_err }
end


-- "host:port" of a host and port, or of what normalize_ip gave; IPv6 in brackets.
function _M.format_host(p1, p2)
  local kind, host, port
  if type(p1) == "table" then
    kind, host, port = p1.type, p1.host, p1.port or p2
  else
    if p1 == nil then
      return nil, "expected host"
    end
    local parsed, err = _M.normalize_ip(p1)
    if not parsed then
      return nil, err
    end
    kind, host, port = parsed.type, parsed.host, p2 or parsed.port
  end
  if kind == "ipv6" and host:sub(1, 1) ~= "[" then
    host = "[" .. host .. "]"
  end
  return port and host .. ":" .. port or host
end


return _M
