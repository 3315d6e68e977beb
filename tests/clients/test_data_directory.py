#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The data directory of a real broker: whose it is, how many shards it has, and what a start does not do to it."""
import functools
import os
import re
import resource
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import broker as broker_module
import suite
from semantics.base import Case

QUEUES = 8
EARLY_S = 0.02           # a turn has the time of its beginning, and the machine may stop a thread in it


class DataDirectory(Case):
    def setUp(self):
        super().setUp()
        self.broker = broker_module.Broker(shards=2)
        self.addCleanup(self.broker.stop)
        self.addCleanup(self.leave)

    def leave(self):
        for connection in self.connections:
            connection.drop()
        self.connections.clear()

    def restart(self, shards):
        self.leave()
        self.broker.terminate()
        self.broker.shards = shards
        self.broker.start()

    def refused(self, *settings):
        """What a start on the same directory says."""
        line = [os.path.join(broker_module.binaries(), "lepus"), "--data", self.broker.data,
                "--set", "listeners.tcp.default=127.0.0.1:0"]
        for setting in settings:
            line += ["--set", setting]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
        self.assertNotEqual(done.returncode, 0)
        return done.stderr

    def status(self):
        return self.broker.ctl("status").stdout

    def fill(self, names):
        """A durable queue with a message each, from a connection each: they are on all shards."""
        for name in names:
            channel = self.confirming()
            channel.call("queue.declare", queue=name, durable=True)
            channel.publish(name.encode(), routing_key=name, properties={"delivery_mode": 2})
            channel.confirmed(1)

    def look(self, names):
        channel = self.channel()
        for name in names:
            channel.send("basic.get", queue=name, no_ack=False)
            event = channel.next()
            self.assertEqual((event.name, event.body), ("basic.get-ok", name.encode()))

    def needs_shards(self):
        if self.broker.net and self.broker.net.shards_max:
            self.skipTest("there is one shard over this device")

    def test_queues_and_messages_stay_on_their_shards(self):
        """Also when there are more of them."""
        self.needs_shards()
        old = ["old%d" % i for i in range(QUEUES)]
        new = ["new%d" % i for i in range(QUEUES)]
        self.fill(old)
        self.restart(4)
        self.assertIn("Shards: 4\n", self.status())
        self.look(old)
        self.fill(new)
        self.leave()
        self.broker.terminate()
        self.assertIn("has the messages of 4 shards, and lepus.shards is 2: set it to 4, or to auto",
                      self.refused("lepus.shards=2"))
        self.broker.shards = 4
        self.broker.start()
        self.look(old + new)

    def test_the_directory_is_one_brokers_and_has_an_id(self):
        name = re.search(r"Data directory's id: ([0-9a-f]{32})\n", self.status()).group(1)
        with open(os.path.join(self.broker.data, "lepus.data")) as file:
            self.assertIn("id = %s\n" % name, file.read())
        self.assertIn("is in use by another lepus (process %d)" % self.broker.process.pid,
                      self.refused())
        self.restart(2)
        self.assertIn(name, self.status())

    def test_a_topology_of_another_directory_is_refused(self):
        """Its queues would take messages that are not theirs."""
        self.needs_shards()
        other = broker_module.Broker(shards=2)
        self.addCleanup(other.stop)
        other.terminate()
        self.leave()
        self.broker.terminate()
        mine, foreign = (os.path.join(b.data, "topology.db") for b in (self.broker, other))
        os.rename(mine, mine + ".kept")
        self.assertIn("topology.db is gone", self.refused("lepus.shards=2"))
        shutil.copy(foreign, mine)
        self.assertIn("topology.db is of the data directory", self.refused("lepus.shards=2"))
        os.rename(mine + ".kept", mine)
        self.broker.start()
        other.start()

    def test_a_log_that_cannot_be_written_is_told_to_everybody(self):
        """Publishers get a nack, administrators an alarm, and what was confirmed is there after a start."""
        real = subprocess.Popen
        subprocess.Popen = functools.partial(real, restore_signals=False)   # SIGXFSZ stays ignored
        self.addCleanup(setattr, subprocess, "Popen", real)
        self.restart(2)
        limit = (self.broker.child("lepus-dataplane"), resource.RLIMIT_FSIZE, (5 << 20, resource.RLIM_INFINITY))
        channel, confirmed, event = self.confirming(), 0, None
        channel.call("queue.declare", queue="q", durable=True)
        while confirmed < 1000:
            channel.publish(b"x" * 65536, routing_key="q", properties={"delivery_mode": 2})
            event = channel.next()
            if event.name != "basic.ack":
                break
            confirmed += 1
            if confirmed == 20:
                resource.prlimit(*limit)   # files that were made before are larger
        self.assertEqual(event.name, "basic.nack")
        self.assertGreaterEqual(confirmed, 20)
        said = self.broker.ctl("status").stdout
        self.assertIn("Log alarm of shard ", said.partition("Alarms")[2].partition("Memory\n")[0])
        alarms = self.broker.ctl("check_local_alarms", check=False)
        self.assertEqual(alarms.returncode, 69)
        self.assertRegex(self.broker.log_tail(), r"the log of shard \d takes no more")
        self.restart(2)
        self.assertNotIn("Log alarm", self.broker.ctl("status").stdout)
        count = self.channel().call("queue.declare", queue="q", passive=True).message_count
        self.assertGreaterEqual(count, confirmed)
        self.assertLessEqual(count, confirmed + 1)   # what was refused may be there

    def test_a_queue_that_is_deleted_leaves_nothing_to_its_successor(self):
        """The next one of its name has another identity, also after kill -9."""
        for _ in range(3):
            self.fill(["q"])
            self.look(["q"])
            self.channel().call("queue.delete", queue="q")
            self.channel().call("queue.declare", queue="q", durable=True)
            self.leave()
            self.broker.kill_all()
            self.broker.start()
            channel = self.channel()
            self.assertEqual(channel.call("queue.declare", queue="q", passive=True).message_count, 0)
            channel.call("queue.delete", queue="q")

    def test_C164_a_delayed_message_outlives_a_kill(self):
        """It comes when it is due, in its order, once, and for the first time; also to queues of other shards."""
        names = ["q%d" % i for i in range(4)]
        channel = self.confirming()
        channel.call("exchange.declare", exchange="late", type="x-delayed-message", durable=True,
                     arguments={"x-delayed-type": "fanout"})
        for name in names:
            channel.call("queue.declare", queue=name, durable=True)
            channel.call("queue.bind", queue=name, exchange="late")
        began = time.monotonic()
        for i in range(20):
            channel.publish(b"%d" % i, exchange="late",
                            properties={"delivery_mode": 2, "headers": {"x-delay": 3000}})
        channel.confirmed(20)
        self.kill_and_start()
        channel, got = self.confirming(), {name: [] for name in names}
        while any(len(bodies) < 20 for bodies in got.values()):
            self.assertLess(time.monotonic() - began, 60)
            for name in names:
                event = channel.call("basic.get", queue=name, no_ack=True)
                if event.name == "basic.get-ok":
                    self.assertGreaterEqual(time.monotonic() - began, 3.0 - EARLY_S)
                    self.assertFalse(event.redelivered)
                    got[name].append(event.body)
        for name in names:
            self.assertEqual(got[name], [b"%d" % i for i in range(20)])
            self.assertEqual(channel.call("basic.get", queue=name).name, "basic.get-empty")
        # What was taken is on disk with what is confirmed after it, in the queues' shards and then in the exchange's.
        for name in names:
            channel.publish(b"after", routing_key=name, properties={"delivery_mode": 2})
        channel.confirmed(len(names))
        channel.publish(b"later", exchange="late", properties={"delivery_mode": 2, "headers": {"x-delay": 600000}})
        channel.confirmed()
        self.kill_and_start()
        channel = self.channel()
        for name in names:
            self.assertEqual(channel.call("basic.get", queue=name).body, b"after")
            self.assertEqual(channel.call("basic.get", queue=name).name, "basic.get-empty")

    def kill_and_start(self):
        self.leave()
        self.broker.kill_all()
        self.broker.start()


if __name__ == "__main__":
    if os.environ.get("LEPUS_EXTERNAL") or "--external" in sys.argv:
        print("skip: it starts brokers of its own\n0 passed, 0 failed")
        sys.exit(0)
    sys.exit(suite.main([sys.modules["__main__"]]))
