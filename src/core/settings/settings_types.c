/* From text to typed values, one row at a time, with the interface's words for what does not fit. */
#include "core/settings/settings_int.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void
sb_settings_split(value_t *v)
{
    const char *p = v->text;

    while (p != NULL && *p != '\0') {
        size_t len = strcspn(p, ","), n = len;
        const char *item = p;
        while (n > 0 && isspace((unsigned char)*item)) {
            item++;
            n--;
        }
        while (n > 0 && isspace((unsigned char)item[n - 1]))
            n--;
        if (n > 0) {
            v->items = sb_realloc(v->items, (v->n_items + 1) * sizeof(*v->items));
            v->items[v->n_items++] = sb_strdup_len(item, n);
        }
        p += len + (p[len] == ',');
    }
}

static bool
to_bool(const char *text, bool *out)
{
    *out = strcmp(text, "on") == 0 || strcmp(text, "true") == 0;
    return *out || strcmp(text, "off") == 0 || strcmp(text, "false") == 0;
}

static bool
to_number(const char *text, double *out)
{
    char *end;

    *out = strtod(text, &end);
    return end != text && *end == '\0' && isfinite(*out);
}

static bool
is_choice(const char *choices, const char *text, int (*compare)(const char *, const char *, size_t))
{
    size_t len = strlen(text);

    for (const char *p = choices; *p != '\0';) {
        size_t n = strcspn(p, ",");
        if (n == len && compare(p, text, n) == 0)
            return true;
        p += n;
        p += strspn(p, ", ");
    }
    return false;
}

static bool
is_listen(const char *name)
{
    size_t len = strlen(name);

    return len > 7 && strcmp(name + len - 7, "_listen") == 0;
}

static bool
has_flag(const sb_listen_t *l, const char *flag)
{
    size_t len = strlen(flag);

    for (const char *p = l->flags; *p != '\0';) {
        size_t n = strcspn(p, " ");
        if (n == len && memcmp(p, flag, n) == 0)
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

/* Datagrams are for streams only; HTTP/2 and waiting for a request's bytes for HTTP only. */
static bool
flags_fit(const char *name, const value_t *v)
{
    bool stream = strcmp(name, "stream_listen") == 0, fit = true;

    for (size_t i = 0; i < v->n_listens; i++) {
        const sb_listen_t *l = &v->listens[i];
        fit = fit && !(stream ? l->http2 || has_flag(l, "deferred") : has_flag(l, "udp"));
    }
    return fit;
}

/* quic is Silverback's own flag, so it has messages of its own. */
static const char *
quic_mistake(const char *name, const sb_listen_t *l)
{
    if (strcmp(name, "proxy_listen") != 0)
        return "proxy_listen alone takes it";
    if (!l->ssl)
        return "it needs ssl in the same entry";
    return l->proxy_protocol ? "it cannot stand with proxy_protocol, which datagrams do not carry" : NULL;
}

static void
check_quic(sb_settings_t *s, const char *name, const value_t *v)
{
    for (size_t i = 0; i < v->n_listens; i++) {
        const sb_listen_t *l = &v->listens[i];
        const char *mistake = l->quic ? quic_mistake(name, l) : NULL;
        if (mistake != NULL)
            sb_settings_problem(s, "%s: '%s:%u' has the flag quic: %s", name, l->address, l->port, mistake);
    }
}

static void
convert_list(sb_settings_t *s, const sb_setting_row_t *row, value_t *v)
{
    sb_settings_split(v);
    for (size_t i = 0; row->choices != NULL && i < v->n_items; i++)
        if (!is_choice(row->choices, v->items[i], strncasecmp))
            sb_settings_problem(s, "%s has an invalid value: '%s' (%s)", row->name, v->items[i], row->choices);
    if (!is_listen(row->name))
        return;
    if (sb_listen_parse(v->text, &v->listens, &v->n_listens) && flags_fit(row->name, v))
        check_quic(s, row->name, v);
    else
        sb_settings_problem(s, "%s must be of form: [off] | <ip>:<port> [flags], [... next entry ...]", row->name);
}

static void
convert(sb_settings_t *s, const sb_setting_row_t *row, value_t *v)
{
    /* Set to nothing: no value, where there is no default that somebody relies on. */
    if (v->text != NULL && v->text[0] == '\0' && row->def == NULL) {
        free(v->text);
        v->text = NULL;
    }
    if (v->text == NULL)
        return;
    switch (row->type) {
    case SB_SETTING_STRING:
        break;
    case SB_SETTING_NUMBER:
        if (!to_number(v->text, &v->number))
            sb_settings_problem(s, "%s is not a number: '%s'", row->name, v->text);
        break;
    case SB_SETTING_BOOLEAN:
    case SB_SETTING_ONOFF:
        if (!to_bool(v->text, &v->flag))
            sb_settings_problem(s, "%s is not a boolean: '%s'", row->name, v->text);
        else if (row->type == SB_SETTING_ONOFF)
            sb_settings_set_text(v, v->flag ? "on" : "off");
        break;
    case SB_SETTING_ENUM:
        if (!is_choice(row->choices, v->text, strncmp))
            sb_settings_problem(s, "%s has an invalid value: '%s' (%s)", row->name, v->text, row->choices);
        break;
    case SB_SETTING_LIST:
        convert_list(s, row, v);
        break;
    }
}

void
sb_settings_convert(sb_settings_t *s)
{
    for (size_t i = 0; i < sb_settings_rows_n; i++)
        convert(s, &sb_settings_rows[i], &s->values[i]);
}
