/* SPDX-License-Identifier: Apache-2.0 */
/* definitions_table.c - argument tables out of JSON. */
#include <string.h>

#include "control/admin/definitions.h"

#define TABLE_NESTING_MAX 8u

static void
u32_append(struct lp_bytebuf *out, uint32_t value)
{
    uint8_t room[4];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u32be(&w, value);
    lp_bytebuf_append(out, room, sizeof(room));
}

static void
u64_append(struct lp_bytebuf *out, char type, uint64_t value)
{
    uint8_t room[9];
    struct lp_writer w = lp_writer_of(room, sizeof(room));
    lp_writer_u8(&w, (uint8_t)type);
    lp_writer_u64be(&w, value);
    lp_bytebuf_append(out, room, sizeof(room));
}

/* What follows is so long; its size is known at the end. */
static size_t
size_begin(struct lp_bytebuf *out)
{
    u32_append(out, 0);
    return out->size;
}

static void
size_end(struct lp_bytebuf *out, size_t begin)
{
    struct lp_writer w = lp_writer_of(out->data + begin - 4, 4);
    lp_writer_u32be(&w, (uint32_t)(out->size - begin));
}

static bool fields_append(struct lp_bytebuf *out, const json_t *object, unsigned depth);

static bool value_append(struct lp_bytebuf *out, const json_t *value, unsigned depth);

static bool
array_append(struct lp_bytebuf *out, const json_t *array, unsigned depth)
{
    size_t i;
    const json_t *entry;
    lp_bytebuf_append(out, "A", 1);
    const size_t begin = size_begin(out);
    json_array_foreach(array, i, entry)
    {
        if (!value_append(out, entry, depth)) {
            return false;
        }
    }
    size_end(out, begin);
    return true;
}

static bool
object_append(struct lp_bytebuf *out, const json_t *object, unsigned depth)
{
    lp_bytebuf_append(out, "F", 1);
    const size_t begin = size_begin(out);
    const bool good = fields_append(out, object, depth);
    size_end(out, begin);
    return good;
}

static bool
value_append(struct lp_bytebuf *out, const json_t *value, unsigned depth)
{
    const double real = json_real_value(value);
    uint64_t bits;
    switch (json_typeof(value)) {
    case JSON_TRUE:
    case JSON_FALSE:
        lp_bytebuf_append(out, json_is_true(value) ? "t\1" : "t\0", 2);
        return true;
    case JSON_INTEGER:
        u64_append(out, 'l', (uint64_t)json_integer_value(value));
        return true;
    case JSON_REAL:
        memcpy(&bits, &real, sizeof(bits));
        u64_append(out, 'd', bits);
        return true;
    case JSON_STRING:
        lp_bytebuf_append(out, "S", 1);
        u32_append(out, (uint32_t)json_string_length(value));
        lp_bytebuf_append(out, json_string_value(value), json_string_length(value));
        return true;
    case JSON_NULL:
        lp_bytebuf_append(out, "V", 1);
        return true;
    case JSON_ARRAY:
        return depth < TABLE_NESTING_MAX && array_append(out, value, depth + 1);
    case JSON_OBJECT:
        return depth < TABLE_NESTING_MAX && object_append(out, value, depth + 1);
    }
    return false;
}

/* jansson's own loop drops const. */
static bool
fields_append(struct lp_bytebuf *out, const json_t *object, unsigned depth)
{
    json_t *fields = json_copy((json_t *)(uintptr_t)object); /* copying changes nothing in it */
    bool good = true;
    for (void *at = json_object_iter(fields); at && good; at = json_object_iter_next(fields, at)) {
        const char *name = json_object_iter_key(at);
        const size_t bytes = strlen(name);
        const uint8_t size = (uint8_t)bytes;
        good = bytes <= UINT8_MAX;
        if (good) {
            lp_bytebuf_append(out, &size, 1);
            lp_bytebuf_append(out, name, bytes);
            good = value_append(out, json_object_iter_value(at), depth);
        }
    }
    json_decref(fields);
    return good;
}

bool
admin_table_make(const json_t *object, struct lp_bytebuf *ret_table)
{
    if (!object || (json_is_array(object) && json_array_size(object) == 0)) {
        return true;
    }
    return json_is_object(object) && fields_append(ret_table, object, 0) &&
           ret_table->size <= LP_CATALOG_ARGUMENTS_MAX_BYTES;
}
