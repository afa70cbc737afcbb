-- multipart/form-data: bodies into tables of name and value, and back.

local _M = {}

local concat, fmt = table.concat, string.format


-- The boundary in a Content-Type; nil when there is none.
function _M.boundary(content_type)
  local quoted = content_type:match('[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]="([^"]+)"')
  return quoted or content_type:match("[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]=([^%s;,]+)")
end


local function part_name(head)
  for line in (head .. "\r\n"):gmatch("(.-)\r?\n") do
    local name, value = line:match("^%s*([^:%s]+)%s*:%s*(.-)%s*$")
    if name and name:lower() == "content-disposition" then
      -- "; name=" only: "filename=" must not match
      return value:match(';%s*[Nn][Aa][Mm][Ee]="([^"]*)"') or value:match(";%s*[Nn][Aa][Mm][Ee]=([^%s;]+)")
    end
  end
end


local function keep(parts, name, value)
  local before = parts[name]
  if before == nil then
    parts[name] = value
  elseif type(before) == "table" then
    before[#before + 1] = value
  else
    parts[name] = { before, value }
  end
end


-- One part, between two delimiters: header lines, an empty line, the value.
local function read_part(text, parts)
  local head, value
  if text:sub(1, 2) == "\r\n" then
    head, value = "", text:sub(3)
  else
    local at, after = text:find("\r?\n\r?\n")
    if not at then
      return
    end
    head, value = text:sub(1, at - 1), text:sub(after + 1)
  end
  local name = part_name(head)
  if name then
    keep(parts, name, value)
  end
end


-- Values by part name, arrays where a name repeats; nil when the body does not have the form.
function _M.decode(body, content_type)
  local boundary = _M.boundary(content_type)
  if not boundary then
    return nil
  end
  local delimiter = "--" .. boundary
  local at, after = body:find(delimiter, 1, true)
  if not at then
    return nil
  end
  local parts = {}
  while body:sub(after + 1, after + 2) ~= "--" do
    local from = body:match("^[ \t]*\r?\n()", after + 1)
    local to, next_after
    if from then
      to, next_after = body:find("\n" .. delimiter, from, true)
    end
    if not to then
      return nil
    end
    if body:byte(to - 1) == 13 then
      to = to - 1
    end
    read_part(body:sub(from, to - 1), parts)
    after = next_after
  end
  return parts
end


-- A body of the parts, ordered by name.
function _M.encode(args, boundary)
  local names, out = {}, {}
  for name in pairs(args) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local values = args[name]
    for _, value in ipairs(type(values) == "table" and values or { values }) do
      out[#out + 1] = fmt('--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n', boundary, name, tostring(value))
    end
  end
  out[#out + 1] = "--" .. boundary .. "--\r\n"
  return concat(out)
end


return _M
