-- kong.ctx: tables that live as long as the request. `shared` is everybody's, `plugin` belongs to one plugin instance, `core` is
-- ours.

local state = require "kong.silverback.state"

local setmetatable, rawset, error = setmetatable, rawset, error


local function shared(st)
  local t = st.shared
  if not t then
    t = {}
    st.shared = t
  end
  return t
end


local function core(st)
  local t = st.core
  if not t then
    t = {}
    st.core = t
  end
  return t
end


-- One table per plugin instance, found by its configuration entry.
local function plugin(st)
  local key = st.entry or st.plugin
  if not key then
    return nil
  end
  local tables = st.plugin_tables
  if not tables then
    tables = {}
    st.plugin_tables = tables
  end
  local t = tables[key]
  if not t then
    t = {}
    tables[key] = t
  end
  return t
end


local NAMESPACES = { shared = shared, core = core, plugin = plugin }


local function new()
  return setmetatable({}, {
    __index = function(_, name)
      local get = NAMESPACES[name]
      local st = get and state.current()
      return st and get(st)
    end,
    __newindex = function(t, name, value)
      if NAMESPACES[name] then
        error("cannot replace kong.ctx." .. name, 2)
      end
      rawset(t, name, value)
    end,
  })
end


return { new = new }
