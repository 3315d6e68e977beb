/* SPDX-License-Identifier: Apache-2.0 */
#include "logtool.h"

#include <stdlib.h>
#include <string.h>

/* What begins here, if it is a batch that was written here. */
static bool
batch_at(const struct logtool_folder *folder, const struct logtool_file *file, const uint8_t *data,
         uint64_t offset, struct logtool_batch *ret_batch)
{
    const uint64_t left = file->bytes - file->bytes % LP_DISK_ALIGN_BYTES - offset;
    struct log_batch_header *header = &ret_batch->header;
    if (!log_batch_header_parse(lp_bytes_of(data + offset, LP_DISK_ALIGN_BYTES),
                                log_salt_seed(folder->root.salt), header, &ret_batch->crc) ||
        header->shard != folder->root.shard || header->segment != file->number ||
        header->offset != offset || log_padded(header->bytes) > left) {
        return false;
    }
    ret_batch->data = data + offset;
    ret_batch->whole = log_batch_whole(header, data + offset, &ret_batch->bad_offset);
    return true;
}

void
logtool_scan(const struct logtool_folder *folder, const struct logtool_file *file,
             void (*batch)(void *context, const struct logtool_batch *batch), void *context)
{
    uint32_t unreadable;
    uint8_t *data = logtool_file_read(folder, file, &unreadable);
    if (unreadable > 0) {
        (void)printf("  %s: %u blocks of %u bytes cannot be read\n", file->name, unreadable,
                     LP_DISK_ALIGN_BYTES);
    }
    uint64_t offset = 0;
    while (offset + LP_DISK_ALIGN_BYTES <= file->bytes) {
        struct logtool_batch found;
        if (batch_at(folder, file, data, offset, &found)) {
            batch(context, &found);
            offset += log_padded(found.header.bytes);
        } else {
            offset += LP_DISK_ALIGN_BYTES;
        }
    }
    free(data);
}
