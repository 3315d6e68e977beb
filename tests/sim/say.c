/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/say.h"

#define SCRATCH_BYTES 512u

void
say_channel_open(struct sim_client *client)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(20, 10));
    lp_writer_u8(&w, 0);
    sim_method_send(client, 1, &w);
}

void
say_channel_close(struct sim_client *client)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(20, 40));
    lp_writer_u16be(&w, 200);
    lp_writer_u8(&w, 0);
    lp_writer_u32be(&w, 0);
    sim_method_send(client, 1, &w);
}

void
say_confirm_select(struct sim_client *client)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(85, 10));
    lp_writer_u8(&w, 0);
    sim_method_send(client, 1, &w);
}

void
say_exchange_declare(struct sim_client *client, const char *name, const char *type)
{
    say_exchange_declare_with(client, name, type, lp_bytes_of(NULL, 0));
}

void
say_exchange_declare_with(struct sim_client *client, const char *name, const char *type,
                          struct lp_bytes arguments)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(40, 10));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_short(&w, lp_bytes_of_text(type));
    lp_writer_u8(&w, 2);
    lp_writer_long_be(&w, arguments);
    sim_method_send(client, 1, &w);
}

void
say_exchange_delete(struct sim_client *client, const char *name)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(40, 20));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_u8(&w, 0);
    sim_method_send(client, 1, &w);
}

void
say_queue_declare_with(struct sim_client *client, const char *name, uint8_t flags,
                       struct lp_bytes arguments)
{
    uint8_t scratch[2 * SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(50, 10));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_u8(&w, flags);
    lp_writer_long_be(&w, arguments);
    sim_method_send(client, 1, &w);
}

void
say_queue_declare(struct sim_client *client, const char *name, uint8_t flags)
{
    say_queue_declare_with(client, name, flags, lp_bytes_of(NULL, 0));
}

void
say_queue_purge(struct sim_client *client, const char *name)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(50, 30));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_u8(&w, 0);
    sim_method_send(client, 1, &w);
}

void
say_queue_bind(struct sim_client *client, const char *queue, const char *exchange, const char *key)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(50, 20));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_short(&w, lp_bytes_of_text(exchange));
    lp_writer_short(&w, lp_bytes_of_text(key));
    lp_writer_u8(&w, 0);
    lp_writer_u32be(&w, 0);
    sim_method_send(client, 1, &w);
}

void
say_queue_delete(struct sim_client *client, const char *name)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(50, 40));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_u8(&w, 0);
    sim_method_send(client, 1, &w);
}

void
say_qos(struct sim_client *client, uint16_t count, bool global)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(60, 10));
    lp_writer_u32be(&w, 0);
    lp_writer_u16be(&w, count);
    lp_writer_u8(&w, global ? 1 : 0);
    sim_method_send(client, 1, &w);
}

void
say_consume_with(struct sim_client *client, const struct say_consume *consume)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(60, 20));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(consume->queue));
    lp_writer_short(&w, lp_bytes_of_text(consume->tag));
    lp_writer_u8(&w, (uint8_t)((consume->no_ack ? 2u : 0u) | (consume->exclusive ? 4u : 0u)));
    lp_writer_long_be(&w, consume->arguments);
    sim_method_send(client, 1, &w);
}

void
say_consume(struct sim_client *client, const char *queue, const char *tag, bool no_ack)
{
    const struct say_consume consume = {.queue = queue, .tag = tag, .no_ack = no_ack};
    say_consume_with(client, &consume);
}

void
say_cancel(struct sim_client *client, const char *tag)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(60, 30));
    lp_writer_short(&w, lp_bytes_of_text(tag));
    lp_writer_u8(&w, 0);
    sim_method_send(client, 1, &w);
}

void
say_get(struct sim_client *client, const char *queue, bool no_ack)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(60, 70));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_u8(&w, no_ack ? 1 : 0);
    sim_method_send(client, 1, &w);
}

static void
say_settle(struct sim_client *client, uint32_t id, uint64_t tag, uint8_t flags)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), id);
    lp_writer_u64be(&w, tag);
    lp_writer_u8(&w, flags);
    sim_method_send(client, 1, &w);
}

void
say_ack(struct sim_client *client, uint64_t tag, bool multiple)
{
    say_settle(client, SIM_METHOD(60, 80), tag, multiple ? 1 : 0);
}

void
say_nack(struct sim_client *client, uint64_t tag, bool multiple, bool requeue)
{
    say_settle(client, SIM_METHOD(60, 120), tag,
               (uint8_t)((multiple ? 1u : 0u) | (requeue ? 2u : 0u)));
}

void
say_reject(struct sim_client *client, uint64_t tag, bool requeue)
{
    say_settle(client, SIM_METHOD(60, 90), tag, requeue ? 1 : 0);
}

void
say_recover(struct sim_client *client)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(60, 110));
    lp_writer_u8(&w, 1);
    sim_method_send(client, 1, &w);
}

static void
say_bare(struct sim_client *client, uint32_t id)
{
    uint8_t scratch[8];
    const struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), id);
    sim_method_send(client, 1, &w);
}

void
say_channel_close_ok(struct sim_client *client)
{
    say_bare(client, SIM_METHOD(20, 41));
}

void
say_tx_select(struct sim_client *client)
{
    say_bare(client, SIM_METHOD(90, 10));
}

void
say_tx_commit(struct sim_client *client)
{
    say_bare(client, SIM_METHOD(90, 20));
}

void
say_tx_rollback(struct sim_client *client)
{
    say_bare(client, SIM_METHOD(90, 30));
}

/* ---- fields of tables ---- */

void
table_text(struct lp_writer *table, const char *name, const char *text)
{
    lp_writer_short(table, lp_bytes_of_text(name));
    lp_writer_u8(table, 'S');
    lp_writer_long_be(table, lp_bytes_of_text(text));
}

void
table_integer(struct lp_writer *table, const char *name, int64_t value)
{
    lp_writer_short(table, lp_bytes_of_text(name));
    lp_writer_u8(table, 'l');
    lp_writer_u64be(table, (uint64_t)value);
}

void
table_bool(struct lp_writer *table, const char *name, bool value)
{
    lp_writer_short(table, lp_bytes_of_text(name));
    lp_writer_u8(table, 't');
    lp_writer_u8(table, value ? 1 : 0);
}

void
table_texts(struct lp_writer *table, const char *name, const char *const *texts, uint32_t count)
{
    lp_writer_short(table, lp_bytes_of_text(name));
    lp_writer_u8(table, 'A');
    const size_t at = lp_writer_size(table);
    lp_writer_u32be(table, 0);
    for (uint32_t i = 0; i < count; i++) {
        lp_writer_u8(table, 'S');
        lp_writer_long_be(table, lp_bytes_of_text(texts[i]));
    }
    lp_writer_patch_u32be(table, at, (uint32_t)(lp_writer_size(table) - at - 4));
}
