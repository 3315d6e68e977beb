# SPDX-License-Identifier: Apache-2.0
"""Dead letters, and what goes on with a message after its death: C145, C150 to C157, S79 to S85."""
import time

from semantics.base import Case

DLX = "x-dead-letter-exchange"
DLK = "x-dead-letter-routing-key"


class DeadLetters(Case):
    def setUp(self):
        super().setUp()
        self.ch = self.confirming()

    def dying(self, name="q", exchange="", key=None, **more):
        """A queue that sends its dead to `exchange`."""
        arguments = {DLX: exchange, **more}
        if key is not None:
            arguments[DLK] = key
        return self.queue(name, channel=self.ch, arguments=arguments)

    def put(self, queue, body=b"x", exchange="", **properties):
        self.ch.publish(body, exchange=exchange, routing_key=queue, properties=properties)
        self.ch.confirmed()

    def take(self, queue):
        """The next message of a queue, as soon as there is one, acknowledged."""
        until = time.monotonic() + 15
        while True:
            event = self.ch.call("basic.get", queue=queue, no_ack=True)
            if event.name == "basic.get-ok":
                return event
            self.assertLess(time.monotonic(), until, "nothing in " + queue)

    def reject(self, queue):
        event = self.ch.call("basic.get", queue=queue)
        self.assertEqual(event.name, "basic.get-ok")
        self.ch.send("basic.reject", delivery_tag=event.delivery_tag, requeue=False)
        return event

    def headers(self, event):
        return event.__dict__["properties"]["headers"]

    def last(self, **wanted):
        """x-last-death-* are 4.0's."""
        return {"x-last-death-" + k: v for k, v in wanted.items()} if self.v40 else {}

    def first(self, **wanted):
        return {"x-first-death-" + k: v for k, v in wanted.items()}

    def check_time(self, death):
        self.assertLess(abs(death.pop("time") - time.time()), 60)
        return death

    # S79, C154, C155

    def test_C154_a_rejected_message_tells_of_its_death(self):
        """Also S79, S84."""
        dead = self.queue("dead", channel=self.ch)
        queue = self.dying(key=dead)
        kept = {"content_type": "text/plain", "delivery_mode": 2, "priority": 3, "type": "t",
                "correlation_id": "c", "message_id": "m", "timestamp": 2**40, "app_id": "a"}
        self.put(queue, headers={"mine": [1, "two"]}, **kept)
        self.reject(queue)
        event = self.take(dead)
        self.assertEqual((event.exchange, event.routing_key, event.redelivered, event.body),
                         ("", dead, 0, b"x"))
        properties = dict(event.__dict__["properties"])
        headers = properties.pop("headers")
        self.assertEqual(properties, kept)
        death, = headers.pop("x-death")
        self.assertEqual(self.check_time(death),
                         {"count": 1, "reason": "rejected", "queue": queue, "exchange": "",
                          "routing-keys": [queue]})
        names = {"reason": "rejected", "queue": queue, "exchange": ""}
        self.assertEqual(headers, {"mine": [1, "two"], **self.first(**names),
                                   **self.last(**names)})

    def test_C154_nack_multiple_kills_all_in_order(self):
        dead = self.queue("dead", channel=self.ch)
        queue = self.dying(key=dead)
        for n in range(20):
            self.put(queue, b"%d" % n)
        for _ in range(20):
            event = self.ch.call("basic.get", queue=queue)
        self.ch.send("basic.nack", delivery_tag=event.delivery_tag, multiple=True, requeue=False)
        self.assertEqual([self.take(dead).body for _ in range(20)],
                         [b"%d" % n for n in range(20)])

    # S80, C145

    def test_C145_an_expired_message_does_not_expire_again(self):
        """Also S80."""
        dead = self.queue("dead", channel=self.ch)
        queue = self.dying(key=dead)
        self.put(queue, expiration="10")
        event = self.take(dead)
        self.assertNotIn("expiration", event.__dict__["properties"])
        death, = self.headers(event)["x-death"]
        self.assertEqual(self.check_time(death),
                         {"original-expiration": "10", "count": 1, "reason": "expired",
                          "queue": queue, "exchange": "", "routing-keys": [queue]})

    def test_C145_the_original_expiration_is_told_as_a_number(self):
        dead = self.queue("dead", channel=self.ch)
        queue = self.dying(key=dead)
        self.put(queue, expiration="+007")
        death, = self.headers(self.take(dead))["x-death"]
        self.assertEqual(death["original-expiration"], "7" if self.v40 else "+007")

    def test_C145_a_queues_time_to_live_is_no_expiration_of_the_message(self):
        dead = self.queue("dead", channel=self.ch)
        queue = self.dying(key=dead, **{"x-message-ttl": 10})
        self.put(queue)
        death, = self.headers(self.take(dead))["x-death"]
        self.assertEqual(death["reason"], "expired")
        self.assertNotIn("original-expiration", death)

    # S81

    def test_S81_what_overflows_dies_of_maxlen(self):
        dead = self.queue("dead", channel=self.ch)
        for limit in ({"x-max-length": 1}, {"x-max-length-bytes": 2}):
            queue = self.dying("q%d" % len(limit) + str(limit), key=dead, **limit)
            self.put(queue, b"1")
            self.put(queue, b"22")
            event = self.take(dead)
            self.assertEqual(event.body, b"1")
            self.assertEqual(self.headers(event)["x-first-death-reason"], "maxlen")

    def test_C148_reject_publish_dlx_dead_letters_what_it_refuses(self):
        dead = self.queue("dead", channel=self.ch)
        queue = self.dying(key=dead, **{"x-max-length": 1, "x-overflow": "reject-publish-dlx"})
        self.put(queue, b"1")
        self.ch.publish(b"2", routing_key=queue)
        self.assertEqual(self.ch.next("basic.nack").delivery_tag, 2)
        event = self.take(dead)
        self.assertEqual(event.body, b"2")
        self.assertEqual(self.headers(event)["x-first-death-reason"], "maxlen")
        self.assertEqual(self.count(self.ch, queue), 1)

    # C151

    def test_C151_a_missing_exchange_drops_silently(self):
        queue = self.dying(exchange=self.prefix + "not there")
        self.put(queue)
        self.reject(queue)
        self.put(queue, b"next")
        self.assertEqual(self.take(queue).body, b"next")

    def test_C151_an_exchange_may_come_later(self):
        queue = self.dying(exchange=self.prefix + "x")
        exchange = self.exchange("x", channel=self.ch, type="fanout")
        dead = self.queue("dead", channel=self.ch)
        self.ch.call("queue.bind", queue=dead, exchange=exchange)
        self.put(queue)
        self.reject(queue)
        self.assertEqual(self.take(dead).exchange, exchange)

    # C152

    def test_C152_without_a_key_of_its_own_the_messages_is_used(self):
        exchange = self.exchange("x", channel=self.ch, type="topic")
        dead = self.queue("dead", channel=self.ch)
        queue = self.dying(exchange=exchange)
        self.ch.call("queue.bind", queue=dead, exchange=exchange, routing_key="#.kept")
        self.ch.call("queue.bind", queue=queue, exchange="amq.topic", routing_key="#")
        self.put("it.is.kept", exchange="amq.topic")
        self.reject(queue)
        event = self.take(dead)
        self.assertEqual((event.exchange, event.routing_key), (exchange, "it.is.kept"))
        death, = self.headers(event)["x-death"]
        self.assertEqual((death["exchange"], death["routing-keys"]),
                         ("amq.topic", ["it.is.kept"]))

    # C153

    def test_C153_a_circle_without_a_reject_is_broken(self):
        # Two queues that expire into each other: back in the first, it is dropped.
        one, two = self.prefix + "one", self.prefix + "two"
        self.dying("one", key=two, **{"x-message-ttl": 1})
        self.dying("two", key=one, **{"x-message-ttl": 1})
        witness = self.queue("witness", channel=self.ch)
        self.put(one, headers={"n": 1})
        self.settled(self.ch, one, 0)
        self.settled(self.ch, two, 0)
        self.put(witness)
        self.take(witness)
        self.assertEqual((self.count(self.ch, one), self.count(self.ch, two)), (0, 0))

    def test_C153_a_circle_with_a_reject_goes_on(self):
        parking = self.prefix + "parking"
        queue = self.dying(key=parking)
        self.dying("parking", key=queue, **{"x-message-ttl": 1})
        self.put(queue)
        for lap in range(1, 6):
            event = self.reject_when_there(queue)
            if lap == 1:
                self.assertNotIn("headers", event.__dict__["properties"])
                continue
            deaths = self.headers(event)["x-death"]
            self.assertEqual([(d["queue"], d["reason"], d["count"]) for d in deaths],
                             [(parking, "expired", lap - 1), (queue, "rejected", lap - 1)])
            self.assertEqual(self.headers(event)["x-first-death-queue"], queue)
            self.assertEqual(self.headers(event)["x-first-death-reason"], "rejected")
            if self.v40:
                self.assertEqual(self.headers(event)["x-last-death-queue"], parking)
                self.assertEqual(self.headers(event)["x-last-death-reason"], "expired")

    def reject_when_there(self, queue):
        until = time.monotonic() + 15
        while True:
            event = self.ch.call("basic.get", queue=queue)
            if event.name == "basic.get-ok":
                self.ch.send("basic.reject", delivery_tag=event.delivery_tag, requeue=False)
                return event
            self.assertLess(time.monotonic(), until)

    # C155

    def test_C155_the_first_death_stays_the_last_is_told_each_time(self):
        """Also S85."""
        exchange = self.exchange("x", channel=self.ch, type="fanout")
        dead = self.queue("dead", channel=self.ch)
        second = self.dying("second", key=dead)
        self.ch.call("queue.bind", queue=second, exchange=exchange)
        first = self.dying("first", exchange=exchange)
        self.put(first, expiration="1")
        self.reject_when_there(second)
        headers = self.headers(self.take(dead))
        self.assertEqual([(d["queue"], d["reason"], d["exchange"]) for d in headers["x-death"]],
                         [(second, "rejected", exchange), (first, "expired", "")])
        names = {k: v for k, v in headers.items() if k != "x-death"}
        self.assertEqual(names, {**self.first(queue=first, reason="expired", exchange=""),
                                 **self.last(queue=second, reason="rejected",
                                             exchange=exchange)})

    # C156

    def test_C156_deaths_that_a_client_made_up_do_not_count(self):
        dead = self.queue("dead", channel=self.ch)
        queue = self.dying(key=dead)
        made_up = {"x-death": [{"count": 7, "reason": "rejected", "queue": queue,
                                "exchange": "", "routing-keys": [queue]}],
                   "x-first-death-queue": "made up", "other": "stays"}
        self.put(queue, headers=made_up)
        event = self.reject(queue)
        self.assertEqual(self.headers(event), made_up)  # delivered as it is until then
        headers = self.headers(self.take(dead))
        self.assertEqual(headers["other"], "stays")
        if self.v40:
            death, = headers["x-death"]
            self.assertEqual((death["count"], headers["x-first-death-queue"]), (1, queue))
        else:
            self.assertEqual(headers["x-death"][0]["count"], 8)

    # C157

    def test_C157_purged_and_deleted_queues_do_not_dead_letter(self):
        dead = self.queue("dead", channel=self.ch)
        purged, deleted = self.dying("purged", key=dead), self.dying("deleted", key=dead)
        for queue in (purged, deleted):
            self.put(queue)
        self.ch.call("queue.purge", queue=purged)
        self.ch.call("queue.delete", queue=deleted)
        self.put(dead, b"witness")
        self.assertEqual(self.take(dead).body, b"witness")
        self.assertEqual(self.count(self.ch, dead), 0)

    def test_S83_the_dead_go_through_any_exchange(self):
        exchange = self.exchange("x", channel=self.ch, type="headers")
        dead = self.queue("dead", channel=self.ch)
        self.ch.call("queue.bind", queue=dead, exchange=exchange,
                     arguments={"x-match": "all-with-x", "x-first-death-reason": "rejected",
                                "colour": "red"})
        queue = self.dying(exchange=exchange)
        for colour in ("blue", "red"):
            self.put(queue, headers={"colour": colour})
            self.reject(queue)
        self.assertEqual(self.headers(self.take(dead))["colour"], "red")
        self.assertEqual(self.count(self.ch, dead), 0)
