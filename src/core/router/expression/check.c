/*
 * What a predicate's left side names, and whether operator and literal fit its type. The texts of errors are the interface's. Start at
 * predicate_check; the fields are a table.
 */
#include "core/router/expression/expression_int.h"

#include "core/base/log.h"
#include "core/router/router_int.h"

enum { HTTP = 1, STREAM = 2 };

static const struct field_row {
    sb_str_t name; /* with a dot at the end: what follows is a name */
    enum field field;
    enum value_type type;
    unsigned where;
} field_rows[] = {
    {{"net.protocol", 12}, FIELD_PROTOCOL, TYPE_STRING, HTTP | STREAM},
    {{"tls.sni", 7}, FIELD_SNI, TYPE_STRING, HTTP | STREAM},
    {{"http.method", 11}, FIELD_METHOD, TYPE_STRING, HTTP},
    {{"http.host", 9}, FIELD_HOST, TYPE_STRING, HTTP},
    {{"http.path", 9}, FIELD_PATH, TYPE_STRING, HTTP},
    {{"http.path.segments.len", 22}, FIELD_SEGMENTS_LEN, TYPE_INT, HTTP},
    {{"http.path.segments.", 19}, FIELD_SEGMENTS, TYPE_STRING, HTTP},
    {{"http.headers.", 13}, FIELD_HEADER, TYPE_STRING, HTTP},
    {{"http.queries.", 13}, FIELD_QUERY, TYPE_STRING, HTTP},
    {{"net.src.ip", 10}, FIELD_SRC_IP, TYPE_IP, HTTP | STREAM},
    {{"net.dst.ip", 10}, FIELD_DST_IP, TYPE_IP, HTTP | STREAM},
    {{"net.src.port", 12}, FIELD_SRC_PORT, TYPE_INT, HTTP | STREAM},
    {{"net.dst.port", 12}, FIELD_DST_PORT, TYPE_INT, HTTP | STREAM},
    {{"net.port", 8}, FIELD_DST_PORT, TYPE_INT, HTTP | STREAM}, /* deprecated */
};

static const struct field_row *
find_field(const struct predicate *p, bool stream)
{
    for (size_t i = 0; i < sizeof(field_rows) / sizeof(field_rows[0]); i++) {
        const struct field_row *f = &field_rows[i];
        bool open = f->name.data[f->name.len - 1] == '.';
        if ((f->where & (stream ? STREAM : HTTP)) == 0)
            continue;
        if (open ? p->left.len > f->name.len && sb_str_starts(p->left, f->name) : sb_str_eq(p->left, f->name))
            return f;
    }
    return NULL;
}

/* ---------- segments ---------- */

/* A number without leading zeros off the front of s. */
static bool
take_number(sb_str_t *s, uint32_t *out)
{
    size_t i = 0;
    uint64_t n = 0;

    for (; i < s->len && s->data[i] >= '0' && s->data[i] <= '9' && n <= UINT32_MAX; i++)
        n = n * 10 + (unsigned)(s->data[i] - '0');
    if (i == 0 || n > UINT32_MAX || (i > 1 && s->data[0] == '0'))
        return false;
    *out = (uint32_t)n;
    *s = (sb_str_t){s->data + i, s->len - i};
    return true;
}

static bool
parse_segments(sb_str_t s, struct predicate *p)
{
    if (!take_number(&s, &p->from))
        return false;
    p->to = p->from;
    if (s.len == 0)
        return true;
    if (s.data[0] != '_')
        return false;
    s = (sb_str_t){s.data + 1, s.len - 1};
    return take_number(&s, &p->to) && s.len == 0 && p->from < p->to;
}

/* ---------- regexes ---------- */

/* What may stand behind a "(": a group with or without a name, and flags. */
static bool
is_known_group(sb_str_t s)
{
    size_t i = 2;

    if (sb_str_starts(s, SB_STR("(*")))
        return false;
    if (!sb_str_starts(s, SB_STR("(?")) || sb_str_starts(s, SB_STR("(?P<")))
        return true;
    if (sb_str_starts(s, SB_STR("(?<")))
        return s.len > 3 && s.data[3] != '=' && s.data[3] != '!';
    while (i < s.len && s.data[i] != '\0' && strchr("imsUux-", s.data[i]) != NULL)
        i++;
    return i == s.len || s.data[i] == ':' || s.data[i] == ')';
}

