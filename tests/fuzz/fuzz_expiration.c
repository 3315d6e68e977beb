/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can an `expiration` or a frame's octets trip the reader of the one or the
 * printers of both?
 */
#include "dataplane/protocol/amqp091/erlang_text.h"
#include "dataplane/protocol/amqp091/expiration.h"
#include "dataplane/protocol/amqp091/fault_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (bytes == 0) {
        return 0;
    }
    const struct lp_bytes text = lp_bytes_of(data + 1, (uint32_t)LP_MIN(bytes - 1, (size_t)255));
    struct lp_fault fault;
    uint64_t ms = 0;
    if (amqp091_expiration_read(text, &ms)) {
        LP_ASSERT(ms <= 315360000000u);
    } else {
        amqp091_expiration_fault(text, &fault);
        LP_ASSERT(fault.code == LP_FAULT_PRECONDITION_FAILED);
        LP_ASSERT(fault.text_bytes > 20 && fault.text_bytes <= LP_FAULT_TEXT_BYTES);
    }
    const uint64_t numbers[] = {ms, bytes};
    amqp091_text_begin(&fault, LP_FAULT_FRAME_ERROR);
    for (uint32_t i = 0; i < data[0]; i++) {
        amqp091_text_add(&fault, i % 3 == 0 ? "\xc3\xa9" : "x"); /* some column */
    }
    amqp091_text_add_frame(&fault, data[0], text);
    amqp091_erlang_add_numbers(&fault, "frame_too_large", numbers, LP_COUNT_OF(numbers));
    LP_ASSERT(fault.text_bytes <= LP_FAULT_TEXT_BYTES);
    return 0;
}
