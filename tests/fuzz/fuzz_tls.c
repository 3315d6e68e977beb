/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever bytes come to a TLS listener, in whatever pieces, and however the
 * stream ends: the wrapper keeps its contract, and gives everything back.
 *
 * Input: an octet that says how the bytes are cut and how it ends, then bytes
 * for the server.  The inner transport is the fuzzer's own: one stream, which
 * takes all that it is given.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <drivers/tls/tls.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

#define STREAM    lp_handle_make(3, 1)
#define POLLS_MAX 4096u
#define INPUT_MAX 65536u

/* Of a P-256 key, and of a certificate that it signed for itself: good for a century. */
static const char pem[] =
#include "fuzz_tls_key.inc"
    ;

struct inner {
    uint64_t user;
    const uint8_t *data;
    size_t left;
    size_t piece;
    bool accepted;
    bool sending;
    bool closing;
    bool closed;
    bool ended;
    bool paused;
    size_t send_bytes;
    uint64_t now_ns;
};

static void
inner_attach(void *self, lp_handle stream, uint64_t user)
{
    struct inner *inner = self;
    LP_ASSERT(stream == STREAM);
    inner->user = user;
}

static bool
inner_event(struct inner *inner, struct lp_transport_event *event)
{
    *event = (struct lp_transport_event){.stream = STREAM, .user = inner->user};
    if (!inner->accepted) {
        inner->accepted = true;
        event->kind = LP_TRANSPORT_ACCEPTED;
        event->peer.family = LP_ADDRESS_IPV4;
    } else if (inner->closing) {
        inner->closing = false;
        inner->closed = true;
        event->kind = LP_TRANSPORT_CLOSED;
    } else if (inner->sending) {
        inner->sending = false;
        event->kind = LP_TRANSPORT_SENT;
        event->bytes = (uint32_t)inner->send_bytes;
    } else if (inner->left > 0 && !inner->paused) {
        event->kind = LP_TRANSPORT_RECEIVED;
        event->bytes = (uint32_t)LP_MIN(inner->left, inner->piece);
        event->data = inner->data;
        inner->data += event->bytes;
        inner->left -= event->bytes;
    } else if (!inner->ended && inner->left == 0) {
        inner->ended = true;
        event->kind = LP_TRANSPORT_ENDED;
    } else {
        return false;
    }
    return true;
}

static uint32_t
inner_poll(void *self, struct lp_transport_event *events, uint32_t events_max)
{
    struct inner *inner = self;
    uint32_t count = 0;
    inner->now_ns += 1000;
    while (count < events_max && !inner->closed && inner_event(inner, &events[count])) {
        /* The wrapper names the stream when it has seen it accepted. */
        if (events[count++].kind == LP_TRANSPORT_ACCEPTED) {
            break;
        }
    }
    return count;
}

static bool
inner_send(void *self, lp_handle stream, const struct lp_iovec *pieces, uint32_t count)
{
    struct inner *inner = self;
    LP_ASSERT(stream == STREAM && !inner->sending && !inner->closed && count == 1);
    inner->sending = true;
    inner->send_bytes = pieces[0].bytes;
    return true;
}

static void
inner_stop(void *self, lp_handle stream)
{
    struct inner *inner = self;
    (void)stream;
    inner->paused = true;
}

static void
inner_start(void *self, lp_handle stream)
{
    struct inner *inner = self;
    (void)stream;
    inner->paused = false;
}

static void
inner_close(void *self, lp_handle stream)
{
    struct inner *inner = self;
    LP_ASSERT(stream == STREAM && !inner->closing && !inner->closed);
    inner->closing = true;
}

static const struct lp_transport_ops inner_ops = {
    .name = "fuzz",
    .attach = inner_attach,
    .poll = inner_poll,
    .send = inner_send,
    .receive_stop = inner_stop,
    .receive_start = inner_start,
    .close = inner_close,
};

static struct inner inner;

static uint64_t
clock_read(void *self)
{
    (void)self;
    return inner.now_ns;
}

static void
line_drop(void *context, const char *line)
{
    (void)context;
    LP_ASSERT(strlen(line) > 0);
}

/* One for all inputs: reading a certificate takes longer than an input. */
static struct lp_tls *
tls_of_process(void)
{
    static struct lp_tls *tls;
    static char path[] = "/tmp/lepus-fuzz-tls-"
                         "XXXXXX";
    char why[LP_TLS_WHY_BYTES];
    struct lp_tls_start start = {.settings = lp_tls_settings_default,
                                 .clock = {.monotonic_ns = clock_read},
                                 .log = line_drop};
    if (tls != NULL) {
        return tls;
    }
    const int fd = mkstemp(path);
    LP_ASSERT(fd >= 0 && write(fd, pem, strlen(pem)) == (ssize_t)strlen(pem) && close(fd) == 0);
    start.settings.certfile = path;
    start.settings.cacertfile = path;
    start.settings.verify_peer = true;
    start.settings.workers = 0;
    const enum lp_err err = lp_tls_start_boot(&start, &tls, why);
    LP_ASSERT(err == LP_OK && unlink(path) == 0);
    return tls;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct lp_transport_event events[4];
    struct lp_transport transport;
    if (bytes < 1 || bytes > INPUT_MAX) {
        return 0;
    }
    const struct lp_tls_options options = {
        .tls = tls_of_process(), .listeners = 1, .streams_max = 2};
    const uint64_t now_ns = inner.now_ns;
    inner = (struct inner){
        .data = data + 1, .left = bytes - 1, .piece = (data[0] & 0x7f) + 1u, .now_ns = now_ns};
    const enum lp_err err = lp_tls_open_boot(
        &options, (struct lp_transport){.ops = &inner_ops, .self = &inner}, &transport);
    LP_ASSERT(err == LP_OK);
    for (uint32_t i = 0; i < POLLS_MAX && !inner.closed; i++) {
        const uint32_t count = transport.ops->poll(transport.self, events, LP_COUNT_OF(events));
        for (uint32_t n = 0; n < count; n++) {
            if (events[n].kind == LP_TRANSPORT_ENDED) {
                transport.ops->close(transport.self, events[n].stream);
            }
        }
        /* Some are not closed, and end with the wrapper. */
        if (data[0] >= 0x80 && inner.left == 0) {
            break;
        }
    }
    (void)lp_tls_close(&transport);
    return 0;
}
