# SPDX-License-Identifier: Apache-2.0
"""What scripts/bench measures: a row a scenario, each with its figures and goals.

Most rows are one call of lepus-bench; what needs more is in special.py.

Durability classes: T transient, everything is in memory; W written to the system before it is confirmed;
S synced to the disk before it is confirmed. Only rows of one class on both sides are compared.
"""
import dataclasses

import bypass
import durable
import encrypted
import special


@dataclasses.dataclass
class Figure:
    key: str
    words: str
    unit: str
    better: str = "less"         # or "more"
    goal: float = None


def cpu(goal, per="delivery"):
    return Figure("cpu", "broker CPU a %s" % per, "us", goal=goal)


def rate(goal):
    return Figure("rate", "deliveries a second", "/s", "more", goal)


def p50(goal):
    return Figure("p50", "latency p50", "us", goal=goal)


def p99(goal):
    return Figure("p99", "latency p99", "us", goal=goal)


AMQP = ("rabbitmq", "relay", "lepus")
ALL = ("rabbitmq", "mosquitto", "relay", "lepus")


@dataclasses.dataclass
class Row:
    name: str
    title: str
    figures: list
    args: str = ""
    mqtt: str = ""               # the same for Mosquitto
    peers: tuple = ALL
    durability: str = "T"
    poll: str = "adaptive"
    special: object = None       # (bench, name) -> figures, instead of args
    quick: str = ""              # what --quick does to it


# Of the rows about kernel bypass.
P90 = Figure("p90", "latency p90", "us")
SPIN = [Figure("spin_p50", "on kernel sockets, spinning, p50", "us"), Figure("spin_p90", "the same, p90", "us"),
        Figure("spin_p99", "the same, p99", "us"), Figure("spin_typical", "the same, p99 of the median thousand", "us")]
TYPICAL = Figure("typical", "p99 of the median thousand", "us")
MACHINE = Figure("machine", "the machine's own p99 (lepus-stops)", "us")
THROUGHPUT = "--auto-ack --backlog 20000"
DURABLE = "--size 1024 --persistent --confirm --window 500 --prefetch 250 --backlog 5000"

