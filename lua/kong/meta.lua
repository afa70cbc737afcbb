-- The version of the interface that this gateway speaks, as plugins see it.

local version = setmetatable({ major = 3, minor = 9, patch = 1 }, {
  __tostring = function(t)
    return ("%d.%d.%d"):format(t.major, t.minor, t.patch)
  end,
})

return {
  _NAME = "kong",
  _VERSION = tostring(version),
  _VERSION_TABLE = version,
  _VERSION_NUM = version.major * 1000000 + version.minor * 1000 + version.patch,
  _SERVER_TOKENS = "kong/" .. tostring(version),
}
