-- The benchmark's Lua plugin: one response header.
local BenchHeader = { PRIORITY = 1000, VERSION = "1.0.0" }

function BenchHeader:header_filter(conf)
  kong.response.set_header(conf.name, conf.value)
end

return BenchHeader
