/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "dataplane/log/crc32c.h"
#include "dataplane/log/format.h"

#define FLAG_CONTINUES 1u
#define FLAG_CLOSED    1u
#define LENGTH_BITS    24u
#define HEADER_CRC_AT  (LOG_BATCH_HEADER_BYTES - 4u)
#define ROOT_CRC_AT    (LOG_ROOT_SLOT_BYTES - 4u)

LP_STATIC_ASSERT(LP_LOG_RECORD_BYTES_MAX < 1u << LENGTH_BITS, "a record's length has 24 bits");

uint32_t
log_salt_seed(uint64_t salt)
{
    return lp_crc32c(0, &salt, sizeof(salt));
}

/* --- batches ------------------------------------------------------------- */

uint32_t
log_batch_header_write(uint8_t *to, const struct log_batch_header *header, uint32_t seed)
{
    uint8_t bytes[LOG_BATCH_HEADER_BYTES];
    struct lp_writer writer = lp_writer_of(bytes, sizeof(bytes));
    lp_writer_u64le(&writer, LOG_BATCH_MAGIC);
    lp_writer_u16le(&writer, LOG_FORMAT_VERSION);
    lp_writer_u16le(&writer, header->continues ? FLAG_CONTINUES : 0);
    lp_writer_u32le(&writer, header->shard);
    lp_writer_u32le(&writer, header->segment);
    lp_writer_u32le(&writer, header->generation);
    lp_writer_u64le(&writer, header->offset);
    lp_writer_u64le(&writer, header->lsn);
    lp_writer_u64le(&writer, header->durable);
    lp_writer_u32le(&writer, header->bytes);
    lp_writer_u32le(&writer, header->records);
    lp_writer_u32le(&writer, header->previous_crc);
    lp_writer_u32le(&writer, header->records_crc);
    lp_writer_u32le(&writer, 0);
    const uint32_t crc = lp_crc32c(seed, bytes, HEADER_CRC_AT);
    lp_writer_u32le(&writer, crc);
    LP_ASSERT(!writer.failed);
    memcpy(to, bytes, sizeof(bytes));
    return crc;
}

/* What no writer of ours would have written. */
static bool
header_in_range(const struct log_batch_header *header)
{
    return header->bytes >= LOG_BATCH_HEADER_BYTES && header->bytes <= LP_LOG_BATCH_BYTES &&
           header->bytes % LP_LOG_UNIT_BYTES == 0 &&
           header->records <= header->bytes / LOG_RECORD_HEADER_BYTES && header->segment > 0 &&
           header->offset % LP_DISK_ALIGN_BYTES == 0 && header->generation > 0 &&
           header->lsn > header->durable && header->lsn - header->durable <= LP_LOG_BATCHES;
}

bool
log_batch_header_parse(struct lp_bytes block, uint32_t seed, struct log_batch_header *ret_header,
                       uint32_t *ret_crc)
{
    struct lp_reader reader = lp_reader_of_bytes(block);
    struct log_batch_header header;
    const uint64_t magic = lp_reader_u64le(&reader);
    const uint16_t version = lp_reader_u16le(&reader);
    const uint16_t flags = lp_reader_u16le(&reader);
    header.shard = lp_reader_u32le(&reader);
    header.segment = lp_reader_u32le(&reader);
    header.generation = lp_reader_u32le(&reader);
    header.offset = lp_reader_u64le(&reader);
    header.lsn = lp_reader_u64le(&reader);
    header.durable = lp_reader_u64le(&reader);
    header.bytes = lp_reader_u32le(&reader);
    header.records = lp_reader_u32le(&reader);
    header.previous_crc = lp_reader_u32le(&reader);
    header.records_crc = lp_reader_u32le(&reader);
    const uint32_t zero = lp_reader_u32le(&reader);
    const uint32_t crc = lp_reader_u32le(&reader);
    header.continues = flags & FLAG_CONTINUES;
    if (reader.failed || magic != LOG_BATCH_MAGIC || version != LOG_FORMAT_VERSION ||
        (flags & ~FLAG_CONTINUES) != 0 || zero != 0 || !header_in_range(&header) ||
        crc != lp_crc32c(seed, block.data, HEADER_CRC_AT)) {
        return false;
    }
    *ret_header = header;
    *ret_crc = crc;
    return true;
}

/* --- records ------------------------------------------------------------- */

