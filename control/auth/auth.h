/* SPDX-License-Identifier: Apache-2.0 */
/*
 * auth.h - who may do what: the questions that the rest of the control process
 * asks, and the contract of the back ends that answer them.
 *
 * A back end is one file beside this one and one line in auth.c's list; they
 * are asked in order, and the first that knows the user decides.
 *
 *   Memory    borrowed
 *   Runs on   control; today's back end answers at once
 */
#pragma once

#include "control/topology/catalog.h"

enum lp_auth_verdict {
    LP_AUTH_ALLOWED,
    LP_AUTH_REFUSED,
    LP_AUTH_UNKNOWN, /* not a user of this back end: ask the next */
};

struct lp_auth_question {
    uint8_t right;    /* enum lp_permission, one bit */
    uint8_t resource; /* enum lp_resource */
    struct lp_bytes name;
};

/* About a routing key at a topic exchange: to write when publishing, to read when binding. */
struct lp_auth_topic_question {
    uint8_t right; /* LP_PERMISSION_WRITE or LP_PERMISSION_READ */
    struct lp_bytes exchange, key;
};

struct lp_auth_backend {
    const char *name;
    enum lp_auth_verdict (*login)(const struct lp_catalog *catalog, struct lp_bytes user,
                                  struct lp_bytes password);
    /* Somebody else vouches for it: may it log in? */
    enum lp_auth_verdict (*external)(const struct lp_catalog *catalog, struct lp_bytes user);
    enum lp_auth_verdict (*vhost)(const struct lp_catalog *catalog, struct lp_bytes user,
                                  const struct lp_catalog_vhost *vhost);
    /* The name of the default exchange arrives as "amq.default". */
    enum lp_auth_verdict (*resource)(const struct lp_catalog *catalog, struct lp_bytes user,
                                     const struct lp_catalog_vhost *vhost,
                                     const struct lp_auth_question *question);
    enum lp_auth_verdict (*topic)(const struct lp_catalog *catalog, struct lp_bytes user,
                                  const struct lp_catalog_vhost *vhost,
                                  const struct lp_auth_topic_question *question);
    /* What its user may do beyond patterns (enum lp_rights bits). */
    uint8_t (*rights)(const struct lp_catalog *catalog, struct lp_bytes user,
                      const struct lp_catalog_vhost *vhost);
    /* Rights that admit every name in the vhost (enum lp_permission bits). */
    uint8_t (*unrestricted)(const struct lp_catalog *catalog, struct lp_bytes user,
                            const struct lp_catalog_vhost *vhost);
};

extern const struct lp_auth_backend lp_auth_internal; /* users in the catalog */

struct lp_auth_login {
    struct lp_bytes mechanism, user, password; /* EXTERNAL: there is no password */
    bool loopback;
    /* Users that may come from this machine only. */
    const char *const *loopback_users;
    size_t loopback_user_count;
};

/* C13, C16.  The fault's text does not tell which part was wrong; `ret_why` does, for the log. */
LP_MUST_CHECK bool lp_auth_login(const struct lp_catalog *catalog,
                                 const struct lp_auth_login *login, const char **ret_why,
                                 struct lp_fault *ret_fault);
/* The fault of a login that failed, whatever the reason; always false. */
bool lp_auth_refuse(const struct lp_auth_login *login, struct lp_fault *ret_fault);
/* C18, C19. */
LP_MUST_CHECK bool lp_auth_vhost(const struct lp_catalog *catalog, struct lp_bytes user,
                                 struct lp_bytes vhost_name, struct lp_catalog_vhost **ret_vhost,
                                 struct lp_fault *ret_fault);
/* C84. */
LP_MUST_CHECK bool lp_auth_check(const struct lp_catalog *catalog,
                                 const struct lp_catalog_actor *actor,
                                 const struct lp_auth_question *question,
                                 struct lp_fault *ret_fault);
/* C85. */
LP_MUST_CHECK bool lp_auth_check_topic(const struct lp_catalog *catalog,
                                       const struct lp_catalog_actor *actor,
                                       const struct lp_auth_topic_question *question,
                                       struct lp_fault *ret_fault);
uint8_t lp_auth_rights(const struct lp_catalog *catalog, struct lp_bytes user,
                       const struct lp_catalog_vhost *vhost);
uint8_t lp_auth_unrestricted(const struct lp_catalog *catalog, struct lp_bytes user,
                             const struct lp_catalog_vhost *vhost);
