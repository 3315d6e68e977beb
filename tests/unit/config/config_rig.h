/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_rig.h - a configuration from text, as if it had been a file.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/config/config.h"

#define WHY_BYTES 512

/* Reads `text` as a file named /tmp/....conf; `why` has its path replaced by "F". */
static inline enum lp_err
read_text(const char *text, struct lp_config **ret_config, char *why)
{
    char path[] = "/tmp/lepus-test-XXXXXX";
    char full[WHY_BYTES] = "";
    const int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(close(fd), 0);
    const enum lp_err err = lp_config_open(path, ret_config, full, sizeof(full));
    assert_int_equal(unlink(path), 0);
    const bool named = strncmp(full, path, strlen(path)) == 0;
    (void)snprintf(why, WHY_BYTES, "%s%s", named ? "F" : "", named ? full + strlen(path) : full);
    return err;
}

static inline struct lp_config *
good_text(const char *text)
{
    struct lp_config *config = NULL;
    char why[WHY_BYTES];
    const enum lp_err err = read_text(text, &config, why);

    if (err != LP_OK) {
        fail_msg("%s: %s", text, why);
    }
    return config;
}
