/*
 * Text templates; see template.h. A template becomes a Lua program with the same number of lines, so that Lua's messages have the right
 * one: a statement line stays as it is, a text line becomes calls of __put() with its pieces. Start at sb_template_render().
 *
 *     server_name ${{NAME}};        __put(1,"server_name ") __put(1,__text("NAME")) __put(1,";\n")
 *     > if x then             ->    if x then
 *     $(x.y) on;                    __put(3,(x.y)) __put(3," on;\n")
 *     > end                         end
 *
 * The program runs with a time limit, in a Lua state of its own that knows nothing but the basics, strings, tables and mathematics.
 */
#include "cli/template.h"

#include <lauxlib.h>
#include <luajit.h>
#include <lualib.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHUNK_NAME    "=template"
#define CHUNK_PREFIX  "template:"
#define TIME_LIMIT    5.0 /* seconds of our own processor time */
#define HOOK_INTERVAL 100000

/* --- what comes of it --- */

static void
begin_line(sb_rendered_t *r, size_t line)
{
    if (r->n == r->cap) {
        r->cap = r->cap != 0 ? r->cap * 2 : 256;
        r->line = sb_realloc(r->line, r->cap * sizeof(*r->line));
    }
    r->line[r->n++] = line;
}

void
sb_rendered_add(sb_rendered_t *r, sb_str_t text, size_t line)
{
    for (size_t i = 0; i < text.len; i++) {
        if (r->text.len == 0 || r->text.data[r->text.len - 1] == '\n')
            begin_line(r, line);
        sb_buf_addc(&r->text, text.data[i]);
        line += line != 0 && text.data[i] == '\n';
    }
}

static size_t
lines_before(const sb_buf_t *text, size_t offset)
{
    size_t n = 0;

    for (size_t i = 0; i < offset; i++)
        n += text->data[i] == '\n';
    return n;
}

void
sb_rendered_copy(sb_rendered_t *r, const sb_rendered_t *from, size_t start, size_t end)
{
    size_t at = start < end ? lines_before(&from->text, start) : 0;

    while (start < end) {
        const char *p = from->text.data + start, *newline = memchr(p, '\n', end - start);
        size_t len = newline != NULL ? (size_t)(newline - p) + 1 : end - start;
        sb_rendered_add(r, (sb_str_t){p, len}, from->line[at++]);
        start += len;
    }
}

void
sb_rendered_free(sb_rendered_t *r)
{
    sb_buf_free(&r->text);
    free(r->line);
    *r = (sb_rendered_t){0};
}

/* --- from template to program --- */

static void
add_literal(sb_buf_t *program, sb_str_t text)
{
    sb_buf_addc(program, '"');
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (c < 0x20 || c == '"' || c == '\\' || c == 0x7f)
            sb_buf_addf(program, "\\%03u", c);
        else
            sb_buf_addc(program, (char)c);
    }
    sb_buf_addc(program, '"');
}

static void
put_literal(sb_buf_t *program, size_t line, sb_str_t text)
{
    if (text.len == 0)
        return;
    sb_buf_addf(program, " __put(%zu,", line);
    add_literal(program, text);
    sb_buf_addc(program, ')');
}

/* "$(…)" with balanced parentheses at p: behind it; NULL when there is none. */
static const char *
expression_end(const char *p, const char *end)
{
    size_t depth = 0;

    if (end - p < 2 || p[0] != '$' || p[1] != '(')
        return NULL;
    for (p++; p < end; p++) {
        depth += *p == '(';
        depth -= *p == ')';
        if (depth == 0)
            return p + 1;
    }
    return NULL;
}

/* "${{…}}" at p. */
static const char *
name_end(const char *p, const char *end)
{
    if (end - p < 5 || memcmp(p, "${{", 3) != 0)
        return NULL;
    for (p += 3; end - p >= 2; p++)
        if (p[0] == '}' && p[1] == '}')
            return p + 2;
    return NULL;
}

