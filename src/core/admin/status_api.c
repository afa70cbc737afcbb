/* What the Status API has beyond the Admin API: whether the node is ready for traffic. */
#include "core/admin/core_int.h"

#include <string.h>

int
sb_admin_ready(sb_admin_call_t *c)
{
    const sb_admin_host_t *h = &c->admin->host;
    const char *why = h->unready != NULL ? h->unready(h->arg) : NULL;

    return sb_admin_answer_message(c, why != NULL ? 503 : 200, "%s", why != NULL ? why : "ready");
}

int
sb_admin_ready_set(sb_admin_call_t *c)
{
    const sb_admin_host_t *h = &c->admin->host;
    const char *status;

    if (sb_admin_read_input(c, NULL, NULL) != SB_OK)
        return SB_DECLINED;
    status = sb_json_string(c->input, "status");
    if (status == NULL || strcmp(status, "draining") != 0)
        return sb_admin_answer_message(c, 400, "status must be 'draining'");
    if (h->drain != NULL)
        h->drain(h->arg);
    return sb_admin_answer_empty(c, 204);
}
