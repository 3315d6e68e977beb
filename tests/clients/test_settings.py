#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the configuration says about limits, passwords and new virtual hosts, with a broker each."""
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
import broker as broker_module
import suite
from semantics.base import Case, Closed


class Own(Case):
    def begin(self, *settings):
        """A broker with these settings takes the place of the suite's."""
        self.broker = broker_module.Broker(settings=settings)
        self.addCleanup(self.broker.stop)
        self.addCleanup(self.tidy)

    def tidy(self):
        for connection in self.connections:
            connection.drop()
        self.connections.clear()


class Settings(Own):
    def refused(self, text, **options):
        with self.assertRaises(Closed) as caught:
            self.connect(**options)
        self.check_close(caught.exception.event, 530, "connection.open", "NOT_ALLOWED - " + text)

    def fails(self, text, *line):
        result = self.broker.ctl(*line, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn(text, result.stdout + result.stderr)

    def test_the_node_has_limits(self):
        self.begin("connection_max=1", "channel_max_per_node=2", "cluster_queue_limit=1",
                   "vhost_max=1", "cluster_exchange_limit=8")
        connection = self.connect()
        self.refused("connection refused: node connection limit (1) is reached")
        channel = connection.channel(1)
        channel.call("queue.declare", queue="a")
        channel.send("queue.declare", queue="b")
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - cannot declare "
                           "queue 'b': queue limit in cluster (1) is reached")
        channel.call("exchange.declare", exchange="a", type="direct")
        channel.send("exchange.declare", exchange="b", type="direct")
        self.channel_error(channel, 406, "exchange.declare", "PRECONDITION_FAILED - cannot declare "
                           "exchange 'b' in vhost '/': exchange limit of 8 is reached")
        self.fails("cannot create vhost 'v': vhost limit of 1 is reached", "add_vhost", "v")
        connection.channel(2)
        connection.send(3, "channel.open")
        self.connection_error(connection, 530, None, lambda text: text.startswith(
            "NOT_ALLOWED - number of channels opened on node 'lepus@") and text.endswith(
                "' has reached the maximum allowed limit of (2)"))

    def test_a_channel_has_a_limit_of_consumers(self):
        """The one that waits for answers is not counted, but there has to be room for one."""
        self.begin("consumer_max_per_channel=2")
        connection = self.connect()
        channel = connection.channel(1)
        channel.call("queue.declare", queue="q")
        channel.call("basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True)
        for tag in ("a", "b"):
            channel.call("basic.consume", queue="q", consumer_tag=tag)
        text = "NOT_ALLOWED - reached maximum (2) of consumers per channel"
        other = connection.channel(2)
        other.call("basic.consume", queue="q", consumer_tag="a")
        channel.call("basic.cancel", consumer_tag="b")
        channel.call("basic.consume", queue="q", consumer_tag="c")
        channel.send("basic.consume", queue="q", consumer_tag="d")
        self.connection_error(connection, 530, "basic.consume", text)
        connection = self.connect()
        channel = connection.channel(1)
        for _ in range(2):
            channel.call("basic.consume", queue="q")
        channel.send("basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True)
        self.connection_error(connection, 530, "basic.consume", text)

    def test_new_virtual_hosts_get_what_is_configured(self):
        self.begin("default_users.app.password=secret", "default_users.app.vhost_pattern=^team",
                   "default_users.app.configure=^app", "default_users.app.tags=monitoring",
                   "default_policies.operator.cap.max_length=1",
                   "default_policies.operator.cap.queue_pattern=^app",
                   "default_limits.vhosts.team.pattern=^team",
                   "default_limits.vhosts.team.max_queues=1")
        self.broker.ctl("add_vhost", "team-a")
        channel = self.connect(user="app", password="secret", vhost="team-a").channel(1)
        channel.send("queue.declare", queue="mine")
        self.channel_error(channel, 403, "queue.declare", "ACCESS_REFUSED - configure access to "
                           "queue 'mine' in vhost 'team-a' refused for user 'app'")
        channel.call("queue.declare", queue="app.q")
        channel.call("confirm.select")
        for _ in range(3):
            channel.publish(routing_key="app.q")
        channel.confirmed(3)
        self.assertEqual(self.count(channel, "app.q"), 1)
        channel.send("queue.declare", queue="app.r")
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - cannot declare "
                           "queue 'app.r': queue limit in vhost 'team-a' (1) is reached")

    def test_queues_have_the_default_type_where_they_can_C53(self):
        self.begin("default_queue_type=quorum")
        channel = self.channel()
        channel.call("queue.declare", queue="q", durable=True)
        channel.send("queue.declare", queue="q", durable=True,
                     arguments={"x-queue-type": "classic"})
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - inequivalent arg "
                           "'x-queue-type' for queue 'q' in vhost '/': received 'classic' but "
                           "current is 'quorum'")
        channel.send("queue.declare", durable=True)
        self.channel_error(channel, 406, "queue.declare", "PRECONDITION_FAILED - Cannot declare a "
                           "server-named queue for type rabbit_quorum_queue")
        channel.call("queue.declare", queue="e", exclusive=True)
        channel.call("queue.declare", queue="e", exclusive=True,
                     arguments={"x-queue-type": "classic"})
        self.broker.ctl("add_vhost", "--default-queue-type", "classic", "v")
        self.broker.ctl("set_permissions", "-p", "v", "guest", ".*", ".*", ".*")
        channel = self.connect(vhost="v").channel(1)
        channel.call("queue.declare", queue="q", durable=True)
        channel.call("queue.declare", queue="q", durable=True,
                     arguments={"x-queue-type": "classic"})

    def test_passwords_keep_the_rules(self):
        backend = "credential_validator.validation_backend=rabbit_credential_validator_"
        self.begin(backend + "min_password_length", "credential_validator.min_length=8",
                   "password_hashing_module=rabbit_password_hashing_sha512")
        self.fails("minimum required password length is 8", "add_user", "u", "short")
        self.broker.ctl("add_user", "u", "long enough")
        self.broker.ctl("authenticate_user", "u", "long enough")
        self.fails("minimum required password length is 8", "change_password", "u", "short")
        self.begin(backend + "password_regexp", "credential_validator.regexp=[0-9]$")
        self.fails("provided password does not match the validator regular expression",
                   "add_user", "u", "letters")
        self.broker.ctl("add_user", "u", "letters1")

    def login(self, password, capabilities=None):
        """What comes instead of connection.tune; None when tune does."""
        connection = self.dial()
        connection.start()
        options = {} if capabilities is None else {"capabilities": capabilities}
        connection.start_ok("guest", password, **options)
        if capabilities is not None:
            self.silent_close(connection)
            return "silence"
        event = connection.next(0)
        if event.name == "connection.tune":
            return None
        connection.send(0, "connection.close-ok")
        return event.code, event.text

    def test_an_address_with_too_many_failed_logins_waits_C13_C14(self):
        """The right password is refused as a wrong one is, and taken again after the penalty."""
        self.begin("lepus.login.failures=3", "lepus.login.penalty=5", "lepus.login.loopback=true")
        self.assertIsNone(self.login("guest"))
        wrong = self.login("wrong")
        self.assertEqual(wrong, (403, "ACCESS_REFUSED - Login was refused using authentication "
                                 "mechanism PLAIN. For details see the broker logfile."))
        self.login("wrong")
        self.assertIsNone(self.login("guest"))
        self.login("wrong")
        self.assertEqual(self.login("guest"), wrong)
        # The silence takes 3 s; who is penalised hears no more than who is wrong.
        self.assertEqual(self.login("guest", ()), "silence")
        until = time.monotonic() + 20
        while self.login("guest") is not None and time.monotonic() < until:
            select.select([], [], [], 0.05)
        self.assertIsNone(self.login("guest"))

    def test_this_machine_may_fail_as_often_as_it_likes(self):
        self.begin("lepus.login.failures=3")
        if self.broker.net:
            self.skipTest("over a device of our own no client is this machine's")
        for _ in range(10):
            self.assertEqual(self.login("wrong")[0], 403)
        self.assertIsNone(self.login("guest"))


