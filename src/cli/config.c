/*
 * config: declarative files. `init` writes an example to begin with. Reading such files, into a node or out of one, is not part of this
 * version: those sub-commands say so and do nothing.
 */
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const sb_option_t options[] = {
    {'c', "conf", "FILE", NULL, "settings file"},
    {'p', "prefix", "DIR", NULL, "working folder of the node"},
    {0},
};

static const sb_argument_t optional_file[] = {{"file", "./kong.yml", false}, {0}}, a_file[] = {{"file", NULL, true}, {0}};

static const char example[] = "# A declarative file: everything that a node serves, in one place.\n"
                              "# Lines that begin with '#' are comments; take the mark away from an example to use it.\n"
                              "\n"
                              "# The format of this file. `_transform: true` lets values be changed on the way in as the Admin API\n"
                              "# does it: plain passwords of basic-auth, for one, are hashed.\n"
                              "_format_version: \"3.0\"\n"
                              "_transform: true\n"
                              "\n"
                              "# Each kind of entity is a list. Names may be used where one entity refers to another, and what belongs to\n"
                              "# an entity may stand inside it. Ids are made up from the names when none is given.\n"
                              "\n"
                              "# services:\n"
                              "# - name: example-service\n"
                              "#   url: http://httpbin.org\n"
                              "#   routes:\n"
                              "#   - name: example-route\n"
                              "#     paths:\n"
                              "#     - /mock\n"
                              "#   plugins:\n"
                              "#   - name: request-termination\n"
                              "#     config:\n"
                              "#       status_code: 503\n"
                              "#       message: closed for today\n"
                              "\n"
                              "# The same route, standing by itself:\n"
                              "# routes:\n"
                              "# - name: another-route\n"
                              "#   service: example-service\n"
                              "#   hosts:\n"
                              "#   - example.com\n"
                              "\n"
                              "# consumers:\n"
                              "# - username: alice\n"
                              "#   custom_id: \"1001\"\n"
                              "#   tags:\n"
                              "#   - staff\n"
                              "\n"
                              "# upstreams:\n"
                              "# - name: example.internal\n"
                              "#   targets:\n"
                              "#   - target: 10.0.0.1:8080\n"
                              "#     weight: 100\n"
                              "#   - target: 10.0.0.2:8080\n"
                              "#     weight: 50\n";

static int
run_init(const sb_args_t *args)
{
    const char *path = args->arguments[0];
    size_t len = sizeof(example) - 1;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), code = 0;

    if (fd < 0 && errno == EEXIST)
        return sb_cli_fail("%s already exists.\nWill not overwrite it.", path);
    if (fd < 0 || write(fd, example, len) != (ssize_t)len)
        code = sb_cli_fail("could not write %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return code;
}

static int
run_missing(const sb_args_t *args)
{
    return sb_cli_fail("'kong config %s' is not available in this version: declarative files are not read or written yet", args->sub->name);
}

static const sb_sub_t subs[] = {
    {"init", "write an example of a declarative file", optional_file, run_init},
    {"parse", "check a declarative file (not available yet)", a_file, run_missing},
    {"db_import", "bring a declarative file into the database (not available yet)", a_file, run_missing},
    {"db_export", "write the database as a declarative file (not available yet)", optional_file, run_missing},
    {0},
};

const sb_verb_t sb_verb_config = {"config", "Work with declarative files", options, NULL, subs, NULL};