static uint32_t
record_crc(struct lp_log_place place, uint32_t length_and_kind, const uint8_t *content)
{
    const uint32_t seed[3] = {place.segment, place.unit, length_and_kind};
    const uint32_t crc = lp_crc32c(0, seed, sizeof(seed));
    return lp_crc32c(crc, content, length_and_kind & ((1u << LENGTH_BITS) - 1));
}

uint64_t
log_record_header(struct lp_log_place place, uint32_t length_and_kind, const uint8_t *content)
{
    return (uint64_t)length_and_kind << 32 | record_crc(place, length_and_kind, content);
}

bool
log_record_split(struct lp_bytes data, struct lp_log_place place, struct lp_log_record *ret_record)
{
    struct lp_reader reader = lp_reader_of_bytes(data);
    (void)lp_reader_u32le(&reader);
    const uint32_t length_and_kind = lp_reader_u32le(&reader);
    const uint32_t length = length_and_kind & ((1u << LENGTH_BITS) - 1);
    const uint8_t kind = (uint8_t)(length_and_kind >> LENGTH_BITS);
    const struct lp_bytes content = lp_reader_bytes(&reader, length);
    if (reader.failed || kind == 0 || length > LP_LOG_RECORD_BYTES_MAX) {
        return false;
    }
    ret_record->place = place;
    ret_record->kind = kind;
    ret_record->content = content;
    return true;
}

bool
lp_log_parse(struct lp_bytes data, struct lp_log_place place, struct lp_log_record *ret_record)
{
    struct lp_log_record record;
    if (!log_record_split(data, place, &record)) {
        return false;
    }
    struct lp_reader reader = lp_reader_of_bytes(data);
    const uint64_t header = lp_reader_u64le(&reader);
    if (header != log_record_header(place, (uint32_t)(header >> 32), record.content.data)) {
        return false;
    }
    *ret_record = record;
    return true;
}

/* The records' headers are what they were, and fill the batch. */
static bool
headers_whole(const struct log_batch_header *header, const uint8_t *data)
{
    const struct lp_log_place nowhere = {0, 0};
    uint32_t at = LOG_BATCH_HEADER_BYTES;
    uint32_t crc = 0;
    for (uint32_t i = 0; i < header->records; i++) {
        struct lp_log_record record;
        if (!log_record_split(lp_bytes_of(data + at, header->bytes - at), nowhere, &record)) {
            return false;
        }
        crc = lp_crc32c(crc, data + at, LOG_RECORD_HEADER_BYTES);
        const uint32_t bytes = log_record_bytes(record.content.size);
        if (bytes > header->bytes - at) {
            return false;
        }
        at += bytes;
    }
    return at == header->bytes && crc == header->records_crc;
}

bool
log_batch_whole(const struct log_batch_header *header, const uint8_t *data, uint64_t *ret_offset)
{
    *ret_offset = header->offset;
    if (!headers_whole(header, data)) {
        return false;
    }
    uint32_t at = LOG_BATCH_HEADER_BYTES;
    for (uint32_t i = 0; i < header->records; i++) {
        struct lp_log_record record;
        if (!lp_log_parse(lp_bytes_of(data + at, header->bytes - at), log_batch_place(header, at),
                          &record)) {
            *ret_offset = header->offset + at;
            return false;
        }
        at += log_record_bytes(record.content.size);
    }
    return true;
}

uint64_t
lp_log_record_bytes(uint32_t content_bytes)
{
    return log_record_bytes(content_bytes);
}

/* --- the root ------------------------------------------------------------ */

void
log_root_write(uint8_t *to, const struct log_root *root)
{
    LP_ASSERT(root->generation_count > 0 && root->generation_count <= LOG_GENERATIONS_MAX);
    memset(to, 0, LOG_ROOT_SLOT_BYTES);
    struct lp_writer writer = lp_writer_of(to, LOG_ROOT_SLOT_BYTES);
    lp_writer_u64le(&writer, LOG_ROOT_MAGIC);
    lp_writer_u16le(&writer, LOG_FORMAT_VERSION);
    lp_writer_u16le(&writer, root->closed ? FLAG_CLOSED : 0);
    lp_writer_u32le(&writer, root->shard);
    lp_writer_u64le(&writer, root->number);
    lp_writer_u64le(&writer, root->salt);
    lp_writer_u32le(&writer, root->generation);
    lp_writer_u32le(&writer, root->generation_count);
    lp_writer_u32le(&writer, root->checkpoint.segment);
    lp_writer_u32le(&writer, root->checkpoint.previous_crc);
    lp_writer_u64le(&writer, root->checkpoint.offset);
    lp_writer_u64le(&writer, root->checkpoint.lsn);
    lp_writer_u64le(&writer, root->durable);
    lp_writer_u32le(&writer, root->segment_next);
    lp_writer_u32le(&writer, 0);
    for (uint32_t i = 0; i < root->generation_count; i++) {
        lp_writer_u32le(&writer, root->generations[i].generation);
        lp_writer_u32le(&writer, 0);
        lp_writer_u64le(&writer, root->generations[i].lsn);
    }
    LP_ASSERT(!writer.failed && lp_writer_size(&writer) <= ROOT_CRC_AT);
    writer.at = to + ROOT_CRC_AT;
    lp_writer_u32le(&writer, lp_crc32c((uint32_t)(root->number % 2), to, ROOT_CRC_AT));
}