class Anonymous(Own):
    """Who has no name: the keys of ANONYMOUS (C15)."""

    def enter(self):
        """Whom the broker takes somebody without a name for; or how it sends him away."""
        try:
            self.dial().handshake(mechanism="ANONYMOUS", response=b"")
        except Closed as closed:
            return closed.event.code, closed.event.text
        return self.broker.ctl("-q", "list_connections", "user").stdout.split()[-1]

    def offered(self):
        return self.dial().start().mechanisms

    def test_anonymous_is_whom_the_settings_say(self):
        self.begin("default_users.visitor.password=p", "default_users.visitor.vhost_pattern=.*",
                   "anonymous_login_user=visitor", "anonymous_login_pass=p")
        self.assertEqual(self.offered(), "PLAIN AMQPLAIN ANONYMOUS")
        self.assertEqual(self.enter(), "visitor")
        shown = self.broker.ctl("environment").stdout
        self.assertIn("anonymous_login_user = visitor\n", shown)
        self.assertIn("anonymous_login_pass = ******\n", shown)

    def test_its_password_is_looked_at(self):
        self.begin("anonymous_login_pass=wrong")
        self.assertEqual(self.enter(), (403, "ACCESS_REFUSED - Login was refused using authentication mechanism "
                                        "ANONYMOUS. For details see the broker logfile."))
        until = time.monotonic() + 30
        while "ANONYMOUS login refused: user 'guest' - invalid credentials" not in self.broker.log_tail():
            self.assertLess(time.monotonic(), until)

    def test_without_a_user_it_is_not_offered(self):
        self.begin("anonymous_login_user=none")
        self.assertEqual(self.offered(), "PLAIN AMQPLAIN")
        connection = self.dial()
        connection.start()
        connection.start_ok(mechanism="ANONYMOUS", response=b"")
        self.silent_close(connection)

    def test_it_may_be_all_there_is_or_left_away(self):
        self.begin("auth_mechanisms.1=ANONYMOUS")
        self.assertEqual(self.offered(), "ANONYMOUS")
        self.assertEqual(self.enter(), "guest")
        self.begin("auth_mechanisms.1=AMQPLAIN", "auth_mechanisms.2=PLAIN")
        self.assertEqual(self.offered(), "PLAIN AMQPLAIN")
        with self.assertRaises(RuntimeError) as caught:
            broker_module.Broker(settings=["auth_mechanisms.1=ANONYMOUS", "anonymous_login_user=none"]).stop()
        self.assertIn("nobody could log in", str(caught.exception))


