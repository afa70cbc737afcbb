/*
 * Consumer groups: who is in a group, seen from the group (/consumer_groups/{g}/consumers) and from the consumer
 * (/consumers/{c}/consumer_groups). Both are views of the same memberships, rows of consumer_group_consumers, so each handler serves
 * both; `sides` says what differs. A group's plugins have generated endpoints.
 */
#include "core/admin/core_int.h"

#include <stdlib.h>
#include <string.h>

/* One way to look: the path's first entity owns a list of the other. */
struct side {
    const char *owner, *other;             /* entities */
    const char *owner_field, *other_field; /* of a membership; also the owner's name in answers */
    const char *arg;                       /* what the body calls the one to be added */
};

static const struct side sides[] = {
    {"consumer_groups", "consumers", "consumer_group", "consumer", "consumer"},
    {"consumers", "consumer_groups", "consumer", "consumer_group", "group"},
};

static const struct side *
side_of(const sb_admin_call_t *c)
{
    return &sides[strncmp(c->route->pattern, "/consumers/", 11) == 0];
}

static const sb_entity_t *
members(void)
{
    return sb_entity_find("consumer_group_consumers");
}

static int
select_owner(sb_admin_call_t *c, const struct side *s, json_t **row)
{
    return sb_admin_select(c, sb_entity_find(s->owner), c->param[0], row);
}

/* ---------- listing ---------- */

/* The rows that memberships lead to, as the interface shows them. SB_ERROR: c->err. */
static int
follow(sb_admin_call_t *c, const char *entity, const char *field, const json_t *list, json_t *out)
{
    const sb_entity_t *e = sb_entity_find(entity);
    json_t *member, *row;
    size_t i;
    int rc;

    json_array_foreach(list, i, member)
    {
        row = NULL;
        rc = sb_dao_select(c->store, e, sb_json_foreign_id(member, field), NULL, &row, &c->err);
        if (rc != SB_OK)
            return rc;
        json_array_append_new(out, sb_admin_present(c, e, row));
        json_decref(row);
    }
    return SB_OK;
}

/* All rows of e that belong to a parent; rows that only lead elsewhere (field not NULL) are followed to entity. */
static int
collect(sb_admin_call_t *c, const sb_entity_t *e, const char *by, const char *id, const char *entity, const char *field, json_t *out)
{
    sb_page_opts_t o = {.size = 1000, .foreign_field = by, .foreign_id = id};
    char *token = NULL, *before;
    json_t *rows, *row;
    size_t i;
    int rc;

    do {
        before = token;
        o.offset = before;
        rows = NULL;
        token = NULL;
        rc = sb_dao_page(c->store, e, &o, &rows, &token, &c->err);
        if (rc == SB_OK && field != NULL)
            rc = follow(c, entity, field, rows, out);
        else if (rc == SB_OK)
            json_array_foreach(rows, i, row) json_array_append_new(out, sb_admin_present(c, e, row));
        json_decref(rows);
        free(before);
    } while (rc == SB_OK && token != NULL);
    free(token);
    return rc;
}

static char *
list_path(const sb_admin_call_t *c, const struct side *s)
{
    char *key = sb_admin_escape(c->param[0]), *path = sb_asprintf("/%s/%s/%s", s->owner, key, s->other);

    free(key);
    return path;
}

static int
list(sb_admin_call_t *c)
{
    const struct side *s = side_of(c);
    json_t *owner = NULL, *rows = NULL, *shown = json_array();
    sb_admin_page_t p = {0};
    char *token = NULL, *path;
    int rc = select_owner(c, s, &owner);

    if (rc != SB_OK) {
        json_decref(shown);
        return rc;
    }
    rc = sb_admin_page_read(c, false, &p);
    if (rc == SB_OK) {
        p.opts.foreign_field = s->owner_field;
        p.opts.foreign_id = sb_json_string(owner, "id");
        rc = sb_dao_page(c->store, members(), &p.opts, &rows, &token, &c->err);
    }
    if (rc == SB_OK)
        rc = follow(c, s->other, s->other_field, rows, shown);
    if (rc == SB_OK) {
        path = list_path(c, s);
        rc = sb_admin_answer_page(c, json_incref(shown), token, path, &p);
        free(path);
    } else {
        free(token);
        rc = sb_admin_answer_error(c);
    }
    sb_admin_page_free(&p);
    json_decref(shown);
    json_decref(rows);
    json_decref(owner);
    return rc;
}

