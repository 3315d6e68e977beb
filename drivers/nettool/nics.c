/* SPDX-License-Identifier: Apache-2.0 */
/* nics.c - cards and interfaces of this machine: who has them, where, and how to name them in the
 * configuration. */
#include "nettool.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
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

static const char *
or_dash(const char *text)
{
    return text[0] != '\0' ? text : "-";
}

static int
visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* A tap has no device below it: a port of the broker's, or what is behind an exception. */
static const char *
driver_of(const char *folder, const char *device, char ret_text[TEXT_BYTES])
{
    if (*text_of(folder, "tun_flags", ret_text) != '\0') {
        return "tun";
    }
    return or_dash(link_of(device, "driver", ret_text));
}

static void
interface_print(const char *name)
{
    char folder[PATH_BYTES];
    char device[PATH_BYTES + 8];
    char text[6][TEXT_BYTES];
    (void)snprintf(folder, sizeof(folder), "%s/sys/class/net/%s", root, name);
    (void)snprintf(device, sizeof(device), "%s/device", folder);
    (void)printf(
        "%-14s %-6s %-6s %-7s %-5s %-14s %s\n", name,
        or_dash(text_of(folder, "operstate", text[0])), or_dash(text_of(folder, "mtu", text[1])),
        or_dash(text_of(folder, "speed", text[2])), or_dash(text_of(device, "numa_node", text[3])),
        or_dash(link_of(folder, "device", text[4])), driver_of(folder, device, text[5]));
}

static void
card_print(const char *address)
{
    char folder[PATH_BYTES];
    char text[4][TEXT_BYTES];
    (void)snprintf(folder, sizeof(folder), "%s/sys/bus/pci/devices/%s", root, address);
    if (strncmp(text_of(folder, "class", text[0]), "0x02", 4) != 0) {
        return;
    }
    const char *driver = link_of(folder, "driver", text[1]);
    const bool ours = strcmp(driver, "vfio-pci") == 0 || strncmp(driver, "mlx", 3) == 0;
    (void)printf("%-14s %s:%s  node %s  %-12s %s%s\n", address,
                 text_of(folder, "vendor", text[2]) + 2, text_of(folder, "device", text[3]) + 2,
                 or_dash(text_of(folder, "numa_node", text[0])), or_dash(driver),
                 ours ? "lepus.net.port.0.device = " : "scripts/appliance bind ", address);
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

/* What a card can do, as DPDK tells; it is started for it. */
static int
offloads_print(const char *device)
{
    char why[LP_DPDK_WHY_BYTES];
    const struct lp_dpdk_options options = {.device_count = 1, .device = {device}};
    const struct lp_dpdk_port_options port = {.device = device, .queues = 1};
    struct lp_nic nic = {0};
    struct lp_nic_caps caps;
    if (lp_dpdk_start_boot(&options, why) != LP_OK ||
        lp_dpdk_port_open_boot(&port, &nic, why) != LP_OK) {
        (void)fprintf(stderr, "lepus nic: %s\n", why);
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
        "lepus nic list            cards and interfaces of this machine: state, node, driver\n"
        "lepus nic show DEVICE     what DPDK says that one can do; nobody else may be using it\n"
        "\n"
        "An interface of the driver tun is a tap: a port of the broker's, or the kernel's way "
        "through\n"
        "one (lepus.net.port.N.exception), which is there while the broker runs.\n"
        "What a running broker's ports do is told by `lepusctl list_ports`.\n");
    return code;
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
    if (argc < 2 || strcmp(argv[1], "list") != 0 ||
        (argc == 4 ? strcmp(argv[2], "--root") != 0 : argc != 2)) {
        return usage(2);
    }
    root = argc == 4 ? argv[3] : "";
    const char *dpdk = lp_dpdk_version();
    (void)printf("%s%s\n\n",
                 dpdk != NULL ? "built with " : "built without DPDK: taps of the kernel only",
                 dpdk != NULL ? dpdk : "");
    (void)printf("Interfaces of the kernel\n%-14s %-6s %-6s %-7s %-5s %-14s %s\n", "name", "state",
                 "MTU", "Mb/s", "node", "device", "driver");
    each("/sys/class/net", interface_print);
    (void)printf("\nPCI network cards\n");
    each("/sys/bus/pci/devices", card_print);
    return 0;
}
