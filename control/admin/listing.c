/* SPDX-License-Identifier: Apache-2.0 */
/* listing.c - rows and columns, and questions to shards about them. */
#include <stdlib.h>

#include "control/admin/admin_internal.h"

/* ---- names of columns, as arguments say them: "a,b" is two ---- */

/* The next name in the arguments from (`index`, `at`) on; false: no more. */
struct names {
    const struct admin_task *task;
    size_t index;
    const char *at;
};

static bool
names_next(struct names *names, char ret_name[64])
{
    for (;;) {
        if (!names->at || *names->at == '\0') {
            names->at = admin_arg(names->task, names->index++);
            if (!names->at) {
                return false;
            }
        }
        names->at += strspn(names->at, ", ");
        const size_t bytes = strcspn(names->at, ", ");
        if (bytes > 0) {
            const size_t kept = LP_MIN(bytes, (size_t)63);
            memcpy(ret_name, names->at, kept);
            ret_name[kept] = '\0';
            names->at += bytes;
            return true;
        }
    }
}

static bool
is_column(const struct lp_command *command, const char *name)
{
    const size_t bytes = strlen(name);
    for (const char *at = command->columns; *at != '\0';) {
        const size_t span = strcspn(at, ",");
        if (span == bytes && memcmp(at, name, bytes) == 0) {
            return true;
        }
        at += span + (at[span] == ',');
    }
    return false;
}

bool
admin_columns_check(struct admin_task *task)
{
    struct names names = {.task = task};
    struct lp_bytebuf unknown = {0};
    char name[64];
    if (!task->command->columns) {
        return true;
    }
    while (names_next(&names, name)) {
        if (!is_column(task->command, name)) {
            lp_bytebuf_append(&unknown, ",", unknown.size > 0);
            lp_bytebuf_append(&unknown, name, strlen(name));
        }
    }
    const bool good = unknown.size == 0;
    if (!good) {
        admin_invalid(task, ADMIN_EXIT_USAGE, "Info key(s) %.*s are not supported",
                      (int)unknown.size, (const char *)unknown.data);
    }
    lp_bytebuf_fini(&unknown);
    return good;
}

/* ---- a listing ---- */

/* Each column once. */
static void
column_choose(struct admin_listing *listing, const char *name, size_t bytes)
{
    for (size_t i = 0; i < listing->column_count; i++) {
        const char *known = listing->columns[i].name;
        if (strlen(known) != bytes || memcmp(known, name, bytes) != 0) {
            continue;
        }
        for (size_t k = 0; k < listing->chosen_count; k++) {
            if (listing->chosen[k] == i) {
                return;
            }
        }
        LP_ASSERT(listing->chosen_count < LP_COUNT_OF(listing->chosen));
        listing->chosen[listing->chosen_count++] = i;
        return;
    }
    LP_ASSERT(!"a column that was checked, or is preset, and is not there");
}

void
admin_listing_init(struct admin_listing *listing, const struct admin_task *task,
                   const struct admin_column *columns)
{
    struct names names = {.task = task};
    char name[64];
    *listing = (struct admin_listing){.columns = columns, .rows = json_array()};
    while (columns[listing->column_count].name) {
        listing->column_count++;
    }
    while (task->command->columns && names_next(&names, name)) {
        column_choose(listing, name, strlen(name));
    }
    const char *at = listing->chosen_count == 0 ? task->command->preset : NULL;
    while (at && *at != '\0') {
        const size_t span = strcspn(at, ",");
        column_choose(listing, at, span);
        at += span + (at[span] == ',');
    }
    for (size_t i = 0; !task->command->columns && i < listing->column_count; i++) {
        listing->chosen[listing->chosen_count++] = i;
    }
}

void
admin_listing_add(struct admin_listing *listing, const void *item, const struct admin_task *task)
{
    json_t *row = json_array();
    for (size_t i = 0; i < listing->chosen_count; i++) {
        admin_append(row, listing->columns[listing->chosen[i]].value(item, task));
    }
    admin_append(listing->rows, row);
}

static void
listing_free(void *state)
{
    struct admin_listing *listing = state;
    json_decref(listing->rows);
    free(listing);
}

struct admin_listing *
admin_listing_keep(struct admin_task *task, const struct admin_column *columns)
{
    struct admin_listing *listing = lp_heap_alloc(sizeof(*listing));
    admin_listing_init(listing, task, columns);
    task->state = listing;
    task->state_free = listing_free;
    return listing;
}

json_t *
admin_listing_take(struct admin_listing *listing)
{
    json_t *columns = json_array();
    for (size_t i = 0; i < listing->chosen_count; i++) {
        admin_append(columns, json_string(listing->columns[listing->chosen[i]].name));
    }
    json_t *rows = listing->rows;
    listing->rows = NULL;
    return json_pack("{s:b,s:o,s:o}", "ok", 1, "columns", columns, "rows", rows);
}

json_t *
admin_column_empty(const void *item, const struct admin_task *task)
{
    (void)item;
    (void)task;
    return json_string("");
}

json_t *
admin_column_zero(const void *item, const struct admin_task *task)
{
    (void)item;
    (void)task;
    return json_integer(0);
}

/* ---- questions to shards ---- */

struct asked {
    struct admin_task *task;
    struct admin_query query;
};

static void
query_row(struct lp_control *control, void *context, struct lp_reader *fields)
{
    const struct asked *asked = context;
    (void)control;
    asked->query.row(asked->task, fields);
}

static void
query_done(struct lp_control *control, void *context, bool complete)
{
    struct asked *asked = context;
    struct admin_task *task = asked->task;
    (void)control;
    if (complete || asked->query.partial) {
        asked->query.done(task);
    } else {
        admin_fail(task, ADMIN_EXIT_TEMPORARY, "the data plane did not answer in time");
    }
    free(asked);
}

void
admin_query(struct admin_task *task, const struct admin_query *query)
{
    struct asked *asked = lp_heap_alloc(sizeof(*asked));
    *asked = (struct asked){task, *query};
    const struct control_query like = {.type = query->type,
                                       .timeout_ns = query->timeout_ns,
                                       .row = query_row,
                                       .done = query_done,
                                       .context = asked};
    control_query_add(task->control, &like);
}
