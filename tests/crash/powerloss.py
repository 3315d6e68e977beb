#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a loss of power can leave on the disk, state by state, and what the broker makes of it.

    tests/crash/powerloss.py [--states N] [--seed S]

kill -9 leaves the page cache and the device's own. So a real run is recorded: every operation of the data plane on
its files, every completion, and between them what clients sent and heard. Then the recording is cut at some place,
a state of the files is made that the contract of disks allows at that moment (recording.py), the broker is started on
it, and everything that was promised before the cut must be there (ledger.py). Every third time traffic goes on in
what was recovered, is recorded as well, and is cut again. Control's SQLite files are copied: what is declared is
declared before the first cut.
"""
import argparse
import os
import random
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import amqp_raw
import broker as broker_module
import durable
import ledger as ledger_module
import recording as rec
import traffic
import victims

SETS = 4                # of clients, one after the other, in the first life


class Recorded(broker_module.Broker):
    """A broker on a folder that is given, its disks recorded."""

    quorum, atomic, marks = victims.Lepus.quorum, victims.Lepus.atomic, victims.Lepus.marks
    kinds = {}

    def __init__(self, data, path, options):
        os.environ["LEPUS_RECORD_DISK"] = path
        try:
            super().__init__(data=data, shards=options.shards, settings=durable.settings_of(options.seed))
        finally:
            del os.environ["LEPUS_RECORD_DISK"]

    def discard(self):
        if self.process.poll() is None:
            self.kill_all()
        self.clear()


class World(durable.World):
    """Clients of a recorded broker; in a later life they go on with the ledger of the earlier ones."""

    def __init__(self, victim, seed, path, ledger=None, ids=None):
        super().__init__(victim, seed)
        self.journal = rec.Journal(path)
        if ledger:
            self.ledger = ledger
        self.ids = ids or self.ids
        self.ledger.journal = self.journal

    def connect(self):
        super().connect()
        # Of declares nothing is recorded.
        for role in self.roles():
            role.quiet = role.quiet or isinstance(role, traffic.Declarer)

    def traffic(self, sets):
        """Several sets of clients, one after the other; the last does not say goodbye."""
        for number in range(sets):
            self.connect()
            moment, until = self.moved() + 1500, time.monotonic() + durable.TRAFFIC_S
            self.run_until(lambda: self.moved() >= moment or time.monotonic() > until)
            if number + 1 < sets:
                for role in self.roles():
                    role.quiet = True
                self.run_until(lambda: not any(role.busy() for role in self.roles()), what="answers")
                self.close()

    def end(self):
        for line in self.lines:
            line.sock.close()
        self.lines = []
        self.journal.close()
        self.ledger.journal = None


class Run:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.checked = self.continued = 0
        self.ids = durable.Ids()
        self.torn = 0

    def fresh(self, name):
        path = os.path.join(self.folder, name)
        shutil.rmtree(path, ignore_errors=True)
        return path

    def record(self, data, path, seed, events, sets, first):
        """A life: recovery, a drain if there was one before, traffic, and the end of power."""
        if os.path.exists(path):
            os.unlink(path)
        victim = Recorded(data, path, self.options)
        ledger = ledger_module.replay(events, atomic=Recorded.atomic, marks=Recorded.marks)
        try:
            world = World(victim, seed, path, ledger, self.ids)
            if first:
                world.declare()
                world.ledger.journal("ready", ())
            else:
                world.ledger.journal("ready", ())
                world.ledger.crashed()
                world.drain()
            if sets and not world.ledger.problems:
                world.traffic(sets)
            world.end()
            self.torn += world.ledger.counts["transactions torn"]
            return world.ledger.problems
        except durable.Failed as problem:
            return ledger.problems + [str(problem)]
        except Exception:
            if not self.options.lying:
                print("--- the broker's output\n" + victim.log_tail(), file=sys.stderr)
            raise
        finally:
            victim.discard()

    def go(self):
        """The first life, and states of its disk; then lives on some of these."""
        options = self.options
        data, path = self.fresh("first"), os.path.join(self.folder, "first.rec")
        os.makedirs(data)
        problems = self.record(data, path, options.seed, [], SETS, True)
        if problems:
            return problems
        first = rec.Recording(path)
        print("powerloss: recorded %d operations, %d events of clients" % (len(first.ops), len(first.events)), flush=True)
        for number in range(1, options.states + 1):
            if options.only and number != options.only:
                continue
            problems = self.state(first, data, {}, [], number)
            if problems:
                print("powerloss: FAILED in state %d; again with (the recording is another one then): "
                      "tests/crash/powerloss.py --seed %d --states %d --shards %d" % (
                          number, options.seed, options.states, options.shards))
                return problems
        return []

    def state(self, recording, template, base, events, number, depth=0):
        """One state, and perhaps one of the life that begins with it."""
        chance = rec.source(self.options.seed, number, depth)
        ready = recording.position_of("ready")
        cut = rec.some_cut(recording, ready if depth == 0 else 0, chance)
        state = rec.state_at(recording, cut, base, chance, self.options.lying)
        so_far = events + [one for one in recording.events_before(cut) if one[0] != "ready"]
        data = self.fresh("state%d" % depth)
        shutil.copytree(template, data, ignore=shutil.ignore_patterns("lock", "*.sock", "*.log"))
        rec.write_state(data, state)
        self.checked += 1
        again = depth == 0 and number % 3 == 0
        path = os.path.join(self.folder, "again.rec")
        problems = self.record(data, path, "%d.%d" % (self.options.seed, number), so_far,
                               1 if again else 0, False)
        if self.options.verbose or problems:
            print("powerloss: state %d.%d: cut at %d of %d, %d operations under way%s" % (
                number, depth, cut, recording.end, len(recording.in_flight(cut)),
                "; files kept in %s" % self.keep(template, state) if problems and not self.options.lying else ""), flush=True)
        if problems or not again:
            return problems
        self.continued += 1
        return self.state(rec.Recording(path), template, state, so_far, number, 1)

    def keep(self, template, state):
        """The state as it was before the broker saw it, where it stays."""
        path = tempfile.mkdtemp(prefix="lepus-powerloss-state-")
        shutil.rmtree(path)
        shutil.copytree(template, path, ignore=shutil.ignore_patterns("lock", "*.sock", "*.log"))
        rec.write_state(path, state)
        return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--states", type=int, default=40)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--only", type=int, help="this state of them")
    parser.add_argument("--lying", action="store_true", help="of a disk that lies: which has to be seen")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 31)
    print("powerloss: seed %d, %d shards %s" % (options.seed, options.shards,
                                                " ".join(durable.settings_of(options.seed))), flush=True)
    began = time.monotonic()
    folder = tempfile.mkdtemp(prefix="lepus-powerloss-")
    work = Run(options, folder)
    try:
        problems = work.go()
    except (durable.Failed, RuntimeError, AssertionError, OSError, amqp_raw.Closed, amqp_raw.EndOfStream) as problem:
        problems = [repr(problem)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for text in problems:
        print("powerloss:   " + text)
    if options.lying:
        print("powerloss: the lies of the disk were %s" % ("seen" if problems else "NOT SEEN"))
        problems = [] if problems else ["blind"]
    print("powerloss: %s: %d states, %d of them in lives that began with another, %d transactions torn, in %.1f s" % (
        "FAILED" if problems else "ok", work.checked, work.continued, work.torn, time.monotonic() - began))
    print("%d passed, %d failed" % (not problems, bool(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
