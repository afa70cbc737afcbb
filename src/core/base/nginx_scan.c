/*
 * The scanner of nginx configurations; see nginx_scan.h. Start at sb_nginx_scan(): it gathers words until one of ';', '{' and '}' ends
 * them. `words` holds their text behind one another, each with its NUL; `at` where each begins.
 */
#include "core/base/nginx_scan.h"

#include "core/base/buf.h"

#include <stdlib.h>
#include <string.h>

typedef struct scan {
    const char *p, *end, *text;
    size_t line;
    sb_buf_t words;
    size_t *at, n, cap;
    size_t start, start_line; /* of the first word */
    const char **pointers;    /* into words, for the callback */
    size_t n_pointers;
    char *blocks[SB_NGINX_SCAN_DEPTH];
    size_t depth;
    sb_err_t *err;
} scan_t;

static int
refuse(scan_t *s, size_t line, const char *why)
{
    s->line = line;
    return sb_err_set(s->err, SB_E_NONE, "line %zu: %s", line, why);
}

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* One byte on. */
static char
step(scan_t *s)
{
    if (*s->p == '\n')
        s->line++;
    return *s->p++;
}

static void
begin_word(scan_t *s)
{
    if (s->n == 0) {
        s->start = (size_t)(s->p - s->text);
        s->start_line = s->line;
    }
    if (s->n == s->cap) {
        s->cap = s->cap != 0 ? s->cap * 2 : 16;
        s->at = sb_realloc(s->at, s->cap * sizeof(*s->at));
    }
    s->at[s->n++] = s->words.len;
}

/* What follows a backslash: nginx keeps the backslash but before these. */
static void
take_escaped(scan_t *s)
{
    char c;

    if (s->p == s->end) {
        sb_buf_addc(&s->words, '\\');
        return;
    }
    c = step(s);
    if (c == 't' || c == 'r' || c == 'n')
        sb_buf_addc(&s->words, c == 't' ? '\t' : c == 'r' ? '\r' : '\n');
    else {
        if (c != '"' && c != '\'' && c != '\\')
            sb_buf_addc(&s->words, '\\');
        sb_buf_addc(&s->words, c);
    }
}

static int
quoted_word(scan_t *s)
{
    size_t line = s->line;
    char quote, c;

    begin_word(s);
    quote = step(s);
    while (s->p < s->end && *s->p != quote) {
        c = step(s);
        if (c == '\\')
            take_escaped(s);
        else
            sb_buf_addc(&s->words, c);
    }
    if (s->p == s->end)
        return refuse(s, line, "a quote is not closed");
    step(s);
    sb_buf_addc(&s->words, '\0');
    return SB_OK;
}

/* Ends before a space, ';' or '{'; but "${" begins a variable. */
static void
bare_word(scan_t *s)
{
    char before = '\0', c;

    begin_word(s);
    while (s->p < s->end && !is_space(*s->p) && *s->p != ';' && (*s->p != '{' || before == '$')) {
        c = before = step(s);
        if (c == '\\')
            take_escaped(s);
        else
            sb_buf_addc(&s->words, c);
    }
    sb_buf_addc(&s->words, '\0');
}

static void
skip_line(scan_t *s)
{
    while (s->p < s->end && *s->p != '\n')
        s->p++;
}

/* --- Lua code --- */

/* "[==[" at p: how many '=', else -1. */
static long
long_bracket(const scan_t *s, const char *p)
{
    long level = 0;

    if (p == s->end || *p != '[')
        return -1;
    for (p++; p < s->end && *p == '='; p++)
        level++;
    return p < s->end && *p == '[' ? level : -1;
}

static void
skip_long_bracket(scan_t *s, long level)
{
    s->p += level + 2;
    while (s->p < s->end) {
        const char *p = s->p + 1;
        if (step(s) != ']')
            continue;
        while (p < s->end && *p == '=' && p - s->p < level)
            p++;
        if (p < s->end && *p == ']' && p - s->p == level) {
            s->p = p + 1;
            return;
        }
    }
}

static void
skip_lua_string(scan_t *s)
{
    char quote = step(s);

    while (s->p < s->end && *s->p != quote && *s->p != '\n')
        if (step(s) == '\\' && s->p < s->end)
            step(s);
    if (s->p < s->end)
        step(s);
}

static void
skip_lua_comment(scan_t *s)
{
    long level;

    s->p += 2;
    level = long_bracket(s, s->p);
    if (level >= 0)
        skip_long_bracket(s, level);
    else
        skip_line(s);
}

