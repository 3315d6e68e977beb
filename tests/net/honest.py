#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A client that only wants its messages, while somebody else attacks: a process of its own.

    honest.py HOST PORT

Publishes one message at a time with confirms and waits for it at the other of its two connections. Prints the ports of
both; for each line that it reads, a line of JSON about the time since the last one; ends with its input. Whatever is
lost, comes twice, or in the wrong order ends it with a traceback.
"""
import json
import os
import select
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from amqp_raw import Raw

PACE_S = 0.004
NEWCOMER_EACH = 50  # messages
Raw.patience = 60.0     # how long is too long is for who reads what we say


class Honest:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.out, self.back = (Raw(host, port).handshake() for _ in range(2))
        self.sender, self.receiver = self.out.channel(), self.back.channel()
        self.sender.call("confirm.select")
        self.receiver.call("queue.declare", queue="honest", exclusive=False, auto_delete=True)
        self.receiver.call("basic.consume", queue="honest", no_ack=True)
        self.count = 0
        self.times, self.opens = [], []

    def ports(self):
        return [one.sock.getsockname()[1] for one in (self.out, self.back)]

    def message(self):
        body = struct.pack(">Q", self.count) + b"h" * (self.count * 37 % 2000)
        began = time.monotonic()
        self.sender.publish(body, routing_key="honest")
        event = self.receiver.next("basic.deliver")
        assert event.body == body, "message %d came wrong, twice, or in the wrong order" % self.count
        self.times.append(time.monotonic() - began)
        self.sender.confirmed()
        self.count += 1

    def newcomer(self):
        began = time.monotonic()
        Raw(self.host, self.port).handshake().close()
        self.opens.append(time.monotonic() - began)

    def tell(self):
        times = sorted(self.times)
        found = {"count": len(times), "p50_ms": times[len(times) // 2] * 1e3, "max_ms": times[-1] * 1e3,
                 "opens": len(self.opens), "open_max_ms": max(self.opens, default=0) * 1e3}
        self.times, self.opens = [], []
        print(json.dumps(found), flush=True)


def main(host, port):
    honest = Honest(host, int(port))
    print(json.dumps(honest.ports()), flush=True)
    while True:
        honest.message()
        if honest.count % NEWCOMER_EACH == 0:
            honest.newcomer()
        if select.select([sys.stdin], [], [], PACE_S)[0]:
            if not sys.stdin.readline():
                break
            honest.newcomer()
            honest.tell()


if __name__ == "__main__":
    main(*sys.argv[1:])
