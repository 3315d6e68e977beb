/* SPDX-License-Identifier: Apache-2.0 */
/* loopback.c - who may log in from this machine only: as it was configured, or as an administrator
 * has said since the broker started. */
#include "control/link/control_internal.h"

/* The data plane can write there, too: no name goes beyond the end. */
static void
names_use(struct lp_control *control)
{
    char *at = control->region->node.loopback_names;
    const char *last = at + LP_LOOPBACK_NAMES_BYTES - 1;
    size_t count = 0;
    at[LP_LOOPBACK_NAMES_BYTES - 1] = '\0';
    for (; at < last && *at != '\0' && count < LP_LOOPBACK_USERS_MAX; at += strlen(at) + 1) {
        control->loopback_names[count++] = at;
    }
    control->loopback_users = control->loopback_names;
    control->loopback_user_count = count;
}

void
control_loopback_open_boot(struct lp_control *control)
{
    control->loopback_users = control->options.settings.loopback_users;
    control->loopback_user_count = control->options.settings.loopback_user_count;
    if (control->region->node.loopback_set) {
        names_use(control);
    }
}

bool
control_loopback_set(struct lp_control *control, const struct lp_bytes *names, size_t count)
{
    struct lp_control_node *node = &control->region->node;
    char text[LP_LOOPBACK_NAMES_BYTES] = {0};
    size_t used = 0;
    if (count > LP_LOOPBACK_USERS_MAX) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (names[i].size == 0 || memchr(names[i].data, 0, names[i].size) ||
            names[i].size + 2 > sizeof(text) - used) {
            return false;
        }
        memcpy(&text[used], names[i].data, names[i].size);
        used += names[i].size + 1;
    }
    memcpy(node->loopback_names, text, sizeof(text));
    node->loopback_set = 1;
    names_use(control);
    return true;
}