/* Behind the '{': to behind the '}' that closes it. */
static int
skip_lua(scan_t *s)
{
    size_t depth = 1, line = s->line;

    while (s->p < s->end && depth > 0) {
        long level = long_bracket(s, s->p);
        if (level >= 0)
            skip_long_bracket(s, level);
        else if (*s->p == '"' || *s->p == '\'')
            skip_lua_string(s);
        else if (*s->p == '-' && s->end - s->p > 1 && s->p[1] == '-')
            skip_lua_comment(s);
        else {
            char c = step(s);
            depth += c == '{';
            depth -= c == '}';
        }
    }
    return depth == 0 ? SB_OK : refuse(s, line, "a Lua block is not closed");
}

/* --- directives --- */

static bool
is_lua_block(const char *name)
{
    static const char tail[] = "_by_lua_block";
    size_t len = strlen(name), n = sizeof(tail) - 1;

    return len > n && strcmp(name + len - n, tail) == 0;
}

static int
report(scan_t *s, bool opens, sb_nginx_scan_pt fn, void *arg)
{
    sb_nginx_directive_t d = {.n_words = s->n, .block = "", .depth = s->depth, .start = s->start, .line = s->start_line, .opens = opens};

    if (s->n > s->n_pointers) {
        s->pointers = sb_realloc(s->pointers, s->n * sizeof(*s->pointers));
        s->n_pointers = s->n;
    }
    for (size_t i = 0; i < s->n; i++)
        s->pointers[i] = s->words.data + s->at[i];
    d.words = s->pointers;
    if (s->depth > 0)
        d.block = s->blocks[s->depth - 1];
    d.end = (size_t)(s->p - s->text);
    return fn(&d, arg, s->err);
}

static int
end_directive(scan_t *s, sb_nginx_scan_pt fn, void *arg)
{
    char c = step(s);
    const char *name = s->n > 0 ? s->words.data + s->at[0] : NULL;
    bool lua = c == '{' && name != NULL && is_lua_block(name);
    int rc = SB_OK;

    if (name == NULL)
        return refuse(s, s->line, c == ';' ? "unexpected ';'" : "unexpected '{'");
    if (lua)
        rc = skip_lua(s);
    if (rc == SB_OK)
        rc = report(s, c == '{' && !lua, fn, arg);
    if (rc == SB_OK && c == '{' && !lua) {
        if (s->depth == SB_NGINX_SCAN_DEPTH)
            return refuse(s, s->start_line, "too many blocks in one another");
        name = s->words.data + s->at[0];
        s->blocks[s->depth++] = sb_strdup_len(name, strlen(name));
    }
    sb_buf_reset(&s->words);
    s->n = 0;
    return rc;
}

static int
close_block(scan_t *s)
{
    if (s->n > 0)
        return refuse(s, s->start_line, "a directive is not ended by ';'");
    if (s->depth == 0)
        return refuse(s, s->line, "unexpected '}'");
    free(s->blocks[--s->depth]);
    step(s);
    return SB_OK;
}

static int
run(scan_t *s, sb_nginx_scan_pt fn, void *arg)
{
    int rc = SB_OK;

    while (rc == SB_OK && s->p < s->end) {
        char c = *s->p;
        if (is_space(c))
            step(s);
        else if (c == '#')
            skip_line(s);
        else if (c == ';' || c == '{')
            rc = end_directive(s, fn, arg);
        else if (c == '}')
            rc = close_block(s);
        else if (c == '"' || c == '\'')
            rc = quoted_word(s);
        else
            bare_word(s);
    }
    if (rc == SB_OK && s->n > 0)
        rc = refuse(s, s->start_line, "a directive is not ended by ';'");
    if (rc == SB_OK && s->depth > 0)
        rc = refuse(s, s->line, "a block is not closed by '}'");
    return rc;
}

int
sb_nginx_scan(const char *text, size_t len, sb_nginx_scan_pt fn, void *arg, size_t *line, sb_err_t *err)
{
    scan_t s = {.p = text, .end = text + len, .text = text, .line = 1, .err = err};
    int rc = run(&s, fn, arg);

    if (line != NULL)
        *line = s.line;
    while (s.depth > 0)
        free(s.blocks[--s.depth]);
    sb_buf_free(&s.words);
    free(s.at);
    free(s.pointers);
    return rc;
}
