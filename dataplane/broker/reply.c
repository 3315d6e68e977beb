/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/broker/reply.h"

#include <string.h>

#include "dataplane/broker/queue.h"

/*
 * What a token is made of, as base64: 6 octets that say who, a dot, and 16 for
 * the key, which end with "==" (clients' tests look for both).
 */
#define ADDRESS_VERSION 2u
#define RAW_BYTES       24u /* 6 and 16, and 2 zeros so that no bits are left over */
#define DIGITS          30u /* the last two would tell of the zeros */
#define WHO_DIGITS      8u
#define PADDING         "=="
LP_STATIC_ASSERT(RAW_BYTES * 8 == (DIGITS + 2) * 6, "no bits are left over");
LP_STATIC_ASSERT(LP_REPLY_TOKEN_BYTES == DIGITS + 1 + 2, "digits, dot, padding");

/* ---- addresses ---- */

static uint8_t
digit_write(uint32_t value)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    return (uint8_t)digits[value & 63u];
}

/* False: it is none. */
static bool
digit_read(uint8_t digit, uint32_t *ret_value)
{
    if (digit >= 'A' && digit <= 'Z') {
        *ret_value = digit - (uint32_t)'A';
    } else if (digit >= 'a' && digit <= 'z') {
        *ret_value = digit - (uint32_t)'a' + 26;
    } else if (digit >= '0' && digit <= '9') {
        *ret_value = digit - (uint32_t)'0' + 52;
    } else if (digit == '-' || digit == '_') {
        *ret_value = digit == '-' ? 62 : 63;
    } else {
        return false;
    }
    return true;
}

static uint8_t
raw_digit(const uint8_t raw[static RAW_BYTES], uint32_t index)
{
    const uint32_t at = index / 4 * 3;
    const uint32_t bits =
        (uint32_t)raw[at] << 16 | (uint32_t)raw[at + 1] << 8 | (uint32_t)raw[at + 2];
    return digit_write(bits >> (18 - index % 4 * 6));
}

void
lp_reply_address_write(const struct lp_reply_address *address,
                       uint8_t ret_name[static LP_REPLY_ADDRESS_BYTES])
{
    uint8_t raw[RAW_BYTES] = {0};
    struct lp_writer fields = lp_writer_of(raw, sizeof(raw));
    lp_writer_u16be(&fields, (uint16_t)address->shard);
    lp_writer_u32be(&fields, address->queue_id);
    lp_writer_u64be(&fields, address->key);
    lp_writer_u8(&fields, ADDRESS_VERSION);

    struct lp_writer name = lp_writer_of(ret_name, LP_REPLY_ADDRESS_BYTES);
    lp_writer_copy(&name, LP_REPLY_PREFIX, sizeof(LP_REPLY_PREFIX) - 1);
    for (uint32_t i = 0; i < DIGITS; i++) {
        if (i == WHO_DIGITS) {
            lp_writer_u8(&name, '.');
        }
        lp_writer_u8(&name, raw_digit(raw, i));
    }
    lp_writer_copy(&name, PADDING, sizeof(PADDING) - 1);
    LP_ASSERT(!fields.failed && !name.failed);
}

/* False: it is not written like one. */
static bool
token_read(const uint8_t *token, uint8_t ret_raw[RAW_BYTES])
{
    uint32_t bits = 0;
    struct lp_writer writer = lp_writer_of(ret_raw, RAW_BYTES);
    if (token[WHO_DIGITS] != '.' || memcmp(token + DIGITS + 1, PADDING, sizeof(PADDING) - 1) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < DIGITS + 2; i++) {
        uint32_t value = 0;
        if (i < DIGITS && !digit_read(token[i < WHO_DIGITS ? i : i + 1], &value)) {
            return false;
        }
        bits = bits << 6 | value;
        if (i % 4 == 3) {
            lp_writer_u8(&writer, (uint8_t)(bits >> 16));
            lp_writer_u16be(&writer, (uint16_t)bits);
        }
    }
    return !writer.failed;
}

bool
lp_reply_address_read(struct lp_bytes name, uint32_t shards, struct lp_reply_address *ret_address)
{
    uint8_t raw[RAW_BYTES];
    if (name.size != LP_REPLY_ADDRESS_BYTES || !lp_bytes_start_with(name, LP_REPLY_PREFIX) ||
        !token_read(name.data + name.size - LP_REPLY_TOKEN_BYTES, raw)) {
        return false;
    }
    struct lp_reader reader = lp_reader_of(raw, sizeof(raw));
    struct lp_reply_address address;
    address.shard = lp_reader_u16be(&reader);
    address.queue_id = lp_reader_u32be(&reader);
    address.key = lp_reader_u64be(&reader);
    const uint8_t version = lp_reader_u8(&reader);
    uint32_t rest = 0;
    while (lp_reader_left(&reader) > 0) {
        rest |= lp_reader_u8(&reader);
    }
    if (reader.failed || rest != 0 || version != ADDRESS_VERSION || address.shard >= shards ||
        (address.queue_id & LP_REPLY_QUEUE) == 0) {
        return false;
    }
    *ret_address = address;
    return true;
}

/* ---- at home ---- */

struct lp_queue *
lp_reply_queue_open(struct lp_broker *broker)
{
    static const char name[] = LP_REPLY_NAME; /* for reports */
    struct lp_queue_ref *ref = lp_memory_alloc(broker->memory, sizeof(*ref) + sizeof(name) - 1);
    if (!ref) {
        return NULL;
    }
    memset(ref, 0, sizeof(*ref));
    ref->home_shard = (uint16_t)broker->shard;
    ref->name_bytes = sizeof(name) - 1;
    memcpy(ref->data, name, sizeof(name) - 1);
    if (lp_queue_up(broker, ref) != LP_OK) {
        void *block = ref;
        lp_memory_release(broker->memory, &block);
        return NULL;
    }
    struct lp_queue *queue = ref->local;
    ref->id = LP_REPLY_QUEUE | lp_handle_index(queue->self);
    queue->id = ref->id;
    lp_broker_random(broker, &queue->reply_key, sizeof(queue->reply_key));
    queue->reply_key |= (uint64_t)1 << 63; /* never 0, which says that it is none */
    queue->type->configure(queue);
    return queue;
}

void
lp_reply_queue_close(struct lp_queue *queue)
{
    struct lp_broker *broker = queue->broker;
    LP_ASSERT(queue->reply_key != 0);
    void *ref = queue->ref;
    lp_queue_down(broker, queue->ref);
    lp_memory_release(broker->memory, &ref);
}

struct lp_reply_address
lp_reply_queue_address(const struct lp_queue *queue)
{
    const struct lp_reply_address address = {queue->reply_key, queue->id, queue->ref->home_shard};
    return address;
}

struct lp_queue *
lp_reply_queue_find(struct lp_broker *broker, const struct lp_mesh_record *record)
{
    const uint32_t index = record->a & ~LP_REPLY_QUEUE;
    const bool stranger = record->op == LP_MESH_ENQUEUE || record->op == LP_MESH_STAT;
    if ((!stranger && record->op != LP_MESH_CONSUME) || (record->a & LP_REPLY_QUEUE) == 0 ||
        index >= broker->queues.made) {
        return NULL;
    }
    struct lp_queue *queue =
        lp_pool_get(&broker->queues, lp_pool_handle_of(&broker->queues, index));
    const bool found = queue && queue->reply_key != 0;
    return found && (!stranger || record->w[6] == queue->reply_key) ? queue : NULL;
}
