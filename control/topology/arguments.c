/* SPDX-License-Identifier: Apache-2.0 */
/* arguments.c - argument tables: well-formed, equal, and as texts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "control/topology/catalog_internal.h"

bool
catalog_table_is_good(struct lp_bytes table)
{
    struct lp_reader reader = lp_reader_of_bytes(table);
    struct lp_field field;
    while (lp_field_next(&reader, &field)) {
    }
    return !reader.failed;
}

static int
field_compare(const void *a, const void *b)
{
    const struct lp_bytes x = ((const struct lp_field *)a)->name;
    const struct lp_bytes y = ((const struct lp_field *)b)->name;
    const size_t common = LP_MIN(x.size, y.size);
    const int order = common > 0 ? memcmp(x.data, y.data, common) : 0;
    return order != 0 ? order : (x.size > y.size) - (x.size < y.size);
}

bool
catalog_table_sort(struct lp_bytes table, struct lp_bytebuf *sorted)
{
    struct lp_reader r = lp_reader_of_bytes(table);
    struct lp_field field;
    struct lp_bytebuf fields = {0};
    while (true) {
        /* The wire form of the whole field: from before its name to after its value. */
        const uint8_t *start = r.at;
        if (!lp_field_next(&r, &field)) {
            break;
        }
        const struct lp_field entry = {.name = field.name,
                                       .raw = lp_bytes_of(start, (uint32_t)(r.at - start))};
        lp_bytebuf_append(&fields, &entry, sizeof(entry));
    }
    const size_t count = fields.size / sizeof(struct lp_field);
    struct lp_field *entries = (struct lp_field *)(void *)fields.data;
    if (count > 1) {
        qsort(entries, count, sizeof(*entries), field_compare);
    }
    for (size_t i = 0; i < count; i++) {
        lp_bytebuf_append(sorted, entries[i].raw.data, entries[i].raw.size);
    }
    lp_bytebuf_fini(&fields);
    return !r.failed;
}

void
catalog_value_text(const struct lp_field *field, char *text, size_t bytes)
{
    if (lp_field_is_integer(field->type)) {
        (void)snprintf(text, bytes, "%" PRId64, lp_field_integer(field)); /* fits */
    } else if (field->type == 't') {
        struct lp_reader truth = lp_reader_of_bytes(field->raw);
        (void)snprintf(text, bytes, "%s", lp_reader_u8(&truth) ? "true" : "false");
    } else if (field->type == 'S' || field->type == 'x') {
        /* A long one is cut, as the fault's text would be. */
        (void)snprintf(text, bytes, "%.*s", (int)field->raw.size, (const char *)field->raw.data);
    } else if (field->type == 'f' || field->type == 'd') {
        const double value = lp_field_float(field);
        const bool whole = value > -1e15 && value < 1e15 && value == (double)(int64_t)value;
        (void)snprintf(text, bytes, whole ? "%.1f" : "%.17g", value); /* fits */
    } else {
        (void)snprintf(text, bytes, "%s", field->type == 'V' ? "undefined" : "[]");
    }
}

static bool
value_equal(const struct lp_field *a, const struct lp_field *b)
{
    const bool a_integer = lp_field_is_integer(a->type);
    const bool a_real = a->type == 'f' || a->type == 'd';
    if (a_integer) {
        return lp_field_is_integer(b->type) && lp_field_integer(a) == lp_field_integer(b);
    }
    if (a_real && (b->type == 'f' || b->type == 'd')) {
        const double x = lp_field_float(a);
        const double y = lp_field_float(b);
        return !(x < y) && !(x > y);
    }
    const bool same_kind = a->type == b->type || ((a->type == 'S' || a->type == 'x') &&
                                                  (b->type == 'S' || b->type == 'x'));
    return same_kind && lp_bytes_equal(a->raw, b->raw);
}

static void
side_text(const struct lp_field *field, bool there, char *text, size_t bytes)
{
    char value[300];
    if (!there) {
        (void)snprintf(text, bytes, "none");
        return;
    }
    catalog_value_text(field, value, sizeof(value));
    (void)snprintf(text, bytes, "the value '%s' of type '%s'", value,
                   lp_field_type_name(field->type)); /* `text` has room for both */
}

bool
catalog_argument_equivalent(struct lp_bytes current, struct lp_bytes received, const char *name,
                            const char *resource, struct lp_fault *ret_fault)
{
    struct lp_field old = {0};
    struct lp_field new = {0};
    char old_text[400];
    char new_text[400];
    const bool was = lp_field_find(current, name, &old);
    const bool is = lp_field_find(received, name, &new);
    if (!was && !is) {
        return true;
    }
    if (was && is) {
        if (value_equal(&old, &new)) {
            return true;
        }
        catalog_value_text(&old, old_text, sizeof(old_text));
        catalog_value_text(&new, new_text, sizeof(new_text));
        return catalog_property_fault(ret_fault, name, resource, new_text, old_text);
    }
    side_text(&old, was, old_text, sizeof(old_text));
    side_text(&new, is, new_text, sizeof(new_text));
    return lp_fault_set(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                        "inequivalent arg '%s' for %s: received %s but current is %s", name,
                        resource, new_text, old_text);
}

bool
catalog_property_fault(struct lp_fault *fault, const char *name, const char *resource,
                       const char *received, const char *current)
{
    return lp_fault_set(fault, LP_FAULT_PRECONDITION_FAILED,
                        "inequivalent arg '%s' for %s: received '%s' but current is '%s'", name,
                        resource, received, current);
}

struct lp_bytes
catalog_name_clean(struct lp_bytes name, uint8_t *buffer)
{
    uint32_t count = 0;
    LP_ASSERT(name.size <= UINT8_MAX);
    for (uint32_t i = 0; i < name.size; i++) {
        if (name.data[i] != '\r' && name.data[i] != '\n') {
            buffer[count++] = name.data[i];
        }
    }
    return lp_bytes_of(buffer, count);
}
