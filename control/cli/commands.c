/* SPDX-License-Identifier: Apache-2.0 */
#include "cli.h"

#include <string.h>

#include "control/config/config.h"

#define USERS      "Users"
#define ACCESS     "Access Control"
#define MONITORING "Monitoring, observability and health checks"
#define VHOSTS     "Virtual hosts"
#define NODES      "Nodes"
#define HELP       "Help"

const struct cli_command cli_commands[] = {
    {.name = "help",
     .group = HELP,
     .usage = "<command>",
     .summary = "Displays usage information for a command",
     .help = "<command>\n\tthe command to explain; without one, all are listed",
     .arguments_max = 1,
     .local = true},
    {.name = "version",
     .group = HELP,
     .usage = "",
     .summary = "Displays CLI tools version",
     .help = "",
     .local = true},

    {.name = "stop",
     .group = NODES,
     .usage = "[--idempotent] [<pidfile>]",
     .summary = "Stops the broker: clients are told, then it exits",
     .help = "<pidfile>\n\taccepted as RabbitMQ's tool does, and not needed\n\n"
             "--idempotent\n\treturn success if the broker is not running",
     .banner = "Stopping and halting node %n ...",
     .switches = "--idempotent",
     .arguments_max = 1},

    {.name = "add_user",
     .group = USERS,
     .usage = "<username> [<password>]",
     .summary = "Creates a new user in the internal database. This user will have no permissions "
                "for any virtual hosts by default.",
     .help = "<username>\n\tSelf-explanatory\n\n"
             "<password>\n\tPassword this user will authenticate with; read from standard input "
             "when it is not given. Use a blank string to disable password-based authentication.",
     .banner = "Adding user \"%1\" ...",
     .done = "Done. Don't forget to grant the user permissions to some virtual hosts! See '%p help "
             "set_permissions' to learn more.",
     .done_is_advice = true,
     .secret = "password",
     .arguments_min = 2,
     .arguments_max = 2},
    {.name = "authenticate_user",
     .group = USERS,
     .usage = "<username> [<password>]",
     .summary = "Attempts to authenticate a user. Exits with a non-zero code if authentication "
                "fails.",
     .help = "<username>\n\tUsername to use\n\n<password>\n\tPassword to use; read from standard "
             "input when it is not given",
     .banner = "Authenticating user \"%1\" ...",
     .done = "Success",
     .secret = "password",
     .arguments_min = 2,
     .arguments_max = 2},
    {.name = "change_password",
     .group = USERS,
     .usage = "<username> [<password>]",
     .summary = "Changes the user password",
     .help = "<username>\n\tName of the user whose password should be changed\n\n<password>\n\tNew "
             "password to set; read from standard input when it is not given",
     .banner = "Changing password for user \"%1\" ...",
     .secret = "password",
     .arguments_min = 2,
     .arguments_max = 2},
    {.name = "delete_user",
     .group = USERS,
     .usage = "<username>",
     .summary = "Removes a user from the internal database. Has no effect on users provided by "
                "external backends such as LDAP",
     .help = "<username>\n\tName of the user to delete.",
     .banner = "Deleting user \"%1\" ...",
     .arguments_min = 1,
     .arguments_max = 1},
    {.name = "list_users",
     .group = USERS,
     .usage = "[--no-table-headers]",
     .summary = "List user names and tags",
     .help = "",
     .banner = "Listing users ..."},
    {.name = "set_user_tags",
     .group = USERS,
     .usage = "<username> <tag> [...]",
     .summary = "Sets user tags",
     .help = "<username>\n\tSelf-explanatory\n\n<tag>\n\tone or more tags: administrator, "
             "monitoring, policymaker, management; none clears them",
     .banner = "Setting tags for user \"%1\" to [%*] ...",
     .arguments_min = 1,
     .arguments_max = CLI_ARGUMENTS_MAX - 1},

    {.name = "clear_permissions",
     .group = ACCESS,
     .usage = "[--vhost <vhost>] <username>",
     .summary = "Revokes user permissions for a vhost",
     .help = "<username>\n\tName of the user whose permissions should be revoked",
     .banner = "Clearing permissions for user \"%1\" in vhost \"%v\" ...",
     .arguments_min = 1,
     .arguments_max = 1},
    {.name = "list_permissions",
     .group = ACCESS,
     .usage = "[--vhost <vhost>] [--no-table-headers]",
     .summary = "Lists user permissions in a virtual host",
     .help = "",
     .banner = "Listing permissions for vhost \"%v\" ..."},
    {.name = "list_user_permissions",
     .group = ACCESS,
     .usage = "<username> [--no-table-headers]",
     .summary = "Lists permissions of a user across all virtual hosts",
     .help = "<username>\n\tName of the user",
     .banner = "Listing permissions for user \"%1\" ...",
     .arguments_min = 1,
     .arguments_max = 1},
    {.name = "list_vhosts",
     .group = ACCESS,
     .usage = "[--no-table-headers] [<column>, ...]",
     .summary = "Lists virtual hosts",
     .help = "<column>\n\tmust be one of name, tracing; default: name",
     .columns = "name",
     .banner = "Listing vhosts ...",
     .arguments_max = CLI_ARGUMENTS_MAX - 1},
    {.name = "set_permissions",
     .group = ACCESS,
     .usage = "[--vhost <vhost>] <username> <conf> <write> <read>",
     .summary = "Sets user permissions for a vhost",
     .help = "<username>\n\tSelf-explanatory\n\n<conf>\n\tConfiguration permission pattern\n\n"
             "<write>\n\tWrite permission pattern\n\n<read>\n\tRead permission pattern\n\n"
             "Each is a regular expression over names of exchanges and queues: '.*' is "
             "everything, '^logs-' names that begin so, '' nothing.",
     .banner = "Setting permissions for user \"%1\" in vhost \"%v\" ...",
     .arguments_min = 4,
     .arguments_max = 4},

    {.name = "list_bindings",
     .group = MONITORING,
     .usage = "[--vhost <vhost>] [--no-table-headers] [<column> ...]",
     .summary = "Lists all bindings on a vhost",
     .help = "<column>\n\tmust be one of source_name, source_kind, destination_name, "
             "destination_kind, routing_key, arguments; default: all",
     .columns = "source_name,source_kind,destination_name,destination_kind,routing_key,arguments",
     .banner = "Listing bindings for vhost %v...",
     .arguments_max = CLI_ARGUMENTS_MAX - 1},
    {.name = "list_connections",
     .group = MONITORING,
     .usage = "[--no-table-headers] [<column> ...]",
     .summary = "Lists AMQP 0.9.1 connections for the node",
     .help =
         "<column>\n\tsuch as name, user, peer_host, peer_port, host, port, vhost, state, "
         "channels, protocol, frame_max, timeout, recv_oct, send_oct; default: user, peer_host, "
         "peer_port, state",
     .columns = "user,peer_host,peer_port,state",
     .banner = "Listing connections ...",
     .arguments_max = CLI_ARGUMENTS_MAX - 1},
    {.name = "list_exchanges",
     .group = MONITORING,
     .usage = "[--vhost <vhost>] [--no-table-headers] [<column> ...]",
     .summary = "Lists exchanges",
     .help = "<column>\n\tmust be one of name, type, durable, auto_delete, internal, arguments; "
             "default: name, type",
     .columns = "name,type",
     .banner = "Listing exchanges for vhost %v ...",
     .arguments_max = CLI_ARGUMENTS_MAX - 1},
    {.name = "list_queues",
     .group = MONITORING,
     .usage = "[--vhost <vhost>] [--online] [--offline] [--local] [--no-table-headers] [<column>, "
              "...]",
     .summary = "Lists queues and their properties",
     .help = "<column>\n\tsuch as name, messages, messages_ready, messages_unacknowledged, "
             "consumers, durable, auto_delete, exclusive, arguments, state, type; default: name, "
             "messages\n\n--online\n\tlists only queues on online (reachable) nodes\n\n"
             "--offline\n\tlists only queues on offline (unreachable) nodes\n\n"
             "--local\n\tonly return queues hosted on the target node",
     .columns = "name,messages",
     .banner = "Listing queues for vhost %v ...",
     .switches = "--online|--offline|--local",
     .arguments_max = CLI_ARGUMENTS_MAX - 1,
     .timeout_line = true},
    {.name = "ping",
     .group = MONITORING,
     .usage = "",
     .summary = "Checks that the broker runs and its control process answers",
     .help = "",
     .banner = "Will ping %n. This checks that its control process answers. Timeout: %t ms.",
     .done = "Ping succeeded"},
    {.name = "status",
     .group = MONITORING,
     .usage = "",
     .summary = "Displays status of a node",
     .help = "",
     .banner = "Status of node %n ..."},

    {.name = "add_vhost",
     .group = VHOSTS,
     .usage = "<vhost>",
     .summary = "Creates a virtual host",
     .help = "<vhost>\n\tVirtual host name",
     .banner = "Adding vhost \"%1\" ...",
     .arguments_min = 1,
     .arguments_max = 1},
    {.name = "delete_vhost",
     .group = VHOSTS,
     .usage = "<vhost>",
     .summary = "Deletes a virtual host",
     .help = "<vhost>\n\tName of the virtual host to delete, with everything in it",
     .banner = "Deleting vhost \"%1\" ...",
     .arguments_min = 1,
     .arguments_max = 1},
};

const size_t cli_command_count = LP_COUNT_OF(cli_commands);

const struct cli_command *
cli_command_find(const char *name)
{
    for (size_t i = 0; i < cli_command_count; i++) {
        if (strcmp(cli_commands[i].name, name) == 0) {
            return &cli_commands[i];
        }
    }
    return NULL;
}

const struct cli_command *
cli_command_nearest(const char *name)
{
    const struct cli_command *best = NULL;
    unsigned best_distance = UINT32_MAX;

    for (size_t i = 0; i < cli_command_count; i++) {
        const unsigned distance = lp_config_distance(name, cli_commands[i].name);
        if (distance < best_distance) {
            best_distance = distance;
            best = &cli_commands[i];
        }
    }
    return best_distance <= LP_MAX(2u, (unsigned)strlen(name) / 3) ? best : NULL;
}
