/* SPDX-License-Identifier: Apache-2.0 */
#include "nettool.h"

#include <string.h>

/* Section 4: block types and options. */
#define BLOCK_SECTION    0x0a0d0d0au
#define BLOCK_INTERFACE  0x00000001u
#define BLOCK_PACKET     0x00000006u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du
#define LINK_ETHERNET    1u

#define OPTION_END      0u
#define IF_NAME         2u
#define IF_TSRESOL      9u
#define EPB_FLAGS       2u
#define DIRECTION_IN    1u
#define DIRECTION_OUT   2u
#define RESOLUTION_NS   9u
#define BLOCK_BYTES_MAX (128u << 10)

struct block {
    uint32_t bytes;
    uint8_t data[BLOCK_BYTES_MAX];
};

static void
put(struct block *block, const void *from, uint32_t bytes)
{
    if (bytes > 0) {
        memcpy(block->data + block->bytes, from, bytes);
        block->bytes += bytes;
    }
}

static void
put_u32(struct block *block, uint32_t value)
{
    put(block, &value, sizeof(value)); /* the section's byte order is ours */
}

static void
put_padded(struct block *block, const void *from, uint32_t bytes)
{
    static const uint8_t zeros[4] = {0};
    put(block, from, bytes);
    put(block, zeros, (4u - bytes % 4u) % 4u);
}

static void
put_option(struct block *block, uint16_t code, const void *from, uint16_t bytes)
{
    const uint16_t head[2] = {code, bytes};
    put(block, head, sizeof(head));
    put_padded(block, from, bytes);
}

static void
block_begin(struct block *block, uint32_t type)
{
    block->bytes = 0;
    put_u32(block, type);
    put_u32(block, 0); /* its length, when it is known */
}

static bool
block_end(struct block *block, FILE *to)
{
    const uint32_t bytes = block->bytes + 4;
    memcpy(block->data + 4, &bytes, sizeof(bytes));
    put_u32(block, bytes);
    return fwrite(block->data, 1, bytes, to) == bytes;
}

static void
put_time(struct block *block, uint64_t wall_ns)
{
    put_u32(block, (uint32_t)(wall_ns >> 32));
    put_u32(block, (uint32_t)wall_ns);
}

bool
pcapng_begin(FILE *to)
{
    static struct block block;
    const uint16_t version[2] = {1, 0};
    const int64_t unknown = -1;
    block_begin(&block, BLOCK_SECTION);
    put_u32(&block, BYTE_ORDER_MAGIC);
    put(&block, version, sizeof(version));
    put(&block, &unknown, sizeof(unknown));
    return block_end(&block, to);
}

bool
pcapng_interface(FILE *to, const char *name, uint32_t snap_bytes)
{
    static struct block block;
    const uint16_t link[2] = {LINK_ETHERNET, 0};
    const uint8_t resolution = RESOLUTION_NS;
    block_begin(&block, BLOCK_INTERFACE);
    put(&block, link, sizeof(link));
    put_u32(&block, snap_bytes);
    put_option(&block, IF_NAME, name, (uint16_t)strlen(name));
    put_option(&block, IF_TSRESOL, &resolution, sizeof(resolution));
    put_option(&block, OPTION_END, NULL, 0);
    return block_end(&block, to);
}

bool
pcapng_packet(FILE *to, const struct pcapng_packet *packet, const uint8_t *data)
{
    static struct block block;
    const uint32_t flags = packet->sent ? DIRECTION_OUT : DIRECTION_IN;
    block_begin(&block, BLOCK_PACKET);
    put_u32(&block, packet->interface);
    put_time(&block, packet->wall_ns);
    put_u32(&block, packet->bytes);
    put_u32(&block, packet->whole);
    put_padded(&block, data, packet->bytes);
    put_option(&block, EPB_FLAGS, &flags, sizeof(flags));
    put_option(&block, OPTION_END, NULL, 0);
    return block_end(&block, to);
}
