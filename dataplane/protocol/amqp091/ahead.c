/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ahead.c - declares and binds that a client sends without waiting.
 *
 * A channel does one thing after the other.  But what the control process is
 * asked for such a method depends on the method alone, so it is asked at once,
 * while the channel still waits for the answer before: all that comes together
 * is one commit there.  Methods take their turn in order all the same, each
 * with its answer; when one fails the channel closes, and the control process
 * does none of those that follow it (`follows`, control_records.h).
 *
 * Only while nothing else stands between: a frame that is parked keeps those
 * behind it parked.
 */
#include "dataplane/protocol/amqp091/declare.h"

/* Larger ones wait their turn, so what is asked ahead needs little memory. */
#define PAYLOAD_BYTES_MAX 1024u
/* queue_id u32, created u8 */
#define FIELDS_BYTES_MAX 8u

struct amqp091_ahead {
    struct lp_list in_channel;
    struct amqp091_channel *channel;
    lp_handle self;
    lp_handle request; /* at the link, until it is answered */
    lp_link_reply_fn *reply;
    uint8_t *payload; /* the method; then the channel's `pending` */
    uint32_t payload_bytes;
    uint16_t code; /* of the answer */
    bool answered;
    uint8_t fields_bytes;
    uint8_t text_bytes;
    uint8_t last_queue_bytes;
    uint8_t *last_queue; /* for the channel's; NULL: it declares no queue */
    uint8_t fields[FIELDS_BYTES_MAX];
    uint8_t text[UINT8_MAX];
};

enum lp_err
amqp091_ahead_boot(struct amqp091_shard *shard)
{
    return lp_pool_init_boot(&shard->aheads, "amqp091 requests ahead", shard->broker->memory,
                             sizeof(struct amqp091_ahead), LP_LINK_REQUESTS_MAX / 2);
}

static void
block_free(struct amqp091_shard *shard, uint8_t **block)
{
    void *memory = *block;
    *block = NULL;
    if (memory) {
        lp_memory_release(shard->broker->memory, &memory);
    }
}

static void
ahead_free(struct amqp091_shard *shard, struct amqp091_ahead *ahead)
{
    lp_link_forget(&shard->broker->link, ahead->request);
    block_free(shard, &ahead->payload);
    block_free(shard, &ahead->last_queue);
    lp_pool_release(&shard->aheads, ahead->self);
}

void
amqp091_ahead_drop(struct amqp091_channel *channel)
{
    struct amqp091_shard *shard = channel->connection->shard;
    struct lp_list *link;
    if (channel->ahead_front) {
        ahead_free(shard, channel->ahead_front);
        channel->ahead_front = NULL;
    }
    while ((link = lp_list_pop_front(&channel->aheads)) != NULL) {
        ahead_free(shard, LP_LIST_ITEM(link, struct amqp091_ahead, in_channel));
    }
    channel->ahead_count = 0;
}

/* ---- answers ---- */

bool
amqp091_ahead_step(struct amqp091_channel *channel)
{
    struct amqp091_shard *shard = channel->connection->shard;
    struct amqp091_ahead *ahead = channel->ahead_front;
    const lp_handle self = channel->self;
    if (!ahead || !ahead->answered) {
        return false;
    }
    channel->ahead_front = NULL;
    const struct lp_link_reply reply = {
        .code = ahead->code,
        .text = lp_bytes_of(ahead->text, ahead->text_bytes),
        .more = lp_reader_of(ahead->fields, ahead->fields_bytes),
    };
    ahead->reply(shard->broker, self, &reply);
    ahead_free(shard, ahead);
    if (lp_pool_get(&shard->channels, self) == channel) {
        amqp091_parked_ask_ahead(channel);
    }
    return true;
}

static void
ahead_reply(void *context, lp_handle owner, const struct lp_link_reply *reply)
{
    struct lp_broker *broker = context;
    struct amqp091_shard *shard = lp_broker_protocol_state(broker, &lp_protocol_amqp091);
    struct amqp091_ahead *ahead = lp_pool_get(&shard->aheads, owner);
    if (!ahead) {
        return;
    }
    struct lp_reader more = reply->more;
    const uint32_t fields = (uint32_t)LP_MIN(lp_reader_left(&more), (size_t)FIELDS_BYTES_MAX);
    const struct lp_bytes known = lp_reader_bytes(&more, fields);
    ahead->answered = true;
    ahead->request = LP_HANDLE_NONE;
    ahead->code = reply->code;
    ahead->text_bytes = (uint8_t)LP_MIN(reply->text.size, (uint32_t)UINT8_MAX);
    ahead->fields_bytes = (uint8_t)fields;
    struct lp_writer text = lp_writer_of(ahead->text, sizeof(ahead->text));
    struct lp_writer room = lp_writer_of(ahead->fields, sizeof(ahead->fields));
    lp_writer_copy(&text, reply->text.data, ahead->text_bytes);
    if (known.size > 0) {
        lp_writer_copy(&room, known.data, known.size);
    }
    LP_ASSERT(!text.failed && !room.failed);
    if (ahead->channel->ahead_front == ahead) {
        (void)amqp091_ahead_step(ahead->channel);
    }
}

