/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sends.h - what a stream is sending: the shard's list of pieces, copied, and
 * how far the kernel has come with it.
 *
 *   Memory    one allocation at boot: a struct lp_send for every stream
 *   Runs on   owner core
 *   Limits    one send in flight a stream, so a table of as many never runs out
 */
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <lepus/transport.h>

#include <drivers/common/slots.h>

struct lp_send {
    uint32_t count;
    uint32_t piece; /* the first one not sent in full */
    struct msghdr message;
    struct iovec pieces[LP_TRANSPORT_IOV_MAX];
};

struct lp_sends {
    struct lp_slots slots;
    struct lp_send *send;
};

LP_MUST_CHECK enum lp_err lp_sends_init_boot(struct lp_sends *sends, uint32_t capacity);
void lp_sends_fini(struct lp_sends *sends);

/* An index of sends->send; the caller fills it. */
uint32_t lp_sends_alloc(struct lp_sends *sends);
/* Let go of *index, which may be LP_SLOT_NONE, and is that afterwards. */
void lp_sends_release(struct lp_sends *sends, uint32_t *index);

/* Copy the list of pieces; gives the bytes that they name. */
uint64_t lp_send_fill(struct lp_send *send, const struct lp_iovec *pieces, uint32_t count);
/* What is left of it, for sendmsg(); valid as long as `send`. */
const struct msghdr *lp_send_message(struct lp_send *send);
/* Step over `bytes` that the kernel took; true: that was all. */
bool lp_send_advance(struct lp_send *send, size_t bytes);
