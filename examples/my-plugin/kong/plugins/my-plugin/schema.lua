local typedefs = require "kong.db.schema.typedefs"

return {
  name = "my-plugin",
  fields = {
    { config = {
        type = "record",
        fields = {
          { response_header_name = typedefs.header_name {
              required = false,
              default = "X-MyPlugin",
          } },
        },
    } },
  },
}
