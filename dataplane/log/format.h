/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format.h - what is on disk, byte by byte: the root's slots, batches, records.
 *
 * All numbers are little-endian.  Reading checks every field: what a parse
 * function gives is of this log, of this place, and unchanged.
 *
 *   Runs on   any
 *
 * Batch header, 72 bytes:
 *     0  u64 magic                 40  u64 LSN that was durable when it was sealed
 *     8  u16 version               48  u32 bytes: header and records, without the padding
 *    10  u16 flags                 52  u32 records
 *    12  u32 shard                 56  u32 checksum of the header of the batch before
 *    16  u32 segment               60  u32 checksum of all its record headers
 *    20  u32 generation            64  u32 zero
 *    24  u64 offset                68  u32 checksum of bytes 0 to 67, seeded with the salt
 *    32  u64 LSN
 * Records follow, each at a multiple of 8; then zeros up to LP_DISK_ALIGN_BYTES.
 *
 * Record header, 8 bytes, then the content, then zeros up to 8:
 *     0  u32 checksum of place (segment, unit), the next field, and the content
 *     4  u32 length in the low 24 bits, kind above
 *
 * Root slot, 4096 bytes; slot number % 2 is the place of version `number`:
 *     0  u64 magic                 48  u64 ... its offset
 *     8  u16 version               56  u64 ... the LSN to be found there
 *    10  u16 flags                 64  u64 an LSN that was durable, and all before it
 *    12  u32 shard                 72  u32 the first number that no segment has had
 *    16  u64 number                76  u32 zero
 *    24  u64 salt                  80  generations, 16 bytes each: u32 generation, u32 zero,
 *    32  u32 generation                u64 the first LSN that it wrote or will write
 *    36  u32 count of generations      zeros
 *    40  u32 checkpoint: segment 4092  u32 checksum of all before, seeded with the slot
 *    44  u32 ... checksum of the header of the batch before
 */
#pragma once

#include <lepus/bytes.h>
#include <lepus/disk.h>

#include "dataplane/log/log.h"

#define LOG_FORMAT_VERSION      1u
#define LOG_BATCH_MAGIC         0x6863746142757065u /* "epuBatch" */
#define LOG_ROOT_MAGIC          0x746f6f527375704cu /* "LpusRoot" */
#define LOG_BATCH_HEADER_BYTES  72u
#define LOG_RECORD_HEADER_BYTES 8u
#define LOG_ROOT_SLOT_BYTES     LP_DISK_ALIGN_BYTES
#define LOG_ROOT_BYTES          (2u * LOG_ROOT_SLOT_BYTES)
#define LOG_ROOT_FILE           0u
/* Far from overflow: these numbers only grow, by one. */
#define LOG_SEGMENT_NUMBER_MAX (UINT32_MAX / 2)
#define LOG_GENERATION_MAX     (UINT32_MAX / 2)
#define LOG_LSN_MAX            (UINT64_MAX / 2)
/* (4092 - 80) / 16 would be 250. */
#define LOG_GENERATIONS_MAX 248u

struct log_batch_header {
    uint32_t shard;
    uint32_t segment;
    uint32_t generation;
    uint64_t offset;
    uint64_t lsn;
    uint64_t durable;
    uint32_t bytes;
    uint32_t records;
    uint32_t previous_crc;
    uint32_t records_crc;
    bool continues;
};

struct log_generation {
    uint32_t generation;
    uint64_t lsn; /* of its first batch */
};

struct log_root {
    uint32_t shard;
    uint64_t number;
    uint64_t salt;
    uint32_t generation;
    bool closed; /* `durable` is the last batch that there is */
    struct {
        uint32_t segment;
        uint32_t previous_crc;
        uint64_t offset;
        uint64_t lsn;
    } checkpoint;
    uint64_t durable;
    uint32_t segment_next;
    uint32_t generation_count;
    struct log_generation generations[LOG_GENERATIONS_MAX]; /* both fields ascend */
};

/* Bytes of a batch on disk. */
static inline uint32_t
log_padded(uint32_t bytes)
{
    return (bytes + LP_DISK_ALIGN_BYTES - 1) & ~(LP_DISK_ALIGN_BYTES - 1);
}

static inline uint32_t
log_record_bytes(uint32_t content_bytes)
{
    return LOG_RECORD_HEADER_BYTES +
           ((content_bytes + LP_LOG_UNIT_BYTES - 1) & ~(LP_LOG_UNIT_BYTES - 1));
}

/* What checksums of batch headers are seeded with. */
uint32_t log_salt_seed(uint64_t salt);

/* Writes LOG_BATCH_HEADER_BYTES; gives the header's checksum. */
uint32_t log_batch_header_write(uint8_t *to, const struct log_batch_header *header, uint32_t seed);
/*
 * False: this is not a header that was written for this shard and this place.
 * That it is the next one, of the right generation, is the caller's to see.
 */
LP_MUST_CHECK bool log_batch_header_parse(struct lp_bytes block, uint32_t seed,
                                          struct log_batch_header *ret_header, uint32_t *ret_crc);

/* The header of a record whose content is not there yet: length and kind. */
static inline uint64_t
log_record_length(uint8_t kind, uint32_t bytes)
{
    return ((uint64_t)kind << 24 | bytes) << 32;
}

/* Where in a batch's segment its byte `at` is. */
static inline struct lp_log_place
log_batch_place(const struct log_batch_header *header, uint32_t at)
{
    const struct lp_log_place place = {header->segment,
                                       (uint32_t)((header->offset + at) / LP_LOG_UNIT_BYTES)};
    return place;
}

/* Both words of a record's header; the content is there already. */
uint64_t log_record_header(struct lp_log_place place, uint32_t length_and_kind,
                           const uint8_t *content);
/* The header of a record, its fields in range, its content within `data`; no checksum is looked at.
 */
LP_MUST_CHECK bool log_record_split(struct lp_bytes data, struct lp_log_place place,
                                    struct lp_log_record *ret_record);

/* A batch, all of it: are all its records what they were?  Else `*ret_offset` is where it is not.
 */
LP_MUST_CHECK bool log_batch_whole(const struct log_batch_header *header, const uint8_t *data,
                                   uint64_t *ret_offset);
/* Writes LOG_ROOT_SLOT_BYTES. */
void log_root_write(uint8_t *to, const struct log_root *root);
/* False: slot `slot` holds no root of this shard. */
LP_MUST_CHECK bool log_root_parse(struct lp_bytes slot_bytes, uint32_t slot, uint32_t shard,
                                  struct log_root *ret_root);
/* The generation that wrote, or will write, this LSN; 0: none that is listed. */
uint32_t log_root_generation_of(const struct log_root *root, uint64_t lsn);
