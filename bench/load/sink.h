/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sink.h - lepus-bench --sink: a relay (bench/relay) in a process of its own,
 * so that this program shows how fast it could go if the broker cost nearly
 * nothing.
 */
#pragma once

#include "options.h"

struct load_sink {
    int pid; /* 0: none */
    char port[8];
};

/* Start it, and let `options` point to it; false: said why. */
LP_MUST_CHECK bool load_sink_start(struct load_sink *sink, struct load_options *options);
void load_sink_stop(struct load_sink *sink);
