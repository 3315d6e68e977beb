/* SPDX-License-Identifier: Apache-2.0 */
/* A listing as rabbitmqctl prints it: tab-separated, JSON, CSV, or a drawn table. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static char *
text_copy(const char *string)
{
    char *copy = strdup(string);
    LP_ASSERT(copy != NULL);
    return copy;
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
            char *cell = cli_cell_text(column_name(columns, i), json_array_get(row, i));
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

void
cli_json_print(FILE *out, const json_t *value)
{
    json_value_print(out, value);
    (void)fputc('\n', out);
}

static void
json_row_print(FILE *out, const json_t *columns, const json_t *row)
{
    const size_t width = json_array_size(columns);

    (void)fputc('{', out);
    for (size_t i = 0; i < width; i++) {
        (void)fputs(i > 0 ? "," : "", out);
        json_value_print(out, json_array_get(columns, i));
        (void)fputc(':', out);
        json_value_print(out, json_array_get(row, i));
    }
    (void)fputs("}\n", out);
}

static void
json_listing_print(FILE *out, const json_t *columns, const json_t *rows)
{
    size_t index;
    const json_t *row;

    (void)fputs("[\n", out);
    json_array_foreach(rows, index, row)
    {
        (void)fputs(index > 0 ? "," : "", out);
        json_row_print(out, columns, row);
    }
    (void)fputs("]\n", out);
}

/* An object a line, with an empty line after it. */
static void
json_stream_print(FILE *out, const json_t *columns, const json_t *rows)
{
    size_t index;
    const json_t *row;

    json_array_foreach(rows, index, row)
    {
        json_row_print(out, columns, row);
        (void)fputc('\n', out);
    }
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
            char *cell = cli_cell_text(column_name(columns, i), json_array_get(row, i));
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
        cells[i] =
            i < width ? text_copy(name) : cli_cell_text(name, json_array_get(row, i % width));
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

/* rabbitmqctl takes an empty listing that is no stream for a single, empty value. */
static void
nothing_print(FILE *out, const struct cli_request *request)
{
    if (request->formatter == CLI_FORMATTER_JSON ||
        request->formatter == CLI_FORMATTER_JSON_STREAM) {
        (void)fputs("[]\n", out);
    } else {
        (void)fputs("\n", out);
    }
}

static bool
wants_headers(const struct cli_request *request)
{
    if (request->silent) {
        return false;
    }
    return request->headers != 0 ? request->headers > 0
                                 : !(request->command->flags & LP_COMMAND_NO_HEADER);
}

void
cli_listing_print(FILE *out, const struct cli_request *request, const json_t *columns,
                  const json_t *rows)
{
    const bool headers = wants_headers(request);

    if (json_array_size(rows) == 0 && !(request->command->flags & LP_COMMAND_STREAMED)) {
        nothing_print(out, request);
        return;
    }
    switch (request->formatter) {
    case CLI_FORMATTER_TABLE:
        table_print(out, columns, rows, headers);
        return;
    case CLI_FORMATTER_JSON:
        json_listing_print(out, columns, rows);
        return;
    case CLI_FORMATTER_JSON_STREAM:
        json_stream_print(out, columns, rows);
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

void
cli_text_print(FILE *out, const struct cli_request *request, const char *text)
{
    if (request->formatter != CLI_FORMATTER_PRETTY_TABLE) {
        const size_t bytes = strlen(text);
        (void)fprintf(out, "%s%s", text, bytes > 0 && text[bytes - 1] == '\n' ? "" : "\n");
        return;
    }
    json_t *columns = json_pack("[s]", "Output");
    json_t *rows = json_pack("[[s]]", text);
    LP_ASSERT(columns != NULL && rows != NULL);
    pretty_print(out, columns, rows, true);
    json_decref(columns);
    json_decref(rows);
}
