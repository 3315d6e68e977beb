#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/appliance: what it says of machines, and what it would write, over made-up /proc and /sys; the service's unit."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNITS = os.path.join(ROOT, "scripts", "systemd")
HUGE = "/sys/kernel/mm/hugepages/hugepages-2048kB"


class Box:
    """A machine of eight processors with two cards, as a folder."""

    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="lepus-box-")
        self.file("/sys/devices/system/cpu/online", "0-7")
        self.file("/sys/devices/system/cpu/isolated", "4-7")
        self.file("/sys/devices/system/cpu/nohz_full", "4-7")
        self.file("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never")
        self.file("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc")
        self.file("/sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm")
        self.file("/proc/cmdline", "BOOT_IMAGE=/vmlinuz iommu=pt")
        self.file("/proc/stat", "cpu  700 0 100 100 0 0 0 0 0 0")
        self.file("/sys/kernel/iommu_groups/0/x", "")
        self.file(HUGE + "/nr_hugepages", "1024")
        self.file(HUGE + "/free_hugepages", "1000")
        self.file("/proc/irq/30/smp_affinity_list", "0-3")
        self.file("/proc/net/route", "Iface\tDestination\neth0\t00000000")
        for cpu in range(8):
            self.file("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor" % cpu, "performance")
            self.file("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list" % cpu, str(cpu))
        self.card("0000:3b:00.0", "ixgbe", "eth0")
        self.card("0000:3b:00.1", "ixgbe", "eth1")
        os.makedirs(self.root + "/sys/bus/pci/drivers/vfio-pci")

    def file(self, path, text):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w", encoding="utf-8") as file:
            file.write(text + "\n")

    def text(self, path):
        with open(self.root + path, encoding="utf-8") as file:
            return file.read().strip()

    def card(self, address, driver, interface):
        base = "/sys/bus/pci/devices/%s" % address
        self.file(base + "/class", "0x020000")
        self.file(base + "/vendor", "0x8086")
        self.file(base + "/device", "0x10fb")
        self.file(base + "/numa_node", "0")
        self.file("%s/net/%s/x" % (base, interface), "")
        os.makedirs(self.root + "/sys/bus/pci/drivers/" + driver, exist_ok=True)
        if os.path.lexists(self.root + base + "/driver"):
            os.unlink(self.root + base + "/driver")
        os.symlink("../../drivers/" + driver, self.root + base + "/driver")

    def run(self, *words):
        done = subprocess.run([sys.executable, os.path.join(ROOT, "scripts", "appliance"), *words, "--root", self.root],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
        return done.returncode, done.stdout

    def findings(self):
        return {one["name"]: one for one in json.loads(self.run("check", "--json")[1])}


class TestAppliance(unittest.TestCase):
    def setUp(self):
        self.box = Box()
        self.addCleanup(shutil.rmtree, self.box.root)

    def verdict(self, name):
        return self.box.findings()[name]["verdict"]

    def test_a_machine_that_is_ready_is_left_alone(self):
        self.box.card("0000:3b:00.1", "vfio-pci", "gone")
        status, output = self.box.run("check")
        self.assertEqual(status, 0, output)
        self.assertIn("0 wrong, 0 to think about", output)
        self.assertIn("nothing that could be changed", self.box.run("apply")[1])

    def test_too_few_huge_pages_are_wrong_and_added(self):
        self.box.file(HUGE + "/free_hugepages", "12")
        status, output = self.box.run("check")
        self.assertEqual(status, 1)
        self.assertIn("12 free", output)
        self.assertIn("hugepages=1524", output)
        self.box.run("apply", "--dry-run")
        self.assertEqual(self.box.text(HUGE + "/nr_hugepages"), "1024")
        self.box.run("apply")
        self.assertEqual(self.box.text(HUGE + "/nr_hugepages"), "1524")

    def test_interrupts_leave_the_processors_of_shards(self):
        self.box.file("/proc/irq/31/smp_affinity_list", "0-7")
        self.assertEqual(self.verdict("interrupts"), "wrong")
        self.box.run("apply")
        self.assertEqual(self.box.text("/proc/irq/31/smp_affinity_list"), "0-3")
        self.assertEqual(self.verdict("interrupts"), "ok")

    def test_governors_and_clock_are_set(self):
        self.box.file("/sys/devices/system/cpu/cpu5/cpufreq/scaling_governor", "powersave")
        self.box.file("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave")
        self.box.file("/sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet")
        self.assertEqual((self.verdict("frequency"), self.verdict("clock")), ("wrong", "wrong"))
        self.box.run("apply")
        self.assertEqual(self.box.text("/sys/devices/system/cpu/cpu5/cpufreq/scaling_governor"), "performance")
        self.assertEqual(self.box.text("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor"), "powersave")
        self.assertEqual(self.verdict("clock"), "ok")

    def test_what_only_a_boot_can_change_is_said_in_the_kernels_words(self):
        self.box.file("/sys/devices/system/cpu/isolated", "")
        self.box.file("/sys/devices/system/cpu/nohz_full", "")
        output = self.box.run("check", "--cores", "2-5,7")[1]
        self.assertIn("isolcpus=managed_irq,domain,2-5,7 nohz_full=2-5,7 rcu_nocbs=2-5,7", output)

    def test_two_threads_of_a_core_are_noticed(self):
        self.box.file("/sys/devices/system/cpu/cpu4/topology/thread_siblings_list", "4,6")
        self.box.file("/sys/devices/system/cpu/cpu6/topology/thread_siblings_list", "4,6")
        self.assertEqual(self.verdict("hyper-threads"), "advice")

    def test_a_card_that_carries_routes_is_not_taken_away(self):
        status, output = self.box.run("bind", "0000:3b:00.0")
        self.assertEqual(status, 1)
        self.assertIn("would be cut off", output)
        self.assertFalse(os.path.exists(self.box.root + "/sys/bus/pci/devices/0000:3b:00.0/driver_override"))

    def test_a_free_card_is_bound_and_given_back(self):
        base = "/sys/bus/pci/devices/0000:3b:00.1"
        status, output = self.box.run("bind", "3b:00.1")
        self.assertEqual(status, 0, output)
        self.assertEqual(self.box.text(base + "/driver_override"), "vfio-pci")
        self.assertEqual(self.box.text("/sys/bus/pci/drivers/ixgbe/unbind"), "0000:3b:00.1")
        self.assertEqual(self.box.text("/sys/bus/pci/drivers/vfio-pci/bind"), "0000:3b:00.1")
        self.box.card("0000:3b:00.1", "vfio-pci", "gone")
        self.assertIn("already", self.box.run("bind", "3b:00.1")[1])
        self.assertEqual(self.box.run("unbind", "3b:00.1")[0], 0)
        self.assertEqual(self.box.text("/sys/bus/pci/drivers_probe"), "0000:3b:00.1")

    def test_mellanox_stays(self):
        self.box.card("0000:3b:00.1", "mlx5_core", "eth1")
        status, output = self.box.run("bind", "3b:00.1")
        self.assertEqual(status, 1)
        self.assertIn("stay with their kernel driver", output)
        self.assertIn("0000:3b:00.1", self.box.findings()["network cards"]["seen"])

    def test_cards_are_listed_with_who_uses_them(self):
        output = self.box.run("nics")[1]
        self.assertRegex(output, r"0000:3b:00.0 +8086:10fb +ixgbe +0 +eth0 +in use by the kernel")
        self.assertRegex(output, r"0000:3b:00.1 .*scripts/appliance bind 0000:3b:00.1")

    def test_it_persists_as_a_unit_and_goes(self):
        os.makedirs(self.box.root + "/etc/systemd/system")
        unit = "/etc/systemd/system/lepus-appliance.service"
        self.assertEqual(self.box.run("persist", "--huge-mb", "64", "--cores", "4-5")[0], 0)
        self.assertIn("apply --huge-mb 64 --cores 4,5", self.box.text(unit))
        self.box.run("persist", "--remove")
        self.assertFalse(os.path.exists(self.box.root + unit))

    def test_what_the_kernel_takes_at_boot_persists_as_words_for_grub_once(self):
        os.makedirs(self.box.root + "/etc/default")
        self.box.file("/sys/devices/system/cpu/isolated", "")
        self.box.file("/sys/devices/system/cpu/nohz_full", "")
        words = "/etc/default/grub.d/lepus.cfg"
        output = self.box.run("persist", "--cores", "4-7", "--dry-run")[1]
        self.assertIn("isolcpus=managed_irq,domain,4-7", output)
        self.assertFalse(os.path.exists(self.box.root + words))
        for cores in ("2-7", "4-7"):
            self.assertIn("update-grub", self.box.run("persist", "--cores", cores)[1])
        text = self.box.text(words)
        self.assertIn('GRUB_CMDLINE_LINUX_DEFAULT="$GRUB_CMDLINE_LINUX_DEFAULT isolcpus=managed_irq,domain,4-7 nohz_full=4-7'
                      ' rcu_nocbs=4-7"', text)
        # After the boot nothing is missing any more, and the words stay.
        self.box.file("/sys/devices/system/cpu/isolated", "4-7")
        self.box.file("/sys/devices/system/cpu/nohz_full", "4-7")
        self.box.run("persist", "--cores", "4-7")
        self.assertEqual(self.box.text(words), text)
        self.assertEqual(self.box.text("/etc/modules-load.d/lepus.conf").split("\n")[-1], "vfio-pci")
        output = self.box.run("persist", "--remove")[1]
        self.assertEqual(output.count("removed"), 3)
        self.assertFalse(os.path.exists(self.box.root + words))
        self.assertIn("nothing is there", self.box.run("persist", "--remove")[1])

    def test_irqbalance_may_run_where_it_leaves_shards_alone(self):
        self.box.file("/proc/812/comm", "irqbalance")
        self.assertEqual(self.verdict("irqbalance"), "wrong")
        self.assertIn("IRQBALANCE_BANNED_CPULIST=4-7", self.box.run("check")[1])
        self.box.file("/etc/default/irqbalance", "#IRQBALANCE_BANNED_CPULIST=4-7\nIRQBALANCE_BANNED_CPULIST=0")
        self.assertEqual(self.verdict("irqbalance"), "wrong")
        self.box.file("/etc/default/irqbalance", 'IRQBALANCE_BANNED_CPULIST="4-7"')
        self.assertEqual(self.verdict("irqbalance"), "ok")

    def test_a_card_of_another_node_than_its_shards_is_noticed(self):
        """Two sockets: processors 0-3 and the cards are of node 0, 4-7 of node 1."""
        self.box.file("/sys/devices/system/node/node0/x", "")
        for cpu in range(8):
            self.box.file("/sys/devices/system/cpu/cpu%d/node%d/x" % (cpu, cpu // 4), "")
        found = self.box.findings()["NUMA"]
        self.assertEqual(found["verdict"], "advice")
        self.assertIn("node 1, 0000:3b:00.1 of node 0", found["seen"])
        self.assertIn("some of 0-3", found["mend"][0])
        self.assertIn("ok      NUMA", self.box.run("check", "--cores", "2-3")[1])

    def test_a_server_as_it_is_delivered_hears_all_that_is_wrong(self):
        """Two sockets, an E810 and a ConnectX-5, nothing set."""
        box = self.box
        for cpu in range(8):
            box.file("/sys/devices/system/cpu/cpu%d/node%d/x" % (cpu, cpu // 4), "")
            box.file("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_governor" % cpu, "powersave")
        box.file("/sys/devices/system/node/node0/x", "")
        for name in ("isolated", "nohz_full"):
            box.file("/sys/devices/system/cpu/" + name, "")
        box.file("/sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never")
        shutil.rmtree(box.root + "/sys/kernel/iommu_groups")
        box.file("/proc/cpuinfo", "vendor_id : GenuineIntel")
        box.file("/proc/812/comm", "irqbalance")
        box.file("/proc/irq/31/smp_affinity_list", "0-7")
        for name in ("nr", "free"):
            box.file("%s/%s_hugepages" % (HUGE, name), "0")
        os.rmdir(box.root + "/sys/bus/pci/drivers/vfio-pci")
        box.card("0000:3b:00.0", "ice", "eth0")
        box.card("0000:3b:00.1", "mlx5_core", "eth1")
        status, output = box.run("check", "--cores", "4-7")
        self.assertEqual(status, 1)
        for text in ("WRONG   huge pages", "WRONG   interrupts", "WRONG   irqbalance", "WRONG   frequency", "advice  NUMA",
                     "advice  IOMMU", "advice  isolated cores", "advice  timer ticks", "advice  transparent pages",
                     "advice  vfio-pci", "VT-d",
                     "intel_iommu=on iommu=pt hugepages=512 isolcpus=managed_irq,domain,4-7 nohz_full=4-7 rcu_nocbs=4-7"):
            self.assertIn(text, output)
        box.run("apply", "--cores", "4-7")
        output = box.run("check", "--cores", "4-7")[1]
        for text in ("WRONG   interrupts", "WRONG   frequency", "advice  transparent pages"):
            self.assertNotIn(text, output)

    def test_mistakes_are_answered(self):
        self.assertIn("which card?", self.box.run("bind")[1])
        self.assertIn("is no network card", self.box.run("bind", "0000:00:00.0")[1])


@unittest.skipUnless(shutil.which("systemd-analyze"), "systemd-analyze is not installed")
class TestUnit(unittest.TestCase):
    def analyze(self, *words):
        done = subprocess.run(["systemd-analyze", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=60, check=False)
        return done.returncode, done.stdout

    def installed(self, folder, *more):
        """The unit with a program that exists, and what bypass adds."""
        with open(os.path.join(UNITS, "lepus.service"), encoding="utf-8") as file:
            text = file.read().replace("/usr/lib/lepus/lepus ", "/bin/true ")
        os.makedirs(os.path.join(folder, "lepus.service.d"))
        for name in more:
            shutil.copy(os.path.join(UNITS, name), os.path.join(folder, "lepus.service.d"))
        path = os.path.join(folder, "lepus.service")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_systemd_understands_it_and_finds_little_to_attack(self):
        bypass, xdp = "lepus-bypass.conf", "lepus-af-xdp.conf"
        for more, exposed in (((), 20), ((bypass,), 27), ((bypass, xdp), 30)):
            folder = tempfile.mkdtemp(prefix="lepus-unit-")
            self.addCleanup(shutil.rmtree, folder)
            path = self.installed(folder, *more)
            status, output = self.analyze("verify", path)
            self.assertEqual((status, output), (0, ""))
            status, output = self.analyze("security", "--offline=true", "--threshold=%d" % exposed, path)
            self.assertEqual(status, 0, output)


if __name__ == "__main__":
    unittest.main()
