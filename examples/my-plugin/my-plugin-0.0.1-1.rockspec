rockspec_format = "3.0"
package = "my-plugin"
version = "0.0.1-1"
source = {
  url = "file://.",
}
description = {
  summary = "Sets a response header from what an outside service says",
  license = "Apache-2.0",
}
dependencies = {
  "lua >= 5.1",
}
build = {
  type = "builtin",
  modules = {
    ["kong.plugins.my-plugin.handler"] = "kong/plugins/my-plugin/handler.lua",
    ["kong.plugins.my-plugin.schema"] = "kong/plugins/my-plugin/schema.lua",
  },
}
