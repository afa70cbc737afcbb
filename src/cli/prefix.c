/* Preparing a prefix; see prefix.h. */
#include "cli/prefix.h"

#include "cli/nginx_conf.h"
#include "cli/nginx_template.h"
#include "cli/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int
sb_prefix_owner(const sb_settings_t *s, sb_owner_t *out, sb_err_t *err)
{
    const char *text = sb_settings_str(s, "nginx_main_user");
    char user[64] = "", group[64] = "";
    struct passwd *pw;
    struct group *gr;

    *out = (sb_owner_t){.uid = geteuid(), .gid = getegid()};
    if (geteuid() != 0)
        return SB_OK;
    if (sscanf(text, "%63s %63s", user, group) < 1 || (pw = getpwnam(user)) == NULL)
        return sb_err_set(err, 0, "nginx_user: no such user: '%s'", user);
    snprintf(out->name, sizeof(out->name), "%s", user);
    out->uid = pw->pw_uid;
    out->gid = pw->pw_gid;
    if (group[0] != '\0') {
        if ((gr = getgrnam(group)) == NULL)
            return sb_err_set(err, 0, "nginx_user: no such group: '%s'", group);
        out->gid = gr->gr_gid;
    }
    return SB_OK;
}

static int
sys_fail(sb_err_t *err, const char *path)
{
    sb_err_set(err, 0, "%s: %s", path, strerror(errno));
    return SB_ERROR;
}

int
sb_prefix_make_dirs(const char *path, mode_t mode, sb_err_t *err)
{
    char *copy = sb_strdup_len(path, strlen(path));
    int rc = SB_OK;

    for (char *p = copy + 1; rc == SB_OK; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(copy, c == '\0' ? mode : 0755) != 0 && errno != EEXIST)
            rc = sys_fail(err, copy);
        *p = c;
        if (c == '\0')
            break;
    }
    free(copy);
    return rc;
}

static int
make_folder(const char *prefix, const char *name, mode_t mode, const sb_owner_t *owner, sb_err_t *err)
{
    char *path = sb_asprintf("%s/%s", prefix, name);
    int rc = sb_prefix_make_dirs(path, mode, err);
    struct stat st;

    if (rc == SB_OK && (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode)))
        rc = sb_err_set(err, 0, "%s is not a folder", path);
    if (rc == SB_OK && owner != NULL && geteuid() == 0 && lchown(path, owner->uid, owner->gid) != 0)
        rc = sys_fail(err, path);
    free(path);
    return rc;
}

static int
make_folders(const char *prefix, const sb_owner_t *owner, sb_err_t *err)
{
    static const struct {
        const char *name;
        mode_t mode;
        bool workers; /* theirs */
    } folders[] = {{"logs", 0755, false}, {"pids", 0755, false}, {"ssl", 0755, false},   {"store", 0700, true},
                   {"run", 0700, true},   {"tmp", 0700, true},   {"sockets", 0700, true}};
    int rc = sb_prefix_make_dirs(prefix, 0755, err);

    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]) && rc == SB_OK; i++)
        rc = make_folder(prefix, folders[i].name, folders[i].mode, folders[i].workers ? owner : NULL, err);
    return rc;
}

/* What a file was left by an earlier run under another user goes to the present one. */
static uid_t walk_uid;
static gid_t walk_gid;

static int
give_away(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (st->st_uid != walk_uid || st->st_gid != walk_gid)
        return lchown(path, walk_uid, walk_gid) != 0 && errno != ENOENT;
    return 0;
}

static void
hand_over(const char *prefix, const sb_owner_t *owner)
{
    static const char *const names[] = {"store", "run", "tmp", "sockets"};

    walk_uid = owner->uid;
    walk_gid = owner->gid;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && geteuid() == 0; i++) {
        char *path = sb_asprintf("%s/%s", prefix, names[i]);
        nftw(path, give_away, 8, FTW_PHYS | FTW_MOUNT);
        free(path);
    }
}

static int
make_certificates(const sb_settings_t *s, sb_err_t *err)
{
    static const struct {
        const char *listen, *setting, *base;
    } kinds[] = {{"proxy_listen", "ssl_cert", "kong-default"},
                 {"admin_listen", "admin_ssl_cert", "admin-kong-default"},
                 {"status_listen", "status_ssl_cert", "status-kong-default"},
                 {"stream_listen", "ssl_cert", "kong-default"}};
    const char *prefix = sb_settings_str(s, "prefix"), *dh = sb_settings_str(s, "nginx_http_ssl_dhparam");
    int rc = SB_OK;
    bool wanted;
    size_t n;

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && rc == SB_OK; i++) {
        char *base = sb_asprintf("%s/ssl/%s", prefix, kinds[i].base);
        sb_settings_list(s, kinds[i].setting, &n);
        /* The first stands in for client_ssl_cert too. */
        wanted = i == 0 && sb_settings_bool(s, "client_ssl") && sb_settings_str(s, "client_ssl_cert") == NULL;
        if (wanted || (n == 0 && sb_nginx_listens_tls(s, kinds[i].listen)))
            rc = sb_certs_make_default(base, err);
        free(base);
    }
    if (rc == SB_OK && dh != NULL && strncmp(dh, "ffdhe", 5) == 0) {
        char *path = sb_asprintf("%s/ssl/%s.pem", prefix, dh);
        rc = sb_certs_make_dhparam(dh, path, err);
        free(path);
    }
    return rc;
}

