/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_config.c - can a configuration file, or what --set says, break the
 * reader of both?  Input: the file; after a NUL, assignments, a line each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "control/config/config.h"
#include "tests/fuzz/text_copy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define INPUT_MAX (64u << 10)

static void
value_use(void *context, const char *name, const char *value)
{
    uint64_t *sum = context;
    *sum += strlen(name) + (value ? strlen(value) : 0);
}

static void
config_use(struct lp_config *config, const char *assignments, const char *end)
{
    char why[512];
    uint64_t sum = 0;
    while (assignments < end) {
        const char *stop = memchr(assignments, '\n', (size_t)(end - assignments));
        stop = stop ? stop : end;
        char *one = text_copy(assignments, (size_t)(stop - assignments));
        const enum lp_err err = lp_config_set(config, one, why, sizeof(why));
        LP_ASSERT(err == LP_OK || err == LP_ERR_BAD_CONFIG || err == LP_ERR_NOT_FOUND);
        free(one);
        assignments = stop + 1;
    }
    for (size_t i = 0; i < lp_config_key_count(); i++) {
        struct lp_config_key_info info;
        lp_config_key_at(i, &info);
        if (strstr(info.pattern, ".$")) {
            lp_config_each(config, info.pattern, value_use, &sum);
        } else {
            sum += lp_config_given(config, info.pattern);
        }
    }
    lp_config_names(config, "listeners", value_use, &sum);
    lp_config_ignored_each(config, value_use, &sum);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes > INPUT_MAX) {
        return 0;
    }
    const uint8_t *nul = bytes > 0 ? memchr(data, 0, bytes) : NULL;
    const size_t file_bytes = nul ? (size_t)(nul - data) : bytes;
    char path[64];
    char why[512] = "";
    struct lp_config *config = NULL;
    const int fd = memfd_create("config", 0);
    LP_ASSERT(fd >= 0);
    if (file_bytes > 0) {
        const ssize_t written = write(fd, data, file_bytes);
        LP_ASSERT(written == (ssize_t)file_bytes);
    }
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (lp_config_open(path, &config, why, sizeof(why)) == LP_OK) {
        const char *rest = nul ? (const char *)nul + 1 : (const char *)data + bytes;
        config_use(config, rest, (const char *)data + bytes);
        lp_config_close(&config);
    } else {
        LP_ASSERT(why[0] != '\0'); /* the operator is told */
    }
    close(fd);
    return 0;
}
