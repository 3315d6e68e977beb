/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - what publishers wait for: the watermark of memory, and the room on the disk; and what
 * administrators say about both and about channels. */
#include "control/link/control_internal.h"

/* How often the disk is looked at: more often when what is left could be gone soon, at a rate that
 * RabbitMQ reckons with, too. */
#define DISK_MIN_NS            100000000ull
#define DISK_MAX_NS            2000000000ull
#define DISK_RATE_BYTES_PER_MS 250000u
/* An alarm ends with this much more room than the limit, so that it does not come and go. */
#define DISK_BAND_MAX_BYTES (256ull << 20)

static uint64_t
share_of(const struct lp_control_node *node, uint64_t millionths)
{
    return node->machine_memory_bytes / 1000000u * millionths;
}

uint64_t
control_watermark_bytes(const struct lp_control *control)
{
    const struct lp_control_node *node = &control->region->node;
    if (!node->watermark_set) {
        return node->configured_watermark_bytes;
    }
    return node->watermark_millionths > 0 ? share_of(node, node->watermark_millionths)
                                          : node->watermark_bytes;
}

uint64_t
control_disk_limit_bytes(const struct lp_control *control)
{
    const struct lp_control_node *node = &control->region->node;
    const struct lp_control_settings *settings = &control->options.settings;
    if (node->disk_limit_set) {
        return node->disk_limit_bytes;
    }
    return settings->disk_limit_millionths > 0 ? share_of(node, settings->disk_limit_millionths)
                                               : settings->disk_limit_bytes;
}

/* ---- the disk ---- */

/* `anew`: the limit is another one than before, and owes nothing to the alarm. */
static void
disk_look(struct lp_control *control, bool anew)
{
    struct control_disk *disk = &control->disk;
    uint64_t free_bytes;
    disk->due_ns = control->now_ns + DISK_MAX_NS;
    if (!control->options.disk_free(control->options.context, &free_bytes)) {
        if (disk->known) {
            control_log(control, LP_CONTROL_LOG_ERROR, "the disk's room cannot be read any more");
        }
        disk->known = false;
        return;
    }
    const uint64_t limit = control_disk_limit_bytes(control);
    const uint64_t band =
        disk->low && !anew ? LP_MIN(limit / 16, (uint64_t)DISK_BAND_MAX_BYTES) : 0;
    const bool low = free_bytes < limit + band;
    if (low != disk->low) {
        control_log(control, low ? LP_CONTROL_LOG_WARNING : LP_CONTROL_LOG_INFO,
                    "free disk space is %s. Free bytes: %llu. Limit: %llu%s",
                    low ? "insufficient" : "sufficient", (unsigned long long)free_bytes,
                    (unsigned long long)limit, low ? "; publishers wait" : "");
    }
    disk->known = true;
    disk->free_bytes = free_bytes;
    disk->low = low;
    if (!low) {
        const uint64_t gone_ms = (free_bytes - limit) / DISK_RATE_BYTES_PER_MS;
        const uint64_t wait_ns = LP_MIN(gone_ms, DISK_MAX_NS / 1000000u) * 2 * 1000000u;
        disk->due_ns =
            control->now_ns + LP_MIN(LP_MAX(wait_ns, (uint64_t)DISK_MIN_NS), DISK_MAX_NS);
    }
}

bool
control_disk_is_low(const struct lp_control *control)
{
    return control->disk.low || (control->region->node.alarms & LP_ALARM_DISK) != 0;
}

/* ---- memory: shards see to it themselves ---- */

bool
control_memory_is_low(const struct lp_control *control)
{
    if (control->region->node.alarms & LP_ALARM_MEMORY) {
        return true;
    }
    for (uint32_t i = 0; i < control->shard_count; i++) {
        const struct lp_stats_page *page = lp_control_region_stats(control->options.region, i);
        if (lp_load_relaxed(&page->memory_alarm) != 0) {
            return true;
        }
    }
    return false;
}

