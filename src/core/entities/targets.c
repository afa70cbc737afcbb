/* Targets: the addresses of an upstream. Stored in one form: addresses normalised, the port always there. */
#include "core/entities/entities_int.h"
#include "core/schema/host.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PORT 8000

static const struct sb_field fields[] = {
    SB_FIELD_ID,
    {.name = "created_at",
     .type = SB_T_NUMBER,
     .timestamp = 1,
     .automatic = 1,
     .description = "When it was created, in seconds since 1970, to the millisecond."},
    {.name = "updated_at", .type = SB_T_NUMBER, .timestamp = 1, .automatic = 1, .description = "When it was last changed, likewise."},
    {.name = "upstream",
     .type = SB_T_FOREIGN,
     .reference = "upstreams",
     .required = 1,
     .on_delete = SB_CASCADE,
     .description = "What it is a target of."},
    {.name = "target", .type = SB_T_STRING, .required = 1, SB_VALIDATOR(target_address), .description = "Host name or address, and port."},
    {.name = "weight", .type = SB_T_INTEGER, SB_BETWEEN(0, 65535), .default_json = "100", .description = "Its share of the load; 0: none."},
    SB_FIELD_TAGS,
    SB_FIELD_END,
};

static char *
normal_form(const sb_host_t *h)
{
    int port = h->port >= 0 ? h->port : DEFAULT_PORT;
    const unsigned char *a = h->address;

    if (h->kind == SB_HOST_IPV4)
        return sb_asprintf("%u.%u.%u.%u:%d", a[0], a[1], a[2], a[3], port);
    if (h->kind == SB_HOST_IPV6)
        return sb_asprintf("[%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x:%02x%02x]:%d", a[0], a[1], a[2], a[3], a[4],
                           a[5], a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], port);
    return sb_asprintf("%.*s:%d", (int)h->host.len, h->host.data, port);
}

static const char *
normalise(void *entity, char *buf, size_t buflen)
{
    const char *s = sb_json_string(entity, "target");
    char *text;
    sb_host_t h;

    (void)buf, (void)buflen;
    sb_host_parse(s, strlen(s), &h);
    text = normal_form(&h);
    json_object_set_new(entity, "target", json_string(text));
    free(text);
    return NULL;
}

static const struct sb_transformation transformations[] = {
    {.input = SB_LIST("target"), .on_write = normalise},
    {.input = NULL},
};

const struct sb_schema_def sb_entity_targets = {
    .name = "targets",
    .endpoint_key = "target",
    .cache_key = SB_LIST("upstream", "target"),
    .workspaceable = true,
    .routing = true,
    .fields = fields,
    .transformations = transformations,
};
