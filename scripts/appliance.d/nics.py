# SPDX-License-Identifier: Apache-2.0
"""nics - PCI network cards: who has them, and giving them to DPDK and back."""
import json

DEVICES = "/sys/bus/pci/devices"
DRIVERS = "/sys/bus/pci/drivers"
# DPDK talks to these through their kernel driver.
STAYS = ("mlx4_core", "mlx5_core")
READY = ("vfio-pci", "uio_pci_generic", "igb_uio")


class Card:
    def __init__(self, host, address):
        base = "%s/%s" % (DEVICES, address)
        self.address = address
        self.ids = "%s:%s" % tuple((host.read("%s/%s" % (base, part)) or "?").replace("0x", "")
                                   for part in ("vendor", "device"))
        self.driver = host.link(base + "/driver")
        self.node = host.number(base + "/numa_node", -1)
        self.names = interfaces(host, base)
        self.stays = self.driver in STAYS
        self.ready = self.driver in READY or self.stays
        self.busy = [name for name in self.names if carries(host, name)]


def interfaces(host, base):
    """The kernel's names for a card; a virtio card has a device of its own below the PCI one."""
    names = host.list(base + "/net")
    for below in host.list(base):
        if below.startswith("virtio"):
            names += host.list("%s/%s/net" % (base, below))
    return names


def carries(host, name):
    """Does the kernel reach anybody over this interface?"""
    lines = (host.read("/proc/net/route") or "").split("\n")[1:]
    if any(line.split()[:1] == [name] for line in lines):
        return True
    lines = (host.read("/proc/net/ipv6_route") or "").split("\n")
    return any(line.split()[-1:] == [name] and not line.startswith("fe80") and not line.startswith("ff")
               for line in lines)


def cards(host):
    found = []
    for address in host.list(DEVICES):
        if (host.read("%s/%s/class" % (DEVICES, address)) or "").startswith("0x02"):
            found.append(Card(host, address))
    return found


def show(host, options):
    found = cards(host)
    if options.json:
        print(json.dumps([vars(card) for card in found], indent=1))
        return 0
    if not found:
        print("no PCI network card; for interfaces of the kernel there are tap and AF_XDP (README of drivers/dpdk)")
        return 0
    print("%-14s %-10s %-16s %-5s %-12s %s" % ("address", "ids", "driver", "node", "interface", "state"))
    for card in found:
        state = ("in use by the kernel: it has routes" if card.busy else
                 "ready for DPDK" + (" (stays with its kernel driver)" if card.stays else "") if card.ready else
                 "scripts/appliance bind %s" % card.address)
        print("%-14s %-10s %-16s %-5s %-12s %s" % (card.address, card.ids, card.driver or "none",
                                                  card.node if card.node >= 0 else "-", ",".join(card.names) or "-",
                                                  state))
    return 0


def refusal(host, card, options):
    if card.stays:
        return "cards of %s stay with their kernel driver: DPDK works through it" % card.driver
    if card.busy and not options.force:
        return ("the kernel reaches others over %s; whoever is logged in over it would be cut off. With another way in "
                "(a console), --force binds it, and lepus.net.port.N.exception gives the kernel its way back while the "
                "broker runs: drivers/README.md, \"The only card\"" % ", ".join(card.busy))
    if not host.exists(DRIVERS + "/vfio-pci"):
        return "vfio-pci is not loaded: modprobe vfio-pci"
    return None


def steps(card, command):
    base = "%s/%s" % (DEVICES, card.address)
    take = [("%s/%s/unbind" % (DRIVERS, card.driver), card.address)] if card.driver else []
    if command == "bind":
        return [(base + "/driver_override", "vfio-pci")] + take + [(DRIVERS + "/vfio-pci/bind", card.address)]
    return [(base + "/driver_override", "\n")] + take + [("/sys/bus/pci/drivers_probe", card.address)]


def rebind(host, options):
    known = {card.address: card for card in cards(host)}
    for address in options.pci:
        card = known.get(address) or known.get("0000:" + address)
        if card is None:
            print("%s is no network card; `scripts/appliance nics` lists them" % address)
            return 1
        if options.command == "bind" and card.driver == "vfio-pci":
            print("%s belongs to vfio-pci already" % card.address)
            continue
        why = refusal(host, card, options) if options.command == "bind" else None
        if why:
            print("%s: %s" % (card.address, why))
            return 1
        for path, value in steps(card, options.command):
            print("%s <- %s" % (path, value.strip() or "(nothing)"))
            if options.dry_run:
                continue
            try:
                host.write(path, value)
            except OSError as problem:
                print("    failed: %s" % problem.strerror)
                return 1
    return 0
