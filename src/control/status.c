/*
 * Figures of the node for GET / and /status, read from the runtime state that all processes share and from the prefix. Called on the
 * store thread: nothing here touches nginx's own state.
 */
#include "control/control.h"

#include "core/base/log.h"
#include "core/base/uuid.h"

#include <fcntl.h>
#include <stdio.h>

static struct {
    sb_runtime_t *rt;
    const sb_settings_t *settings;
    char node_id[SB_UUID_TEXT + 1];
    char hostname[256];
} status;

static const char *lua_version = "";

void
sb_control_set_lua_version(const char *version)
{
    lua_version = sb_strdup_len(version, strlen(version)); /* kept: told once per configuration */
}

static json_t *
pids(void *arg)
{
    char *path = sb_asprintf("%s/pids/nginx.pid", sb_settings_str(status.settings, "prefix"));
    FILE *f = fopen(path, "re");
    json_t *workers = json_array();
    int master = 0;

    (void)arg;
    if (f == NULL || fscanf(f, "%d", &master) != 1)
        master = (int)getppid();
    if (f != NULL)
        fclose(f);
    free(path);
    for (size_t i = 0; i < SB_RT_WORKERS; i++) {
        uint64_t pid = __atomic_load_n(&status.rt->lua_pid[i], __ATOMIC_RELAXED);
        if (pid != 0)
            json_array_append_new(workers, json_integer((json_int_t)pid));
    }
    return json_pack("{s:i,s:o}", "master", master, "workers", workers);
}

static json_t *
counters(void *arg)
{
    static const char *const names[] = {"connections_accepted", "connections_active",  "connections_handled",
                                        "connections_reading",  "connections_waiting", "connections_writing"};
    json_t *out = json_object();

    (void)arg;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        json_object_set_new(out, names[i], json_integer((json_int_t)__atomic_load_n(&status.rt->connections[i], __ATOMIC_RELAXED)));
    json_object_set_new(out, "total_requests", json_integer((json_int_t)__atomic_load_n(&status.rt->total_requests, __ATOMIC_RELAXED)));
    return out;
}

static json_t *
memory(void *arg)
{
    json_t *vms = json_array();

    (void)arg;
    for (size_t i = 0; i < SB_RT_WORKERS; i++) {
        uint64_t pid = __atomic_load_n(&status.rt->lua_pid[i], __ATOMIC_RELAXED);
        uint64_t kb = __atomic_load_n(&status.rt->lua_gc_kb[i], __ATOMIC_RELAXED);
        if (pid != 0)
            json_array_append_new(vms, json_pack("{s:I,s:I}", "pid", (json_int_t)pid, "http_allocated_gc", (json_int_t)(kb * 1024)));
    }
    return json_pack("{s:{},s:o}", "lua_shared_dicts", "workers_lua_vms", vms);
}

/* The configured level as SB_LOG_*. */
static int
configured_level(void)
{
    static const char *const names[] = {"emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"};
    const char *text = sb_settings_str(status.settings, "log_level");

    for (int i = 0; i < 8; i++) {
        if (text != NULL && strcmp(text, names[i]) == 0)
            return i;
    }
    return SB_LOG_NOTICE;
}

static int
log_level(void *arg)
{
    uint64_t v = __atomic_load_n(&status.rt->log_level, __ATOMIC_RELAXED);

    (void)arg;
    /* The shared value is nginx's number (one more than ours) plus one. */
    return v != 0 ? (int)v - 2 : configured_level();
}

/* A node's identity: as configured, else made once and kept in the prefix. */
static void
find_node_id(void)
{
    const char *set = sb_settings_str(status.settings, "node_id");
    char *path = sb_asprintf("%s/run/node_id", sb_settings_str(status.settings, "prefix"));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    sb_uuid_t u;

    if (set != NULL && set[0] != '\0')
        snprintf(status.node_id, sizeof(status.node_id), "%s", set);
    else if (fd < 0 || read(fd, status.node_id, SB_UUID_TEXT) != SB_UUID_TEXT || !sb_uuid_parse(status.node_id, SB_UUID_TEXT, &u)) {
        sb_uuid_v4(status.node_id);
        if (fd >= 0 && pwrite(fd, status.node_id, SB_UUID_TEXT, 0) != SB_UUID_TEXT)
            ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, ngx_errno, "cannot keep the node's id in \"%s\"", path);
    }
    if (fd >= 0)
        close(fd);
    free(path);
}

void
sb_control_admin_host(sb_admin_host_t *host, const sb_settings_t *settings, sb_runtime_t *rt)
{
    status.rt = rt;
    status.settings = settings;
    if (status.node_id[0] == '\0')
        find_node_id();
    if (gethostname(status.hostname, sizeof(status.hostname) - 1) != 0)
        status.hostname[0] = '\0';
    *host = (sb_admin_host_t){
        .settings = settings,
        .node_id = status.node_id,
        .hostname = status.hostname,
        .lua_version = lua_version,
        .pids = pids,
        .counters = counters,
        .memory = memory,
        .log_level = log_level,
        .hooks = sb_control_hooks(settings),
    };
}
