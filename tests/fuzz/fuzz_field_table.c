/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a peer's field table make us read outside it, loop, or trip an
 * assertion?  The walk goes into nested tables and arrays, as listing does,
 * by a list of what is still to visit instead of recursion.
 */
#include <lepus/field_table.h>

#define PENDING_MAX 64u

struct nested {
    struct lp_bytes bytes;
    bool is_array;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void
value_use(const struct lp_field *field, struct lp_bytes whole)
{
    /* Views stay inside what they were cut from. */
    if (field->raw.size > 0) {
        LP_ASSERT(field->raw.data >= whole.data);
        LP_ASSERT(field->raw.size <= (size_t)(whole.data + whole.size - field->raw.data));
    }
    LP_ASSERT(lp_field_type_name(field->type)[0] != 'u' || field->type == 'B' ||
              field->type == 'i' || field->type == 'u');
    if (lp_field_is_integer(field->type)) {
        (void)lp_field_integer(field); /* only that it reads what is there */
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct nested pending[PENDING_MAX];
    uint32_t count = 0;
    if (bytes > UINT32_MAX) {
        return 0;
    }
    const struct lp_bytes whole = lp_bytes_of(data, (uint32_t)bytes);
    pending[count++] = (struct nested){whole, false};
    while (count > 0) {
        const struct nested now = pending[--count];
        struct lp_reader reader = lp_reader_of_bytes(now.bytes);
        struct lp_field field = {0};
        for (;;) {
            const bool more =
                now.is_array ? lp_reader_left(&reader) > 0 && lp_field_value_read(&reader, &field)
                             : lp_field_next(&reader, &field);
            if (!more) {
                break;
            }
            value_use(&field, whole);
            if ((field.type == 'F' || field.type == 'A') && count < PENDING_MAX) {
                pending[count++] = (struct nested){field.raw, field.type == 'A'};
            }
        }
        LP_ASSERT(reader.failed || lp_reader_left(&reader) == 0);
    }
    struct lp_field found;
    if (lp_field_find(whole, "x-match", &found)) {
        LP_ASSERT(lp_bytes_equal_text(found.name, "x-match"));
    }
    return 0;
}
