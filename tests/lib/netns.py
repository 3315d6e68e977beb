# SPDX-License-Identifier: Apache-2.0
"""netns - a network of the test's own: namespaces, taps, wires, offloads, loss.

Needs root and /dev/net/tun; why_not() says what is missing, in words for a skipped test.
"""
import array
import ctypes
import fcntl
import itertools
import os
import socket
import struct
import subprocess

CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
# ETHTOOL_STXCSUM, STSO, SGSO, SGRO
OFFLOADS = (0x17, 0x1f, 0x24, 0x2c)
SUBNETS = 32    # of eight addresses each, for a process


def why_not():
    if os.geteuid() != 0:
        return "needs root, for a network namespace and a tap"
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        return "there is no /dev/net/tun"
    return None


def ip(*words):
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError("ip %s: %s" % (" ".join(map(str, words)), done.stderr.strip()))


def enter():
    """From now on this process, and whatever it starts, has a network of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    ip("link", "set", "lo", "up")


class Box:
    """Another machine: a network namespace beside this process's; `with box:` what starts is in there."""

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        enter()
        self.there = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.here = here
        self._go(here)

    def _go(self, namespace):
        if self.libc.setns(namespace, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def __enter__(self):
        self._go(self.there)
        return self

    def __exit__(self, *_):
        self._go(self.here)

    def take(self, name):
        """An interface of ours is the box's from now on."""
        ip("link", "set", name, "netns", "/proc/%d/fd/%d" % (os.getpid(), self.there))

    def give(self, name):
        """And one of the box's is ours."""
        with self:
            ip("link", "set", name, "netns", "/proc/%d/fd/%d" % (os.getpid(), self.here))

    def close(self):
        os.close(self.there)
        os.close(self.here)


def deaf(name):
    """The kernel hears nothing there any more; who reads packets before it does."""
    rules = ["table netdev deaf {",
             "chain in { type filter hook ingress device \"%s\" priority 0; drop; }" % name, "}"]
    subprocess.run(["nft", "-f", "-"], input="\n".join(rules), text=True, check=True)


def offloads_off(name):
    """Frames as they would be on a real wire: whole, with their checksums."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for command in OFFLOADS:
            data = array.array("B", struct.pack("II", command, 0))
            request = struct.pack("16sP", name.encode(), data.buffer_info()[0])
            fcntl.ioctl(probe, SIOCETHTOOL, request.ljust(40, b"\0"))


class Subnet:
    """Addresses that no other process of this machine takes: the kernel's .1, the broker's .2."""

    numbers = itertools.cycle(range(SUBNETS))
    held = set()

    def __init__(self):
        self.number = next(number for number in itertools.islice(self.numbers, SUBNETS) if number not in self.held)
        self.held.add(self.number)
        number = self.number * 8
        high, low = os.getpid() >> 8 & 255, os.getpid() & 255
        self.tag = "%d.%d" % (os.getpid() % 1000000, number // 8)
        self.kernel, self.ours = ("10.%d.%d.%d" % (high, low, number + n) for n in (1, 2))
        self.kernel6, self.ours6 = ("fd00:%x:%x::%x" % (os.getpid(), number, n) for n in (1, 2))

    def release(self):
        self.held.discard(self.number)

    @staticmethod
    def all_ours():
        """Every address that a broker of this process may come to have: for its certificate."""
        high, low = os.getpid() >> 8 & 255, os.getpid() & 255
        return ["10.%d.%d.%d" % (high, low, number * 8 + 2) for number in range(SUBNETS)]

    def kernel_has(self, name):
        """The kernel's end of a wire gets its addresses."""
        ip("address", "add", self.kernel + "/29", "dev", name)
        ip("address", "add", self.kernel6 + "/64", "dev", name, "nodad")

    def settings(self, device, port=5672, number=0):
        """Of a broker whose end is `device`, listening there."""
        key = "lepus.net.port.%d." % number
        return [key + "device=" + device, key + "address.0=%s/29" % self.ours,
                key + "address.1=%s/64" % self.ours6,
                "listeners.tcp.net%d=%s:%d" % (number, self.ours, port),
                "listeners.tcp.net%dsix=[%s]:%d" % (number, self.ours6, port),
                "loopback_users=none"]


class Tap:
    """A tap that outlives the broker's processes, and the addresses at both of its ends."""

    shards_max = None

    def __init__(self, mtu=None):
        self.subnet = Subnet()
        self.name = "t" + self.subnet.tag
        self.device = "tap:" + self.name
        ip("tuntap", "add", "dev", self.name, "mode", "tap", "multi_queue", "vnet_hdr")
        if mtu:
            ip("link", "set", self.name, "mtu", mtu)
        ip("link", "set", self.name, "up")
        self.subnet.kernel_has(self.name)

    def device_for(self, _shards):
        return self.device

    def close(self):
        ip("tuntap", "del", "dev", self.name, "mode", "tap", "multi_queue")
        self.subnet.release()


class Wire:
    """A pair of interfaces: `far` has the kernel's addresses, `near` is for a device of the broker's."""

    shards_max = None

    def __init__(self, mtu=None):
        self.subnet = Subnet()
        self.near, self.far = "n" + self.subnet.tag, "f" + self.subnet.tag
        self.name = self.far
        ip("link", "add", self.near, "type", "veth", "peer", "name", self.far)
        # The kernel has nothing to say at the broker's end.
        with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % self.near, "w") as file:
            file.write("1")
        for name in (self.near, self.far):
            if mtu:
                ip("link", "set", name, "mtu", mtu)
            ip("link", "set", name, "up")
        offloads_off(self.far)
        self.subnet.kernel_has(self.far)

    def close(self):
        ip("link", "del", self.near)
        self.subnet.release()

    def close_far(self):
        """Where `near` is in a box."""
        ip("link", "del", self.far)
        self.subnet.release()


