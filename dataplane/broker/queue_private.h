/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_private.h - what the files that implement queue.h share.
 */
#pragma once

#include "dataplane/broker/queue.h"

/* A CANCEL that waited for the queue's end is answered. */
void queue_cancel_answer(struct lp_queue *queue);
/* settings.expires_ms is another one than before: it counts from now on. */
void queue_expiry_anew(struct lp_queue *queue);
