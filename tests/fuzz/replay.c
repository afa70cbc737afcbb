/*
 * Runs a fuzz target over the files of its corpus, so that the ordinary suite repeats what the fuzzers have found, with any compiler:
 *     fuzz_x_replay tests/fuzz/corpus/fuzz_x
 */
#include <dirent.h>
#include <stdio.h>

#include "core/base/buf.h"
#include "fuzz.h"

static void
run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    char chunk[4096];
    sb_buf_t all = {0};
    uint8_t *exact; /* no byte longer than the input, for the sanitizers to watch */
    size_t n;

    SB_ASSERT(f != NULL);
    while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
        sb_buf_add(&all, chunk, n);
    fclose(f);
    exact = malloc(all.len != 0 ? all.len : 1);
    if (all.len != 0)
        memcpy(exact, all.data, all.len);
    LLVMFuzzerTestOneInput(exact, all.len);
    free(exact);
    sb_buf_free(&all);
}

int
main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *e;
    unsigned files = 0;

    if (dir == NULL) {
        fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
        return 2;
    }
    while ((e = readdir(dir)) != NULL) {
        char *path = sb_asprintf("%s/%s", argv[1], e->d_name);

        if (e->d_name[0] != '.') {
            printf("%s\n", path);
            fflush(stdout); /* the last one named is the one that failed */
            run_file(path);
            files++;
        }
        free(path);
    }
    closedir(dir);
    if (files == 0) {
        fprintf(stderr, "%s: no inputs\n", argv[1]);
        return 1;
    }
    printf("%u inputs\n[  PASSED  ] 1 test(s).\n", files);
    return 0;
}