class Secrets(Case):
    """Values that begin with encrypted: in a configuration file."""

    def ctl(self, *words):
        line = [os.path.join(broker_module.binaries(), "lepusctl"), "-q", *words]
        return subprocess.run(line, check=True, capture_output=True, text=True, timeout=60).stdout.strip()

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="lepus-secrets-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def test_passwords_may_be_encrypted_and_are_seen_by_nobody(self):
        how = ["--cipher", "aes_256_cbc", "--hash", "sha512", "--iterations", "10"]
        secrets = {key: self.ctl("encrypt_conf_value", '<<"%s">>' % word, "pass phrase", *how)
                   for key, word in (("default_pass", "first word"), ("default_users.app.password", "second word"))}
        self.assertTrue(all(value.startswith("encrypted:") for value in secrets.values()))
        lines = ["%s = %s" % pair for pair in secrets.items()]
        lines += ["default_users.app.vhost_pattern = .*", "log.console.level = debug",
                  "lepus.config_entry_decoder.passphrase_file = " + self.file("pass", "pass phrase\nrest\n"),
                  "lepus.config_entry_decoder.cipher = aes_256_cbc", "lepus.config_entry_decoder.hash = sha512",
                  "lepus.config_entry_decoder.iterations = 10"]
        target = broker_module.Broker(config=self.file("lepus.conf", "\n".join(lines) + "\n"))
        self.addCleanup(target.stop)
        target.ctl("authenticate_user", "guest", "first word")
        target.ctl("authenticate_user", "app", "second word")
        self.assertNotEqual(target.ctl("authenticate_user", "guest", secrets["default_pass"], check=False).returncode, 0)
        shown = target.ctl("environment").stdout + target.ctl("report").stdout + target.log_tail(10000)
        for word in ("first word", "second word", "pass phrase"):
            self.assertNotIn(word, shown)
        target.kill_control()   # the next one reads the file again
        until = time.monotonic() + 30
        while target.ctl("authenticate_user", "guest", "first word", check=False).returncode != 0:
            self.assertLess(time.monotonic(), until)

    def test_a_broker_that_cannot_decrypt_does_not_start(self):
        secret = self.ctl("encrypt_conf_value", '"x"', "right")
        for more, words in ((["lepus.config_entry_decoder.passphrase=wrong"], "default_pass: it cannot be decrypted"),
                            ([], "default_pass: it is encrypted, and neither")):
            with self.assertRaises(RuntimeError) as caught:
                broker_module.Broker(settings=["default_pass=" + secret, *more]).stop()
            self.assertIn(words, str(caught.exception))


if __name__ == "__main__":
    if os.environ.get("LEPUS_EXTERNAL") or "--external" in sys.argv:
        print("skip: it starts brokers of its own\n0 passed, 0 failed")
        sys.exit(0)
    sys.exit(suite.main([sys.modules["__main__"]]))
