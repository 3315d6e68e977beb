/* SPDX-License-Identifier: Apache-2.0 */
/* nics.c - cards and interfaces of this machine: who has them, where, and how to name them in the
 * configuration. */
#include "nettool.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <drivers/dpdk/dpdk.h>

#define PATH_BYTES 4200
#define TEXT_BYTES 64

static const char *root = "";

/* A file of /sys, its first line; "" when it cannot be read. */
static const char *
text_of(const char *folder, const char *name, char ret_text[TEXT_BYTES])
{
    char path[PATH_BYTES];
    ret_text[0] = '\0';
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(ret_text, TEXT_BYTES, file) == NULL) {
            ret_text[0] = '\0';
        }
        ret_text[strcspn(ret_text, "\n")] = '\0';
        (void)fclose(file);
    }
    return ret_text;
}

/* The last part of where a link points; "" when it is none. */
static const char *
link_of(const char *folder, const char *name, char ret_text[TEXT_BYTES])
{
    char path[PATH_BYTES];
    char target[PATH_BYTES];
    ret_text[0] = '\0';
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    const ssize_t bytes = readlink(path, target, sizeof(target) - 1);
    if (bytes > 0) {
        target[bytes] = '\0';
        const char *last = strrchr(target, '/');
        (void)snprintf(ret_text, TEXT_BYTES, "%.63s", last != NULL ? last + 1 : target);
    }
    return ret_text;
}

static int
visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

#define TEXTS 9
enum text {
    TEXT_NAME, /* of the interface, or the card's address */
    TEXT_STATE,
    TEXT_MTU,
    TEXT_SPEED,
    TEXT_NODE,
    TEXT_DEVICE,
    TEXT_DRIVER,
    TEXT_IDS,
    TEXT_NAMES, /* of the kernel for a card */
};
static const char *const key_of[TEXTS] = {"name",   "state",  "mtu", "speed_mbps", "node",
                                          "device", "driver", "ids", "interfaces"};

/* An interface or a card. */
struct row {
    char text[TEXTS][TEXT_BYTES];
    uint32_t queues;
    bool known; /* what it does itself */
    struct offloads offloads;
    char use[3 * TEXT_BYTES]; /* the line of the configuration, or the command before it */
};

static bool as_json;
static uint32_t printed;

static void
json_string(const char *text)
{
    (void)putchar('"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            (void)putchar('\\');
        }
        (void)putchar((unsigned char)*text < ' ' ? ' ' : *text);
    }
    (void)putchar('"');
}

static void
row_print_json(const struct row *row)
{
    (void)printf("%s\n  {", printed++ == 0 ? "" : ",");
    for (uint32_t i = 0; i < TEXTS; i++) {
        (void)printf("\"%s\": ", key_of[i]);
        json_string(row->text[i]);
        (void)printf(", ");
    }
    if (row->known) {
        (void)printf("\"rx_checksum\": %s, \"tx_checksum\": %s, \"tso\": %s, \"lro\": %s, "
                     "\"rss_key_bytes\": %u, \"rss_table\": %u, ",
                     row->offloads.rx_checksum ? "true" : "false",
                     row->offloads.tx_checksum ? "true" : "false",
                     row->offloads.tso ? "true" : "false", row->offloads.lro ? "true" : "false",
                     row->offloads.rss_key_bytes, row->offloads.rss_table);
    }
    (void)printf("\"queues\": %u, \"use\": ", row->queues);
    json_string(row->use);
    (void)printf("}");
}

static const char *
or_dash(const struct row *row, enum text text)
{
    return row->text[text][0] != '\0' ? row->text[text] : "-";
}

static void
details_print(const struct row *row)
{
    const struct offloads *on = &row->offloads;
    if (row->known) {
        (void)printf("    %u queue%s; checksums %s%s%s; TSO %s; LRO %s", row->queues,
                     row->queues == 1 ? "" : "s", on->rx_checksum ? "rx" : "",
                     on->rx_checksum && on->tx_checksum ? " " : "",
                     on->tx_checksum   ? "tx"
                     : on->rx_checksum ? ""
                                       : "none",
                     on->tso ? "on" : "off", on->lro ? "on" : "off");
        if (on->rss_table > 0) {
            (void)printf("; RSS key %u bytes, table %u", on->rss_key_bytes, on->rss_table);
        }
        (void)printf("\n");
    }
    if (row->use[0] != '\0') {
        (void)printf("    %s\n", row->use);
    }
}

static uint32_t
entries_count(const char *folder, const char *name, const char *prefix, char ret_names[TEXT_BYTES])
{
    char path[PATH_BYTES + TEXT_BYTES];
    struct dirent **names = NULL;
    uint32_t found = 0;
    ret_names[0] = '\0';
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    const int count = scandir(path, &names, visible, alphasort);
    for (int i = 0; i < count; i++) {
        if (strncmp(names[i]->d_name, prefix, strlen(prefix)) == 0) {
            const size_t at = strlen(ret_names);
            (void)snprintf(ret_names + at, TEXT_BYTES - at, "%s%.15s", found == 0 ? "" : ",",
                           names[i]->d_name);
            found++;
        }
        free(names[i]);
    }
    free(names);
    return found;
}

