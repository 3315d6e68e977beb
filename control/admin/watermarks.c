/* SPDX-License-Identifier: Apache-2.0 */
/* watermarks.c - from when on publishers wait: memory and disk; and what is logged. */
#include <stdlib.h>

#include "control/admin/admin_checks.h"
#include "control/admin/admin_internal.h"

/* ---- sizes: a whole number and a unit ---- */

enum size_kind {
    SIZE_GOOD,
    SIZE_NO_NUMBER,
    SIZE_NO_INTEGER,
    SIZE_NO_UNIT,
};

static bool
unit_find(const char *text, uint64_t *ret_factor)
{
    static const struct {
        const char *name;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"k", 1ull << 10},
        {"kiB", 1ull << 10},
        {"kB", 1000},
        {"M", 1ull << 20},
        {"MiB", 1ull << 20},
        {"MB", 1000000},
        {"G", 1ull << 30},
        {"GiB", 1ull << 30},
        {"GB", 1000000000},
    };
    for (size_t i = 0; i < LP_COUNT_OF(units); i++) {
        if (strcmp(units[i].name, text) == 0) {
            *ret_factor = units[i].factor;
            return true;
        }
    }
    return false;
}

/* `ret_bytes` is negative when the number is; cut to what 63 bits hold. */
static enum size_kind
size_read(const char *text, int64_t *ret_bytes)
{
    const size_t sign = *text == '-' || *text == '+';
    const size_t digits = strspn(text + sign, "0123456789");
    const char *rest = text + sign + digits;
    uint64_t factor;
    if (digits == 0) {
        return SIZE_NO_NUMBER;
    }
    if (!unit_find(rest, &factor)) {
        return *rest == '.' && rest[1] >= '0' && rest[1] <= '9' ? SIZE_NO_INTEGER : SIZE_NO_UNIT;
    }
    const int64_t number = strtoll(text, NULL, 10); /* the largest there is, if it is larger */
    const int64_t most = INT64_MAX / (int64_t)factor;
    *ret_bytes = number > most ? INT64_MAX : LP_MAX(number, -most) * (int64_t)factor;
    return SIZE_GOOD;
}

/* "0.4", "1", "1.5e-1"; the whole text. */
static bool
fraction_read(const char *text, double *ret_fraction)
{
    const size_t sign = *text == '-' || *text == '+';
    char *end;
    if (text[sign] < '0' || text[sign] > '9' || strspn(text, "0123456789.+-eE") != strlen(text)) {
        return false; /* what strtod() takes beyond that */
    }
    *ret_fraction = strtod(text, &end);
    return *end == '\0' && end[-1] != '.';
}

/* ---- memory ---- */

static void
told(struct lp_control *control, void *context, bool good)
{
    (void)control;
    if (good) {
        admin_done(context);
    } else {
        admin_fail(context, ADMIN_EXIT_TEMPORARY, "the data plane did not answer in time");
    }
}

bool
admin_check_set_vm_memory_high_watermark(struct admin_task *task)
{
    const bool absolute = strcmp(admin_arg(task, 0), "absolute") == 0;
    const size_t count = admin_arg_count(task);
    int64_t bytes;
    double fraction;
    if (count != (absolute ? 2u : 1u)) {
        admin_invalid(task, ADMIN_EXIT_USAGE, "%s arguments.",
                      absolute && count < 2 ? "not enough" : "too many");
        return false;
    }
    if (!absolute) {
        const bool number = fraction_read(admin_arg(task, 0), &fraction);
        if (!number || fraction < 0.0 || fraction > 1.0) {
            admin_invalid(task, ADMIN_EXIT_DATA, "Bad argument%s",
                          number ? ": The threshold should be a fraction between 0.0 and 1.0"
                                 : ".");
            return false;
        }
        return true;
    }
    switch (size_read(admin_arg(task, 1), &bytes)) {
    case SIZE_GOOD:
        if (bytes >= 0) {
            return true;
        }
        break;
    case SIZE_NO_INTEGER:
        admin_invalid(task, ADMIN_EXIT_DATA, "Bad argument: The threshold should be an integer.");
        return false;
    case SIZE_NO_UNIT:
        admin_invalid(task, ADMIN_EXIT_DATA, "Bad argument: Invalid units.");
        return false;
    case SIZE_NO_NUMBER:
        break;
    }
    admin_invalid(task, ADMIN_EXIT_DATA, "Bad argument.");
    return false;
}

