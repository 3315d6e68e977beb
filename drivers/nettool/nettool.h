/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nettool.h - lepus-net: what an operator sees of packet devices.
 *
 *   main.c     words and --help      capture.c  frames of a running broker, as pcapng
 *   pcapng.c   that format           nics.c     cards and interfaces of this machine
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* ---- pcapng.c: blocks of draft-ietf-opsawg-pcapng; false: the file takes no more ---- */
bool pcapng_begin(FILE *to);
/* Interfaces are numbered in the order of these calls. */
bool pcapng_interface(FILE *to, const char *name, uint32_t snap_bytes);
struct pcapng_packet {
    uint32_t interface;
    uint64_t wall_ns;
    uint32_t bytes;
    uint32_t whole;
    bool sent;
};
bool pcapng_packet(FILE *to, const struct pcapng_packet *packet, const uint8_t *data);

/* ---- offloads.c ---- */
struct offloads {
    bool rx_checksum;
    bool tx_checksum;
    bool tso;
    bool lro;
    uint32_t rss_key_bytes; /* 0: the driver says nothing of it */
    uint32_t rss_table;
};
/* False: the interface's driver does not answer. */
bool offloads_of(const char *name, struct offloads *ret_offloads);

/* ---- capture.c, nics.c: exit codes ---- */
int capture_run(int argc, char **argv);
int nics_run(int argc, char **argv);
