# SPDX-License-Identifier: Apache-2.0
"""victims - brokers that are killed and come back on the same data folder and port."""
import os
import select
import shutil
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import broker as broker_module
import rabbitmq

# The launcher gives up after five deaths of the data plane in a minute.
CRASHES_A_MINUTE = 4
READY_S = 60.0


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except (ProcessLookupError, TypeError):
        pass        # not there, and not needed to be


class Lepus(broker_module.Broker):
    """`die(kind)` is followed by `revive()`; True: a data plane ended, and connections with it."""

    kinds = {"dataplane": 35, "both": 15, "all": 25, "control": 15, "stop": 10}
    # Transactions on one queue are whole after a crash: else those that are not are only counted.
    atomic = True
    quorum = True       # quorum queues take part
    marks = True        # what was handed out before always has the redelivered mark

    def __init__(self, **options):
        self.changed = threading.Condition()
        self.readies = 0        # times that a launcher has said that clients are heard
        self.crashes = []       # when this launcher lost a data plane
        super().__init__(**options)

    def start(self):
        self.crashes = []
        super().start()

    def _drain(self, process):
        with open(self.log_path, "ab") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()
                if b"lepus: ready on " in line:
                    with self.changed:
                        self.readies += 1
                        self.changed.notify_all()

    def possible(self, kind):
        now = time.monotonic()
        self.crashes = [one for one in self.crashes if one > now - 62]
        return kind not in ("dataplane", "both") or len(self.crashes) < CRASHES_A_MINUTE

    def die(self, kind, chance):
        self.last, self.readies_before = kind, self.readies
        if kind == "control":
            self.kill_control()
            return False
        if kind == "all":
            self.kill_all()
        elif kind == "stop":
            self.process.send_signal(signal.SIGTERM)
        else:
            pids = [self.child("lepus-dataplane")]
            if kind == "both":
                pids.append(self.child("lepus-control"))
                chance.shuffle(pids)
            self.crashes.append(time.monotonic())
            for pid in pids:
                kill(pid)
        return True

    def revive(self):
        if self.last == "stop" and self.process.wait(READY_S) != 0:
            raise RuntimeError("exit code %d of a graceful stop" % self.process.returncode)
        if self.last in ("all", "stop"):
            self.start()
            return
        until = time.monotonic() + READY_S
        with self.changed:
            while self.readies == self.readies_before:
                left = until - time.monotonic()
                if left <= 0 or self.process.poll() is not None:
                    raise RuntimeError("the launcher did not bring the data plane back (exit %s)"
                                       % self.process.poll())
                self.changed.wait(min(left, 0.5))

    def discard(self, keep):
        """End it; its data stays where the caller may look when `keep`."""
        if self.process.poll() is None:
            self.kill_all()
        if keep:
            return self.work
        self.clear()
        return None


class RabbitMQ(rabbitmq.RabbitMQ):
    """Its only process is killed, or stopped."""

    kinds = {"all": 80, "stop": 20}
    atomic = True
    quorum_queues = 0       # that have to elect a leader before they can be used after a start

    def __init__(self, **_options):
        super().__init__()
        # 3.10 hands out again what was last in its queue without the mark now and then, and some of its quorum
        # queues never have a leader again after a kill.
        self.marks = self.quorum = self.version >= (4, 0)

    def _wait_leaders(self, log_bytes):
        until = time.monotonic() + READY_S
        with open(self.log_path, "rb") as log:
            log.seek(log_bytes)
            seen = b""
            while seen.count(b"-> leader in term") < self.quorum_queues:
                if time.monotonic() > until:
                    raise RuntimeError("the quorum queues have no leaders")
                select.select([], [], [], 0.01)
                seen += log.read()

    def possible(self, _kind):
        return True

    def die(self, kind, _chance):
        self.last = kind
        if kind == "stop":
            self.process.send_signal(signal.SIGTERM)
        else:
            self.kill_all()
        return True

    def revive(self):
        self.process.wait(READY_S)
        log_bytes = os.path.getsize(self.log_path)
        self.start()
        self._wait_leaders(log_bytes)

    def discard(self, keep):
        if self.running():
            self.kill_all()
        work = self.work
        if not keep:
            self.stop()
            return None
        self._end()
        return work


KINDS = {"lepus": Lepus, "rabbitmq": RabbitMQ}
