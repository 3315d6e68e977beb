# SPDX-License-Identifier: Apache-2.0
"""checks - what a machine for kernel bypass should be like, one function an idea."""
import re

import nics
from machine import cpu_list, cpu_text

HUGE = "/sys/kernel/mm/hugepages/hugepages-2048kB"
THP = "/sys/kernel/mm/transparent_hugepage/enabled"
CLOCK = "/sys/devices/system/clocksource/clocksource0"


class Finding:
    """`verdict`: ok, advice, wrong, unknown.  `mend`: sentences.  `writes`: (file, value) for apply."""

    def __init__(self, name, verdict, seen, mend=(), writes=(), boot=()):
        self.name, self.verdict, self.seen = name, verdict, seen
        self.mend, self.writes, self.boot = list(mend), list(writes), list(boot)

    def as_dict(self):
        return dict(vars(self), writes=[list(pair) for pair in self.writes])


def boot_words(found):
    words = []
    for one in found:
        words += [word for word in one.boot if word not in words]
    return words


def cores(host, options):
    """Processors that shards are to have to themselves."""
    return options.cores if options.cores else host.isolated()


def isolation(host, options):
    online, isolated = host.online(), host.isolated()
    wanted = options.cores or isolated
    seen = "%d processors, isolated: %s" % (len(online), cpu_text(isolated) or "none")
    if len(online) < 3:
        return Finding("isolated cores", "advice", seen,
                       ["with fewer than three, shards share processors with everything else: fine for trying it out"])
    if not isolated or set(wanted) - set(isolated):
        share = wanted or online[1:]
        return Finding("isolated cores", "advice", seen,
                       ["a shard that spins wants a processor that the kernel gives to nobody else"],
                       boot=["isolcpus=managed_irq,domain,%s" % cpu_text(share)])
    return Finding("isolated cores", "ok", seen)


def tickless(host, options):
    isolated = cores(host, options)
    if not isolated:
        return None
    ticking = set(isolated) - set(cpu_list(host.read("/sys/devices/system/cpu/nohz_full") or ""))
    if ticking:
        return Finding("timer ticks", "advice", "the tick interrupts processors %s" % cpu_text(ticking),
                       ["250 to 1000 interruptions a second, some microseconds each"],
                       boot=["nohz_full=%s" % cpu_text(isolated), "rcu_nocbs=%s" % cpu_text(isolated)])
    return Finding("timer ticks", "ok", "off on %s" % cpu_text(isolated))


def huge_pages(host, options):
    total, free = host.number(HUGE + "/nr_hugepages"), host.number(HUGE + "/free_hugepages", 0)
    if total is None:
        return Finding("huge pages", "wrong", "this kernel has none of 2 MiB",
                       ["lepus runs without them, with more misses of address translation"])
    wanted = (options.huge_mb + 1) // 2
    seen = "%d of 2 MiB, %d free" % (total, free)
    if free < wanted:
        return Finding("huge pages", "wrong", seen,
                       ["%d free ones are wanted (--huge-mb %d)" % (wanted, options.huge_mb),
                        "after a long time of running memory may be too fragmented: then set them at boot"],
                       [(HUGE + "/nr_hugepages", total + wanted - free)], ["hugepages=%d" % (total + wanted - free)])
    return Finding("huge pages", "ok", seen)


def transparent(host, _options):
    text = host.read(THP)
    if text is None:
        return None
    chosen = re.search(r"\[(\w+)\]", text)
    if chosen and chosen.group(1) == "always":
        return Finding("transparent pages", "advice", "always",
                       ["khugepaged moves memory about while shards run: madvise leaves it to who asks"],
                       [(THP, "madvise")])
    return Finding("transparent pages", "ok", chosen.group(1) if chosen else text)


