/*
 * What control's logs show of a request: never a secret (core/admin/secrets.c says what is one).
 *
 * The access log is written in nginx's log phase; on_log() stands before it there and replaces what the log's variables read. Lines of the
 * error log name the request too, from its first byte on and in words of nginx's own, so they are changed when they are written: the logs
 * of the Admin API's listeners, which their connections copy, get writers of ours (sb_logs_start()).
 */
#include "control/control.h"

#include "core/admin/admin.h"

/* ---------- access log ---------- */

static void
hide(ngx_http_request_t *r, ngx_str_t *text, bool query_only)
{
    size_t size = text->len * 3 + 4;
    u_char *out;

    if (text->len == 0)
        return;
    out = ngx_pnalloc(r->pool, size);
    if (out != NULL)
        text->len = sb_admin_hide_secrets((sb_str_t){(char *)text->data, text->len}, query_only, (char *)out, size);
    text->data = out;
    if (out == NULL)
        text->len = 0;
}

static ngx_int_t
on_log(ngx_http_request_t *r)
{
    hide(r, &r->request_line, false);
    hide(r, &r->unparsed_uri, false);
    hide(r, &r->uri, false);
    hide(r, &r->args, true);
    return NGX_OK;
}

ngx_int_t
sb_logs_init(ngx_conf_t *cf)
{
    ngx_http_core_main_conf_t *cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    ngx_array_t *handlers = &cmcf->phases[NGX_HTTP_LOG_PHASE].handlers;
    ngx_http_handler_pt *h = ngx_array_push(handlers);

    if (h == NULL)
        return NGX_ERROR;
    /* They run in this order, and the module that writes the log has put itself there already. */
    h = handlers->elts;
    ngx_memmove(h + 1, h, (handlers->nelts - 1) * sizeof(*h));
    h[0] = on_log;
    return NGX_OK;
}

/* ---------- error log ---------- */

#define MARK ", request: \""

static size_t
add(char *out, size_t n, size_t size, const u_char *text, size_t len)
{
    len = ngx_min(len, size - n);
    ngx_memcpy(out + n, text, len);
    return n + len;
}

/* A line as it may be written; ends without a line feed. A client can put the mark into what nginx quotes, so each one counts. */
static size_t
hide_line(u_char *text, size_t len, char *out, size_t size)
{
    u_char *end = text + len, *mark, *next;
    size_t n;

    mark = ngx_strlcasestrn(text, end, (u_char *)MARK, sizeof(MARK) - 2);
    n = add(out, 0, size, text, (size_t)((mark != NULL ? mark : end) - text));
    for (; mark != NULL; mark = next) {
        n = add(out, n, size, mark, sizeof(MARK) - 1);
        mark += sizeof(MARK) - 1;
        next = ngx_strlcasestrn(mark, end, (u_char *)MARK, sizeof(MARK) - 2);
        n += sb_admin_hide_secrets((sb_str_t){(char *)mark, (size_t)((next != NULL ? next : end) - mark)}, false, out + n, size - n);
    }
    return n;
}

/* The line, hidden, in memory that the next one reuses; *len: with its line feed, which is there again. */
static u_char *
written(u_char *text, size_t *len)
{
    static char out[3 * NGX_MAX_ERROR_STR];
    size_t n = *len != 0 && text[*len - 1] == '\n' ? *len - 1 : *len;

    n = hide_line(text, n, out, sizeof(out) - 1);
    out[n++] = '\n';
    *len = n;
    return (u_char *)out;
}

static void
to_file(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    u_char *line = written(buf, &len);

    (void)level;
    (void)ngx_write_fd(log->file->fd, line, len);
}

/* nginx's own takes the line feed off again. */
static void
to_syslog(ngx_log_t *log, ngx_uint_t level, u_char *buf, size_t len)
{
    u_char *line = written(buf, &len);

    ngx_syslog_writer(log, level, line, len);
}

/* A log that goes into memory is for debuggers, and stays as it is. */
static void
set_writers(ngx_log_t *log)
{
    for (; log != NULL; log = log->next) {
        if (log->writer == NULL)
            log->writer = to_file;
        else if (log->writer == ngx_syslog_writer)
            log->writer = to_syslog;
    }
}

void
sb_logs_start(ngx_cycle_t *cycle)
{
    ngx_listening_t *ls = cycle->listening.elts;

    for (ngx_uint_t i = 0; i < cycle->listening.nelts; i++) {
        if (ls[i].handler != ngx_http_init_connection)
            continue;
        set_writers(ls[i].logp);
        set_writers(&ls[i].log);
    }
}
