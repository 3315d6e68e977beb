// SPDX-License-Identifier: Apache-2.0
//
// What does it cost to read AMQP's frames, methods and properties, and to
// write a delivery, without anything being done about them?
//
// The bytes are a client's: a publish of three frames, an ack, a consume.  A
// delivery cannot be had from deliver.c without a broker, so it is written
// here with the same writer and in the same order; what it costs as part of
// the path is content_send in `bench/gate/path_gate.py BUILD plain`.
#include <benchmark/benchmark.h>

#include <vector>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" // flexible arrays are C's
extern "C" {
#include "dataplane/protocol/amqp091/frame.h"
#include "dataplane/protocol/amqp091/method.h"
#include "dataplane/protocol/amqp091/out.h"
#include "dataplane/protocol/amqp091/properties.h"
}
#pragma GCC diagnostic pop

namespace
{

constexpr uint32_t FRAME_MAX = 131072;
constexpr uint16_t CHANNEL = 1;

// Frames written one behind the other.
class Stream
{
  public:
    Stream() : bytes_(1u << 20), writer(lp_writer_of(bytes_.data(), bytes_.size()))
    {
    }
    Stream(const Stream &) = delete;
    Stream &operator=(const Stream &) = delete;

    size_t begin(uint8_t type)
    {
        const size_t offset = lp_writer_size(&writer);
        lp_writer_u8(&writer, type);
        lp_writer_u16be(&writer, CHANNEL);
        lp_writer_u32be(&writer, 0);
        return offset;
    }
    void end(size_t offset)
    {
        amqp091_frame_close(&writer, offset);
    }
    size_t method(uint32_t id)
    {
        const size_t offset = begin(AMQP091_FRAME_METHOD);
        lp_writer_u32be(&writer, id);
        return offset;
    }
    void name(const char *text)
    {
        lp_writer_short(&writer, lp_bytes_of_text(text));
    }
    lp_bytes bytes() const
    {
        return lp_writer_bytes(&writer);
    }

  private:
    std::vector<uint8_t> bytes_;

  public:
    lp_writer writer;
};

void
say_publish(Stream &stream, uint32_t body_bytes)
{
    size_t offset = stream.method(AMQP091_BASIC_PUBLISH);
    lp_writer_u16be(&stream.writer, 0);
    stream.name("");
    stream.name("orders.europe");
    lp_writer_u8(&stream.writer, 0);
    stream.end(offset);

    offset = stream.begin(AMQP091_FRAME_HEADER);
    lp_writer_u16be(&stream.writer, AMQP091_CLASS_BASIC);
    lp_writer_u16be(&stream.writer, 0);
    lp_writer_u64be(&stream.writer, body_bytes);
    lp_writer_u16be(&stream.writer, AMQP091_DELIVERY_MODE);
    lp_writer_u8(&stream.writer, 1);
    stream.end(offset);

    const std::vector<uint8_t> body(body_bytes, 'x');
    offset = stream.begin(AMQP091_FRAME_BODY);
    lp_writer_copy(&stream.writer, body.data(), body.size());
    stream.end(offset);
}

void
say_ack(Stream &stream)
{
    const size_t offset = stream.method(AMQP091_BASIC_ACK);
    lp_writer_u64be(&stream.writer, 12345);
    lp_writer_u8(&stream.writer, 1);
    stream.end(offset);
}

void
say_consume(Stream &stream)
{
    const size_t offset = stream.method(AMQP091_BASIC_CONSUME);
    lp_writer_u16be(&stream.writer, 0);
    stream.name("orders");
    stream.name("ctag1.5c3a7d10");
    lp_writer_u8(&stream.writer, 0);
    const size_t table = lp_writer_size(&stream.writer);
    lp_writer_u32be(&stream.writer, 0);
    stream.name("x-priority");
    lp_writer_u8(&stream.writer, 'I');
    lp_writer_u32be(&stream.writer, 5);
    lp_writer_patch_u32be(&stream.writer, table,
                          static_cast<uint32_t>(lp_writer_size(&stream.writer) - table - 4));
    stream.end(offset);
}

// A segment as it is received: sixteen messages, cut into frames.
void
codec_frames(benchmark::State &state)
{
    constexpr uint32_t messages = 16;
    Stream stream;
    for (uint32_t i = 0; i < messages; i++) {
        say_publish(stream, static_cast<uint32_t>(state.range(0)));
    }
    amqp091_parser parser;
    amqp091_parser_init(&parser, FRAME_MAX);
    for (auto _ : state) {
        lp_bytes left = stream.bytes();
        amqp091_frame frame;
        while (amqp091_parser_look(&parser, left, &frame) == AMQP091_FRAME_FOUND) {
            amqp091_parser_take(&parser, &frame);
            left = lp_bytes_of(left.data + frame.used, left.size - frame.used);
        }
        if (left.size != 0) {
            state.SkipWithError("the frames were not read to their end");
        }
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()) * messages);
}
BENCHMARK(codec_frames)->ArgName("body")->Arg(16)->Arg(100)->Arg(4096);

