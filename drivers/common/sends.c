/* SPDX-License-Identifier: Apache-2.0 */
#include <drivers/common/sends.h>

#include <stdlib.h>

enum lp_err
lp_sends_init_boot(struct lp_sends *sends, uint32_t capacity)
{
    *sends = (struct lp_sends){0};
    if (lp_slots_init_boot(&sends->slots, capacity) != LP_OK) {
        return LP_ERR_NO_MEMORY;
    }
    sends->send = calloc(capacity, sizeof(*sends->send));
    return sends->send == NULL ? LP_ERR_NO_MEMORY : LP_OK;
}

void
lp_sends_fini(struct lp_sends *sends)
{
    lp_slots_fini(&sends->slots);
    free(sends->send);
    sends->send = NULL;
}

uint32_t
lp_sends_alloc(struct lp_sends *sends)
{
    const uint32_t index = lp_slots_alloc(&sends->slots);
    LP_ASSERT(index != LP_SLOT_NONE); /* there are as many as streams */
    return index;
}

void
lp_sends_release(struct lp_sends *sends, uint32_t *index)
{
    if (*index != LP_SLOT_NONE) {
        lp_slots_release(&sends->slots, *index);
        *index = LP_SLOT_NONE;
    }
}

uint64_t
lp_send_fill(struct lp_send *send, const struct lp_iovec *pieces, uint32_t count)
{
    LP_ASSERT(count > 0 && count <= LP_TRANSPORT_IOV_MAX);
    uint64_t bytes = 0;
    send->count = count;
    send->piece = 0;
    for (uint32_t i = 0; i < count; i++) {
        /* The kernel's struct has no const; it only reads. */
        send->pieces[i].iov_base = (void *)(uintptr_t)pieces[i].data;
        send->pieces[i].iov_len = pieces[i].bytes;
        bytes += pieces[i].bytes;
    }
    return bytes;
}

const struct msghdr *
lp_send_message(struct lp_send *send)
{
    send->message = (struct msghdr){.msg_iov = &send->pieces[send->piece],
                                    .msg_iovlen = send->count - send->piece};
    return &send->message;
}

bool
lp_send_advance(struct lp_send *send, size_t bytes)
{
    while (send->piece < send->count) {
        struct iovec *piece = &send->pieces[send->piece];
        if (bytes < piece->iov_len) {
            piece->iov_base = (uint8_t *)piece->iov_base + bytes;
            piece->iov_len -= bytes;
            return false;
        }
        bytes -= piece->iov_len;
        send->piece++;
    }
    LP_ASSERT(bytes == 0);
    return true;
}
