/*
 * The parser of the expression language, by recursive descent over the text as it stands: blanks are skipped before each token. Chains of
 * && and || are flat lists in the tree, so that only parentheses nest, and these are limited. Start at expression_parse.
 */
#include "core/router/expression/expression_int.h"

#define LINE_MAX_LEN 200

static int parse_conjunction(struct parser *p, struct expression **out);

/* ---------- errors ---------- */

/* The line that byte `at` is in. */
static sb_str_t
line_at(sb_str_t text, size_t at, size_t *number)
{
    size_t start = 0, end = at;

    *number = 1;
    for (size_t i = 0; i < at; i++)
        if (text.data[i] == '\n') {
            start = i + 1;
            ++*number;
        }
    while (end < text.len && text.data[end] != '\n')
        end++;
    return (sb_str_t){text.data + start, end - start};
}

/* Of a long line, what is around the column; whole characters. */
static sb_str_t
excerpt(sb_str_t line, size_t *column)
{
    size_t from = *column > LINE_MAX_LEN / 2 ? *column - LINE_MAX_LEN / 2 : 0, to = from + LINE_MAX_LEN;

    if (to > line.len)
        to = line.len;
    while (from < *column && ((unsigned char)line.data[from] & 0xc0) == 0x80)
        from++;
    while (to < line.len && to > from && ((unsigned char)line.data[to] & 0xc0) == 0x80)
        to--;
    *column -= from;
    return (sb_str_t){line.data + from, to - from};
}

int
parse_fail(const struct parser *p, size_t at, const char *expected)
{
    size_t number, column, in_excerpt;
    sb_str_t line;

    at = at < p->text.len ? at : p->text.len;
    line = line_at(p->text, at, &number);
    column = in_excerpt = (size_t)(p->text.data + at - line.data);
    line = excerpt(line, &in_excerpt);
    return sb_err_set(p->err, SB_E_SCHEMA_VIOLATION, " --> %zu:%zu\n  |\n%zu | %.*s\n  | %*s^---\n  |\n  = expected %s", number, column + 1,
                      number, (int)line.len, line.data, (int)in_excerpt, "", expected);
}

/* ---------- tokens ---------- */

static void
skip_blanks(struct parser *p)
{
    while (p->at < p->text.len && p->text.data[p->at] != '\0' && strchr(" \t\r\n", p->text.data[p->at]) != NULL)
        p->at++;
}

static bool
accept(struct parser *p, sb_str_t token)
{
    skip_blanks(p);
    if (!sb_str_starts((sb_str_t){p->text.data + p->at, p->text.len - p->at}, token))
        return false;
    p->at += token.len;
    return true;
}

static bool
is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static sb_str_t
take_ident(struct parser *p)
{
    size_t start;

    skip_blanks(p);
    start = p->at;
    if (p->at < p->text.len && is_letter(p->text.data[p->at]))
        while (p->at < p->text.len && (is_letter(p->text.data[p->at]) || (p->text.data[p->at] >= '0' && p->text.data[p->at] <= '9') ||
                                       p->text.data[p->at] == '_' || p->text.data[p->at] == '.'))
            p->at++;
    return (sb_str_t){p->text.data + start, p->at - start};
}

static bool
accept_not_in(struct parser *p)
{
    size_t start = p->at, end;

    if (accept(p, SB_STR("not"))) {
        end = p->at;
        skip_blanks(p);
        if (p->at > end && accept(p, SB_STR("in")))
            return true;
    }
    p->at = start;
    return false;
}

static int
parse_operator(struct parser *p, enum compare *out)
{
    /* Longer ones before those they begin with. */
    static const struct {
        sb_str_t text;
        enum compare cmp;
    } operators[] = {{{"==", 2}, CMP_EQ},
                     {{"!=", 2}, CMP_NE},
                     {{"~", 1}, CMP_REGEX},
                     {{"^=", 2}, CMP_PREFIX},
                     {{"=^", 2}, CMP_SUFFIX},
                     {{">=", 2}, CMP_GE},
                     {{">", 1}, CMP_GT},
                     {{"<=", 2}, CMP_LE},
                     {{"<", 1}, CMP_LT},
                     {{"in", 2}, CMP_IN},
                     {{"contains", 8}, CMP_CONTAINS}};

    for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++)
        if (accept(p, operators[i].text)) {
            *out = operators[i].cmp;
            return SB_OK;
        }
    if (accept_not_in(p)) {
        *out = CMP_NOT_IN;
        return SB_OK;
    }
    return parse_fail(p, p->at, "an operator: == != ~ ^= =^ > >= < <= in, not in, contains");
}

