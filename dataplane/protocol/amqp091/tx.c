/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tx.c - transactions (C108 to C112): select, commit, rollback, and the
 * publishes that wait.
 */
#include "dataplane/protocol/amqp091/amqp091.h"

enum amqp091_flow
amqp091_tx_select(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if (channel->confirming) {
        return amqp091_channel_fault_text(channel, LP_FAULT_PRECONDITION_FAILED,
                                          "cannot switch from confirm to tx mode", method->id);
    }
    if (!lp_session_tx_select(channel->session)) {
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    }
    channel->content_always = AMQP091_CONTENT_TRANSACTION;
    amqp091_out_plain(channel->connection, channel->number, AMQP091_TX_SELECT_OK);
    return AMQP091_NEXT;
}

static enum amqp091_flow
not_transactional(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    return amqp091_channel_fault_text(channel, LP_FAULT_PRECONDITION_FAILED,
                                      "channel is not transactional", method->id);
}

enum amqp091_flow
amqp091_tx_commit(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if (!channel->session->tx) {
        return not_transactional(channel, method);
    }
    channel->waiting = AMQP091_WAIT_SESSION;
    if (lp_session_tx_commit(channel->session) == LP_WAIT) {
        channel->waiting = AMQP091_WAIT_ROOM;
    }
    return AMQP091_PARK;
}

void
amqp091_committed(struct amqp091_channel *channel, bool partial)
{
    if (!amqp091_channel_runs(channel) || channel->waiting != AMQP091_WAIT_SESSION) {
        return;
    }
    if (partial) {
        (void)amqp091_channel_fault_text(channel, LP_FAULT_PRECONDITION_FAILED,
                                         "partial tx completion", AMQP091_TX_COMMIT);
        return;
    }
    amqp091_out_plain(channel->connection, channel->number, AMQP091_TX_COMMIT_OK);
    amqp091_channel_unpark(channel);
}

enum amqp091_flow
amqp091_tx_rollback(struct amqp091_channel *channel, const struct amqp091_method *method)
{
    if (!channel->session->tx) {
        return not_transactional(channel, method);
    }
    if (lp_session_tx_rollback(channel->session) == LP_WAIT) {
        channel->waiting = AMQP091_WAIT_ROOM;
        return AMQP091_PARK;
    }
    amqp091_out_plain(channel->connection, channel->number, AMQP091_TX_ROLLBACK_OK);
    return AMQP091_NEXT;
}

bool
amqp091_tx_disturbed(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    if (channel->waiting == AMQP091_WAIT_NONE || frame->type != AMQP091_FRAME_METHOD ||
        amqp091_channel_pending_id(channel) != AMQP091_TX_COMMIT) {
        return false;
    }
    struct lp_reader reader = lp_reader_of_bytes(frame->payload);
    const uint32_t id = lp_reader_u32be(&reader);
    if (reader.failed || id == AMQP091_CHANNEL_CLOSE || id == AMQP091_CHANNEL_CLOSE_OK) {
        return false;
    }
    (void)amqp091_channel_fault_text(channel, LP_FAULT_CHANNEL_ERROR,
                                     "unexpected command while processing 'tx.commit'", id);
    return true;
}

bool
amqp091_tx_too_large(const struct amqp091_channel *channel, struct lp_fault *ret_fault)
{
    const struct lp_session *session = channel->session;
    if (lp_session_tx_fits(session, channel->message_handle)) {
        return false;
    }
    amqp091_text_make(ret_fault, LP_FAULT_PRECONDITION_FAILED,
                      "messages that wait for their transaction's commit may take ");
    amqp091_text_add_number(ret_fault, lp_session_tx_bytes_max(session));
    amqp091_text_add(ret_fault, " bytes in all, this one would exceed that");
    return true;
}
