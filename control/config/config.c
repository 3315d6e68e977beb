/* SPDX-License-Identifier: Apache-2.0 */
#include "config.h"
#include "config_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_LINE_MAX_BYTES 8192
#define CONFIG_VALUES_MAX     4096u

/* Where an assignment stands, for the sentence about what is wrong with it. */
struct config_place {
    const char *file; /* NULL: the command line */
    unsigned line;
    char *why;
    size_t why_bytes;
};

static void __attribute__((format(printf, 2, 3)))
complain(const struct config_place *place, const char *format, ...)
{
    va_list list;
    int used;

    if (place->file != NULL) {
        used = snprintf(place->why, place->why_bytes, "%s:%u: ", place->file, place->line);
    } else {
        used = snprintf(place->why, place->why_bytes, "--set: ");
    }
    if (used < 0 || (size_t)used >= place->why_bytes) {
        return;
    }
    va_start(list, format);
    (void)vsnprintf(place->why + used, place->why_bytes - (size_t)used, format, list);
    va_end(list);
}

static void
value_fini(struct config_value *value)
{
    if (value->text != NULL) {
        explicit_bzero(value->text, strlen(value->text)); /* it may be a password */
    }
    free(value->key);
    free(value->name);
    free(value->text);
    *value = (struct config_value){0};
}

/* The slot of an earlier assignment to the same key (the last one wins), else a new one. */
static struct config_value *
value_slot(struct lp_config *config, const char *key)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->values[i].key, key) == 0) {
            value_fini(&config->values[i]);
            return &config->values[i];
        }
    }
    if (config->count == config->room) {
        const size_t room = config->room == 0 ? 16 : config->room * 2;
        void *more = room > CONFIG_VALUES_MAX
                         ? NULL
                         : realloc(config->values, room * sizeof(config->values[0]));
        if (more == NULL) {
            return NULL;
        }
        config->values = more;
        config->room = room;
    }
    config->values[config->count] = (struct config_value){0};
    return &config->values[config->count++];
}

static void
unknown_complain(const struct config_place *place, const char *key)
{
    char room[CONFIG_KEY_MAX_BYTES];
    const char *near = lp_config_key_nearest(key, room, sizeof(room));

    if (near != NULL) {
        complain(place, "unknown key \"%s\"; did you mean \"%s\"? 'lepus config' lists all keys",
                 key, near);
    } else {
        complain(place, "unknown key \"%s\"; 'lepus config' lists all keys", key);
    }
}

static bool
value_allowed(const struct config_key *row, const char *key, const char *text,
              const struct config_place *place, int64_t *ret_integer)
{
    char wanted[256];

    if (row->status == CONFIG_REFUSED && !config_choice_has(row->choices, text)) {
        complain(place,
                 "\"%s\" is RabbitMQ's, and is not implemented in this version (%s); remove it "
                 "to start without",
                 key, row->help);
        return false;
    }
    if (row->status != CONFIG_REFUSED &&
        !config_value_parse(row, text, ret_integer, wanted, sizeof(wanted))) {
        complain(place, "\"%s\" cannot be \"%s\": %s", key, text, wanted);
        return false;
    }
    return true;
}

static enum lp_err
assign(struct lp_config *config, const char *key, const char *text,
       const struct config_place *place)
{
    struct config_words words = {0};
    const char *name = "";
    int64_t integer = 0;

    if (!config_words_cut(&words, key)) {
        complain(place, "\"%s\" is not a key; a key is words joined by dots", key);
        return LP_ERR_BAD_CONFIG;
    }
    const struct config_key *row = config_key_match(&words, &name);
    if (row == NULL) {
        unknown_complain(place, key);
        return LP_ERR_BAD_CONFIG;
    }
    if (!value_allowed(row, key, text, place, &integer)) {
        return LP_ERR_BAD_CONFIG;
    }
    struct config_value own = {row, strdup(key), strdup(name), strdup(text), integer};
    const bool whole = own.key != NULL && own.name != NULL && own.text != NULL;
    struct config_value *value = whole ? value_slot(config, key) : NULL;
    if (value == NULL) {
        value_fini(&own);
        complain(place, "out of memory");
        return LP_ERR_NO_MEMORY;
    }
    *value = own;
    return LP_OK;
}

static char *
trim(char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(" \t\r\n", text[bytes - 1]) != NULL) {
        bytes--;
    }
    text[bytes] = '\0';
    return text;
}

