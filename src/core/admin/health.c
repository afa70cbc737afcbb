/*
 * The health of an upstream's targets: shown, and set by hand. Which addresses a name has, only the proxy knows, so it is asked
 * (sb_admin_ask); which of them are unhealthy stands in the state that all processes share (core/balancer/health.h).
 *
 * A target becomes a JSON object as the interface shows it ("data" of a target in /health) with each address's health; the rest is
 * counted from these. Start at sb_admin_health().
 */
#include "core/admin/core_int.h"
#include "core/balancer/balancer.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

/* ---------- addresses ---------- */

/* The names among the targets that stand for addresses which only the proxy knows: a new array. */
static json_t *
names_of(const json_t *rows)
{
    json_t *names = json_array(), *row;
    uint16_t port;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        char *host = sb_target_of_row(row, &port);

        if (host != NULL && !sb_target_is_ip(host))
            json_array_append_new(names, json_string(host));
        free(host);
    }
    return names;
}

/* SB_AGAIN when the proxy has to be asked first: answered with the question. */
static bool
must_ask(sb_admin_call_t *c, const json_t *rows, int *rc)
{
    json_t *names = c->req->told == NULL ? names_of(rows) : NULL;
    bool ask = json_array_size(names) != 0;

    if (ask)
        *rc = sb_admin_ask(c, json_pack("{s:O}", "resolve", names));
    json_decref(names);
    return ask;
}

/* ---------- one target ---------- */

static json_t *
address_of(const char *ip, uint16_t port, json_int_t weight, bool down)
{
    return json_pack("{s:s,s:i,s:I,s:b}", "ip", ip, "port", port, "weight", weight, "healthy", !down);
}

/* What there is of a target: {"host","port","dns","nodeWeight","addresses":[{"ip","port","weight","healthy"}],"weight":{…}}. */
static json_t *
describe(sb_admin_call_t *c, const json_t *row)
{
    json_t *list, *one, *out, *addresses = json_array();
    json_int_t node_weight = sb_json_int(row, "weight", 100), total = 0, available = 0;
    const char *dns = "unknown";
    sb_uuid_t id;
    uint16_t port = 0;
    size_t i;
    char *host = sb_target_of_row(row, &port);

    sb_uuid_parse(sb_json_string(row, "id"), SB_UUID_TEXT, &id);
    if (host != NULL && sb_target_is_ip(host))
        list = json_pack("[{s:s}]", "ip", host);
    else
        list = json_incref(json_object_get(json_object_get(c->req->told, "resolve"), host != NULL ? host : ""));
    json_array_foreach(list, i, one)
    {
        const char *ip = sb_json_string(one, "ip");
        uint16_t at = (uint16_t)sb_json_int(one, "port", port);
        json_int_t weight = node_weight != 0 ? sb_json_int(one, "weight", node_weight) : 0;
        bool down;

        if (ip == NULL)
            continue;
        down = sb_health_is_down(c->admin->host.health, sb_health_key_of(&id, ip, at));
        dns = json_object_get(one, "port") != NULL ? "SRV" : strchr(ip, ':') != NULL ? "AAAA" : "A";
        total += weight;
        available += down ? 0 : weight;
        json_array_append_new(addresses, address_of(ip, at, weight, down));
    }
    if (json_is_string(list))
        dns = json_string_value(list);
    out = json_pack("{s:s?,s:i,s:s,s:I,s:o,s:{s:I,s:I,s:I}}", "host", host, "port", port, "dns", dns, "nodeWeight", node_weight,
                    "addresses", addresses, "weight", "total", total, "available", available, "unavailable", total - available);
    json_decref(list);
    free(host);
    return out;
}

/* Of every address and of the target: "healthy" becomes "health" in words. checked: the upstream has health checks. */
static const char *
name_health(json_t *target, bool checked)
{
    json_t *address;
    const char *all = "DNS_ERROR";
    bool any = false, off = !checked || sb_json_int(target, "nodeWeight", 0) == 0;
    size_t i;

    json_array_foreach(json_object_get(target, "addresses"), i, address)
    {
        bool healthy = json_is_true(json_object_get(address, "healthy"));

        any = any || healthy;
        json_object_del(address, "healthy");
        json_object_set_new(address, "health", json_string(off ? "HEALTHCHECKS_OFF" : healthy ? "HEALTHY" : "UNHEALTHY"));
        all = off ? "HEALTHCHECKS_OFF" : any ? "HEALTHY" : "UNHEALTHY";
    }
    return all;
}

