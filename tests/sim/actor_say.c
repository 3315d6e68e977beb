/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/actor_say.h"

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
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(40, 10));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_short(&w, lp_bytes_of_text(type));
    lp_writer_u8(&w, 2);
    lp_writer_u32be(&w, 0);
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
say_queue_declare(struct sim_client *client, const char *name, uint8_t flags)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(50, 10));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(name));
    lp_writer_u8(&w, flags);
    lp_writer_u32be(&w, 0);
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
say_consume(struct sim_client *client, const char *queue, const char *tag, bool no_ack)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(60, 20));
    lp_writer_u16be(&w, 0);
    lp_writer_short(&w, lp_bytes_of_text(queue));
    lp_writer_short(&w, lp_bytes_of_text(tag));
    lp_writer_u8(&w, no_ack ? 2 : 0);
    lp_writer_u32be(&w, 0);
    sim_method_send(client, 1, &w);
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
say_recover(struct sim_client *client)
{
    uint8_t scratch[SCRATCH_BYTES];
    struct lp_writer w = sim_method_begin(scratch, sizeof(scratch), SIM_METHOD(60, 110));
    lp_writer_u8(&w, 1);
    sim_method_send(client, 1, &w);
}
