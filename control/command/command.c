/* SPDX-License-Identifier: Apache-2.0 */
#include "control/command/command.h"

#include <string.h>

#include "control/command/columns.h"
#include "control/config/config.h"

#define BOTH (LP_SCOPE_CTL | LP_SCOPE_DIAGNOSTICS)
#define LIST LP_COMMAND_RUNNING | LP_COMMAND_TIMEOUT

#define COMMA(name)      #name ","
#define ANY_ARGUMENTS    LP_COMMAND_ARGUMENTS_MAX
#define COMMAND(id, ...) {.name = #id, .scopes = LP_SCOPE_CTL, __VA_ARGS__},
#define LOCAL(id, ...)   {.name = #id, .scopes = LP_SCOPE_CTL, .local = true, __VA_ARGS__},
#define REFUSED(id, why)                            \
    {.name = #id,                                   \
     .scopes = LP_SCOPE_CTL | LP_SCOPE_DIAGNOSTICS, \
     .group = LP_COMMANDS_GROUPS,                   \
     .arguments_max = LP_COMMAND_ARGUMENTS_MAX,     \
     .usage = "",                                   \
     .summary = "",                                 \
     .local = true,                                 \
     .refused = why},

/* Entries set what they need beside these defaults. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"

const struct lp_command lp_commands[] = {
#include "control/command/all.inc"
};

#pragma GCC diagnostic pop

const size_t lp_command_count = LP_COUNT_OF(lp_commands);

const char *
lp_command_group_name(enum lp_command_group group)
{
    static const char *const names[LP_COMMANDS_GROUPS] = {
        [LP_COMMANDS_HELP] = "Help",
        [LP_COMMANDS_NODES] = "Nodes",
        [LP_COMMANDS_CLUSTER] = "Cluster",
        [LP_COMMANDS_USERS] = "Users",
        [LP_COMMANDS_ACCESS] = "Access Control",
        [LP_COMMANDS_MONITORING] = "Monitoring, observability and health checks",
        [LP_COMMANDS_PARAMETERS] = "Parameters",
        [LP_COMMANDS_POLICIES] = "Policies",
        [LP_COMMANDS_VHOSTS] = "Virtual hosts",
        [LP_COMMANDS_CONFIGURATION] = "Configuration and Environment",
        [LP_COMMANDS_DEFINITIONS] = "Definitions",
        [LP_COMMANDS_FEATURES] = "Feature flags",
        [LP_COMMANDS_OPERATIONS] = "Operations",
        [LP_COMMANDS_QUEUES] = "Queues",
        [LP_COMMANDS_DEPRECATED] = "Deprecated",
    };
    LP_ASSERT(group < LP_COMMANDS_GROUPS);
    return names[group];
}

const struct lp_command *
lp_command_find(const char *name)
{
    for (size_t i = 0; i < lp_command_count; i++) {
        if (strcmp(lp_commands[i].name, name) == 0) {
            return &lp_commands[i];
        }
    }
    return NULL;
}

const struct lp_command *
lp_command_nearest(const char *name, uint8_t scopes)
{
    const struct lp_command *best = NULL;
    unsigned best_distance = UINT32_MAX;

    for (size_t i = 0; i < lp_command_count; i++) {
        const struct lp_command *command = &lp_commands[i];
        if (command->refused || !(command->scopes & scopes)) {
            continue;
        }
        const unsigned distance = lp_config_distance(name, command->name);
        if (distance < best_distance) {
            best_distance = distance;
            best = command;
        }
    }
    return best_distance <= LP_MAX(2u, (unsigned)strlen(name) / 3) ? best : NULL;
}
