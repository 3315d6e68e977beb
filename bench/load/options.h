/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - what lepus-bench was asked to do.
 */
#pragma once

#include <lepus/base.h>

#define LOAD_BROKER_PIDS_MAX 64
#define LOAD_SIZES_MAX       8

enum load_exchange {
    LOAD_EXCHANGE_DEFAULT, /* the nameless one: publisher i to queue i modulo their number */
    LOAD_EXCHANGE_DIRECT,
    LOAD_EXCHANGE_FANOUT,
    LOAD_EXCHANGE_TOPIC,
    LOAD_EXCHANGE_HEADERS,
};

enum load_protocol { LOAD_PROTOCOL_AMQP, LOAD_PROTOCOL_MQTT };

enum load_tls_version { LOAD_TLS_ANY, LOAD_TLS_1_2, LOAD_TLS_1_3 };

/* Whose connection declares a queue: in a broker with shards, it lives where that one is. */
enum load_place {
    LOAD_PLACE_ADMIN,
    LOAD_PLACE_PUBLISHER,
    LOAD_PLACE_CONSUMER,
};

struct load_options {
    const char *host;
    const char *port;
    const char *user;
    const char *password;
    const char *vhost;
    const char *name; /* queues are called NAME-0, NAME-1, ... */
    const char *queue_type;
    const char *json_path; /* "-": standard output, instead of the table */
    const char *svg_path;
    const char *title;
    const char *net_device; /* NULL: the kernel's sockets */
    const char *net_address;
    struct load_net *stack;      /* that device's TCP/IP, once it is open */
    const char *tls_ca;          /* NULL: whom the system believes */
    const char *tls_cert;        /* NULL: none is shown */
    const char *tls_key;         /* NULL: it is in tls_cert */
    struct load_tls *tls_shared; /* once it is open */
    uint32_t tls_version;        /* enum load_tls_version */
    uint32_t publishers;
    uint32_t consumers;
    uint32_t queues;
    uint32_t protocol; /* enum load_protocol */
    uint32_t exchange; /* enum load_exchange */
    uint32_t place;    /* enum load_place */
    uint32_t keys;     /* different routing keys of a publisher; 0: one */
    uint32_t idle_connections;
    uint32_t idle_queues;
    uint32_t idle_bindings;
    uint32_t sizes[LOAD_SIZES_MAX]; /* of bodies, in bytes; publishers take turns */
    uint32_t size_count;
    uint32_t size;      /* the largest of them */
    uint64_t messages;  /* 0: seconds decide */
    double seconds;     /* 0: messages decide */
    double warmup_s;    /* sent before the figures begin */
    double rate_each;   /* of one publisher; what was asked for in this way is in `rate`, too */
    double rate;        /* messages per second of all publishers together; 0: closed loop */
    uint64_t seed;      /* of --poisson */
    uint32_t window;    /* unconfirmed messages of a publisher; 0: no bound */
    uint32_t backlog;   /* messages of all publishers sent and not consumed; 0: no bound */
    uint32_t prefetch;  /* 0: unlimited */
    uint32_t ack_every; /* acknowledge so many at once */
    uint32_t timeout_s; /* without progress */
    uint32_t cpu;       /* one more than the processor to run on; 0: any */
    uint32_t sink_cpu;  /* the same for --sink's process */
    bool poisson;
    bool confirm;
    bool auto_ack;
    bool durable;
    bool persistent;
    bool to_all; /* every message to every queue */
    bool spin;
    bool sink;
    bool keep;
    bool quiet;
    bool tls;
    int broker_pids[LOAD_BROKER_PIDS_MAX];
    uint32_t broker_pid_count;
};

/*
 * Read the command line.  False: it was --help (ret_exit 0) or wrong
 * (ret_exit 2), and the reader has been told.
 */
LP_MUST_CHECK bool load_options_parse(struct load_options *options, int argc, char **argv,
                                      int *ret_exit);

/* Of a publisher's bodies. */
static inline uint32_t
load_size_of(const struct load_options *options, uint32_t publisher)
{
    return options->sizes[publisher % options->size_count];
}

/* "fanout" and so on; NULL for the nameless exchange. */
const char *load_exchange_word(uint32_t exchange);

/* Parts of one text, NULL at the end. */
extern const char *const load_help[];
