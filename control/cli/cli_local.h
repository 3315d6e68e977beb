/* SPDX-License-Identifier: Apache-2.0 */
/* cli_local.h - commands that the tool carries out: LOCAL in control/command. */
#pragma once

#include "cli.h"

typedef int cli_local_fn(struct cli_request *request, const struct cli_io *io);

/* node.c */
cli_local_fn cli_local_shutdown, cli_local_wait;
/* Another command, without arguments and options; NULL after a message and `ret_exit`. */
json_t *cli_local_ask(const struct cli_request *request, const struct cli_io *io,
                      const char *command, int *ret_exit);

/* connectivity.c */
cli_local_fn cli_local_check_port_connectivity;

/* report.c */
cli_local_fn cli_local_report;

/* secret.c */
cli_local_fn cli_local_decode, cli_local_decrypt_conf_value, cli_local_encode,
    cli_local_encrypt_conf_value, cli_local_list_ciphers, cli_local_list_hashes;

/* local.c */
cli_local_fn cli_local_autocomplete, cli_local_hash_password, cli_local_help, cli_local_version;
