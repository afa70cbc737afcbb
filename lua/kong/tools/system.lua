-- The machine.

local _M = {}

local BUNDLES = {
  "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem",
}


-- Cores, kernel name and host name.
function _M.get_system_infos()
  local function first_line(path)
    local file = io.open(path)
    local line = file and file:read("*l")
    if file then
      file:close()
    end
    return line
  end
  local cores = 0
  local file = io.open("/proc/cpuinfo")
  for line in file and file:lines() or function() end do
    if line:find("^processor%s*:") then
      cores = cores + 1
    end
  end
  if file then
    file:close()
  end
  return { cores = cores, uname = first_line("/proc/version"), hostname = first_line("/proc/sys/kernel/hostname") }
end


-- The system's bundle of trusted certificates; nil, message.
function _M.get_system_trusted_certs_filepath()
  for _, path in ipairs(BUNDLES) do
    local file = io.open(path)
    if file then
      file:close()
      return path
    end
  end
  return nil, "no file of trusted certificates was found in the places where systems keep it"
end


return _M
