local code = { type = "string", required = false, len_min = 0 }

return {
  name = "probe",
  fields = {
    { config = {
        type = "record",
        fields = {
          { rewrite = code }, { access = code }, { header_filter = code }, { body_filter = code }, { log = code },
          { list = { type = "array", elements = { type = "string" } } },
          { unset = { type = "string" } },
        },
    } },
  },
}
