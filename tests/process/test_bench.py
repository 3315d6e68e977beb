#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""lepus-bench notices what goes wrong, and scripts/bench works. No figure is judged here.

Between lepus-bench and a relay (bench/relay) is a peer that loses, doubles,
swaps or damages one delivery: each has to be an exit code and a count.
"""
import json
import os
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.environ.get("LEPUS_BIN") or os.path.join(ROOT, "build", "bin")
WAIT_S = 120
DELIVER = bytes([0, 60, 0, 60])
MESSAGES, SIZE = 300, 64
VICTIM = 128            # of every 64th, all bytes are compared


def frames_of(buffer):
    """Whole frames at the head of `buffer`, which loses them."""
    out = []
    while len(buffer) >= 7:
        size = struct.unpack(">I", buffer[3:7])[0]
        if len(buffer) < size + 8:
            break
        out.append(bytes(buffer[:size + 8]))
        del buffer[:size + 8]
    return out


class Meddler:
    """A proxy that does something to one delivery of those that pass."""

    def __init__(self, port, fault):
        self.port, self.fault = port, fault
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.at = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            threading.Thread(target=self.pump, args=(client, server), daemon=True).start()
            threading.Thread(target=self.meddle, args=(server, client), daemon=True).start()

    def close(self):
        self.listener.close()

    @staticmethod
    def pump(source, target):
        while True:
            try:
                data = source.recv(65536)
                target.sendall(data)
            except OSError:
                data = b""
            if not data:
                target.close()
                return

    def meddle(self, source, target):
        buffer, message, count, held = bytearray(), [], 0, b""
        while True:
            try:
                data = source.recv(65536)
                buffer += data
                for frame in frames_of(buffer):
                    if not message and frame[7:11] != DELIVER:
                        target.sendall(frame)
                        continue
                    message.append(frame)
                    if len(message) == 3:
                        whole, held = self.changed(count, b"".join(message), held)
                        target.sendall(whole)
                        message, count = [], count + 1
            except OSError:
                data = b""
            if not data:
                target.close()
                return

    def changed(self, count, message, held):
        """(what is sent in a message's place, what is held back)"""
        if held:
            return message + held, b""
        if count != VICTIM or self.fault is None:
            return message, b""
        if self.fault == "swap":
            return b"", message
        if self.fault == "lose":
            return b"", b""
        if self.fault == "double":
            return message * 2, b""
        at = {"stamp": -SIZE, "filler": -SIZE + 20, "tail": -2}[self.fault]
        broken = bytearray(message)
        broken[at - 1 if at < -2 else at] ^= 0x10
        return bytes(broken), b""


class Relay(unittest.TestCase):
    def setUp(self):
        self.relay = subprocess.Popen([os.path.join(BIN, "lepus-relay")], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.relay.stdout.close)
        self.addCleanup(self.relay.wait)
        self.addCleanup(self.relay.terminate)
        self.port = int(self.relay.stdout.readline().rpartition(":")[2])

    def bench(self, *words, port=None):
        line = [os.path.join(BIN, "lepus-bench"), "--port", str(port or self.port), "--quiet", "--json", "-", *words]
        done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=WAIT_S)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done.returncode, json.loads(done.stdout), done.stderr

    def through(self, fault):
        """A run in which one delivery has that fault."""
        meddler = Meddler(self.port, fault)
        self.addCleanup(meddler.close)
        # Who waits for a message that is lost, or not to be known again, gives up soon; else only a machine could be slow.
        patience = "60" if fault in (None, "double", "swap") else "2"
        return self.bench("--messages", str(MESSAGES), "--size", str(SIZE), "--auto-ack", "--timeout", patience,
                          port=meddler.at)

    def test_what_comes_whole_once_and_in_order_is_good(self):
        code, said, _ = self.through(None)
        self.assertEqual((code, said["received"], said["whole"]), (0, MESSAGES, True))

    def test_a_lost_message_is_noticed(self):
        code, said, errors = self.through("lose")
        self.assertEqual((code, said["lost"], said["received"]), (1, 1, MESSAGES - 1))
        self.assertIn("nothing moved", errors)

    def test_a_message_that_comes_twice_is_noticed(self):
        code, said, _ = self.through("double")
        self.assertEqual((code, said["duplicates"], said["lost"]), (1, 1, 0))

    def test_messages_out_of_order_are_noticed(self):
        code, said, _ = self.through("swap")
        self.assertEqual((code, said["out_of_order"], said["lost"]), (1, 1, 0))

    def test_a_damaged_stamp_filler_or_tail_is_noticed(self):
        for fault in ("stamp", "filler", "tail"):
            code, said, _ = self.through(fault)
            self.assertEqual((code, said["damaged"]), (1, 1), fault)

    def test_all_ways_to_publish_and_consume_arrive_whole(self):
        for words in ("--confirm --window 7 --prefetch 5 --ack-every 3",
                      "--publishers 3 --queues 3 --consumers 6 --size 16",
                      "--exchange fanout --queues 5 --consumers 5 --size 17",
                      "--exchange direct --publishers 4 --queues 2 --consumers 2 --place consumer",
                      "--exchange topic --keys 100 --idle-bindings 50 --to-all --queues 2 --consumers 2",
                      "--size 300000 --messages 20 --publishers 2", "--publishers 3 --size 16,50,3000 --rate-each 5000",
                      "--publishers 100 --rate 100000 --poisson --confirm",
                      "--consumers 0 --confirm", "--publishers 50 --idle-connections 100 --idle-queues 500"):
            count = () if "--messages" in words else ("--messages", "2000")
            code, said, errors = self.bench(*words.split(), *count)
            self.assertEqual((code, said["lost"], said["damaged"]), (0, 0, 0), words + errors)

    def test_copies_are_counted_one_by_one(self):
        _, said, _ = self.bench("--messages", "100", "--exchange", "fanout", "--queues", "7", "--consumers", "7")
        self.assertEqual((said["sent"], said["received"]), (100, 700))

    def test_a_run_ends_by_a_signal_and_says_what_it_found(self):
        line = [os.path.join(BIN, "lepus-bench"), "--port", str(self.port), "--seconds", "100", "--rate", "1000",
                "--auto-ack"]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertIn("1 s", process.stderr.readline())   # it runs
        process.terminate()
        output, _ = process.communicate(timeout=WAIT_S)
        self.assertEqual(process.returncode, 0, output)
        self.assertIn(" 0 lost", output)

    def test_pictures_and_sink_work(self):
        with tempfile.TemporaryDirectory() as folder:
            svg = os.path.join(folder, "a.svg")
            code, said, _ = self.bench("--sink", "--messages", "10000", "--rate", "100000", "--confirm", "--svg", svg,
                                       "--title", "a < b")
            with open(svg) as file:
                text = file.read()
        self.assertEqual((code, said["received"]), (0, 10000))
        self.assertTrue(text.startswith("<svg") and text.endswith("</svg>\n"))
        self.assertIn("a &lt; b", text)


