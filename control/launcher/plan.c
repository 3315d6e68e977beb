/* SPDX-License-Identifier: Apache-2.0 */
/* From the configuration and the machine to what is started. */
#include "launcher.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB     ((uint64_t)1024 * 1024)
#define MILLION 1000000u
/* Of stored backlogs in memory, a shard. */
#define BACKLOG_SHARD_BYTES (64 * MIB)

static void
ignored_say(void *context, const char *key, const char *why)
{
    (void)context;
    launcher_warn("%s is accepted and ignored: %s", key, why);
}

/* With anonymous_login_user = none. */
static void
mechanism_count(void *context, const char *name, const char *value)
{
    uint32_t *counts = context; /* all, and those that need no user for nobody */
    (void)name;
    counts[0]++;
    counts[1] += strcmp(value, "ANONYMOUS") != 0;
}

static enum lp_err
mechanisms_check(const struct lp_config *config, char *ret_why, size_t why_bytes)
{
    uint32_t counts[2] = {0};
    lp_config_each(config, "auth_mechanisms.$name", mechanism_count, counts);
    if (counts[0] == 0 || counts[1] > 0 ||
        strcmp(lp_config_text(config, "anonymous_login_user"), "none") != 0) {
        return LP_OK;
    }
    (void)snprintf(ret_why, why_bytes,
                   "auth_mechanisms names ANONYMOUS only, and anonymous_login_user = none turns "
                   "it off: nobody could log in");
    return LP_ERR_BAD_CONFIG;
}

static enum lp_err
config_read(struct launcher_plan *plan, char *ret_why, size_t why_bytes)
{
    const struct launcher_options *options = plan->options;
    enum lp_err err = lp_config_open(options->config_path, &plan->config, ret_why, why_bytes);

    for (size_t i = 0; err == LP_OK && i < options->setting_count; i++) {
        err = lp_config_set(plan->config, options->setting[i], ret_why, why_bytes);
    }
    if (err == LP_OK) {
        err = lp_config_decrypt(plan->config, ret_why, why_bytes);
    }
    if (err == LP_OK) {
        err = mechanisms_check(plan->config, ret_why, why_bytes);
    }
    if (err == LP_OK) {
        lp_config_ignored_each(plan->config, ignored_say, NULL);
    }
    return err;
}

/* Beside our own binary, wherever it was started from. */
enum lp_err
launcher_programs_find(char *ret_folder, char *ret_why, size_t why_bytes)
{
    const char *given = secure_getenv("LEPUS_BIN_DIR");
    if (given != NULL && *given != '\0') {
        (void)snprintf(ret_folder, PATH_MAX, "%s", given);
        return LP_OK;
    }
    const ssize_t bytes = readlink("/proc/self/exe", ret_folder, PATH_MAX - 1);
    if (bytes <= 0) {
        (void)snprintf(ret_why, why_bytes,
                       "cannot tell where its own binary is; set LEPUS_BIN_DIR to the folder of "
                       "lepus-dataplane and lepus-control");
        return LP_ERR_NOT_FOUND;
    }
    ret_folder[bytes] = '\0';
    char *slash = strrchr(ret_folder, '/');
    LP_ASSERT(slash != NULL);
    *slash = '\0';
    return LP_OK;
}

struct listeners {
    struct launcher_plan *plan;
    const char *kind; /* "tcp" or "tls" */
    bool ipv6;
    bool too_many;
};

/* Into the kernel's list or that of our own ports. */
static void __attribute__((format(printf, 3, 4)))
listener_add(struct listeners *listeners, bool net, const char *format, ...)
{
    struct launcher_plan *plan = listeners->plan;
    size_t *count = net ? &plan->net_listener_count : &plan->listener_count;
    char **list = net ? plan->net_listener : plan->listener;
    va_list values;

    if (*count == LAUNCHER_LISTENERS_MAX) {
        listeners->too_many = true;
        return;
    }
    va_start(values, format);
    const int bytes = vasprintf(&list[*count], format, values);
    va_end(values);
    listeners->too_many |= bytes < 0;
    *count += bytes >= 0;
}

