-- Finds, runs and translates the schemas of Lua plugins: kong.plugins.<name>.schema.
--
-- A schema is a Lua table whose leaves may be functions; the schema engine is C. load() turns it into JSON text in the same form,
-- with each function replaced by {"lua_ref": n}, and keeps the functions. Functions of typedefs that the engine has itself
-- become their name ("@header_name"), so that they never cost a call into Lua.
--
-- No FFI and no request API: control runs this before it forks, and the preflight runs the same code, so both find the same
-- faults. A fault is one text that names the plugin, the file, where there is one the line, and the reason.

local cjson = require "cjson"
local loader = require "kong.silverback.loader"
local validators = require "kong.db.schema.validators"

local concat, floor, huge = table.concat, math.floor, math.huge
local find, format, gmatch, gsub, match = string.find, string.format, string.gmatch, string.gsub, string.match
local ipairs, pairs, pcall, require, tostring, type = ipairs, pairs, pcall, require, tostring, type

local MAX_DEPTH = 64

local _M = {}


-- ---- JSON ----
--
-- cjson cannot tell an empty array from an empty object, and a schema's meaning hangs on it, so this writes its own text.

local encode_string = cjson.encode

local ARRAYS = { -- attributes of schemas whose value is a list
  fields = true, entity_checks = true, one_of = true, not_one_of = true, between = true, match_all = true, match_none = true,
  patterns = true, shorthand_fields = true, transformations = true, at_least_one_of = true, only_one_of = true,
  mutually_required = true, mutually_exclusive = true, distinct = true, field_sources = true, primary_key = true,
  cache_key = true,
  mutually_exclusive_subsets = true, replaced_with = true, translate_backwards = true, input = true, needs = true, set1 = true, set2 = true,
  required_fields = true, if_fields = true, path = true,
}

local function is_list(t)
  local n = 0
  for key in pairs(t) do
    if type(key) ~= "number" or key < 1 or key ~= floor(key) then
      return false
    end
    n = n + 1
  end
  return n > 0 and n == #t
end


local function number_text(value)
  if value ~= value then
    return nil
  end
  if value == huge or value == -huge then
    return value > 0 and "1e308" or "-1e308"
  end
  if value == floor(value) and value > -2 ^ 53 and value < 2 ^ 53 then
    return format("%d", value)
  end
  return format("%.17g", value)
end


-- How a function is called depends on the attribute it stands in.
local KINDS = {
  custom_validator = "validator", fn = "check", func = "shorthand", on_write = "transformation", on_read = "transformation",
  legacy = "validator",
}


-- Validators of typedefs that the schema engine has in C (src/core/schema/validators.c); the others are called in Lua.
local NATIVE = {
  certificate_pem = true, header_name = true, host = true, host_with_optional_port = true, host_with_wildcards = true,
  http_token = true, ip = true, ip_or_cidr = true, ip_or_cidr_v4 = true, name = true, path = true, pem_pair = true,
  private_key_pem = true, router_path = true, sni = true, tag = true, url = true, utf8_name = true, wildcard_host = true,
}


-- State of one translation: `path` names where we are, `functions` takes what was replaced.
local function fault(state, reason)
  return nil, format("%s: %s", concat(state.path, "."), reason)
end


local encode


