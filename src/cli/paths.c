/* Finding the program's own files; see paths.h. */
#include "cli/paths.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static sb_paths_t paths;

static bool
exists(const char *path)
{
    return access(path, F_OK) == 0;
}

/* PATH first, then where root's programs are, which a user's PATH often leaves out. */
static char *
find_program(const char *name)
{
    const char *path = getenv("PATH");
    char *all = sb_asprintf("%s:/usr/sbin:/usr/local/sbin:/sbin", path != NULL ? path : "/usr/bin"), *save = NULL;
    char *found = NULL;

    for (char *dir = strtok_r(all, ":", &save); dir != NULL && found == NULL; dir = strtok_r(NULL, ":", &save)) {
        found = sb_asprintf("%s/%s", dir, name);
        if (access(found, X_OK) != 0) {
            free(found);
            found = NULL;
        }
    }
    free(all);
    return found;
}

static char *
first_existing(char *a, const char *b)
{
    if (exists(a))
        return a;
    free(a);
    return sb_strdup_len(b, strlen(b));
}

const sb_paths_t *
sb_paths_get(void)
{
    char self[PATH_MAX], *dir;
    ssize_t n;

    if (paths.self != NULL)
        return &paths;
    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (n <= 0)
        sb_panic(__FILE__, __LINE__, "cannot read /proc/self/exe");
    self[n] = '\0';
    dir = sb_strdup_len(self, (size_t)n);
    /* <root>/bin/silverback */
    for (int i = 0; i < 2 && strrchr(dir, '/') != NULL; i++)
        *strrchr(dir, '/') = '\0';
    paths.self = sb_strdup_len(self, (size_t)n);
    paths.modules = first_existing(sb_asprintf("%s/modules", dir), SB_INSTALL_LIB "/modules");
    paths.lua = first_existing(sb_asprintf("%s/lua", dir), SB_INSTALL_DATA "/lua");
    paths.nginx = find_program("nginx");
    paths.nginx_modules = exists("/usr/lib/nginx/modules") ? "/usr/lib/nginx/modules" : "/usr/share/nginx/modules";
    free(dir);
    return &paths;
}

void
sb_paths_use_lua(const char *dir)
{
    sb_paths_get();
    paths.lua = dir;
}
