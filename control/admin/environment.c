/* SPDX-License-Identifier: Apache-2.0 */
/* environment.c - every setting with the value that counts, as a configuration file would say it.
 */
#include <stdio.h>
#include <string.h>

#include "control/admin/report.h"
#include "control/config/config.h"

struct setting_lines {
    struct lp_bytebuf text;
    json_t *data;
    const char *pattern;
    bool secret; /* whoever sees a screen or a report need not see passwords */
};

static void
setting_add(struct setting_lines *lines, const char *key, const char *value)
{
    const char *shown = lines->secret ? "******" : value;
    admin_line(&lines->text, "%s = %s", key, shown);
    (void)json_object_set_new(lines->data, key, admin_text(lp_bytes_of_text(shown)));
}

/* An entry of a family: "listeners.tcp.$name" with its name filled in. */
static void
named_add(void *context, const char *name, const char *value)
{
    struct setting_lines *lines = context;
    const char *hole = strchr(lines->pattern, '$');
    char key[512];
    LP_ASSERT(hole != NULL);
    const char *after = hole + strcspn(hole, ".");
    (void)snprintf(key, sizeof(key), "%.*s%s%s", (int)(hole - lines->pattern), lines->pattern, name,
                   after); /* keys are short */
    setting_add(lines, key, value);
}

/* Who may come from this machine only, as it was configured or said since. */
static void
loopback_users_add(struct setting_lines *lines, const struct lp_control *control)
{
    for (size_t i = 0; i < control->loopback_user_count; i++) {
        named_add(lines, control->loopback_users[i], "true");
    }
}

void
admin_environment(struct admin_task *task)
{
    const struct lp_config *config = task->control->options.settings.config;
    struct setting_lines lines = {.data = json_object()};
    const uint32_t channel_max =
        task->control->region->node.channel_max; /* plus 1, if it was set */
    for (size_t i = 0; config && i < lp_config_key_count(); i++) {
        struct lp_config_key_info info;
        lp_config_key_at(i, &info);
        if (strcmp(info.status, "implemented") != 0) {
            continue;
        }
        lines.pattern = info.pattern;
        lines.secret = strcmp(info.type, "secret") == 0;
        if (strcmp(info.pattern, "loopback_users.$user") == 0) {
            loopback_users_add(&lines, task->control);
        } else if (strchr(info.pattern, '$') != NULL) {
            lp_config_each(config, info.pattern, named_add, &lines);
        } else if (channel_max > 0 && strcmp(info.pattern, "channel_max") == 0) {
            char number[16];
            (void)snprintf(number, sizeof(number), "%u", channel_max - 1);
            setting_add(&lines, info.pattern, number);
        } else {
            setting_add(&lines, info.pattern, lp_config_text(config, info.pattern));
        }
    }
    admin_answer(task, json_pack("{s:b,s:o,s:o}", "ok", 1, "text", admin_text_take(&lines.text),
                                 "data", lines.data));
}
