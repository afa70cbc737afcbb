/*
 * Figures of the node for GET / and /status, read from the runtime state that all processes share and from the prefix. Called on the
 * store thread: nothing here touches nginx's own state.
 */
#include "control/control.h"

#include "core/admin/figures.h"
#include "core/base/log.h"
#include "core/base/uuid.h"
#include "http/log_level.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

static struct {
    sb_runtime_t *rt;
    const sb_settings_t *settings;
    char node_id[SB_UUID_TEXT + 1];
    char hostname[256];
} status;

static const char *lua_version = "";

static json_t *
pids(void *arg)
{
    char *path = sb_asprintf("%s/pids/nginx.pid", sb_settings_str(status.settings, "prefix"));
    FILE *f = fopen(path, "re");
    int master = 0;

    (void)arg;
    if (f == NULL || fscanf(f, "%d", &master) != 1)
        master = (int)getppid();
    if (f != NULL)
        fclose(f);
    free(path);
    return json_pack("{s:i,s:o}", "master", master, "workers", sb_admin_figures_workers(status.rt));
}

static json_t *
counters(void *arg)
{
    (void)arg;
    return sb_admin_figures_counters(status.rt);
}

static json_t *
memory(void *arg)
{
    (void)arg;
    return sb_admin_figures_memory(status.rt);
}

void
sb_control_set_lua_version(const char *version)
{
    lua_version = sb_strdup_len(version, strlen(version)); /* kept: told once per configuration */
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

/* ---------- changing the log level for a while ---------- */

struct level_change {
    sb_loop_task_t task;
    int seconds;
};

static ngx_event_t level_timer;
static ngx_connection_t level_dummy = {.fd = (ngx_socket_t)-1};

/* Workers look at the shared value when they are woken. */
static void
follow_level(void)
{
    uint64_t v = __atomic_load_n(&status.rt->log_level, __ATOMIC_RELAXED);

    sb_log_level_set((int)v - 1);
    sb_hub_announce(__atomic_load_n(&status.rt->event_seq, __ATOMIC_ACQUIRE));
}

static void
on_level_timer(ngx_event_t *ev)
{
    (void)ev;
    __atomic_store_n(&status.rt->log_level, 0, __ATOMIC_RELAXED);
    follow_level();
}

static void
apply_level(sb_loop_task_t *task)
{
    struct level_change *change = (struct level_change *)task;

    level_timer.handler = on_level_timer;
    level_timer.data = &level_dummy;
    level_timer.log = ngx_cycle->log;
    level_timer.cancelable = 1;
    follow_level();
    /* 0: until the next change. */
    if (level_timer.timer_set)
        ngx_del_timer(&level_timer);
    if (change->seconds > 0)
        ngx_add_timer(&level_timer, (ngx_msec_t)change->seconds * 1000);
    free(change);
}

static void
set_log_level(int level, int seconds, void *arg)
{
    struct level_change *change = sb_calloc(sizeof(*change));

    (void)arg;
    __atomic_store_n(&status.rt->log_level, (uint64_t)level + 2, __ATOMIC_RELAXED);
    change->task.run = apply_level;
    change->seconds = seconds < 86400 ? seconds : 86400;
    sb_loop_post(&change->task);
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

/* The supervisor writes its pid file once, when it starts. */
static uint64_t
this_run(const sb_settings_t *settings)
{
    char *path = sb_asprintf("%s/pids/nginx.pid", sb_settings_str(settings, "prefix"));
    struct stat st;
    uint64_t run = stat(path, &st) == 0 ? (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec : (uint64_t)ngx_parent;

    free(path);
    return run;
}

void
sb_control_admin_host(sb_admin_host_t *host, const sb_settings_t *settings, sb_runtime_t *rt)
{
    status.rt = rt;
    __atomic_store_n(&rt->log_level, 0, __ATOMIC_RELAXED); /* whoever changed it for a while is gone */
    __atomic_store_n(&rt->control_pid, (uint64_t)ngx_pid, __ATOMIC_RELAXED);
    sb_runtime_begin(rt, this_run(settings));
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
        .set_log_level = set_log_level,
        .health = &rt->health,
        .hooks = sb_control_hooks(settings),
    };
}
