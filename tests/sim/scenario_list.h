/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scenario_list.h - every scenario there is.
 */
#pragma once

#include "tests/sim/scenario.h"

/* late.c */
extern const struct scenario scenario_late;
/* flood.c */
extern const struct scenario scenario_flood;
extern const struct scenario scenario_plain, scenario_alone, scenario_replies, scenario_expires,
    scenario_declares, scenario_stamped_plain, scenario_stamped_graph;
/* log_play.c */
extern const struct scenario scenario_log, scenario_log_broken, scenario_log_rotten;
/* graph.c */
extern const struct scenario scenario_bare, scenario_expiry, scenario_lengths, scenario_letters,
    scenario_ttl, scenario_limits, scenario_priorities, scenario_sole, scenario_quorum, scenario_tx,
    scenario_copies, scenario_policies, scenario_graph, scenario_durable, scenario_durable_letters,
    scenario_transient, scenario_transient_letters, scenario_mix, scenario_mix_transient;
