-- JSON for plugins.

local cjson = require "cjson.safe"

return {
  encode = cjson.encode,
  decode_with_array_mt = cjson.decode,
  array_mt = cjson.array_mt or {},
}
