/*
 * migrations: the record's numbered steps. The embedded record runs those it lacks whenever a node starts, so these commands are for
 * looking, for preparing a record before the first start, and for throwing one away. Each step is whole when it has run: there is never
 * anything pending for `finish`.
 *
 * Looking (`list`, `status`) reads the file and works beside a running node. What changes the record takes the node's lock, so it is
 * refused while a node runs in the prefix.
 */
#include "cli/verbs_int.h"

#include "cli/prefix.h"
#include "core/base/json.h"
#include "core/store/store.h"

#include <string.h>
#include <unistd.h>

#define EXIT_NEEDS_BOOTSTRAP 3
#define EXIT_PENDING         4
#define EXIT_NEW             5

static const sb_option_t options[] = {
    {'y', "yes", NULL, NULL, "answer prompts with yes"},
    {'q', "quiet", NULL, NULL, "print nothing but errors"},
    {'f', "force", NULL, NULL, "go through the steps even when all have run"},
    {0, "db-timeout", "SECONDS", NULL, "limit of database operations (no effect on the embedded store)"},
    {0, "lock-timeout", "SECONDS", "60", "wait for another migrating node"},
    {'c', "conf", "FILE", NULL, "settings file"},
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    {0},
};

/* What a sub-command works on. */
typedef struct work {
    const sb_args_t *args;
    sb_settings_t *settings;
    char *path;     /* the record */
    json_t *status; /* sb_store_peek() */
    double lock_timeout;
    int lock_fd;
} work_t;

__attribute__((format(printf, 2, 3))) static void
say(const work_t *w, const char *fmt, ...)
{
    va_list ap;

    if (sb_args_get(w->args, "quiet") != NULL)
        return;
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    fflush(stdout);
}

static const char *
prefix_of(const work_t *w)
{
    return sb_settings_str(w->settings, "prefix");
}

static bool
has(const work_t *w, const char *what)
{
    return json_array_size(json_object_get(w->status, what)) != 0;
}

static bool
needs_bootstrap(const work_t *w)
{
    return !has(w, "executed");
}

static int
look(work_t *w, sb_err_t *err)
{
    json_decref(w->status);
    w->status = NULL;
    return sb_store_peek(&sb_store_sqlite, w->path, &w->status, err);
}

static int
work_begin(work_t *w, const sb_args_t *args, sb_err_t *err)
{
    double ignored;
    int rc;

    *w = (work_t){.args = args, .lock_fd = -1};
    if (sb_args_seconds(args, "db-timeout", &ignored, err) != SB_OK ||
        sb_args_seconds(args, "lock-timeout", &w->lock_timeout, err) != SB_OK)
        return SB_DECLINED;
    rc = sb_cli_settings(args, &w->settings, err);
    if (rc != SB_OK)
        return rc;
    w->path = sb_asprintf("%s/store/silverback.db", prefix_of(w));
    return look(w, err);
}

/* Returns the exit code: `code`, or 1 when err is set. */
static int
work_end(work_t *w, int rc, int code, sb_err_t *err)
{
    if (rc != SB_OK)
        code = sb_cli_fail_err(err);
    if (w->lock_fd >= 0)
        close(w->lock_fd);
    json_decref(w->status);
    free(w->path);
    sb_settings_free(w->settings);
    return code;
}

/* The node's lock: waits for another migration, not for a node that runs. */
static int
take_lock(work_t *w, sb_err_t *err)
{
    sb_node_state_t state;
    double end = sb_node_now() + w->lock_timeout;
    int rc;

    while ((rc = sb_node_lock(prefix_of(w), &w->lock_fd, err)) == SB_DECLINED && !sb_node_read_state(prefix_of(w), &state) &&
           sb_node_now() < end)
        sb_node_sleep(0.05);
    if (rc == SB_OK)
        sb_err_clear(err);
    return rc;
}

/* Opening the record is what migrates it. Prepared before, so that the folder is there, and after, so that the workers own the files. */
static int
migrate(work_t *w, sb_err_t *err)
{
    sb_store_config_t cfg = {.path = w->path};
    sb_store_t *store = NULL;
    int rc = take_lock(w, err);

    if (rc == SB_OK)
        rc = sb_prefix_prepare(w->settings, err);
    if (rc != SB_OK)
        return rc;
    sb_entities_init();
    rc = sb_store_open(&sb_store_sqlite, &cfg, &store, err);
    sb_store_close(store);
    if (rc == SB_OK)
        rc = sb_prefix_prepare(w->settings, err);
    return rc == SB_OK ? look(w, err) : rc;
}

static bool
forced(const work_t *w)
{
    return sb_args_get(w->args, "force") != NULL;
}

static int
run_bootstrap(const sb_args_t *args)
{
    sb_err_t err = {0};
    work_t w;
    int rc = work_begin(&w, args, &err);

    if (rc == SB_OK && !needs_bootstrap(&w) && !forced(&w))
        say(&w, "Database already bootstrapped");
    else if (rc == SB_OK) {
        say(&w, "Bootstrapping database...");
        rc = migrate(&w, &err);
        if (rc == SB_OK)
            say(&w, "Database is up-to-date");
    }
    return work_end(&w, rc, 0, &err);
}

static int
refuse_fresh(const work_t *w, sb_err_t *err)
{
    if (!needs_bootstrap(w))
        return SB_OK;
    return sb_err_set(err, 0, "cannot run migrations: database needs bootstrapping; run 'kong migrations bootstrap'");
}

