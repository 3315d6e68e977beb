/* SPDX-License-Identifier: Apache-2.0 */
/* definitions.h - what files of definitions say of argument tables: JSON for both ways. */
#pragma once

#include "control/admin/admin_internal.h"

/* An object of names and values; types are lost, but for what JSON has. */
json_t *admin_table_object(struct lp_bytes table);
/* The table's bytes, as RabbitMQ types them: integers are long, texts longstr.  `object` may be
 * NULL or an empty list.  False: it cannot be one. */
LP_MUST_CHECK bool admin_table_make(const json_t *object, struct lp_bytebuf *ret_table);
