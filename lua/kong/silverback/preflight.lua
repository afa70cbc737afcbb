-- The preflight: `silverback check` and `start` run each instance's nginx with the environment variable SILVERBACK_PREFLIGHT, on the
-- configuration that the instance itself would get. nginx runs init_by_lua while it reads the configuration, before it opens
-- anything; here it then ends, having written what is wrong with the plugins to the file that the variable names.
--
-- So the code that checks is the code that starts. (`nginx -t` does not run init_by_lua at all.)

local VARIABLE = "SILVERBACK_PREFLIGHT"

local _M = {}


local function write(path, text)
  local file = assert(io.open(path, "w"))
  assert(file:write(text))
  assert(file:close())
end


--- Calls init(...), the start of an instance. In a preflight it does not return.
function _M.run(init, ...)
  local path = os.getenv(VARIABLE)
  if not path then
    return init(...)
  end
  local ok, err = pcall(init, ...)
  write(path, ok and "" or tostring(err))
  os.exit(ok and 0 or 1)
end


return _M