void
admin_set_vm_memory_high_watermark(struct admin_task *task)
{
    struct lp_control_node *node = &task->control->region->node;
    int64_t bytes = 0;
    double fraction = 0.0;
    if (admin_arg_count(task) == 2) {
        (void)size_read(admin_arg(task, 1), &bytes); /* checked */
    } else {
        (void)fraction_read(admin_arg(task, 0), &fraction); /* checked */
    }
    node->watermark_bytes = (uint64_t)bytes;
    node->watermark_millionths = (uint32_t)(fraction * 1000000.0 + 0.5);
    node->watermark_set = 1;
    control_watermark_changed(task->control);
    control_when_heard(task->control, told, task);
}

/* ---- the disk ---- */

bool
admin_check_set_disk_free_limit(struct admin_task *task)
{
    const bool relative = strcmp(admin_arg(task, 0), "mem_relative") == 0;
    const size_t count = admin_arg_count(task);
    int64_t bytes;
    double fraction;
    if (count != (relative ? 2u : 1u)) {
        admin_invalid(task, ADMIN_EXIT_USAGE, "%s arguments.",
                      relative && count < 2 ? "not enough" : "too many");
        return false;
    }
    if (relative ? fraction_read(admin_arg(task, 1), &fraction) && fraction >= 0.0
                 : size_read(admin_arg(task, 0), &bytes) == SIZE_GOOD) {
        return true;
    }
    admin_invalid(task, ADMIN_EXIT_DATA, "Bad argument.");
    return false;
}

void
admin_set_disk_free_limit(struct admin_task *task)
{
    struct lp_control_node *node = &task->control->region->node;
    int64_t bytes = 0;
    double fraction = 0.0;
    if (admin_arg_count(task) == 2) {
        (void)fraction_read(admin_arg(task, 1), &fraction); /* checked */
        const double limit = fraction * (double)node->machine_memory_bytes;
        bytes = limit < 9e18 ? (int64_t)limit : INT64_MAX;
    } else {
        (void)size_read(admin_arg(task, 0), &bytes); /* checked */
    }
    node->disk_limit_bytes = (uint64_t)LP_MAX(bytes, (int64_t)0);
    node->disk_limit_set = 1;
    control_disk_limit_changed(task->control);
    control_when_heard(task->control, told, task);
}

/* ---- the log ---- */

void
admin_set_log_level(struct admin_task *task)
{
    /* There are no critical lines: nothing is left of the log. */
    static const struct {
        const char *name;
        uint32_t level;
    } levels[] = {
        {"debug", LP_CONTROL_LOG_DEBUG},     {"info", LP_CONTROL_LOG_INFO},
        {"warning", LP_CONTROL_LOG_WARNING}, {"error", LP_CONTROL_LOG_ERROR},
        {"critical", LP_CONTROL_LOG_NONE},   {"none", LP_CONTROL_LOG_NONE},
    };
    const char *name = admin_arg(task, 0);
    for (size_t i = 0; i < LP_COUNT_OF(levels); i++) {
        if (strcmp(levels[i].name, name) == 0) {
            task->control->region->node.log_level = levels[i].level + 1;
            admin_done(task);
            return;
        }
    }
    admin_fail(task, ADMIN_EXIT_UNAVAILABLE,
               "level %s is not supported. Try one of debug, info, warning, error, critical, none",
               name);
}
