-- Bodies by media type: what kong.request.get_body and kong.service.response.get_body share.

local cjson = require "cjson.safe"
local multipart = require "kong.pdk.private.multipart"

local ngx = ngx

local _M = {
  FORM = "application/x-www-form-urlencoded", JSON = "application/json", MULTIPART = "multipart/form-data",
}


local function starts(text, prefix)
  return text:sub(1, #prefix) == prefix
end


-- The media type of `content_type` that can be decoded, or nil.
function _M.known(content_type)
  local lower = content_type:lower()
  for _, mime in ipairs { _M.FORM, _M.JSON, _M.MULTIPART } do
    if starts(lower, mime) then
      return mime
    end
  end
end


-- Decodes `body` of `content_type`. Returns the table, nil, media type; or nil, message, media type.
function _M.decode(body, content_type, max_args)
  local mime = _M.known(content_type)
  if mime == _M.FORM then
    local args, err = ngx.decode_args(body, max_args)
    if not args then
      return nil, err, mime
    end
    return args, nil, mime
  end
  if mime == _M.JSON then
    local value = cjson.decode(body)
    if type(value) ~= "table" then
      return nil, "invalid json body", mime
    end
    return value, nil, mime
  end
  if mime == _M.MULTIPART then
    local parts = multipart.decode(body, content_type)
    if not parts then
      return nil, "unable to decode multipart body", mime
    end
    return parts, nil, mime
  end
  return nil, "unsupported content type '" .. content_type .. "'", content_type
end


return _M
