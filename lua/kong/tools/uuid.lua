-- UUIDs.

local rand = require "kong.tools.rand"

local _M = {}

local PATTERN = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"


-- A random one (version 4).
function _M.uuid()
  local b = { rand.get_rand_bytes(16):byte(1, 16) }
  b[7] = b[7] % 16 + 0x40
  b[9] = b[9] % 64 + 0x80
  return ("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x"):format(unpack(b))
end


function _M.is_valid_uuid(str)
  return type(str) == "string" and str:find(PATTERN) ~= nil
end


return _M
