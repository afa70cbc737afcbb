-- The custom validators of typedefs: value in; true, or nil and the message.
--
-- No request API and no FFI at load, because control evaluates schemas with them. NAMES tells the schema engine's name of each
-- function, so that whoever turns a schema into a field table may put the native validator in its place.

local ip = require "kong.tools.ip"
local strings = require "kong.tools.string"

local fmt = string.format

local _M = {}

_M.NAMES = {}


-- ------------------------------------------------------------------ names

local HEADER_RULE = "bad header name '%s', allowed characters are A-Z, a-z, 0-9, '_', and '-'"

function _M.header_name(v)
  if v == "" then
    return nil, "no header name provided"
  end
  if not v:find("^[%w_%-]+$") then
    return nil, fmt(HEADER_RULE, v)
  end
  return true
end


function _M.http_token(v)
  local ok, err = require("kong.tools.http").validate_http_token(v)
  return ok and true or nil, err
end


function _M.name(v)
  if not v:find("^[%w%.%-_~]+$") then
    return nil, fmt("invalid value '%s': it must only contain alphanumeric and '., -, _, ~' characters", v)
  end
  return true
end


local function utf8(v)
  local ok, position = strings.validate_utf8(v)
  if not ok then
    return nil, "invalid utf-8 character sequence detected at position " .. tostring(position)
  end
  return true
end


function _M.utf8_name(v)
  local ok, err = utf8(v)
  if not ok then
    return nil, err
  end
  if v:find("[%z\1-\127]") and v:gsub("[\128-\255]", ""):find("[^%w%.%-_~]") then
    return nil, fmt("invalid value '%s': the only accepted ascii characters are alphanumerics or ., -, _, and ~", v)
  end
  return true
end


function _M.tag(v)
  local ok, err = utf8(v)
  if not ok then
    return nil, err
  end
  if not v:find("^[ \33-\43\45\46\48-\126\128-\244]+$") then
    return nil, fmt("invalid tag '%s': expected printable ascii (except `,` and `/`) or valid utf-8 sequences", v)
  end
  return true
end


-- ------------------------------------------------------------------ hosts and addresses

function _M.ip(v)
  if ip.is_valid_ip(v) then
    return true
  end
  return nil, "not an ip address: " .. v
end


function _M.ip_or_cidr(v)
  if ip.is_valid_ip_or_cidr(v) then
    return true
  end
  return nil, "invalid ip or cidr range: '" .. v .. "'"
end


function _M.ip_or_cidr_v4(v)
  if ip.is_valid_ip_or_cidr_v4(v) then
    return true
  end
  return nil, "invalid ipv4 cidr range: '" .. v .. "'"
end


function _M.host_with_optional_port(v)
  local parsed, err = ip.normalize_ip(v)
  if not parsed then
    return nil, err
  end
  return true
end


function _M.host(v)
  local parsed = ip.normalize_ip(v)
  if not parsed then
    return nil, "invalid value: " .. v
  end
  if parsed.port then
    return nil, "must not have a port"
  end
  return true
end


function _M.host_with_wildcards(v)
  return _M.host_with_optional_port((v:gsub("%*", "abc")))
end


local function host_name(v, shown)
  local parsed = ip.normalize_ip(v)
  if not parsed then
    return nil, "invalid value: " .. shown
  end
  if parsed.type ~= "name" then
    return nil, "must not be an IP"
  end
  if parsed.port then
    return nil, "must not have a port"
  end
  return true
end


function _M.sni(v)
  return host_name(v, v)
end


function _M.wildcard_host(v)
  local _, stars = v:gsub("%*", "")
  if stars == 0 then
    return host_name(v, v)
  end
  if stars > 1 then
    return nil, "only one wildcard must be specified"
  end
  if v:sub(1, 1) ~= "*" and v:sub(-1) ~= "*" then
    return nil, "wildcard must be leftmost or rightmost character"
  end
  return host_name((v:gsub("%*", "abc")), v)
end


-- ------------------------------------------------------------------ URLs and paths

local PATH_CHARS = "^/[%w%.%-_~/%%:@!$&'()*+,;=]*$"

local function percent_encoding(v)
  for bad in v:gmatch("%%(..?)") do
    if not bad:find("^%x%x$") then
      return nil, "invalid url-encoded value: '%" .. bad .. "'"
    end
  end
  if v:sub(-1) == "%" then
    return nil, "invalid url-encoded value: '%'"
  end
  return true
end


function _M.path(v)
  if not v:find(PATH_CHARS) then
    return nil, fmt("invalid path: '%s' (characters outside of the reserved list of RFC 3986 found)", v)
  end
  return percent_encoding(v)
