/* SPDX-License-Identifier: Apache-2.0 */
/*
 * settings.h - what the configuration means to the control process.
 *
 *   Memory    the settings own their texts; the configuration must outlive them
 *   Runs on   boot
 */
#pragma once

#include "control/config/config.h"
#include "control/link/control.h"

struct settings;

/* From the command line. */
struct settings_given {
    const char *data;
    const char *data_id;     /* NULL: not told */
    const char *config_path; /* NULL: there is no file */
};
struct settings *settings_open(const struct lp_config *config, const struct settings_given *given);
const struct lp_control_settings *settings_of(const struct settings *settings);
void settings_close(struct settings **settings);
