/* version: the interface's version that this program speaks; -a: those of what it runs on as well. */
#include "cli/cli.h"
#include "cli/paths.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const sb_option_t options[] = {
    {'a', "all", NULL, NULL, "also of what it runs on"},
    {0},
};

/* First line of a command's output; malloc'ed. */
static char *
first_line(const char *command)
{
    char line[256] = "";
    FILE *p = popen(command, "re");

    if (p != NULL) {
        if (fgets(line, sizeof(line), p) == NULL)
            line[0] = '\0';
        pclose(p);
    }
    line[strcspn(line, "\n")] = '\0';
    return sb_strdup_len(line, strlen(line));
}

/* "1.22.1" as the number 1022001, "0.10.23" as 10023: the form in which nginx and its Lua module tell their versions. */
static long
as_number(const char *text, long major, long minor)
{
    long a = 0, b = 0, c = 0;

    return sscanf(text, "%ld.%ld.%ld", &a, &b, &c) == 3 ? a * major + b * minor + c : 0;
}

static long
nginx_number(void)
{
    const char *nginx = sb_paths_get()->nginx;
    char *command, *line, *slash;
    long n = 0;

    if (nginx == NULL)
        return 0;
    command = sb_asprintf("'%s' -v 2>&1", nginx);
    line = first_line(command);
    slash = strchr(line, '/');
    if (slash != NULL)
        n = as_number(slash + 1, 1000000, 1000);
    free(line);
    free(command);
    return n;
}

static long
lua_module_number(void)
{
    char *line = first_line("dpkg-query -W -f '${Version}' libnginx-mod-http-lua 2>/dev/null");
    char *colon = strchr(line, ':');
    long n = as_number(colon != NULL ? colon + 1 : line, 1000000, 1000);

    free(line);
    return n;
}

/* jit.version of the library that nginx's Lua module runs on. */
static char *
lua_version(void)
{
    void *lib = dlopen("libluajit-5.1.so.2", RTLD_NOW | RTLD_LOCAL);
    void *(*new_state)(void) = NULL;
    void (*open_libs)(void *), (*get_field)(void *, int, const char *), (*close_state)(void *);
    const char *(*to_string)(void *, int, size_t *);
    char *out = NULL;

    if (lib != NULL) {
        *(void **)&new_state = dlsym(lib, "luaL_newstate");
        *(void **)&open_libs = dlsym(lib, "luaL_openlibs");
        *(void **)&get_field = dlsym(lib, "lua_getfield");
        *(void **)&to_string = dlsym(lib, "lua_tolstring");
        *(void **)&close_state = dlsym(lib, "lua_close");
    }
    if (new_state != NULL && open_libs != NULL && get_field != NULL && to_string != NULL && close_state != NULL) {
        void *lua = new_state();
        const char *text;
        open_libs(lua);
        get_field(lua, -10002, "jit"); /* LUA_GLOBALSINDEX */
        get_field(lua, -1, "version");
        text = to_string(lua, -1, NULL);
        out = sb_asprintf("%s", text != NULL ? text : "unknown");
        close_state(lua);
    }
    if (lib != NULL)
        dlclose(lib);
    return out != NULL ? out : sb_asprintf("not found");
}

static int
run(const sb_args_t *args)
{
    char *lua;

    if (sb_args_get(args, "all") == NULL) {
        printf("%s\n", SB_KONG_VERSION);
        return 0;
    }
    lua = lua_version();
    printf("Kong: %s\nngx_lua: %ld\nnginx: %ld\nLua: %s\nSilverback: %s\n", SB_KONG_VERSION, lua_module_number(), nginx_number(), lua,
           SB_VERSION);
    free(lua);
    return 0;
}

const sb_verb_t sb_verb_version = {"version", "Print the version", options, NULL, NULL, run};