local function encode_function(state, fn, key)
  local name = validators.NAMES[fn]
  if name and NATIVE[name] and key == "custom_validator" then
    return encode_string("@" .. name)
  end
  local kind = KINDS[key]
  if not kind then
    return fault(state, "a function cannot stand here")
  end
  local functions = state.functions
  functions[#functions + 1] = { fn = fn, kind = kind, where = concat(state.path, ".", 2) }
  return format('{"lua_ref":%d}', #functions)
end


local function encode_list(state, t)
  local out = {}
  for i, item in ipairs(t) do
    -- Lists of fields hold tables of one name each; the name says more than the index.
    state.path[#state.path + 1] = tostring(i)
    local text, err = encode(state, item)
    state.path[#state.path] = nil
    if not text then
      return nil, err
    end
    out[i] = text
  end
  return "[" .. concat(out, ",") .. "]"
end


local function encode_object(state, t)
  local out = {}
  for key, item in pairs(t) do
    if type(key) ~= "string" and type(key) ~= "number" then
      return fault(state, "a " .. type(key) .. " cannot be a key")
    end
    state.path[#state.path + 1] = tostring(key)
    local text, err = encode(state, item, key, t)
    state.path[#state.path] = nil
    if not text then
      return nil, err
    end
    out[#out + 1] = encode_string(tostring(key)) .. ":" .. text
  end
  return "{" .. concat(out, ",") .. "}"
end


local function empty_text(key, parent)
  if key == "default" then
    local kind = parent.type
    return (kind == "map" or kind == "record") and "{}" or "[]"
  end
  return ARRAYS[key] and "[]" or "{}"
end


function encode(state, value, key, parent)
  local kind = type(value)
  if kind == "string" then
    return encode_string(value)
  elseif kind == "boolean" then
    return tostring(value)
  elseif kind == "number" then
    local text = number_text(value)
    if not text then
      return fault(state, "not a number")
    end
    return text
  elseif value == cjson.null then
    return "null"
  elseif kind == "function" then
    return encode_function(state, value, key)
  elseif kind ~= "table" then
    return fault(state, "a " .. kind .. " cannot stand here")
  end
  if #state.path > MAX_DEPTH then
    return nil, state.path[1] .. ": nested too deeply, or inside itself"
  end
  if next(value) == nil then
    return empty_text(key, parent or {})
  end
  if is_list(value) then
    return encode_list(state, value)
  end
  return encode_object(state, value)
end


--- JSON text of a schema table and the list of its functions ({ fn, kind, where }, by lua_ref); or nil, "where: reason".
function _M.translate(name, schema)
  local state = { path = { name }, functions = {} }
  local text, err = encode(state, schema)
  if not text then
    return nil, err
  end
  return text, state.functions
end


-- ---- files ----

local function file_of(module)
  return package.searchpath(module, package.path)
end


--- The line of a file that says `field =` or `["field"] =`, when there is exactly one; else nil.
function _M.line_of(file, field)
  local handle = io.open(file, "r")
  if not handle then
    return nil
  end
  local quoted = gsub(field, "%p", "%%%0")
  local number, found = 0, nil
  for line in handle:lines() do
    number = number + 1
    local code = " " .. gsub(line, "%-%-.*$", "")
    if find(code, "[^%w_.]" .. quoted .. "%s*=") or find(code, "%[%s*[\"']" .. quoted .. "[\"']%s*%]%s*=") then
      if found then
        handle:close()
        return nil
      end
      found = number
    end
  end
  handle:close()
  return found
end


--- Puts file and, where the names in `where` ("config.fields.3.color.type") lead to one, line in front of a reason.
function _M.locate(file, where, reason)
  local line
  for name in gmatch(where or "", "[^.%s]+") do
    if not match(name, "^%d+$") and not ARRAYS[name] then
      line = _M.line_of(file, name) or line
    end
  end
  return format("%s:%s %s", file, line and line .. ":" or "", reason)
end


local function check_shape(schema)
  if type(schema) ~= "table" then
    return "the module must return a table, it returned a " .. type(schema)
  end
  if type(schema.fields) ~= "table" then
    return "fields: must be a list of fields, it is " .. (schema.fields == nil and "missing" or "a " .. type(schema.fields))
  end
  if schema.name ~= nil and type(schema.name) ~= "string" then
    return "name: must be a string, it is a " .. type(schema.name)
  end
end


--- Loads one plugin's schema: { name, schema, json, functions, file } or nil, text.
function _M.load(name)
  local module = "kong.plugins." .. name .. ".schema"
  local file = file_of(module)
  if not file and not package.preload[module] and package.loaded[module] == nil then
    return nil, format("no configuration schema found for plugin: %s (no file for module '%s' on the Lua path)", name, module)
  end
  file = file or module
  local ok, schema = pcall(require, module)
  if not ok then
    return nil, format("%s plugin: loading its schema failed: %s", name, loader.explain(schema, file))
  end
  local shape = check_shape(schema)
  if shape then
    return nil, format("%s plugin: bad schema: %s", name, _M.locate(file, match(shape, "^%l+:"), shape))
  end
  local json, functions = _M.translate(name, schema)
  if not json then
    return nil, format("%s plugin: bad schema: %s", name, _M.locate(file, functions, functions))
  end
  return { name = name, schema = schema, json = json, functions = functions, file = file }
end


return _M