/* The engine of the interface has neither look-around nor back-references nor recursion; ours would take them. */
static const char *
foreign_construct(sb_str_t re)
{
    bool class = false;

    for (size_t i = 0; i < re.len; i++) {
        sb_str_t rest = {re.data + i, re.len - i};
        if (re.data[i] == '\\') {
            if (rest.len > 1 && !class && rest.data[1] != '\0' && strchr("123456789gkKRGXCQE", rest.data[1]) != NULL)
                return "back-references and the like are not supported";
            i++;
        } else if (re.data[i] == '[' || re.data[i] == ']') {
            class = re.data[i] == '[';
        } else if (re.data[i] == '(' && !class && !is_known_group(rest)) {
            return "look-around and the like is not supported";
        }
    }
    return NULL;
}

static int
check_regex(sb_str_t re, sb_err_t *err)
{
    const char *foreign = foreign_construct(re);
    char why[128];

    if (foreign != NULL)
        return sb_err_set(err, SB_E_SCHEMA_VIOLATION, "regex parse error: '%.*s': %s", (int)re.len, re.data, foreign);
    if (!regex_compiles(re, why, sizeof(why)))
        return sb_err_set(err, SB_E_SCHEMA_VIOLATION, "regex parse error: '%.*s': %s", (int)re.len, re.data, why);
    return SB_OK;
}

/* ---------- types ---------- */

static const char *
operands_error(enum compare cmp, enum value_type left, enum value_type right)
{
    bool strings = left == TYPE_STRING && right == TYPE_STRING;

    if (cmp == CMP_REGEX && right != TYPE_STRING)
        return "regex operator can only be used with String operands";
    if (cmp == CMP_IN || cmp == CMP_NOT_IN)
        return left == TYPE_IP && right == TYPE_CIDR ? NULL : "In/NotIn operators only supports IP in CIDR";
    if (left != right)
        return "Type mismatch between the LHS and RHS values of predicate";
    if (cmp == CMP_PREFIX || cmp == CMP_SUFFIX)
        return strings ? NULL : "Regex/Prefix/Postfix operators only supports string operands";
    if (cmp == CMP_CONTAINS)
        return strings ? NULL : "Contains operator only supports string operands";
    if (cmp >= CMP_GT && cmp <= CMP_LE)
        return left == TYPE_INT ? NULL : "Greater/GreaterOrEqual/Lesser/LesserOrEqual operators only supports integer operands";
    return NULL;
}

int
predicate_check(struct predicate *p, bool stream, sb_err_t *err)
{
    const struct field_row *f = find_field(p, stream);
    const char *wrong;

    if (f == NULL)
        return sb_err_set(err, SB_E_SCHEMA_VIOLATION, "Unknown LHS field");
    p->field = f->field;
    p->name = (sb_str_t){p->left.data + f->name.len, p->left.len - f->name.len};
    if (p->lower && f->type != TYPE_STRING)
        return sb_err_set(err, SB_E_SCHEMA_VIOLATION, "lower-case transformation function only supported with String type fields");
    if ((wrong = operands_error(p->cmp, f->type, p->value.type)) != NULL)
        return sb_err_set(err, SB_E_SCHEMA_VIOLATION, "%s", wrong);
    if (p->field == FIELD_SEGMENTS && !parse_segments(p->name, p))
        return sb_err_set(err, SB_E_SCHEMA_VIOLATION, "illformed http.path.segments.* field");
    if (p->field == FIELD_DST_PORT && sb_str_eqc(p->left, "net.port"))
        sb_log(SB_LOG_WARN, "router: the field 'net.port' of expressions is deprecated and read as 'net.dst.port'");
    return p->cmp == CMP_REGEX ? check_regex(p->value.text, err) : SB_OK;
}
