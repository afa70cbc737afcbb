/*
 * Slices of a table in key order, with filters. One statement per combination of filters; parameter numbers are fixed:
 * ?1 workspace, ?2 foreign id or ids, ?3… the values to start behind, ?11 limit, ?12… tags.
 */
#include "core/base/json.h"
#include "core/store/sqlite/sqlite_int.h"

#include <limits.h>

#define P_WS      1
#define P_FOREIGN 2
#define P_AFTER   3
#define P_LIMIT   11
#define P_TAG     12

typedef struct page_sql {
    const sb_table_t *t;
    const sb_query_t *q;
} page_sql_t;

/* With tags that all must be there, the rows of the first tag, which come in order of id, drive. */
static bool
driven_by_tag(const page_sql_t *p)
{
    return p->q->ntags != 0 && !p->q->tags_any && !p->q->newest_first;
}

static void
add_order_columns(sb_buf_t *sql, const page_sql_t *p)
{
    size_t i;

    if (driven_by_tag(p)) {
        sb_buf_adds(sql, "d.entity_id");
        return;
    }
    for (i = 0; i < p->t->npk; i++)
        sb_buf_addf(sql, "%st.\"%s\"", i != 0 ? "," : "", p->t->cols[p->t->pk[i]].name);
}

static void
add_after(sb_buf_t *sql, const page_sql_t *p)
{
    size_t i;

    if (p->q->newest_first) {
        sb_buf_addf(sql, " AND (t.created_at<?%d OR (t.created_at=?%d AND t.\"%s\">?%d))", P_AFTER, P_AFTER, p->t->cols[p->t->pk[0]].name,
                    P_AFTER + 1);
        return;
    }
    sb_buf_adds(sql, " AND (");
    add_order_columns(sql, p);
    sb_buf_adds(sql, ")>(");
    for (i = 0; i < p->t->npk; i++)
        sb_buf_addf(sql, "%s?%zu", i != 0 ? "," : "", P_AFTER + i);
    sb_buf_addc(sql, ')');
}

static void
add_tags(sb_buf_t *sql, const page_sql_t *p)
{
    size_t i;
    const char *id = p->t->cols[p->t->pk[0]].name;

    if (p->q->tags_any) {
        sb_buf_addf(sql, " AND t.\"%s\" IN (SELECT entity_id FROM tags WHERE entity_name='%s' AND tag IN (", id, p->t->e->name);
        for (i = 0; i < p->q->ntags; i++)
            sb_buf_addf(sql, "%s?%zu", i != 0 ? "," : "", P_TAG + i);
        sb_buf_adds(sql, "))");
        return;
    }
    for (i = 0; i < p->q->ntags; i++)
        sb_buf_addf(sql, " AND EXISTS(SELECT 1 FROM tags g WHERE g.tag=?%zu AND g.entity_name='%s' AND g.entity_id=t.\"%s\")", P_TAG + i,
                    p->t->e->name, id);
}

static void
add_foreign(sb_buf_t *sql, const sb_query_t *q)
{
    if (q->foreign_any != NULL)
        sb_buf_addf(sql, " AND t.\"%s\" IN (SELECT value FROM json_each(?%d))", q->foreign->name, P_FOREIGN);
    else if (q->foreign_id != NULL)
        sb_buf_addf(sql, " AND t.\"%s\"=?%d", q->foreign->name, P_FOREIGN);
    else
        sb_buf_addf(sql, " AND t.\"%s\" IS NULL", q->foreign->name);
}

static void
build_page(sb_buf_t *sql, const void *arg)
{
    const page_sql_t *p = arg;
    const sb_query_t *q = p->q;
    const char *id = p->t->cols[p->t->pk[0]].name;

    sb_buf_adds(sql, "SELECT ");
    sb_sqlite_columns(sql, p->t);
    if (driven_by_tag(p))
        sb_buf_addf(sql, " FROM tags d CROSS JOIN \"%s\" t WHERE d.tag=?%d AND d.entity_name='%s' AND t.\"%s\"=d.entity_id", p->t->name,
                    P_TAG, p->t->e->name, id);
    else
        sb_buf_addf(sql, " FROM \"%s\" t WHERE 1", p->t->name);
    if (q->ws != NULL && p->t->e->workspaceable)
        sb_buf_addf(sql, " AND t.ws_id=?%d", P_WS);
    if (q->foreign != NULL)
        add_foreign(sql, q);
    if (q->after != NULL)
        add_after(sql, p);
    if (q->ntags != 0)
        add_tags(sql, p);
    sb_buf_adds(sql, " ORDER BY ");
    if (q->newest_first)
        sb_buf_adds(sql, "t.created_at DESC,");
    add_order_columns(sql, p);
    sb_buf_addf(sql, " LIMIT ?%d", P_LIMIT);
}

static unsigned
variant_of(const sb_table_t *t, const sb_query_t *q)
{
    unsigned v = q->foreign != NULL ? (unsigned)(q->foreign - t->cols) + 1 : 0;

    v = v << 2 | (q->foreign_any != NULL ? 2 : q->foreign_id != NULL);
    v = v << 1 | (q->ws != NULL);
    v = v << 1 | (q->after != NULL);
    v = v << 1 | q->newest_first;
    v = v << 1 | q->tags_any;
    return v << 4 | (unsigned)q->ntags;
}

