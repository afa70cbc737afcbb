/*
 * The index rows of routes with an expression: one per combination of the literals that pin host, path and header (expression/pins.c), each
 * with the whole program as its condition. What an expression does not pin is not in the key; one that pins nothing has one row in the
 * class that every request visits. Start at rows_of_expression.
 */
#include "core/router/router_int.h"

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/router/expression/expression.h"

#define PRODUCT_MAX 1024

struct emit {
    const struct route_row *row; /* rank filled */
    sb_str_t value;
    uint32_t ordinal;
    int (*fn)(const struct sb_index_row *row, void *arg);
    void *arg;
};

/* ---------- one row ---------- */

static unsigned
form_of(const struct pin *host)
{
    static const unsigned forms[] = {[PIN_EXACT] = FORM_EXACT, [PIN_PREFIX] = FORM_RIGHT, [PIN_SUFFIX] = FORM_LEFT};

    return host != NULL ? forms[host->form] : FORM_OPEN;
}

static void
put_class(struct rkey *k, const struct pin *header, const struct pin *host, const struct pin *path)
{
    unsigned char c[C_NAME] = {0};

    c[C_KINDS] = (unsigned char)((host != NULL ? K_HOST : 0) | (path != NULL ? K_PATH : 0) | (header != NULL ? K_HEADER : 0));
    c[C_FLAGS] =
        (unsigned char)(F_EXPRESSION | (host != NULL && host->lower ? F_LOWER_HOST : 0) | (path != NULL && path->lower ? F_LOWER_PATH : 0));
    c[C_FORMS] = (unsigned char)form_of(host);
    c[C_NAME_LEN] = (unsigned char)(header != NULL ? header->name.len : 0);
    rkey_add(k, c, sizeof(c));
    if (header != NULL)
        rkey_add(k, header->name.data, header->name.len);
}

static int
emit_row(struct emit *m, const struct pin *header, const struct pin *host, const struct pin *path)
{
    struct sb_index_row out;
    struct rkey k = {.len = 0};

    put_class(&k, header, host, path);
    out.class_len = k.len;
    if (header != NULL)
        rkey_exact(&k, header->text, HEADER_VALUE_MAX);
    if (host != NULL && host->form == PIN_EXACT)
        rkey_exact(&k, host->text, NAME_MAX_LEN);
    else if (host != NULL) {
        rkey_prefix(&k, host->text, NAME_MAX_LEN, host->form == PIN_SUFFIX);
        rkey_add(&k, "\xff", 1);
    }
    if (path != NULL)
        rkey_prefix(&k, path->text, PATH_MAX_LEN, false);
    rkey_add(&k, "\xff", 1);
    rkey_rank(&k, &m->row->rank, m->ordinal++);
    out.key = (sb_str_t){(const char *)k.b, k.len};
    out.value = m->value;
    return m->fn(&out, m->arg);
}

/* ---------- all combinations ---------- */

static unsigned
count(const struct pin_list *l)
{
    return l->n != 0 ? l->n : 1;
}

/* The header first: it is the one that narrows least. */
static void
limit_product(struct pins *p)
{
    if (count(&p->header) * count(&p->host) * count(&p->path) > PRODUCT_MAX)
        p->header = (struct pin_list){NULL, 0};
    if (count(&p->host) * count(&p->path) > PRODUCT_MAX)
        p->host = (struct pin_list){NULL, 0};
}

/* The first pin of a list, or none once; false behind the last. */
static bool
step(const struct pin_list *l, const struct pin **pin, bool *started)
{
    if (*started)
        *pin = *pin != NULL ? (*pin)->next : NULL;
    else
        *pin = l->first;
    if (*started && *pin == NULL)
        return false;
    *started = true;
    return true;
}

static int
emit_all(struct emit *m, const struct pins *p)
{
    const struct pin *header = NULL, *host = NULL, *path = NULL;
    int rc = SB_OK;

    for (bool a = false; rc == SB_OK && step(&p->header, &header, &a);)
        for (bool b = false; rc == SB_OK && step(&p->host, &host, &b);)
            for (bool c = false; rc == SB_OK && step(&p->path, &path, &c);)
                rc = emit_row(m, header, host, path);
    return rc;
}

/* All connections when only the secure protocol is allowed, so that plain ones are told. */
uint16_t
expression_protocols(uint16_t protocols)
{
    unsigned mask = 0;

    if (protocols == SB_PROTO_HTTPS)
        return PROTOCOL_HTTP | PROTOCOL_HTTPS;
    mask |= protocols & (SB_PROTO_HTTP | SB_PROTO_GRPC) ? PROTOCOL_HTTP : 0;
    mask |= protocols & (SB_PROTO_HTTPS | SB_PROTO_GRPCS) ? PROTOCOL_HTTPS : 0;
    return (uint16_t)mask;
}

int
rows_of_expression(const json_t *route, const struct route_row *shared, int (*fn)(const struct sb_index_row *row, void *arg), void *arg)
{
    const char *text = sb_json_string(route, "expression");
    sb_pool_t *pool = sb_pool_new(0);
    struct cond c = {.type = COND_EXPRESSION, .count = expression_protocols(shared->brief.protocols)};
    struct route_row row = *shared;
    struct emit m = {.row = &row, .fn = fn, .arg = arg};
    const struct expression *e;
    sb_buf_t value = {0};
    struct pins pins;
    sb_err_t err = {0};
    int rc = SB_OK;

    if (expression_parse(pool, (sb_str_t){text, strlen(text)}, false, &e, &err) != SB_OK) {
        sb_log(SB_LOG_ERR, "router: a route's expression does not parse, so it never matches: %s", err.message);
        goto out;
    }
    row.conditions = 1;
    row.rank.priority = rank_of_expression(sb_json_int(route, "priority", 0));
    row.rank.entry = row.brief.route;
    sb_buf_add(&value, &row, sizeof(row));
    sb_buf_add(&value, &c, sizeof(c));
    expression_compile(e, &value);
    c.len = (uint32_t)(value.len - sizeof(row) - sizeof(c));
    memcpy(value.data + sizeof(row), &c, sizeof(c));
    m.value = (sb_str_t){value.data, value.len};
    expression_pins(e, pool, &pins);
    limit_product(&pins);
    rc = emit_all(&m, &pins);
out:
    sb_buf_free(&value);
    sb_err_clear(&err);
    sb_pool_free(pool);
    return rc;
}

int
sb_router_check_expression(sb_str_t text, bool stream, sb_err_t *err)
{
    sb_pool_t *pool = sb_pool_new(0);
    const struct expression *e;
    int rc = expression_parse(pool, text, stream, &e, err);

    sb_pool_free(pool);
    return rc;
}