class AfPacket(Wire):
    """DPDK on one end of a pair of interfaces, by packet sockets."""

    def __init__(self, mtu=None):
        super().__init__(mtu)
        self.frame = 2048 if (mtu or 1500) <= 1500 else 16384

    def device_for(self, shards):
        return "net_af_packet0,iface=%s,qpairs=%d,framesz=%d,blocksz=%d,framecnt=1024" % (
            self.near, shards, self.frame, max(self.frame, 4096))


class AfXdp(Wire):
    """DPDK on one end of a pair of interfaces, by a socket of AF_XDP.

    One: the driver asks for the number of combined queues, and a veth says that it has none.
    """

    shards_max = 1

    def device_for(self, shards):
        return "net_af_xdp0,iface=%s,start_queue=0,queue_count=%d" % (self.near, shards)


class DpdkTap:
    """DPDK's own driver of taps, on one that outlives the broker's processes."""

    shards_max = None

    def __init__(self, mtu=None):
        self.subnet = Subnet()
        self.name = "d" + self.subnet.tag
        ip("tuntap", "add", "dev", self.name, "mode", "tap", "multi_queue")
        if mtu:
            ip("link", "set", self.name, "mtu", mtu)
        ip("link", "set", self.name, "up")
        self.subnet.kernel_has(self.name)

    def device_for(self, _shards):
        return "net_tap0,iface=" + self.name

    def close(self):
        ip("tuntap", "del", "dev", self.name, "mode", "tap", "multi_queue")
        self.subnet.release()


# What --net of tests/clients/run takes: an end of a wire each, with device_for(shards), shards_max
# (None: any number), subnet, name and close().
DEVICES = {"tap": Tap, "dpdk:net_tap": DpdkTap, "dpdk:net_af_packet": AfPacket, "dpdk:net_af_xdp": AfXdp}


class Marks:
    """A router on either side of an interface that marks so many of ten thousand packets that may be marked (ECN)."""

    def __init__(self, name, of_ten_thousand):
        self.table = "marks" + name.replace(".", "_")
        rules = ["table inet %s {" % self.table]
        for chain, hook, way in (("i", "prerouting", "iifname"), ("o", "postrouting", "oifname")):
            rules.append("chain %s { type filter hook %s priority 0; " % (chain, hook))
            for ip in ("ip", "ip6"):
                rules.append("%s \"%s\" %s ecn ect0 numgen random mod 10000 < %d counter %s ecn set ce"
                             % (way, name, ip, of_ten_thousand, ip))
            rules.append("}")
        subprocess.run(["nft", "-f", "-"], input="\n".join(rules + ["}"]), text=True, check=True)

    def close(self):
        subprocess.run(["nft", "delete", "table", "inet", self.table], check=True)


class Loss:
    """So many of ten thousand packets to and from an interface are lost, by nftables."""

    def __init__(self, name, of_ten_thousand):
        self.table = "loss" + name.replace(".", "_")
        rules = ["table inet %s {" % self.table]
        for chain, hook, way in (("i", "input", "iifname"), ("o", "output", "oifname")):
            which = "%s \"%s\" meta l4proto tcp" % (way, name)
            rules.append("chain %s { type filter hook %s priority 0; %s counter; "
                         "%s numgen random mod 10000 < %d counter drop; }" % (chain, hook, which, which, of_ten_thousand))
        subprocess.run(["nft", "-f", "-"], input="\n".join(rules + ["}"]), text=True, check=True)

    def counted(self):
        """(packets, how many of them were lost) of each direction."""
        text = subprocess.run(["nft", "list", "table", "inet", self.table], check=True,
                              capture_output=True, text=True).stdout
        found = [int(line.split("packets")[1].split()[0]) for line in text.splitlines() if "packets" in line]
        return [(found[0], found[1]), (found[2], found[3])]

    def close(self):
        subprocess.run(["nft", "delete", "table", "inet", self.table], check=True)
