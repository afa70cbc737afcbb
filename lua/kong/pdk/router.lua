-- kong.router: what matched.

local check = require "kong.pdk.private.check"

local ngx = ngx


local function new()
  local _ROUTER = {}

  local route_allowed = check.guard "kong.router.get_route"
  function _ROUTER.get_route()
    route_allowed()
    return ngx.ctx.route
  end


  local service_allowed = check.guard "kong.router.get_service"
  function _ROUTER.get_service()
    service_allowed()
    return ngx.ctx.service
  end


  return _ROUTER
end


return { new = new }
