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

/* `config_path` is NULL when there is no file. */
struct settings *settings_open(const struct lp_config *config, const char *data,
                               const char *config_path);
const struct lp_control_settings *settings_of(const struct settings *settings);
void settings_close(struct settings **settings);
