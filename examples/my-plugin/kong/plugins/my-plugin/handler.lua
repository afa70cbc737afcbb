local http = require "resty.http"
local cjson = require "cjson.safe"

local MyPlugin = {
  PRIORITY = 1000,
  VERSION = "0.0.1",
}

function MyPlugin:response(conf)
  local client = http.new()
  client:set_timeout(2000)

  local res, err = client:request_uri("http://localhost:8080/anything", { method = "GET" })
  if not res then
    kong.log.err("the outside service cannot be reached: ", err)
    return kong.response.error(500, "the outside service cannot be reached: " .. err)
  end

  local answer
  answer, err = cjson.decode(res.body)
  if not answer then
    kong.log.err("the outside service did not answer with JSON: ", err)
    return kong.response.error(500, "the outside service did not answer with JSON: " .. err)
  end

  kong.response.set_header(conf.response_header_name, answer.url)
end

return MyPlugin
