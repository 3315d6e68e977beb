# SPDX-License-Identifier: Apache-2.0
"""What is spoken: versions, ciphers, sessions, other clients, packets of our own."""
import os
import shutil
import socket
import subprocess

import pika
import pika.exceptions
import broker as broker_module
from tls.base import Case, DEADLINE_S, certificate, openssl, path, settings, setUpModule, tearDownModule  # noqa: F401

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))     # tests/clients
AMQPLIB = "amqplib@0.10.9"


class Server(Case):
    """One broker with RabbitMQ's defaults: nobody is asked for a certificate."""

    @classmethod
    def setUpClass(cls):
        cls.broker = broker_module.Broker(settings=settings())

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def test_messages_of_all_sizes_go_both_ways(self):
        self.round_trip(self.connect(self.broker), (0, 1, 16383, 16384, 16385, 3000000))

    def test_versions_are_1_2_and_1_3_and_no_others(self):
        for word, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            code, text = self.s_client(self.broker, word, "-servername", "localhost")
            self.assertEqual(code, 0, text)
            self.assertIn("New, " + version, text)
            self.assertIn("Verify return code: 0 (ok)", text)
        code, text = self.s_client(self.broker, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.assertNotEqual(code, 0)
        self.logged(self.broker, "failed: unsupported protocol")

    def test_a_client_that_does_not_believe_us_is_logged(self):
        self.refused(self.broker, self.context(ca="stranger"))
        self.logged(self.broker, "it says: tlsv1 alert unknown ca")

    def test_a_client_that_speaks_plainly_is_refused_and_logged(self):
        with self.assertRaises(pika.exceptions.AMQPError):
            pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.port(self.broker)))
        self.logged(self.broker, "TLS: the handshake with %s:" % self.broker.client_host)

    def test_sessions_are_taken_up_again(self):
        for word in ("-tls1_2", "-tls1_3"):
            session = path("session" + word)
            # 1.3 gives its tickets after the handshake, so something has to be read: an answer of ours.
            line = ["openssl", "s_client", "-connect", "%s:%d" % (self.broker.host, self.port(self.broker)),
                    "-CAfile", path("ca.pem"), "-quiet", "-no_ign_eof", word, "-sess_out", session]
            client = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.DEVNULL)
            client.stdin.write(b"AMQP\0\0\11\1")
            client.stdin.flush()
            self.assertTrue(client.stdout.read(1))
            client.stdin.close()
            client.stdout.close()
            client.wait(DEADLINE_S)
            code, text = self.s_client(self.broker, word, "-sess_in", session)
            self.assertEqual(code, 0, text)
            self.assertIn("Reused, TLSv1." + word[-1], text)

    def test_renegotiation_is_refused(self):
        line = ["openssl", "s_client", "-connect", "%s:%d" % (self.broker.host, self.port(self.broker)),
                "-CAfile", path("ca.pem"), "-tls1_2"]
        done = subprocess.run(line, input="R\n", capture_output=True, text=True, timeout=DEADLINE_S)
        self.assertIn("no renegotiation", (done.stdout + done.stderr).lower())

    def test_listings_show_what_is_encrypted_and_how(self):
        plain = pika.BlockingConnection(pika.ConnectionParameters(self.broker.host, self.broker.port))
        self.addCleanup(plain.close)
        self.connect(self.broker)
        listed = self.broker.ctl("-q", "list_connections", "ssl", "ssl_protocol", "ssl_key_exchange",
                                 "ssl_cipher", "ssl_hash", "auth_mechanism", "peer_cert_subject").stdout
        rows = sorted(line.split("\t") for line in listed.splitlines()[1:])
        self.assertIn(["false", "", "", "", "", "PLAIN", ""], rows)
        self.assertIn(["true", "tlsv1.3", "any", "aes_256_gcm", "aead", "PLAIN", ""], rows)
        listeners = self.broker.ctl("listeners").stdout
        self.assertIn("port: %d, protocol: amqp/ssl, purpose: AMQP 0-9-1 over TLS"
                      % self.port(self.broker), listeners)
        self.assertIn("port: %d, protocol: amqp, purpose: AMQP 0-9-1\n" % self.broker.port, listeners)
        self.assertIn("protocol: amqp/ssl", self.broker.ctl("status").stdout)
        self.broker.ctl("check_protocol_listener", "amqp/ssl")

    def test_amqplib_of_node(self):
        if not shutil.which("npm"):
            self.skipTest("there is no npm")
        cache = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
                             "lepus-tests", AMQPLIB.replace("@", "-"))
        modules = os.path.join(cache, "node_modules")
        if not os.path.isdir(os.path.join(modules, "amqplib")):
            os.makedirs(cache, exist_ok=True)
            subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix",
                            cache, AMQPLIB], check=True, cwd=cache)
        done = subprocess.run(["node", os.path.join(HERE, "client_amqplib_tls.js"), path("ca.pem"),
                               self.broker.host, str(self.port(self.broker))], capture_output=True, text=True,
                              env={**os.environ, "NODE_PATH": modules}, timeout=DEADLINE_S)
        self.assertEqual(done.stdout.strip(), "ok", done.stdout + done.stderr)


