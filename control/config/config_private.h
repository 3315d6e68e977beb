/* SPDX-License-Identifier: Apache-2.0 */
/* config_private.h - a configuration as the files of this folder see it. */
#pragma once

#include "config.h"
#include "config_keys.h"

struct config_value {
    const struct config_key *row;
    char *key;  /* as it was given */
    char *name; /* what stood for $x */
    char *text;
    int64_t integer;
};

struct lp_config {
    size_t count;
    size_t room;
    struct config_value *values;
};
