/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher.h"

#include <string.h>

/* "--name VALUE" or "--name=VALUE"; advances `at` past a value of its own. */
static bool
option_value(const char *name, int argc, char **argv, int *at, const char **ret_value)
{
    const size_t bytes = strlen(name);
    const char *word = argv[*at];

    if (strncmp(word, name, bytes) != 0) {
        return false;
    }
    if (word[bytes] == '=') {
        *ret_value = word + bytes + 1;
        return true;
    }
    if (word[bytes] != '\0') {
        return false;
    }
    *ret_value = *at + 1 < argc ? argv[++*at] : NULL;
    return true;
}

static bool
value_needed(const char *name, const char *value, char *ret_why, size_t why_bytes)
{
    if (value != NULL && *value != '\0') {
        return true;
    }
    (void)snprintf(ret_why, why_bytes, "%s needs a value; 'lepus help' shows examples", name);
    return false;
}

static bool
setting_add(struct launcher_options *options, const char *value, char *ret_why, size_t why_bytes)
{
    if (options->setting_count == LAUNCHER_SETTINGS_MAX) {
        (void)snprintf(ret_why, why_bytes, "more than %u --set options; put them into a file",
                       LAUNCHER_SETTINGS_MAX);
        return false;
    }
    options->setting[options->setting_count++] = value;
    return true;
}

static bool
word_parse(struct launcher_options *options, const char *word, char *ret_why, size_t why_bytes)
{
    if (options->verb == LAUNCHER_CONFIG && options->key == NULL && word[0] != '-') {
        options->key = word;
    } else if (strcmp(word, "config") == 0) {
        options->verb = LAUNCHER_CONFIG;
    } else if (strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 ||
               strcmp(word, "-h") == 0) {
        options->verb = LAUNCHER_HELP;
    } else if (strcmp(word, "version") == 0 || strcmp(word, "--version") == 0 ||
               strcmp(word, "-V") == 0) {
        options->verb = LAUNCHER_VERSION;
    } else {
        (void)snprintf(ret_why, why_bytes,
                       "\"%s\" is neither an option nor a command; 'lepus help' lists them", word);
        return false;
    }
    return true;
}

bool
launcher_options_parse(struct launcher_options *options, int argc, char **argv, char *ret_why,
                       size_t why_bytes)
{
    *options = (struct launcher_options){.verb = LAUNCHER_RUN};
    for (int at = 1; at < argc; at++) {
        const char *value = NULL;
        bool good;

        if (option_value("--config", argc, argv, &at, &value)) {
            options->config_path = value;
            good = value_needed("--config FILE", value, ret_why, why_bytes);
        } else if (option_value("--data", argc, argv, &at, &value)) {
            options->data = value;
            good = value_needed("--data DIR", value, ret_why, why_bytes);
        } else if (option_value("--set", argc, argv, &at, &value)) {
            good = value_needed("--set KEY=VALUE", value, ret_why, why_bytes) &&
                   setting_add(options, value, ret_why, why_bytes);
        } else {
            good = word_parse(options, argv[at], ret_why, why_bytes);
        }
        if (!good) {
            return false;
        }
    }
    return true;
}

void
launcher_help_print(FILE *out)
{
    static const char text[] =
        "lepus - a message broker that RabbitMQ's clients and tools can talk to\n"
        "\n"
        "  lepus [--config FILE] [--data DIR] [--set KEY=VALUE]...\n"
        "        run the broker in the foreground; Ctrl-C or SIGTERM stops it gracefully\n"
        "  lepus config [KEY]\n"
        "        list every configuration key with its default, or explain one\n"
        "  lepus log inspect|verify|repair DIR\n"
        "        look at the message logs of a broker that is stopped; 'lepus log --help'\n"
        "  lepus capture FILE\n"
        "        frames of a running broker's packet devices, as pcapng; 'lepus capture --help'\n"
        "  lepus nic list\n"
        "        network cards and interfaces, and how to name them; 'lepus nic --help'\n"
        "  lepus version | lepus help\n"
        "\n"
        "Options\n"
        "  --config FILE     settings, in the format of rabbitmq.conf: key = value lines\n"
        "  --data DIR        where users, queues and the like are kept; default: $LEPUS_DATA,\n"
        "                    else /var/lib/lepus for root, else ~/.local/state/lepus\n"
        "  --set KEY=VALUE   one setting; wins over the file; may be repeated\n"
        "\n"
        "Examples\n"
        "  lepus\n"
        "        listen on port 5672; log in from this machine as guest/guest\n"
        "  lepus --data /tmp/try --set listeners.tcp.default=127.0.0.1:5673\n"
        "        a second broker beside it, on another port and with data of its own\n"
        "  lepus --set listeners.tcp.default=0\n"
        "        take any free port; the line 'lepus: ready on' names it\n"
        "  lepus --set lepus.shards=1 --set lepus.memory=256MiB\n"
        "        a small one\n"
        "  lepus config heartbeat\n"
        "        what a key means, which values it takes\n"
        "\n"
        "A configuration file\n"
        "  listeners.tcp.default = 5672\n"
        "  listeners.tcp.lan     = 192.168.1.10:5671   # any word will do for 'lan'\n"
        "  default_user = admin\n"
        "  default_pass = 'a secret # with a hash'\n"
        "  lepus.shards = 4\n"
        "\n"
        "While it runs, from another terminal (with the same --data)\n"
        "  lepusctl status            how it is\n"
        "  lepusctl list_queues       what is in it\n"
        "  lepusctl stop              stop it gracefully\n"
        "  lepusctl help              all commands\n"
        "\n"
        "Environment\n"
        "  LEPUS_DATA      as --data        LEPUS_BIN_DIR   where lepus-dataplane and\n"
        "                                                   lepus-control are, if not beside "
        "lepus\n"
        "\n"
        "Exit status: 0 after a graceful stop, 1 when the broker could not go on,\n"
        "64 for a mistake on the command line, 78 for one in the configuration.\n";
    (void)fputs(text, out);
}