static void
put_name(sb_buf_t *program, size_t line, sb_str_t name)
{
    while (name.len > 0 && name.data[0] == ' ')
        name = (sb_str_t){name.data + 1, name.len - 1};
    while (name.len > 0 && name.data[name.len - 1] == ' ')
        name.len--;
    sb_buf_addf(program, " __put(%zu,__text(", line);
    add_literal(program, name);
    sb_buf_adds(program, "))");
}

static void
text_line(sb_buf_t *program, size_t line, sb_str_t text)
{
    const char *p = text.data, *end = text.data + text.len, *from = p, *behind;

    while (p < end) {
        bool name = (behind = name_end(p, end)) != NULL;
        if (!name)
            behind = expression_end(p, end);
        if (behind == NULL) {
            p++;
            continue;
        }
        put_literal(program, line, (sb_str_t){from, (size_t)(p - from)});
        if (name)
            put_name(program, line, (sb_str_t){p + 3, (size_t)(behind - p) - 5});
        else
            sb_buf_addf(program, " __put(%zu,(%.*s))", line, (int)(behind - p - 3), p + 2);
        from = p = behind;
    }
    put_literal(program, line, (sb_str_t){from, (size_t)(end - from)});
    sb_buf_addc(program, '\n');
}

static void
statement_line(sb_buf_t *program, sb_str_t text)
{
    while (text.len > 0 && text.data[0] == '>')
        text = (sb_str_t){text.data + 1, text.len - 1};
    while (text.len > 0 && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r'))
        text.len--;
    sb_buf_add(program, text.data, text.len);
    sb_buf_addc(program, '\n');
}

static void
translate(sb_str_t source, sb_buf_t *program)
{
    size_t line = 1;

    sb_buf_adds(program, "local __put, __text = ...;");
    while (source.len > 0) {
        const char *newline = memchr(source.data, '\n', source.len);
        size_t len = newline != NULL ? (size_t)(newline - source.data) + 1 : source.len;
        sb_str_t one = {source.data, len};
        if (one.data[0] == '>')
            statement_line(program, one);
        else
            text_line(program, line, one);
        line++;
        source = (sb_str_t){source.data + len, source.len - len};
    }
}

/* --- running it --- */

typedef struct run {
    const sb_template_env_t *env;
    sb_rendered_t *out;
    double end;
} run_t;

static double
cpu_time(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static run_t *
run_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* put(line, value): nil and false are no text. */
static int
put(lua_State *L)
{
    run_t *run = run_of(L);
    size_t line = (size_t)lua_tointeger(L, 1), len;
    const char *text;

    if (!lua_toboolean(L, 2))
        return 0;
    if (lua_isboolean(L, 2) || lua_istable(L, 2) || lua_isfunction(L, 2))
        return luaL_error(L, "a %s is no text", luaL_typename(L, 2));
    text = lua_tolstring(L, 2, &len);
    if (text == NULL)
        return luaL_error(L, "a %s is no text", luaL_typename(L, 2));
    if (run->out->text.len + len > SB_TEMPLATE_OUT_MAX)
        return luaL_error(L, "the text that it makes is longer than %d bytes", (int)SB_TEMPLATE_OUT_MAX);
    sb_rendered_add(run->out, (sb_str_t){text, len}, line);
    return 0;
}

static int
text_of(lua_State *L)
{
    run_t *run = run_of(L);
    const char *name = luaL_checkstring(L, 1);
    char lower[128], *text;
    size_t i;

    for (i = 0; i < sizeof(lower) - 1 && name[i] != '\0'; i++)
        lower[i] = name[i] >= 'A' && name[i] <= 'Z' ? (char)(name[i] - 'A' + 'a') : name[i];
    lower[i] = '\0';
    text = name[i] == '\0' ? run->env->text(lower, run->env->arg) : NULL;
    if (text == NULL)
        return luaL_error(L, "${{%s}}: there is no such setting", name);
    lua_pushstring(L, text);
    free(text);
    return 1;
}

static const char run_key;

static void
on_count(lua_State *L, lua_Debug *ar)
{
    run_t *run;

    lua_pushlightuserdata(L, (void *)&run_key);
    lua_rawget(L, LUA_REGISTRYINDEX);
    run = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (cpu_time() > run->end) {
        lua_getinfo(L, "l", ar);
        lua_pushfstring(L, CHUNK_PREFIX "%d: it runs for longer than %d seconds", ar->currentline, (int)TIME_LIMIT);
        lua_error(L);
    }
}

/* The globals of a template: a choice of Lua's own, then the caller's. */
static void
push_globals(lua_State *L, const sb_template_env_t *env)
{
    static const char *const names[] = {"assert", "error",    "ipairs", "math",     "next", "pairs", "select",
                                        "string", "tonumber", "table",  "tostring", "type", "unpack"};

    lua_newtable(L);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        lua_getglobal(L, names[i]);
        lua_setfield(L, -2, names[i]);
    }
    if (env->fill != NULL)
        env->fill(L, env->arg);
}

static void
open_libraries(lua_State *L)
{
    static const struct {
        const char *name;
        lua_CFunction open;
    } libraries[] = {
        {"", luaopen_base}, {LUA_STRLIBNAME, luaopen_string}, {LUA_TABLIBNAME, luaopen_table}, {LUA_MATHLIBNAME, luaopen_math}};

    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        lua_pushcfunction(L, libraries[i].open);
        lua_pushstring(L, libraries[i].name);
        lua_call(L, 1, 0);
    }
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF); /* compiled code does not count */
}

