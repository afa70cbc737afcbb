-- Finds and checks the Lua half of plugins: kong.plugins.<name>.handler.
--
-- No FFI and no request API: the proxy loads plugins with it before it forks, and `silverback check` runs the same code, so
-- both report the same faults. Every fault is one line that names the plugin, the file and, where there is one, the line.

local _M = {}

-- Handler functions by phase, with the number of enum sb_phase.
_M.PHASES = {
  init_worker = 0, configure = 1, certificate = 2, rewrite = 3, access = 4, response = 6, header_filter = 7, body_filter = 8,
  log = 9,
}


-- The file that `require(module)` would load, by package.path; nil and the places looked at.
local function find_module(module)
  return package.searchpath(module, package.path)
end


-- What `require` says about a file that cannot be loaded or that raised, without its preamble. Lua shortens long file names to
-- "...tail:line:"; users need the whole one.
function _M.explain(message, file)
  message = tostring(message):gsub("^error loading module '[^']*' from file '[^']*':%s*", "")
  return (message:gsub("%.%.%.([^:\n]+):(%d+):", function(tail, line)
    if file and file:sub(-#tail) == tail then
      return file .. ":" .. line .. ":"
    end
  end))
end


-- Loads one module of a plugin. Returns the module; or nil, message; or nil, nil when it does not exist (a module that exists
-- but requires a missing one is a fault).
local function load_module(module)
  local loaded = package.loaded[module]
  if loaded ~= nil then
    return loaded
  end
  if not find_module(module) and not package.preload[module] then
    return nil, nil
  end
  local ok, result = pcall(require, module)
  if ok then
    return result
  end
  return nil, _M.explain(result, find_module(module))
end


local function check_priority(handler)
  local p = handler.PRIORITY
  if type(p) ~= "number" then
    return "PRIORITY must be an integer, it is " .. (p == nil and "missing" or "a " .. type(p))
  end
  if p ~= p or p >= 2 ^ 31 or p < -2 ^ 31 or p % 1 ~= 0 then
    return "PRIORITY must be an integer, it is " .. tostring(p)
  end
end


local function check_version(handler)
  local v = handler.VERSION
  if type(v) ~= "string" then
    return "VERSION must be a string of the form x.y.z, it is " .. (v == nil and "missing" or "a " .. type(v))
  end
  if not v:match("^%d+%.%d+%.%d+$") then
    return "VERSION must be of the form x.y.z, it is '" .. v .. "'"
  end
end


local function check_phases(handler)
  if handler.response and (handler.header_filter or handler.body_filter) then
    local other = handler.header_filter and "header_filter" or "body_filter"
    return "a handler may not have both a response and a " .. other .. " function"
  end
  for phase in pairs(_M.PHASES) do
    local fn = handler[phase]
    if fn ~= nil and type(fn) ~= "function" then
      return phase .. " must be a function, it is a " .. type(fn)
    end
  end
end


local function check_handler(handler)
  if type(handler) ~= "table" then
    return "the module must return a table, it returned a " .. type(handler)
  end
  return check_priority(handler) or check_version(handler) or check_phases(handler)
end


-- The phases a handler has as bits (1 << number), inherited functions included.
local function phase_bits(handler)
  local bits = 0
  for phase, number in pairs(_M.PHASES) do
    if handler[phase] then
      bits = bits + 2 ^ number
    end
  end
  return bits
end


-- Loads and checks one plugin. Returns { name, handler, priority, version, phases } or nil, message.
function _M.load(name)
  local module = "kong.plugins." .. name .. ".handler"
  local handler, err = load_module(module)
  if handler == nil and err == nil then
    local _, places = find_module(module)
    return nil, string.format("%s plugin is enabled but not installed; no file for module '%s' (looked at:%s)", name, module,
                              (tostring(places or ""):gsub("%s+no file%s+", " ")))
  end
  if handler == nil then
    return nil, string.format("%s plugin: loading its handler failed: %s", name, err)
  end
  local fault = check_handler(handler)
  if fault then
    return nil, string.format("%s plugin: %s: %s", name, find_module(module) or module, fault)
  end
  return {
    name = name, handler = handler, priority = handler.PRIORITY, version = handler.VERSION, phases = phase_bits(handler),
  }
end


-- Loads all of a list of names. Returns the plugins ordered as they run (priority, then name, both descending), or nil and
-- every fault, one per line.
function _M.load_all(names)
  local plugins, faults = {}, {}
  for _, name in ipairs(names) do
    local plugin, err = _M.load(name)
    if plugin then
      plugins[#plugins + 1] = plugin
    else
      faults[#faults + 1] = err
    end
  end
  if #faults > 0 then
    return nil, table.concat(faults, "\n")
  end
  table.sort(plugins, function(a, b)
    if a.priority ~= b.priority then
      return a.priority > b.priority
    end
    return a.name > b.name
  end)
  return plugins
end


return _M
