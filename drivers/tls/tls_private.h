/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_private.h - what the files of this folder know of each other:
 *
 *   settings.c   an operator's words        context.c   files, rules, reloading
 *   driver.c     transport.h, poll()        stream.c    bytes of a stream, its end
 *   handshake.c  a handshake's life         step.c      OpenSSL's part of it
 *   worker.c     the threads                report.c    lines for the operator
 *   identity.c   who the peer is            name.c      names as RabbitMQ writes them
 *   buffer.c     ciphertext, and OpenSSL's way to it
 *   count.c      what lepusctl tls_stats tells
 *
 *   Runs on   the shard, but for what says "worker"
 *
 * Life:  HELLO -handshake done-> OPEN -close()-> LAST -last bytes sent-> GONE -inner CLOSED-> free
 *          |                      |                                       ^
 *          +-- failed: an alert --+------> LAST        nothing to say ----+
 *
 * While `busy` a worker has the stream's handshake: ssl, in, out and
 * hello->step are its, and everything else the shard's.
 */
#pragma once

#include <pthread.h>

#include <openssl/ssl.h>

#include "dataplane/base/list.h"
#include "dataplane/base/ring.h"

#include <drivers/common/slots.h>

#include "drivers/tls/tls.h"

#define TLS_JOBS_MAX     64u
#define TLS_CHANNELS_MAX 64u /* drivers of a worker */
#define TLS_INLINE_STEPS 4u  /* handshake steps of a poll() when there are no workers */
#define TLS_ARENA_BYTES  (1024u * 1024u)
#define TLS_RECORD_BYTES 16384u
#define TLS_SLICE_BYTES  (128u * 1024u) /* of a send that is encrypted at once */
#define TLS_HOLD_BYTES   (256u * 1024u) /* unread ciphertext: the peer has to wait */
/* What waits to leave: a slice, or answers to new keys, of which nobody asks for more and reads
 * none. */
#define TLS_ANSWERS_MAX      (256u * 1024u)
#define TLS_HELLO_HOLD_BYTES 20480u /* the same of a handshake: more than a record */
#define TLS_HELLOS_MAX       8192u  /* handshakes of a shard under way: more are refused */
#define TLS_INPUT_MAX        (8u * 1024u * 1024u)
#define TLS_LAST_NS          1000000000u /* for the last bytes to leave */
#define TLS_INDEX_BIT        0x40000000u /* in the index of our handles, and of no inner one */
#define TLS_USER_TAG         0x544c5321u /* upper half of `user` of our streams */
#define TLS_USER_NOBODY      (((uint64_t)TLS_USER_TAG << 32) | UINT32_MAX)
#define TLS_FAILURE_BYTES    384u
#define TLS_SUBJECT_BYTES    120u

struct tls_stream;

/* Bytes [from, used) wait. */
struct tls_buffer {
    uint8_t *data;
    uint32_t from;
    uint32_t used;
    uint32_t room;
};

/* What OpenSSL reads from next. */
struct tls_source {
    const uint8_t *data;
    uint32_t bytes;
};

enum tls_failure {
    TLS_FAILURE_OTHER,
    TLS_FAILURE_TIMEOUT,
    TLS_FAILURE_CLOSED,
    TLS_FAILURE_ALERT,
    TLS_FAILURE_NOT_TLS,
    TLS_FAILURE_VERSION,
    TLS_FAILURE_CIPHER,
    TLS_FAILURE_NO_CERTIFICATE,
    TLS_FAILURE_CERTIFICATE,
    TLS_FAILURE_MEMORY,
};

enum tls_step {
    TLS_STEP_MORE, /* it waits for the peer */
    TLS_STEP_DONE,
    TLS_STEP_FAILED,
};

