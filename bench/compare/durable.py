# SPDX-License-Identifier: Apache-2.0
"""Rows about messages on disk: (bench, peer's name) -> {figure: number}.

Class S on both sides: Lepus confirms when the disk has said that it has the message; RabbitMQ 3.10's classic queues
sync before they confirm a persistent message, too.
"""
import contextlib
import json
import mmap
import os
import tempfile
import time

import peers

BLOCK_BYTES = 4096
PROBE_WRITES = 1000         # a second, for as many seconds as two
PROBE_FILE_BYTES = 8 << 20
FIRST_S = 600               # RabbitMQ reads a long backlog before it answers


def quantile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def synced_writes(folder, seconds=2.0):
    """Microseconds that each write of 4 KiB takes which is on disk when it returns, 1,000 a second, to blocks that
    were written before: the least that a confirm waits for."""
    out, page = [], mmap.mmap(-1, BLOCK_BYTES)
    page.write(b"x" * BLOCK_BYTES)
    with tempfile.NamedTemporaryFile(dir=folder, prefix="lepus-probe-") as file:
        file.write(b"\1" * PROBE_FILE_BYTES)
        file.flush()
        os.fsync(file.fileno())
        fd = os.open(file.name, os.O_WRONLY | os.O_DIRECT | os.O_DSYNC)
        try:
            began = time.monotonic()
            for number in range(int(seconds * PROBE_WRITES)):
                due = began + number / PROBE_WRITES
                while time.monotonic() < due:
                    pass
                at = time.monotonic()
                os.pwrite(fd, page, number * BLOCK_BYTES % PROBE_FILE_BYTES)
                out.append((time.monotonic() - at) * 1e6)
        finally:
            os.close(fd)
    return out


def latency(bench, name):
    """Confirms at 1,000 a second, between two looks at what the disk takes by itself."""
    seconds = 1.0 if bench.quick else 2.0
    with bench.fresh(name) as peer:
        folder = os.path.dirname(peer.broker.data)
        with peers.on_processor(bench.options.load_cpu):
            alone = synced_writes(folder, seconds)
        said = bench.load(peer, "--size 1024 --persistent --confirm --rate 1000 " + bench.timing())
        with peers.on_processor(bench.options.load_cpu):
            alone += synced_writes(folder, seconds)
    confirm = said["confirm_us"]
    figures = {"p50": confirm["p50"], "p99": confirm["p99"], "disk_p50": quantile(alone, 0.5),
               "disk_p99": quantile(alone, 0.99)}
    figures["beyond"] = figures["p99"] - figures["disk_p99"]
    return figures


# What fills and drains a backlog: one publisher, one consumer.
FILL = "--consumers 0 --size 100 --persistent --confirm --window 5000 --keep --name backlog --timeout 120"
DRAIN = "--publishers 0 --size 100 --persistent --prefetch 1000 --ack-every 100 --name backlog --timeout 120"


def fill(bench, peer, count):
    return bench.load(peer, "%s --messages %d" % (FILL, count))


def backlog(bench, name):
    """N messages in, all of them out; in again, kill -9, and out."""
    count = bench.options.messages or (100000 if bench.quick else 1000000)
    with bench.fresh(name) as peer:
        filled = fill(bench, peer, count)
        drained = bench.load(peer, "%s --messages %d" % (DRAIN, count))
        fill(bench, peer, count)
        began = time.monotonic()
        peer.kill()
        first_s = first_delivery(peer, began)
        after = bench.load(peer, "%s --messages %d" % (DRAIN, count))
        all_s = time.monotonic() - began
    resident = filled["broker_bytes_after"] - filled["broker_bytes_before"]
    return {"fill": filled["sent_per_s"], "drain": drained["delivered_per_s"], "bytes": resident / count,
            "resident": filled["broker_bytes_after"] / 1e6, "first_s": first_s, "all_s": all_s,
            "drain_after": after["delivered_per_s"]}


def first_delivery(peer, began):
    """Seconds until a client that connects as soon as it can has been given a message, which it gives back."""
    from amqp_raw import Raw
    connection = Raw("127.0.0.1", peer.port).handshake()
    channel = connection.channel()
    channel.call("basic.qos", prefetch_count=1)
    channel.send("basic.consume", queue="backlog-0")
    while channel.next(seconds=FIRST_S).name != "basic.deliver":
        pass
    first_s = time.monotonic() - began
    connection.close()
    return first_s


def written_bytes(pids):
    """That these processes and their children have had written to a disk, as the kernel counts it."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError), open("/proc/%d/io" % pid) as file:
            total += int(dict(line.split(": ") for line in file.read().splitlines())["write_bytes"])
        with contextlib.suppress(OSError):
            total += written_bytes(peers.children_of(pid))
    return total


def log_counters(peer):
    """Lepus's own: {} for others."""
    if peer.name != "lepus":
        return {}
    return json.loads(peer.broker.ctl("status", "--formatter", "json").stdout)["counters"]


def amplification(bench, name):
    """One queue streams through while another keeps every twentieth message."""
    rate = {"lepus": 40000}.get(name, 6000)
    seconds = 3 if bench.quick else 15
    keep = "--size 1024 --persistent --confirm --consumers 0 --rate %d --seconds %d --keep --name kept"
    stream = "--size 1024 --persistent --confirm --rate %d --seconds %d"
    with bench.fresh(name) as peer:
        before, counted = written_bytes([peer.pid]), log_counters(peer)
        process = bench.load_start(peer, keep % (rate // 20, seconds))
        said = bench.load(peer, stream % (rate - rate // 20, seconds))
        kept = bench.load_end(process)
        payload = 1024 * (said["sent"] + kept["sent"])
        figures = {"disk": (written_bytes([peer.pid]) - before) / payload}
        now = log_counters(peer)
        if now:
            figures["log"] = (now["log_bytes_written"] - counted["log_bytes_written"]) / payload
            figures["copied"] = (now["log_bytes_copied"] - counted["log_bytes_copied"]) / payload
            figures["size"] = now["log_segment_bytes"] / (1024 * kept["sent"])
    return figures