static void
tcp_add_to(struct listeners *listeners, bool net, const char *ip, uint16_t port)
{
    if (*ip == '\0') {
        listener_add(listeners, net, "%s:0.0.0.0:%u", listeners->kind, port);
        if (listeners->ipv6 || net) {
            listener_add(listeners, net, "%s:[::]:%u", listeners->kind, port);
        }
        return;
    }
    const bool six = strchr(ip, ':') != NULL;
    listener_add(listeners, net, "%s:%s%s%s:%u", listeners->kind, six ? "[" : "", ip,
                 six ? "]" : "", port);
}

static void
tcp_add(void *context, const char *name, const char *value)
{
    struct listeners *listeners = context;
    char ip[LP_CONFIG_IP_BYTES];
    uint16_t port;

    (void)name;
    const bool good = lp_config_address(value, ip, &port);
    LP_ASSERT(good); /* the parser has checked it */
    if (launcher_kernel_has(listeners->plan, ip)) {
        tcp_add_to(listeners, false, ip, port);
    }
    if (launcher_net_has(listeners->plan, ip)) {
        tcp_add_to(listeners, true, ip, port);
    }
}

static void
unix_add(void *context, const char *name, const char *value)
{
    (void)name;
    listener_add(context, false, "unix:%s", value);
}

static enum lp_err
listeners_plan(struct launcher_plan *plan, bool ipv6, char *ret_why, size_t why_bytes)
{
    struct listeners listeners = {plan, "tcp", ipv6, false};

    lp_config_each(plan->config, "listeners.tcp.$name", tcp_add, &listeners);
    listeners.kind = "tls";
    lp_config_each(plan->config, "listeners.ssl.$name", tcp_add, &listeners);
    lp_config_each(plan->config, "lepus.listeners.unix.$name", unix_add, &listeners);
    if (listeners.too_many) {
        (void)snprintf(ret_why, why_bytes, "there are more than %u listeners",
                       LAUNCHER_LISTENERS_MAX);
        return LP_ERR_BAD_CONFIG;
    }
    if (plan->listener_count + plan->net_listener_count == 0) {
        (void)snprintf(ret_why, why_bytes,
                       "there is no listener, so nobody could connect: set "
                       "listeners.tcp.default or lepus.listeners.unix.NAME");
        return LP_ERR_BAD_CONFIG;
    }
    return LP_OK;
}

/*
 * The limit is never exceeded and the watermark is where publishers begin to
 * wait, so it lies below; what was not given follows from what was:
 * watermark = limit * 4/5.
 */
static enum lp_err
memory_plan(struct launcher_plan *plan, uint64_t machine_bytes, char *ret_why, size_t why_bytes)
{
    const struct lp_config *config = plan->config;
    const uint64_t share = (uint64_t)lp_config_integer(config, "vm_memory_high_watermark.relative");
    const uint64_t total =
        (uint64_t)lp_config_integer(config, "total_memory_available_override_value");
    uint64_t limit = (uint64_t)lp_config_integer(config, "lepus.memory");
    uint64_t watermark = (uint64_t)lp_config_integer(config, "vm_memory_high_watermark.absolute");

    machine_bytes = total > 0 ? total : machine_bytes;
    if (watermark == 0 && share > 0) {
        watermark = machine_bytes / MILLION * share;
    }
    if (limit == 0) {
        limit = watermark > 0 ? watermark / 4 * 5 : machine_bytes / 10 * 4;
    }
    if (watermark == 0) {
        watermark = limit / 5 * 4;
    }
    if (watermark > limit) {
        (void)snprintf(ret_why, why_bytes,
                       "the memory watermark (%llu MiB) is above lepus.memory (%llu MiB); raise "
                       "lepus.memory or lower vm_memory_high_watermark",
                       (unsigned long long)(watermark / MIB), (unsigned long long)(limit / MIB));
        return LP_ERR_BAD_CONFIG;
    }
    plan->memory_bytes = limit;
    plan->watermark_bytes = watermark;
    plan->machine_bytes = machine_bytes;
    return LP_OK;
}

