/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/protocol/amqp091/out.h"

#include "dataplane/protocol/amqp091/amqp091.h"

void
amqp091_out_send(struct amqp091_connection *connection, struct amqp091_out *out)
{
    amqp091_frame_close(&out->writer, 0);
    LP_ASSERT(!out->writer.failed); /* no method we send is longer than AMQP091_OUT_BYTES */
    if (connection->dead) {
        return;
    }
    const struct lp_bytes frame = lp_writer_bytes(&out->writer);
    connection->dead = !lp_connection_write(connection->base, frame.data, frame.size);
}

void
amqp091_out_plain(struct amqp091_connection *connection, uint16_t channel, uint32_t method_id)
{
    struct amqp091_out out;
    amqp091_out_begin(&out, channel, method_id);
    amqp091_out_send(connection, &out);
}