static bool
generations_parse(struct lp_reader *reader, struct log_root *root)
{
    for (uint32_t i = 0; i < root->generation_count; i++) {
        struct log_generation *at = &root->generations[i];
        at->generation = lp_reader_u32le(reader);
        const uint32_t zero = lp_reader_u32le(reader);
        at->lsn = lp_reader_u64le(reader);
        if (zero != 0 || at->generation == 0 || at->lsn == 0 ||
            (i > 0 && (at->generation <= at[-1].generation || at->lsn <= at[-1].lsn))) {
            return false;
        }
    }
    return !reader->failed;
}

/* The parts fit each other. */
static bool
root_in_range(const struct log_root *root)
{
    return root->generations[root->generation_count - 1].generation == root->generation &&
           root->generations[0].lsn <= root->checkpoint.lsn &&
           root->checkpoint.offset % LP_DISK_ALIGN_BYTES == 0 &&
           root->durable + 1 >= root->checkpoint.lsn &&
           root->checkpoint.segment < root->segment_next &&
           root->segment_next <= LOG_SEGMENT_NUMBER_MAX && root->generation <= LOG_GENERATION_MAX &&
           root->number < UINT64_MAX && root->durable <= LOG_LSN_MAX;
}

bool
log_root_parse(struct lp_bytes slot_bytes, uint32_t slot, uint32_t shard, struct log_root *ret_root)
{
    struct lp_reader reader = lp_reader_of_bytes(slot_bytes);
    const uint64_t magic = lp_reader_u64le(&reader);
    const uint16_t version = lp_reader_u16le(&reader);
    const uint16_t flags = lp_reader_u16le(&reader);
    ret_root->shard = lp_reader_u32le(&reader);
    ret_root->number = lp_reader_u64le(&reader);
    ret_root->salt = lp_reader_u64le(&reader);
    ret_root->generation = lp_reader_u32le(&reader);
    ret_root->generation_count = lp_reader_u32le(&reader);
    ret_root->checkpoint.segment = lp_reader_u32le(&reader);
    ret_root->checkpoint.previous_crc = lp_reader_u32le(&reader);
    ret_root->checkpoint.offset = lp_reader_u64le(&reader);
    ret_root->checkpoint.lsn = lp_reader_u64le(&reader);
    ret_root->durable = lp_reader_u64le(&reader);
    ret_root->segment_next = lp_reader_u32le(&reader);
    const uint32_t zero = lp_reader_u32le(&reader);
    ret_root->closed = flags & FLAG_CLOSED;
    if (reader.failed || slot_bytes.size != LOG_ROOT_SLOT_BYTES || magic != LOG_ROOT_MAGIC ||
        version != LOG_FORMAT_VERSION || (flags & ~FLAG_CLOSED) != 0 || zero != 0 ||
        ret_root->shard != shard || ret_root->number % 2 != slot ||
        ret_root->generation_count == 0 || ret_root->generation_count > LOG_GENERATIONS_MAX) {
        return false;
    }
    struct lp_reader tail = lp_reader_of(slot_bytes.data + ROOT_CRC_AT, 4);
    return lp_reader_u32le(&tail) == lp_crc32c(slot, slot_bytes.data, ROOT_CRC_AT) &&
           generations_parse(&reader, ret_root) && root_in_range(ret_root);
}

uint32_t
log_root_generation_of(const struct log_root *root, uint64_t lsn)
{
    for (uint32_t i = root->generation_count; i > 0; i--) {
        if (root->generations[i - 1].lsn <= lsn) {
            return root->generations[i - 1].generation;
        }
    }
    return 0;
}
