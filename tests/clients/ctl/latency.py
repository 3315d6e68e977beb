# SPDX-License-Identifier: Apache-2.0
"""latency - where the broker says the time goes. Lepus's own: RabbitMQ has nothing of the kind."""
import json
import os
import signal
import time

from ctl.base import CtlTest

USAGE = ("latency [--vhost <vhost>] [on <queue> | off <queue> | <queue>] [--timeout <timeout>]")
STAGES = ["received_to_routed", "routed_to_stored", "stored_to_taken", "taken_to_written",
          "written_to_sent"]
ON = ("Switching the stamps of queue 'q' in vhost 'v1' on ...\n"
      "Messages that come from now on are measured; 'latency q' shows how long they take.\n")


class Latency(CtlTest):
    def setUp(self):
        if not self.is_lepus:
            self.skipTest("Lepus only")
        self.vhost("v1")
        self.does("set_permissions -p v1 guest .* .* .*")
        self.channel = self.connect("v1").channel()
        self.channel.queue_declare("q")

    def pass_through(self, count, ack=False):
        """Publish, and consume all of it; the messages are on the way one by one."""
        seen = []

        def came(channel, method, _, body):
            seen.append(body)
            if ack:
                channel.basic_ack(method.delivery_tag)
            if len(seen) == count:
                channel.stop_consuming()
            else:
                channel.basic_publish("", "q", b"x" * 100)

        tag = self.channel.basic_consume("q", came, auto_ack=not ack)
        self.channel.basic_publish("", "q", b"x" * 100)
        self.channel.start_consuming()
        self.channel.basic_cancel(tag)

    def shown(self):
        said = self.does("latency -p v1 q --formatter json")
        return json.loads(said.out)[0]

    def check_figures(self, shown, count):
        """What must hold of any figures: stages are in order, percentiles rise, and it adds up."""
        self.assertEqual((shown["queue"], shown["vhost"]), ("q", "v1"))
        for stage in STAGES + ["received_to_sent", "own_work"]:
            times = shown[stage]
            rising = [times[key] for key in ("min_us", "p50_us", "p90_us", "p99_us", "p99_9_us", "max_us")]
            self.assertEqual(times["count"], count, stage)
            self.assertEqual(rising, sorted(rising), stage)
            self.assertGreaterEqual(rising[0], 0, stage)
        mean = {stage: shown[stage]["mean_us"] for stage in shown if stage.count("_")}
        self.assertAlmostEqual(sum(mean[stage] for stage in STAGES), mean["received_to_sent"], 2)
        self.assertAlmostEqual(mean["received_to_sent"] - mean["stored_to_taken"], mean["own_work"], 2)

    def test_a_queue_says_where_its_messages_time_went(self):
        self.says("latency -p v1 on q", ON)
        self.pass_through(100)
        shown = self.shown()
        self.assertEqual((shown["measured"], shown["missed"]), (100, 0))
        self.check_figures(shown, 100)
        self.pass_through(50, ack=True)
        self.check_figures(self.shown(), 150)
        said = self.does("latency -p v1 q")
        for line in ("q: 150 messages measured, 0 not", "received -> routed ", "routed -> stored ",
                     "taken -> written ", "written -> sent ", "the broker's own work ",
                     "in the queue, stored -> taken ", "all, received -> sent ", "█"):
            self.assertIn(line, said.out)
        self.assertEqual(self.does("latency -p v1").out.partition("\n")[2], said.out.partition("\n")[2])

    def test_what_waits_in_the_queue_is_shown_apart(self):
        self.does("latency -p v1 on q")
        self.channel.basic_publish("", "q", b"x")
        self.channel.queue_declare("q", passive=True)  # it is there
        before = time.monotonic()
        self.does("list_queues")  # takes its time
        waited_us = (time.monotonic() - before) * 1e6
        method, _, _ = self.channel.basic_get("q", auto_ack=True)
        self.assertIsNotNone(method)
        shown = self.shown()
        self.assertGreaterEqual(shown["stored_to_taken"]["min_us"], waited_us * 0.99)
        self.assertEqual(shown["received_to_sent"]["count"], 0)  # a get is not followed further

    def test_stamps_stay_on_when_the_control_process_dies(self):
        if self.broker.external:
            self.skipTest("it needs the broker's processes")
        self.does("latency -p v1 on q")
        self.pass_through(10)
        control = self.broker.child("lepus-control")
        os.kill(control, signal.SIGKILL)
        self.pass_through(10)
        self.channel.queue_declare("r")  # answered by the next one
        self.check_figures(self.shown(), 20)
        self.assertNotEqual(self.broker.child("lepus-control"), control)

    def test_off_forgets_and_a_deleted_queue_is_measured_no_more(self):
        self.does("latency -p v1 on q")
        self.pass_through(3)
        self.says("latency -p v1 off q", "Switching the stamps of queue 'q' in vhost 'v1' off ...\n")
        nothing = ("Latency of all measured queues in vhost 'v1' ...\n"
                   "No queue here is measured; 'latency on <queue>' begins to.\n")
        self.says("latency -p v1", nothing)
        self.does("latency -p v1 on q")
        self.assertEqual(self.shown()["measured"], 0)
        self.channel.queue_delete("q")
        self.channel.queue_declare("q")
        self.says("latency -p v1", nothing)

    def test_mistakes_are_explained(self):
        self.all_say([
            ("latency -p v1 on nope -q", "", "Queue 'nope' does not exist in vhost 'v1'\n", 65),
            ("latency -p v1 nope -q", "", "Queue 'nope' does not exist in vhost 'v1'\n", 65),
            ("latency -p nope on q -q", "", "Virtual host 'nope' does not exist\n", 65),
            ("latency -p v1 q -q", "",
             "Error:\nqueue 'q' is not measured; 'latency on q' begins to\n", 65),
        ])
        self.misused("latency up q", "a queue's stamps are switched 'on' or 'off', not 'up'; say "
                     "'latency <queue>' to see what they say", USAGE)
        self.misused("latency on q q", "too many arguments.", USAGE)
