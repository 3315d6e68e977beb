/* SPDX-License-Identifier: Apache-2.0 */
/* administer_internal.h - what the files behind administer.h share. */
#pragma once

#include <jansson.h>

#include "control/topology/administer.h"
#include "control/topology/policy.h"

/* Always false. */
bool administer_refuse(struct lp_refusal *refusal, enum lp_err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* NULL: it is none, and the refusal says where. */
json_t *administer_json(struct lp_bytes text, struct lp_refusal *refusal);
/* Compact and sorted, appended to `text`; gives what `text` holds. */
struct lp_bytes administer_json_text(const json_t *value, struct lp_bytebuf *text);
bool administer_name_valid(struct lp_bytes name, struct lp_refusal *refusal);
/* Integers under these names and nothing else; `what` they are limits of. */
bool administer_limits_valid(const char *what, const json_t *limits, const char *const name[2],
                             struct lp_bytebuf *why);
/* Make or replace a policy that is valid. */
void administer_policy_put(struct lp_catalog *catalog, const struct lp_catalog_policy *like);
