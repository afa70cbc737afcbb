-- The C side for Lua: declarations, shared buffers, and the few conversions everyone needs.
--
-- The declarations come from C itself (include/silverback/sb_ffi.h), so that both sides always agree. Buffers are shared by all
-- requests of the worker: what is read from them must be read before anything can yield.

local ffi = require "ffi"
local base = require "resty.core.base"

local C = ffi.C
local ffi_string = ffi.string

ffi.cdef "const char *sb_ffi_cdef(void);"
ffi.cdef(ffi_string(C.sb_ffi_cdef()))

local _M = { C = C, get_request = base.get_request }

local out = ffi.new("sb_ffi_str[1]")
local out2 = ffi.new("sb_ffi_str[1]")

_M.out, _M.out2 = out, out2


-- What the last call put into a buffer, as a Lua string; nil when its data is NULL.
local function taken(buffer)
  local s = buffer[0]
  if s.data == nil then
    return nil
  end
  return ffi_string(s.data, s.len)
end

_M.taken = taken


-- A string of the request (SB_FFI_METHOD …), or nil.
function _M.str(r, what)
  if C.sb_ffi_get_str(r, what, out) == 1 then
    return ffi_string(out[0].data, out[0].len)
  end
end


-- A number of the request (SB_FFI_PORT …), or nil.
function _M.num(r, what)
  local n = C.sb_ffi_get_num(r, what)
  if n >= 0 then
    return n
  end
end


-- A string of the node (SB_FFI_NODE_ID …), or nil.
function _M.node(what)
  if C.sb_ffi_node_str(what, out) == 1 then
    return ffi_string(out[0].data, out[0].len)
  end
end


-- The text in the shared buffer, whose memory is given back.
function _M.take_owned()
  local s = taken(out)
  C.sb_ffi_free(out)
  return s
end


return _M
