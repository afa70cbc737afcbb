/*
 * Lua patterns: character classes, sets, anchors, the quantifiers * + - ?, %b, %f, captures (only as groups of nothing: they do
 * not change what matches) and back references. A pattern is parsed into items, each a 256-bit set of bytes with a quantifier, then
 * matched by backtracking. Patterns come from schemas, texts from clients: steps and depth are bounded, and a match that
 * would take more is no match.
 */
#include "core/schema/schema_int.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define ITEMS_MAX    256
#define CAPTURES_MAX 32
#define STEPS_MAX    2000000
#define DEPTH_MAX    2000

enum kind { ONE, BALANCE, FRONTIER, OPEN, CLOSE, BACKREF, AT_END };

struct item {
    uint8_t kind;
    char quantifier;    /* 0, '*', '+', '-', '?'; ONE only */
    unsigned char a, b; /* BALANCE: the pair; BACKREF, OPEN, CLOSE: a is the capture */
    uint32_t set[8];
};

struct program {
    struct item items[ITEMS_MAX];
    size_t n;
    size_t captures;
    bool anchored;
    const char *error;
};

struct capture {
    size_t start, len;
    bool closed;
};

struct matcher {
    const struct program *p;
    const unsigned char *text;
    size_t len;
    unsigned steps, depth;
    struct capture captures[CAPTURES_MAX];
};

/* --- parsing --- */

static void
add_byte(struct item *it, unsigned c)
{
    it->set[c >> 5] |= 1u << (c & 31);
}

static bool
has_byte(const struct item *it, unsigned c)
{
    return (it->set[c >> 5] >> (c & 31) & 1) != 0;
}

static bool
in_class(int c, int class)
{
    switch (class) {
    case 'a':
        return isalpha(c);
    case 'c':
        return iscntrl(c);
    case 'd':
        return isdigit(c);
    case 'g':
        return isgraph(c);
    case 'l':
        return islower(c);
    case 'p':
        return ispunct(c);
    case 's':
        return isspace(c);
    case 'u':
        return isupper(c);
    case 'w':
        return isalnum(c);
    case 'x':
        return isxdigit(c);
    default:
        return c == 0; /* z */
    }
}

/* What follows a '%': a class, or the byte itself. */
static void
add_escaped(struct item *it, unsigned char e)
{
    unsigned c;
    int lower = tolower(e);

    if (e >= 128 || strchr("acdglpsuwxz", lower) == NULL || e == '\0') {
        add_byte(it, e);
        return;
    }
    for (c = 0; c < 256; c++) {
        if ((c < 128 && in_class((int)c, lower)) == (e == lower))
            add_byte(it, c);
    }
}

/* `s` is behind "["; returns behind "]", NULL when it never comes. The first byte of a set may be "]" itself. */
static const char *
parse_set(struct item *it, const char *s)
{
    bool negate = *s == '^', first = true;
    unsigned c;
    size_t i;

    for (s += negate; *s != '\0' && (first || *s != ']'); first = false) {
        if (*s == '%') {
            if (s[1] == '\0')
                return NULL;
            add_escaped(it, (unsigned char)s[1]);
            s += 2;
        } else if (s[1] == '-' && s[2] != ']' && s[2] != '\0') {
            for (c = (unsigned char)s[0]; c <= (unsigned char)s[2]; c++)
                add_byte(it, c);
            s += 3;
        } else {
            add_byte(it, (unsigned char)*s++);
        }
    }
    if (*s != ']')
        return NULL;
    for (i = 0; negate && i < 8; i++)
        it->set[i] = ~it->set[i];
    return s + 1;
}

/* %b, %f and %1-%9; NULL when `s` (at the byte behind '%') is none of them or malformed, then p->error may be set. */
static const char *
parse_special(struct program *p, struct item *it, const char *s)
{
    if (*s == 'b') {
        if (s[1] == '\0' || s[2] == '\0') {
            p->error = "missing arguments to '%b'";
            return NULL;
        }
        *it = (struct item){.kind = BALANCE, .a = (unsigned char)s[1], .b = (unsigned char)s[2]};
        return s + 3;
    }
    if (*s == 'f') {
        it->kind = FRONTIER;
        s = s[1] == '[' ? parse_set(it, s + 2) : NULL;
        if (s == NULL)
            p->error = "missing '[' after '%f'";
        return s;
    }
    if (*s < '1' || *s > '9')
        return NULL;
    if ((size_t)(*s - '0') > p->captures) {
        p->error = "invalid capture index";
        return NULL;
    }
    *it = (struct item){.kind = BACKREF, .a = (unsigned char)(*s - '1')};
    return s + 1;
}

static const char *
parse_one(struct program *p, struct item *it, const char *s)
{
    const char *next;

    if (*s == '%') {
        if (s[1] == '\0') {
            p->error = "malformed pattern (ends with '%')";
            return NULL;
        }
        next = parse_special(p, it, s + 1);
        if (next != NULL || p->error != NULL)
            return next;
        add_escaped(it, (unsigned char)s[1]);
        s += 2;
    } else if (*s == '[') {
        if ((s = parse_set(it, s + 1)) == NULL) {
            p->error = "malformed pattern (missing ']')";
            return NULL;
        }
    } else {
        if (*s == '.')
            memset(it->set, 0xff, sizeof(it->set));
        else
            add_byte(it, (unsigned char)*s);
        s++;
    }
    if (*s != '\0' && strchr("*+-?", *s) != NULL)
        it->quantifier = *s++;
    return s;
}