/* How the broker can have an interface that stays the kernel's. */
static void
interface_use(struct row *row)
{
    const char *name = row->text[TEXT_NAME];
    if (strcmp(row->text[TEXT_DRIVER], "tun") == 0) {
        (void)snprintf(row->use, sizeof(row->use), "lepus.net.port.0.device = tap:%s", name);
    } else if (row->text[TEXT_DEVICE][0] != '\0' && lp_dpdk_version() != NULL) {
        (void)snprintf(row->use, sizeof(row->use),
                       "lepus.net.port.0.device = net_af_xdp0,iface=%s,start_queue=0,queue_count=1",
                       name);
    }
}

static void
interface_print(const char *name)
{
    char folder[PATH_BYTES];
    char device[PATH_BYTES + 8];
    char queues[TEXT_BYTES];
    struct row row = {0};
    (void)snprintf(folder, sizeof(folder), "%s/sys/class/net/%s", root, name);
    (void)snprintf(device, sizeof(device), "%s/device", folder);
    (void)snprintf(row.text[TEXT_NAME], TEXT_BYTES, "%.63s", name);
    (void)text_of(folder, "operstate", row.text[TEXT_STATE]);
    (void)text_of(folder, "mtu", row.text[TEXT_MTU]);
    if (text_of(folder, "speed", row.text[TEXT_SPEED])[0] == '-') {
        row.text[TEXT_SPEED][0] = '\0'; /* -1: it does not know */
    }
    (void)text_of(device, "numa_node", row.text[TEXT_NODE]);
    (void)link_of(folder, "device", row.text[TEXT_DEVICE]);
    (void)link_of(device, "driver", row.text[TEXT_DRIVER]);
    row.queues = entries_count(folder, "queues", "rx-", queues);
    if (text_of(folder, "tun_flags", queues)[0] != '\0') {
        (void)snprintf(row.text[TEXT_DRIVER], TEXT_BYTES, "tun");
    }
    row.known = root[0] == '\0' && offloads_of(name, &row.offloads);
    interface_use(&row);
    if (as_json) {
        row_print_json(&row);
        return;
    }
    (void)printf("%-14s %-6s %-6s %-7s %-5s %-14s %s\n", name, or_dash(&row, TEXT_STATE),
                 or_dash(&row, TEXT_MTU), or_dash(&row, TEXT_SPEED), or_dash(&row, TEXT_NODE),
                 or_dash(&row, TEXT_DEVICE), or_dash(&row, TEXT_DRIVER));
    details_print(&row);
}

static void
card_print(const char *address)
{
    char folder[PATH_BYTES];
    char text[2][TEXT_BYTES];
    struct row row = {0};
    (void)snprintf(folder, sizeof(folder), "%s/sys/bus/pci/devices/%s", root, address);
    if (strncmp(text_of(folder, "class", text[0]), "0x02", 4) != 0) {
        return;
    }
    const char *driver = link_of(folder, "driver", row.text[TEXT_DRIVER]);
    const bool stays = strncmp(driver, "mlx", 3) == 0;
    const bool ours = strcmp(driver, "vfio-pci") == 0 || stays;
    (void)snprintf(row.text[TEXT_NAME], TEXT_BYTES, "%.63s", address);
    (void)text_of(folder, "numa_node", row.text[TEXT_NODE]);
    (void)entries_count(folder, "net", "", row.text[TEXT_NAMES]);
    (void)snprintf(row.text[TEXT_IDS], TEXT_BYTES, "%.6s:%.6s",
                   text_of(folder, "vendor", text[0]) + (text[0][0] != '\0' ? 2 : 0),
                   text_of(folder, "device", text[1]) + (text[1][0] != '\0' ? 2 : 0));
    (void)snprintf(row.use, sizeof(row.use), "%s%.40s",
                   ours ? "lepus.net.port.0.device = " : "scripts/appliance bind ", address);
    if (as_json) {
        row_print_json(&row);
        return;
    }
    (void)printf("%-14s %s  node %s  %-12s %-12s %s%s\n", address, row.text[TEXT_IDS],
                 or_dash(&row, TEXT_NODE), or_dash(&row, TEXT_DRIVER), or_dash(&row, TEXT_NAMES),
                 row.use, stays ? " (stays with its kernel driver)" : "");
}

static void
each(const char *where, void (*print)(const char *name))
{
    char path[PATH_BYTES];
    struct dirent **names = NULL;
    (void)snprintf(path, sizeof(path), "%s%s", root, where);
    const int count = scandir(path, &names, visible, alphasort);
    for (int i = 0; i < count; i++) {
        print(names[i]->d_name);
        free(names[i]);
    }
    free(names);
}

