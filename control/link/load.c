/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - the catalog from the store, and what a new store holds. */
#include "control/auth/password.h"
#include "control/link/control_internal.h"

void
control_catalog_seed(struct lp_control *control)
{
    const struct lp_control_settings *settings = &control->options.settings;
    struct lp_catalog *catalog = control->catalog;
    const struct lp_bytes name = lp_bytes_of_text(settings->default_user);
    const enum lp_password_algorithm algorithm =
        (enum lp_password_algorithm)catalog->rules.password_algorithm;
    struct lp_bytes pattern[LP_CATALOG_RIGHTS];
    struct lp_password_hash hash;
    for (size_t i = 0; i < LP_CATALOG_RIGHTS; i++) {
        pattern[i] = lp_bytes_of_text(settings->default_permissions[i]);
    }
    (void)lp_catalog_vhost_add(catalog, lp_bytes_of_text(settings->default_vhost)); /* none yet */
    lp_password_hash(&catalog->entropy, algorithm, lp_bytes_of_text(settings->default_password),
                     &hash);
    const struct lp_catalog_user user = {.name = name,
                                         .hash = lp_bytes_of(hash.data, hash.bytes),
                                         .algorithm = (uint8_t)algorithm,
                                         .tags = lp_bytes_of_text(settings->default_tags)};
    lp_catalog_user_put(catalog, &user);
    lp_catalog_permission_put(catalog, lp_catalog_user(catalog, name),
                              lp_catalog_vhost(catalog, lp_bytes_of_text(settings->default_vhost)),
                              pattern);
}

/* What is in the store must be about the logs that there are. */
static enum lp_err
catalog_fits(struct lp_control *control)
{
    const struct lp_catalog *catalog = control->catalog;
    const char *id = control->options.settings.data_id;
    if (catalog->homes > control->shard_count) {
        control_log(control, LP_CONTROL_LOG_ERROR,
                    "there are queues on %u shards, and %u shards to run: set lepus.shards to %u",
                    catalog->homes, control->shard_count, catalog->homes);
        return LP_ERR_BAD_CONFIG;
    }
    if (catalog->data_id[0] != '\0' && id[0] != '\0' && strcmp(catalog->data_id, id) != 0) {
        control_log(control, LP_CONTROL_LOG_ERROR,
                    "topology.db is of the data directory %s, and this is %s: its queues are not "
                    "those whose messages are here; put back the one that belongs here",
                    catalog->data_id, id);
        return LP_ERR_BAD_CONFIG;
    }
    return LP_OK;
}

enum lp_err
control_catalog_load(struct lp_control *control)
{
    enum lp_err err = lp_catalog_open(&control->options.store, &control->options.entropy,
                                      control->shard_count, &control->catalog);
    if (!err) {
        err = catalog_fits(control);
    }
    if (err) {
        return err;
    }
    struct lp_catalog *catalog = control->catalog;
    catalog->rules = control->options.settings.rules;
    if (!catalog->seeded) {
        control_catalog_seed(control);
    }
    if (catalog->data_id[0] == '\0' && control->options.settings.data_id[0] != '\0') {
        lp_catalog_data_id_put(catalog, control->options.settings.data_id);
    }
    if (lp_catalog_changed(catalog)) {
        err = lp_catalog_commit(catalog, &control->options.store);
        lp_catalog_changes_clear(catalog);
    }
    return err;
}