static enum lp_err
log_plan(struct launcher_plan *plan, char *ret_why, size_t why_bytes)
{
    const int64_t most = lp_config_integer(plan->config, "lepus.log.segment_bytes");
    const int64_t first = lp_config_integer(plan->config, "lepus.log.first_segment_bytes");

    if (most % LAUNCHER_PAGE_BYTES != 0 || first % LAUNCHER_PAGE_BYTES != 0) {
        (void)snprintf(ret_why, why_bytes, "\"lepus.log.%ssegment_bytes\" must be a multiple of %u",
                       most % LAUNCHER_PAGE_BYTES != 0 ? "" : "first_", LAUNCHER_PAGE_BYTES);
        return LP_ERR_BAD_CONFIG;
    }
    if (first > most && lp_config_given(plan->config, "lepus.log.first_segment_bytes")) {
        (void)snprintf(ret_why, why_bytes,
                       "lepus.log.first_segment_bytes (%lld) is above lepus.log.segment_bytes "
                       "(%lld); lower the first or raise the other",
                       (long long)first, (long long)most);
        return LP_ERR_BAD_CONFIG;
    }
    plan->segment_bytes = (uint64_t)most;
    plan->first_segment_bytes = (uint64_t)LP_MIN(first, most);
    return LP_OK;
}

uint64_t
launcher_backlog_bytes(const struct launcher_plan *plan)
{
    const uint64_t given = (uint64_t)lp_config_integer(plan->config, "lepus.log.backlog_bytes");
    const uint64_t share = plan->shard_count * BACKLOG_SHARD_BYTES;
    return (given > 0 ? given : LP_MIN(share, plan->watermark_bytes / 4)) / plan->shard_count;
}

static void
name_plan(struct launcher_plan *plan)
{
    char host[128] = "localhost";
    const char *given = lp_config_text(plan->config, "cluster_name");

    if (*given != '\0') {
        (void)snprintf(plan->cluster_name, sizeof(plan->cluster_name), "%s", given);
        return;
    }
    if (gethostname(host, sizeof(host) - 1) != 0) {
        (void)snprintf(host, sizeof(host), "localhost");
    }
    (void)snprintf(plan->cluster_name, sizeof(plan->cluster_name), "lepus@%s", host);
}

enum lp_err
launcher_plan_make(struct launcher_plan *plan, const struct launcher_options *options,
                   const struct launcher_machine *machine, char *ret_why, size_t why_bytes)
{
    memset(plan, 0, sizeof(*plan));
    plan->net_ledger_fd = -1;
    plan->options = options;
    enum lp_err err = config_read(plan, ret_why, why_bytes);
    if (err != LP_OK) {
        return err;
    }
    err = lp_config_data_dir(options->data, plan->data, sizeof(plan->data));
    if (err != LP_OK) {
        (void)snprintf(ret_why, why_bytes,
                       "there is no home directory to keep data in; say where with --data DIR");
        return err;
    }
    plan->shards_wanted = (uint32_t)lp_config_integer(plan->config, "lepus.shards");
    plan->shard_count =
        plan->shards_wanted > 0 ? plan->shards_wanted : LP_MIN(machine->processors, LP_SHARDS_MAX);
    name_plan(plan);
    err = launcher_programs_find(plan->programs, ret_why, why_bytes);
    if (err == LP_OK) {
        err = listeners_plan(plan, machine->ipv6, ret_why, why_bytes);
    }
    if (err == LP_OK) {
        err = launcher_tls_plan(plan, ret_why, why_bytes);
    }
    if (err == LP_OK) {
        err = memory_plan(plan, machine->memory_bytes, ret_why, why_bytes);
    }
    if (err == LP_OK) {
        err = log_plan(plan, ret_why, why_bytes);
    }
    return err;
}

void
launcher_plan_fini(struct launcher_plan *plan)
{
    for (size_t i = 0; i < plan->listener_count; i++) {
        free(plan->listener[i]);
    }
    plan->listener_count = 0;
    for (size_t i = 0; i < plan->net_listener_count; i++) {
        free(plan->net_listener[i]);
    }
    plan->net_listener_count = 0;
    for (size_t i = 0; i < plan->net_argument_count; i++) {
        free(plan->net_argument[i]);
    }
    plan->net_argument_count = 0;
    if (plan->net_ledger_fd >= 0) {
        (void)close(plan->net_ledger_fd);
        plan->net_ledger_fd = -1;
    }
    if (plan->tls != NULL) {
        explicit_bzero(plan->tls, plan->tls_bytes); /* the password is in it */
    }
    free(plan->tls);
    plan->tls = NULL;
    lp_config_close(&plan->config);
}
