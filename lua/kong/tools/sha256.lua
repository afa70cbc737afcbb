-- SHA-256 in the forms plugins ask for.

local ffi = require "ffi"

ffi.cdef "unsigned char *SHA256(const unsigned char *d, size_t n, unsigned char *md);"

local digest = ffi.new("unsigned char[32]")

local _M = {}


function _M.sha256_bin(key)
  ffi.C.SHA256(key, #key, digest)
  return ffi.string(digest, 32)
end


function _M.sha256_hex(key)
  return (_M.sha256_bin(key):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end


function _M.sha256_base64(key)
  return ngx.encode_base64(_M.sha256_bin(key))
end


function _M.sha256_base64url(key)
  return (ngx.encode_base64(_M.sha256_bin(key), true):gsub("%+", "-"):gsub("/", "_"))
end


return _M