class Stops(unittest.TestCase):
    STOPS = os.path.join(BIN, "lepus-stops")

    def test_a_stop_of_the_whole_program_is_in_every_figure(self):
        line = [self.STOPS, "--json", "--seconds", "600", "--cpus", "%d" % min(os.sched_getaffinity(0))]
        with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
            self.addCleanup(process.kill)
            self.wait_spinning(process, 0)
            os.kill(process.pid, signal.SIGSTOP)
            began = time.monotonic()
            select.select([], [], [], 0.1)
            stopped_us = (time.monotonic() - began) * 1e6
            before = self.spun_ns(process.pid)
            os.kill(process.pid, signal.SIGCONT)
            self.wait_spinning(process, before)
            process.terminate()
            said = json.loads(process.communicate(timeout=60)[0])
        self.assertGreaterEqual(said["max_us"], stopped_us * 0.9)
        # A hundredth of the moments waited for all of it but a hundredth of the time.
        self.assertGreater(said["p99_us"], stopped_us * 0.9 - 0.011 * said["seconds"] * 1e6)
        self.assertLessEqual(said["p99_us"], said["p999_us"])
        self.assertLessEqual(said["p999_us"], said["max_us"])

    @staticmethod
    def spun_ns(pid):
        """Of all threads but the first, which only waits."""
        threads = [task for task in os.listdir("/proc/%d/task" % pid) if int(task) != pid]
        out = 0
        for task in threads:
            with open("/proc/%d/task/%s/schedstat" % (pid, task)) as file:
                out += int(file.read().split()[0])
        return out

    def wait_spinning(self, process, after_ns):
        """Until the thread that spins has had some more of a processor."""
        until = time.monotonic() + WAIT_S
        while self.spun_ns(process.pid) < after_ns + 5000000:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), until, "lepus-stops does not spin")
            select.select([], [], [], 0.005)

    def test_processors_and_times_that_are_none_are_refused(self):
        for words in (["--cpus", "x"], ["--cpus", "0,"], ["--cpus", "1023"], ["--seconds", "0"], ["--seconds", "nan"],
                      ["more"]):
            done = subprocess.run([self.STOPS] + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  timeout=60)
            self.assertEqual((done.returncode, done.stdout), (2, ""), words)
            self.assertIn("--cpus", done.stderr)


class Compare(unittest.TestCase):
    def test_scripts_bench_prints_a_table_and_writes_what_it_found(self):
        with tempfile.TemporaryDirectory() as folder:
            found = os.path.join(folder, "found.json")
            line = [os.path.join(ROOT, "scripts", "bench"), "--quick", "--no-setup", "--seconds", "0.2", "--only",
                    "16b,latency", "--json", found, "--out", folder]
            done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(found) as file:
                said = json.load(file)
            for name in ("ratios.svg", "latency.svg", "table.md"):
                self.assertTrue(os.path.getsize(os.path.join(folder, name)) > 200, name)
        self.assertEqual([row["row"] for row in said["rows"]], ["16b", "latency"])
        for row in said["rows"]:
            for name in ("lepus", "rabbitmq", "mosquitto", "relay"):
                self.assertIn("cpu", row["medians"][name], (row["row"], name))
        self.assertIn("to RabbitMQ", done.stdout)


if __name__ == "__main__":
    unittest.main()