/* ---------- one group ---------- */

/* The group's own fields, and beside them the group again with who is in it and its plugins. */
static int
get_group(sb_admin_call_t *c)
{
    const sb_entity_t *e = c->route->entity;
    const char *consumers = sb_admin_query(c, "list_consumers"), *id;
    json_t *row = NULL, *body, *in = json_array(), *plugins = json_array();
    int rc = sb_admin_select(c, e, c->param[0], &row);

    if (rc == SB_OK) {
        id = sb_json_string(row, "id");
        if (consumers == NULL || strcmp(consumers, "false") != 0)
            rc = collect(c, members(), "consumer_group", id, "consumers", "consumer", in);
        if (rc == SB_OK)
            rc = collect(c, sb_entity_find("plugins"), "consumer_group", id, NULL, NULL, plugins);
        body = sb_admin_present(c, e, row);
        json_object_set_new(body, "consumer_group", json_copy(body));
        json_object_set(body, "consumers", in);
        json_object_set(body, "plugins", plugins);
        if (rc == SB_OK)
            rc = sb_admin_answer(c, 200, json_incref(body));
        else
            rc = sb_admin_answer_error(c);
        json_decref(body);
    }
    json_decref(in);
    json_decref(plugins);
    json_decref(row);
    return rc;
}

/* ---------- joining ---------- */

/* Whom the body names. NULL having answered. */
static const char *
named(sb_admin_call_t *c, const struct side *s)
{
    const json_t *v = sb_json_get(c->input, s->arg);

    if (json_is_string(v) && json_string_length(v) != 0)
        return json_string_value(v);
    sb_schema_violation(&c->err, json_pack("{s:s}", s->arg, v == NULL ? "required field missing" : "expected a string"));
    sb_admin_answer_error(c);
    return NULL;
}

static int
join(sb_admin_call_t *c, const struct side *s, const json_t *owner, const json_t *other)
{
    json_t *input = json_pack("{s:{s:O},s:{s:O}}", s->owner_field, "id", json_object_get(owner, "id"), s->other_field, "id",
                              json_object_get(other, "id"));
    json_t *row = NULL;
    int rc = sb_dao_insert(c->store, members(), input, NULL, &row, &c->err);

    json_decref(input);
    json_decref(row);
    if (rc != SB_OK)
        return sb_admin_answer_error(c);
    return sb_admin_answer(c, 201,
                           json_pack("{s:o,s:[o]}", s->owner_field, sb_admin_present(c, sb_entity_find(s->owner), owner), s->other,
                                     sb_admin_present(c, sb_entity_find(s->other), other)));
}

static int
add(sb_admin_call_t *c)
{
    const struct side *s = side_of(c);
    json_t *owner = NULL, *other = NULL;
    const char *key;
    int rc = select_owner(c, s, &owner);

    /* The other's table types the form: it has no field of the argument's name, so that the name stays text. */
    if (rc == SB_OK)
        rc = sb_admin_read_input(c, sb_entity_find(s->other), NULL);
    key = rc == SB_OK ? named(c, s) : NULL;
    if (key == NULL)
        rc = SB_DECLINED;
    if (rc == SB_OK)
        rc = sb_admin_select(c, sb_entity_find(s->other), key, &other);
    if (rc == SB_OK)
        rc = join(c, s, owner, other);
    json_decref(owner);
    json_decref(other);
    return rc;
}

/* ---------- one membership ---------- */

static char *
member_key(const struct side *s, const json_t *owner, const json_t *other)
{
    bool group_first = s == &sides[0];
    json_t *key =
        json_pack("[O,O]", json_object_get(group_first ? owner : other, "id"), json_object_get(group_first ? other : owner, "id"));
    char *text = sb_json_dump(key);

    json_decref(key);
    return text;
}

