/*
 * Control's questions to a worker, over the line of events.c: what only a worker knows.
 *
 *     {"ask":n,"resolve":[name …]}  →  {"answer":n,"resolve":{name: [address …] or text why not}}; an address is {"ip":text}, one of an
 *                                      SRV record has "port" and "weight" as well
 *     {"ask":n,"dns":true}          →  {"answer":n,"dns":{"worker":{…},"stats":{…}}}
 *     {"ask":n,"cache":key}         →  {"answer":n,"cache":{"value":…}}, {} when nothing is cached
 *
 * Names are looked up one after the other; most are in the resolver's memory. Start at sb_asked().
 */
#include "proxy/proxy_int.h"

#include <stdlib.h>

struct asking {
    ngx_queue_t link;
    uint64_t id;
    json_t *names, *found;
    size_t at; /* the name that is being looked up */
    sb_query_t query;
};

static ngx_queue_t all;

static void
end(struct asking *a, bool answer)
{
    ngx_queue_remove(&a->link);
    sb_resolver_cancel(&a->query);
    if (answer)
        sb_rpc_answer(a->id, json_pack("{s:O}", "resolve", a->found));
    json_decref(a->names);
    json_decref(a->found);
    free(a);
}

static int
by_text(const void *a, const void *b)
{
    const sb_addr_t *x = *(const sb_addr_t *const *)a, *y = *(const sb_addr_t *const *)b;
    int c = strcmp(x->text, y->text);

    return c != 0 ? c : (x->port > y->port) - (x->port < y->port);
}

/* Records share their weight among the addresses of their targets; what is left of it is told, but never none. */
static json_t *
describe(const sb_addr_t *a)
{
    uint32_t weight = a->weight / SB_ADDR_WEIGHT_UNIT;

    if (a->port == 0)
        return json_pack("{s:s}", "ip", a->text);
    return json_pack("{s:s,s:i,s:I}", "ip", a->text, "port", a->port, "weight", (json_int_t)(weight != 0 ? weight : 1));
}

/* The addresses in order: servers turn them round with each answer, which is no news. */
static json_t *
list_of(const sb_addrs_t *addrs)
{
    const sb_addr_t **sorted = sb_malloc((addrs->n + 1) * sizeof(*sorted));
    json_t *list = json_array();

    for (uint32_t i = 0; i < addrs->n; i++)
        sorted[i] = &addrs->addr[i];
    qsort(sorted, addrs->n, sizeof(*sorted), by_text);
    for (uint32_t i = 0; i < addrs->n; i++)
        json_array_append_new(list, describe(sorted[i]));
    free(sorted);
    return list;
}

static void
note(struct asking *a, const char *name, const sb_addrs_t *addrs, const char *why)
{
    json_object_set_new(a->found, name, addrs != NULL ? list_of(addrs) : json_string(why));
    a->at++;
}

/* False: a lookup is under way. */
static bool
go_on(struct asking *a)
{
    const char *name, *why;
    sb_addrs_t *addrs;

    while ((name = json_string_value(json_array_get(a->names, a->at))) != NULL) {
        switch (sb_resolver_lookup(name, strlen(name), &addrs, &why)) {
        case SB_OK:
            note(a, name, addrs, NULL);
            break;
        case SB_AGAIN:
            sb_resolver_start(name, strlen(name), &a->query);
            return false;
        default:
            note(a, name, NULL, why);
        }
    }
    return true;
}

static void
on_resolved(sb_query_t *q, sb_addrs_t *addrs, const char *why)
{
    struct asking *a = q->data;

    note(a, json_string_value(json_array_get(a->names, a->at)), addrs, why);
    if (go_on(a))
        end(a, true);
}

static void
resolve(uint64_t id, json_t *names)
{
    struct asking *a = sb_calloc(sizeof(*a));

    if (all.next == NULL) { /* a macro of two statements */
        ngx_queue_init(&all);
    }
    a->id = id;
    a->names = json_incref(names);
    a->found = json_object();
    a->query.done = on_resolved;
    a->query.data = a;
    ngx_queue_insert_tail(&all, &a->link);
    if (go_on(a))
        end(a, true);
}

void
sb_asked(uint64_t id, const json_t *question)
{
    json_t *names = json_object_get(question, "resolve"), *value;
    const char *key = sb_json_string(question, "cache");

    if (json_is_array(names)) {
        resolve(id, names);
        return;
    }
    if (json_is_true(json_object_get(question, "dns"))) {
        sb_rpc_answer(id, json_pack("{s:o}", "dns", sb_status_dns(NULL)));
        return;
    }
    value = key != NULL ? sb_lua_cache_get((sb_str_t){key, strlen(key)}) : NULL;
    sb_rpc_answer(id, value != NULL ? json_pack("{s:{s:o}}", "cache", "value", value) : json_pack("{s:{}}", "cache"));
}

void
sb_asked_done(void)
{
    while (all.next != NULL && !ngx_queue_empty(&all))
        end(ngx_queue_data(ngx_queue_head(&all), struct asking, link), false);
}