static void
memory_look(struct lp_control *control)
{
    const bool low = control_memory_is_low(control);
    if (low != control->memory_low) {
        control->memory_low = low;
        control_log(control, low ? LP_CONTROL_LOG_WARNING : LP_CONTROL_LOG_INFO,
                    low ? "memory is above its high watermark; publishers wait"
                        : "memory is below its high watermark again");
    }
}

static void
alarms_send(struct lp_control *control, uint32_t shard)
{
    struct lp_writer w = control_writer(control);
    const uint32_t asked = control->region->node.alarms;
    lp_writer_u8(&w, (uint8_t)(asked | (control->disk.low ? LP_ALARM_DISK : 0)));
    control_send(control, shard, LP_CONTROL_ALARMS, 0, lp_writer_bytes(&w));
}

static bool
disk_check(struct lp_control *control, bool anew)
{
    const bool before = control->disk.low;
    disk_look(control, anew);
    if (control->disk.low == before) {
        return false;
    }
    for (uint32_t i = 0; i < control->shard_count; i++) {
        alarms_send(control, i);
    }
    return true;
}

bool
control_node_step(struct lp_control *control)
{
    if (!control->options.disk_free || control->now_ns < control->disk.due_ns) {
        return false;
    }
    memory_look(control);
    return disk_check(control, false);
}

uint64_t
control_node_due_ns(const struct lp_control *control)
{
    return control->options.disk_free ? control->disk.due_ns : UINT64_MAX;
}

void
control_disk_limit_changed(struct lp_control *control)
{
    if (control->options.disk_free) {
        (void)disk_check(control, true); /* sent if it matters */
    }
}

/* ---- what shards are told ---- */

void
control_alarm_ask(struct lp_control *control, enum lp_alarm alarm, bool on)
{
    struct lp_control_node *node = &control->region->node;
    node->alarms = on ? node->alarms | alarm : node->alarms & ~(uint32_t)alarm;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        alarms_send(control, i);
    }
}

static void
channel_max_send(struct lp_control *control, uint32_t shard)
{
    struct lp_writer w = control_writer(control);
    lp_writer_u16le(&w, (uint16_t)(control->region->node.channel_max - 1));
    control_send(control, shard, LP_CONTROL_CHANNEL_MAX, 0, lp_writer_bytes(&w));
}

void
control_channel_max_set(struct lp_control *control, uint32_t channel_max)
{
    control->region->node.channel_max = channel_max + 1;
    for (uint32_t i = 0; i < control->shard_count; i++) {
        channel_max_send(control, i);
    }
}

static void
watermark_send(struct lp_control *control, uint32_t shard)
{
    struct lp_writer w = control_writer(control);
    lp_writer_u64le(&w, control_watermark_bytes(control) / control->shard_count);
    control_send(control, shard, LP_CONTROL_WATERMARK, 0, lp_writer_bytes(&w));
}

void
control_watermark_changed(struct lp_control *control)
{
    for (uint32_t i = 0; i < control->shard_count; i++) {
        watermark_send(control, i);
    }
}

void
control_node_open_boot(struct lp_control *control)
{
    if (control->options.disk_free) {
        disk_look(control, true);
    }
}

void
control_node_attach(struct lp_control *control, uint32_t shard)
{
    alarms_send(control, shard);
    if (control->region->node.watermark_set) {
        watermark_send(control, shard);
    }
    if (control->region->node.channel_max > 0) {
        channel_max_send(control, shard);
    }
}

void
control_node_settings_forget(struct lp_control *control)
{
    struct lp_control_node *node = &control->region->node;
    if (node->watermark_set) {
        node->watermark_set = 0;
        control_watermark_changed(control);
    }
    if (node->alarms != 0) {
        control_alarm_ask(control, node->alarms, false);
    }
    if (node->disk_limit_set) {
        node->disk_limit_set = 0;
        control_disk_limit_changed(control);
    }
}
