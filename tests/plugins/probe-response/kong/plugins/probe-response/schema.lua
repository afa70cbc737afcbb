local code = { type = "string", required = false, len_min = 0 }

return {
  name = "probe-response",
  fields = {
    { config = { type = "record", fields = { { access = code }, { response = code }, { log = code } } } },
  },
}
