/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h - the thread that does for all shards' disks what blocks: making,
 * removing and opening files, and looking how much room there is.
 *
 * A disk has a channel: a ring of chores to the keeper and one of what became
 * of them.  Whoever waits for an answer is woken.
 *
 *   Memory    one allocation for the keeper, one a channel, at boot
 *   Runs on   open, close: the host's thread.  chore, done: the disk's owner
 *   Limits    LP_KEEPER_CHORES_MAX a channel
 *   Overload  chore() says no
 */
#pragma once

#include <drivers/common/segments.h>

#define LP_KEEPER_CHORES_MAX   256u
#define LP_KEEPER_CHANNELS_MAX 256u

enum lp_keeper_chore_kind {
    LP_KEEPER_CREATE = 1,
    LP_KEEPER_REMOVE,
    LP_KEEPER_OPEN,
    LP_KEEPER_CLOSE, /* has no answer */
};

struct lp_keeper_chore {
    enum lp_keeper_chore_kind kind;
    enum lp_err err; /* of the answer */
    uint32_t file;
    int fd; /* REMOVE, CLOSE: to be closed, or -1; CREATE, OPEN: of the answer */
    uint64_t bytes;
    uint64_t tag; /* comes back */
};

struct lp_keeper;
struct lp_keeper_channel;

/* LP_ERR_NO_MEMORY, LP_ERR_IO */
LP_MUST_CHECK enum lp_err lp_keeper_open_boot(struct lp_keeper **ret_keeper);
/* Waits for the chore that it is about; those not begun are dropped.  Before the disks close. */
void lp_keeper_close(struct lp_keeper **keeper);

/*
 * `segments` is the keeper's from now on.  `wake_fd` is written when there is
 * an answer.
 *
 * LP_ERR_NO_MEMORY  no memory, or LP_KEEPER_CHANNELS_MAX are taken
 */
LP_MUST_CHECK enum lp_err lp_keeper_channel_boot(struct lp_keeper *keeper,
                                                 struct lp_segments *segments, int wake_fd,
                                                 struct lp_keeper_channel **ret_channel);

LP_MUST_CHECK bool lp_keeper_chore(struct lp_keeper_channel *channel,
                                   const struct lp_keeper_chore *chore);
/* False: there is no answer now. */
LP_MUST_CHECK bool lp_keeper_done(struct lp_keeper_channel *channel,
                                  struct lp_keeper_chore *ret_chore);
/* Is there an answer? */
bool lp_keeper_waiting(const struct lp_keeper_channel *channel);
/* A second old at most. */
uint64_t lp_keeper_free_bytes(const struct lp_keeper_channel *channel);