/* A stream that the shard does not know of yet. */
struct tls_hello {
    struct lp_transport_event accepted;
    struct tls_buffer late; /* came while a worker was at it */
    enum tls_step step;
    enum tls_failure reason; /* of TLS_STEP_FAILED */
    bool resumed;
    bool heard; /* the peer has said anything */
    char failure[TLS_FAILURE_BYTES];
    char subject[TLS_SUBJECT_BYTES + 4]; /* of a certificate that was not believed */
};

/* A send that did not fit one slice: where in its pieces it is. */
struct tls_send {
    uint32_t count;
    uint32_t piece;
    size_t offset;
    struct lp_iovec pieces[LP_TRANSPORT_IOV_MAX];
};

struct tls_identity {
    struct lp_transport_identity view; /* points behind itself */
};

enum tls_state {
    TLS_HELLO,
    TLS_OPEN,
    TLS_LAST,
    TLS_GONE,
};

struct tls_stream {
    lp_handle handle;
    lp_handle inner;
    uint64_t user;
    struct lp_list in_ready; /* of those with something to say */
    SSL *ssl;
    struct tls_hello *hello;
    struct tls_identity *identity;
    struct tls_send *send; /* NULL: all of the shard's send is encrypted */
    struct tls_source source;
    struct tls_buffer in;     /* ciphertext that was not looked at */
    struct tls_buffer out;    /* ciphertext to be sent, */
    struct tls_buffer flight; /* ... and what the inner transport is sending */
    struct lp_list in_wait;   /* HELLO: for a worker */
    struct lp_list in_time;   /* HELLO, LAST: for its deadline */
    uint64_t deadline_ns;
    uint64_t told_poll;   /* the poll() that said ACCEPTED */
    uint32_t send_bytes;  /* of the shard's send */
    uint32_t sent_bytes;  /* of it, gone for good */
    uint32_t slice_bytes; /* of it, on their way */
    uint32_t records;     /* sealed with this key */
    uint16_t alerts_sent; /* not counted yet */
    uint16_t alerts_received;
    uint8_t state; /* enum tls_state */
    bool busy;
    bool sending; /* send() was called, SENT not delivered */
    bool flying;  /* the inner transport has a send of ours */
    bool sent_due;
    bool end_due;
    bool ended;
    bool more;        /* there may be more to read */
    bool failed;      /* no use to send or receive any more */
    bool peer_closed; /* it has said that nothing more comes */
    bool inner_ended;
    bool inner_closed;
    bool known;   /* the shard has heard of it */
    bool counted; /* as a connection */
    bool stopped; /* the shard does not want to receive, */
    bool held;    /* ... or we do not */
    bool paused;  /* what the inner transport was told */
};

/* ---- worker.c ---- */

enum tls_job_kind {
    TLS_JOB_STEP = 1, /* comes back */
    TLS_JOB_REPORT,   /* the worker frees it */
};

struct tls_job {
    enum tls_job_kind kind;
    struct tls_stream *stream;
    struct tls_hello *hello;
};

struct tls_channel {
    struct lp_ring *jobs;
    struct lp_ring *done;
    void *memory; /* of both */
    struct lp_transport inner;
    uint32_t jobs_out; /* the owner's: those without an answer */
    bool called;       /* the owner's: there is a job that the worker was not woken for */
};

struct tls_worker {
    struct lp_tls *tls;
    pthread_t thread;
    int wake_fd;
    bool started;
    bool stop;
    uint32_t channel_count;
    struct tls_channel *channel[TLS_CHANNELS_MAX];
};

/* How the files were when they were looked at. */
struct tls_stamp {
    uint64_t word[12];
};

struct tls_limiter {
    uint64_t window_ns;
    uint32_t lines;
    uint64_t unsaid;
};

struct lp_tls {
    struct lp_tls_settings settings;
    struct lp_clock clock;
    lp_tls_log_fn *log;
    void *log_context;
    BIO_METHOD *bio;
    pthread_mutex_t lock; /* of what follows; in handshakes only */
    SSL_CTX *context;
    struct tls_stamp stamp;
    uint64_t looked_ns;
    struct tls_limiter limiter;
    uint32_t driver_count;
    uint32_t worker_count;
    struct tls_worker worker[LP_TLS_WORKERS_MAX];
};

