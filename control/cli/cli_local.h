/* SPDX-License-Identifier: Apache-2.0 */
/* cli_local.h - commands that the tool carries out: LOCAL in control/command. */
#pragma once

#include "cli.h"

typedef int cli_local_fn(struct cli_request *request, const struct cli_io *io);

/* report.c */
cli_local_fn cli_local_report;

/* local.c */
cli_local_fn cli_local_autocomplete, cli_local_hash_password, cli_local_help, cli_local_version;
