/* SPDX-License-Identifier: Apache-2.0 */
/* listing.c - rows and columns, and field tables as JSON. */
#include <stdlib.h>

#include "control/admin/admin_internal.h"

static bool
column_choose(struct admin_listing *listing, const char *name)
{
    for (size_t i = 0; i < listing->column_count; i++) {
        if (strcmp(listing->columns[i].name, name) == 0) {
            LP_ASSERT(listing->chosen_count < LP_COUNT_OF(listing->chosen));
            listing->chosen[listing->chosen_count++] = i;
            return true;
        }
    }
    return false;
}

bool
admin_listing_init(struct admin_listing *listing, struct admin_task *task,
                   const struct admin_column *columns, const char *const *defaults)
{
    *listing = (struct admin_listing){.columns = columns};
    while (columns[listing->column_count].name) {
        listing->column_count++;
    }
    const size_t count = admin_arg_count(task);
    for (size_t i = 0; i < count; i++) {
        if (!column_choose(listing, admin_arg(task, i))) {
            admin_fail(task, ADMIN_EXIT_USAGE, "Info key(s) %s are not supported",
                       admin_arg(task, i));
            return false;
        }
    }
    for (size_t i = 0; count == 0 && defaults[i]; i++) {
        const bool known = column_choose(listing, defaults[i]);
        LP_ASSERT(known);
    }
    listing->rows = json_array();
    return true;
}

void
admin_listing_add(struct admin_listing *listing, const void *item, struct lp_control *control)
{
    json_t *row = json_array();
    for (size_t i = 0; i < listing->chosen_count; i++) {
        const struct admin_column *column = &listing->columns[listing->chosen[i]];
        json_t *value = column->value ? column->value(item, control) : json_string("");
        const int failed = json_array_append_new(row, value);
        LP_ASSERT(failed == 0);
    }
    const int failed = json_array_append_new(listing->rows, row);
    LP_ASSERT(failed == 0);
}

json_t *
admin_listing_take(struct admin_listing *listing)
{
    json_t *columns = json_array();
    for (size_t i = 0; i < listing->chosen_count; i++) {
        const int failed =
            json_array_append_new(columns, json_string(listing->columns[listing->chosen[i]].name));
        LP_ASSERT(failed == 0);
    }
    json_t *rows = listing->rows;
    listing->rows = NULL;
    return json_pack("{s:b,s:o,s:o}", "ok", 1, "columns", columns, "rows", rows);
}

static double
real_of(const struct lp_field *field)
{
    struct lp_reader r = lp_reader_of_bytes(field->raw);
    if (field->type == 'f') {
        const uint32_t bits = lp_reader_u32be(&r);
        float value;
        memcpy(&value, &bits, sizeof(value));
        return (double)value;
    }
    const uint64_t bits = lp_reader_u64be(&r);
    double value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static json_t *
value_of(const struct lp_field *field)
{
    if (lp_field_is_integer(field->type)) {
        return json_integer(lp_field_integer(field));
    }
    switch (field->type) {
    case 't':
        return json_boolean(field->raw.data[0] != 0);
    case 'S':
    case 'x':
        return admin_text(field->raw);
    case 'f':
    case 'd': {
        json_t *real = json_real(real_of(field)); /* NULL for infinities, which JSON has not */
        return real ? real : json_null();
    }
    case 'V':
        return json_null();
    default:
        return json_string("..."); /* arrays, decimals and deeper tables are not shown */
    }
}

/* Keys that are not UTF-8 are left out. */
static void
member_set(json_t *object, const struct lp_field *field, json_t *value)
{
    char *name = lp_heap_text(field->name);
    if (json_object_set_new(object, name, value) != 0) {
        /* jansson has dropped the value. */
    }
    free(name);
}

static json_t *
inner_table(struct lp_bytes table)
{
    struct lp_reader r = lp_reader_of_bytes(table);
    struct lp_field field;
    json_t *object = json_object();
    while (lp_field_next(&r, &field)) {
        member_set(object, &field, value_of(&field));
    }
    return object;
}

json_t *
admin_table(struct lp_bytes table)
{
    struct lp_reader r = lp_reader_of_bytes(table);
    struct lp_field field;
    json_t *object = json_object();
    while (lp_field_next(&r, &field)) {
        member_set(object, &field, field.type == 'F' ? inner_table(field.raw) : value_of(&field));
    }
    return object;
}
