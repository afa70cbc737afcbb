/*
 * Inside the control instance's nginx module: the node (record, read model, store thread), the Admin request adapter, the hub that
 * proxy workers connect to. One worker process; everything here runs on its event loop unless a comment says otherwise.
 */
#ifndef SB_CONTROL_H
#define SB_CONTROL_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "control/loop.h"
#include "core/admin/admin.h"
#include "core/model/model.h"
#include "core/settings/settings.h"
#include "core/store/store.h"

/* --- node.c: what a control worker owns --- */

enum sb_node_state {
    SB_NODE_OPENING, /* a thread waits for the writer role, opens the record, brings the read model in step */
    SB_NODE_READY,   /* the store thread takes jobs */
    SB_NODE_CLOSED,  /* the role was handed on (graceful exit), or opening failed */
};

/* Worker init. prefix and settings outlive the process. SB_ERROR: the worker must not run. */
int sb_node_start(ngx_cycle_t *cycle, const char *prefix, const sb_settings_t *settings, sb_err_t *err);
enum sb_node_state sb_node_state(void);
sb_admin_t *sb_node_admin(void);
const sb_settings_t *sb_node_settings(void);
/* Hands a job to the store thread, now or, while opening, once the record is open. Its done() runs on another thread, or, when the node
 * closes without having run it, on the loop with committed false and job->run not called. */
void sb_node_submit(sb_job_t *job);
/* Takes back a job that still waits for the record to open; false: it has been handed over. */
bool sb_node_cancel(sb_job_t *job);
/* A request is being answered: nginx may not exit, and the writer role is not handed on. */
void sb_node_hold(void);
void sb_node_release(void);
/* Worker exit: finishes what is queued, closes record and read model. */
void sb_node_stop(void);

/* --- hooks.c: how schemas reach Lua --- */

typedef int (*sb_lua_call_pt)(void *arg, const char *plugin, int ref, json_t *value, json_t **out, sb_err_t *err);

/* Set by the Lua bridge before sb_node_start(); called on the store thread, so it has to hop with sb_loop_call(). */
void sb_control_set_lua(sb_lua_call_pt call, void *arg);
sb_schema_hooks_t sb_control_hooks(const sb_settings_t *settings);

/* --- hub.c: <prefix>/sockets/events.sock --- */

/* A request line of a worker ({"id":n,"call":"…",…}): answers at once by returning a new reference, or NULL and later sb_hub_answer(). */
typedef json_t *(*sb_hub_call_pt)(uint64_t peer, const json_t *request);

int sb_hub_start(ngx_cycle_t *cycle, const char *prefix, sb_err_t *err);
void sb_hub_stop(void);
void sb_hub_set_call(sb_hub_call_pt fn);
/* Any thread, after a commit: tells the peers; bursts are merged into one line. */
void sb_hub_announce(uint64_t seq);
/* To one peer, if it is still there; line without newline, taken over. */
void sb_hub_answer(uint64_t peer, json_t *answer);
/* Asks a worker; question: an object, taken over. done is called once, on the loop, maybe before this returns: with the answer (borrowed),
 * or NULL when there is no worker, it is gone, or it takes too long. */
void sb_hub_ask(json_t *question, void (*done)(void *arg, const json_t *answer), void *arg);

/* --- request.c: an Admin request from nginx to the store thread and back --- */

ngx_int_t sb_admin_content_handler(ngx_http_request_t *r);

/* --- logs.c: no secrets in what nginx logs of requests --- */

/* When the configuration is read, once: the access log. */
ngx_int_t sb_logs_init(ngx_conf_t *cf);
/* In a worker, before the first connection: the error log. */
void sb_logs_start(ngx_cycle_t *cycle);

/* --- health.c: active health checks --- */

/* Once the node is open. Both outlive the checks. */
void sb_health_checks_start(const sb_settings_t *settings, sb_runtime_t *rt);
/* When the worker begins to exit: another takes over. Harmless when they were never started. */
void sb_health_checks_stop(void);

/* --- status.c: figures for GET /status and / --- */

/* For GET /: "LuaJIT 2.1…"; static text, set by the Lua bridge before sb_node_start(). */
void sb_control_set_lua_version(const char *version);
/* Fills the host's callbacks for sb_admin_new(). */
void sb_control_admin_host(sb_admin_host_t *host, const sb_settings_t *settings, sb_runtime_t *rt);

#endif
