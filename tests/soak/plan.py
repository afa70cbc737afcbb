"""What the soak configures, and so what each path may answer while it changes: the one place that clients and changes agree on.

  /fixed      the upstream "pool": targets come, go and change weight, the first stays
  /plugged    a route whose plugins are switched: refused by request-termination, by ip-restriction, or answered; a Lua plugin marks it
  /moving/k   a route that is made, changed and deleted
  /echo, /chat and the gRPC service do not change
"""

TARGETS, MOVING = 4, 6
MARKS = frozenset(f"m{i}" for i in range(10))
REFUSED = "refused by the soak"
PATHS = ["/fixed", "/plugged"] + [f"/moving/{k}" for k in range(MOVING)]
NAMES = ("steady.example", "turning.example", "coming.example")
_OK = [(200, f"target-{i}".encode()) for i in range(TARGETS)]


def answers(path):
    """The (status, text in the body) pairs that are right at some time."""
    if path == "/fixed":
        return _OK
    if path == "/plugged":
        return [_OK[0], (418, REFUSED.encode()), (403, b"not allowed")]
    if path.startswith("/moving/"):
        return [_OK[0], (404, b"no Route matched with those values")]
    return []


LUA_HANDLER = """
local Soak = { PRIORITY = 900, VERSION = "1.0.0" }

function Soak:access(conf)
  kong.ctx.plugin.mark = conf.mark
end

function Soak:header_filter(conf)
  kong.response.set_header("X-Soak", kong.ctx.plugin.mark or conf.mark)
end

function Soak:log(conf)
  kong.log.serialize()
end

return Soak
"""
LUA_SCHEMA = """
return { name = "soak", fields = { { config = { type = "record", fields = { { mark = { type = "string", required = true } } } } } } }
"""
