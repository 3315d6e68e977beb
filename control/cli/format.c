/* SPDX-License-Identifier: Apache-2.0 */
/* A listing as rabbitmqctl prints it: tab-separated, JSON, CSV, or a drawn table. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#define NESTING_MAX 16

/* Text that grows; a cell's width has to be known before the first one is drawn. */
struct text {
    char *data;
    size_t bytes;
    FILE *stream;
};

static void
text_init(struct text *text)
{
    *text = (struct text){0};
    text->stream = open_memstream(&text->data, &text->bytes);
    LP_ASSERT(text->stream != NULL);
}

/* The caller frees `data`. */
static void
text_end(struct text *text)
{
    const int failed = fclose(text->stream);
    LP_ASSERT(failed == 0);
    LP_ASSERT(text->data != NULL);
}

static char *
text_copy(const char *string)
{
    char *copy = strdup(string);
    LP_ASSERT(copy != NULL);
    return copy;
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

static void term_print(FILE *out, const json_t *value, unsigned depth);

static void
pair_print(FILE *out, const char *key, const json_t *value, unsigned depth)
{
    (void)fputc('{', out);
    quoted_print(out, key);
    (void)fputc(',', out);
    term_print(out, value, depth);
    (void)fputc('}', out);
}

static void
array_print(FILE *out, const json_t *value, unsigned depth)
{
    size_t index;
    const json_t *item;

    (void)fputc('[', out);
    json_array_foreach(value, index, item)
    {
        (void)fputs(index > 0 ? "," : "", out);
        if (is_field(item)) {
            pair_print(out, json_string_value(json_array_get(item, 0)), json_array_get(item, 2),
                       depth);
        } else {
            term_print(out, item, depth);
        }
    }
    (void)fputc(']', out);
}

static void
object_print(FILE *out, const json_t *value, unsigned depth)
{
    /* The library iterates over objects that it may write to; this one is only read. */
    void *at = json_object_iter((json_t *)(uintptr_t)value);
    bool first = true;

    (void)fputc('[', out);
    while (at != NULL) {
        (void)fputs(first ? "" : ",", out);
        pair_print(out, json_object_iter_key(at), json_object_iter_value(at), depth);
        first = false;
        at = json_object_iter_next((json_t *)(uintptr_t)value, at);
    }
    (void)fputc(']', out);
}

/* As Erlang writes terms, which is what scripts around rabbitmqctl know; bounded in depth. */
static void
term_print(FILE *out, const json_t *value, unsigned depth)
{
    if (depth >= NESTING_MAX) {
        (void)fputs("...", out);
        return;
    }
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        object_print(out, value, depth + 1);
        return;
    case JSON_ARRAY:
        array_print(out, value, depth + 1);
        return;
    case JSON_STRING:
        quoted_print(out, json_string_value(value));
        return;
    case JSON_INTEGER:
        (void)fprintf(out, "%lld", (long long)json_integer_value(value));
        return;
    case JSON_REAL:
        (void)fprintf(out, "%g", json_real_value(value));
        return;
    case JSON_TRUE:
        (void)fputs("true", out);
        return;
    case JSON_FALSE:
        (void)fputs("false", out);
        return;
    case JSON_NULL:
        return;
    }
}

/* Tags are atoms in RabbitMQ, and are shown without quotes. */
static void
tags_print(FILE *out, const json_t *value)
{
    size_t index;
    const json_t *item;

    (void)fputc('[', out);
    json_array_foreach(value, index, item)
    {
        const char *tag = json_string_value(item);
        (void)fprintf(out, "%s%s", index > 0 ? ", " : "", tag != NULL ? tag : "");
    }
    (void)fputc(']', out);
}

static char *
cell_text(const char *column, const json_t *value)
{
    struct text text;

    text_init(&text);
    if (value == NULL || json_is_null(value)) {
        (void)fputs("", text.stream);
    } else if (json_is_string(value)) {
        (void)fputs(json_string_value(value), text.stream);
    } else if (json_is_array(value) && strcmp(column, "tags") == 0) {
        tags_print(text.stream, value);
    } else {
        term_print(text.stream, value, 0);
    }
    text_end(&text);
    return text.data;
}

static const char *
column_name(const json_t *columns, size_t index)
{
    const char *name = json_string_value(json_array_get(columns, index));
    return name != NULL ? name : "";
}

static void
table_print(FILE *out, const json_t *columns, const json_t *rows, bool headers)
{
    const size_t width = json_array_size(columns);
    size_t index;
    const json_t *row;

    for (size_t i = 0; headers && json_array_size(rows) > 0 && i < width; i++) {
        (void)fprintf(out, "%s%s", column_name(columns, i), i + 1 < width ? "\t" : "\n");
    }
    json_array_foreach(rows, index, row)
    {
        for (size_t i = 0; i < width; i++) {
            char *cell = cell_text(column_name(columns, i), json_array_get(row, i));
            (void)fprintf(out, "%s%s", cell, i + 1 < width ? "\t" : "\n");
            free(cell);
        }
    }
}

