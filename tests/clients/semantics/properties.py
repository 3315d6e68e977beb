# SPDX-License-Identifier: Apache-2.0
"""What the broker reads in a message's properties, and in which order: C91, C94."""
from semantics.base import Case


class Expiration(Case):
    BAD = (("abc", "no_integer"), ("", "no_integer"), ("-", "no_integer"), (" 5", "no_integer"),
           ("1.5", '{leftover_string,".5"}'), ("5 ", '{leftover_string," "}'),
           ("5\n", '{leftover_string,"\\n"}'), ("-1", "{value_negative,-1}"),
           ("315360000001", "{value_too_large,315360000001}"),
           ("9" * 23, "{value_too_large,\n" + " " * 47 + "9" * 23 + "}"))

    def test_C94_bad_expiration_406_says_why(self):
        channel = self.channel()
        queue = self.queue(channel=channel)
        for text, why in self.BAD:
            channel.publish(b"x", routing_key=queue, properties={"expiration": text})
            self.channel_error(channel, 406, "basic.publish",
                               "PRECONDITION_FAILED - invalid expiration '%s': %s" % (text, why))
        self.assertEqual(self.count(channel, queue), 0)

    def test_C94_a_sign_and_leading_zeros_are_taken(self):
        channel = self.confirming()
        queue = self.queue(channel=channel)
        for text in ("+60000", "0060000", "315360000000"):
            channel.publish(b"x", routing_key=queue, properties={"expiration": text})
            channel.confirmed()
            event = channel.call("basic.get", queue=queue, no_ack=True)
            if self.v40:
                text = text.lstrip("+0")
            self.assertEqual(event.__dict__["properties"], {"expiration": text})

    def test_C91_a_missing_or_internal_exchange_comes_before_a_bad_expiration(self):
        channel = self.channel()
        exchange = self.exchange(channel=channel, internal=True)
        bad = {"expiration": "abc", "user_id": "somebody"}
        channel.publish(b"x", exchange=self.prefix + "no", properties=bad)
        self.channel_error(channel, 404, "basic.publish",
                           "NOT_FOUND - no exchange '%sno' in vhost '/'" % self.prefix)
        channel.publish(b"x", exchange=exchange, properties=bad)
        self.channel_error(channel, 403, "basic.publish", "ACCESS_REFUSED - cannot publish to "
                           "internal exchange '%s' in vhost '/'" % exchange)
        channel.publish(b"x", properties=bad)
        self.channel_error(
            channel, 406, "basic.publish",
            "PRECONDITION_FAILED - invalid expiration 'abc': no_integer" if self.v40 else
            "PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user "
            "was 'guest'")
