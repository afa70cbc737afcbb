/*
 * The Status API (status_listen): the Admin functions' few status endpoints, answered by proxy workers out of the shared state, so that
 * they tell of the proxy whether or not control lives. Nothing here touches the record; an answer takes one turn of the event loop.
 *
 * Also here: what workers publish of themselves for /status, wherever it is asked.
 */
#include "proxy/proxy_int.h"

#include "core/admin/figures.h"
#include "http/admin_http.h"

static sb_admin_t *api;

/* ---- what is published ---- */

/* The size of Lua's shared dictionaries and what is in use of them, as free_space() counts: whole pages. */
void
sb_status_publish_dicts(void)
{
    sb_runtime_t *rt = sb_worker.rt;
    ngx_module_t *lua = NULL;
    ngx_list_part_t *part;
    size_t n = 0;

    for (ngx_uint_t i = 0; i < ngx_cycle->modules_n; i++)
        if (ngx_strcmp(ngx_cycle->modules[i]->name, "ngx_http_lua_module") == 0)
            lua = ngx_cycle->modules[i];
    for (part = (ngx_list_part_t *)&ngx_cycle->shared_memory.part; part != NULL; part = part->next) {
        ngx_shm_zone_t *zone = part->elts;
        for (ngx_uint_t i = 0; i < part->nelts && n < SB_RT_DICTS; i++) {
            ngx_slab_pool_t *pool = (ngx_slab_pool_t *)zone[i].shm.addr;
            if (lua == NULL || zone[i].tag != lua || pool == NULL || zone[i].shm.name.len >= SB_RT_DICT_NAME)
                continue;
            rt->dicts[n].capacity = zone[i].shm.size;
            rt->dicts[n].used = zone[i].shm.size - pool->pfree * ngx_pagesize;
            ngx_memcpy(rt->dicts[n].name, zone[i].shm.name.data, zone[i].shm.name.len);
            rt->dicts[n++].name[zone[i].shm.name.len] = '\0';
        }
    }
    if (n < SB_RT_DICTS)
        rt->dicts[n].name[0] = '\0';
}

json_t *
sb_status_dns(void *arg)
{
    const ngx_core_conf_t *core = (ngx_core_conf_t *)ngx_get_conf(ngx_cycle->conf_ctx, ngx_core_module);
    json_t *stats = sb_resolver_stats();

    return json_pack("{s:{s:i,s:i},s:o}", "worker", "id", (int)ngx_worker, "count", (int)core->worker_processes, "stats",
                     stats != NULL ? stats : json_object());
}

/* ---- what the endpoints ask of their host ---- */

static json_t *
counters(void *arg)
{
    sb_worker_publish();
    return sb_admin_figures_counters(sb_worker.rt);
}

static json_t *
memory(void *arg)
{
    sb_status_publish_dicts();
    return sb_admin_figures_memory(sb_worker.rt);
}

static bool
reachable(void *arg)
{
    return sb_admin_figures_control(sb_worker.rt);
}

/* The proxy serves what was last committed whether or not the record can be reached, so that is no reason. */
static const char *
unready(void *arg)
{
    if (__atomic_load_n(&sb_worker.rt->draining, __ATOMIC_RELAXED) != 0)
        return "draining";
    if (sb_model_begin(sb_worker.reader, NULL) != SB_OK)
        return "router builds not yet complete";
    sb_model_end(sb_worker.reader);
    return NULL;
}

static void
drain(void *arg)
{
    __atomic_store_n(&sb_worker.rt->draining, 1, __ATOMIC_RELAXED);
}

static sb_admin_t *
status_api(void)
{
    const sb_admin_host_t host = {.settings = sb_worker.settings,
                                  .status_api = true,
                                  .counters = counters,
                                  .memory = memory,
                                  .reachable = reachable,
                                  .unready = unready,
                                  .drain = drain,
                                  .dns = sb_status_dns};

    if (api == NULL)
        api = sb_admin_new(&host);
    return api;
}

void
sb_status_done(void)
{
    sb_admin_free(api);
    api = NULL;
}

/* ---- a request ---- */

static void
on_body(ngx_http_request_t *r)
{
    sb_buf_t copy = {0};
    sb_admin_request_t req = {0};
    sb_admin_response_t res = {0};

    if (sb_admin_http_copy(r, &copy, &req))
        sb_admin_handle(status_api(), NULL, &req, &res);
    else
        sb_admin_http_error(sb_worker.settings, req.origin, 500, &res);
    sb_buf_free(&copy);
    ngx_http_finalize_request(r, sb_admin_http_send(r, sb_worker.settings, &res));
}

ngx_int_t
sb_status_handler(ngx_http_request_t *r)
{
    ngx_int_t rc;

    if (sb_worker.reader == NULL)
        return NGX_HTTP_SERVICE_UNAVAILABLE;
    if (r->err_status >= NGX_HTTP_BAD_REQUEST)
        return sb_admin_http_refusal(r, sb_worker.settings);
    rc = ngx_http_read_client_request_body(r, on_body);
    return rc >= NGX_HTTP_SPECIAL_RESPONSE ? rc : NGX_DONE;
}
