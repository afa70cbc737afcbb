/*
 * Certificates: a path key that is no uuid is the name of one of the certificate's SNIs. The `snis` list that the API takes and shows
 * with a certificate is the record's work (core/store/dao_rules.c).
 */
#include "core/admin/admin_int.h"

#include <string.h>

static const sb_entity_t *
snis(void)
{
    return sb_entity_find("snis");
}

/* The certificate that an SNI name belongs to; NULL with c->err for none. malloc'ed. */
static char *
owner_of(sb_admin_call_t *c, const char *name)
{
    json_t *row = NULL;
    const char *id;
    char *owner = NULL;

    if (sb_dao_select(c->store, snis(), name, &(sb_dao_opts_t){.by = "name"}, &row, &c->err) == SB_OK) {
        id = sb_json_foreign_id(row, "certificate");
        owner = sb_strdup_len(id, strlen(id));
    }
    json_decref(row);
    return owner;
}

static int
key(sb_admin_call_t *c, const char *name, bool create, char **id)
{
    char made[SB_UUID_TEXT + 1];
    json_t *list;

    *id = owner_of(c, name);
    if (*id != NULL)
        return SB_OK;
    if (c->err.code != SB_E_NOT_FOUND)
        return sb_admin_answer_error(c);
    if (!create)
        return sb_admin_answer_message(c, 404, "SNI not found");
    /* A PUT by a new name makes a certificate that has it. */
    sb_err_clear(&c->err);
    sb_uuid_v4(made);
    *id = sb_strdup_len(made, SB_UUID_TEXT);
    list = json_array();
    json_array_append_new(list, json_string(name));
    if (json_is_array(json_object_get(c->input, "snis")))
        json_array_extend(list, json_object_get(c->input, "snis"));
    json_object_set_new(c->input, "snis", list);
    return SB_OK;
}

const sb_admin_hook_t sb_admin_hook_certificates = {.entity = "certificates", .key = key};
