/* SPDX-License-Identifier: Apache-2.0 */
/*
 * headers.c - a binding's arguments are a pattern for the message's headers.
 *
 * The names that any binding of the exchange asks for are in a hash.  A
 * message's headers are read once, and each one that somebody asks for leaves
 * its value at its name; then every binding compares its own fields with what
 * was left.  That costs the headers plus the bindings' fields, whatever a peer
 * sends, and no memory.
 *
 * x-match is one of all (the default), any, all-with-x, any-with-x; it is
 * never compared itself, and other names that begin with "x-" only for the
 * last two.  A void argument asks for presence.  With nothing to compare,
 * `any` never matches and `all` always does.
 *
 * When a table repeats a name its first value counts.  A malformed table (the
 * protocols refuse those) is read up to the fault.
 */
#include <string.h>

#include <lepus/control_records.h>

#include "dataplane/broker/exchange/exchange.h"
#include "dataplane/broker/exchange/headers/value.h"
#include "dataplane/broker/topology.h"

extern const struct lp_exchange_type lp_exchange_type_headers;

/* A name that bindings ask for, and what the message being routed has under it. */
struct headers_name {
    struct lp_hash_node by_name;
    uint64_t message; /* `value` is of this one */
    struct lp_field value;
    uint32_t users; /* fields of patterns */
    uint8_t name_bytes;
    uint8_t name[];
};

struct headers_field {
    struct headers_name *name;
    struct lp_field value; /* borrowed from the binding's arguments */
};

/* A binding's arguments, read. */
struct headers_pattern {
    struct lp_list in_state; /* in the order of binding */
    struct lp_binding *binding;
    bool any; /* else all */
    uint32_t field_count;
    struct headers_field field[];
};

struct headers_state {
    struct lp_hash_key hash_key;
    struct lp_list patterns;
    struct lp_hash names; /* headers_name.by_name; initialised while name_count > 0 */
    uint32_t name_count;
    uint64_t message; /* number of the message being routed */
};

/* ---- names ---- */

static struct headers_name *
headers_name_find(const struct headers_state *headers, struct lp_bytes name, uint64_t hash)
{
    if (headers->name_count == 0) {
        return NULL;
    }
    struct lp_hash_node *node = lp_hash_first(&headers->names, hash);
    for (; node != NULL; node = lp_hash_next(node)) {
        struct headers_name *found = LP_CONTAINER_OF(node, struct headers_name, by_name);
        if (lp_bytes_equal(lp_bytes_of(found->name, found->name_bytes), name)) {
            return found;
        }
    }
    return NULL;
}

/* The name, made if needed, with one more user; NULL: memory is short. */
static struct headers_name *
headers_name_use(struct lp_memory *memory, struct headers_state *headers, struct lp_bytes name)
{
    const uint64_t hash = lp_hash_bytes(&headers->hash_key, name.data, name.size);
    struct headers_name *used = headers_name_find(headers, name, hash);
    if (used != NULL) {
        used->users++;
        return used;
    }
    used = lp_memory_alloc(memory, sizeof(*used) + name.size);
    if (used == NULL) {
        return NULL;
    }
    if (headers->name_count == 0 && lp_hash_init(&headers->names, memory) != LP_OK) {
        exchange_release(memory, used);
        return NULL;
    }
    memset(used, 0, sizeof(*used));
    used->users = 1;
    used->name_bytes = (uint8_t)name.size;
    if (name.size > 0) {
        memcpy(used->name, name.data, name.size);
    }
    lp_hash_insert(&headers->names, &used->by_name, hash);
    headers->name_count++;
    return used;
}

static void
headers_name_drop(struct lp_memory *memory, struct headers_state *headers,
                  struct headers_name *name)
{
    LP_ASSERT(name->users > 0);
    name->users--;
    if (name->users > 0) {
        return;
    }
    lp_hash_remove(&headers->names, &name->by_name);
    exchange_release(memory, name);
    headers->name_count--;
    if (headers->name_count == 0) {
        lp_hash_fini(&headers->names);
    }
}

/* ---- patterns ---- */

struct headers_match {
    bool any;
    bool with_x;
};

/* What x-match says; the control process refuses other values, so those are read as `all`. */
static struct headers_match
headers_match_of(struct lp_bytes arguments)
{
    struct headers_match match = {false, false};
    struct lp_field field;
    if (lp_field_find(arguments, "x-match", &field) && field.type == 'S') {
        match.with_x = lp_bytes_equal_text(field.raw, "all-with-x") ||
                       lp_bytes_equal_text(field.raw, "any-with-x");
        match.any =
            lp_bytes_equal_text(field.raw, "any") || lp_bytes_equal_text(field.raw, "any-with-x");
    }
    return match;
}

/* The next argument that is to be compared. */
static bool
headers_next_used(struct lp_reader *reader, struct headers_match match, struct lp_field *ret_field)
{
    while (lp_field_next(reader, ret_field)) {
        const bool skipped = match.with_x ? lp_bytes_equal_text(ret_field->name, "x-match")
                                          : lp_bytes_start_with(ret_field->name, "x-");
        if (!skipped) {
            return true;
        }
    }
    return false;
}

