-- Guards of PDK functions: the phase check and the checks of arguments that several namespaces share.

local phases = require "kong.silverback.phases"
local sbffi = require "kong.silverback.ffi"
local bit = require "bit"

local C, get_request = sbffi.C, sbffi.get_request
local band, rshift = bit.band, bit.rshift
local error, type, fmt = error, type, string.format
local ngx = ngx

local _M = {}

local TIMER = phases.NUMBER.timer
local INIT_WORKER = phases.NUMBER.init_worker


-- Number of the phase that runs now.
local function phase_of(r)
  if not r then
    return INIT_WORKER
  end
  local phase = C.sb_ffi_phase(r)
  return phase >= 0 and phase or TIMER
end

_M.phase_of = phase_of


-- A function that raises the interface's error, blamed on the caller of the PDK function, unless `name` may run now. Returns the
-- request and the number of the phase.
function _M.guard(name)
  local mask = phases.mask(name)
  return function()
    local r = get_request()
    local phase = phase_of(r)
    if band(rshift(mask, phase), 1) == 0 then
      error(phases.message(name, phase), 3)
    end
    return r, phase
  end
end


-- Raises "<what> must be …" unless `value` is an integer between min and max.
function _M.integer(value, what, min, max)
  if type(value) ~= "number" or value % 1 ~= 0 then
    error(what .. " must be an integer", 3)
  end
  if value < min or value > max then
    error(fmt("%s must be an integer between %d and %d: given %d", what, min, max, value), 3)
  end
end


function _M.string(value, what)
  if type(value) ~= "string" then
    error(what .. " must be a string", 3)
  end
end


-- max_args, max_headers: optional, 1 to 1000.
function _M.limit(value, what)
  if value == nil then
    return
  end
  if type(value) ~= "number" then
    error(what .. " must be a number", 3)
  end
  if value < 1 then
    error(what .. " must be >= 1", 3)
  end
  if value > 1000 then
    error(what .. " must be <= 1000", 3)
  end
end


local function scalar(value)
  local t = type(value)
  return t == "string" or t == "number" or t == "boolean"
end


-- A header's name and value as plugins may give them.
function _M.header(name, value, level)
  if type(name) ~= "string" then
    error(fmt("invalid header name %q: got %s, expected string", tostring(name), type(name)), (level or 1) + 2)
  end
  if scalar(value) then
    return
  end
  if type(value) ~= "table" then
    error(fmt("invalid header value for %q: got %s, expected array of string, string, number or boolean", name, type(value)),
          (level or 1) + 2)
  end
  for _, item in ipairs(value) do
    if not scalar(item) then
      error(fmt("invalid header value in array %q: got %s, expected string", name, type(item)), (level or 1) + 2)
    end
  end
end


function _M.headers(headers, level)
  if type(headers) ~= "table" then
    error("headers must be a table", (level or 1) + 2)
  end
  for name, value in pairs(headers) do
    _M.header(name, value, (level or 1) + 1)
  end
end


-- A header value as it is sent: text, never empty.
local function header_text(value)
  value = tostring(value)
  return value == "" and " " or value
end

_M.header_text = header_text


-- Calls fn(text) for the value, or each of an array.
function _M.each_value(value, fn)
  if type(value) ~= "table" then
    return fn(header_text(value))
  end
  for _, item in ipairs(value) do
    fn(header_text(item))
  end
end


-- Raises when the response header is on its way to the client already.
function _M.not_sent()
  if ngx.headers_sent then
    error("headers have already been sent", 3)
  end
end


return _M
