/*
 * The preflight; see preflight.h. The settings are written into a folder of their own in the prefix, and nginx is run on each
 * configuration with SILVERBACK_PREFLIGHT set, which lets init_by_lua load the plugins and then end the process
 * (lua/kong/silverback/preflight.lua) before nginx has opened a socket or written a pid file. SILVERBACK_PREFLIGHT_ENV names the settings:
 * a reload tries new ones while <prefix>/.kong_env still has those of the running node.
 *
 * Start reading at sb_preflight_run().
 */
#include "cli/preflight.h"

#include "cli/nginx_conf.h"
#include "cli/paths.h"
#include "core/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIME_LIMIT_MS 120000
#define OUTPUT_LIMIT  (1u << 20)
/* How both generators begin the hook that ends a preflight; a custom template may have Lua of its own elsewhere. */
#define INIT_HOOK "init_by_lua_block { require(\"kong.silverback."

typedef struct preflight {
    const char *prefix;
    char *folder, *env; /* ours in the prefix; the settings in it */
    sb_buf_t faults;    /* lines */
} preflight_t;

static int
broken(sb_err_t *err, const char *what)
{
    sb_err_set(err, SB_E_NONE, "preflight: %s: %s", what, strerror(errno));
    return SB_ERROR;
}

static bool
has_line(const sb_buf_t *lines, const char *line, size_t len)
{
    const char *p = lines->len != 0 ? lines->data : "";

    while (*p != '\0') {
        size_t n = strcspn(p, "\n");

        if (n == len && memcmp(p, line, n) == 0)
            return true;
        p += n + (p[n] == '\n');
    }
    return false;
}

/* Adds lines that are not there yet: both instances load the plugins and find the same faults. */
static void
add_faults(preflight_t *pf, const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");

        if (n != 0 && !has_line(&pf->faults, text, n)) {
            sb_buf_add(&pf->faults, text, n);
            sb_buf_addc(&pf->faults, '\n');
        }
        text += n + (text[n] == '\n');
    }
}

/* nginx's complaints. */
static void
add_complaints(preflight_t *pf, const char *output)
{
    size_t before = pf->faults.len;

    while (*output != '\0') {
        size_t n = strcspn(output, "\n");
        char *text = sb_strdup_len(output, n);

        if (strstr(text, "[emerg]") != NULL || strstr(text, "[alert]") != NULL)
            add_faults(pf, text);
        free(text);
        output += n + (output[n] == '\n');
    }
    if (pf->faults.len == before)
        add_faults(pf, "nginx ended without saying why");
}

static int64_t
now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Reads what the child says until it closes its end. False: it took too long. */
static bool
read_output(int fd, sb_buf_t *out)
{
    int64_t end = now_ms() + TIME_LIMIT_MS;
    char piece[4096];
    ssize_t n;

    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int64_t left = end - now_ms();
        int ready = poll(&p, 1, left > 0 ? (int)left : 0);

        if (ready == 0)
            return false;
        if (ready < 0 && errno == EINTR)
            continue;
        n = read(fd, piece, sizeof(piece));
        if (n == 0 || (n < 0 && errno != EINTR))
            return true;
        if (n > 0 && out->len < OUTPUT_LIMIT)
            sb_buf_add(out, piece, (size_t)n);
    }
}

static void
become(char *const *argv, int output, const char *report, const char *env)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(127);
    setenv("SILVERBACK_PREFLIGHT", report, 1);
    setenv("SILVERBACK_PREFLIGHT_ENV", env, 1);
    unsetenv("NGINX"); /* nginx would take descriptors named there for listening sockets */
    execv(argv[0], argv);
    _exit(127);
}

/* Runs a program to its end; *status as waitpid() has it. */
static int
run(char *const *argv, const char *report, const char *env, sb_buf_t *output, int *status, sb_err_t *err)
{
    int fds[2];
    pid_t pid;
    bool ended;

    if (pipe2(fds, O_CLOEXEC) != 0)
        return broken(err, "pipe");
    pid = fork();
    if (pid < 0) {
        close(fds[0]);
        close(fds[1]);
        return broken(err, "fork");
    }
    if (pid == 0)
        become(argv, fds[1], report, env);
    close(fds[1]);
    ended = read_output(fds[0], output);
    if (!ended)
        kill(pid, SIGKILL);
    close(fds[0]);
    while (waitpid(pid, status, 0) < 0)
        if (errno != EINTR)
            return broken(err, "waitpid");
    if (!ended) {
        errno = ETIMEDOUT;
        return broken(err, argv[0]);
    }
    return SB_OK;
}