static void
bind_page(sqlite3_stmt *st, const sb_table_t *t, const sb_query_t *q)
{
    size_t i;

    if (q->ws != NULL && t->e->workspaceable)
        sb_sqlite_bind_text(st, P_WS, q->ws);
    if (q->foreign != NULL && q->foreign_any != NULL)
        sb_sqlite_bind_json(st, P_FOREIGN, q->foreign_any);
    else if (q->foreign != NULL && q->foreign_id != NULL)
        sb_sqlite_bind_text(st, P_FOREIGN, q->foreign_id);
    for (i = 0; q->after != NULL && i < json_array_size(q->after) && i < P_LIMIT - P_AFTER; i++)
        sb_sqlite_bind_json(st, P_AFTER + (int)i, json_array_get(q->after, i));
    sqlite3_bind_int64(st, P_LIMIT, q->limit < INT_MAX ? (sqlite3_int64)q->limit : -1);
    for (i = 0; i < q->ntags; i++)
        sb_sqlite_bind_text(st, P_TAG + (int)i, q->tags[i]);
}

int
sb_sqlite_page(void *conn, const sb_table_t *t, const sb_query_t *query, int (*fn)(sb_record_t *rec, void *arg), void *arg, sb_err_t *err)
{
    page_sql_t p = {t, query};
    sqlite3_stmt *st = sb_sqlite_stmt(conn, sb_sqlite_key(SB_SQL_PAGE, t, variant_of(t, query)), build_page, &p, err);
    int rc = SQLITE_DONE, result = SB_OK, ended;

    if (st == NULL)
        return SB_ERROR;
    bind_page(st, t, query);
    while (result == SB_OK && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        sb_record_t rec = {0};

        result = sb_sqlite_read_row(conn, t, st, &rec, err);
        if (result == SB_OK)
            result = fn(&rec, arg);
    }
    ended = sb_sqlite_end(conn, st, rc, "page", err);
    return ended != SB_OK ? ended : result;
}

/* Cache keys begin with "<entity>:<first>:", so behind all of one value comes what is not less than "<entity>:<first>;". */
static void
build_leading(sb_buf_t *sql, const void *arg)
{
    const sb_table_t *t = arg;
    const char *name = sb_table_column(t, t->e->cache_key[0])->name;

    sb_buf_addf(sql,
                "WITH RECURSIVE found(value) AS (SELECT (SELECT \"%s\" FROM \"%s\" ORDER BY cache_key LIMIT 1) UNION ALL "
                "SELECT (SELECT t.\"%s\" FROM \"%s\" t WHERE t.cache_key>='%s:'||found.value||';' ORDER BY t.cache_key LIMIT 1) "
                "FROM found WHERE found.value IS NOT NULL) SELECT value FROM found WHERE value IS NOT NULL",
                name, t->name, name, t->name, t->e->name);
}

int
sb_sqlite_leading(void *conn, const sb_table_t *t, void (*fn)(const char *value, void *arg), void *arg, sb_err_t *err)
{
    sqlite3_stmt *st = sb_sqlite_stmt(conn, sb_sqlite_key(SB_SQL_LEADING, t, 0), build_leading, t, err);
    int rc;

    if (st == NULL)
        return SB_ERROR;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        fn((const char *)sqlite3_column_text(st, 0), arg);
    return sb_sqlite_end(conn, st, rc, "reading names", err);
}

static void
build_tags(sb_buf_t *sql, const void *arg)
{
    unsigned variant = *(const unsigned *)arg;

    sb_buf_adds(sql, "SELECT tag,entity_name,entity_id FROM tags WHERE (ws_id IS NULL OR ws_id=?1)");
    if (variant & 1)
        sb_buf_adds(sql, " AND tag=?2");
    if (variant & 2)
        sb_buf_adds(sql, variant & 1 ? " AND (entity_name,entity_id)>(?4,?5)" : " AND (tag,entity_name,entity_id)>(?3,?4,?5)");
    sb_buf_adds(sql, " ORDER BY tag,entity_name,entity_id LIMIT ?6");
}

int
sb_sqlite_tags(void *conn, const char *ws, const char *tag, const json_t *after, size_t limit, json_t **out, sb_err_t *err)
{
    unsigned variant = (tag != NULL) | (after != NULL) << 1;
    sqlite3_stmt *st = sb_sqlite_stmt(conn, sb_sqlite_key(SB_SQL_TAGS, NULL, variant), build_tags, &variant, err);
    json_t *rows = json_array();
    int i, rc;

    if (st == NULL) {
        json_decref(rows);
        return SB_ERROR;
    }
    sb_sqlite_bind_text(st, 1, ws);
    if (tag != NULL)
        sqlite3_bind_text(st, 2, tag, -1, SQLITE_STATIC);
    for (i = 0; after != NULL && i < 3; i++)
        sb_sqlite_bind_json(st, 3 + i, json_array_get(after, (size_t)i));
    sqlite3_bind_int64(st, 6, (sqlite3_int64)limit);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        json_array_append_new(rows, json_pack("{s:o,s:o,s:o}", "tag", sb_sqlite_text(st, 0), "entity_name", sb_sqlite_text(st, 1),
                                              "entity_id", sb_sqlite_text(st, 2)));
    if (sb_sqlite_end(conn, st, rc, "tags", err) != SB_OK) {
        json_decref(rows);
        return SB_ERROR;
    }
    *out = rows;
    return SB_OK;
}
