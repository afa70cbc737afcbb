local typedefs = require "kong.db.schema.typedefs"

return {
  name = "bench-header",
  fields = {
    { consumer = typedefs.no_consumer },
    { protocols = typedefs.protocols_http },
    { config = {
        type = "record",
        fields = {
          { name = { type = "string", required = true, default = "X-Bench" } },
          { value = { type = "string", required = true, default = "1" } },
        },
    } },
  },
}