def governor(host, options):
    wanted = cores(host, options) or host.online()
    slow, writes = set(), []
    for cpu in wanted:
        path = "/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor" % cpu
        now = host.read(path)
        if now is not None and now != "performance":
            slow.add(now)
            writes.append((path, "performance"))
    if not slow:
        known = any(host.exists("/sys/devices/system/cpu/cpu%d/cpufreq" % cpu) for cpu in wanted)
        return Finding("frequency", "ok", "performance" if known else "not ours to choose (a virtual machine)")
    return Finding("frequency", "wrong", "%s on %d processors" % (", ".join(sorted(slow)), len(writes)),
                   ["a processor that has to speed up first answers tens of microseconds late"], writes)


def idle_states(host, options):
    """Deep idle states take up to 100 us to leave."""
    deep, writes = [], []
    for cpu in cores(host, options) or []:
        for state in host.list("/sys/devices/system/cpu/cpu%d/cpuidle" % cpu):
            base = "/sys/devices/system/cpu/cpu%d/cpuidle/%s" % (cpu, state)
            if host.number(base + "/latency", 0) > 10 and host.number(base + "/disable", 0) == 0:
                deep.append(host.read(base + "/name") or state)
                writes.append((base + "/disable", 1))
    if not deep:
        return None
    return Finding("idle states", "advice", "%s on shards' processors" % ", ".join(sorted(set(deep))),
                   ["only matters where shards sleep (lepus.poll = adaptive or sleep)"], writes)


def interrupts(host, options):
    isolated = set(cores(host, options))
    if not isolated:
        return None
    rest = set(host.online()) - isolated
    bad, writes = [], []
    for number in host.list("/proc/irq"):
        path = "/proc/irq/%s/smp_affinity_list" % number
        now = host.read(path) if number.isdigit() else None
        if now is not None and set(cpu_list(now)) & isolated and rest:
            bad.append(number)
            writes.append((path, cpu_text(rest)))
    if bad:
        return Finding("interrupts", "wrong", "%d may come to shards' processors" % len(bad),
                       ["each takes microseconds from messages; `scripts/appliance apply` moves those that can be moved"],
                       writes)
    return Finding("interrupts", "ok", "none on %s" % cpu_text(isolated))


def irqbalance(host, options):
    """It gives interrupts to processors anew every ten seconds, ours included."""
    isolated = cores(host, options)
    running = any(host.read("/proc/%s/comm" % pid) == "irqbalance" for pid in host.list("/proc") if pid.isdigit())
    if not running or not isolated:
        return None
    banned = re.search(r"^[^#]*IRQBALANCE_BANNED_CPULIST=\"?([0-9,-]+)", host.read("/etc/default/irqbalance") or "", re.M)
    if banned and not set(isolated) - set(cpu_list(banned.group(1))):
        return Finding("irqbalance", "ok", "runs, and leaves %s alone" % cpu_text(isolated))
    return Finding("irqbalance", "wrong", "runs, and may give interrupts to %s" % cpu_text(isolated),
                   ["systemctl disable --now irqbalance",
                    "or IRQBALANCE_BANNED_CPULIST=%s in /etc/default/irqbalance, and restart it" % cpu_text(isolated)])


def node_of(host, cpu):
    """The NUMA node of a processor, or None."""
    for name in host.list("/sys/devices/system/cpu/cpu%d" % cpu):
        if re.fullmatch(r"node\d+", name):
            return int(name[4:])
    return None


def numa(host, options):
    """A card whose frames lie in another processor's memory costs a hundred nanoseconds each time."""
    cards = [card for card in nics.cards(host) if card.node >= 0 and (card.ready or not card.busy)]
    if len(host.list("/sys/devices/system/node")) == 0 or not cards:
        return None
    ours = {node_of(host, cpu) for cpu in cores(host, options)} - {None}
    if not ours:
        return None
    far = [card for card in cards if card.node not in ours]
    near = {card.node for card in cards}
    if not far and ours <= near:
        return Finding("NUMA", "ok", "cards and shards' processors are of node %s" % cpu_text(ours))
    beside = [cpu for cpu in host.online() if node_of(host, cpu) in near]
    seen = "shards' processors are of node %s, %s" % (
        cpu_text(ours), ", ".join("%s of node %d" % (card.address, card.node) for card in cards))
    return Finding("NUMA", "advice", seen,
                   ["processors beside the card: --cores with some of %s, and the same in isolcpus" % cpu_text(beside)])