/* ---------- the upstream ---------- */

static bool
positive(const json_t *checks, const char *kind, const char *side, const char *name)
{
    return json_number_value(json_object_get(json_object_get(json_object_get(checks, kind), side), name)) > 0;
}

/* All intervals and passive thresholds 0: nobody looks. */
static bool
is_checked(const json_t *upstream)
{
    const json_t *checks = json_object_get(upstream, "healthchecks");

    return positive(checks, "active", "healthy", "interval") || positive(checks, "active", "unhealthy", "interval") ||
           positive(checks, "passive", "unhealthy", "tcp_failures") || positive(checks, "passive", "unhealthy", "timeouts") ||
           positive(checks, "passive", "unhealthy", "http_failures");
}

/* Rows, which are taken over, with "health" and "data". */
static json_t *
with_health(sb_admin_call_t *c, json_t *rows, bool checked)
{
    json_t *row;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        json_t *data = describe(c, row);

        json_object_set_new(row, "health", json_string(name_health(data, checked)));
        json_object_set_new(row, "data", data);
    }
    return rows;
}

static int
answer_targets(sb_admin_call_t *c, const json_t *upstream)
{
    char *token, *key, *path, *text;
    json_t *rows, *body;
    int rc;

    if (sb_admin_targets_page(c, sb_json_string(upstream, "id"), &rows, &token) != SB_OK)
        return SB_DECLINED;
    if (must_ask(c, rows, &rc)) {
        json_decref(rows);
        free(token);
        return rc;
    }
    key = sb_admin_escape(c->param[0]);
    path = token != NULL ? sb_asprintf("%s/upstreams/%s/health?offset=%s", c->prefix != NULL ? c->prefix : "", key, token) : NULL;
    text = token;
    body =
        json_pack("{s:o,s:s?,s:s?}", "data", with_health(c, rows, is_checked(upstream)), "next", path, "node_id", c->admin->host.node_id);
    if (text != NULL)
        json_object_set_new(body, "offset", json_string(text));
    free(key);
    free(path);
    free(token);
    return sb_admin_answer(c, 200, body);
}

/* The balancer as a whole: what there is of weight, and whether that is above the upstream's threshold. */
static json_t *
balancer_of(sb_admin_call_t *c, const json_t *upstream, const json_t *rows)
{
    json_t *hosts = json_array(), *row;
    json_int_t total = 0, available = 0;
    double threshold = json_number_value(json_object_get(json_object_get(upstream, "healthchecks"), "threshold"));
    bool healthy;
    const char *word;
    size_t i;

    json_array_foreach(rows, i, row)
    {
        json_t *host = describe(c, row), *weight = json_object_get(host, "weight");

        total += sb_json_int(weight, "total", 0);
        available += sb_json_int(weight, "available", 0);
        json_array_append_new(hosts, host);
    }
    healthy = total != 0 && (double)available / (double)total * 100 > threshold;
    word = healthy ? "HEALTHY" : "UNHEALTHY";
    return json_pack("{s:O,s:s,s:s,s:{s:b,s:o,s:{s:I,s:I,s:I}}}", "id", json_object_get(upstream, "id"), "balancer_health", word, "health",
                     is_checked(upstream) ? word : "HEALTHCHECKS_OFF", "details", "healthy", healthy, "hosts", hosts, "weight", "total",
                     total, "available", available, "unavailable", total - available);
}

static int
answer_balancer(sb_admin_call_t *c, const json_t *upstream)
{
    json_t *rows = sb_admin_targets_of(c, sb_json_string(upstream, "id"));
    int rc;

    if (rows == NULL)
        return sb_admin_answer_error(c);
    if (!must_ask(c, rows, &rc))
        rc = sb_admin_answer(
            c, 200, json_pack("{s:o,s:n,s:s?}", "data", balancer_of(c, upstream, rows), "next", "node_id", c->admin->host.node_id));
    json_decref(rows);
    return rc;
}

int
sb_admin_health(sb_admin_call_t *c)
{
    const char *whole = sb_admin_query(c, "balancer_health");
    json_t *upstream = NULL;
    int rc;

    if (c->admin->host.health == NULL)
        return sb_admin_answer_not_found(c);
    if (sb_admin_targets_upstream(c, &upstream) != SB_OK)
        return SB_DECLINED;
    rc = whole != NULL && strcmp(whole, "1") == 0 ? answer_balancer(c, upstream) : answer_targets(c, upstream);
    json_decref(upstream);
    return rc;
}