static bool
went_well(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int
nginx(preflight_t *pf, const char *conf, const char *report, sb_buf_t *output, int *status, sb_err_t *err)
{
    char *program = sb_asprintf("%s", sb_paths_get()->nginx), *file = sb_asprintf("%s", conf);
    char *prefix = sb_asprintf("%s/", pf->prefix);
    char *argv[] = {program, (char[]){"-p"}, prefix, (char[]){"-e"}, (char[]){"stderr"}, (char[]){"-c"}, file, NULL};
    int rc = run(argv, report, pf->env, output, status, err);

    free(program);
    free(file);
    free(prefix);
    return rc;
}

/* What Lua wrote before it ended the process; when it wrote nothing it never got that far, and nginx says why. */
static void
take_report(preflight_t *pf, const char *report, const char *output)
{
    FILE *f = fopen(report, "re");
    char *text = f != NULL ? sb_malloc(OUTPUT_LIMIT) : NULL;
    size_t n = 0;

    if (f != NULL) {
        n = fread(text, 1, OUTPUT_LIMIT - 1, f);
        text[n] = '\0';
        fclose(f);
    }
    if (n != 0)
        add_faults(pf, text);
    else
        add_complaints(pf, output);
    free(text);
}

static int
load_plugins(preflight_t *pf, const char *conf, const char *report, sb_err_t *err)
{
    sb_buf_t output = {0};
    int status = 0;
    int rc = nginx(pf, conf, report, &output, &status, err);

    if (rc == SB_OK && !went_well(status))
        take_report(pf, report, output.len != 0 ? output.data : "");
    sb_buf_free(&output);
    return rc;
}

static int
read_file(const char *path, sb_buf_t *out, sb_err_t *err)
{
    FILE *f = fopen(path, "re");
    char chunk[8192];
    size_t n;

    if (f == NULL)
        return broken(err, path);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        sb_buf_add(out, chunk, n);
    fclose(f);
    return SB_OK;
}

static int
check_instance(preflight_t *pf, sb_instance_t instance, const char *suffix, sb_err_t *err)
{
    bool proxy = instance == SB_INSTANCE_PROXY;
    char *conf = sb_asprintf("%s/%s%s", pf->prefix, proxy ? "nginx.conf" : "control.conf", suffix);
    char *report = sb_asprintf("%s/%s.report", pf->folder, sb_instance_name(instance));
    sb_buf_t text = {0};
    int rc = read_file(conf, &text, err);

    /* Without Lua there is nothing to load, and nothing that would end the process: it would start for real. */
    if (rc == SB_OK && text.len != 0 && strstr(text.data, INIT_HOOK) != NULL)
        rc = load_plugins(pf, conf, report, err);
    unlink(report);
    sb_buf_free(&text);
    free(report);
    free(conf);
    return rc;
}

int
sb_preflight_run(const sb_settings_t *s, const char *suffix, sb_err_t *err)
{
    preflight_t pf = {.prefix = sb_settings_str(s, "prefix")};
    int rc;

    if (sb_paths_get()->nginx == NULL) {
        sb_err_set(err, SB_E_NONE, "nginx is not installed");
        return SB_ERROR;
    }
    pf.folder = sb_asprintf("%s/preflight-XXXXXX", pf.prefix);
    if (mkdtemp(pf.folder) == NULL) {
        free(pf.folder);
        return broken(err, pf.prefix);
    }
    pf.env = sb_asprintf("%s/.kong_env", pf.folder);
    rc = sb_settings_write_env_file(s, pf.env, err);
    if (rc == SB_OK)
        rc = check_instance(&pf, SB_INSTANCE_PROXY, suffix, err);
    if (rc == SB_OK)
        rc = check_instance(&pf, SB_INSTANCE_CONTROL, suffix, err);
    if (rc == SB_OK && pf.faults.len != 0) {
        pf.faults.data[--pf.faults.len] = '\0'; /* the last newline */
        rc = sb_err_set(err, SB_E_NONE, "%s", pf.faults.data);
    }
    unlink(pf.env);
    rmdir(pf.folder);
    free(pf.env);
    free(pf.folder);
    sb_buf_free(&pf.faults);
    return rc;
}
