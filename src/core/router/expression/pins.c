/*
 * By which literals an expression can be found in the index. Of && the best child's, of || those of all children or none, behind !
 * none: a literal that must not be there leads nowhere. The whole program decides in the end, so a pin may let through too much, never too
 * little. Start at expression_pins.
 */
#include "core/router/expression/expression_int.h"

#include "core/router/router_int.h"

#define PINS_MAX 256 /* of one field; more are as good as none */

enum dimension { DIM_HOST, DIM_PATH, DIM_HEADER };

static struct pin_list
one_pin(sb_pool_t *pool, const struct predicate *p, enum pin_form form, sb_str_t text)
{
    struct pin *pin;

    if (text.len == 0)
        return (struct pin_list){NULL, 0};
    pin = sb_pool_alloc(pool, sizeof(*pin));
    *pin = (struct pin){.form = form, .lower = p->lower, .text = text};
    return (struct pin_list){pin, 1};
}

static struct pin_list
pin_host(const struct predicate *p, sb_pool_t *pool)
{
    switch (p->cmp) {
    case CMP_EQ:
        return one_pin(pool, p, PIN_EXACT, p->value.text);
    case CMP_PREFIX:
        return one_pin(pool, p, PIN_PREFIX, p->value.text);
    case CMP_SUFFIX:
        return one_pin(pool, p, PIN_SUFFIX, p->value.text);
    default:
        return (struct pin_list){NULL, 0};
    }
}

/* What paths that match an anchored regex start with. */
static sb_str_t
regex_start(sb_pool_t *pool, sb_str_t re)
{
    char buf[PATH_MAX_LEN];
    size_t n;

    if (re.len == 0 || re.data[0] != '^')
        return (sb_str_t){"", 0};
    n = regex_literal_prefix(re.data + 1, re.len - 1, buf, sizeof(buf));
    return sb_pool_str(pool, buf, n);
}

static sb_str_t
with_slash(sb_pool_t *pool, sb_str_t s)
{
    char *buf = sb_pool_alloc(pool, s.len + 1);

    buf[0] = '/';
    memcpy(buf + 1, s.data, s.len);
    return (sb_str_t){buf, s.len + 1};
}

static struct pin_list
pin_path(const struct predicate *p, sb_pool_t *pool)
{
    bool starts = p->cmp == CMP_EQ || p->cmp == CMP_PREFIX;

    if (p->field == FIELD_SEGMENTS) /* the first ones, with the slash in front that every path has */
        return starts && p->from == 0 ? one_pin(pool, p, PIN_PREFIX, with_slash(pool, p->value.text)) : (struct pin_list){NULL, 0};
    if (p->field != FIELD_PATH)
        return (struct pin_list){NULL, 0};
    if (p->cmp == CMP_REGEX)
        return one_pin(pool, p, PIN_PREFIX, regex_start(pool, p->value.text));
    return starts ? one_pin(pool, p, PIN_PREFIX, p->value.text) : (struct pin_list){NULL, 0};
}

static char
lower_char(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

/* Name and value as keys have them: the name with dashes, both in lower case. */
static struct pin_list
pin_header(const struct predicate *p, sb_pool_t *pool)
{
    struct pin_list l = {NULL, 0};
    char *text, *name;

    if (p->cmp != CMP_EQ || p->name.len > HEADER_NAME_MAX)
        return l;
    l = one_pin(pool, p, PIN_EXACT, p->value.text);
    if (l.n == 0)
        return l;
    text = sb_pool_alloc(pool, p->value.text.len);
    name = sb_pool_alloc(pool, p->name.len);
    for (size_t i = 0; i < p->value.text.len; i++)
        text[i] = lower_char(p->value.text.data[i]);
    for (size_t i = 0; i < p->name.len; i++)
        name[i] = p->name.data[i] == '_' ? '-' : lower_char(p->name.data[i]);
    l.first->text.data = text;
    l.first->name = (sb_str_t){name, p->name.len};
    return l;
}

static struct pin_list
pin_predicate(const struct predicate *p, enum dimension d, sb_pool_t *pool)
{
    if (d == DIM_HOST && p->field == FIELD_HOST)
        return pin_host(p, pool);
    if (d == DIM_PATH && (p->field == FIELD_PATH || p->field == FIELD_SEGMENTS))
        return pin_path(p, pool);
    if (d == DIM_HEADER && p->field == FIELD_HEADER)
        return pin_header(p, pool);
    return (struct pin_list){NULL, 0};
}

/* The shortest text says how much a list narrows the search. */
static size_t
worth(const struct pin_list *l)
{
    size_t min = SIZE_MAX;

    for (const struct pin *p = l->first; p != NULL; p = p->next)
        if (p->text.len < min)
            min = p->text.len;
    return l->n != 0 ? min : 0;
}

static void
join(struct pin_list *to, struct pin_list *more)
{
    struct pin **end = &to->first;

    while (*end != NULL)
        end = &(*end)->next;
    *end = more->first;
    to->n += more->n;
}

static struct pin_list
pins_of(const struct expression *e, enum dimension d, sb_pool_t *pool)
{
    struct pin_list out = {NULL, 0}, l;

    if (e->op == OP_PREDICATE)
        return pin_predicate(&e->p, d, pool);
    if (e->op == OP_NOT)
        return out;
    for (const struct expression *child = e->child; child != NULL; child = child->next) {
        l = pins_of(child, d, pool);
        if (e->op == OP_AND) {
            if (worth(&l) > worth(&out))
                out = l;
            continue;
        }
        if (l.n == 0 || out.n + l.n > PINS_MAX)
            return (struct pin_list){NULL, 0};
        join(&out, &l);
    }
    return out;
}

void
expression_pins(const struct expression *e, sb_pool_t *pool, struct pins *out)
{
    out->host = pins_of(e, DIM_HOST, pool);
    out->path = pins_of(e, DIM_PATH, pool);
    out->header = pins_of(e, DIM_HEADER, pool);
}
