/* SPDX-License-Identifier: Apache-2.0 */
#include "ledger.h"

#define RECEIVE_BYTES_MAX   (6u << 20)
#define RECEIVE_BYTES_FIRST (64u << 10)
#define SEND_BYTES_MAX      (4u << 20)

static void
default_set(uint32_t *value, uint32_t usual)
{
    if (*value == 0) {
        *value = usual;
    }
}

/* net.h: zeros mean as usual. */
static void
config_complete(struct lp_net_config *config)
{
    default_set(&config->receive_bytes_max, RECEIVE_BYTES_MAX);
    default_set(&config->receive_bytes_first, RECEIVE_BYTES_FIRST);
    config->receive_bytes_first = LP_MIN(config->receive_bytes_first, config->receive_bytes_max);
    default_set(&config->send_bytes_max, SEND_BYTES_MAX);
    default_set(&config->rto_min_ms, 200);
    default_set(&config->time_wait_ms, 60000);
    default_set(&config->keepalive_s, 7200);
    default_set(&config->half_open_max, 4096);
    default_set(&config->user_timeout_s, 900);
    if (config->peer_mss_floor_bytes == 0) {
        config->peer_mss_floor_bytes = TCP_MSS_DEFAULT_IPV4;
    }
}

static enum lp_err
parts_init(struct lp_net *net)
{
    struct tcp *tcp = net->tcp;
    enum lp_err err = lp_pool_init_packed_boot(&tcp->streams, "tcp streams", net->memory,
                                               sizeof(struct tcp_stream), net->config.streams_max);
    if (err != LP_OK) {
        return err;
    }
    err = lp_hash_init(&tcp->table, net->memory);
    if (err != LP_OK) {
        return err;
    }
    err = tcp_gro_init_boot(net);
    if (err != LP_OK) {
        return err;
    }
    err = tcp_listeners_init_boot(net);
    if (err != LP_OK) {
        return err;
    }
    err = tcp_time_wait_init_boot(net);
    return err != LP_OK ? err : tcp_ledger_init_boot(net);
}

enum lp_err
tcp_init_boot(struct lp_net *net)
{
    config_complete(&net->config);
    struct tcp *tcp = lp_memory_alloc(net->memory, sizeof(*tcp));
    if (tcp == NULL) {
        return LP_ERR_NO_MEMORY;
    }
    memset(tcp, 0, sizeof(*tcp));
    net->tcp = tcp;
    lp_list_init(&tcp->ready);
    lp_list_init(&tcp->flush);
    const struct lp_entropy *entropy = &net->env.entropy;
    entropy->fill(entropy->self, tcp->isn_secret, sizeof(tcp->isn_secret));
    entropy->fill(entropy->self, tcp->port_secret, sizeof(tcp->port_secret));
    entropy->fill(entropy->self, &tcp->port_next, sizeof(tcp->port_next));
    return parts_init(net);
}

/* The reservation is given back as a whole; only what checks itself is taken apart. */
void
tcp_fini(struct lp_net *net)
{
    struct tcp *tcp = net->tcp;
    if (tcp == NULL) {
        return;
    }
    tcp_ledger_fini(net);
    tcp_listeners_fini(net);
    tcp_time_wait_fini(net);
    void *block = tcp;
    net->tcp = NULL;
    lp_memory_release(net->memory, &block);
}

static void
stream_check(const struct lp_net *net, const struct tcp_stream *stream)
{
    LP_ASSERT(stream->state <= TCP_CLOSED);
    LP_ASSERT(stream->receive_bytes_max <= net->config.receive_bytes_max);
    if (stream->state == TCP_CLOSED) {
        LP_ASSERT(stream->reassembly == NULL);
        LP_ASSERT(stream->sending.bytes == 0);
        return;
    }
    LP_ASSERT(tcp_le(stream->send_una, stream->send_next));
    tcp_send_check(stream);
    LP_ASSERT(tcp_find(net, &stream->path, stream->local_port, stream->remote_port) == stream);
    const struct tcp_reassembly *held = stream->reassembly;
    for (uint32_t i = 0; held != NULL && i < held->count; i++) {
        const uint32_t before = i == 0 ? stream->receive_next : held->range[i - 1].end;
        LP_ASSERT(tcp_lt(before, held->range[i].start));
        LP_ASSERT(tcp_lt(held->range[i].start, held->range[i].end));
        LP_ASSERT(held->range[i].data.bytes == held->range[i].end - held->range[i].start);
    }
}

void
tcp_check(const struct lp_net *net)
{
    uint32_t cursor = 0;
    lp_handle handle = LP_HANDLE_NONE;
    const struct tcp_stream *stream;
    while ((stream = lp_pool_next(&net->tcp->streams, &cursor, &handle)) != NULL) {
        stream_check(net, stream);
    }
    tcp_listeners_check(net);
    tcp_time_wait_check(net);
}

bool
tcp_at_rest(const struct lp_net *net, const char **ret_why)
{
    if (net->tcp->streams.used > 0) {
        *ret_why = "a connection is there";
        return false;
    }
    if (tcp_half_open_count(net) > 0) {
        *ret_why = "a connection is half-open";
        return false;
    }
    if (net->tcp->buffered_bytes > 0) {
        *ret_why = "bytes are buffered for nobody";
        return false;
    }
    return true;
}
