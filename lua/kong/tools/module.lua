-- Modules that may not be there.

local _M = {}


-- true and the module; false and why not when it does not exist. A module that exists and does not load raises.
function _M.load_module_if_exists(module_name)
  if package.loaded[module_name] == nil and not package.preload[module_name] then
    local found, places = package.searchpath(module_name, package.path)
    if not found then
      found, places = package.searchpath(module_name, package.cpath)
    end
    if not found then
      return false, "module '" .. module_name .. "' not found:" .. places
    end
  end
  local ok, result = pcall(require, module_name)
  if not ok then
    error("error loading module '" .. module_name .. "':\n" .. tostring(result), 2)
  end
  return true, result
end


return _M
