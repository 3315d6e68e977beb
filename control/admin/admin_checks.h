/* SPDX-License-Identifier: Apache-2.0 */
/* admin_checks.h - commands that have more to ask of their arguments than how many there are. */
#pragma once

#include "control/admin/admin_internal.h"

#define ADMIN_CHECKS(X)             \
    X(add_user)                     \
    X(await_online_nodes)           \
    X(check_certificate_expiration) \
    X(check_port_listener)          \
    X(cipher_suites)                \
    X(close_all_connections)        \
    X(delete_queue)                 \
    X(enable_feature_flag)          \
    X(latency)                      \
    X(memory_breakdown)             \
    X(set_disk_free_limit)          \
    X(set_vm_memory_high_watermark) \
    X(status)                       \
    X(update_vhost_metadata)

#define X(id) admin_check_fn admin_check_##id;
ADMIN_CHECKS(X)
#undef X

/* Is the first argument a number above 0?  False after a failure that ended the task. */
bool admin_number_check(struct admin_task *task);