/* ---------- the tree ---------- */

static int
parse_left(struct parser *p, struct predicate *out)
{
    unsigned open = 0;
    size_t start;

    for (;;) {
        sb_str_t ident;
        skip_blanks(p);
        start = p->at;
        ident = take_ident(p);
        if (ident.len == 0)
            return parse_fail(p, start, open != 0 ? "a field or function" : "a field, a function, '(' or '!('");
        if (!accept(p, SB_STR("("))) {
            out->left = ident;
            break;
        }
        if (sb_str_eqc(ident, "lower"))
            out->lower = true;
        else if (sb_str_eqc(ident, "any"))
            out->any = true;
        else
            return parse_fail(p, start, "one of the functions lower, any");
        open++;
    }
    for (; open != 0; open--)
        if (!accept(p, SB_STR(")")))
            return parse_fail(p, p->at, "')'");
    return SB_OK;
}

static int
parse_predicate(struct parser *p, struct expression *e)
{
    int rc;

    e->op = OP_PREDICATE;
    if ((rc = parse_left(p, &e->p)) != SB_OK || (rc = parse_operator(p, &e->p.cmp)) != SB_OK)
        return rc;
    skip_blanks(p);
    if ((rc = parse_literal(p, &e->p.value)) != SB_OK)
        return rc;
    return predicate_check(&e->p, p->stream, p->err);
}

static int
parse_group(struct parser *p, bool negated, struct expression **out)
{
    struct expression *inner;
    int rc;

    if (++p->nesting > NESTING_MAX)
        return parse_fail(p, p->at, "at most 64 parentheses in each other");
    if ((rc = parse_conjunction(p, &inner)) != SB_OK)
        return rc;
    p->nesting--;
    if (!accept(p, SB_STR(")")))
        return parse_fail(p, p->at, "'&&', '||' or ')'");
    *out = inner;
    if (negated) {
        *out = sb_pool_alloc(p->pool, sizeof(**out));
        (*out)->op = OP_NOT;
        (*out)->child = inner;
    }
    return SB_OK;
}

static int
parse_term(struct parser *p, struct expression **out)
{
    bool negated = accept(p, SB_STR("!"));

    if (accept(p, SB_STR("(")))
        return parse_group(p, negated, out);
    if (negated)
        return parse_fail(p, p->at, "'(' after '!'");
    *out = sb_pool_alloc(p->pool, sizeof(**out));
    return parse_predicate(p, *out);
}

/* One or more of part, divided by the operator's token; a node only when there are two. */
static int
parse_chain(struct parser *p, enum op op, sb_str_t token, int (*part)(struct parser *, struct expression **), struct expression **out)
{
    struct expression *first, **end;
    size_t start;
    int rc;

    skip_blanks(p);
    start = p->at;
    if ((rc = part(p, &first)) != SB_OK)
        return rc;
    *out = first;
    first->source = (sb_str_t){p->text.data + start, p->at - start};
    if (!accept(p, token))
        return SB_OK;
    *out = sb_pool_alloc(p->pool, sizeof(**out));
    (*out)->op = op;
    (*out)->child = first;
    end = &first->next;
    do {
        skip_blanks(p);
        size_t part_start = p->at;
        if ((rc = part(p, end)) != SB_OK)
            return rc;
        (*end)->source = (sb_str_t){p->text.data + part_start, p->at - part_start};
        end = &(*end)->next;
    } while (accept(p, token));
    (*out)->source = (sb_str_t){p->text.data + start, p->at - start};
    return SB_OK;
}

static int
parse_disjunction(struct parser *p, struct expression **out)
{
    return parse_chain(p, OP_OR, SB_STR("||"), parse_term, out);
}

static int
parse_conjunction(struct parser *p, struct expression **out)
{
    return parse_chain(p, OP_AND, SB_STR("&&"), parse_disjunction, out);
}

int
expression_parse(sb_pool_t *pool, sb_str_t text, bool stream, const struct expression **out, sb_err_t *err)
{
    struct parser p = {.pool = pool, .text = text, .stream = stream, .err = err};
    struct expression *e;
    int rc = parse_conjunction(&p, &e);

    if (rc != SB_OK)
        return rc;
    skip_blanks(&p);
    if (p.at != text.len)
        return parse_fail(&p, p.at, "'&&', '||' or the end");
    *out = e;
    return SB_OK;
}
