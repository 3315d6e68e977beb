/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address.h - struct lp_address to and from text and the kernel's form.
 *
 *   Runs on   any
 */
#pragma once

#include <lepus/transport.h>

#include <sys/socket.h>

/* "tcp:[ffff:...:255.255.255.255]:65535" or "unix:" and a path, with the NUL. */
#define LP_ADDRESS_FORMAT_BYTES (LP_ADDRESS_TEXT_BYTES + 8)

/* Read "tcp:IP:PORT", "tcp:[IPV6]:PORT" or "unix:PATH"; false: it is none of them. */
LP_MUST_CHECK bool lp_address_parse(const char *text, struct lp_address *ret_address);
/* Write it in the same form; `text` holds LP_ADDRESS_FORMAT_BYTES. */
void lp_address_format(const struct lp_address *address, char *text);

/* The kernel's form; gives its length. */
socklen_t lp_address_to_kernel(const struct lp_address *address,
                               struct sockaddr_storage *ret_kernel);
void lp_address_of_kernel(const struct sockaddr_storage *kernel, socklen_t bytes,
                          struct lp_address *ret_address);
