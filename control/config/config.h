/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - rabbitmq.conf's keys and file format, and Lepus's own keys.
 *
 * One table (config_keys.c) names every key with its type, default, range,
 * status and help; the parser, `lepus config` and the manual come from it.
 *
 *   Memory    lp_config_close() frees; texts live as long as the config
 *   Runs on   boot of the launcher and of the control process
 */
#pragma once

#include <lepus/base.h>
#include <lepus/err.h>

struct lp_config;

/*
 * Read `path` (NULL: defaults only).  On failure one sentence for the operator
 * is in `ret_why`: file, line, key, what is wrong and what to do; an unknown
 * key names the nearest known one.
 *
 * LP_ERR_BAD_CONFIG, LP_ERR_NOT_FOUND, LP_ERR_IO, LP_ERR_NO_MEMORY
 */
LP_MUST_CHECK enum lp_err lp_config_open(const char *path, struct lp_config **ret_config,
                                         char *ret_why, size_t why_bytes);
void lp_config_close(struct lp_config **config);

/*
 * One assignment from the command line, "key=value": it wins over the file.
 *
 * LP_ERR_BAD_CONFIG, LP_ERR_NO_MEMORY
 */
LP_MUST_CHECK enum lp_err lp_config_set(struct lp_config *config, const char *assignment,
                                        char *ret_why, size_t why_bytes);

/*
 * The key must be in the table (a plain one, not a pattern).  Sizes and times
 * are in the unit its help names, a share of something is in millionths, and
 * "auto" is 0.
 */
const char *lp_config_text(const struct lp_config *config, const char *key);
int64_t lp_config_integer(const struct lp_config *config, const char *key);
/* Values of secrets that are encrypted ("encrypted:..."), into what they say; after all that is
 * set. */
LP_MUST_CHECK enum lp_err lp_config_decrypt(struct lp_config *config, char *ret_why,
                                            size_t why_bytes);
bool lp_config_bool(const struct lp_config *config, const char *key);
/* Did the operator give this key, in the file or on the command line? */
bool lp_config_given(const struct lp_config *config, const char *key);

/*
 * Values of a pattern key such as "listeners.tcp.$name", by file order (the
 * default when the file has none): name is what stood for $name.  Nothing when
 * the key above it says "none" ("listeners.tcp = none").
 */
typedef void lp_config_each_fn(void *context, const char *name, const char *value);
void lp_config_each(const struct lp_config *config, const char *pattern, lp_config_each_fn *fn,
                    void *context);

/*
 * Families of pattern keys, such as "default_users.$name.password": each name
 * that was given with any key below `prefix` ("default_users.$name."), once
 * and in file order; value is NULL.
 */
void lp_config_names(const struct lp_config *config, const char *prefix, lp_config_each_fn *fn,
                     void *context);
/* The entry of a pattern key for a name; its default when it was not given. */
const char *lp_config_text_named(const struct lp_config *config, const char *pattern,
                                 const char *name);
/* The same as a number; false: it was not given. */
LP_MUST_CHECK bool lp_config_integer_named(const struct lp_config *config, const char *pattern,
                                           const char *name, int64_t *ret_integer);

/* Keys that were given, are RabbitMQ's, and have no meaning here (name: key, value: why): worth a
 * log line each. */
void lp_config_ignored_each(const struct lp_config *config, lp_config_each_fn *fn, void *context);

/*
 * "5672", "127.0.0.1:5672", "[::1]:5672": `ret_ip` is "" when only a port was
 * given (all interfaces).  False when it is none of these.
 */
#define LP_CONFIG_IP_BYTES 46
LP_MUST_CHECK bool lp_config_address(const char *value, char ret_ip[LP_CONFIG_IP_BYTES],
                                     uint16_t *ret_port);

/* "10.0.0.1" or "2001:db8::1"; IPv4 in the first four bytes.  False when it is neither. */
LP_MUST_CHECK bool lp_config_ip(const char *value, uint8_t ret_ip[16], bool *ret_six);
/* "10.1.0.0/16 via 10.0.0.1", or the same of IPv6. */
#define LP_CONFIG_PREFIX_BYTES (LP_CONFIG_IP_BYTES + 4)
LP_MUST_CHECK bool lp_config_route(const char *value, char ret_to[LP_CONFIG_PREFIX_BYTES],
                                   char ret_gateway[LP_CONFIG_IP_BYTES]);

/* The table, for `lepus config`. */
struct lp_config_key_info {
    const char *pattern;
    const char *type;
    const char *default_value;
    const char
        *default_name;  /* of a pattern whose default is one entry, what stands for $x; else NULL */
    const char *status; /* "implemented", "ignored", "not yet" */
    const char *unit;
    const char *help;
    const char *choices; /* of an enum: "a|b"; else NULL */
    int64_t min;
    int64_t max; /* min == max: no range */
};
size_t lp_config_key_count(void);
void lp_config_key_at(size_t index, struct lp_config_key_info *ret_info);
/* The table's row for a key as an operator writes it ("listeners.tcp.lan"), or false. */
LP_MUST_CHECK bool lp_config_key_find(const char *key, size_t *ret_index);
/* The known key nearest to a misspelt one, or NULL when none is near.  Borrowed from `room`. */
const char *lp_config_key_nearest(const char *key, char *room, size_t room_bytes);

/* Edits (insert, delete, replace, swap neighbours) between two short words; for "did you mean". */
unsigned lp_config_distance(const char *a, const char *b);

/*
 * Where a broker keeps its state: the option's value if there is one, else
 * $LEPUS_DATA, else /var/lib/lepus for root, else below $XDG_STATE_HOME or
 * ~/.local/state.
 *
 * LP_ERR_NOT_FOUND (no home), LP_ERR_NO_SPACE
 */
LP_MUST_CHECK enum lp_err lp_config_data_dir(const char *option, char *ret_path, size_t path_bytes);