static void
headers_pattern_free(struct lp_memory *memory, struct headers_state *headers,
                     struct headers_pattern *pattern)
{
    for (uint32_t i = 0; i < pattern->field_count; i++) {
        headers_name_drop(memory, headers, pattern->field[i].name);
    }
    exchange_release(memory, pattern);
}

static uint32_t
headers_used_count(struct lp_bytes arguments, struct headers_match match)
{
    struct lp_reader reader = lp_reader_of_bytes(arguments);
    struct lp_field field;
    uint32_t count = 0;
    while (headers_next_used(&reader, match, &field)) {
        count++;
    }
    return count;
}

static struct headers_pattern *
headers_pattern_make(struct lp_memory *memory, struct headers_state *headers,
                     struct lp_bytes arguments)
{
    const struct headers_match match = headers_match_of(arguments);
    const uint64_t room = headers_used_count(arguments, match);
    struct headers_pattern *pattern =
        lp_memory_alloc(memory, sizeof(*pattern) + room * sizeof(pattern->field[0]));
    if (pattern == NULL) {
        return NULL;
    }
    memset(pattern, 0, sizeof(*pattern));
    pattern->any = match.any;
    struct lp_reader reader = lp_reader_of_bytes(arguments);
    struct lp_field field;
    while (headers_next_used(&reader, match, &field)) {
        struct headers_name *name = headers_name_use(memory, headers, field.name);
        if (name == NULL) {
            headers_pattern_free(memory, headers, pattern);
            return NULL;
        }
        pattern->field[pattern->field_count].name = name;
        pattern->field[pattern->field_count].value = field;
        pattern->field_count++;
    }
    LP_ASSERT(pattern->field_count == room);
    return pattern;
}

static bool
headers_field_matches(const struct headers_state *headers, const struct headers_field *field)
{
    return field->name->message == headers->message &&
           (field->value.type == 'V' || headers_value_equal(&field->value, &field->name->value));
}

static bool
headers_pattern_matches(const struct headers_state *headers, const struct headers_pattern *pattern)
{
    for (uint32_t i = 0; i < pattern->field_count; i++) {
        if (headers_field_matches(headers, &pattern->field[i]) == pattern->any) {
            return pattern->any; /* one that does decides `any`, one that does not decides `all` */
        }
    }
    return !pattern->any;
}

/* ---- the contract ---- */

static bool
headers_open(struct lp_memory *memory, void **state)
{
    const struct lp_hash_key *hash_key = *state;
    struct headers_state *headers = lp_memory_alloc(memory, sizeof(*headers));
    if (headers == NULL) {
        return false;
    }
    memset(headers, 0, sizeof(*headers));
    headers->hash_key = *hash_key;
    lp_list_init(&headers->patterns);
    *state = headers;
    return true;
}

static void
headers_close(struct lp_memory *memory, void **state)
{
    const struct headers_state *headers = *state;
    LP_ASSERT(lp_list_empty(&headers->patterns));
    LP_ASSERT(headers->name_count == 0);
    lp_memory_release(memory, state);
}

static bool
headers_bind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    struct headers_state *headers = state;
    struct headers_pattern *pattern =
        headers_pattern_make(memory, headers, lp_binding_arguments(binding));
    if (pattern == NULL) {
        return false;
    }
    pattern->binding = binding;
    lp_list_push_back(&headers->patterns, &pattern->in_state);
    binding->state = pattern;
    return true;
}

static void
headers_unbind(struct lp_memory *memory, void *state, struct lp_binding *binding)
{
    struct headers_pattern *pattern = binding->state;
    LP_ASSERT(pattern->binding == binding);
    lp_list_remove(&pattern->in_state);
    binding->state = NULL;
    headers_pattern_free(memory, state, pattern);
}

/* Leave the message's values at the names that are asked for. */
static void
headers_read(struct headers_state *headers, struct lp_bytes table)
{
    headers->message++;
    struct lp_reader reader = lp_reader_of_bytes(table);
    struct lp_field field;
    while (headers->name_count > 0 && lp_field_next(&reader, &field)) {
        const uint64_t hash = lp_hash_bytes(&headers->hash_key, field.name.data, field.name.size);
        struct headers_name *name = headers_name_find(headers, field.name, hash);
        if (name != NULL && name->message != headers->message) {
            name->message = headers->message;
            name->value = field;
        }
    }
}

static void
headers_route(void *state, const struct lp_route_input *input, struct lp_route_sink *sink)
{
    struct headers_state *headers = state;
    headers_read(headers, input->headers);
    const struct lp_list *head = &headers->patterns;
    for (struct lp_list *link = head->next; link != head; link = link->next) {
        const struct headers_pattern *pattern =
            LP_LIST_ITEM(link, struct headers_pattern, in_state);
        if (headers_pattern_matches(headers, pattern)) {
            lp_route_sink_add(sink, pattern->binding);
        }
    }
}

const struct lp_exchange_type lp_exchange_type_headers = {
    .name = "headers",
    .kind = LP_EXCHANGE_HEADERS,
    .reads_key = false,
    .reads_headers = true,
    .open = headers_open,
    .close = headers_close,
    .bind = headers_bind,
    .unbind = headers_unbind,
    .route = headers_route,
};
