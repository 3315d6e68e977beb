/* SPDX-License-Identifier: Apache-2.0 */
/* `lepus config`: the table of keys, for people. */
#include "launcher.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define KEY_WIDTH     38
#define DEFAULT_WIDTH 20
#define TYPE_WIDTH    10
#define HELP_AT       (KEY_WIDTH + DEFAULT_WIDTH + TYPE_WIDTH + 3)

static int
width_now(void)
{
    struct winsize size;
    if (isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
        size.ws_col >= HELP_AT + 30) {
        return size.ws_col;
    }
    return 130;
}

/* `text` in lines of at most `width`, each after the first indented by `indent`. */
static void
wrap_print(FILE *out, const char *text, int indent, int width)
{
    int room = width - indent;
    int used = 0;

    while (*text != '\0') {
        const int word = (int)strcspn(text, " ");
        if (used > 0 && used + 1 + word > room) {
            (void)fprintf(out, "\n%*s", indent, "");
            used = 0;
        }
        (void)fprintf(out, "%s%.*s", used > 0 ? " " : "", word, text);
        used += word + (used > 0);
        text += word;
        text += strspn(text, " ");
    }
    (void)fputc('\n', out);
}

static const char *
default_text(const struct lp_config_key_info *info, char *room, size_t room_bytes)
{
    const bool known = info->default_value != NULL && *info->default_value != '\0';
    const bool named = info->default_name != NULL;
    (void)snprintf(room, room_bytes, "%s%s%s", named ? info->default_name : "", named ? " = " : "",
                   known ? info->default_value : "-");
    return room;
}

static void
section_print(FILE *out, const char *status, const char *title, int width)
{
    char room[128];
    struct lp_config_key_info info;

    (void)fprintf(out, "\n%s\n\n", title);
    for (size_t i = 0; i < lp_config_key_count(); i++) {
        lp_config_key_at(i, &info);
        if (strcmp(info.status, status) != 0) {
            continue;
        }
        if (strcmp(status, "implemented") != 0) {
            (void)fprintf(out, "%-*s ", KEY_WIDTH, info.pattern);
            wrap_print(out, info.help, KEY_WIDTH + 1, width);
            continue;
        }
        (void)fprintf(out, "%-*s %-*s %-*s ", KEY_WIDTH, info.pattern, DEFAULT_WIDTH,
                      default_text(&info, room, sizeof(room)), TYPE_WIDTH, info.type);
        wrap_print(out, info.help, HELP_AT, width);
    }
}

static void
key_print(FILE *out, const struct lp_config_key_info *info)
{
    char room[128];
    static const struct {
        const char *status;
        const char *text;
    } meaning[] = {
        {"implemented", "works in this version"},
        {"ignored", "accepted, and ignored with a line in the log"},
        {"not yet", "known from RabbitMQ, not implemented in this version: refused"},
    };

    (void)fprintf(out, "%s\n\n  ", info->pattern);
    wrap_print(out, info->help, 2, width_now());
    (void)fprintf(out, "\n");
    for (size_t i = 0; i < LP_COUNT_OF(meaning); i++) {
        if (strcmp(info->status, meaning[i].status) == 0) {
            (void)fprintf(out, "  Status   %s\n", meaning[i].text);
        }
    }
    if (strcmp(info->status, "implemented") == 0) {
        (void)fprintf(out, "  Type     %s\n  Default  %s\n", info->type,
                      default_text(info, room, sizeof(room)));
    }
    if (info->choices != NULL) {
        (void)fprintf(out, "  Values   %s\n", info->choices);
    }
    if (strcmp(info->type, "share") == 0) {
        (void)fprintf(out, "  Range    0 to %lld\n", (long long)info->max / 1000000);
    } else if (info->min < info->max) {
        (void)fprintf(out, "  Range    %lld to %lld%s%s\n", (long long)info->min,
                      (long long)info->max, *info->unit != '\0' ? " " : "", info->unit);
    }
    if (strcmp(info->type, "bytes") == 0) {
        (void)fprintf(out, "  Units    kB MB GB (1000), KiB MiB GiB (1024), k M G (1024)\n");
    }
}

int
launcher_config_print(FILE *out, const char *key)
{
    size_t index;

    if (key == NULL) {
        const int width = width_now();
        (void)fprintf(out,
                      "Settings: lines \"key = value\" in the file of --config, or --set KEY=VALUE."
                      "\n'lepus config KEY' explains one.\n");
        (void)fprintf(out, "\n%-*s %-*s %-*s %s\n", KEY_WIDTH, "KEY", DEFAULT_WIDTH, "DEFAULT",
                      TYPE_WIDTH, "TYPE", "HELP");
        section_print(out, "implemented", "IMPLEMENTED", width);
        section_print(out, "ignored", "ACCEPTED AND IGNORED, with a line in the log", width);
        section_print(out, "not yet", "NOT YET: RabbitMQ's, refused with an error", width);
        return 0;
    }
    if (lp_config_key_find(key, &index)) {
        struct lp_config_key_info info;
        lp_config_key_at(index, &info);
        key_print(out, &info);
        return 0;
    }
    char room[256];
    const char *near = lp_config_key_nearest(key, room, sizeof(room));
    launcher_warn("unknown key \"%s\"%s%s%s; 'lepus config' lists all keys", key,
                  near != NULL ? "; did you mean \"" : "", near != NULL ? near : "",
                  near != NULL ? "\"?" : "");
    return 64;
}
