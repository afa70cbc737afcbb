/* Certificates and keys: the two texts, separated by a NUL byte, through the validators and as a certificate of the Admin API. */
#include "core/admin/admin.h"
#include "core/schema/pem.h"
#include "core/schema/schema_int.h"
#include "fuzz.h"

static sb_store_t *store;
static sb_admin_t *admin;

static void
open_once(void)
{
    sb_store_config_t cfg = {.in_memory = true};
    sb_admin_host_t host = {0};
    sb_err_t err = {0};

    if (admin != NULL)
        return;
    sb_entities_init();
    SB_ASSERT(sb_store_open(&sb_store_sqlite, &cfg, &store, &err) == SB_OK);
    admin = sb_admin_new(&host);
}

static void
post(json_t *body)
{
    sb_admin_request_t req = {.method = SB_STR("POST"), .path = SB_STR("/certificates"), .content_type = SB_STR("application/json")};
    char *text = json_dumps(body, 0);
    sb_admin_response_t res;
    sb_err_t err = {0};

    req.body = (sb_str_t){text, strlen(text)};
    SB_ASSERT(sb_store_begin(store, &err) == SB_OK);
    sb_admin_handle(admin, store, &req, &res);
    SB_ASSERT(res.status == 201 || res.status == 400);
    sb_store_rollback(store);
    sb_admin_response_free(&res);
    free(text);
}

static void
validate(const char *data, size_t len)
{
    json_t *value = json_stringn(data, len);
    char buf[512];

    EVP_PKEY_free(sb_pem_public_key(data, len));
    if (value != NULL) {
        sb_valid_certificate_pem(value, buf, sizeof(buf));
        sb_valid_private_key_pem(value, buf, sizeof(buf));
    }
    json_decref(value);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *mark = size != 0 ? memchr(text, '\0', size) : NULL;
    size_t first = mark != NULL ? (size_t)(mark - text) : size, rest = mark != NULL ? size - first - 1 : 0;
    json_t *cert = json_stringn(text, first), *key = json_stringn(rest != 0 ? mark + 1 : "", rest), *body;

    open_once();
    validate(text, first);
    if (cert != NULL && key != NULL) {
        body = json_pack("{s:O,s:O}", "cert", cert, "key", key);
        post(body);
        json_decref(body);
        body = json_pack("{s:O,s:O}", "private_key", key, "public_key", cert);
        sb_valid_pem_pair(body, (char[256]){0}, 256);
        json_decref(body);
    }
    json_decref(cert);
    json_decref(key);
    return 0;
}
