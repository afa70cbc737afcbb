/*
 * The bridge between control's event loop (nginx's) and other threads (the store thread): tasks posted from any thread run on
 * the loop, in order. One per process, started in the worker after fork.
 */
#ifndef SB_CONTROL_LOOP_H
#define SB_CONTROL_LOOP_H

#include "core/base/base.h"

struct ngx_cycle_s;

typedef struct sb_loop_task {
    struct sb_loop_task *next;
    void (*run)(struct sb_loop_task *task); /* on the event loop; may free the task */
} sb_loop_task_t;

/* Worker init, on the loop's thread. on_exiting (may be NULL) runs once on the loop when nginx begins a graceful exit. */
int sb_loop_start(struct ngx_cycle_s *cycle, void (*on_exiting)(void), sb_err_t *err);

/* Any thread; never blocks. The task's memory is the caller's and stays valid until run() has begun. */
void sb_loop_post(sb_loop_task_t *task);

/*
 * Runs fn(arg) on the event loop and waits until it has returned; called on the loop's own thread it just calls fn. fn must not wait
 * for anything that itself needs the loop or the caller. SB_ERROR, without having run fn: the loop is not running.
 */
int sb_loop_call(void (*fn)(void *arg), void *arg);

/*
 * On the loop's thread, at exit: runs fn(arg), which may block on threads that still use sb_loop_call(), on a helper thread, and
 * serves posted tasks until it has returned.
 */
void sb_loop_finish(void (*fn)(void *arg), void *arg);

/* Closes the bridge; tasks still queued are run first. */
void sb_loop_stop(void);

#endif
