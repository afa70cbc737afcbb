/*
 * Compiled regexes of one worker, found by their text, so that nothing goes stale when a route changes. Bounded: the table is full at
 * REGEX_MAX; the slot that a new text hashes to evicts what was there longest of its few candidates. A pattern is JIT-compiled once
 * it has been used often enough to pay for that.
 *
 * Capture names are handed out and may be kept, so they are interned for the life of the router.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/router/router_int.h"

#include "core/base/log.h"

#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

#define SETS        2048
#define WAYS        4
#define JIT_AFTER   4
#define MATCH_LIMIT 100000 /* backtracking steps: a pattern that needs more does not match */

struct regex {
    char *text;
    size_t len;
    bool icase, warned;
    unsigned uses;
    uint64_t last;
    pcre2_code *code;   /* NULL: does not compile */
    const char **names; /* by capture number, SB_ROUTER_CAPTURES of them; NULL: none named */
};

struct name {
    struct name *next;
    char text[];
};

struct regexes {
    struct regex *set[SETS];
    struct name *interned;
    uint64_t clock;
    pcre2_match_data *data;
    pcre2_match_context *context;
};

struct regexes *
regexes_new(void)
{
    struct regexes *r = sb_calloc(sizeof(*r));

    r->data = pcre2_match_data_create(SB_ROUTER_CAPTURES, NULL);
    r->context = pcre2_match_context_create(NULL);
    SB_ASSERT(r->data != NULL && r->context != NULL);
    pcre2_set_match_limit(r->context, MATCH_LIMIT);
    return r;
}

static void
regex_clear(struct regex *x)
{
    free(x->text);
    free(x->names);
    if (x->code != NULL)
        pcre2_code_free(x->code);
    memset(x, 0, sizeof(*x));
}

void
regexes_free(struct regexes *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < SETS; i++) {
        for (size_t j = 0; r->set[i] != NULL && j < WAYS; j++)
            regex_clear(&r->set[i][j]);
        free(r->set[i]);
    }
    for (struct name *n = r->interned, *next; n != NULL; n = next) {
        next = n->next;
        free(n);
    }
    pcre2_match_data_free(r->data);
    pcre2_match_context_free(r->context);
    free(r);
}

static const char *
intern(struct regexes *r, const char *text)
{
    size_t len = strlen(text) + 1;
    struct name *n;

    for (n = r->interned; n != NULL; n = n->next)
        if (strcmp(n->text, text) == 0)
            return n->text;
    n = sb_malloc(sizeof(*n) + len);
    memcpy(n->text, text, len);
    n->next = r->interned;
    r->interned = n;
    return n->text;
}

static void
read_names(struct regexes *r, struct regex *x)
{
    uint32_t count = 0, size = 0;
    PCRE2_SPTR table = NULL;

    pcre2_pattern_info(x->code, PCRE2_INFO_NAMECOUNT, &count);
    if (count == 0)
        return;
    pcre2_pattern_info(x->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(x->code, PCRE2_INFO_NAMETABLE, &table);
    x->names = sb_calloc(SB_ROUTER_CAPTURES * sizeof(*x->names));
    for (uint32_t i = 0; i < count; i++, table += size) {
        unsigned n = (unsigned)table[0] << 8 | table[1];
        if (n < SB_ROUTER_CAPTURES)
            x->names[n] = intern(r, (const char *)table + 2);
    }
}

static bool
is_ascii(sb_str_t s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.data[i] >= 0x80)
            return false;
    return true;
}

/* NULL when it does not compile; then why says so. */
static pcre2_code *
compile_text(sb_str_t text, bool icase, char *why, size_t max)
{
    uint32_t options = PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C | (icase ? PCRE2_CASELESS : 0);
    PCRE2_UCHAR reason[128] = "";
    pcre2_code *out;
    PCRE2_SIZE at;
    int code;

    if (!is_ascii(text))
        options |= PCRE2_UTF | PCRE2_MATCH_INVALID_UTF;
    out = pcre2_compile((PCRE2_SPTR)text.data, text.len, options, &code, &at, NULL);
    if (out == NULL) {
        pcre2_get_error_message(code, reason, sizeof(reason));
        snprintf(why, max, "%s at %zu", (char *)reason, (size_t)at);
    }
    return out;
}

bool
regex_compiles(sb_str_t pattern, char *why, size_t max)
{
    pcre2_code *code = compile_text(pattern, false, why, max);

    if (code != NULL)
        pcre2_code_free(code);
    return code != NULL;
}

static void
compile(struct regexes *r, struct regex *x)
{
    char why[160];

    x->code = compile_text((sb_str_t){x->text, x->len}, x->icase, why, sizeof(why));
    if (x->code == NULL)
        sb_log(SB_LOG_ERR, "router: regex '%.*s' does not compile and never matches: %s", (int)x->len, x->text, why);
    else
        read_names(r, x);
}

static uint32_t
hash_text(sb_str_t s, bool icase)
{
    uint32_t h = 2166136261u ^ icase;

    for (size_t i = 0; i < s.len; i++)
        h = (h ^ (unsigned char)s.data[i]) * 16777619u;
    return h;
}

static struct regex *
find(struct regexes *r, sb_str_t pattern, bool icase)
{
    uint32_t h = hash_text(pattern, icase) % SETS;
    struct regex *set = r->set[h], *x;

    if (set == NULL)
        set = r->set[h] = sb_calloc(WAYS * sizeof(*set));
    x = set;
    for (unsigned i = 0; i < WAYS; i++) {
        if (set[i].text != NULL && set[i].icase == icase && set[i].len == pattern.len &&
            memcmp(set[i].text, pattern.data, pattern.len) == 0)
            return &set[i];
        if (set[i].last < x->last)
            x = &set[i];
    }
    regex_clear(x);
    x->text = sb_strdup_len(pattern.data, pattern.len);
    x->len = pattern.len;
    x->icase = icase;
    compile(r, x);
    return x;
}

unsigned
regexes_match(struct regexes *r, sb_str_t pattern, bool icase, sb_str_t subject, sb_str_t *captures, const char **names, unsigned max)
{
    struct regex *x = find(r, pattern, icase);
    const PCRE2_SIZE *v;
    int rc;

    x->last = ++r->clock;
    if (x->code == NULL)
        return 0;
    if (++x->uses == JIT_AFTER)
        pcre2_jit_compile(x->code, PCRE2_JIT_COMPLETE);
    rc = pcre2_match(x->code, (PCRE2_SPTR)subject.data, subject.len, 0, 0, r->data, r->context);
    if (rc < 0 && rc != PCRE2_ERROR_NOMATCH && !x->warned) {
        x->warned = true;
        sb_log(SB_LOG_WARN, "router: regex '%.*s' gave up (code %d): it does not match", (int)x->len, x->text, rc);
    }
    if (rc < 0)
        return 0;
    /* 0: more captures than there is room for; the first are there. */
    rc = rc == 0 || rc > SB_ROUTER_CAPTURES ? SB_ROUTER_CAPTURES : rc;
    v = pcre2_get_ovector_pointer(r->data);
    for (unsigned i = 0; captures != NULL && i < (unsigned)rc && i < max; i++) {
        captures[i] = v[2 * i] == PCRE2_UNSET ? (sb_str_t){NULL, 0} : (sb_str_t){subject.data + v[2 * i], v[2 * i + 1] - v[2 * i]};
        names[i] = x->names != NULL ? x->names[i] : NULL;
    }
    return (unsigned)rc < max ? (unsigned)rc : max;
}