/* Parentheses: `open` is the stack of captures that were begun. */
static bool
parse_group(struct program *p, struct item *it, char c, size_t *open, size_t *n_open)
{
    if (c == '(') {
        if (p->captures == CAPTURES_MAX) {
            p->error = "too many captures";
            return false;
        }
        open[(*n_open)++] = p->captures;
        *it = (struct item){.kind = OPEN, .a = (unsigned char)p->captures++};
        return true;
    }
    if (*n_open == 0) {
        p->error = "invalid pattern capture";
        return false;
    }
    *it = (struct item){.kind = CLOSE, .a = (unsigned char)open[--*n_open]};
    return true;
}

static bool
parse(struct program *p, const char *s)
{
    size_t open[CAPTURES_MAX], n_open = 0;

    memset(p, 0, offsetof(struct program, n));
    p->n = p->captures = 0;
    p->error = NULL;
    p->anchored = *s == '^';
    for (s += p->anchored; *s != '\0'; p->n++) {
        struct item *it = &p->items[p->n];

        if (p->n == ITEMS_MAX) {
            p->error = "pattern too long";
            return false;
        }
        if (*s == '(' || *s == ')') {
            if (!parse_group(p, it, *s++, open, &n_open))
                return false;
        } else if (*s == '$' && s[1] == '\0') {
            it->kind = AT_END;
            s++;
        } else if ((s = parse_one(p, it, s)) == NULL) {
            return false;
        }
    }
    if (n_open != 0)
        p->error = "unfinished capture";
    return p->error == NULL;
}

/* --- matching --- */

static bool match_from(struct matcher *m, size_t i, size_t at);

static bool
tired(struct matcher *m)
{
    return ++m->steps > STEPS_MAX;
}

static bool
match_repeated(struct matcher *m, size_t i, size_t at, size_t min, size_t max)
{
    const struct item *it = &m->p->items[i];
    size_t n = 0;

    while (n < max && at + n < m->len && has_byte(it, m->text[at + n]) && !tired(m))
        n++;
    for (;; n--) {
        if (n < min || tired(m))
            return false;
        if (match_from(m, i + 1, at + n))
            return true;
        if (n == 0)
            return false;
    }
}

static bool
match_lazy(struct matcher *m, size_t i, size_t at)
{
    while (!tired(m)) {
        if (match_from(m, i + 1, at))
            return true;
        if (at >= m->len || !has_byte(&m->p->items[i], m->text[at]))
            return false;
        at++;
    }
    return false;
}

static bool
match_balance(struct matcher *m, size_t i, size_t at)
{
    const struct item *it = &m->p->items[i];
    size_t level = 1, j;

    if (at >= m->len || m->text[at] != it->a)
        return false;
    for (j = at + 1; j < m->len && !tired(m); j++) {
        if (m->text[j] == it->b) {
            if (--level == 0)
                return match_from(m, i + 1, j + 1);
        } else if (m->text[j] == it->a) {
            level++;
        }
    }
    return false;
}

static bool
match_backref(struct matcher *m, size_t i, size_t at)
{
    const struct capture *c = &m->captures[m->p->items[i].a];

    if (!c->closed || c->len > m->len - at || memcmp(m->text + c->start, m->text + at, c->len) != 0)
        return false;
    m->steps += (unsigned)(c->len < STEPS_MAX ? c->len : STEPS_MAX);
    return match_from(m, i + 1, at + c->len);
}

static bool
match_capture(struct matcher *m, size_t i, size_t at)
{
    struct capture *c = &m->captures[m->p->items[i].a], old = *c;

    if (m->p->items[i].kind == OPEN)
        *c = (struct capture){.start = at};
    else
        *c = (struct capture){.start = old.start, .len = at - old.start, .closed = true};
    if (match_from(m, i + 1, at))
        return true;
    *c = old;
    return false;
}

static bool
match_frontier(struct matcher *m, size_t i, size_t at)
{
    const struct item *it = &m->p->items[i];
    unsigned before = at == 0 ? 0 : m->text[at - 1], here = at < m->len ? m->text[at] : 0;

    return !has_byte(it, before) && has_byte(it, here) && match_from(m, i + 1, at);
}

static bool
match_item(struct matcher *m, size_t i, size_t at)
{
    const struct item *it = &m->p->items[i];

    switch (it->kind) {
    case AT_END:
        return at == m->len && match_from(m, i + 1, at);
    case BALANCE:
        return match_balance(m, i, at);
    case FRONTIER:
        return match_frontier(m, i, at);
    case OPEN:
    case CLOSE:
        return match_capture(m, i, at);
    case BACKREF:
        return match_backref(m, i, at);
    default:
        break;
    }
    if (it->quantifier == '-')
        return match_lazy(m, i, at);
    return match_repeated(m, i, at, it->quantifier == '+', it->quantifier == '?' ? 1 : SIZE_MAX);
}

static bool
match_from(struct matcher *m, size_t i, size_t at)
{
    bool found;

    /* Plain bytes need no recursion. */
    for (; i < m->p->n && m->p->items[i].kind == ONE && m->p->items[i].quantifier == 0; i++, at++) {
        if (tired(m) || at >= m->len || !has_byte(&m->p->items[i], m->text[at]))
            return false;
    }
    if (i == m->p->n)
        return true;
    if (tired(m) || m->depth == DEPTH_MAX)
        return false;
    m->depth++;
    found = match_item(m, i, at);
    m->depth--;
    return found;
}

bool
sb_lua_pattern_match(const char *text, size_t len, const char *pattern)
{
    struct program p;
    struct matcher m = {.p = &p, .text = (const unsigned char *)text, .len = len};
    size_t at;

    if (!parse(&p, pattern))
        return false;
    for (at = 0; at <= len; at++) {
        if (match_from(&m, 0, at))
            return true;
        if (p.anchored || m.steps > STEPS_MAX)
            return false;
    }
    return false;
}

const char *
sb_lua_pattern_error(const char *pattern)
{
    struct program p;

    parse(&p, pattern);
    return p.error;
}