/* Owner, other and the membership's key; 404 when they are not together. SB_DECLINED having answered. */
static int
find_member(sb_admin_call_t *c, const struct side *s, json_t **other, char **key)
{
    json_t *owner = NULL, *row = NULL;
    int rc = select_owner(c, s, &owner);

    if (rc == SB_OK)
        rc = sb_admin_select(c, sb_entity_find(s->other), c->param[1], other);
    if (rc == SB_OK) {
        *key = member_key(s, owner, *other);
        if (sb_dao_select(c->store, members(), *key, NULL, &row, &c->err) != SB_OK)
            rc = sb_admin_answer_error(c);
    }
    json_decref(owner);
    json_decref(row);
    return rc;
}

static int
get_member(sb_admin_call_t *c)
{
    const struct side *s = side_of(c);
    json_t *other = NULL, *body;
    char *key = NULL;
    int rc = find_member(c, s, &other, &key);

    if (rc == SB_OK) {
        body = sb_admin_present(c, sb_entity_find(s->other), other);
        json_object_set_new(body, s->other_field, json_copy(body));
        rc = sb_admin_answer(c, 200, body);
    }
    json_decref(other);
    free(key);
    return rc;
}

static int
remove_member(sb_admin_call_t *c)
{
    json_t *other = NULL;
    char *key = NULL;
    int rc = find_member(c, side_of(c), &other, &key);

    if (rc == SB_OK) {
        rc = sb_dao_delete(c->store, members(), key, NULL, NULL, &c->err);
        rc = rc == SB_OK ? sb_admin_answer_empty(c, 204) : sb_admin_answer_error(c);
    }
    json_decref(other);
    free(key);
    return rc;
}

static int
remove_all(sb_admin_call_t *c)
{
    const struct side *s = side_of(c);
    json_t *owner = NULL, *all = json_array(), *other;
    size_t i;
    int rc = select_owner(c, s, &owner);

    if (rc == SB_OK) {
        rc = collect(c, members(), s->owner_field, sb_json_string(owner, "id"), s->other, s->other_field, all);
        json_array_foreach(all, i, other)
        {
            char *key = member_key(s, owner, other);

            if (rc == SB_OK)
                rc = sb_dao_delete(c->store, members(), key, NULL, NULL, &c->err);
            free(key);
        }
        rc = rc == SB_OK ? sb_admin_answer_empty(c, 204) : sb_admin_answer_error(c);
    }
    json_decref(owner);
    json_decref(all);
    return rc;
}

const sb_admin_route_t sb_admin_group_routes[] = {
    {.pattern = "/consumer_groups/{consumer_groups}",
     .of = "consumer_groups",
     .text = "One of them, with its consumers and plugins.",
     .on = {[SB_M_GET] = get_group, [SB_M_PUT] = sb_admin_put, [SB_M_PATCH] = sb_admin_patch, [SB_M_DELETE] = sb_admin_delete}},
    {.pattern = "/consumer_groups/{consumer_groups}/consumers",
     .text = "Who is in the group; puts `consumer` in; takes all out.",
     .on = {[SB_M_GET] = list, [SB_M_POST] = add, [SB_M_DELETE] = remove_all}},
    {.pattern = "/consumer_groups/{consumer_groups}/consumers/{consumers}",
     .text = "A consumer in the group.",
     .on = {[SB_M_GET] = get_member, [SB_M_DELETE] = remove_member}},
    {.pattern = "/consumers/{consumers}/consumer_groups",
     .text = "The consumer's groups; puts it into `group`; takes it out of all.",
     .on = {[SB_M_GET] = list, [SB_M_POST] = add, [SB_M_DELETE] = remove_all}},
    {.pattern = "/consumers/{consumers}/consumer_groups/{consumer_groups}",
     .text = "A group that the consumer is in.",
     .on = {[SB_M_GET] = get_member, [SB_M_DELETE] = remove_member}},
    {.pattern = NULL},
};
