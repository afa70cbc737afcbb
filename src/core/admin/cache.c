/* /cache: what kong.cache holds in the proxy. Reading asks a worker; forgetting is an event that every worker follows. */
#include "core/admin/core_int.h"

int
sb_admin_cache_get(sb_admin_call_t *c)
{
    const json_t *found, *value;

    if (c->req->told == NULL)
        return sb_admin_ask(c, json_pack("{s:s}", "cache", c->param[0]));
    found = json_object_get(c->req->told, "cache");
    value = json_object_get(found, "value");
    if (value == NULL)
        return sb_admin_answer_not_found(c);
    if (json_is_object(value) || json_is_array(value))
        return sb_admin_answer(c, 200, json_deep_copy(value));
    return sb_admin_answer(c, 200, json_pack("{s:O}", "message", value));
}

static int
forget(sb_admin_call_t *c, json_t *event)
{
    int rc = sb_store_event(c->store, event, &c->err);

    json_decref(event);
    return rc == SB_OK ? sb_admin_answer_empty(c, 204) : sb_admin_answer_error(c);
}

int
sb_admin_cache_purge(sb_admin_call_t *c)
{
    return forget(c, json_pack("{s:s}", "op", "cache_purge"));
}

int
sb_admin_cache_delete(sb_admin_call_t *c)
{
    return forget(c, json_pack("{s:s,s:s}", "op", "cache_delete", "key", c->param[0]));
}
