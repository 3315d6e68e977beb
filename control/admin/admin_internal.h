/* SPDX-License-Identifier: Apache-2.0 */
/* admin_internal.h - what the commands share. */
#pragma once

#include "control/admin/admin.h"
#include "control/command/command.h"
#include "control/link/control_internal.h"

/* sysexits.h, as rabbitmqctl uses it. */
enum admin_exit {
    ADMIN_EXIT_USAGE = 64,
    ADMIN_EXIT_DATA = 65,
    ADMIN_EXIT_NO_USER = 67,
    ADMIN_EXIT_UNAVAILABLE = 69,
    ADMIN_EXIT_SOFTWARE = 70,
    ADMIN_EXIT_TEMPORARY = 75,
};

#define ADMIN_STOP_GRACE_MS 10000u

/* One command under way. */
struct admin_task {
    struct lp_control *control;
    const struct lp_command *command;
    const char *node; /* as texts name it */
    json_t *request;  /* ours as long as the task lives */
    lp_admin_done_fn *done;
    void *done_context;
    const json_t *args;    /* array of strings */
    const json_t *options; /* object or NULL */
    json_t *text;          /* to say when it is applied; NULL: nothing */
    void *state;           /* the command's; freed with the task */
    void (*state_free)(void *state);
};

typedef void admin_command_fn(struct admin_task *task);
/* May it run?  False after a failure that ended the task. */
typedef bool admin_check_fn(struct admin_task *task);

/* ---- ends of a task ---- */
void admin_answer(struct admin_task *task, json_t *answer);
void admin_done(struct admin_task *task);
/* Text for people, and `data` (taken, may be NULL) for --formatter json. */
void admin_say(struct admin_task *task, json_t *data, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "Error:\n..." and exit code `code`. */
void admin_fail(struct admin_task *task, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Without "Error:". */
void admin_fail_bare(struct admin_task *task, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* As admin_fail(), and `message` in JSON. */
void admin_fail_json(struct admin_task *task, int code, const char *message, const char *format,
                     ...) __attribute__((format(printf, 4, 5)));
/* A health check that found something: text as it is, `data` (taken) in JSON, exit code 69. */
void admin_unwell(struct admin_task *task, json_t *data, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with "Error:". */
void admin_fail_with(struct admin_task *task, json_t *data, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A mistake on the command line, with usage. */
void admin_invalid(struct admin_task *task, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Changed something: answer {"ok":true} when every shard has applied it. */
void admin_done_when_applied(struct admin_task *task);
/* The same with a text. */
void admin_say_when_applied(struct admin_task *task, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- arguments ---- */
const char *admin_arg(const struct admin_task *task, size_t index);
size_t admin_arg_count(const struct admin_task *task);
struct lp_bytes admin_arg_bytes(const struct admin_task *task, size_t index);
/* The value of an option, or NULL. */
const char *admin_option(const struct admin_task *task, const char *name);
bool admin_switch(const struct admin_task *task, const char *name);
int64_t admin_option_integer(const struct admin_task *task, const char *name, int64_t preset);
/* The name of --vhost. */
const char *admin_vhost_name(const struct admin_task *task);
/* The vhost itself; NULL after a failure that ended the task. */
struct lp_catalog_vhost *admin_vhost(struct admin_task *task);
/* The same, or NULL: for listings, which are empty then. */
struct lp_catalog_vhost *admin_vhost_or_none(const struct admin_task *task);

/* ---- value.c ---- */
/* Text that may not be UTF-8 (names are bytes): what is not becomes U+FFFD. */
json_t *admin_text(struct lp_bytes bytes);
/* An argument table as a list of [name, type, value]; `sorted` by name. */
json_t *admin_table(struct lp_bytes table, bool sorted);
/* "a,b" as ["a","b"]. */
json_t *admin_words(struct lp_bytes words);
/* A value (taken) as the text of its JSON. */
json_t *admin_json_text(json_t *value);
void admin_set(json_t *object, const char *name, json_t *value);
void admin_append(json_t *array, json_t *value);
/* A name for a thing, in the shape of an Erlang process identifier: <node.run.number.kind>. */
enum admin_pid_kind {
    ADMIN_PID_CONNECTION, /* number: its id */
    ADMIN_PID_CHANNEL,    /* number: the connection's id; `channel` counts */
    ADMIN_PID_QUEUE,      /* number: its id */
};
json_t *admin_pid(const struct admin_task *task, enum admin_pid_kind kind, uint64_t number,
                  uint16_t channel);
/* The id of a connection that was named so.  False: nothing of the kind. */
LP_MUST_CHECK bool admin_pid_read(const char *text, uint64_t *ret_connection);

/* ---- listing.c: tables of columns ---- */

struct admin_column {
    const char *name;
    json_t *(*value)(const void *item, const struct admin_task *task);
};

struct admin_listing {
    const struct admin_column *columns;
    size_t column_count;
    size_t chosen[LP_COMMAND_ARGUMENTS_MAX];
    size_t chosen_count;
    json_t *rows;
};

/* Are all columns that the arguments name there?  False after a failure that ended the task. */
bool admin_columns_check(struct admin_task *task);
/* The columns of the arguments, or the command's preset ones.  For a command without a choice
 * `columns` are all there are. */
void admin_listing_init(struct admin_listing *listing, const struct admin_task *task,
                        const struct admin_column *columns);
void admin_listing_add(struct admin_listing *listing, const void *item,
                       const struct admin_task *task);
/* The same as the task's state, for rows that come one by one. */
struct admin_listing *admin_listing_keep(struct admin_task *task,
                                         const struct admin_column *columns);
/* "127.0.0.1:50000 -> 127.0.0.1:5672" */
json_t *admin_connection_name(const struct control_connection *connection);
/* The answer; takes the rows. */
json_t *admin_listing_take(struct admin_listing *listing);
/* A column that means nothing here. */
json_t *admin_column_empty(const void *item, const struct admin_task *task);
json_t *admin_column_zero(const void *item, const struct admin_task *task);

/* A listing that needs what shards know: rows come through `row`, and `done` ends the task. */
struct admin_query {
    uint16_t type; /* LP_CONTROL_LIST_... */
    void (*row)(struct admin_task *task, struct lp_reader *fields);
    void (*done)(struct admin_task *task);
    uint64_t timeout_ns; /* 0: what is usual */
    bool partial;        /* `done` is told also when shards have not answered in time */
};
/* `state` (freed with `state_free`) is the task's from here on. */
void admin_query(struct admin_task *task, const struct admin_query *query);

/* ---- commands: all of control/command's that the broker carries out ---- */
#define COMMAND(id, ...) admin_command_fn admin_##id;
#define LOCAL(id, ...)
#define REFUSED(id, why)
#include "control/command/all.inc"
#undef COMMAND
#undef LOCAL
#undef REFUSED
