/* SPDX-License-Identifier: Apache-2.0 */
/* term.c - values in the cells of tables, written as Erlang writes them: what scripts know. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#define NESTING_MAX 16

/* Columns whose values are not what their JSON looks like. */
static bool
is_tuple_column(const char *column)
{
    return strcmp(column, "protocol") == 0; /* {0,9,1} */
}

static bool
has_atom_keys(const char *column)
{
    return strcmp(column, "cluster_state") == 0; /* [{lepus@host, running}] */
}

static void
quoted_print(FILE *out, const char *string)
{
    (void)fputc('"', out);
    for (; *string != '\0'; string++) {
        if (*string == '"' || *string == '\\') {
            (void)fputc('\\', out);
        }
        (void)fputc(*string, out);
    }
    (void)fputc('"', out);
}

/* ["x-expires","signedint",1000]: a field of an argument table with its type. */
static bool
is_field(const json_t *value)
{
    return json_is_array(value) && json_array_size(value) == 3 &&
           json_is_string(json_array_get(value, 0)) && json_is_string(json_array_get(value, 1));
}

static void table_value_print(FILE *out, const json_t *value, unsigned depth);

/* Within an argument table everything is compact: [{"a",1},{"b",[1,"x"]}]. */
static void
table_array_print(FILE *out, const json_t *value, unsigned depth)
{
    size_t index;
    const json_t *item;

    (void)fputc('[', out);
    json_array_foreach(value, index, item)
    {
        (void)fputs(index > 0 ? "," : "", out);
        if (is_field(item)) {
            (void)fputc('{', out);
            quoted_print(out, json_string_value(json_array_get(item, 0)));
            (void)fputc(',', out);
            table_value_print(out, json_array_get(item, 2), depth);
            (void)fputc('}', out);
        } else {
            table_value_print(out, item, depth);
        }
    }
    (void)fputc(']', out);
}

static void
number_print(FILE *out, const json_t *value)
{
    char text[40];
    if (json_is_integer(value)) {
        (void)fprintf(out, "%lld", (long long)json_integer_value(value));
        return;
    }
    (void)snprintf(text, sizeof(text), "%.15g", json_real_value(value));
    /* Erlang's floats have a point. */
    (void)fprintf(out, "%s%s", text, strpbrk(text, ".e") != NULL ? "" : ".0");
}

static void
table_value_print(FILE *out, const json_t *value, unsigned depth)
{
    if (depth >= NESTING_MAX) {
        (void)fputs("...", out);
    } else if (json_is_array(value)) {
        table_array_print(out, value, depth + 1);
    } else if (json_is_string(value)) {
        quoted_print(out, json_string_value(value));
    } else if (json_is_number(value)) {
        number_print(out, value);
    } else if (json_is_boolean(value)) {
        (void)fputs(json_is_true(value) ? "true" : "false", out);
    } else {
        (void)fputs("undefined", out);
    }
}

static void item_print(FILE *out, const char *column, const json_t *value, unsigned depth);

/* An atom is quoted unless it begins small and holds nothing odd. */
static void
key_print(FILE *out, const char *column, const char *key)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@";
    if (!has_atom_keys(column)) {
        (void)fputs("<<", out);
        quoted_print(out, key);
        (void)fputs(">>", out);
    } else if (*key >= 'a' && *key <= 'z' && key[strspn(key, plain)] == '\0') {
        (void)fputs(key, out);
    } else {
        (void)fprintf(out, "'%s'", key);
    }
}

static void
object_print(FILE *out, const char *column, const json_t *value, unsigned depth)
{
    /* The library iterates over objects that it may write to; this one is only read. */
    void *at = json_object_iter((json_t *)(uintptr_t)value);
    bool first = true;

    (void)fputc('[', out);
    while (at != NULL) {
        (void)fputs(first ? "{" : ", {", out);
        key_print(out, column, json_object_iter_key(at));
        (void)fputs(", ", out);
        item_print(out, column, json_object_iter_value(at), depth);
        (void)fputc('}', out);
        first = false;
        at = json_object_iter_next((json_t *)(uintptr_t)value, at);
    }
    (void)fputc(']', out);
}

static void
list_print(FILE *out, const char *column, const json_t *value, unsigned depth)
{
    const bool tuple = is_tuple_column(column);
    size_t index;
    const json_t *item;

    (void)fputc(tuple ? '{' : '[', out);
    json_array_foreach(value, index, item)
    {
        (void)fputs(index == 0 ? "" : tuple ? "," : ", ", out);
        item_print(out, column, item, depth);
    }
    (void)fputc(tuple ? '}' : ']', out);
}

/* Bounded in depth. */
static void
item_print(FILE *out, const char *column, const json_t *value, unsigned depth)
{
    if (depth >= NESTING_MAX) {
        (void)fputs("...", out);
    } else if (json_is_string(value)) {
        (void)fputs(json_string_value(value), out);
    } else if (json_is_array(value) && is_field(json_array_get(value, 0))) {
        table_array_print(out, value, depth + 1);
    } else if (json_is_array(value)) {
        list_print(out, column, value, depth + 1);
    } else if (json_is_object(value)) {
        object_print(out, column, value, depth + 1);
    } else if (json_is_number(value)) {
        number_print(out, value);
    } else if (json_is_boolean(value)) {
        (void)fputs(json_is_true(value) ? "true" : "false", out);
    }
}

char *
cli_cell_text(const char *column, const json_t *value)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);

    LP_ASSERT(stream != NULL);
    item_print(stream, column, value, 0);
    const int failed = fclose(stream);
    LP_ASSERT(failed == 0);
    LP_ASSERT(text != NULL);
    return text;
}
