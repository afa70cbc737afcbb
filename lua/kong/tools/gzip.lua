-- gzip, by zlib, which nginx links.

local ffi = require "ffi"

ffi.cdef [[
typedef struct sb_lua_z_stream {
  const unsigned char *next_in; unsigned int avail_in; unsigned long total_in;
  unsigned char *next_out; unsigned int avail_out; unsigned long total_out;
  const char *msg; void *state;
  void *zalloc; void *zfree; void *opaque;
  int data_type; unsigned long adler; unsigned long reserved;
} sb_lua_z_stream;
const char *zlibVersion(void);
int deflateInit2_(sb_lua_z_stream *s, int level, int method, int windowBits, int memLevel, int strategy,
                  const char *version, int size);
int deflate(sb_lua_z_stream *s, int flush);
int deflateEnd(sb_lua_z_stream *s);
int inflateInit2_(sb_lua_z_stream *s, int windowBits, const char *version, int size);
int inflate(sb_lua_z_stream *s, int flush);
int inflateEnd(sb_lua_z_stream *s);
]]

local C = ffi.C

local _M = {}

local CHUNK = 16384
local GZIP_WINDOW = 15 + 16
local OK, STREAM_END = 0, 1
local NO_FLUSH, FINISH = 0, 4


local function new_stream(input)
  local s = ffi.new("sb_lua_z_stream")
  s.next_in, s.avail_in = ffi.cast("const unsigned char *", input), #input
  return s
end


-- Runs step until the stream ends. Returns the output, or nil, message.
local function run(s, step, flush)
  local buf, out = ffi.new("unsigned char[?]", CHUNK), {}
  while true do
    s.next_out, s.avail_out = buf, CHUNK
    local rc = step(s, flush)
    out[#out + 1] = ffi.string(buf, CHUNK - s.avail_out)
    if rc == STREAM_END then
      return table.concat(out)
    end
    if rc ~= OK or (flush == NO_FLUSH and s.avail_in == 0 and s.avail_out ~= 0) then
      return nil, s.msg ~= nil and ffi.string(s.msg) or "unexpected end of data"
    end
  end
end


function _M.deflate_gzip(str)
  local s = new_stream(str)
  if C.deflateInit2_(s, 6, 8, GZIP_WINDOW, 8, 0, C.zlibVersion(), ffi.sizeof(s)) ~= OK then
    return nil, "cannot start deflate"
  end
  local out, err = run(s, C.deflate, FINISH)
  C.deflateEnd(s)
  return out, err
end


function _M.inflate_gzip(gz)
  local s = new_stream(gz)
  if C.inflateInit2_(s, GZIP_WINDOW, C.zlibVersion(), ffi.sizeof(s)) ~= OK then
    return nil, "cannot start inflate"
  end
  local out, err = run(s, C.inflate, NO_FLUSH)
  C.inflateEnd(s)
  return out, err
end


return _M
