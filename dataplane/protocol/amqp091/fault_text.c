/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/fault_text.h"

#include "dataplane/protocol/amqp091/erlang_text.h"
#include "dataplane/protocol/amqp091/frame.h"

void
amqp091_text_begin(struct lp_fault *fault, uint16_t code)
{
    fault->code = code;
    fault->text_bytes = 0;
}

void
amqp091_text_add_bytes(struct lp_fault *fault, struct lp_bytes bytes)
{
    LP_ASSERT(fault->text_bytes <= LP_FAULT_TEXT_BYTES);
    const uint32_t room = (uint32_t)LP_FAULT_TEXT_BYTES - fault->text_bytes;
    const uint32_t count = LP_MIN(room, bytes.size);
    if (count > 0) {
        memcpy(fault->text + fault->text_bytes, bytes.data, count);
        fault->text_bytes = (uint16_t)(fault->text_bytes + count);
    }
}

void
amqp091_text_add(struct lp_fault *fault, const char *text)
{
    amqp091_text_add_bytes(fault, lp_bytes_of_text(text));
}

void
amqp091_text_add_number(struct lp_fault *fault, uint64_t number)
{
    char digits[20]; /* 2^64 - 1 has 20 */
    uint32_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    amqp091_text_add_bytes(fault, lp_bytes_of(digits + at, (uint32_t)sizeof(digits) - at));
}

void
amqp091_text_add_resource(struct lp_fault *fault, const char *kind, struct lp_bytes name,
                          struct lp_bytes vhost)
{
    amqp091_text_add(fault, kind);
    amqp091_text_add(fault, " '");
    amqp091_text_add_bytes(fault, name);
    amqp091_text_add(fault, "' in vhost '");
    amqp091_text_add_bytes(fault, vhost);
    amqp091_text_add(fault, "'");
}

void
amqp091_text_add_frame(struct lp_fault *fault, uint8_t type, struct lp_bytes payload)
{
    const bool all = payload.size <= AMQP091_SNIPPET_BYTES;
    amqp091_text_add(fault, "type ");
    amqp091_text_add_number(fault, type);
    amqp091_text_add(fault, all ? ", all octets = " : ", first 16 octets = ");
    amqp091_erlang_add_binary(
        fault, lp_bytes_of(payload.data, all ? payload.size : AMQP091_SNIPPET_BYTES));
}

void
amqp091_text_make(struct lp_fault *fault, uint16_t code, const char *text)
{
    amqp091_text_begin(fault, code);
    amqp091_text_add(fault, text);
}

void
amqp091_text_missing(struct lp_fault *fault, const char *kind, struct lp_bytes name,
                     struct lp_bytes vhost)
{
    amqp091_text_begin(fault, LP_FAULT_NOT_FOUND);
    amqp091_text_add(fault, "no ");
    amqp091_text_add_resource(fault, kind, name, vhost);
}

void
amqp091_text_locked(struct lp_fault *fault, struct lp_bytes name, struct lp_bytes vhost)
{
    amqp091_text_begin(fault, LP_FAULT_RESOURCE_LOCKED);
    amqp091_text_add(fault, "cannot obtain exclusive access to locked ");
    amqp091_text_add_resource(fault, "queue", name, vhost);
    amqp091_text_add(fault, ". It could be originally declared on another connection or the "
                            "exclusive property value does not match that of the original "
                            "declaration.");
}

uint32_t
amqp091_text_reply(const struct lp_fault *fault, char ret_text[static AMQP091_REPLY_TEXT_BYTES])
{
    LP_ASSERT(fault->code != LP_FAULT_NONE);
    const struct lp_bytes parts[] = {
        lp_bytes_of_text(lp_fault_name(fault->code)),
        lp_bytes_of_text(" - "),
        lp_bytes_of(fault->text, fault->text_bytes),
    };
    uint32_t size = 0;
    for (uint32_t i = 0; i < LP_COUNT_OF(parts); i++) {
        const uint32_t count = LP_MIN(parts[i].size, AMQP091_REPLY_TEXT_BYTES - size);
        if (count > 0) {
            memcpy(ret_text + size, parts[i].data, count);
        }
        size += count;
    }
    if (parts[0].size + parts[1].size + parts[2].size > AMQP091_REPLY_TEXT_BYTES) {
        static const char dots[] = {'.', '.', '.'}; /* not a C string */
        memcpy(ret_text + AMQP091_REPLY_TEXT_BYTES - sizeof(dots), dots, sizeof(dots));
    }
    return size;
}
