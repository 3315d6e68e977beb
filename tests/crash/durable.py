#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Rounds of traffic, kill -9 and a look at what is left: nothing confirmed may be lost.

    tests/crash/durable.py [--rounds N] [--seed S] [--broker lepus|rabbitmq]

In a round several connections publish with confirms (persistent and transient, 0 B to 200 KB, to classic and quorum
queues and through a fanout exchange), in transactions, consume, get, ack, requeue and declare. At some moment the
data plane, the control process, both, or everything with the launcher is killed, or told to stop, and comes back.
Then, in every other round, one consumer a queue takes all there is; in the others traffic goes on with what is there.
What must hold is in ledger.py.

Who does what and who is killed follow from the seed; what was where at that moment does not, so a failure may need
several tries to come again.
"""
import argparse
import collections
import os
import random
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import amqp_flow
import amqp_raw
import ledger as ledger_module
import traffic
import victims
from amqp_raw import Raw

QUEUES = {"c0": "classic", "c1": "classic", "c2": "classic", "q0": "quorum", "q1": "quorum"}
FANOUT = ["c1", "c2", "q1"]
EXCHANGE = "all"
PATIENCE_S = 60.0       # for anything that must happen
TRAFFIC_S = 1.0         # a round's traffic, at most
BACKLOG_MAX = 1500      # from here on a drain acks what it got; of small messages in LONG do not count
LONG = "c2"             # in some runs this queue is made so long that it is kept in pages
LONG_COUNT = 12000


class Failed(Exception):
    pass


class Ids:
    """Numbers that are given once."""

    def __init__(self):
        self.last = collections.Counter()

    def next(self, what):
        self.last[what] += 1
        return self.last[what]


class World:
    """One run: its broker, what it owes, and who is connected."""

    def __init__(self, victim, seed, journal=None):
        self.victim, self.seed = victim, seed
        self.chance = random.Random(seed)
        self.ledger = ledger_module.Ledger(journal, victim.atomic, victim.marks)
        self.ids = Ids()
        self.queues = {queue: kind if victim.quorum else "classic" for queue, kind in QUEUES.items()}
        self.lines = []
        self.made, self.unmade = set(), set()
        self.long = random.Random("long %s" % seed).random() < 0.3

    # numbers

    def publisher_new(self):
        return self.ids.next("publisher")

    def tx_new(self):
        return self.ids.next("tx")

    def name_new(self):
        return self.ids.next("name")

    def line_new(self):
        return self.ids.next("line")

    # connections

    def raw(self):
        return Raw(self.victim.host, self.victim.port).handshake()

    def line(self, *roles):
        raw = self.raw()
        for number in range(1, len(roles) + 1):
            raw.channel(number)
        line = traffic.Line(self, raw)
        self.lines.append(line)
        for number, role in enumerate(roles, 1):
            line.add(number, role)
        return line

    def roles(self):
        return [role for line in self.lines for role in line.roles.values()]

    def run_until(self, done, seconds=PATIENCE_S, what="nothing"):
        """Move bytes; a connection that ends is an error."""
        until = time.monotonic() + seconds
        while not done():
            if time.monotonic() > until:
                raise Failed("%s within %d s" % (what, seconds))
            amqp_flow.step(self.lines, 0.05)
            for line in self.lines:
                if line.ended or line.events:
                    raise Failed("the broker ended a connection: %r" % line.events)
            if self.ledger.problems:
                raise Failed("that is wrong")

    def read_to_end(self):
        """The broker is dead: what it had said is in the sockets."""
        until = time.monotonic() + PATIENCE_S
        for line in self.lines:
            amqp_raw.impatient(line.sock)
        while not all(line.ended for line in self.lines):
            if time.monotonic() > until:
                raise Failed("a connection of a dead broker did not end")
            amqp_flow.step(self.lines, 0.05)
        for line in self.lines:
            line.sock.close()
        self.lines = []

    def close(self):
        """Everybody says goodbye; what they held goes back."""
        for line in self.lines:
            line.close()
            self.ledger.connection_closed([one for role in line.roles.values() for one in role.held()])
        self.lines = []

    # what is there from the beginning

    def declare(self):
        channel = self.raw().channel()
        channel.call("exchange.declare", exchange=EXCHANGE, type="fanout", durable=True)
        for queue, kind in self.queues.items():
            arguments = {"x-queue-type": kind}
            if kind == "quorum" and self.victim.version >= (4, 0):
                arguments["x-delivery-limit"] = -1
            channel.call("queue.declare", queue=queue, durable=True, arguments=arguments)
            self.ledger.queue_made(queue, kind)
        for queue in FANOUT:
            channel.call("queue.bind", queue=queue, exchange=EXCHANGE)
        channel.connection.close()
        self.victim.quorum_queues = sum(kind == "quorum" for kind in self.queues.values())

    # a round

    def connect(self):
        chance, names = self.chance, sorted(QUEUES)
        for _ in range(chance.randrange(1, 4)):
            self.line(*[self.some_publisher() for _ in range(chance.randrange(1, 4))])
        for _ in range(chance.randrange(1, 4)):
            self.line(*[traffic.Consumer(self, chance.choice(names), chance.choice((1, 10, 100, 1000)),
                                         chance.choice((1, 3, 20)))
                        for _ in range(chance.randrange(1, 4))])
        others = [traffic.Transactor(self, chance.choice(names))]
        if chance.random() < 0.5:
            others.append(traffic.Getter(self, chance.choice(names)))
        if chance.random() < 0.5:
            others.append(traffic.Declarer(self, self.made, self.unmade))
        self.line(*others)

    def some_publisher(self):
        chance = self.chance
        queues, exchange = ([chance.choice(sorted(QUEUES))], "") if chance.random() < 0.7 else (FANOUT, EXCHANGE)
        return traffic.Publisher(self, queues, chance.choice((1, 10, 50, 300)), exchange,
                                 transient=chance.choice((0.0, 0.1, 0.5)))

    def moved(self):
        counts = self.ledger.counts
        return counts["confirmed"] + counts["delivered"] + counts["redelivered"] + counts["acked"]

    def kind(self):
        kinds = {kind: weight for kind, weight in self.victim.kinds.items() if self.victim.possible(kind)}
        return self.chance.choices(sorted(kinds), [kinds[kind] for kind in sorted(kinds)])[0]

    def lengthen(self):
        filler = traffic.Filler(self, LONG, LONG_COUNT)
        self.line(filler)
        self.run_until(filler.done, what="the long queue was not filled")
        self.ledger.counts["filled"] += 1
        self.close()

    def round(self):
        if self.long and len(self.ledger.copies[LONG]) < LONG_COUNT and self.chance.random() < 0.5:
            self.lengthen()
        self.connect()
        began = time.monotonic()
        moment = self.moved() + int(2 ** self.chance.uniform(2, 11))
        self.run_until(lambda: self.moved() >= moment or time.monotonic() > began + TRAFFIC_S)
        kind = self.kind()
        self.ledger.counts["killed: " + kind] += 1
        if self.victim.die(kind, self.chance):
            self.read_to_end()
            self.ledger.crashed()
            self.victim.revive()
            self.check_topology()
        else:
            self.go_on()
        if self.chance.random() < 0.5:
            self.drain()
        self.ledger.forget()

    def go_on(self):
        """Only the control process was killed: nobody may have noticed."""
        moment, began = self.moved() + 200, time.monotonic()
        self.run_until(lambda: self.moved() >= moment or time.monotonic() > began + TRAFFIC_S / 2)
        for role in self.roles():
            role.quiet = True
        self.run_until(lambda: not any(role.busy() for role in self.roles()), what="not everything was answered")
        self.close()

    def check_topology(self):
        """What was answered before the kill is there, bound; what was deleted is not."""
        connection = self.raw()
        channel = connection.channel()
        channel.call("confirm.select")
        for name in sorted(self.made):
            channel.call("queue.declare", queue=name, passive=True)
            channel.publish(exchange=name + ".x", routing_key="key", mandatory=True)
            channel.confirmed()
            if connection.events[1]:
                self.ledger.problem("the binding of %s is gone: %r" % (name, connection.events[1].popleft()))
        for number, name in enumerate(sorted(self.unmade), 2):
            channel = connection.channel(number)
            channel.send("queue.declare", queue=name, passive=True)
            if channel.next().name != "channel.close":
                self.ledger.problem("%s was deleted, and is there again" % name)
        self.unmade.clear()
        connection.close()

    def drain(self, leave=None):
        drainers = [traffic.Drainer(self, queue) for queue in QUEUES]
        self.line(*drainers)
        self.run_until(lambda: all(one.done for one in drainers), what="not everything came back")
        self.ledger.counts["drains"] += 1
        if leave is None:
            left = self.ledger.left()
            few = left < BACKLOG_MAX or self.long and left < 2 * LONG_COUNT and self.chance.random() < 0.8
            leave = few and self.chance.random() < 0.4
        if not leave:
            for one in drainers:
                one.ack_all()
            self.run_until(lambda: all(one.fenced for one in drainers), what="the acks were not confirmed")
        self.close()


def settings_of(seed):
    """How the broker is set up follows from the seed, too: small files and little memory make a log work."""
    chance = random.Random("settings %s" % seed)
    out = []
    if chance.random() < 0.6:
        out += ["lepus.log.first_segment_bytes=1048576", "lepus.log.segment_bytes=2097152"]
    if chance.random() < 0.6:
        out += ["lepus.log.backlog_bytes=1048576"]
    if chance.random() < 0.3:
        out += ["lepus.transport=epoll"]
    return out


def run(options, victim):
    world = World(victim, options.seed)
    world.declare()
    began = time.monotonic()
    number = 0
    try:
        for number in range(1, options.rounds + 1):
            world.round()
            if world.ledger.problems:
                raise Failed("that is wrong")
            if options.verbose:
                print("durable: round %d after %.1f s: %s" % (
                    number, time.monotonic() - began, dict(world.ledger.counts)), flush=True)
        world.drain(leave=False)
        if world.ledger.problems:
            raise Failed("that is wrong")
    except Exception as problem:    # whatever it was, the seed belongs to it
        say_failure(options, world, number, problem)
        if not isinstance(problem, Failed):
            raise
        return False
    counts = world.ledger.counts
    print("durable: ok: %d rounds in %.1f s, seed %d: %s" % (
        options.rounds, time.monotonic() - began, options.seed,
        ", ".join("%s %d" % (name, counts[name]) for name in sorted(counts))))
    return True


def say_failure(options, world, number, problem):
    print("durable: FAILED in round %d: %s" % (number, problem))
    for text in world.ledger.problems:
        print("durable:   " + text)
    for role in world.roles():
        print("durable:   %s" % role)
    print("durable: counts: %s" % dict(world.ledger.counts))
    print("durable: again with: tests/crash/durable.py --seed %d --rounds %d --broker %s --shards %d%s" % (
        options.seed, max(number, 1), options.broker, options.shards,
        " --kinds " + options.kinds if options.kinds else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--broker", choices=sorted(victims.KINDS), default="lepus")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--kinds", help="who is killed, of: dataplane,control,both,all,stop")
    parser.add_argument("--verbose", action="store_true", help="a line for each round")
    parser.add_argument("--keep", action="store_true", help="leave the data of a failed run where it is")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 31)
    settings = settings_of(options.seed)
    print("durable: seed %d, %d shards %s" % (options.seed, options.shards, " ".join(settings)), flush=True)
    victim = victims.KINDS[options.broker](shards=options.shards, settings=settings)
    if options.kinds:
        victim.kinds = {kind: victim.kinds[kind] for kind in options.kinds.split(",")}
    good = False
    try:
        good = run(options, victim)
    finally:
        if not good:
            print("--- the broker's output\n" + victim.log_tail(), file=sys.stderr)
        kept = victim.discard(keep=options.keep and not good)
        if kept:
            print("durable: the broker's data is in " + kept)
    print("%d passed, %d failed" % (good, not good))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