static int
run_up(const sb_args_t *args)
{
    sb_err_t err = {0};
    work_t w;
    int rc = work_begin(&w, args, &err);

    if (rc == SB_OK)
        rc = refuse_fresh(&w, &err);
    if (rc == SB_OK && !has(&w, "new") && !forced(&w))
        say(&w, "Database is already up-to-date");
    else if (rc == SB_OK) {
        rc = migrate(&w, &err);
        if (rc == SB_OK)
            say(&w, "Database is up-to-date");
    }
    return work_end(&w, rc, 0, &err);
}

static int
run_finish(const sb_args_t *args)
{
    sb_err_t err = {0};
    work_t w;
    int rc = work_begin(&w, args, &err);

    if (rc == SB_OK)
        rc = refuse_fresh(&w, &err);
    if (rc == SB_OK)
        say(&w, has(&w, "new") ? "New migrations available; run 'kong migrations up' to proceed" : "No pending migrations to finish");
    return work_end(&w, rc, 0, &err);
}

/* "core: 000_base, 001_more" under a title; nothing when there are none. */
static void
print_names(const work_t *w, const char *title, const char *which)
{
    json_t *names = json_object_get(w->status, which), *name;
    sb_buf_t line = {0};
    size_t i;

    if (json_array_size(names) == 0)
        return;
    json_array_foreach(names, i, name)
    {
        sb_buf_addf(&line, "%s%s", i != 0 ? ", " : "", json_string_value(name));
    }
    say(w, "%s\ncore: %s", title, line.data);
    sb_buf_free(&line);
}

static int
run_list(const sb_args_t *args)
{
    sb_err_t err = {0};
    work_t w;
    int code = 0, rc = work_begin(&w, args, &err);

    if (rc == SB_OK && needs_bootstrap(&w)) {
        say(&w, "Database needs bootstrapping; run 'kong migrations bootstrap'");
        code = EXIT_NEEDS_BOOTSTRAP;
    } else if (rc == SB_OK) {
        print_names(&w, "Executed migrations:", "executed");
        print_names(&w, "\nPending migrations:", "pending");
        print_names(&w, "\nNew migrations available:", "new");
        code = has(&w, "new") ? EXIT_NEW : has(&w, "pending") ? EXIT_PENDING : 0;
    }
    return work_end(&w, rc, code, &err);
}

static json_t *
by_subsystem(const work_t *w, const char *which)
{
    json_t *names = json_object_get(w->status, which);

    return json_array_size(names) == 0 ? json_array() : json_pack("[{s:s,s:O}]", "subsystem", "core", "migrations", names);
}

static int
run_status(const sb_args_t *args)
{
    sb_err_t err = {0};
    work_t w;
    int rc = work_begin(&w, args, &err);

    if (rc == SB_OK) {
        json_t *doc = json_pack("{s:b,s:o,s:o,s:o,s:o}", "needs_bootstrap", needs_bootstrap(&w), "executed_migrations",
                                by_subsystem(&w, "executed"), "pending_migrations", by_subsystem(&w, "pending"), "missing_migrations",
                                by_subsystem(&w, "missing"), "new_migrations", by_subsystem(&w, "new"));
        char *text = sb_json_dump(doc);
        say(&w, "%s", text);
        free(text);
        json_decref(doc);
    }
    return work_end(&w, rc, 0, &err);
}

/* Three tries; no answer is a no. */
static bool
confirmed(void)
{
    char line[64];

    for (int i = 0; i < 3; i++) {
        printf("> Are you sure? This operation is irreversible. [y/n] ");
        fflush(stdout);
        if (fgets(line, sizeof(line), stdin) == NULL)
            break;
        line[strcspn(line, "\r\n")] = '\0';
        if (strcmp(line, "Y") == 0 || strcmp(line, "y") == 0 || strcmp(line, "YES") == 0 || strcmp(line, "yes") == 0)
            return true;
        if (strcmp(line, "N") == 0 || strcmp(line, "n") == 0 || strcmp(line, "NO") == 0 || strcmp(line, "no") == 0)
            break;
    }
    return false;
}

static int
reset(work_t *w, sb_err_t *err)
{
    int rc = take_lock(w, err);

    if (rc != SB_OK)
        return rc;
    say(w, "Resetting database...");
    rc = sb_store_destroy(w->path, err);
    if (rc == SB_OK)
        rc = sb_prefix_prepare(w->settings, err);
    if (rc == SB_OK)
        say(w, "Database successfully reset");
    return rc;
}

static int
run_reset(const sb_args_t *args)
{
    bool yes = sb_args_get(args, "yes") != NULL;
    sb_err_t err = {0};
    work_t w;
    int code = 0, rc = work_begin(&w, args, &err);

    if (rc == SB_OK && !yes && !isatty(0))
        rc = sb_err_set(&err, 0, "not a tty: invoke 'reset' non-interactively with the --yes flag");
    if (rc == SB_OK && !yes && !confirmed())
        say(&w, "cancelled");
    else if (rc == SB_OK && needs_bootstrap(&w)) {
        say(&w, "Database not bootstrapped, nothing to reset");
        code = 1;
    } else if (rc == SB_OK)
        rc = reset(&w, &err);
    return work_end(&w, rc, code, &err);
}

static const sb_sub_t subs[] = {
    {"bootstrap", "make a new record", NULL, run_bootstrap},
    {"up", "run new migrations", NULL, run_up},
    {"finish", "finish pending migrations (the embedded store never has any)", NULL, run_finish},
    {"list", "list executed and new migrations; exit code 3: needs bootstrap, 4: pending, 5: new ones", NULL, run_list},
    {"status", "the same as JSON", NULL, run_status},
    {"reset", "remove everything that is stored", NULL, run_reset},
    {0},
};

const sb_verb_t sb_verb_migrations = {"migrations", "Manage the database's schema", options, NULL, subs, NULL};
