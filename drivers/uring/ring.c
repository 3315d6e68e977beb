/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buffers.h"
#include "compat.h"
#include "uring.h"

/* Completions that a burst may leave before the kernel keeps the rest in a list of its own. */
#define CQ_PER_SQ      8
#define TEST_TIMEOUT_S 2

enum lp_err
uring_ring_init_boot(struct io_uring *ring, unsigned entries, int *ret_errno)
{
    /* Best first.  6.1 has all of them; a kernel that lacks one still gets a ring. */
    static const unsigned choices[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
        0,
    };
    for (size_t i = 0; i < LP_COUNT_OF(choices); i++) {
        struct io_uring_params params = {
            .flags = choices[i] | IORING_SETUP_R_DISABLED | IORING_SETUP_CQSIZE |
                     IORING_SETUP_CLAMP | IORING_SETUP_SUBMIT_ALL,
            .cq_entries = entries * CQ_PER_SQ,
        };
        const int err = io_uring_queue_init_params(entries, ring, &params);
        if (err == 0) {
            return LP_OK;
        }
        *ret_errno = -err;
        if (err != -EINVAL) {
            return LP_ERR_UNSUPPORTED;
        }
    }
    return LP_ERR_UNSUPPORTED;
}

/* One multishot receive of one byte into a provided buffer. */
static bool
receive_works(struct io_uring *ring, struct uring_buffers *buffers, const int fds[2])
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    if (sqe == NULL) {
        return false;
    }
    io_uring_prep_recv_multishot(sqe, fds[0], NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = URING_BUFFER_GROUP;
    if (io_uring_submit(ring) != 1 || send(fds[1], "x", 1, MSG_NOSIGNAL) != 1) {
        return false;
    }
    struct __kernel_timespec timeout = {.tv_sec = TEST_TIMEOUT_S};
    struct io_uring_cqe *cqe;
    if (io_uring_submit_and_wait_timeout(ring, &cqe, 1, &timeout, NULL) < 0 ||
        io_uring_peek_cqe(ring, &cqe) != 0) {
        return false;
    }
    const unsigned wanted = IORING_CQE_F_BUFFER | IORING_CQE_F_MORE;
    const bool good =
        cqe->res == 1 && (cqe->flags & wanted) == wanted &&
        *uring_buffers_lend(buffers, (uint16_t)(cqe->flags >> IORING_CQE_BUFFER_SHIFT)) == 'x';
    io_uring_cqe_seen(ring, cqe);
    return good;
}

static const char *
ring_try(struct io_uring *ring)
{
    struct uring_buffers buffers;
    int fds[2];
    if ((ring->features & IORING_FEAT_EXT_ARG) == 0 || (ring->features & IORING_FEAT_NODROP) == 0) {
        io_uring_queue_exit(ring);
        return "this kernel's io_uring is too old";
    }
    if (uring_buffers_init_boot(&buffers, ring, 4) != LP_OK) {
        io_uring_queue_exit(ring);
        return "this kernel's io_uring has no rings of provided buffers";
    }
    if (uring_enable(ring) != 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        io_uring_queue_exit(ring);
        uring_buffers_fini(&buffers);
        return "io_uring cannot be tested";
    }
    const bool good = receive_works(ring, &buffers, fds);
    (void)close(fds[0]);
    (void)close(fds[1]);
    io_uring_queue_exit(ring);
    uring_buffers_fini(&buffers);
    return good ? NULL : "multishot receive does not work with this kernel's io_uring";
}

bool
lp_uring_usable(char *why)
{
    struct io_uring ring;
    int error = 0;
    if (uring_ring_init_boot(&ring, 8, &error) != LP_OK) {
        (void)snprintf(why, LP_URING_WHY_BYTES, "the kernel refuses io_uring: %s",
                       strerrordesc_np(error));
        return false;
    }
    const char *reason = ring_try(&ring);
    if (reason != NULL) {
        (void)snprintf(why, LP_URING_WHY_BYTES, "%s", reason);
    }
    return reason == NULL;
}