struct tls_driver {
    struct lp_tls *tls;
    struct lp_transport inner;
    uint64_t listeners;
    struct lp_transport_ops ops;
    struct lp_slots slots;
    struct tls_stream *streams; /* slots.capacity of them */
    struct lp_list ready;
    struct lp_list waiting; /* HELLO: for a worker */
    struct lp_list hellos;  /* by deadline, */
    struct lp_list lasts;   /* ... and these */
    uint8_t *arena;
    uint32_t arena_used;
    uint8_t *gather; /* for one record */
    uint64_t polls;
    struct tls_worker *worker; /* NULL: handshakes run in poll() */
    struct tls_channel *channel;
    struct lp_tls_counters counters;
    struct lp_tls_counters *told; /* a copy for others, in shared memory; NULL: none */
};

/* ---- count.c ---- */
/* `field` is one of driver->counters. */
void tls_count(struct tls_driver *driver, uint64_t *field, int64_t more);
void tls_count_done(struct tls_driver *driver, struct tls_stream *stream);
void tls_count_failed(struct tls_driver *driver, enum tls_failure reason);
/* Those that OpenSSL sent and received since the last call; and nothing is left of the stream. */
void tls_count_alerts(struct tls_driver *driver, struct tls_stream *stream);
void tls_count_gone(struct tls_driver *driver, struct tls_stream *stream);

static inline void
tls_lock(struct lp_tls *tls)
{
    const int error = pthread_mutex_lock(&tls->lock);
    LP_ASSERT(error == 0);
}

static inline void
tls_unlock(struct lp_tls *tls)
{
    const int error = pthread_mutex_unlock(&tls->lock);
    LP_ASSERT(error == 0);
}

/* ---- buffer.c ---- */
LP_MUST_CHECK bool tls_buffer_add(struct tls_buffer *buffer, const uint8_t *data, uint32_t bytes);
LP_MUST_CHECK bool tls_buffer_reserve(struct tls_buffer *buffer, uint32_t bytes);
void tls_buffer_free(struct tls_buffer *buffer);
static inline uint32_t
tls_buffer_bytes(const struct tls_buffer *buffer)
{
    return buffer->used - buffer->from;
}
/* Bytes of those records at its beginning that are there as a whole; what is none counts. */
uint32_t tls_buffer_records(const struct tls_buffer *buffer);
BIO_METHOD *tls_bio_method_make(void);
/* Reads the stream's `source`, writes to its `out`. */
LP_MUST_CHECK bool tls_bio_attach(const struct lp_tls *tls, struct tls_stream *stream);

/* ---- context.c ---- */
LP_MUST_CHECK bool tls_context_open_boot(struct lp_tls *tls, char *why);
/* Worker: a stream's SSL, of the newest certificate; NULL: no memory. */
SSL *tls_context_ssl(struct lp_tls *tls);
void tls_error_text(const char *what, char *ret_text, size_t bytes);

/* ---- step.c; worker ---- */
void tls_step(struct lp_tls *tls, struct tls_stream *stream);
int tls_step_verify(int good, X509_STORE_CTX *store);
/* OpenSSL's news of a stream; whoever has its SSL. */
void tls_step_info(const SSL *ssl, int where, int value);

/* ---- identity.c; worker.  NULL: no memory ---- */
struct tls_identity *tls_identity_make(const struct lp_tls_settings *settings, SSL *ssl);

