/* First line: a value; the rest: the JSON form of a Lua plugin's schema. A schema that is taken can be described and used. */
#include "core/base/json.h"
#include "core/schema/schema.h"
#include "fuzz.h"

static void
use(const sb_schema_t *schema, json_t *object)
{
    static const enum sb_op ops[] = {SB_OP_INSERT, SB_OP_UPSERT, SB_OP_UPDATE};
    json_t *described = sb_schema_describe(schema), *current = NULL;

    SB_ASSERT(described != NULL);
    json_decref(described);
    for (size_t i = 0; object != NULL && (i < 2 || (i == 2 && current != NULL)); i++) {
        sb_err_t err = {0};
        json_t *copy = json_deep_copy(object), *row = NULL;

        sb_schema_process(schema, ops[i], copy, i == 2 ? current : NULL, NULL, &row, &err);
        sb_err_clear(&err);
        if (current == NULL)
            current = json_incref(row);
        json_decref(row);
        json_decref(copy);
    }
    json_decref(current);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sb_str_t in = {(const char *)data, size}, line = fuzz_line(&in);
    json_t *object = sb_json_parse(line.data, line.len, NULL), *def = sb_json_parse(in.data, in.len, NULL);
    sb_schema_t *schema = NULL;
    sb_err_t err = {0};

    if (def != NULL) {
        if (sb_schema_from_json("fuzzed", def, &schema, &err) == SB_OK)
            use(schema, json_is_object(object) ? object : NULL);
        else
            SB_ASSERT(schema == NULL && err.message != NULL);
    }
    sb_err_clear(&err);
    sb_schema_free(schema);
    json_decref(def);
    json_decref(object);
    return 0;
}
