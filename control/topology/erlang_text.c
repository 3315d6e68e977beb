/* SPDX-License-Identifier: Apache-2.0 */
/*
 * erlang_text.c - JSON values as Erlang's ~tp prints them, for RabbitMQ's
 * texts about values that it does not like.  On one line: Erlang breaks longer
 * ones at 80 columns.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/topology/policy.h"

/* Values nested deeper are printed as "...". */
#define DEPTH_MAX 16u

/* What is still to be printed: a value, and what closes it when it is a list or an object. */
struct level {
    const json_t *value;
    size_t index;   /* of an array's next item */
    void *iterator; /* of an object's next pair */
};

void
erlang_text_format(struct lp_bytebuf *out, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    LP_ASSERT(length >= 0);
    lp_bytebuf_append(out, text, LP_MIN((size_t)length, sizeof(text) - 1));
}

static void
text_put(struct lp_bytebuf *out, const char *text)
{
    lp_bytebuf_append(out, text, strlen(text));
}

/* Can it be written between quotes? */
static bool
printable(const char *text, size_t bytes, bool *ret_ascii)
{
    *ret_ascii = true;
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c == 127 || (c < 32 && !strchr("\b\t\n\v\f\r\033", c)) || c == 0) {
            return false;
        }
        *ret_ascii = *ret_ascii && c < 128;
    }
    return bytes > 0;
}

static void
quoted_put(struct lp_bytebuf *out, const char *text, size_t bytes)
{
    static const char special[] = "\b\t\n\v\f\r\033\"\\";
    static const char letter[] = "btnvfre\"\\";
    text_put(out, "\"");
    for (size_t i = 0; i < bytes; i++) {
        const char *found = strchr(special, text[i]);
        if (found) {
            const char pair[2] = {'\\', letter[found - special]};
            lp_bytebuf_append(out, pair, 2);
        } else {
            lp_bytebuf_append(out, &text[i], 1);
        }
    }
    text_put(out, "\"");
}

static void
binary_put(struct lp_bytebuf *out, const char *text, size_t bytes)
{
    bool ascii;
    text_put(out, "<<");
    if (printable(text, bytes, &ascii)) {
        quoted_put(out, text, bytes);
        text_put(out, ascii ? "" : "/utf8");
    } else {
        for (size_t i = 0; i < bytes; i++) {
            erlang_text_format(out, "%s%u", i ? "," : "", (unsigned)(unsigned char)text[i]);
        }
    }
    text_put(out, ">>");
}

/* The shortest digits that read back as the same number. */
static void
real_put(struct lp_bytebuf *out, double value)
{
    char text[64];
    for (int digits = 1; digits <= 17; digits++) {
        (void)snprintf(text, sizeof(text), "%.*g", digits, value); /* fits */
        const double back = strtod(text, NULL);
        if (!(back < value) && !(back > value)) {
            break;
        }
    }
    text_put(out, text);
    text_put(out, strpbrk(text, ".e") ? "" : ".0");
}

static void
scalar_put(struct lp_bytebuf *out, const json_t *value)
{
    if (json_is_string(value)) {
        binary_put(out, json_string_value(value), json_string_length(value));
    } else if (json_is_integer(value)) {
        erlang_text_format(out, "%" PRId64, (int64_t)json_integer_value(value));
    } else if (json_is_real(value)) {
        real_put(out, json_real_value(value));
    } else {
        text_put(out, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
    }
}

/* A list of characters is a string to Erlang. */
static bool
string_put(struct lp_bytebuf *out, const json_t *list)
{
    char text[256];
    const size_t count = json_array_size(list);
    bool ascii;
    if (count == 0 || count > sizeof(text)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        const json_int_t c = json_integer_value(item);
        if (!json_is_integer(item) || c < 1 || c > 126) {
            return false;
        }
        text[i] = (char)c;
    }
    if (!printable(text, count, &ascii)) {
        return false;
    }
    quoted_put(out, text, count);
    return true;
}

static struct level
level_open(struct lp_bytebuf *out, const json_t *value)
{
    text_put(out, json_is_object(value) ? "#{" : "[");
    return (struct level){value, 0, json_object_iter((json_t *)(uintptr_t)value)};
}

/* The level's next item, or NULL; what comes before it is printed. */
static const json_t *
level_next(struct lp_bytebuf *out, struct level *level)
{
    const size_t at = level->index++;
    if (json_is_array(level->value)) {
        const json_t *item = json_array_get(level->value, at);
        text_put(out, item && at > 0 ? "," : "");
        return item;
    }
    if (!level->iterator) {
        return NULL;
    }
    const char *key = json_object_iter_key(level->iterator);
    const json_t *item = json_object_iter_value(level->iterator);
    text_put(out, at > 0 ? "," : "");
    binary_put(out, key, strlen(key));
    text_put(out, " => ");
    level->iterator = json_object_iter_next((json_t *)(uintptr_t)level->value, level->iterator);
    return item;
}

void
erlang_text_json(struct lp_bytebuf *out, const json_t *value)
{
    struct level levels[DEPTH_MAX];
    size_t depth = 0;
    const json_t *item = value;
    while (item) {
        if (json_is_array(item) && string_put(out, item)) {
            /* done with it */
        } else if (!json_is_array(item) && !json_is_object(item)) {
            scalar_put(out, item);
        } else if (depth == DEPTH_MAX) {
            text_put(out, "...");
        } else {
            levels[depth++] = level_open(out, item);
        }
        for (item = NULL; depth > 0 && !item;) {
            item = level_next(out, &levels[depth - 1]);
            if (!item) {
                depth--;
                text_put(out, json_is_object(levels[depth].value) ? "}" : "]");
            }
        }
    }
}

static int
key_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

void
erlang_text_pairs(struct lp_bytebuf *out, const json_t *object,
                  bool (*skip)(const void *context, const char *key), const void *context)
{
    const size_t count = json_object_size(object);
    const char **keys = lp_heap_alloc((count + 1) * sizeof(*keys));
    size_t kept = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        if (!skip || !skip(context, key)) {
            keys[kept++] = key;
        }
    }
    qsort(keys, kept, sizeof(*keys), key_compare);
    text_put(out, "[");
    for (size_t i = 0; i < kept; i++) {
        text_put(out, i > 0 ? ",{" : "{");
        binary_put(out, keys[i], strlen(keys[i]));
        text_put(out, ",");
        erlang_text_json(out, json_object_get(object, keys[i]));
        text_put(out, "}");
    }
    text_put(out, "]");
    free(keys);
}
