#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A million messages through the broker while things are killed, each accounted for.

Publishers with confirms write to several queues; consumers on connections of
their own acknowledge by hand. On the way one consumer is killed with kill -9
while it holds messages, lepus-control is killed several times with logins and
declares waiting for it, and a reader with automatic acknowledgement stops
reading its socket for a while. At the end, of every confirmed message:

  - it was received at least once;
  - it was received at most once without the redelivered mark;
  - first deliveries of one publisher and queue came in order to each consumer;
  - what the killed consumer held came to others with the redelivered mark.
"""
import argparse
import collections
import os
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
import broker as broker_module
from amqp_raw import Raw

RECORD = struct.Struct("<IHHQ")
STALL_S = 45.0      # nothing received for so long: failed
LOGIN_S = 30.0      # a login or declare that waits for control


class Failed(Exception):
    pass


class Child:
    """A flood process and the words it says."""

    def __init__(self, name, line):
        self.name, self.words = name, {}
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.buffer = b""
        os.set_blocking(self.process.stdout.fileno(), False)

    def listen(self):
        try:
            self.buffer += os.read(self.process.stdout.fileno(), 4096)
        except BlockingIOError:
            pass
        *lines, self.buffer = self.buffer.split(b"\n")
        for line in lines:
            word, number = line.decode().split()
            self.words[word] = int(number)
        return self.words

    def wait_for(self, word, seconds=60):
        until = time.monotonic() + seconds
        while word not in self.listen():
            left = until - time.monotonic()
            if left <= 0 or self.process.poll() is not None:
                raise Failed("%s never said %r (exit %s)" % (self.name, word, self.process.poll()))
            select.select([self.process.stdout], [], [], min(left, 0.2))


class Records:
    """What one consumer wrote down, read as it grows."""

    def __init__(self, path):
        self.path, self.rest, self.rows = path, b"", []
        self.file = None

    def fresh(self):
        if self.file is None:
            if not os.path.exists(self.path):
                return []
            self.file = open(self.path, "rb")
        data = self.rest + self.file.read()
        whole = len(data) - len(data) % RECORD.size
        self.rest = data[whole:]
        rows = list(RECORD.iter_unpack(data[:whole]))
        self.rows += rows
        return rows


class Run:
    def __init__(self, options, target, folder):
        self.options, self.broker, self.folder = options, target, folder
        self.flood = broker_module.compile_c(os.path.join(HERE, "flood.c"), folder, "rabbitmq")
        stem = "million.%s." % uuid.uuid4().hex[:8]
        self.queues = [stem + str(n) for n in range(options.queues + 1)]   # the last: slow reader's
        self.share = options.messages // options.publishers
        self.children, self.records = [], {}
        self.seen = [bytearray(self.share) for _ in range(options.publishers)]
        self.received = self.slow_received = 0
        self.waits, self.problems, self.kills = [], [], 0
        self.threads = []

    # processes

    def child(self, name, mode, *words):
        line = [self.flood, mode, self.broker.host, str(self.broker.port), *words]
        child = Child(name, line)
        self.children.append(child)
        return child

    def consumer(self, name, queues, *words):
        path = os.path.join(self.folder, name + ".records")
        self.records[name] = Records(path)
        child = self.child(name, "consume", "file=" + path, *words, *queues)
        child.wait_for("ready")
        return child

    def declare(self):
        connection = Raw(self.broker.host, self.broker.port).handshake()
        channel = connection.channel()
        for queue in self.queues:
            channel.call("queue.declare", queue=queue)
        connection.close()

    def leftovers(self):
        connection = Raw(self.broker.host, self.broker.port).handshake()
        channel = connection.channel()
        counts = {q: channel.call("queue.delete", queue=q).message_count for q in self.queues}
        connection.close()
        return {q: n for q, n in counts.items() if n}

    # control is killed; a login and a declare wait for it

    def kill_control(self):
        if self.broker.external:
            return
        if self.broker.kill_control() is None:
            return
        self.kills += 1
        thread = threading.Thread(target=self.login, args=(self.kills,))
        thread.start()
        self.threads.append(thread)

    def login(self, number):
        began = time.monotonic()
        try:
            connection = Raw(self.broker.host, self.broker.port).handshake()
            channel = connection.channel()
            channel.call("queue.declare", exclusive=True)
            connection.close()
            self.waits.append(time.monotonic() - began)
        except Exception as problem:
            self.problems.append("login and declare after kill %d: %r" % (number, problem))

    # the run

    def absorb(self):
        fresh = 0
        for name, records in self.records.items():
            for publisher, _queue, _redelivered, number in records.fresh():
                if not self.seen[publisher][number]:
                    self.seen[publisher][number] = 1
                    fresh += 1
                    self.slow_received += name == "slow"
        self.received += fresh
        return fresh

    def go(self):
        options = self.options
        self.declare()
        busy = self.queues[:-1]
        slow = self.consumer("slow", self.queues[-1:], "prefetch=0",
                             "pause=%d" % max(1, self.share // 100))
        victim = self.consumer("victim", busy, "prefetch=1000",
                               "hold=%d" % max(1, self.share // 20))
        half = len(busy) // 2
        for number in range(options.consumers):
            mine = busy[:half] if number % 2 else busy[half:]
            self.consumer("consumer%d" % number, mine, "prefetch=500")
        publishers = [self.child("publisher%d" % n, "publish", "id=%d" % n,
                                 "count=%d" % self.share, "window=2000", *self.queues)
                      for n in range(options.publishers)]
        self.watch(publishers, slow, victim)

    def watch(self, publishers, slow, victim):
        total = self.share * len(publishers)
        slow_total = total // len(self.queues)
        kill_at = collections.deque(total * n // 12 for n in range(1, 11, 2))
        victim_dead = slow_resumed = False
        began = last = time.monotonic()
        shown = 0
        while self.received < total:
            if self.absorb():
                last = time.monotonic()
            elif time.monotonic() - last > STALL_S:
                raise Failed("nothing received for %d s, at %d of %d%s" % (
                    STALL_S, self.received, total, self.missing()))
            if self.received * 10 // total > shown:
                shown = self.received * 10 // total
                print("million: %d of %d received after %.1f s" % (
                    self.received, total, time.monotonic() - began), flush=True)
            if kill_at and self.received >= kill_at[0]:
                kill_at.popleft()
                self.kill_control()
            if not victim_dead and "holding" in victim.listen():
                victim.process.kill()
                victim.process.wait()
                victim_dead = True
                print("million: killed a consumer that held %d" % victim.words["holding"])
            others = self.received - self.slow_received
            if not slow_resumed and "paused" in slow.listen() \
                    and others >= (total - slow_total) * 6 // 10:
                slow.process.stdin.write(b"\n")
                slow.process.stdin.flush()
                slow_resumed = True
                print("million: the slow reader goes on after %d" % slow.words["paused"])
            self.check_children(victim)
            live = [c.process.stdout for c in (slow, victim) if c.process.poll() is None]
            select.select(live, [], [], 0.05)
        for child in publishers:
            child.wait_for("confirmed")
        if not (victim_dead and slow_resumed):
            raise Failed("too few messages: the victim or the slow reader was not disturbed")
        self.elapsed = time.monotonic() - began
        self.held = victim.words["holding"]

    def missing(self):
        return "; missing by publisher and queue: %s" % dict(collections.Counter(
            (p, n % len(self.queues)) for p, seen in enumerate(self.seen)
            for n, there in enumerate(seen) if not there))

    def check_children(self, victim):
        for child in self.children:
            code = child.process.poll()
            if code not in (None, 0) and child is not victim:
                raise Failed("%s ended with %d" % (child.name, code))

    def finish(self):
        for child in self.children:
            if child.name.startswith("publisher"):
                continue
            if child.process.poll() is None:
                child.process.terminate()
        for child in self.children:
            code = child.process.wait(60)
            if code != 0 and child.name != "victim":
                self.problems.append("%s ended with %d" % (child.name, code))
        for thread in self.threads:
            thread.join(LOGIN_S + 15)
        self.absorb()
        left = self.leftovers()
        if left:
            self.problems.append("messages left in queues: %r" % left)

    def verdict(self):
        """Account for everything; (firsts, redelivered)."""
        first = [bytearray(self.share) for _ in self.seen]
        redelivered = 0
        redelivered_to_others = set()
        for name, records in self.records.items():
            order = {}
            for publisher, queue, again, number in records.rows:
                if again:
                    redelivered += 1
                    if name != "victim":
                        redelivered_to_others.add((publisher, number))
                    continue
                if first[publisher][number]:
                    self.problems.append("publisher %d's message %d came twice without the "
                                         "redelivered mark" % (publisher, number))
                first[publisher][number] = 1
                if order.get((publisher, queue), -1) > number:
                    self.problems.append("%s: publisher %d queue %d: %d after %d" % (
                        name, publisher, queue, number, order[publisher, queue]))
                order[publisher, queue] = number
        held = [(p, n) for p, _q, _r, n in self.records["victim"].rows[-self.held:]]
        lost = [m for m in held if m not in redelivered_to_others]
        if lost:
            self.problems.append("%d of %d messages that the killed consumer held were not "
                                 "redelivered as such: %r..." % (len(lost), len(held), lost[:5]))
        return redelivered

    def end_children(self):
        for child in self.children:
            if child.process.poll() is None:
                child.process.kill()
                child.process.wait()


def run(options, target, folder):
    work = Run(options, target, folder)
    try:
        work.go()
        work.finish()
        redelivered = work.verdict()
    except Failed as problem:
        work.problems.append(str(problem))
        redelivered = 0
    finally:
        work.end_children()
    for problem in work.problems[:20]:
        print("million: " + problem)
    if work.problems:
        print("million: FAILED, %d problems" % len(work.problems))
        return 1
    total = work.share * options.publishers
    print("million: ok: %d messages in %.1f s (%d/s), %d redelivered, control killed %d times%s" % (
        total, work.elapsed, total / work.elapsed, redelivered, work.kills,
        ", longest wait for a login and declare %.2f s" % max(work.waits) if work.waits else ""))
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=1000000)
    parser.add_argument("--publishers", type=int, default=4)
    parser.add_argument("--consumers", type=int, default=4)
    parser.add_argument("--queues", type=int, default=8)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--external", metavar="HOST:PORT")
    options = parser.parse_args()
    if options.external:
        os.environ["LEPUS_EXTERNAL"] = options.external
    folder = tempfile.mkdtemp(prefix="lepus-million-")
    target = broker_module.open_broker(shards=options.shards)
    code = 1
    try:
        code = run(options, target, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        target.stop(failed=bool(code))
    return code


if __name__ == "__main__":
    sys.exit(main())
