/* SPDX-License-Identifier: Apache-2.0 */
/* value.c - what the catalog and shards hold, as JSON. */
#include <stdio.h>
#include <stdlib.h>

#include "control/admin/definitions.h"

void
admin_set(json_t *object, const char *name, json_t *value)
{
    const int failed = json_object_set_new(object, name, value);
    LP_ASSERT(failed == 0);
}

void
admin_append(json_t *array, json_t *value)
{
    const int failed = json_array_append_new(array, value);
    LP_ASSERT(failed == 0);
}

json_t *
admin_text(struct lp_bytes bytes)
{
    if (bytes.size == 0) {
        return json_string(""); /* jansson refuses NULL */
    }
    json_t *text = json_stringn((const char *)bytes.data, bytes.size);
    if (text) {
        return text;
    }
    /* Not UTF-8: keep ASCII, and mark the rest. */
    struct lp_bytebuf buf = {0};
    for (uint32_t i = 0; i < bytes.size; i++) {
        const bool plain = bytes.data[i] > 0 && bytes.data[i] < 0x80;
        lp_bytebuf_append(&buf, plain ? (const char *)&bytes.data[i] : "\xEF\xBF\xBD",
                          plain ? 1 : 3);
    }
    text = json_stringn((const char *)buf.data, buf.size);
    lp_bytebuf_fini(&buf);
    return text;
}

json_t *
admin_json_text(json_t *value)
{
    char *dumped = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    LP_ASSERT(dumped != NULL);
    json_t *text = json_string(dumped);
    free(dumped);
    json_decref(value);
    return text;
}

json_t *
admin_words(struct lp_bytes words)
{
    json_t *list = json_array();
    uint32_t start = 0;
    for (uint32_t i = 0; i <= words.size; i++) {
        if (i < words.size && words.data[i] != ',') {
            continue;
        }
        if (i > start) {
            admin_append(list, admin_text(lp_bytes_of(words.data + start, i - start)));
        }
        start = i + 1;
    }
    return list;
}

/* ---- argument tables ---- */

#define TABLE_NESTING_MAX 8u

/* How deep it is already, and whether tables are objects or lists of [name, type, value]. */
struct shape {
    unsigned depth;
    bool objects;
};

static json_t *table_of(struct lp_bytes table, struct shape shape);
static json_t *array_of(struct lp_bytes array, struct shape shape);

static struct shape
deeper(struct shape shape)
{
    shape.depth++;
    return shape;
}

static json_t *
value_of(const struct lp_field *field, struct shape shape)
{
    if (lp_field_is_integer(field->type)) {
        return json_integer(lp_field_integer(field));
    }
    switch (field->type) {
    case 't': {
        struct lp_reader truth = lp_reader_of_bytes(field->raw);
        return json_boolean(lp_reader_u8(&truth) != 0);
    }
    case 'S':
    case 'x':
        return admin_text(field->raw);
    case 'f':
    case 'd': {
        json_t *real = json_real(lp_field_float(field)); /* NULL: infinities, JSON has none */
        return real ? real : json_null();
    }
    case 'F':
        return shape.depth < TABLE_NESTING_MAX ? table_of(field->raw, deeper(shape))
                                               : json_string("...");
    case 'A':
        return shape.depth < TABLE_NESTING_MAX ? array_of(field->raw, deeper(shape))
                                               : json_string("...");
    case 'V':
        return json_null();
    default:
        return json_string("..."); /* decimals, which nobody sends */
    }
}

static json_t *
array_of(struct lp_bytes array, struct shape shape)
{
    struct lp_reader r = lp_reader_of_bytes(array);
    struct lp_field field;
    json_t *list = json_array();
    while (lp_reader_left(&r) > 0 && lp_field_value_read(&r, &field)) {
        admin_append(list, value_of(&field, shape));
    }
    return list;
}

static json_t *
table_of(struct lp_bytes table, struct shape shape)
{
    struct lp_reader r = lp_reader_of_bytes(table);
    struct lp_field field;
    json_t *list = shape.objects ? json_object() : json_array();
    while (lp_field_next(&r, &field)) {
        if (shape.objects) {
            json_t *name = admin_text(field.name);
            admin_set(list, json_string_value(name), value_of(&field, shape));
            json_decref(name);
            continue;
        }
        json_t *entry = json_array();
        admin_append(entry, admin_text(field.name));
        admin_append(entry, json_string(lp_field_type_name(field.type)));
        admin_append(entry, value_of(&field, shape));
        admin_append(list, entry);
    }
    return list;
}

static int
entry_compare(const void *a, const void *b)
{
    const json_t *const *x = a;
    const json_t *const *y = b;
    return strcmp(json_string_value(json_array_get(*x, 0)),
                  json_string_value(json_array_get(*y, 0)));
}

json_t *
admin_table(struct lp_bytes table, bool sorted)
{
    json_t *list = table_of(table, (struct shape){0});
    const size_t count = json_array_size(list);
    if (!sorted || count < 2) {
        return list;
    }
    json_t **entries = lp_heap_alloc(count * sizeof(json_t *));
    for (size_t i = 0; i < count; i++) {
        entries[i] = json_incref(json_array_get(list, i));
    }
    qsort((void *)entries, count, sizeof(json_t *), entry_compare);
    for (size_t i = 0; i < count; i++) {
        const int failed = json_array_set_new(list, i, entries[i]);
        LP_ASSERT(failed == 0);
    }
    free((void *)entries);
    return list;
}

json_t *
admin_table_object(struct lp_bytes table)
{
    return table_of(table, (struct shape){.objects = true});
}

/* ---- names of things ---- */

/* <node.run.number.serial>: the serial holds the shard in its low six bits and the kind above. */
#define PID_SHARD_BITS 6u
#define PID_QUEUE      65536u

json_t *
admin_pid(const struct admin_task *task, enum admin_pid_kind kind, uint64_t number,
          uint16_t channel)
{
    const struct lp_control *control = task->control;
    const uint64_t run = control->started_ns / 1000000000u + 1;
    const uint64_t shard = kind == ADMIN_PID_QUEUE ? 0 : number >> 48;
    const uint64_t counter = number & 0xffffffffffffu;
    const uint64_t above = kind == ADMIN_PID_QUEUE ? PID_QUEUE : channel;
    return json_sprintf("<%s.%llu.%llu.%llu>", task->node, (unsigned long long)run,
                        (unsigned long long)counter,
                        (unsigned long long)(above << PID_SHARD_BITS | shard));
}

bool
admin_pid_read(const char *text, uint64_t *ret_connection)
{
    unsigned long long run;
    unsigned long long counter;
    unsigned long long serial;
    char end;
    const char *dot = text + strlen(text);
    /* The node's name may hold dots: the numbers are after the last three. */
    for (unsigned dots = 0; dots < 3 && dot > text;) {
        dot--;
        dots += *dot == '.';
    }
    if (text[0] != '<' || *dot != '.' ||
        sscanf(dot, ".%llu.%llu.%llu%c", &run, &counter, &serial, &end) != 4 || end != '>' ||
        counter > 0xffffffffffffu) {
        return false;
    }
    *ret_connection = (uint64_t)(serial & ((1u << PID_SHARD_BITS) - 1)) << 48 | counter;
    return true;
}
