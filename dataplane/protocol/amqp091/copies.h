/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copies.h - sender-selected distribution: the headers CC and BCC, arrays of
 * further routing keys (C99).
 *
 * Elements that are no long strings are passed over, as in RabbitMQ; a header
 * that is no array is a fault.  CC stays in the headers, BCC does not.
 *
 *   Memory    borrowed views into the headers
 */
#pragma once

#include <lepus/fault.h>

#include "dataplane/base/memory.h"
#include "dataplane/broker/message.h"
#include "dataplane/protocol/amqp091/properties.h"

/*
 * A message's parts, with what CC and BCC say noted in its annotations and BCC
 * out of its properties and of `properties->headers` (whose place in them does
 * not change).  They lie in `*ret_block`, which the caller releases when the
 * message is made.
 *
 * False: memory is short.  When a header is of the wrong type nothing is done,
 * and `*ret_block` is NULL: amqp091_copies_fault().
 */
LP_MUST_CHECK bool amqp091_copies_take(struct lp_memory *memory,
                                       struct amqp091_properties *properties,
                                       struct lp_message_parts *parts, void **ret_block);

/* The fault of headers that could not be taken. */
void amqp091_copies_fault(struct lp_bytes headers, struct lp_fault *fault);
