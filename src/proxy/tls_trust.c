/*
 * Trust: sets of CA certificates as stores of OpenSSL, one per set however many services name it. Found by a hash of the ids and versions
 * in the set, so that a changed authority makes another set; who uses a store holds a reference of OpenSSL's. Bounded with the worker's
 * other caches. Start at sb_tls_trust_get().
 */
#include "proxy/tls.h"

#include "core/schema/pem.h"

#include <openssl/err.h>

/* What a decoded authority takes in OpenSSL's heap, about. */
#define CA_BYTES 8192

typedef struct trust {
    sb_node_t node;
    sb_aged_t aged;
    X509_STORE *store;
    size_t bytes;
} trust_t;

/* Of a member, in the order that makes equal sets equal. */
typedef struct member {
    sb_uuid_t id;
    uint64_t version;
} member_t;

static sb_table_t trusts;

static void
forget(trust_t *t)
{
    sb_table_remove(&trusts, &t->node);
    sb_cache_remove(&t->aged);
    X509_STORE_free(t->store);
    sb_cache_bytes -= t->bytes;
    free(t);
}

static void
forget_node(sb_node_t *node, void *arg)
{
    forget((trust_t *)node);
}

static void
forget_aged(sb_aged_t *a)
{
    forget(ngx_queue_data(a, trust_t, aged));
}

void
sb_tls_trusts_forget(void)
{
    sb_table_each(&trusts, forget_node, NULL);
}

static int
compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(member_t));
}

/* The rows that the ids name, sorted; out has room for all of them. */
static size_t
find_members(const json_t *ids, member_t *out)
{
    const json_t *id;
    size_t i, n = 0;
    sb_row_t row;

    json_array_foreach(ids, i, id)
    {
        const char *text = json_is_string(id) ? json_string_value(id) : "";
        member_t *m = &out[n];
        if (sb_uuid_parse(text, strlen(text), &m->id) && sb_model_get(sb_worker.reader, sb_worker.ca_certificates, &m->id, &row)) {
            m->version = row.version;
            n++;
        } else
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "there is no CA certificate %s", text);
    }
    qsort(out, n, sizeof(*out), compare);
    return n;
}

static void
add_member(X509_STORE *store, const member_t *m)
{
    char text[SB_UUID_TEXT + 1];
    json_t *json = NULL;
    const char *pem;
    sb_row_t row;
    X509 *x;

    if (sb_model_get(sb_worker.reader, sb_worker.ca_certificates, &m->id, &row))
        json = sb_json_parse(row.json.data, row.json.len, NULL);
    pem = sb_json_string(json, "cert");
    x = pem != NULL ? sb_pem_certificate(pem, strlen(pem)) : NULL;
    sb_uuid_format(&m->id, text);
    if (x == NULL || X509_STORE_add_cert(store, x) != 1)
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "CA certificate %s cannot be used", text);
    ERR_clear_error();
    X509_free(x);
    json_decref(json);
}

static trust_t *
make_trust(const sb_uuid_t *name, const member_t *members, size_t n)
{
    X509_STORE *store = X509_STORE_new();
    trust_t *t;

    if (store == NULL)
        sb_panic(__FILE__, __LINE__, "out of memory");
    for (size_t i = 0; i < n; i++)
        add_member(store, &members[i]);
    t = sb_calloc(sizeof(*t));
    t->node.id = *name;
    t->store = store;
    t->bytes = sizeof(*t) + n * CA_BYTES;
    sb_cache_bytes += t->bytes;
    sb_table_add(&trusts, &t->node);
    sb_cache_add(&t->aged, forget_aged);
    return t;
}

X509_STORE *
sb_tls_trust_get(const json_t *ids, sb_uuid_t *name)
{
    static const sb_uuid_t space;
    member_t *members = sb_calloc((json_array_size(ids) + 1) * sizeof(*members));
    size_t n = find_members(ids, members);
    trust_t *t;

    sb_uuid_v5(&space, (const char *)members, n * sizeof(*members), name);
    t = (trust_t *)sb_table_find(&trusts, name);
    if (t == NULL)
        t = make_trust(name, members, n);
    free(members);
    t->aged.used = true;
    X509_STORE_up_ref(t->store);
    return t->store;
}