def iommu(host, _options):
    groups = host.list("/sys/kernel/iommu_groups")
    words = host.command_line()
    if groups:
        slow = words.get("iommu") != "pt"
        return Finding("IOMMU", "advice" if slow else "ok", "%d groups" % len(groups),
                       ["pass-through is faster for the cards that stay with the kernel"] if slow else [],
                       boot=["iommu=pt"] if slow else [])
    if not nics.cards(host):
        return Finding("IOMMU", "ok", "none, and no PCI card that would need it")
    return Finding("IOMMU", "advice", "none",
                   ["vfio-pci needs it: on in the firmware's setup (VT-d, AMD-Vi) and on the kernel's command line",
                    "a machine that has none (most virtual ones) has to be told to do without, at the price that a card can",
                    "write anywhere: echo 1 > /sys/module/vfio/parameters/enable_unsafe_noiommu_mode"],
                   boot=["amd_iommu=on" if "AuthenticAMD" in (host.read("/proc/cpuinfo") or "") else "intel_iommu=on",
                         "iommu=pt"])


def vfio(host, _options):
    cards = nics.cards(host)
    if not cards or all(card.stays for card in cards):
        return None
    if host.exists("/sys/bus/pci/drivers/vfio-pci"):
        return Finding("vfio-pci", "ok", "loaded")
    return Finding("vfio-pci", "advice", "not loaded", ["modprobe vfio-pci; `scripts/appliance persist` does it at every boot"])


def network_cards(host, _options):
    cards = nics.cards(host)
    if not cards:
        return Finding("network cards", "advice", "no PCI network card: a tap device, or AF_XDP on an interface, is left",
                       ["lepus.net.port.0.device = tap:lepus0"])
    ready = [card for card in cards if card.ready]
    if ready:
        return Finding("network cards", "ok", "for DPDK: " + ", ".join(card.address for card in ready))
    return Finding("network cards", "advice", "none of %d belongs to DPDK" % len(cards),
                   ["`scripts/appliance nics` lists them, `scripts/appliance bind PCI` gives one away"])


def clock(host, _options):
    now = host.read(CLOCK + "/current_clocksource")
    if now in (None, "tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page"):
        return Finding("clock", "ok", now or "unknown")
    writes = []
    if "tsc" in (host.read(CLOCK + "/available_clocksource") or "").split():
        writes = [(CLOCK + "/current_clocksource", "tsc")]
    return Finding("clock", "wrong", now, ["a look at this clock is a system call: a microsecond instead of 20 ns"],
                   writes)


def siblings(host, options):
    """Two shards on one core's two threads share what makes it fast."""
    wanted = cores(host, options)
    pairs = {host.read("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list" % cpu) for cpu in wanted}
    shared = [pair for pair in pairs if pair and len(set(cpu_list(pair)) & set(wanted)) > 1]
    if not shared:
        return None
    return Finding("hyper-threads", "advice", "shards would share cores: %s" % "; ".join(sorted(shared)),
                   ["take one thread of each core, and leave its sibling idle"])


def stolen(host, _options):
    numbers = (host.read("/proc/stat") or "").split("\n")[0].split()[1:]
    numbers = [int(number) for number in numbers[:8]]
    if len(numbers) == 8 and sum(numbers) and numbers[7] * 100 > sum(numbers):
        return Finding("stolen time", "advice", "%.1f %%" % (100.0 * numbers[7] / sum(numbers)),
                       ["a neighbour on the same host takes it: no setting here can help"])
    return None


def everything(host, options):
    found = [check(host, options) for check in
             (network_cards, numa, vfio, iommu, huge_pages, isolation, tickless, interrupts, irqbalance, governor, idle_states, siblings,
              transparent, clock, stolen)]
    return [one for one in found if one]