ROWS = [
    Row("16b", "16 B, auto-ack", [cpu(0.25), rate(4e6)], "--size 16 " + THROUGHPUT, "--size 16 --backlog 20000"),
    Row("1k", "1 KB, auto-ack", [cpu(0.75), rate(1.3e6)], "--size 1024 --auto-ack --backlog 1000",
        "--size 1024 --backlog 1000"),
    Row("1k-backlog", "1 KB, auto-ack, 20 MB on the way", [cpu(None), rate(None)], "--size 1024 " + THROUGHPUT,
        "--size 1024 --backlog 20000"),
    Row("1k-acked", "1 KB, acked one by one, prefetch 250, confirms", [cpu(1.0), rate(1e6)],
        "--size 1024 --prefetch 250 --confirm --window 1000 --backlog 5000", peers=AMQP),
    Row("fanout", "fan-out 1 to 100, 100 B", [cpu(0.2), rate(5e6)],
        "--size 100 --exchange fanout --queues 100 --consumers 100 --auto-ack --backlog 500",
        "--size 100 --to-all --queues 100 --consumers 100 --backlog 500"),
    Row("many", "1,000 publishers with 10 messages a second each", [cpu(14), p50(None), p99(None)],
        "--size 100 --publishers 1000 --rate 10000 --auto-ack", "--size 100 --publishers 1000 --rate 10000"),
    Row("latency", "latency at 10,000 a second, broker sleeping", [p50(30), p99(60), cpu(None)],
        "--size 100 --rate 10000 --auto-ack --spin", "--size 100 --rate 10000 --spin"),
    Row("latency-polling", "latency at 10,000 a second, broker polling", [p50(13), p99(50)],
        "--size 100 --rate 10000 --auto-ack --spin", peers=("relay", "lepus"), poll="busy"),
    Row("idle-connection", "an idle connection with a channel",
        [Figure("bytes", "resident bytes", "B", goal=4096)], special=special.idle_connection),
    Row("queued", "a queued transient message of 100 B",
        [Figure("bytes", "resident bytes", "B", goal=250)], peers=("rabbitmq", "lepus"),
        special=special.queued),
    Row("idle-cpu", "an idle broker", [Figure("share", "of a processor", "%", goal=1)],
        special=special.idle_cpu),
    Row("start", "from the command to the first connection",
        [Figure("ms", "time", "ms", goal=200)], special=special.start),
    Row("shards", "1 to 2 shards; 8 publishers, queues, consumers",
        [Figure("speedup", "times the messages", "x", "more", 1.9),
         Figure("cpu_ratio", "CPU a delivery, 2 shards to 1", "x", goal=1.0),
         Figure("cpu_1", "with 1 shard", "us"), Figure("cpu_2", "with 2 shards", "us")],
        peers=("lepus",), special=special.shards),
    Row("far", "a queue on another shard than both ends",
        [Figure("cpu_ratio", "CPU a delivery, far to near", "x", goal=1.5),
         Figure("cpu_near", "near", "us"), Figure("cpu_far", "far", "us")],
        peers=("lepus",), special=special.far),
    Row("topic", "topic exchange with 10,000 more bindings",
        [Figure("added_cached", "more CPU a message, keys seen before", "us", goal=0.5),
         Figure("added_new", "more CPU a message, each key new", "us", goal=3.0),
         Figure("cpu", "without the bindings", "us")],
        peers=("rabbitmq", "lepus"), special=special.topic, quick=", a tenth of them"),
    Row("objects", "100,000 queues and 10,000 connections",
        [Figure("open_s", "to declare and connect", "s", goal=60),
         Figure("cpu_ratio", "CPU a delivery, with them to without", "x", goal=1.3)],
        peers=("lepus",), special=special.objects, quick=", a tenth of them"),
    Row("durable", "1 KB persistent, confirms, 1 publisher, consumer, queue", [cpu(1.4), rate(None)], DURABLE,
        peers=("rabbitmq", "lepus"), durability="S"),
    Row("durable-8", "1 KB persistent, confirms, 8 publishers, consumers, queues", [cpu(1.4), rate(5e5)],
        DURABLE + " --publishers 8 --consumers 8 --queues 8", peers=("rabbitmq", "lepus"), durability="S"),
    Row("durable-latency", "confirms of 1 KB persistent, 1,000 a second",
        [Figure("p50", "confirm p50", "us"), Figure("p99", "confirm p99", "us"),
         Figure("disk_p50", "a synced write of 4 KiB, p50", "us"), Figure("disk_p99", "the same, p99", "us"),
         Figure("beyond", "confirm p99 less write p99", "us", goal=200)],
        peers=("rabbitmq", "lepus"), durability="S", special=durable.latency),
    Row("backlog", "a backlog of persistent messages of 100 B",
        [Figure("fill", "filled, confirmed", "/s", "more", 1.5e6), Figure("drain", "drained, acked", "/s", "more", 1.5e6),
         Figure("bytes", "resident bytes a message", "B", goal=2), Figure("resident", "resident when filled", "MB"),
         Figure("first_s", "kill -9 to the first delivery", "s", goal=1),
         Figure("all_s", "kill -9 to all consumed", "s"),
         Figure("drain_after", "drained after that", "/s", "more")],
        peers=("rabbitmq", "lepus"), durability="S", special=durable.backlog, quick=", a tenth of them"),
    Row("amplification", "1 KB streaming through, every 20th kept",
        [Figure("disk", "bytes to disk a byte of body", ""), Figure("log", "of these, in the log", ""),
         Figure("copied", "copied forward", ""), Figure("size", "bytes of files a byte kept", "")],
        peers=("rabbitmq", "lepus"), durability="S", special=durable.amplification, quick=", for a fifth of the time"),
    Row("bypass", "kernel bypass: latency at 10,000 a second, 100 B",
        [p50(6), P90, p99(None), TYPICAL, *SPIN, Figure("sleep_p50", "on kernel sockets, sleeping, p50", "us"),
         Figure("sleep_p99", "the same, p99", "us"), Figure("p90_ratio", "p90, spinning to bypass", "x", "more"),
         Figure("sleep_typical", "the same, p99 of the median thousand", "us"),
         Figure("p99_ratio", "p99, spinning to bypass", "x", "more", 4),
         Figure("typical_ratio", "p99 of the median thousand, spinning to bypass", "x", "more", 4), MACHINE],
        peers=("rabbitmq", "mosquitto", "lepus"), special=bypass.latency),
    Row("bypass-half", "kernel bypass: latency at half of each one's most",
        [p50(None), P90, p99(None), TYPICAL, Figure("rate", "that half", "/s", "more"), *SPIN, MACHINE],
        peers=("rabbitmq", "mosquitto", "lepus"), special=bypass.half),
    Row("bypass-cpu", "kernel bypass: CPU a delivery, 100 B",
        [Figure("batched", "one stream", "us"), Figure("kernel_batched", "one stream, kernel sockets", "us"),
         Figure("batched_ratio", "kernel to bypass", "x", "more", 1.3),
         Figure("single", "32 streams, one message at a time each", "us"),
         Figure("kernel_single", "the same, kernel sockets", "us"),
         Figure("single_ratio", "kernel to bypass", "x", "more", 2.5),
         Figure("round", "one message at a time, p50", "us"), Figure("kernel_round", "the same, kernel sockets", "us")],
        peers=("rabbitmq", "mosquitto", "lepus"), special=bypass.cpu),
    Row("bypass-bulk", "kernel bypass: 16 KB bodies in frames of 1,500 bytes, one core",
        [Figure("gbit", "bodies in, and as many out", "Gb/s", "more", 10), Figure("both", "together", "Gb/s", "more")],
        peers=("lepus",), special=bypass.bulk),
    Row("tls", "TLS 1.3 beside plain connections, CPU a delivery",
        [Figure("small_tls", "100 B, one stream, TLS", "us"), Figure("small", "the same, plain", "us"),
         Figure("small_ratio", "TLS to plain", "x"),
         Figure("bulk_tls", "16 KB, one stream, TLS", "us"), Figure("bulk", "the same, plain", "us"),
         Figure("bulk_ratio", "TLS to plain", "x"),
         Figure("slow_tls", "100 publishers, 10 a second each, TLS", "us"), Figure("slow", "the same, plain", "us"),
         Figure("slow_ratio", "TLS to plain", "x"),
         Figure("p50_tls", "latency p50, TLS", "us"), Figure("p50", "the same, plain", "us")],
        peers=("rabbitmq", "lepus"), special=encrypted.tls),
    Row("tls-storm", "plain, 1,000 a second, beside TLS handshakes",
        [p50(None), p99(None), Figure("storm_p50", "p50 in the storm", "us"), Figure("storm_p99", "p99 in the storm", "us"),
         Figure("more_p99", "p99 in the storm to without", "x"),
         Figure("handshakes", "handshakes a second meanwhile", "/s", "more")],
        peers=("rabbitmq", "lepus"), special=encrypted.storm),
]