/* 'a # b' is taken as it stands; else a # begins a comment.  NULL: the quote does not end. */
static char *
value_cut(char *text)
{
    text = trim(text);
    if (*text == '\'') {
        char *end = strrchr(text + 1, '\'');
        if (end == NULL) {
            return NULL;
        }
        const char *rest = end + 1 + strspn(end + 1, " \t");
        if (*rest != '\0' && *rest != '#') {
            return NULL;
        }
        *end = '\0';
        return text + 1;
    }
    text[strcspn(text, "#")] = '\0';
    return trim(text);
}

static enum lp_err
line_parse(struct lp_config *config, char *line, const struct config_place *place)
{
    char *text = trim(line);
    if (*text == '\0' || *text == '#') {
        return LP_OK;
    }
    char *equals = strchr(text, '=');
    if (equals == NULL) {
        complain(place, "\"%s\" is not an assignment; lines are written: key = value", text);
        return LP_ERR_BAD_CONFIG;
    }
    *equals = '\0';
    char *value = value_cut(equals + 1);
    if (value == NULL) {
        complain(place, "the value of \"%s\" begins with a quote that does not end", trim(text));
        return LP_ERR_BAD_CONFIG;
    }
    return assign(config, trim(text), value, place);
}

static enum lp_err
file_parse(struct lp_config *config, FILE *file, struct config_place *place)
{
    char line[CONFIG_LINE_MAX_BYTES];

    while (fgets(line, sizeof(line), file) != NULL) {
        place->line++;
        const size_t bytes = strlen(line);
        if (bytes == sizeof(line) - 1 && line[bytes - 1] != '\n') {
            complain(place, "the line is longer than %d bytes", CONFIG_LINE_MAX_BYTES - 2);
            return LP_ERR_BAD_CONFIG;
        }
        const enum lp_err err = line_parse(config, line, place);
        explicit_bzero(line, sizeof(line));
        if (err != LP_OK) {
            return err;
        }
    }
    if (ferror(file)) {
        complain(place, "cannot be read: %s", strerrordesc_np(errno));
        return LP_ERR_IO;
    }
    return LP_OK;
}

static enum lp_err
path_parse(struct lp_config *config, const char *path, char *ret_why, size_t why_bytes)
{
    struct config_place place = {path, 0, ret_why, why_bytes};
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        const bool missing = errno == ENOENT;
        (void)snprintf(ret_why, why_bytes, "%s: cannot be opened: %s", path,
                       strerrordesc_np(errno));
        return missing ? LP_ERR_NOT_FOUND : LP_ERR_IO;
    }
    char buffer[BUFSIZ];
    (void)setvbuf(file, buffer, _IOFBF, sizeof(buffer)); /* ours to wipe; else it has its own */
    const enum lp_err err = file_parse(config, file, &place);
    (void)fclose(file); /* only read from */
    explicit_bzero(buffer, sizeof(buffer));
    return err;
}

enum lp_err
lp_config_open(const char *path, struct lp_config **ret_config, char *ret_why, size_t why_bytes)
{
    struct lp_config *config = calloc(1, sizeof(*config));
    if (config == NULL) {
        (void)snprintf(ret_why, why_bytes, "out of memory");
        return LP_ERR_NO_MEMORY;
    }
    if (path != NULL) {
        const enum lp_err err = path_parse(config, path, ret_why, why_bytes);
        if (err != LP_OK) {
            lp_config_close(&config);
            return err;
        }
    }
    *ret_config = config;
    return LP_OK;
}

void
lp_config_close(struct lp_config **config)
{
    struct lp_config *own = *config;
    if (own == NULL) {
        return;
    }
    for (size_t i = 0; i < own->count; i++) {
        value_fini(&own->values[i]);
    }
    free(own->values);
    free(own);
    *config = NULL;
}

enum lp_err
lp_config_set(struct lp_config *config, const char *assignment, char *ret_why, size_t why_bytes)
{
    const struct config_place place = {NULL, 0, ret_why, why_bytes};
    char *copy = strdup(assignment);
    if (copy == NULL) {
        complain(&place, "out of memory");
        return LP_ERR_NO_MEMORY;
    }
    char *equals = strchr(copy, '=');
    enum lp_err err = LP_ERR_BAD_CONFIG;
    if (equals == NULL) {
        complain(&place, "\"%s\" is not an assignment; write --set KEY=VALUE", assignment);
    } else {
        /* The shell has dealt with quotes and comments: what follows is the value. */
        *equals = '\0';
        err = assign(config, trim(copy), trim(equals + 1), &place);
    }
    explicit_bzero(copy, strlen(assignment));
    free(copy);
    return err;
}

