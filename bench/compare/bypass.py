# SPDX-License-Identifier: Apache-2.0
"""Rows about kernel bypass: Lepus and lepus-bench on our own TCP/IP meet over vhost and virtio-user, a shared
memory link of DPDK's, with no kernel between; beside Lepus on the kernel's sockets, spinning and sleeping, and
beside RabbitMQ and Mosquitto. Broker and generator have a processor each, and spin.

What this machine's processors stop a thread for is in every latency: bench/stops looks at it just before and after.

Memory that both map has to be in huge pages: as root they are asked of the kernel while a row is measured.
"""
import contextlib
import json
import os
import subprocess
import tempfile

import peers

HUGE = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
PAGES = 400
OURS, THEIRS = "10.99.0.2", "10.99.0.1/24"
STREAM = "--size 100 --auto-ack --backlog 2000 --window 1000 "
MANY = "--size 100 --auto-ack --publishers 32 --consumers 32 --queues 32 --backlog 32 "


def number(path):
    with open(path) as file:
        return int(file.read())


@contextlib.contextmanager
def huge_pages():
    before, free = number(HUGE + "nr_hugepages"), number(HUGE + "free_hugepages")
    if free < PAGES:
        with open(HUGE + "nr_hugepages", "w") as file:
            file.write(str(before + PAGES - free))
    try:
        yield
    finally:
        if free < PAGES:
            with open(HUGE + "nr_hugepages", "w") as file:
                file.write(str(before))


@contextlib.contextmanager
def over_bypass(bench):
    """A broker whose clients come over vhost; gives it and what the generator has to be told."""
    with huge_pages(), tempfile.TemporaryDirectory(prefix="lepus-vhost-") as folder:
        path = os.path.join(folder, "socket")
        settings = ["lepus.net.port.0.device=net_vhost0,iface=%s,queues=1" % path,
                    "lepus.net.port.0.address.0=%s/24" % OURS, "listeners.tcp.bypass=%s:5672" % OURS,
                    "lepus.net.dpdk.memory=256MiB", "loopback_users=none"]
        with bench.fresh("lepus", poll="busy", settings=settings) as peer:
            yield peer, ("--net net_virtio_user0,path=%s,queues=1,queue_size=1024 --net-address %s --host %s "
                         "--port 5672 " % (path, THEIRS, OURS))


def on_kernel(bench, poll, args):
    with bench.fresh("lepus", poll=poll) as peer:
        return bench.load(peer, args + "--spin " + bench.timing())


def others(bench, name, args):
    with bench.fresh(name) as peer:
        return bench.load(peer, args.replace("--auto-ack ", "") if name == "mosquitto" else args)


def tail(said, prefix=""):
    """Percentiles of all messages; `typical` is the p99 of the median thousand, in which the machine stopped nobody."""
    return dict({prefix + key: said["delivery_us"][key] for key in ("p50", "p90", "p99")},
                **{prefix + "typical": said["p99_of_thousands_us"]["p50"]})


def machine_p99(bench):
    """The p99 that a broker would have that takes no time at all, with the processors that are used here."""
    line = [os.path.join(peers.lepus_broker.binaries(), "lepus-stops"), "--json", "--seconds", "1",
            "--cpus", "%d,%d" % (bench.options.broker_cpu, bench.options.load_cpu)]
    return json.loads(subprocess.run(line, stdout=subprocess.PIPE, check=True, timeout=60).stdout)["p99_us"]


def latency(bench, name):
    args = "--size 100 --auto-ack --rate 10000 "
    if name != "lepus":
        return tail(others(bench, name, args + "--spin " + bench.timing()))
    stops = [machine_p99(bench)]
    with over_bypass(bench) as (peer, net):
        figures = tail(bench.load(peer, net + args + bench.timing()))
    stops.append(machine_p99(bench))
    figures.update(tail(on_kernel(bench, "busy", args), "spin_"))
    stops.append(machine_p99(bench))
    figures.update(tail(on_kernel(bench, "adaptive", args), "sleep_"))
    for key in ("p90", "p99", "typical"):
        figures[key + "_ratio"] = figures["spin_" + key] / figures[key]
    return dict(figures, machine=bench.median(stops))


def half(bench, name):
    """At half of what each can do at most, as a stream from one publisher."""
    timing = bench.timing()
    if name != "lepus":
        most = others(bench, name, STREAM + timing)["delivered_per_s"]
        return dict(tail(others(bench, name, "--size 100 --auto-ack --spin --rate %d " % (most / 2) + timing)),
                    rate=most / 2)
    with over_bypass(bench) as (peer, net):
        most = bench.load(peer, net + STREAM + timing)["delivered_per_s"]
        figures = tail(bench.load(peer, net + "--size 100 --auto-ack --rate %d " % (most / 2) + timing))
    spin = on_kernel(bench, "busy", STREAM)["delivered_per_s"]
    figures.update(tail(on_kernel(bench, "busy", "--size 100 --auto-ack --rate %d " % (spin / 2)), "spin_"))
    return dict(figures, rate=most / 2, machine=machine_p99(bench))


def cpu(bench, name):
    timing = bench.timing()
    if name != "lepus":
        return {"batched": others(bench, name, STREAM + timing)["broker_cpu_us"],
                "single": others(bench, name, MANY + timing)["broker_cpu_us"]}
    with over_bypass(bench) as (peer, net):
        figures = {"batched": bench.load(peer, net + STREAM + timing)["broker_cpu_us"],
                   "single": bench.load(peer, net + MANY + timing)["broker_cpu_us"],
                   "round": bench.load(peer, net + "--size 100 --auto-ack --backlog 1 " + timing)["delivery_us"]["p50"]}
    spin = {"batched": on_kernel(bench, "busy", STREAM)["broker_cpu_us"],
            "single": on_kernel(bench, "busy", MANY)["broker_cpu_us"],
            "round": on_kernel(bench, "busy", "--size 100 --auto-ack --backlog 1 ")["delivery_us"]["p50"]}
    for key in ("batched", "single", "round"):
        figures["kernel_" + key] = spin[key]
        figures[key + "_ratio"] = spin[key] / figures[key]
    return figures


def bulk(bench, _name):
    """Bodies of 16 KB in frames of 1,500 bytes, in and out again."""
    with over_bypass(bench) as (peer, net):
        said = bench.load(peer, net + "--size 16384 --auto-ack --backlog 200 --window 100 " + bench.timing())
    return {"gbit": said["delivered_per_s"] * 16384 * 8 / 1e9, "both": 2 * said["delivered_per_s"] * 16384 * 8 / 1e9}