int
sb_prefix_write_file(const char *path, const char *data, size_t len, mode_t mode, sb_err_t *err)
{
    char *tmp = sb_asprintf("%s.tmp", path);
    int rc = SB_OK, fd;

    unlink(tmp);
    fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0 || write(fd, data, len) != (ssize_t)len || fchmod(fd, mode) != 0 || rename(tmp, path) != 0)
        rc = sys_fail(err, path);
    if (fd >= 0)
        close(fd);
    free(tmp);
    return rc;
}

static int
append_file(sb_buf_t *out, const char *path, sb_err_t *err)
{
    char chunk[8192];
    FILE *f = fopen(path, "re");
    size_t n;

    if (f == NULL)
        return sb_err_set(err, 0, "lua_ssl_trusted_certificate: no such file at %s", path);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        sb_buf_add(out, chunk, n);
    sb_buf_addc(out, '\n');
    fclose(f);
    return SB_OK;
}

/* Several trusted bundles become one file, as nginx takes only one. */
static int
combine_trusted(const sb_settings_t *s, sb_err_t *err)
{
    size_t n;
    const char *const *files = sb_settings_list(s, "lua_ssl_trusted_certificate", &n);
    sb_buf_t all = {0};
    char *target;
    int rc = SB_OK;

    if (n < 2)
        return SB_OK;
    target = sb_settings_trusted_file(s);
    for (size_t i = 0; i < n && rc == SB_OK; i++) {
        char *path = strcmp(files[i], "system") == 0 ? sb_strdup_len(SB_SYSTEM_CA, strlen(SB_SYSTEM_CA)) : sb_nginx_path(s, files[i]);
        rc = append_file(&all, path, err);
        free(path);
    }
    if (rc == SB_OK)
        rc = sb_prefix_write_file(target, all.data, all.len, 0644, err);
    sb_buf_free(&all);
    free(target);
    return rc;
}

/* --- our Lua, where the workers can read it --- */

