/* Figures out of the shared state; see figures.h. */
#include "core/admin/figures.h"

#include <errno.h>
#include <signal.h>

/* The process in a slot of the shared state; 0 when there is none or it was killed. */
static pid_t
living(const uint64_t *slot)
{
    pid_t pid = (pid_t)__atomic_load_n(slot, __ATOMIC_RELAXED);

    return pid > 0 && (kill(pid, 0) == 0 || errno == EPERM) ? pid : 0;
}

json_t *
sb_admin_figures_workers(sb_runtime_t *rt)
{
    json_t *workers = json_array();

    for (size_t i = 0; i < SB_RT_WORKERS; i++) {
        pid_t pid = living(&rt->worker_pid[i]);

        if (pid != 0)
            json_array_append_new(workers, json_integer((json_int_t)pid));
    }
    return workers;
}

json_t *
sb_admin_figures_counters(sb_runtime_t *rt)
{
    static const char *const names[] = {"connections_accepted", "connections_active",  "connections_handled",
                                        "connections_reading",  "connections_waiting", "connections_writing"};
    json_t *out = json_object();

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        json_object_set_new(out, names[i], json_integer((json_int_t)__atomic_load_n(&rt->connections[i], __ATOMIC_RELAXED)));
    json_object_set_new(out, "total_requests", json_integer((json_int_t)__atomic_load_n(&rt->total_requests, __ATOMIC_RELAXED)));
    return out;
}

json_t *
sb_admin_figures_memory(sb_runtime_t *rt)
{
    json_t *vms = json_array(), *dicts = json_object();

    for (size_t i = 0; i < SB_RT_WORKERS; i++) {
        pid_t pid = living(&rt->lua_pid[i]);
        uint64_t kb = __atomic_load_n(&rt->lua_gc_kb[i], __ATOMIC_RELAXED);

        if (pid != 0)
            json_array_append_new(vms, json_pack("{s:I,s:I}", "pid", (json_int_t)pid, "http_allocated_gc", (json_int_t)(kb * 1024)));
    }
    for (size_t i = 0; i < SB_RT_DICTS && rt->dicts[i].name[0] != '\0'; i++)
        json_object_set_new(
            dicts, rt->dicts[i].name,
            json_pack("{s:I,s:I}", "capacity", (json_int_t)rt->dicts[i].capacity, "allocated_slabs", (json_int_t)rt->dicts[i].used));
    return json_pack("{s:o,s:o}", "lua_shared_dicts", dicts, "workers_lua_vms", vms);
}

bool
sb_admin_figures_control(sb_runtime_t *rt)
{
    return living(&rt->control_pid) != 0;
}