static void
json_value_print(FILE *out, const json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    (void)fputs(text != NULL ? text : "null", out);
    free(text);
}

static void
json_listing_print(FILE *out, const json_t *columns, const json_t *rows)
{
    const size_t width = json_array_size(columns);
    size_t index;
    const json_t *row;

    (void)fputs("[\n", out);
    json_array_foreach(rows, index, row)
    {
        (void)fputs(index > 0 ? ",{" : "{", out);
        for (size_t i = 0; i < width; i++) {
            (void)fputs(i > 0 ? "," : "", out);
            json_value_print(out, json_array_get(columns, i));
            (void)fputc(':', out);
            json_value_print(out, json_array_get(row, i));
        }
        (void)fputs("}\n", out);
    }
    (void)fputs("]\n", out);
}

static void
csv_cell_print(FILE *out, const char *cell, bool last)
{
    (void)fputc('"', out);
    for (; *cell != '\0'; cell++) {
        (void)fputs(*cell == '"' ? "\"" : "", out);
        (void)fputc(*cell, out);
    }
    (void)fputs(last ? "\"\n" : "\",", out);
}

static void
csv_print(FILE *out, const json_t *columns, const json_t *rows, bool headers)
{
    const size_t width = json_array_size(columns);
    size_t index;
    const json_t *row;

    for (size_t i = 0; headers && i < width; i++) {
        csv_cell_print(out, column_name(columns, i), i + 1 == width);
    }
    json_array_foreach(rows, index, row)
    {
        for (size_t i = 0; i < width; i++) {
            char *cell = cell_text(column_name(columns, i), json_array_get(row, i));
            csv_cell_print(out, cell, i + 1 == width);
            free(cell);
        }
    }
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static size_t
display_width(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0u) != 0x80u;
    }
    return width;
}

static void
rule_print(FILE *out, const size_t *widths, size_t count, const char *const corner[3])
{
    for (size_t i = 0; i < count; i++) {
        (void)fputs(i == 0 ? corner[0] : corner[1], out);
        for (size_t k = 0; k < widths[i] + 2; k++) {
            (void)fputs("─", out);
        }
    }
    (void)fprintf(out, "%s\n", corner[2]);
}

static void
pretty_row_print(FILE *out, char *const *cells, const size_t *widths, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *cell = cells[i] != NULL ? cells[i] : "";
        const int pad = (int)(widths[i] - display_width(cell));
        (void)fprintf(out, "│ %s%*s ", cell, pad, "");
    }
    (void)fputs("│\n", out);
}

/* Every cell as text, the header's first, and the width of each column.  The caller frees them. */
static char **
pretty_cells(const json_t *columns, const json_t *rows, size_t *ret_widths)
{
    const size_t width = json_array_size(columns);
    const size_t height = json_array_size(rows) + 1;
    char **cells = calloc(width * height + 1, sizeof(*cells));

    LP_ASSERT(cells != NULL);
    for (size_t i = 0; i < width * height; i++) {
        const char *name = column_name(columns, i % width);
        const json_t *row = i < width ? NULL : json_array_get(rows, i / width - 1);
        cells[i] = i < width ? text_copy(name) : cell_text(name, json_array_get(row, i % width));
        ret_widths[i % width] = LP_MAX(ret_widths[i % width], display_width(cells[i]));
    }
    return cells;
}

static void
pretty_print(FILE *out, const json_t *columns, const json_t *rows, bool headers)
{
    static const char *const top[3] = {"┌", "┬", "┐"};
    static const char *const middle[3] = {"├", "┼", "┤"};
    static const char *const bottom[3] = {"└", "┴", "┘"};
    const size_t width = json_array_size(columns);
    const size_t height = json_array_size(rows) + 1; /* the first is the header */
    const size_t first = headers ? 0 : 1;

    if (height == 1 || width == 0) {
        return;
    }
    size_t *widths = calloc(width, sizeof(*widths));
    LP_ASSERT(widths != NULL);
    char **cells = pretty_cells(columns, rows, widths);
    for (size_t line = first; line < height; line++) {
        rule_print(out, widths, width, line == first ? top : middle);
        pretty_row_print(out, cells + line * width, widths, width);
    }
    rule_print(out, widths, width, bottom);
    for (size_t i = 0; i < width * height; i++) {
        free(cells[i]);
    }
    free(cells);
    free(widths);
}

void
cli_listing_print(FILE *out, const struct cli_request *request, const json_t *columns,
                  const json_t *rows)
{
    const bool headers = !request->silent && !request->no_headers;

    switch (request->formatter) {
    case CLI_FORMATTER_TABLE:
        table_print(out, columns, rows, headers);
        return;
    case CLI_FORMATTER_JSON:
        json_listing_print(out, columns, rows);
        return;
    case CLI_FORMATTER_PRETTY_TABLE:
        pretty_print(out, columns, rows, headers);
        return;
    case CLI_FORMATTER_CSV:
        csv_print(out, columns, rows, headers);
        return;
    case CLI_FORMATTER_COUNT:
        return;
    }
}
