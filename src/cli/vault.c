/*
 * vault: get prints what a reference stands for. The vault that needs no set-up is there, `env`: {vault://env/my-name} is the variable
 * MY_NAME, {vault://env/my-name/part} the member "part" of the JSON object in it, and ?prefix= or vault_env_prefix is put before the name.
 * Other vaults are refused by name.
 */
#include "cli/cli.h"
#include "core/base/buf.h"
#include "core/base/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const sb_option_t options[] = {
    {'c', "conf", "FILE", NULL, "settings file"},
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    {0},
};

static const sb_argument_t arguments[] = {{"reference", NULL, true}, {0}};

/* The parts of {vault://vault/resource/key?query#version}; malloc'ed, NULL when absent. */
typedef struct reference {
    char *vault, *resource, *key, *prefix;
} reference_t;

static void
reference_free(reference_t *r)
{
    free(r->vault);
    free(r->resource);
    free(r->key);
    free(r->prefix);
}

/* The part up to any of `ends`; *at moves behind it. NULL when it is empty. */
static char *
take_part(const char **at, const char *ends)
{
    size_t len = strcspn(*at, ends);
    char *part = len > 0 ? sb_strdup_len(*at, len) : NULL;

    *at += len;
    return part;
}

/* "prefix=x&other=y": only prefix says something to this vault. */
static void
take_query(const char *at, reference_t *out)
{
    while (*at == '?' || *at == '&') {
        at++;
        if (strncmp(at, "prefix=", 7) == 0) {
            at += 7;
            free(out->prefix);
            out->prefix = take_part(&at, "&#");
        } else
            at += strcspn(at, "&#");
    }
}

static int
parse(const char *text, reference_t *out, sb_err_t *err)
{
    static const char start[] = "{vault://";
    size_t len = strlen(text), skip = sizeof(start) - 1;
    char *inner;
    const char *at;

    if (strncmp(text, start, skip) == 0 && text[len - 1] == '}')
        inner = sb_strdup_len(text + skip, len - skip - 1);
    else
        inner = sb_strdup_len(text, len); /* the short form */
    at = inner;
    out->vault = take_part(&at, "/?#");
    if (*at == '/') {
        at++;
        out->resource = take_part(&at, "/?#");
    }
    if (*at == '/') {
        at++;
        out->key = take_part(&at, "?#");
        if (out->key != NULL && out->key[strlen(out->key) - 1] == '/')
            out->key[strlen(out->key) - 1] = '\0';
    }
    take_query(at, out);
    free(inner);
    if (out->vault != NULL && out->resource != NULL)
        return SB_OK;
    return sb_err_set(err, 0, "not a reference: '%s' (expected {vault://<vault>/<resource>[/<key>]} or <vault>/<resource>)", text);
}

/* The name of the variable: capitals, underscores for dashes. malloc'ed. */
static char *
variable(const sb_settings_t *s, const reference_t *r)
{
    const char *set = sb_settings_str(s, "vault_env_prefix");
    char *name = sb_asprintf("%s%s", r->prefix != NULL ? r->prefix : set != NULL ? set : "", r->resource);

    for (char *p = name; *p != '\0'; p++)
        *p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
    return name;
}

/* A member of the JSON object in value; malloc'ed, NULL: none. */
static char *
member(const char *value, const char *key)
{
    json_t *doc = sb_json_parse(value, strlen(value), NULL), *found = json_object_get(doc, key);
    char *out = NULL;

    if (json_is_string(found))
        out = sb_strdup_len(json_string_value(found), json_string_length(found));
    else if (json_is_number(found) || json_is_boolean(found))
        out = sb_json_dump(found);
    json_decref(doc);
    return out;
}

static int
get(const sb_settings_t *s, const reference_t *r, const char *text, char **out, sb_err_t *err)
{
    char *name;
    const char *value;

    if (strcmp(r->vault, "env") != 0)
        return sb_err_set(err, 0, "vault '%s' is not available in this version, only 'env' is [%s]", r->vault, text);
    name = variable(s, r);
    value = getenv(name);
    if (value != NULL)
        *out = r->key != NULL && r->key[0] != '\0' ? member(value, r->key) : sb_strdup_len(value, strlen(value));
    if (value == NULL)
        sb_err_set(err, 0, "could not get value from vault 'env': the variable %s is not set [%s]", name, text);
    else if (*out == NULL)
        sb_err_set(err, 0, "could not get value from vault 'env': the variable %s has no member '%s' [%s]", name, r->key, text);
    free(name);
    return *out != NULL ? SB_OK : SB_DECLINED;
}

static int
run(const sb_args_t *args)
{
    reference_t r = {0};
    sb_settings_t *s = NULL;
    sb_err_t err = {0};
    char *value = NULL;
    int rc = parse(args->arguments[0], &r, &err);

    if (rc == SB_OK)
        rc = sb_cli_settings(args, &s, &err);
    if (rc == SB_OK)
        rc = get(s, &r, args->arguments[0], &value, &err);
    if (rc == SB_OK)
        printf("%s\n", value);
    free(value);
    reference_free(&r);
    sb_settings_free(s);
    return rc == SB_OK ? 0 : sb_cli_fail_err(&err);
}

static const sb_sub_t subs[] = {
    {"get", "print what a reference stands for, as {vault://env/name} or env/name", arguments, run},
    {0},
};

const sb_verb_t sb_verb_vault = {"vault", "Look up secrets", options, NULL, subs, NULL};