bool
amqp091_ahead_next(struct amqp091_channel *channel)
{
    struct amqp091_shard *shard = channel->connection->shard;
    if (!amqp091_channel_runs(channel)) {
        amqp091_ahead_drop(channel); /* the one at the front, too: a consumer may have timed out */
    }
    LP_ASSERT(!channel->ahead_front && !channel->pending);
    struct lp_list *link = lp_list_pop_front(&channel->aheads);
    if (!link) {
        return false;
    }
    struct amqp091_ahead *ahead = LP_LIST_ITEM(link, struct amqp091_ahead, in_channel);
    channel->ahead_count--;
    channel->ahead_front = ahead;
    channel->pending = ahead->payload;
    channel->pending_bytes = ahead->payload_bytes;
    ahead->payload = NULL;
    channel->waiting = AMQP091_WAIT_CONTROL;
    if (ahead->last_queue) {
        block_free(shard, &channel->last_queue);
        channel->last_queue = ahead->last_queue;
        channel->last_queue_bytes = ahead->last_queue_bytes;
        ahead->last_queue = NULL;
    }
    if (ahead->answered && !lp_list_linked(&channel->in_replay)) {
        lp_list_push_back(&channel->connection->replay, &channel->in_replay);
        amqp091_connection_wake(channel->connection);
    }
    return true;
}

/* ---- asking ---- */

/* Is the parked method one that others may be asked about behind, and not answered yet? */
static bool
may_follow(const struct amqp091_channel *channel)
{
    if (channel->waiting != AMQP091_WAIT_CONTROL || channel->publishing || channel->stage != 0) {
        return false;
    }
    switch (amqp091_channel_pending_id(channel)) {
    case AMQP091_QUEUE_DECLARE:
    case AMQP091_QUEUE_BIND:
    case AMQP091_QUEUE_UNBIND:
    case AMQP091_EXCHANGE_DECLARE:
    case AMQP091_EXCHANGE_BIND:
    case AMQP091_EXCHANGE_UNBIND:
        return true;
    default:
        return false;
    }
}

static bool
question_of(struct amqp091_channel *channel, const struct amqp091_method *method,
            struct amqp091_question *ret_question)
{
    *ret_question = (struct amqp091_question){.reply = amqp091_reply_ok};
    switch (method->id) {
    case AMQP091_QUEUE_DECLARE:
        return amqp091_queue_declare_ahead(channel, method, ret_question);
    case AMQP091_EXCHANGE_DECLARE:
        return amqp091_exchange_declare_ahead(channel, method, ret_question);
    case AMQP091_QUEUE_BIND:
    case AMQP091_QUEUE_UNBIND:
    case AMQP091_EXCHANGE_BIND:
    case AMQP091_EXCHANGE_UNBIND:
        return amqp091_bind_ahead(channel, method, ret_question);
    default:
        return false;
    }
}

static uint8_t *
copy_of(struct amqp091_shard *shard, struct lp_bytes bytes)
{
    uint8_t *copy = lp_memory_alloc(shard->broker->memory, LP_MAX(bytes.size, 1u));
    if (copy && bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return copy;
}

static bool
ahead_add(struct amqp091_channel *channel, struct lp_bytes payload,
          const struct amqp091_question *question)
{
    struct amqp091_shard *shard = channel->connection->shard;
    struct lp_link *link = &shard->broker->link;
    lp_handle handle;
    struct amqp091_ahead *ahead = lp_pool_alloc(&shard->aheads, &handle);
    if (!ahead) {
        return false;
    }
    ahead->self = handle;
    ahead->request = LP_HANDLE_NONE;
    ahead->channel = channel;
    ahead->reply = question->reply;
    ahead->payload_bytes = payload.size;
    ahead->payload = copy_of(shard, payload);
    ahead->last_queue_bytes = (uint8_t)question->last_queue.size;
    ahead->last_queue = question->last_queue.size > 0 ? copy_of(shard, question->last_queue) : NULL;
    if (!ahead->payload || (question->last_queue.size > 0 && !ahead->last_queue) ||
        !lp_link_request(link, question->type, lp_writer_bytes(&question->writer), handle,
                         ahead_reply)) {
        ahead_free(shard, ahead);
        return false;
    }
    ahead->request = lp_link_last(link);
    lp_list_push_back(&channel->aheads, &ahead->in_channel);
    channel->ahead_count++;
    return true;
}

bool
amqp091_ahead_ask(struct amqp091_channel *channel, const struct amqp091_frame *frame)
{
    struct amqp091_method method;
    struct amqp091_question question;
    if (!may_follow(channel) || channel->ahead_count >= AMQP091_AHEAD_MAX ||
        frame->type != AMQP091_FRAME_METHOD || !frame->first || !frame->last ||
        frame->payload.size > PAYLOAD_BYTES_MAX || !amqp091_channel_runs(channel) ||
        lp_link_is_busy(&channel->connection->shard->broker->link)) {
        return false;
    }
    return amqp091_method_decode(frame->payload, &method) == AMQP091_DECODED &&
           question_of(channel, &method, &question) && !question.writer.failed &&
           ahead_add(channel, frame->payload, &question);
}
