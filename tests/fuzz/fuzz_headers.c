/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_headers.c - any bytes as a binding's arguments and as a message's
 * headers: nothing is read beyond them, every byte of memory comes back, and
 * the exchange says the same as a matcher that looks each field up.
 *
 * Input: two octets of length (network order), that many bytes of arguments,
 * and the rest is headers.
 */
#include <stdlib.h>
#include <string.h>

#include "dataplane/broker/exchange/headers/value.h"
#include "dataplane/broker/topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define MEMORY_BYTES    (4u << 20)
#define INPUT_BYTES_MAX (64u << 10)

static bool
naive_field(const struct lp_field *wanted, struct lp_bytes headers)
{
    struct lp_reader reader = lp_reader_of_bytes(headers);
    struct lp_field field;
    while (lp_field_next(&reader, &field)) {
        if (lp_bytes_equal(field.name, wanted->name)) {
            return wanted->type == 'V' || headers_value_equal(wanted, &field);
        }
    }
    return false;
}

static bool
naive_match(struct lp_bytes arguments, struct lp_bytes headers)
{
    struct lp_field field;
    struct lp_bytes kind = lp_bytes_of_text("all");
    if (lp_field_find(arguments, "x-match", &field) && field.type == 'S') {
        kind = field.raw;
    }
    const bool any = lp_bytes_equal_text(kind, "any") || lp_bytes_equal_text(kind, "any-with-x");
    const bool with_x =
        lp_bytes_equal_text(kind, "all-with-x") || lp_bytes_equal_text(kind, "any-with-x");
    bool some = false;
    bool each = true;
    struct lp_reader reader = lp_reader_of_bytes(arguments);
    while (lp_field_next(&reader, &field)) {
        if (lp_bytes_equal_text(field.name, "x-match") ||
            (!with_x && lp_bytes_start_with(field.name, "x-"))) {
            continue;
        }
        const bool match = naive_field(&field, headers);
        some |= match;
        each &= match;
    }
    return any ? some : each;
}

static void
check_one(struct lp_memory *memory, struct lp_bytes arguments, struct lp_bytes headers)
{
    static const struct lp_hash_key key = {{1, 2}};
    struct lp_topology topology;
    const struct lp_exchange_parts exchange = {
        .id = 1, .vhost_id = 1, .name = lp_bytes_of_text("x"), .kind = LP_EXCHANGE_HEADERS};
    const struct lp_queue_parts queue = {.id = 1, .vhost_id = 1, .name = lp_bytes_of_text("q")};
    const struct lp_binding_parts binding = {.id = 1,
                                             .source = 1,
                                             .destination_resource = LP_RESOURCE_QUEUE,
                                             .destination = 1,
                                             .arguments = arguments};
    LP_ASSERT(lp_topology_init_boot(&topology, memory, &key, NULL) == LP_OK);
    LP_ASSERT(lp_topology_vhost_up(&topology, 1, lp_bytes_of_text("/"), false) == LP_OK);
    LP_ASSERT(lp_topology_exchange_up(&topology, &exchange) == LP_OK);
    LP_ASSERT(lp_topology_queue_up(&topology, &queue) == LP_OK);
    const enum lp_err err = lp_topology_bind_up(&topology, &binding);
    if (err == LP_OK) {
        const struct lp_route_input input = {.headers = headers};
        LP_ASSERT(lp_topology_route(
            &topology, lp_topology_exchange(&topology, 1, lp_bytes_of_text("x")), &input));
        LP_ASSERT((topology.route_count == 1) == naive_match(arguments, headers));
    } else {
        LP_ASSERT(err == LP_ERR_NO_MEMORY);
    }
    lp_topology_fini(&topology);
}

/* One memory for all runs: each leaves it as it found it, or fails. */
static struct lp_memory *
fuzz_memory(void)
{
    static struct lp_memory *memory;
    if (memory == NULL) {
        void *reservation = aligned_alloc(LP_SPAN_BYTES, MEMORY_BYTES);
        LP_ASSERT(reservation != NULL);
        memset(reservation, 0, MEMORY_BYTES);
        LP_ASSERT(lp_memory_init_boot(reservation, MEMORY_BYTES, MEMORY_BYTES, &memory) == LP_OK);
    }
    return memory;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes < 2 || bytes > INPUT_BYTES_MAX) {
        return 0;
    }
    const uint32_t length = (uint32_t)data[0] << 8 | data[1];
    const uint32_t arguments_bytes = LP_MIN(length, (uint32_t)bytes - 2);
    const struct lp_bytes arguments = lp_bytes_of(data + 2, arguments_bytes);
    const struct lp_bytes headers =
        lp_bytes_of(data + 2 + arguments_bytes, (uint32_t)bytes - 2 - arguments_bytes);

    struct lp_memory *memory = fuzz_memory();
    const uint64_t used = lp_memory_used_bytes(memory);
    check_one(memory, arguments, headers);
    LP_ASSERT(lp_memory_used_bytes(memory) == used);
    return 0;
}
