-- Giving other requests a turn in long loops.

local _M = {}

local YIELDABLE = {
  rewrite = true, access = true, content = true, timer = true, preread = true, ssl_cert = true, ssl_client_hello = true,
}


function _M.in_yieldable_phase()
  return YIELDABLE[ngx.get_phase()] or false
end


function _M.yield(in_loop, phase)
  if YIELDABLE[phase or ngx.get_phase()] then
    ngx.sleep(0)
  end
  return in_loop
end


return _M