/* ---- name.c: all append to `text`, RabbitMQ's forms; false: no memory ---- */
struct tls_text {
    char *data;
    size_t bytes;
    size_t room;
    bool failed;
};
void tls_text_add(struct tls_text *text, const void *data, size_t bytes);
void tls_text_end(struct tls_text *text); /* its NUL */
void tls_name_distinguished(struct tls_text *text, const X509_NAME *name);
void tls_name_time(struct tls_text *text, const ASN1_TIME *time);
/* These say whether there is one. */
bool tls_name_common(struct tls_text *text, const X509 *certificate);
bool tls_name_alternative(struct tls_text *text, const X509 *certificate, enum lp_tls_san type,
                          uint32_t index);

/* ---- report.c; worker, or the shard when there is none ---- */
void tls_report(struct lp_tls *tls, const struct tls_hello *hello);
void tls_log(struct lp_tls *tls, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- worker.c ---- */
LP_MUST_CHECK enum lp_err tls_workers_start_boot(struct lp_tls *tls);
void tls_workers_stop(struct lp_tls *tls);
LP_MUST_CHECK enum lp_err tls_channel_open_boot(struct tls_driver *driver);
void tls_channel_close(struct tls_driver *driver);
/* False: it has as many as it takes. */
LP_MUST_CHECK bool tls_channel_give(struct tls_driver *driver, const struct tls_job *job);
void tls_channel_call(struct tls_driver *driver);
LP_MUST_CHECK bool tls_channel_answer(struct tls_driver *driver, struct tls_job *ret_job);

/* ---- handshake.c ---- */
LP_MUST_CHECK bool tls_hello_begin(struct tls_driver *driver, struct tls_stream *stream,
                                   const struct lp_transport_event *accepted);
void tls_hello_received(struct tls_driver *driver, struct tls_stream *stream,
                        const struct lp_transport_event *event);
void tls_hello_free(struct tls_hello **hello);
/* After inner_ended: if there is nothing left to look at. */
void tls_hello_ended(struct tls_driver *driver, struct tls_stream *stream);
/* It will come to nothing. */
/* Of a newcomer that has no stream here: a line for the operator. */
void tls_hello_refuse(struct tls_driver *driver, const struct lp_transport_event *accepted);
void tls_hello_fail(struct tls_driver *driver, struct tls_stream *stream, enum tls_failure reason,
                    const char *why);
/* Answers of workers, or some steps of our own; and those whose time is up. */
void tls_hellos_poll(struct tls_driver *driver);
bool tls_hellos_due(const struct tls_driver *driver);
uint64_t tls_driver_next_ns(const struct tls_driver *driver);
void tls_time_set(struct tls_driver *driver, struct lp_list *list, struct tls_stream *stream,
                  uint64_t delay_ns);

/* ---- stream.c ---- */
/* An event of the inner transport's became one of ours, in place; false: it did not. */
bool tls_stream_event(struct tls_driver *driver, struct tls_stream *stream,
                      struct lp_transport_event *event);
/* What it has to say, one event; false: nothing (any more). */
bool tls_stream_say(struct tls_driver *driver, struct tls_stream *stream,
                    struct lp_transport_event *event);
bool tls_stream_speaks(const struct tls_stream *stream);
void tls_stream_push(struct tls_driver *driver, struct tls_stream *stream);
void tls_stream_fail(struct tls_driver *driver, struct tls_stream *stream);
void tls_stream_receive_update(struct tls_driver *driver, struct tls_stream *stream);
/* The inner stream goes; nothing of ours is sent any more. */
void tls_stream_leave(struct tls_driver *driver, struct tls_stream *stream);
/* The last bytes are in `out`: leave when they are sent. */
void tls_stream_last(struct tls_driver *driver, struct tls_stream *stream);
bool tls_stream_send(struct tls_driver *driver, struct tls_stream *stream,
                     const struct lp_iovec *pieces, uint32_t count);
void tls_stream_close(struct tls_driver *driver, struct tls_stream *stream);

/* ---- driver.c ---- */
void tls_ready_push(struct tls_driver *driver, struct tls_stream *stream);
/* All that it has, back. */
void tls_stream_release(struct tls_driver *driver, struct tls_stream *stream);