/* ---------- by hand ---------- */

static int
note_id(json_t *row, const char *ws, uint64_t version, void *arg)
{
    (void)ws;
    (void)version;
    json_object_set_new(arg, sb_json_string(row, "id"), json_true());
    return SB_OK;
}

static bool
is_noted(const sb_uuid_t *id, void *arg)
{
    char text[SB_UUID_TEXT + 1];

    sb_uuid_format(id, text);
    return json_object_get(arg, text) != NULL;
}

void
sb_admin_health_prune(sb_store_t *store, sb_health_t *health)
{
    json_t *ids = json_object();
    sb_err_t err = {0};

    if (sb_dao_each(store, sb_entity_find("targets"), note_id, ids, &err) == SB_OK)
        sb_health_prune(health, is_noted, ids);
    sb_err_clear(&err);
    json_decref(ids);
}

static int
set_address(sb_admin_call_t *c, const json_t *row, const json_t *address, bool down)
{
    sb_health_t *h = c->admin->host.health;
    sb_uuid_t id;
    uint64_t key;

    sb_uuid_parse(sb_json_string(row, "id"), SB_UUID_TEXT, &id);
    key = sb_health_key_of(&id, sb_json_string(address, "ip"), (uint16_t)sb_json_int(address, "port", 0));
    if (sb_health_set(h, &id, key, down) == SB_OK)
        return SB_OK;
    sb_admin_health_prune(c->store, h);
    return sb_health_set(h, &id, key, down);
}

/* Whether it is the address that the path names, or the path names none. */
static bool
is_meant(const json_t *address, const char *wanted)
{
    uint16_t port;
    sb_str_t host;
    const char *ip = sb_json_string(address, "ip");
    unsigned char a[16], b[16];
    char *text;
    bool same;

    if (wanted == NULL)
        return true;
    if (sb_target_parse((sb_str_t){wanted, strlen(wanted)}, &host, &port) != SB_OK || port != sb_json_int(address, "port", 0))
        return false;
    text = sb_strdup_len(host.data, host.len);
    same = strcmp(text, ip) == 0 || (inet_pton(AF_INET6, text, a) == 1 && inet_pton(AF_INET6, ip, b) == 1 && memcmp(a, b, 16) == 0);
    free(text);
    return same;
}

static int
set_health(sb_admin_call_t *c, const json_t *row, bool down)
{
    json_t *target = describe(c, row), *address;
    size_t i, n = 0;
    int rc = SB_OK;

    json_array_foreach(json_object_get(target, "addresses"), i, address)
    {
        if (rc != SB_OK || !is_meant(address, c->param[2]))
            continue;
        rc = set_address(c, row, address, down);
        n++;
    }
    if (rc != SB_OK)
        rc = sb_admin_answer_message(c, 400, "too many unhealthy addresses");
    else if (n == 0 && c->param[2] != NULL)
        rc = sb_admin_answer_message(c, 400, "'%s' is not an address of target '%s'", c->param[2], sb_json_string(row, "target"));
    else if (n == 0)
        rc =
            sb_admin_answer_message(c, 400, "target '%s' has no address: %s", sb_json_string(row, "target"), sb_json_string(target, "dns"));
    else
        rc = sb_admin_answer_empty(c, 204);
    json_decref(target);
    return rc;
}

static int
set_by_hand(sb_admin_call_t *c, bool down)
{
    char upstream[SB_UUID_TEXT + 1];
    json_t *row = NULL, *rows;
    int rc;

    if (c->admin->host.health == NULL)
        return sb_admin_answer_not_found(c);
    if (sb_admin_targets_select(c, upstream, &row) != SB_OK)
        return SB_DECLINED;
    rows = json_pack("[O]", row);
    if (!must_ask(c, rows, &rc))
        rc = set_health(c, row, down);
    json_decref(rows);
    json_decref(row);
    return rc;
}

int
sb_admin_health_up(sb_admin_call_t *c)
{
    return set_by_hand(c, false);
}

int
sb_admin_health_down(sb_admin_call_t *c)
{
    return set_by_hand(c, true);
}
