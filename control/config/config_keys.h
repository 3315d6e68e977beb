/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_keys.h - the table behind config.h, shared by the files of this folder.
 *
 *   Runs on   boot
 */
#pragma once

#include <lepus/base.h>

enum config_type {
    CONFIG_TEXT,
    CONFIG_INTEGER,
    CONFIG_BOOL,
    CONFIG_BYTES,
    CONFIG_TIME_MS,
    CONFIG_TIME_S,
    CONFIG_SHARE,
    CONFIG_ADDRESS,
    CONFIG_PATH,
    CONFIG_ENUM,
    CONFIG_LIMIT,   /* a whole number, or "infinity": INT64_MAX */
    CONFIG_PATTERN, /* a regular expression */
    CONFIG_IP,
    CONFIG_PREFIX, /* an address and how many of its bits name the link */
    CONFIG_MAC,
    CONFIG_INTERFACE, /* the name of an interface of the kernel */
    CONFIG_ROUTE,     /* "PREFIX via IP" */
    CONFIG_SECRET,    /* text that nobody is shown, and that may be encrypted */
};

enum config_status {
    CONFIG_IMPLEMENTED,
    CONFIG_IGNORED, /* accepted; tunes something that Lepus does not have */
    CONFIG_REFUSED, /* known, and not implemented: only the harmless values pass */
};

struct config_key {
    const char *pattern; /* "$x" stands for one word, a last "*" for one or more */
    enum config_type type;
    enum config_status status;
    const char *default_value; /* "auto": then "auto" is a value, and 0 as an integer */
    int64_t min;
    int64_t max;
    const char *choices; /* enum: its values; refused: the values that say what Lepus does anyway */
    const char *default_name; /* of a pattern key whose default is one entry */
    const char *help;
};

extern const struct config_key config_keys[];
extern const size_t config_key_count;

/* A key cut into words: "a.b\.c" is "a" and "b.c". */
#define CONFIG_WORDS_MAX     16u
#define CONFIG_KEY_MAX_BYTES 256u
struct config_words {
    unsigned count;
    const char *word[CONFIG_WORDS_MAX];
    char room[CONFIG_KEY_MAX_BYTES];
};

/* False: empty, too long, an empty word, or a character that no key has. */
LP_MUST_CHECK bool config_words_cut(struct config_words *words, const char *key);
/* The first row whose pattern matches; `name` gets what stood for the first $x ("" if none). */
const struct config_key *config_key_match(const struct config_words *words, const char **ret_name);
/* Is `value` one of "a|b|c"? */
bool config_choice_has(const char *choices, const char *value);
/* Check `text` against the row, and its number if it has one.  False: `ret_why` says what is
 * wanted. */
LP_MUST_CHECK bool config_value_parse(const struct config_key *key, const char *text,
                                      int64_t *ret_integer, char *ret_why, size_t why_bytes);
bool config_prefix_good(const char *value);
bool config_mac_good(const char *value);
bool config_interface_good(const char *value);
const char *config_type_text(enum config_type type);