/* Called with the program as its argument, a string; here, errors of Lua are caught. */
static int
run_program(lua_State *L)
{
    size_t len;
    const char *program = lua_tolstring(L, 1, &len);
    run_t *run = lua_touserdata(L, 2);

    open_libraries(L);
    lua_pushlightuserdata(L, (void *)&run_key);
    lua_pushlightuserdata(L, run);
    lua_rawset(L, LUA_REGISTRYINDEX);
    if (luaL_loadbuffer(L, program, len, CHUNK_NAME) != 0)
        return lua_error(L);
    push_globals(L, run->env);
    lua_setfenv(L, -2);
    lua_pushlightuserdata(L, run);
    lua_pushcclosure(L, put, 1);
    lua_pushlightuserdata(L, run);
    lua_pushcclosure(L, text_of, 1);
    run->end = cpu_time() + TIME_LIMIT;
    lua_sethook(L, on_count, LUA_MASKCOUNT, HOOK_INTERVAL);
    lua_call(L, 2, 0);
    return 0;
}

/* "template:12: why" -> "<file>:12: why". */
static int
refuse(const char *file, const char *message, sb_err_t *err)
{
    if (message != NULL && strncmp(message, CHUNK_PREFIX, sizeof(CHUNK_PREFIX) - 1) == 0)
        return sb_err_set(err, SB_E_NONE, "%s:%s", file, message + sizeof(CHUNK_PREFIX) - 1);
    return sb_err_set(err, SB_E_NONE, "%s: %s", file, message != NULL ? message : "an error that is no text");
}

int
sb_template_render(const char *file, sb_str_t source, const sb_template_env_t *env, sb_rendered_t *out, sb_err_t *err)
{
    lua_State *L = luaL_newstate();
    run_t run = {.env = env, .out = out};
    sb_buf_t program = {0};
    int rc = SB_OK;

    if (L == NULL)
        sb_panic(__FILE__, __LINE__, "out of memory");
    translate(source, &program);
    lua_pushcfunction(L, run_program);
    lua_pushlstring(L, program.data, program.len);
    lua_pushlightuserdata(L, &run);
    if (lua_pcall(L, 2, 0, 0) != 0)
        rc = refuse(file, lua_tostring(L, -1), err);
    lua_close(L);
    sb_buf_free(&program);
    return rc;
}
