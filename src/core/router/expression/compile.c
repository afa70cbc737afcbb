/*
 * From tree to program: nodes one after the other, each with its length, so that the bytes may lie anywhere and a node can be skipped.
 * run.c reads them. Header names are written as requests have them: lower case, dashes for underscores.
 */
#include "core/router/expression/expression_int.h"

static void
add_name(const struct predicate *p, sb_buf_t *out)
{
    for (size_t i = 0; i < p->name.len; i++) {
        char c = p->name.data[i];
        if (p->field == FIELD_HEADER && c >= 'A' && c <= 'Z')
            c = (char)(c | 0x20);
        sb_buf_addc(out, p->field == FIELD_HEADER && c == '_' ? '-' : c);
    }
}

static void
add_predicate(const struct predicate *p, sb_buf_t *out)
{
    uint32_t name_len = (uint32_t)p->name.len;

    if (p->value.type == TYPE_INT) {
        sb_buf_add(out, &p->value.number, sizeof(p->value.number));
        return;
    }
    if (p->value.type != TYPE_STRING) {
        sb_buf_add(out, &p->value.ip, sizeof(p->value.ip));
        return;
    }
    if (p->field == FIELD_HEADER || p->field == FIELD_QUERY) {
        sb_buf_add(out, &name_len, sizeof(name_len));
        add_name(p, out);
    } else if (p->field == FIELD_SEGMENTS) {
        sb_buf_add(out, &p->from, sizeof(p->from));
        sb_buf_add(out, &p->to, sizeof(p->to));
    }
    sb_buf_add(out, p->value.text.data, p->value.text.len);
}

void
expression_compile(const struct expression *e, sb_buf_t *out)
{
    size_t start = out->len;
    struct code c = {.op = (uint8_t)e->op};

    if (e->op == OP_PREDICATE) {
        c.field = (uint8_t)e->p.field;
        c.cmp = (uint8_t)e->p.cmp;
        c.flags = (uint8_t)((e->p.lower ? CODE_LOWER : 0) | (e->p.any ? CODE_ANY : 0));
    }
    sb_buf_add(out, &c, sizeof(c));
    if (e->op == OP_PREDICATE)
        add_predicate(&e->p, out);
    for (const struct expression *child = e->child; child != NULL; child = child->next)
        expression_compile(child, out);
    c.len = (uint32_t)(out->len - start);
    memcpy(out->data + start, &c, sizeof(c));
}

static bool
part_fits(const struct expression *part, struct expression_run *run)
{
    sb_buf_t program = {0};
    bool fits;

    expression_compile(part, &program);
    fits = expression_run(run, program.data, program.len);
    sb_buf_free(&program);
    return fits;
}

sb_str_t
expression_blame(const struct expression *e, struct expression_run *run)
{
    const struct expression *part = e->op == OP_AND ? e->child : e;

    while (e->op == OP_AND && part->next != NULL && part_fits(part, run))
        part = part->next;
    return part->source;
}