/* What is no name of DPDK's, and what to write instead.  True: said. */
static bool
name_explain(const char *device)
{
    char path[PATH_BYTES];
    if (strncmp(device, "tap:", 4) == 0) {
        (void)fprintf(stderr,
                      "lepus nic: %s is our own driver's, and no port of DPDK's; `lepus nic list` "
                      "says what a tap does\n",
                      device);
        return true;
    }
    (void)snprintf(path, sizeof(path), "%s/sys/class/net/%.64s", root, device);
    if (*device == '\0' || strchr(device, '/') != NULL || access(path, F_OK) != 0) {
        return false;
    }
    (void)fprintf(stderr,
                  "lepus nic: %s is an interface of the kernel's. With it as it is, DPDK knows "
                  "net_af_xdp0,iface=%s,start_queue=0,queue_count=1; for the card itself write its "
                  "PCI address, after `scripts/appliance bind ADDRESS` (`lepus nic list` has it)\n",
                  device, device);
    return true;
}

/* What a card can do, as DPDK tells; it is started for it. */
static int
offloads_print(const char *device)
{
    char why[LP_DPDK_WHY_BYTES];
    const struct lp_dpdk_options options = {.device_count = 1, .device = {device}};
    const struct lp_dpdk_port_options port = {.device = device, .queues = 1};
    struct lp_nic nic = {0};
    struct lp_nic_caps caps;
    if (name_explain(device)) {
        return 1;
    }
    if (lp_dpdk_start_boot(&options, why) != LP_OK ||
        lp_dpdk_port_open_boot(&port, &nic, why) != LP_OK) {
        (void)fprintf(stderr,
                      "lepus nic: %s\n`lepus nic list` lists cards; DPDK sees one when `scripts/"
                      "appliance bind ADDRESS` has given it away\n",
                      why);
        return 1;
    }
    nic.ops->caps(nic.self, &caps);
    (void)printf(
        "%s: %s\n    MAC        %02x:%02x:%02x:%02x:%02x:%02x\n    MTU        %u\n"
        "    link       %s\n    checksums  %s\n    TSO        %s, frames of %u bytes\n"
        "    RSS        %s\n    sleeping   %s\n",
        device, nic.ops->name, caps.mac[0], caps.mac[1], caps.mac[2], caps.mac[3], caps.mac[4],
        caps.mac[5], caps.mtu_bytes, nic.ops->link_up(nic.self) ? "up" : "down",
        caps.l4_fill ? "by the device" : "by us", caps.tso ? "by the device" : "by us",
        caps.frame_bytes_max, caps.hash ? "by the device, with our key" : "by us",
        nic.ops->wait_fd(nic.self) >= 0 ? "by interrupts" : "never: it has to be looked at");
    lp_dpdk_port_close(&nic, 1);
    lp_dpdk_stop();
    return 0;
}

static int
usage(int code)
{
    (void)fprintf(
        code == 0 ? stdout : stderr,
        "lepus nic list [--json]   cards and interfaces of this machine: state, node, driver, "
        "what\n"
        "                          they do themselves, and what to write for them\n"
        "lepus nic show DEVICE     what DPDK says that one can do; nobody else may be using it\n"
        "\n"
        "An interface of the driver tun is a tap: a port of the broker's, or the kernel's way "
        "through\n"
        "one (lepus.net.port.N.exception), which is there while the broker runs.\n"
        "What a running broker's ports do is told by `lepusctl list_ports`.\n");
    return code;
}

static void
list_json(void)
{
    const char *dpdk = lp_dpdk_version();
    (void)printf("{\"dpdk\": ");
    json_string(dpdk != NULL ? dpdk : "");
    (void)printf(", \"interfaces\": [");
    each("/sys/class/net", interface_print);
    (void)printf("],\n\"cards\": [");
    printed = 0;
    each("/sys/bus/pci/devices", card_print);
    (void)printf("]}\n");
}

static void
list_text(void)
{
    const char *dpdk = lp_dpdk_version();
    (void)printf("%s%s\n\n",
                 dpdk != NULL ? "built with " : "built without DPDK: taps of the kernel only",
                 dpdk != NULL ? dpdk : "");
    (void)printf("Interfaces of the kernel\n%-14s %-6s %-6s %-7s %-5s %-14s %s\n", "name", "state",
                 "MTU", "Mb/s", "node", "device", "driver");
    each("/sys/class/net", interface_print);
    (void)printf("\nPCI network cards (`lepus nic show ADDRESS` tells what one can do for us)\n");
    each("/sys/bus/pci/devices", card_print);
}

int
nics_run(int argc, char **argv)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        return usage(0);
    }
    if (argc == 3 && strcmp(argv[1], "show") == 0) {
        return offloads_print(argv[2]);
    }
    if (argc < 2 || strcmp(argv[1], "list") != 0) {
        if (argc >= 2) {
            (void)fprintf(stderr, "lepus nic: %s %s\n\n", argv[1],
                          strcmp(argv[1], "show") == 0 ? "needs one device" : "is none of these");
        }
        return usage(EX_USAGE);
    }
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0) {
            as_json = true;
        } else if (strcmp(argv[i], "--root") == 0 && i + 1 < argc) {
            root = argv[++i];
        } else {
            return usage(EX_USAGE);
        }
    }
    if (as_json) {
        list_json();
    } else {
        list_text();
    }
    return 0;
}
