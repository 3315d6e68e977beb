#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""declares - what connections and declares cost: seconds, processor time and memory of the broker.

    bench/declares/declares.py [--connections N] [--queues N] [--in-turn N] [--shards N] [--keep]

The broker is one of its own (tests/lib/broker.py). Rows: connections opened in rounds
(handshake, vhost, channel: what a client library does), queues declared one after the
other by one connection (--in-turn of them), in a pipeline by one connection, without
answers (nowait), and by all connections with an equal share each; each once transient
and once durable. Processor time is the scheduler's, so other work on the machine does
not count; seconds are the clock's, and do.
"""
import argparse
import os
import resource
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "lib"))

import broker as brokers  # noqa: E402

HEADER = b"AMQP\x00\x00\x09\x01"
DECLARE_OK, CHANNEL_OPEN_OK = (50, 11), (20, 11)


def method(channel, ids, payload=b""):
    body = struct.pack(">HH", *ids) + payload
    return struct.pack(">BHI", 1, channel, len(body)) + body + b"\xce"


def short(text):
    return bytes([len(text)]) + text


START_OK = method(0, (10, 11), struct.pack(">I", 0) + short(b"PLAIN") +
                  struct.pack(">I", 12) + b"\0guest\0guest" + short(b"en_US"))
TUNE_OK = method(0, (10, 31), struct.pack(">HIH", 2047, 131072, 0))
OPEN = method(0, (10, 40), short(b"/") + short(b"") + b"\0")
CHANNEL_OPEN = method(1, (20, 10), short(b""))


def declare(name, durable, nowait=False):
    bits = (2 if durable else 8) | (16 if nowait else 0)    # not durable: auto-delete
    return method(1, (50, 10), struct.pack(">H", 0) + short(name) + bytes([bits]) +
                  struct.pack(">I", 0))


class Client:
    def __init__(self, address):
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(600)
        self.rest = b""

    def send(self, data):
        self.socket.sendall(data)

    def wait(self, ids, count=1):
        """Read until `count` methods of this kind have come; anything that closes is an error."""
        while count > 0:
            at = 0
            while len(self.rest) - at >= 8:
                size = struct.unpack_from(">I", self.rest, at + 3)[0]
                if len(self.rest) - at < size + 8:
                    break
                got = struct.unpack_from(">HH", self.rest, at + 7)
                if got in ((10, 50), (20, 40)):
                    raise RuntimeError(repr(self.rest[at:at + size + 8]))
                count -= got == ids
                at += size + 8
            self.rest = self.rest[at:]
            if count > 0:
                data = self.socket.recv(1 << 18)
                if not data:
                    raise RuntimeError("closed")
                self.rest += data


def cpu_s(pid):
    """Processor time of all threads of a process."""
    total = 0
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
            total += int(file.read().split()[0])
    return total / 1e9


def rss_kib(pid):
    with open("/proc/%d/status" % pid) as file:
        for line in file:
            if line.startswith(("RssAnon:", "RssShmem:")):
                yield int(line.split()[1])


class Bench:
    def __init__(self, broker):
        self.broker = broker
        self.pids = {name: broker.child("lepus-" + name) for name in ("control", "dataplane")}
        print("%-44s %9s %9s %12s %12s" % ("", "seconds", "a second", "control us", "data plane us"))

    def cost(self):
        return [cpu_s(pid) for pid in self.pids.values()]

    def memory(self):
        return [sum(rss_kib(pid)) for pid in self.pids.values()]

    def row(self, what, count, work):
        before, held, began = self.cost(), self.memory(), time.monotonic()
        result = work()
        seconds = time.monotonic() - began
        spent = [b - a for a, b in zip(before, self.cost())]
        grown = [b - a for a, b in zip(held, self.memory())]
        print("%-44s %9.2f %9.0f %12.1f %12.1f   memory %5.0f %5.0f B each" % (
            what, seconds, count / seconds, spent[0] / count * 1e6, spent[1] / count * 1e6,
            grown[0] * 1024 / count, grown[1] * 1024 / count), flush=True)
        return result

    def idle(self, seconds=3.0):
        before, began = self.cost(), time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        spent = [b - a for a, b in zip(before, self.cost())]
        print("idle: control %.2f %%, data plane %.2f %% of a processor" % (
            spent[0] / took * 100, spent[1] / took * 100), flush=True)


def open_all(address, count):
    clients = []
    for first in range(0, count, 500):
        some = [Client(address) for _ in range(first, min(first + 500, count))]
        for data, ids in ((HEADER, (10, 10)), (START_OK, (10, 30)), (TUNE_OK + OPEN, (10, 41)),
                          (CHANNEL_OPEN, CHANNEL_OPEN_OK)):
            for client in some:
                client.send(data)
            for client in some:
                client.wait(ids)
        clients += some
    return clients


def in_turn(client, prefix, count, durable):
    for i in range(count):
        client.send(declare(b"%s-%d" % (prefix, i), durable))
        client.wait(DECLARE_OK)


def pipelined(client, prefix, count, durable, nowait=False):
    for first in range(0, count, 1000):
        last = min(first + 1000, count)
        client.send(b"".join(declare(b"%s-%d" % (prefix, i), durable, nowait and i < last - 1)
                             for i in range(first, last)))
        client.wait(DECLARE_OK, 1 if nowait else last - first)


def spread(clients, prefix, count, durable):
    share = count // len(clients)
    for k, client in enumerate(clients):
        client.send(b"".join(declare(b"%s-%d-%d" % (prefix, k, i), durable) for i in range(share)))
    for client in clients:
        client.wait(DECLARE_OK, share)


def measure(options, broker):
    bench = Bench(broker)
    clients = bench.row("connections opened", options.connections,
                        lambda: open_all((broker.host, broker.port), options.connections))
    for durable, name in ((False, "transient"), (True, "durable")):
        tag = name[:1].encode()
        for what, count, work in (
                ("in turn", options.in_turn,
                 lambda: in_turn(clients[0], tag + b"t", options.in_turn, durable)),
                ("pipelined", options.queues,
                 lambda: pipelined(clients[0], tag + b"p", options.queues, durable)),
                ("nowait", options.queues,
                 lambda: pipelined(clients[0], tag + b"n", options.queues, durable, True)),
                ("by all connections", options.queues,
                 lambda: spread(clients, tag + b"s", options.queues, durable))):
            if options.only and what not in options.only:
                continue
            bench.row("%d %s queues, %s" % (count, name, what), count, work)
    bench.idle()
    for pid in bench.pids.items():
        print("resident %s: %d KiB" % (pid[0], sum(rss_kib(pid[1]))))
    if options.keep:
        print("kept: port %d, data %s, launcher %d" % (broker.port, broker.data, broker.process.pid))
        sys.stdin.readline()


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10000)
    parser.add_argument("--queues", type=int, default=100000)
    parser.add_argument("--in-turn", type=int, default=2000)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--only", action="append", help="rows: in turn, pipelined, ...")
    parser.add_argument("--keep", action="store_true", help="wait for a line before it all goes")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    broker = brokers.Broker(shards=options.shards)
    try:
        measure(options, broker)
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
