/* SPDX-License-Identifier: Apache-2.0 */
/*
 * report.h - what a run found, as a table, as JSON, as a picture.
 */
#pragma once

#include "run.h"

struct load_figures {
    double seconds; /* measured */
    double sent_rate;
    double received_rate;
    double confirmed_rate;
    double broker_us; /* processor time a copy delivered, or a message sent where nobody consumes */
    double own_us;
    double broker_share; /* of one processor */
    double own_share;
    double steal_share;  /* of all processors' time */
    double others_share; /* of one processor */
    uint64_t counted;    /* what broker_us counts */
    uint64_t lost;
    bool whole; /* all that was sent arrived whole, once and in order, and was confirmed */
};

void load_figures_of(struct load_figures *ret_figures, const struct load_run *run);
void load_report_table(const struct load_run *run, const struct load_figures *figures);
/* "-" is standard output; false: said why. */
LP_MUST_CHECK bool load_report_json(const struct load_run *run, const struct load_figures *figures,
                                    const char *path);
/* The latency curve; false: said why. */
LP_MUST_CHECK bool load_report_svg(const struct load_run *run, const struct load_figures *figures,
                                   const char *path);
