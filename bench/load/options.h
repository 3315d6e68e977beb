/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h - what lepus-bench was asked to do.
 */
#pragma once

#include <lepus/base.h>

#define LOAD_BROKER_PIDS_MAX 16

struct load_options {
    const char *host;
    const char *port;
    const char *user;
    const char *password;
    const char *vhost;
    const char *name; /* queues are called NAME-0, NAME-1, ... */
    uint32_t publishers;
    uint32_t consumers;
    uint32_t queues;
    uint32_t size;      /* of a body, in bytes */
    uint64_t messages;  /* 0: seconds decide */
    uint32_t seconds;   /* 0: messages decide */
    uint64_t rate;      /* messages per second of all publishers together; 0: as fast as it goes */
    uint32_t window;    /* messages of a publisher on the way; 0: no bound but the sockets' */
    uint32_t prefetch;  /* 0: unlimited */
    uint32_t ack_every; /* acknowledge so many at once */
    uint32_t timeout_s; /* without progress */
    bool confirm;
    bool auto_ack;
    bool durable;
    bool keep;
    bool json;
    int broker_pids[LOAD_BROKER_PIDS_MAX];
    uint32_t broker_pid_count;
};

/*
 * Read the command line.  False: it was --help (ret_exit 0) or wrong
 * (ret_exit 2), and the reader has been told.
 */
LP_MUST_CHECK bool load_options_parse(struct load_options *options, int argc, char **argv,
                                      int *ret_exit);
