/* /tags and /tags/{tag}: which entities carry which tags; a view, so nothing can be written. */
#include "core/admin/core_int.h"

#include <stdlib.h>

static const char read_only[] = "does not support insert/upsert/update/delete operations";

static int
refuse(sb_admin_call_t *c, const char *text)
{
    sb_schema_violation(&c->err, json_pack("{s:s}", "tags", text));
    return sb_admin_answer_error(c);
}

int
sb_admin_tags_refuse(sb_admin_call_t *c)
{
    return refuse(c, read_only);
}

/* The tag of the path, if it is a valid one. SB_DECLINED having answered. */
static int
check_tag(sb_admin_call_t *c)
{
    json_t *tag = json_string(c->param[0]);
    char buf[256];
    const char *problem = sb_valid_tag(tag, buf, sizeof(buf));

    json_decref(tag);
    return problem == NULL ? SB_OK : refuse(c, problem);
}

int
sb_admin_tags(sb_admin_call_t *c)
{
    const char *tag = c->param[0];
    json_t *rows = NULL;
    sb_admin_page_t p;
    char *token = NULL, *key, *path;
    int rc;

    if (tag != NULL && check_tag(c) != SB_OK)
        return SB_DECLINED;
    rc = sb_admin_page_read(c, false, &p);
    if (rc == SB_OK)
        rc = sb_dao_tags(c->store, tag, &p.opts, &rows, &token, &c->err);
    if (rc != SB_OK)
        return sb_admin_answer_error(c);
    key = sb_admin_escape(tag != NULL ? tag : "");
    path = sb_asprintf("/tags%s%s", tag != NULL ? "/" : "", key);
    rc = sb_admin_answer_page(c, rows, token, path, &p);
    free(key);
    free(path);
    sb_admin_page_free(&p);
    return rc;
}