// The payload of the first frame of what `say` says.
template <typename Say>
void
decode(benchmark::State &state, Say say)
{
    Stream stream;
    say(stream);
    amqp091_parser parser;
    amqp091_frame frame;
    amqp091_parser_init(&parser, FRAME_MAX);
    if (amqp091_parser_look(&parser, stream.bytes(), &frame) != AMQP091_FRAME_FOUND) {
        state.SkipWithError("not a frame");
        return;
    }
    for (auto _ : state) {
        amqp091_method method;
        if (amqp091_method_decode(frame.payload, &method) != AMQP091_DECODED) {
            state.SkipWithError("not a method");
            return;
        }
        benchmark::DoNotOptimize(method);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}

void
codec_decode_publish(benchmark::State &state)
{
    decode(state, [](Stream &stream) { say_publish(stream, 100); });
}
BENCHMARK(codec_decode_publish);

void
codec_decode_ack(benchmark::State &state)
{
    decode(state, say_ack);
}
BENCHMARK(codec_decode_ack);

void
codec_decode_consume(benchmark::State &state)
{
    decode(state, say_consume);
}
BENCHMARK(codec_decode_consume);

// A delivery mode alone; or what clients that set everything send, with four headers.
void
codec_properties(benchmark::State &state)
{
    Stream stream;
    lp_writer &writer = stream.writer;
    if (state.range(0) == 0) {
        lp_writer_u16be(&writer, AMQP091_DELIVERY_MODE);
        lp_writer_u8(&writer, 1);
    } else {
        lp_writer_u16be(&writer, AMQP091_CONTENT_TYPE | AMQP091_HEADERS | AMQP091_DELIVERY_MODE |
                                     AMQP091_CORRELATION_ID | AMQP091_REPLY_TO | AMQP091_TIMESTAMP);
        stream.name("application/json");
        const size_t table = lp_writer_size(&writer);
        lp_writer_u32be(&writer, 0);
        for (const char *header : {"traceparent", "tenant", "region", "attempt"}) {
            stream.name(header);
            lp_writer_u8(&writer, 'S');
            lp_writer_long_be(&writer, lp_bytes_of_text("00-4bf92f3577b34da6a3ce929d0e0e4736"));
        }
        lp_writer_patch_u32be(&writer, table,
                              static_cast<uint32_t>(lp_writer_size(&writer) - table - 4));
        lp_writer_u8(&writer, 2);
        stream.name("4bf92f3577b34da6");
        stream.name("replies.service-7");
        lp_writer_u64be(&writer, 1700000000);
    }
    for (auto _ : state) {
        amqp091_properties properties;
        if (!amqp091_properties_read(stream.bytes(), &properties)) {
            state.SkipWithError("not properties");
            return;
        }
        benchmark::DoNotOptimize(properties);
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(codec_properties)->ArgName("all")->Arg(0)->Arg(1);

// basic.deliver, header and body, as content_send() writes a small one.
void
codec_encode_delivery(benchmark::State &state)
{
    const std::vector<uint8_t> body(static_cast<size_t>(state.range(0)), 'x');
    std::vector<uint8_t> room(body.size() + 1024);
    const uint8_t properties[] = {0x10, 0x00, 0x01};
    uint64_t number = 0;
    for (auto _ : state) {
        lp_writer writer = lp_writer_of(room.data(), room.size());
        amqp091_frame_open(&writer, CHANNEL, AMQP091_BASIC_DELIVER);
        lp_writer_short(&writer, lp_bytes_of_text("ctag1.5c3a7d10"));
        lp_writer_u64be(&writer, ++number);
        lp_writer_u8(&writer, 0);
        lp_writer_short(&writer, lp_bytes_of_text(""));
        lp_writer_short(&writer, lp_bytes_of_text("orders.europe"));
        amqp091_frame_close(&writer, 0);

        size_t offset = lp_writer_size(&writer);
        lp_writer_u8(&writer, AMQP091_FRAME_HEADER);
        lp_writer_u16be(&writer, CHANNEL);
        lp_writer_u32be(&writer, 0);
        lp_writer_u16be(&writer, AMQP091_CLASS_BASIC);
        lp_writer_u16be(&writer, 0);
        lp_writer_u64be(&writer, body.size());
        lp_writer_copy(&writer, properties, sizeof(properties));
        amqp091_frame_close(&writer, offset);

        offset = lp_writer_size(&writer);
        lp_writer_u8(&writer, AMQP091_FRAME_BODY);
        lp_writer_u16be(&writer, CHANNEL);
        lp_writer_u32be(&writer, 0);
        lp_writer_copy(&writer, body.data(), body.size());
        amqp091_frame_close(&writer, offset);
        benchmark::DoNotOptimize(writer);
        benchmark::ClobberMemory();
    }
    state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(codec_encode_delivery)->ArgName("body")->Arg(16)->Arg(100)->Arg(4096);

} // namespace

BENCHMARK_MAIN();
