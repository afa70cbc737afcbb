-- Everything of the modules below under one name, as older plugins expect it.

local _M = {}

for _, name in ipairs { "table", "uuid", "rand", "time", "string", "ip", "http" } do
  for key, value in pairs(require("kong.tools." .. name)) do
    _M[key] = value
  end
end

return _M
