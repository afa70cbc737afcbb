-- Random bytes and text, from OpenSSL's generator.

local ffi = require "ffi"

ffi.cdef "int RAND_bytes(unsigned char *buf, int num);"

local C = ffi.C
local _M = {}


-- n_bytes random bytes; nil, message. `urandom` asks for the kernel's own, which seeds the generator anyway.
function _M.get_rand_bytes(n_bytes, _)
  local buf = ffi.new("unsigned char[?]", n_bytes)
  if C.RAND_bytes(buf, n_bytes) ~= 1 then
    return nil, "could not get random bytes"
  end
  return ffi.string(buf, n_bytes)
end


local ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


-- 32 letters and digits.
function _M.random_string()
  local out, n = {}, 0
  while n < 32 do
    for byte in _M.get_rand_bytes(48):gmatch(".") do
      local v = byte:byte()
      -- 248 is the largest multiple of 62 that fits: no letter is likelier than another
      if v < 248 and n < 32 then
        n = n + 1
        out[n] = ALPHANUMERIC:sub(v % 62 + 1, v % 62 + 1)
      end
    end
  end
  return table.concat(out)
end


return _M
