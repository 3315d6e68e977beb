#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""`lepus log`: what an operator sees of a log, whole and damaged, and how the broker starts again.

One broker with one shard is filled and killed; every test has a copy of its data directory.
"""
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import pika

import broker as broker_module

MESSAGES = 200
BODY = 3000
BLOCK = 4096
BATCH_MAGIC = struct.pack("<Q", 0x6863746142757065)


def lepus_log(*words):
    done = subprocess.run([os.path.join(broker_module.binaries(), "lepus"), "log", *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    return done.returncode, done.stdout, done.stderr


def dial(broker):
    return pika.BlockingConnection(pika.ConnectionParameters(broker.host, broker.port))


def body(number):
    return (b"%08d" % number).ljust(BODY, b".")


def batches(path):
    """Offsets of the blocks that begin as batches do."""
    with open(path, "rb") as file:
        data = file.read()
    return [at for at in range(0, len(data), BLOCK) if data[at:at + 8] == BATCH_MAGIC]


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


class LogTool(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="lepus-log-")
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        cls.filled = os.path.join(cls.work, "filled")
        broker = broker_module.Broker(shards=1, data=cls.filled)
        try:
            connection = dial(broker)
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("kept", durable=True)
            for number in range(MESSAGES):
                channel.basic_publish("", "kept", body(number), pika.BasicProperties(delivery_mode=2))
            code, _, said = lepus_log("inspect", cls.filled)
            cls.while_running = (code, said)
            cls.verify_running = lepus_log("verify", cls.filled)
            broker.kill_all()
        finally:
            broker.process.stdout.close()
            shutil.rmtree(broker.work, ignore_errors=True)

    def setUp(self):
        self.data = os.path.join(self.work, self.id().rpartition(".")[2])
        shutil.copytree(self.filled, self.data, ignore=shutil.ignore_patterns("*.sock"))
        self.shard = os.path.join(self.data, "log", "shard-0")

    def damaged_segment(self):
        """(path, offsets of its batches) of the segment with the most of them."""
        names = [name for name in os.listdir(self.shard) if re.match(r"\d+\.log$", name)]
        found = {name: batches(os.path.join(self.shard, name)) for name in names}
        name = max(found, key=lambda one: len(found[one]))
        return os.path.join(self.shard, name), found[name]

    def start(self):
        broker = broker_module.Broker(shards=1, data=self.data)
        self.addCleanup(broker.stop)
        return broker

    def drained(self, broker):
        connection = dial(broker)
        channel = connection.channel()
        numbers = []
        while True:
            method, _, content = channel.basic_get("kept", auto_ack=True)
            if method is None:
                connection.close()
                return numbers
            numbers.append(int(content[:8]))
            self.assertEqual(content, body(numbers[-1]))

    def test_inspect_shows_what_there_is(self):
        code, out, _ = lepus_log("inspect", self.data)
        self.assertEqual(code, 0)
        self.assertIn("root: shard 0", out)
        self.assertRegex(out, r"generation 1 from batch 1 on")
        self.assertRegex(out, r"00000001\.log: \d+ KiB, batches 1 to \d+ of generation 1")
        code, out, _ = lepus_log("inspect", "--records", self.shard)
        self.assertEqual(code, 0)
        self.assertGreaterEqual(len(re.findall(r"kind \d+, 30\d\d bytes|kind \d+, 31\d\d bytes", out)), MESSAGES)
        self.assertNotIn("NOT WHOLE", out)

    def test_a_running_broker_is_told_and_not_verified(self):
        self.assertEqual(self.while_running[0], 0)
        self.assertIn("a broker runs", self.while_running[1])
        code, _, said = self.verify_running
        self.assertEqual(code, 2)
        self.assertIn("stop the broker first", said)

    def test_verify_finds_nothing_in_a_whole_log(self):
        code, out, said = lepus_log("verify", self.data)
        self.assertEqual((code, said), (0, ""), out)
        self.assertIn("whole", out)
        code, out, _ = lepus_log("repair", "--accept-loss", self.data)
        self.assertEqual(code, 0)
        self.assertIn("nothing was changed", out)
        self.assertEqual(self.drained(self.start()), list(range(MESSAGES)))

    def test_damage_is_named_by_all_and_the_broker_starts_after_a_repair(self):
        path, offsets = self.damaged_segment()
        self.assertGreater(len(offsets), 60)
        bad = offsets[50]
        flip(path, bad + 72 + 8 + 500)  # in the first record's content
        where = "%s, offset %d" % (os.path.basename(path), bad + 72)
        code, out, _ = lepus_log("verify", self.data)
        self.assertEqual(code, 1, out)
        self.assertIn(where, out)
        with self.assertRaises(RuntimeError) as start:
            broker_module.Broker(shards=1, data=self.data)
        self.assertIn(os.path.basename(path), str(start.exception))
        self.assertIn("offset %d" % (bad + 72), str(start.exception))
        self.assertIn("lepus log", str(start.exception))

        code, _, said = lepus_log("repair", self.data)
        self.assertEqual(code, 64)
        self.assertIn("--accept-loss", said)
        code, out, said = lepus_log("repair", "--accept-loss", self.data)
        self.assertEqual((code, said), (0, ""), out)
        self.assertIn("given up", out)
        lost = os.path.join(self.shard, "lost-1")
        self.assertIn(lost, out)
        code, out, _ = lepus_log("inspect", "--batches", lost)
        self.assertIn("NOT WHOLE", out)

        code, out, _ = lepus_log("verify", self.data)
        self.assertEqual(code, 0, out)
        numbers = self.drained(self.start())
        self.assertTrue(0 < len(numbers) < MESSAGES, numbers)
        self.assertEqual(numbers, list(range(len(numbers))))

    def test_a_log_can_be_cut_where_the_operator_says(self):
        path, offsets = self.damaged_segment()
        where = "%d:%d" % (int(os.path.basename(path)[:8]), offsets[30] + 72)
        code, out, said = lepus_log("repair", "--accept-loss", "--cut", where, self.shard)
        self.assertEqual((code, said), (0, ""), out)
        self.assertIn("offset %d: batch" % offsets[30], out)
        numbers = self.drained(self.start())
        self.assertTrue(0 < len(numbers) < MESSAGES, numbers)
        self.assertEqual(numbers, list(range(len(numbers))))

    def test_damage_before_the_checkpoint_is_found_by_verify(self):
        settings = ["lepus.log.segment_bytes=1MiB", "lepus.log.first_segment_bytes=1MiB"]
        data = os.path.join(self.work, "long")
        broker = broker_module.Broker(shards=1, data=data, settings=settings)
        self.addCleanup(shutil.rmtree, broker.work, ignore_errors=True)
        channel = dial(broker).channel()
        channel.confirm_delivery()
        channel.queue_declare("kept", durable=True)
        for number in range(7):
            channel.basic_publish("", "kept", bytes([number]) * 900000, pika.BasicProperties(delivery_mode=2))
        broker.terminate()  # with a checkpoint, behind all of them
        code, out, _ = lepus_log("verify", data)
        self.assertEqual(code, 0, out)
        shard = os.path.join(data, "log", "shard-0")
        path = os.path.join(shard, "00000002.log")
        first = batches(path)[0]
        self.assertEqual(first, 0)
        flip(path, 72 + 8 + 5000)
        code, out, _ = lepus_log("verify", data)
        self.assertEqual(code, 1, out)
        self.assertIn("00000002.log, offset 72: a record is damaged", out)
        flip(path, 20)  # its header
        code, out, _ = lepus_log("verify", data)
        self.assertEqual(code, 1, out)
        self.assertIn("a batch is damaged or missing", out)
        code, out, _ = lepus_log("repair", "--accept-loss", data)
        self.assertEqual(code, 0)
        self.assertIn("nothing was changed", out)

    def test_a_lost_segment_is_damage(self):
        path, _ = self.damaged_segment()
        os.remove(path)
        code, out, _ = lepus_log("verify", self.data)
        self.assertEqual(code, 1, out)
        self.assertIn("DAMAGE", out)

    def test_without_a_root_nothing_can_be_repaired(self):
        root = os.path.join(self.shard, "root.log")
        flip(root, 100)
        flip(root, BLOCK + 100)
        code, out, _ = lepus_log("verify", self.data)
        self.assertEqual(code, 1, out)
        self.assertIn("root.log", out)
        code, _, said = lepus_log("repair", "--accept-loss", self.data)
        self.assertEqual(code, 1)
        self.assertIn("restore the folder from a copy", said)

    def test_a_wrong_word_is_explained(self):
        for words, text in (((), "inspect"), (("look", self.data), "inspect, verify or repair"),
                            (("verify",), "DIR is missing"), (("verify", self.data, "x"), "and not also x"),
                            (("verify", "--fast", self.data), "no option --fast"),
                            (("verify", "--accept-loss", self.data), "--accept-loss and --cut are for repair"),
                            (("repair", "--accept-loss", "--cut", "7", self.data), "--cut needs SEGMENT:OFFSET"),
                            (("inspect", self.work), "neither a data directory")):
            code, _, said = lepus_log(*words)
            self.assertIn(code, (2, 64), words)
            self.assertIn(text, said, words)
        code, out, _ = lepus_log("--help")
        self.assertEqual(code, 0)
        self.assertIn("cp -a DIR DIR.copy", out)


if __name__ == "__main__":
    unittest.main()