end


function _M.router_path(v)
  local ok, err = percent_encoding(v)
  if not ok then
    return nil, err
  end
  if v:sub(1, 1) == "/" then
    local normal = require("kong.tools.uri").normalize(v, true)
    if normal ~= v then
      return nil, "non-normalized path, consider use '" .. normal .. "' instead"
    end
    return true
  end
  if v:sub(1, 1) == "~" then
    local _, _, regex_err = ngx.re.find("", v:sub(2), "aj")
    if regex_err then
      return nil, fmt("invalid regex: '%s' (PCRE returned: %s)", v:sub(2), regex_err)
    end
  end
  return true
end


function _M.url(v)
  local scheme, rest = v:match("^(%a[%w+.-]*):(.*)$")
  if not scheme or rest:sub(1, 2) ~= "//" then
    if v:sub(1, 2) == "//" then
      return nil, "missing scheme in url"
    end
    return nil, scheme and "missing host in url" or "missing scheme in url"
  end
  local authority = rest:match("^//([^/?#]*)")
  if authority:gsub("^.*@", ""):gsub(":%d*$", "") == "" then
    return nil, "missing host in url"
  end
  return true
end


-- ------------------------------------------------------------------ keys and code

local function is_reference(v)
  return v:sub(1, 9) == "{vault://" and v:sub(-1) == "}"
end


local pem

-- OpenSSL's readers, declared when first needed.
local function openssl()
  if not pem then
    local ffi = require "ffi"
    ffi.cdef [[
    void *BIO_new_mem_buf(const void *buf, int len);
    int BIO_free(void *bio);
    void *PEM_read_bio_X509(void *bio, void **x, void *cb, void *u);
    void X509_free(void *x);
    void *PEM_read_bio_PrivateKey(void *bio, void **x, void *cb, void *u);
    void *PEM_read_bio_PUBKEY(void *bio, void **x, void *cb, void *u);
    void EVP_PKEY_free(void *key);
    int EVP_PKEY_eq(const void *a, const void *b);
    void ERR_clear_error(void);
    ]]
    pem = { C = ffi.C, ffi = ffi }
  end
  return pem
end


-- What `reader` makes of a PEM text, to be freed by `free`; nil when it is none.
local function read_pem(v, reader, free)
  local o = openssl()
  local bio = o.C.BIO_new_mem_buf(v, #v)
  local object = o.C[reader](bio, nil, nil, o.ffi.cast("void *", ""))
  o.C.BIO_free(bio)
  o.C.ERR_clear_error()
  if object ~= nil then
    return o.ffi.gc(object, o.C[free])
  end
end


function _M.certificate_pem(v)
  if not read_pem(v, "PEM_read_bio_X509", "X509_free") then
    return nil, "invalid certificate: not a PEM certificate"
  end
  return true
end


function _M.private_key_pem(v)
  if not read_pem(v, "PEM_read_bio_PrivateKey", "EVP_PKEY_free") then
    return nil, "invalid key: not a PEM private key"
  end
  return true
end


function _M.pem_pair(v)
  local public, private = v.public_key, v.private_key
  local public_key, private_key
  if type(public) == "string" and not is_reference(public) then
    public_key = read_pem(public, "PEM_read_bio_PUBKEY", "EVP_PKEY_free")
    if not public_key then
      return nil, "could not load public key"
    end
  end
  if type(private) == "string" and not is_reference(private) then
    private_key = read_pem(private, "PEM_read_bio_PrivateKey", "EVP_PKEY_free")
    if not private_key then
      return nil, "could not load private key"
    end
  end
  if public_key and private_key and openssl().C.EVP_PKEY_eq(public_key, private_key) ~= 1 then
    return nil, "public key does not match private key"
  end
  return true
end


local JWK_MEMBERS = { RSA = { "n", "e" }, EC = { "crv", "x", "y" }, oct = { "k" }, OKP = { "crv", "x" } }

function _M.jwk(v)
  if type(v) == "string" then
    if is_reference(v) then
      return true
    end
    v = require("cjson.safe").decode(v)
  end
  local members = type(v) == "table" and JWK_MEMBERS[v.kty]
  for _, member in ipairs(members or { "" }) do
    if type(v) ~= "table" or type(v[member]) ~= "string" or v[member] == "" then
      return nil, "could not load JWK, likely not a valid key"
    end
  end
  return true
end


function _M.lua_code(v)
  local ok, err = loadstring(v)
  if not ok then
    return nil, "error parsing function: " .. err
  end
  return true
end


for name, fn in pairs(_M) do
  if type(fn) == "function" then
    _M.NAMES[fn] = name
  end
end

return _M