class Options(Case):
    def test_only_the_ciphers_and_versions_that_are_named(self):
        target = self.start("ssl_options.ciphers.1=ECDHE-ECDSA-AES128-GCM-SHA256",
                            "ssl_options.ciphers.2=TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                            "ssl_options.honor_cipher_order=true")
        code, text = self.s_client(target, "-cipher",
                                   "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256")
        self.assertEqual(code, 0, text)
        self.assertIn("TLSv1.2, Cipher is ECDHE-ECDSA-AES128-GCM-SHA256", text)
        self.assertNotEqual(self.s_client(target, "-tls1_3")[0], 0)
        self.assertNotEqual(self.s_client(target, "-tls1_2", "-cipher",
                                          "ECDHE-ECDSA-AES256-GCM-SHA384")[0], 0)
        self.logged(target, "failed: no shared cipher")
        target = self.start("ssl_options.versions.1=tlsv1.3")
        self.assertNotEqual(self.s_client(target, "-tls1_2")[0], 0)
        self.assertEqual(self.s_client(target, "-tls1_3")[0], 0)

    def test_what_cannot_be_is_refused_in_words(self):
        for line, words in (
                (["ssl_options.versions.1=tlsv1.1"], "tlsv1.3|tlsv1.2"),
                (["ssl_options.ciphers.1=NONSENSE"], 'OpenSSL has no "NONSENSE"'),
                (["ssl_options.client_renegotiation=true"], "not implemented"),
                (["ssl_options.honor_ecc_order=true"], "honor_cipher_order"),
                (["ssl_options.fail_if_no_peer_cert=true"], "verify = verify_peer"),
                (["ssl_options.crl_check=true"], "not implemented"),
                (["ssl_options.keyfile=" + path("client.key")], "key values mismatch"),
                (["ssl_options.certfile=/nowhere"], "No such file"),
                (["ssl_options.certfile="], "cannot be")):
            with self.assertRaises(RuntimeError) as caught:
                broker_module.Broker(settings=settings(*line)).stop()
            self.assertIn(words, str(caught.exception))

    def test_a_key_s_password_is_seen_by_nobody(self):
        openssl("ec", "-in", "server.key", "-aes256", "-passout", "pass:very secret",
                "-out", "locked.key")
        config = path("lepus.conf")
        with open(config, "w") as file:
            file.write("ssl_options.password = very secret\n")
        target = self.start("ssl_options.keyfile=" + path("locked.key"), config=config)
        self.round_trip(self.connect(target))
        for pid in [target.process.pid, target.child("lepus-dataplane"), target.child("lepus-control")]:
            for name in ("cmdline", "environ"):
                with open("/proc/%d/%s" % (pid, name), "rb") as file:
                    self.assertNotIn(b"very secret", file.read())
        self.assertNotIn("very secret", target.ctl("environment").stdout)
        with self.assertRaises(RuntimeError) as caught:
            broker_module.Broker(settings=settings("ssl_options.keyfile=" + path("locked.key"))).stop()
        self.assertIn("locked.key", str(caught.exception))

    def test_a_handshake_has_its_time(self):
        import socket
        target = self.start("ssl_handshake_timeout=200")
        with socket.create_connection((target.host, self.port(target))) as silent:
            silent.settimeout(DEADLINE_S)
            silent.sendall(b"\x16\x03\x01")
            self.assertEqual(silent.recv(1), b"")
        self.logged(target, "it was not done within 200 ms")

    def test_epoll_shards_and_workers_of_any_number(self):
        for more in (["lepus.transport=epoll"], ["lepus.tls.threads=0"], ["lepus.tls.threads=4"]):
            self.round_trip(self.connect(self.start(*more)))


class Sessions(Case):
    """Tickets: what they are good for, and what not."""

    def ticket(self, target, *words):
        session = path("ticket")
        line = ["openssl", "s_client", "-connect", "%s:%d" % (target.host, self.port(target)), "-CAfile",
                path("ca.pem"), "-quiet", "-no_ign_eof", "-sess_out", session, *words]
        client = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        client.stdin.write(b"AMQP\0\0\11\1")
        client.stdin.flush()
        self.assertTrue(client.stdout.read(1))
        client.stdin.close()
        client.stdout.close()
        client.wait(DEADLINE_S)
        return session

    def test_a_ticket_of_before_a_restart_is_a_whole_handshake(self):
        target = self.start()
        session = self.ticket(target)
        other = self.start()
        code, text = self.s_client(other, "-sess_in", session)
        self.assertEqual(code, 0, text)
        self.assertIn("New, TLSv1.3", text)

    def test_early_data_is_not_taken(self):
        target = self.start()
        session = self.ticket(target, "-tls1_3")
        with open(session) as file:
            self.assertNotIn("Max Early Data: 16384", openssl("sess_id", "-in", session, "-noout", "-text").stdout)
            self.assertIn("BEGIN SSL SESSION", file.read())
        text = openssl("sess_id", "-in", session, "-noout", "-text").stdout
        self.assertIn("Max Early Data: 0", text)

    def test_without_reuse_there_are_none(self):
        target = self.start("ssl_options.reuse_sessions=false")
        for word in ("-tls1_2", "-tls1_3"):
            text = self.s_client(target, word)[1]
            self.assertIn("New, TLSv1.", text)
            self.assertNotIn("TLS session ticket:", text)
