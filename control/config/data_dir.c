/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *
variable(const char *name)
{
    const char *value = secure_getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

enum lp_err
lp_config_data_dir(const char *option, char *ret_path, size_t path_bytes)
{
    const char *base = option != NULL ? option : variable("LEPUS_DATA");
    const char *below = "";

    if (base == NULL && geteuid() == 0) {
        base = "/var/lib/lepus";
    }
    if (base == NULL) {
        base = variable("XDG_STATE_HOME");
        below = "/lepus";
    }
    if (base == NULL) {
        base = variable("HOME");
        below = "/.local/state/lepus";
    }
    if (base == NULL) {
        return LP_ERR_NOT_FOUND;
    }
    if (strlen(base) + strlen(below) + 1 > path_bytes) {
        return LP_ERR_NO_SPACE;
    }
    (void)snprintf(ret_path, path_bytes, "%s%s", base, below);
    return LP_OK;
}
