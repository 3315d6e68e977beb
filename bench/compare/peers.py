# SPDX-License-Identifier: Apache-2.0
"""The brokers of scripts/bench: each started by us, on free ports of 127.0.0.1, in folders of its own, on
the processor that is set aside for brokers, and ended by process id.

RabbitMQ is Debian's, with no plug-ins, as tests/lib/rabbitmq.py starts it. It has things to do when nobody
asks it for anything, and what polls never rests: all but the one that is measured are stopped (SIGSTOP).
"""
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))

import broker as lepus_broker   # noqa: E402
import ports                    # noqa: E402
import rabbitmq                 # noqa: E402

WORDS = {"lepus": "Lepus", "rabbitmq": "RabbitMQ", "mosquitto": "Mosquitto", "relay": "relay"}
START_S = 30
ENV = dict(os.environ, PATH="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", ""))


@contextlib.contextmanager
def on_processor(cpu):
    """What is started inside inherits this processor; None: any."""
    before = os.sched_getaffinity(0)
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def children_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(word) for word in file.read().split()]


def freeze(pids, yes):
    for pid in pids:
        os.kill(pid, signal.SIGSTOP if yes else signal.SIGCONT)


class Lepus:
    name = "lepus"
    protocol = "amqp"

    def __init__(self, cpu, shards=1, poll="adaptive", settings=()):
        self.cpu = cpu
        self.settings = ["lepus.poll=%s" % poll] + list(settings)
        self.shards = shards
        began = time.monotonic()
        with on_processor(cpu):
            self.broker = lepus_broker.Broker(shards=shards, settings=self.settings)
        self.start_s = time.monotonic() - began
        self.port, self.pid = self.broker.port, self.broker.process.pid

    def config(self):
        return "lepus.shards=%d %s" % (self.shards, " ".join(self.settings))

    def kill(self):
        """kill -9, and once more on what that leaves."""
        self.broker.kill_all()
        with on_processor(self.cpu):
            self.broker.start()
        self.port, self.pid = self.broker.port, self.broker.process.pid

    def stop(self):
        self.freeze(False)
        self.broker.stop()

    def freeze(self, yes):
        freeze([self.pid] + children_of(self.pid), yes)


class RabbitMQ(Lepus):
    name = "rabbitmq"

    def __init__(self, cpu, settings=(), **_):
        self.cpu = cpu
        began = time.monotonic()
        with on_processor(cpu):
            # Lepus's own keys are nothing to it.
            self.broker = rabbitmq.RabbitMQ([one for one in settings if not one.startswith("lepus.")])
        self.start_s = time.monotonic() - began
        self.port, self.pid = self.broker.port, self.broker.process.pid
        self.version = ".".join(map(str, self.broker.version))

    def config(self):
        with open(os.path.join(self.broker.work, "rabbitmq.conf")) as file:
            settings = " ".join(file.read().split("\n"))
        return "version %s, no plug-ins, %s" % (self.version, settings.strip())

    def stop(self):
        self.freeze(False)
        self.broker.stop()

    def freeze(self, yes):
        freeze([self.pid], yes)


class Relay:
    name = "relay"
    protocol = "amqp"

    def __init__(self, cpu, poll="adaptive", **_):
        line = [os.path.join(lepus_broker.binaries(), "lepus-relay")]
        line += ["--spin"] if poll == "busy" else []
        began = time.monotonic()
        with on_processor(cpu):
            self.process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
        said = self.process.stdout.readline()
        self.start_s = time.monotonic() - began
        match = re.search(r":(\d+)$", said.strip())
        if not match:
            raise RuntimeError("lepus-relay did not start")
        self.port, self.pid = int(match.group(1)), self.process.pid
        self.line = " ".join(line[1:])

    def config(self):
        return "one epoll thread %s" % self.line

    def stop(self):
        self.freeze(False)
        self.process.terminate()
        self.process.wait()

    def freeze(self, yes):
        freeze([self.pid], yes)


class Mosquitto(Relay):
    """Over MQTT 3.1.1 at QoS 0, which is what it is best at; nothing is logged or kept, and no message dropped."""

    name = "mosquitto"
    protocol = "mqtt"
    settings = ["allow_anonymous true", "persistence false", "log_type error", "max_queued_messages 0"]

    def __init__(self, cpu, **_):
        self.port_holder = ports.hold()
        self.port = ports.number(self.port_holder)
        self.folder = tempfile.TemporaryDirectory(prefix="lepus-mosquitto-")
        path = os.path.join(self.folder.name, "mosquitto.conf")
        with open(path, "w") as file:
            file.write("\n".join(["listener %d 127.0.0.1" % self.port] + self.settings) + "\n")
        began = time.monotonic()
        with on_processor(cpu):
            self.process = subprocess.Popen(["mosquitto", "-c", path], cwd=self.folder.name, env=ENV,
                                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.pid = self.process.pid
        self._wait_ready(began)
        self.start_s = time.monotonic() - began

    def _wait_ready(self, began):
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > began + START_S:
                    raise RuntimeError("mosquitto did not start") from None
                select.select([], [], [], 0.001)

    def config(self):
        return "MQTT 3.1.1, QoS 0; %s" % ", ".join(self.settings)

    def stop(self):
        super().stop()
        self.port_holder.close()
        self.folder.cleanup()


KINDS = {"lepus": Lepus, "rabbitmq": RabbitMQ, "relay": Relay, "mosquitto": Mosquitto}


class Stable:
    """Those that are running, started when first asked for."""

    def __init__(self, cpu):
        self.cpu = cpu
        self.running = {}
        self.configs = {}

    def get(self, name, poll="adaptive"):
        key = (name, poll)
        if key not in self.running:
            self.running[key] = KINDS[name](self.cpu, poll=poll)
            self.configs.setdefault(name, self.running[key].config())
        for other, peer in self.running.items():
            peer.freeze(other != key)
        return self.running[key]

    def fresh(self, name, cpu="own", **options):
        """One more, of which the caller takes care."""
        for peer in self.running.values():
            peer.freeze(True)
        peer = KINDS[name](self.cpu if cpu == "own" else cpu, **options)
        self.configs.setdefault(name, peer.config())
        return peer

    def stop(self, *polls):
        """All, or those that poll so."""
        for key in [key for key in self.running if not polls or key[1] in polls]:
            self.running.pop(key).stop()