static const struct config_key *
row_find(const char *pattern)
{
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].pattern, pattern) == 0) {
            return &config_keys[i];
        }
    }
    return NULL;
}

/* Keys that the program itself asks for are in the table. */
static const struct config_key *
row_of(const char *pattern)
{
    const struct config_key *row = row_find(pattern);
    if (row == NULL) {
        lp_panic(pattern, __FILE__, __LINE__);
    }
    return row;
}

static const struct config_value *
value_of(const struct lp_config *config, const char *key)
{
    (void)row_of(key); /* a key that is not in the table is our mistake */
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->values[i].key, key) == 0) {
            return &config->values[i];
        }
    }
    return NULL;
}

const char *
lp_config_text(const struct lp_config *config, const char *key)
{
    const struct config_value *value = value_of(config, key);
    return value != NULL ? value->text : row_of(key)->default_value;
}

int64_t
lp_config_integer(const struct lp_config *config, const char *key)
{
    const struct config_value *value = value_of(config, key);
    int64_t integer = 0;
    char why[128];

    if (value != NULL) {
        return value->integer;
    }
    const struct config_key *row = row_of(key);
    const bool good = config_value_parse(row, row->default_value, &integer, why, sizeof(why));
    LP_ASSERT(good);
    return integer;
}

bool
lp_config_bool(const struct lp_config *config, const char *key)
{
    return lp_config_integer(config, key) != 0;
}

bool
lp_config_given(const struct lp_config *config, const char *key)
{
    return value_of(config, key) != NULL;
}

/* "listeners.tcp = none" stands for the whole of "listeners.tcp.$name". */
static bool
none_above(const struct lp_config *config, const char *pattern)
{
    char above[CONFIG_KEY_MAX_BYTES];
    const char *dollar = strstr(pattern, ".$");
    LP_ASSERT(dollar != NULL);

    (void)snprintf(above, sizeof(above), "%.*s", (int)(dollar - pattern), pattern);
    return row_find(above) != NULL && strcmp(lp_config_text(config, above), "none") == 0;
}

void
lp_config_each(const struct lp_config *config, const char *pattern, lp_config_each_fn *fn,
               void *context)
{
    const struct config_key *row = row_of(pattern);
    bool any = false;

    if (none_above(config, pattern)) {
        return;
    }
    for (size_t i = 0; i < config->count; i++) {
        if (config->values[i].row == row) {
            fn(context, config->values[i].name, config->values[i].text);
            any = true;
        }
    }
    if (!any && row->default_name != NULL) {
        fn(context, row->default_name, row->default_value);
    }
}

static bool
is_below(const struct config_value *value, const char *prefix)
{
    return strncmp(value->row->pattern, prefix, strlen(prefix)) == 0;
}

void
lp_config_names(const struct lp_config *config, const char *prefix, lp_config_each_fn *fn,
                void *context)
{
    for (size_t i = 0; i < config->count; i++) {
        bool seen = !is_below(&config->values[i], prefix);
        for (size_t j = 0; j < i && !seen; j++) {
            seen = is_below(&config->values[j], prefix) &&
                   strcmp(config->values[j].name, config->values[i].name) == 0;
        }
        if (!seen) {
            fn(context, config->values[i].name, NULL);
        }
    }
}

static const struct config_value *
value_named(const struct lp_config *config, const struct config_key *row, const char *name)
{
    for (size_t i = 0; i < config->count; i++) {
        if (config->values[i].row == row && strcmp(config->values[i].name, name) == 0) {
            return &config->values[i];
        }
    }
    return NULL;
}

const char *
lp_config_text_named(const struct lp_config *config, const char *pattern, const char *name)
{
    const struct config_key *row = row_of(pattern);
    const struct config_value *value = value_named(config, row, name);
    return value != NULL ? value->text : row->default_value;
}

bool
lp_config_integer_named(const struct lp_config *config, const char *pattern, const char *name,
                        int64_t *ret_integer)
{
    const struct config_value *value = value_named(config, row_of(pattern), name);
    if (value != NULL) {
        *ret_integer = value->integer;
    }
    return value != NULL;
}

void
lp_config_ignored_each(const struct lp_config *config, lp_config_each_fn *fn, void *context)
{
    for (size_t i = 0; i < config->count; i++) {
        if (config->values[i].row->status == CONFIG_IGNORED) {
            fn(context, config->values[i].key, config->values[i].row->help);
        }
    }
}