static bool
readable_by(const char *path, const sb_owner_t *owner)
{
    pid_t pid = fork();
    int status = 1;

    if (pid == 0) {
        if (initgroups(owner->name, owner->gid) != 0 || setgid(owner->gid) != 0 || setuid(owner->uid) != 0)
            _exit(1);
        _exit(access(path, R_OK | X_OK) == 0 ? 0 : 1);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int
run_command(char *const argv[])
{
    pid_t pid = fork();
    int status = -1;

    if (pid == 0) {
        execvp(argv[0], argv);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid ? status : -1;
}

/* The new copy takes the old one's place only when it is complete: a running node may be reading it. */
static int
copy_lua(const char *from, const char *to)
{
    char *source = sb_asprintf("%s/.", from), *fresh = sb_asprintf("%s.new", to), *stale = sb_asprintf("%s.old", to);
    char *const clear[] = {"rm", "-rf", fresh, stale, NULL}, *const copy[] = {"cp", "-rL", source, fresh, NULL};
    char *const open_up[] = {"chmod", "-R", "a+rX", fresh, NULL};
    bool ok = run_command(clear) == 0 && mkdir(fresh, 0755) == 0 && run_command(copy) == 0 && run_command(open_up) == 0;

    if (ok) {
        rename(to, stale); /* need not be there */
        ok = rename(fresh, to) == 0;
        run_command(clear);
    }
    free(source);
    free(fresh);
    free(stale);
    return ok ? SB_OK : SB_ERROR;
}

/* A clone below /root cannot be read by the workers: they get a copy in the prefix. */
static int
stage_lua(const char *prefix, const sb_owner_t *owner, sb_err_t *err)
{
    const char *from = sb_paths_get()->lua;
    char *to;

    /* After the first time `from` is the copy: a new one is for whoever starts next. */
    if (geteuid() != 0 || access(from, F_OK) != 0 || readable_by(from, owner))
        return SB_OK;
    to = sb_asprintf("%s/lua", prefix);
    if (copy_lua(from, to) == SB_OK) {
        sb_paths_use_lua(to); /* kept */
        return SB_OK;
    }
    sb_err_set(err, 0, "could not copy %s to %s", from, to);
    free(to);
    return SB_ERROR;
}

/* Workers that cannot reach their own prefix would only say so in many confusing ways. */
static int
check_reach(const char *prefix, const sb_owner_t *owner, sb_err_t *err)
{
    char *path = sb_asprintf("%s/run", prefix);
    int rc = SB_OK;

    if (geteuid() == 0 && !readable_by(path, owner))
        rc = sb_err_set(err, 0, "the prefix %s cannot be reached by the workers' user '%s'; choose another prefix or nginx_user", prefix,
                        owner->name);
    free(path);
    return rc;
}

int
sb_prefix_write_env(const sb_settings_t *s, const char *suffix, sb_err_t *err)
{
    char *path = sb_asprintf("%s/.kong_env%s", sb_settings_str(s, "prefix"), suffix);
    sb_owner_t owner;
    int rc = sb_prefix_owner(s, &owner, err);

    if (rc == SB_OK)
        rc = sb_settings_write_env_file(s, path, err);
    if (rc == SB_OK && geteuid() == 0 && lchown(path, owner.uid, owner.gid) != 0)
        rc = sys_fail(err, path);
    free(path);
    return rc;
}

/* What stands for the includes of a custom template, to be looked at, or to be included by a file that a template includes. */
static int
write_parts(const sb_settings_t *s, const char *suffix, sb_err_t *err)
{
    static const struct {
        const char *name;
        void (*generate)(const sb_settings_t *, sb_buf_t *);
    } parts[] = {{"nginx-kong.conf", sb_nginx_proxy_http}, {"nginx-kong-stream.conf", sb_nginx_stream_inside}};
    int rc = SB_OK;

    for (size_t i = 0; i < 2 && rc == SB_OK; i++) {
        char *path = sb_asprintf("%s/%s%s", sb_settings_str(s, "prefix"), parts[i].name, suffix);
        sb_buf_t text = {0};
        sb_buf_adds(&text, "# What an include of this file stands for in a custom template; nginx.conf has it in its place.\n");
        parts[i].generate(s, &text);
        rc = sb_prefix_write_file(path, text.data, text.len, 0600, err);
        sb_buf_free(&text);
        free(path);
    }
    return rc;
}

static int
write_conf(const sb_settings_t *s, const char *name, const char *suffix, const sb_buf_t *text, sb_err_t *err)
{
    char *path = sb_asprintf("%s/%s%s", sb_settings_str(s, "prefix"), name, suffix);
    int rc = sb_prefix_write_file(path, text->data, text->len, 0600, err);

    free(path);
    return rc;
}

const char *const sb_prefix_conf_names[] = {"nginx.conf", "control.conf", "nginx-kong.conf", "nginx-kong-stream.conf", NULL};

int
sb_prefix_write_confs(const sb_settings_t *s, const char *suffix, sb_err_t *err)
{
    sb_template_t template = {0};
    sb_buf_t proxy = {0}, control = {0};
    int rc = sb_template_load(sb_settings_str(s, "prefix"), suffix, &template, err);

    if (rc == SB_OK)
        rc = sb_template_proxy_conf(s, &template, &proxy, err);
    if (rc == SB_OK)
        rc = sb_nginx_control_conf(s, &control, err);
    if (rc == SB_OK)
        rc = write_conf(s, "nginx.conf", suffix, &proxy, err);
    if (rc == SB_OK)
        rc = write_conf(s, "control.conf", suffix, &control, err);
    if (rc == SB_OK)
        rc = write_parts(s, suffix, err);
    sb_buf_free(&proxy);
    sb_buf_free(&control);
    sb_template_free(&template);
    return rc;
}

static int
make_files(const sb_settings_t *s, sb_err_t *err)
{
    int rc = make_certificates(s, err);

    return rc == SB_OK ? combine_trusted(s, err) : rc;
}

int
sb_prefix_prepare_trial(const sb_settings_t *s, sb_err_t *err)
{
    int rc = make_folders(sb_settings_str(s, "prefix"), NULL, err);

    return rc == SB_OK ? make_files(s, err) : rc;
}

int
sb_prefix_prepare(const sb_settings_t *s, sb_err_t *err)
{
    const char *prefix = sb_settings_str(s, "prefix");
    sb_owner_t owner;
    int rc = sb_prefix_owner(s, &owner, err);

    if (rc == SB_OK)
        rc = make_folders(prefix, &owner, err);
    if (rc == SB_OK) {
        hand_over(prefix, &owner);
        rc = check_reach(prefix, &owner, err);
    }
    if (rc == SB_OK)
        rc = make_files(s, err);
    if (rc == SB_OK)
        rc = stage_lua(prefix, &owner, err);
    return rc;
}
