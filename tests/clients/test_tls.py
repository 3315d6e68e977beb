#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS with real clients: versions, ciphers, certificates of both sides, logins by certificate,
sessions, certificates that change. Certificates are made here, with openssl."""
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import pika
import pika.exceptions
import broker as broker_module
import suite

HERE = os.path.dirname(os.path.abspath(__file__))
AMQPLIB = "amqplib@0.10.9"
DEADLINE_S = 30.0
FOLDER = None


def path(name):
    return os.path.join(FOLDER, name)


def openssl(*words, text=None):
    return subprocess.run(["openssl", *words], check=True, capture_output=True, text=True,
                          input=text, cwd=FOLDER)


def authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", name + ".key", "-out", name + ".pem", "-days", "2", "-subj", "/CN=" + name)


def certificate(name, subject, by="ca", days="2", key="ec"):
    """NAME.pem and NAME.key, of `subject`, signed by `by`."""
    kind = ["-newkey", "rsa:2048"] if key == "rsa" else \
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    openssl("req", *kind, "-nodes", "-utf8", "-keyout", name + ".key", "-out", name + ".csr",
            "-subj", subject)
    with open(path(name + ".ext"), "w") as file:
        file.write("subjectAltName=DNS:localhost,DNS:second.example,IP:127.0.0.1,"
                   "email:%s@example\n" % name)
    openssl("x509", "-req", "-in", name + ".csr", "-CA", by + ".pem", "-CAkey", by + ".key",
            "-CAcreateserial", "-out", name + ".pem", "-days", days, "-extfile", name + ".ext")


def setUpModule():
    global FOLDER
    FOLDER = tempfile.mkdtemp(prefix="lepus-tls-")
    authority("ca")
    authority("stranger")
    certificate("server", "/CN=localhost")
    certificate("rsa", "/CN=localhost", key="rsa")
    certificate("client", "/C=GB/O=Ex, Ltd/CN=client")
    certificate("foreign", "/CN=client", by="stranger")
    certificate("expired", "/CN=client", days="-1")


def tearDownModule():
    shutil.rmtree(FOLDER, ignore_errors=True)


def settings(*more, certificate="server"):
    where = ["listeners.ssl.default=5671", "lepus.net.listeners=net"] if os.environ.get("LEPUS_NET") else \
        ["listeners.ssl.default=127.0.0.1:0"]
    return [*where,
            "ssl_options.certfile=" + path(certificate + ".pem"),
            "ssl_options.keyfile=" + path(certificate + ".key"),
            "ssl_options.cacertfile=" + path("ca.pem"), *more]


VERIFY = ["ssl_options.verify=verify_peer", "ssl_options.fail_if_no_peer_cert=true"]


class Case(unittest.TestCase):
    def start(self, *more, **options):
        target = broker_module.Broker(settings=settings(*more), **options)
        self.addCleanup(target.stop)
        return target

    def port(self, target):
        return int([l for l in target.listeners if l.startswith("tls:")][0].rpartition(":")[2])

    def context(self, client=None, ca="ca"):
        context = ssl.create_default_context(cafile=path(ca + ".pem"))
        if client:
            context.load_cert_chain(path(client + ".pem"), path(client + ".key"))
        return context

    def connect(self, target, context=None, external=False, **options):
        credentials = pika.credentials.ExternalCredentials() if external else \
            pika.PlainCredentials("guest", "guest")
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            target.host, self.port(target), credentials=credentials, heartbeat=30,
            ssl_options=pika.SSLOptions(context or self.context(), "localhost"), **options))
        self.addCleanup(lambda: connection.is_open and connection.close())
        return connection

    def refused(self, target, context):
        with self.assertRaises((pika.exceptions.AMQPError, OSError)):
            self.connect(target, context)

    def logged(self, target, text):
        until = time.monotonic() + DEADLINE_S
        while text not in target.log_tail():
            self.assertLess(time.monotonic(), until, "no %r in\n%s" % (text, target.log_tail()[-3000:]))
            time.sleep(0.01)

    def s_client(self, target, *words):
        """What openssl s_client says of a connection that asks for nothing."""
        line = ["openssl", "s_client", "-connect", "%s:%d" % (target.host, self.port(target)),
                "-CAfile", path("ca.pem"), "-verify_return_error", *words]
        done = subprocess.run(line, input="Q\n", capture_output=True, text=True, timeout=DEADLINE_S)
        return done.returncode, done.stdout + done.stderr

    def round_trip(self, connection, sizes=(1, 1000, 200000)):
        channel = connection.channel()
        channel.confirm_delivery()
        queue = channel.queue_declare("", exclusive=True).method.queue
        for size in sizes:
            body = os.urandom(size)
            channel.basic_publish("", queue, body)
            self.assertEqual(channel.basic_get(queue, auto_ack=True)[2], body)


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


class Commands(Case):
    """What rabbitmq-diagnostics says of TLS; the forms are RabbitMQ 4.0.5's."""

    @classmethod
    def setUpClass(cls):
        certificate("soon", "/CN=localhost", days="20")
        cls.broker = broker_module.Broker(settings=settings(certificate="soon"))

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def diagnostics(self, *words, broker=None):
        program = os.path.join(broker_module.binaries(), "rabbitmq-diagnostics")
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=DEADLINE_S,
                              env={**os.environ, "LEPUS_DATA": (broker or self.broker).data})
        return done.returncode, done.stdout, done.stderr

    def json_of(self, *words, code=0):
        got, out, err = self.diagnostics("--formatter", "json", *words)
        self.assertEqual(got, code, err)
        return json.loads(out or err)

    def test_versions(self):
        self.assertEqual(self.diagnostics("tls_versions"),
                         (0, "Listing all TLS versions supported by the runtime...\n"
                          "tlsv1.3\ntlsv1.2\n", ""))
        self.assertEqual(self.json_of("tls_versions"), {"versions": ["tlsv1.3", "tlsv1.2"]})

    def test_cipher_suites_in_all_forms(self):
        code, out, _ = self.diagnostics("cipher_suites")
        self.assertEqual(code, 0)
        lines = out.splitlines()
        self.assertEqual(lines[:2], ["Listing available cipher suites in OpenSSL format",
                                     "TLS_AES_256_GCM_SHA384"])
        self.assertIn("ECDHE-RSA-AES128-GCM-SHA256", lines)
        every = self.diagnostics("cipher_suites", "--all", "-q")[1].splitlines()
        self.assertLess(set(lines[1:]), set(every))
        self.assertIn("ECDHE-ECDSA-AES128-CCM8", every)
        self.assertFalse([name for name in every if "PSK" in name or "NULL" in name or "ADH" in name])
        code, out, _ = self.diagnostics("cipher_suites", "--format", "Erlang", "--all")
        self.assertTrue(out.startswith("Listing available cipher suites in Erlang term format\n[\n"
                                       "{any,aes_256_gcm,aead,sha384}\n,{any,"), out)
        for term in ("{ecdhe_rsa,aes_128_gcm,aead,sha256}", "{ecdhe_ecdsa,aes_256_ccm_8,aead}",
                     "{ecdhe_ecdsa,aes_256_cbc,sha384,sha384}", "{rsa,aes_128_cbc,sha}",
                     "{ecdhe_rsa,aes_128_cbc,sha256,sha256}", "{any,aes_128_ccm_8,aead,sha256}"):
            self.assertIn("," + term + "\n", out)
        self.assertTrue(out.endswith("\n]\n"))
        code, out, _ = self.diagnostics("cipher_suites", "--format=map", "--all")
        self.assertIn("Listing available cipher suites in map format\n[\n"
                      "#{cipher => aes_256_gcm,mac => aead,prf => sha384,key_exchange => any}\n", out)
        self.assertIn(",#{cipher => aes_128_gcm,mac => aead,prf => sha256,key_exchange => ecdhe_ecdsa}\n", out)
        self.assertIn(",#{cipher => chacha20_poly1305,mac => aead,prf => sha256,\n"
                      "  key_exchange => dhe_rsa}\n", out)
        self.assertIn(",#{cipher => aes_256_ccm,mac => aead,prf => default_prf,\n"
                      "  key_exchange => ecdhe_ecdsa}\n", out)
        self.assertEqual(self.json_of("cipher_suites", "--format", "map")[0],
                         {"cipher": "aes_256_gcm", "key_exchange": "any", "mac": "aead", "prf": "sha384"})
        code, out, err = self.diagnostics("cipher_suites", "--format", "x")
        self.assertEqual((code, out), (65, ""))
        self.assertIn("Error (argument validation): Bad argument: Format should be either openssl, "
                      "erlang or map\nArguments given:\n\tcipher_suites --format x\n\nUsage\n\n"
                      "rabbitmq-diagnostics [--node <node>] [--longnames] [--quiet] cipher_suites "
                      "[--format <openssl | erlang | map>] [--all] [--timeout <timeout>]\n", err)

    def test_every_name_that_is_listed_can_be_configured(self):
        every = self.diagnostics("cipher_suites", "--all", "-q")[1].splitlines()
        ciphers = ["ssl_options.ciphers.%d=%s" % pair for pair in enumerate(every[:60])]
        self.round_trip(self.connect(self.start(*ciphers)))

    def needs_loopback(self):
        if self.broker.net:
            self.skipTest("the listener's address that is told is 127.0.0.1")

    def test_certificates_of_listeners(self):
        self.needs_loopback()
        code, out, _ = self.diagnostics("certificates")
        self.assertEqual(code, 0)
        with open(path("soon.pem")) as own, open(path("ca.pem")) as theirs:
            texts = [own.read(), theirs.read()]
        erlang = [text.replace("\n", "\\n") for text in texts]
        listed = self.json_of("certificates")
        node = listed[0]["node"]
        self.assertEqual(out, "Certificates of node %s ...\n[#{node => '%s',port => %d,protocol => 'amqp/ssl',"
                         "\n   interface => <<\"127.0.0.1\">>,\n   certfile =>\n       <<\"%s\">>,\n   "
                         "cacertfile =>\n       <<\"%s\">>,\n   purpose => <<\"AMQP 0-9-1 over TLS\">>}]\n"
                         % (node, node, self.port(self.broker), *erlang))
        self.assertEqual([listed[0][key] for key in ("certfile", "cacertfile", "protocol", "port")],
                         [*texts, "amqp/ssl", self.port(self.broker)])
        self.assertEqual(len(listed), 1)

    def test_without_tls_listeners_there_is_nothing_to_tell(self):
        plain = broker_module.Broker()
        self.addCleanup(plain.stop)
        self.assertEqual(self.diagnostics("-q", "certificates", broker=plain), (0, "#{}\n", ""))
        self.assertEqual(self.diagnostics("-q", "check_certificate_expiration", broker=plain),
                         (0, "No certificates are expiring within 4 weeks.\n", ""))

    def ends(self, name):
        text = openssl("x509", "-in", name + ".pem", "-noout", "-enddate", "-dateopt", "iso_8601").stdout
        return text.strip().rpartition("=")[2].rstrip("Z")

    def test_expiration_is_told_in_time(self):
        self.needs_loopback()
        banner = "Checking certificate expiration on node %s ...\n" % self.json_of("certificates")[0]["node"]
        for words, within in ((["--within", "1", "--unit", "days"], "1 day"),
                              (["--within", "-3", "--unit", "Years"], "-3 years"),
                              (["--unit", "weeks", "--within", "0"], "0 weeks")):
            self.assertEqual(self.diagnostics("check_certificate_expiration", *words),
                             (0, banner + "No certificates are expiring within %s.\n" % within, ""))
        code, out, err = self.diagnostics("check_certificate_expiration", "-q")
        self.assertEqual((code, out), (69, ""))
        self.assertIn('protocol: :"amqp/ssl", interface: "127.0.0.1", certfile: "%s", cacertfile: "%s", '
                      'certfile_expires_on: ["%s"], cacertfile_expires_on: ["%s"], purpose: '
                      % (path("soon.pem"), path("ca.pem"), self.ends("soon"), self.ends("ca")), err)
        self.assertTrue(err.startswith('%{node: :"') and err.endswith('"}\n'), err)
        found = self.json_of("check_certificate_expiration", "--within", "19", "--unit", "days", code=69)
        self.assertEqual(found["result"], "error")
        self.assertEqual(found["expired"][0]["certfile_expires_on"], [])
        self.assertEqual(found["expired"][0]["cacertfile_expires_on"], [self.ends("ca")])
        self.assertEqual(self.json_of("check_certificate_expiration", "--within", "1", "--unit", "days"),
                         {"result": "ok"})
        code, out, err = self.diagnostics("check_certificate_expiration", "--unit", "fortnights")
        self.assertEqual((code, out), (64, ""))
        self.assertIn("Error (argument validation): \"unit 'fortnights' is not supported. Please use one of: "
                      "days, weeks, months, years\"\n", err)

    def test_a_file_that_holds_a_key_too_is_told_as_rabbitmq_tells_it(self):
        with open(path("both.pem"), "w") as file:
            for name in ("soon.pem", "soon.key"):
                with open(path(name)) as part:
                    file.write(part.read())
        target = broker_module.Broker(settings=[
            "listeners.ssl.default=127.0.0.1:0", "ssl_options.certfile=" + path("both.pem")])
        self.addCleanup(target.stop)
        code, _, err = self.diagnostics("check_certificate_expiration", "--within", "1", broker=target)
        self.assertEqual(code, 69)
        self.assertIn('certfile_expires_on: [error: "The certificate file provided contains a '
                      'PrivateKeyInfo entry."], cacertfile_expires_on: [], ', err)
        os.unlink(path("both.pem"))
        code, out, _ = self.diagnostics("certificates", broker=target)
        self.assertIn("certfile => {error,enoent},\n   cacertfile => nil,\n", out)


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


class Load(Case):
    """lepus-bench --tls: what it sends arrives whole, once and in order, as without."""

    def setUp(self):
        if os.environ.get("LEPUS_NET"):
            self.skipTest("the certificate is of 127.0.0.1, the broker elsewhere")

    def bench(self, target, *words, code=0, host="127.0.0.1"):
        line = [os.path.join(broker_module.binaries(), "lepus-bench"), "--tls", "--host", host, "--port",
                str(self.port(target)), "--quiet", "--json", "-", "--timeout", "60", *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr

    def test_all_arrives_with_either_version_and_any_size(self):
        target = self.start()
        for version in ("1.2", "1.3"):
            self.bench(target, "--tls-ca", path("ca.pem"), "--tls-version", version, "--messages", "3000",
                       "--size", "16,1024,20000,200000", "--publishers", "4", "--consumers", "4",
                       "--queues", "4", "--confirm", "--window", "20")
        self.bench(target, "--tls-ca", path("ca.pem"), "--messages", "20000", "--size", "16", "--auto-ack",
                   "--idle-connections", "50", host="localhost")

    def test_a_broker_that_is_not_believed_or_not_named_so_is_refused(self):
        target = self.start()
        said = self.bench(target, "--tls-ca", path("stranger.pem"), "--messages", "1", code=2)
        self.assertIn("the broker's certificate: ", said)
        target = self.start("listeners.ssl.default=127.0.0.2:0")
        said = self.bench(target, "--tls-ca", path("ca.pem"), "--messages", "1", code=2, host="127.0.0.2")
        self.assertIn("IP address mismatch", said)

    def test_it_shows_a_certificate(self):
        target = self.start(*VERIFY)
        self.bench(target, "--tls-ca", path("ca.pem"), "--tls-cert", path("client.pem"), "--tls-key",
                   path("client.key"), "--messages", "100")
        self.bench(target, "--tls-ca", path("ca.pem"), "--messages", "100", code=2)


class Chains(Case):
    """Who signed a client's certificate, for what, and how far up."""

    @classmethod
    def setUpClass(cls):
        with open(path("middle.ext"), "w") as file:
            file.write("basicConstraints=critical,CA:TRUE\n")
        for name, by in (("middle", "ca"), ("lower", "middle")):
            openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                    name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
            openssl("x509", "-req", "-in", name + ".csr", "-CA", by + ".pem", "-CAkey", by + ".key",
                    "-CAcreateserial", "-out", name + ".pem", "-days", "2", "-extfile", "middle.ext")
        certificate("deep", "/CN=deep", by="lower")
        cls.join("deep", "deep", "lower", "middle")
        cls.join("headless", "deep")
        openssl("req", "-new", "-key", "client.key", "-subj", "/CN=client", "-out", "wrong.csr")
        with open(path("wrong.ext"), "w") as file:
            file.write("extendedKeyUsage=serverAuth\n")
        openssl("x509", "-req", "-in", "wrong.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", "wrong.pem", "-days", "2", "-extfile", "wrong.ext")
        shutil.copy(path("client.key"), path("wrong.key"))

    @staticmethod
    def join(name, *parts):
        text = b"".join(open(path(part + ".pem"), "rb").read() for part in parts)
        with open(path(name + ".pem.new"), "wb") as file:
            file.write(text)
        os.replace(path(name + ".pem.new"), path(name + ".pem"))
        if name != parts[0]:
            shutil.copy(path(parts[0] + ".key"), path(name + ".key"))

    def test_a_chain_is_believed_as_deep_as_it_may_be(self):
        self.round_trip(self.connect(self.start(*VERIFY), self.context("deep")))
        self.round_trip(self.connect(self.start(*VERIFY, "ssl_options.depth=2"), self.context("deep")))
        target = self.start(*VERIFY, "ssl_options.depth=1")
        self.refused(target, self.context("deep"))
        self.logged(target, "its certificate is refused: ")
        self.round_trip(self.connect(target, self.context("client")))

    def test_a_chain_with_a_hole_is_refused(self):
        with open(path("alone.pem"), "wb") as file:
            file.write(open(path("deep.pem"), "rb").read().split(b"-----END CERTIFICATE-----\n")[0]
                       + b"-----END CERTIFICATE-----\n")
        shutil.copy(path("deep.key"), path("alone.key"))
        target = self.start(*VERIFY)
        self.refused(target, self.context("alone"))
        self.logged(target, "its certificate is refused: unable to get local issuer certificate (CN=deep)")

    def test_a_server_s_certificate_is_no_client_s(self):
        target = self.start(*VERIFY)
        self.refused(target, self.context("wrong"))
        self.logged(target, "certificate purpose (CN=client)")

    def test_the_broker_sends_what_is_between_its_certificate_and_the_authority(self):
        certificate("leaf", "/CN=localhost", by="lower")
        self.join("leaf", "leaf", "lower", "middle")
        target = broker_module.Broker(settings=settings(certificate="leaf"))
        self.addCleanup(target.stop)
        self.round_trip(self.connect(target))

    def test_chains_of_sixty_kilobytes_go_both_ways(self):
        names = "subjectAltName=IP:127.0.0.1,DNS:localhost" + "".join(
            ",DNS:%s%d.example" % ("x" * 50, i) for i in range(900)) + "\n"
        for name, subject in (("vast", "/CN=localhost"), ("crowd", "/CN=crowd")):
            certificate(name, subject)
            with open(path(name + ".ext"), "w") as file:
                file.write(names)
            openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                    "-CAcreateserial", "-out", name + ".pem", "-days", "2", "-extfile", name + ".ext")
        self.assertGreater(os.path.getsize(path("vast.pem")), 60000)
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            target = broker_module.Broker(settings=settings(*VERIFY, certificate="vast"))
            self.addCleanup(target.stop)
            context = self.context("crowd")
            context.minimum_version = context.maximum_version = version
            self.round_trip(self.connect(target, context))


class Sessions(Case):
    """Tickets: what they are good for, and what not."""

    def ticket(self, target, *words):
        session = path("ticket")
        line = ["openssl", "s_client", "-connect", "127.0.0.1:%d" % self.port(target), "-CAfile",
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


class OwnTcp(Case):
    def test_tls_over_packets_of_our_own(self):
        before = os.environ.get("LEPUS_NET")
        if os.geteuid() != 0 or not os.path.exists("/dev/net/tun"):
            self.skipTest("a tap is root's")
        os.environ["LEPUS_NET"] = "tap"
        try:
            target = self.start()
        finally:
            os.environ.pop("LEPUS_NET")
            if before is not None:
                os.environ["LEPUS_NET"] = before
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            target.host, 5671, ssl_options=pika.SSLOptions(self.context(), "localhost")))
        self.addCleanup(connection.close)
        self.round_trip(connection, (1, 20000, 3000000))


class Peers(Case):
    def test_certificates_of_clients(self):
        target = self.start(*VERIFY)
        self.round_trip(self.connect(target, self.context("client")))
        self.refused(target, self.context())
        self.logged(target, "peer did not return a certificate")
        self.refused(target, self.context("foreign"))
        self.logged(target, "its certificate is refused: unable to get local issuer certificate (CN=client)")
        self.refused(target, self.context("expired"))
        self.logged(target, "its certificate is refused: certificate has expired (CN=client)")

    def test_without_fail_if_no_peer_cert_a_client_may_have_none(self):
        target = self.start("ssl_options.verify=verify_peer")
        self.round_trip(self.connect(target))
        self.refused(target, self.context("foreign"))

    def external(self, more, user):
        target = self.start(*VERIFY, "auth_mechanisms.1=PLAIN", "auth_mechanisms.2=EXTERNAL", *more)
        with self.assertRaises(pika.exceptions.AMQPError):
            self.connect(target, self.context("client"), external=True)
        self.logged(target, "EXTERNAL login refused: user '%s' - invalid credentials" % user)
        target.ctl("add_user", user, "whatever")
        target.ctl("set_permissions", user, ".*", ".*", ".*")
        connection = self.connect(target, self.context("client"), external=True)
        self.round_trip(connection)
        listed = target.ctl("-q", "list_connections", "user", "auth_mechanism", "peer_cert_subject",
                            "peer_cert_issuer", "peer_cert_validity").stdout.splitlines()[1]
        self.assertEqual(listed.split("\t")[:4],
                         [user, "EXTERNAL",
                          "CN=client,O=Ex\\, Ltd,C=GB", "CN=ca"])
        self.assertRegex(listed, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ - \d{4}-")
        return target

    def test_login_by_distinguished_name(self):
        self.external([], "CN=client,O=Ex\\, Ltd,C=GB")

    def test_login_by_common_name(self):
        target = self.external(["ssl_cert_login_from=common_name"], "client")
        # Not where nothing vouches for it.
        with self.assertRaises(pika.exceptions.AMQPError):
            pika.BlockingConnection(pika.ConnectionParameters(
                target.host, target.port, credentials=pika.credentials.ExternalCredentials()))

    def test_login_by_alternative_name(self):
        self.external(["ssl_cert_login_from=subject_alternative_name",
                       "ssl_cert_login_san_type=dns", "ssl_cert_login_san_index=1"], "second.example")
        self.external(["ssl_cert_login_from=subject_alternative_name",
                       "ssl_cert_login_san_type=email"], "client@example")

    def test_without_a_name_the_log_says_why(self):
        target = self.start("ssl_options.verify=verify_peer", "auth_mechanisms.1=EXTERNAL",
                            "ssl_cert_login_from=subject_alternative_name",
                            "ssl_cert_login_san_index=9")
        with self.assertRaises(pika.exceptions.AMQPError):
            self.connect(target, external=True)
        self.logged(target, "EXTERNAL login refused: connection peer presented no TLS (x.509) certificate")
        with self.assertRaises(pika.exceptions.AMQPError):
            self.connect(target, self.context("client"), external=True)
        self.logged(target, "EXTERNAL login refused: no name found")
        with self.assertRaises(pika.exceptions.AMQPError):  # PLAIN was not allowed
            self.connect(target, self.context("client"))


class Reloading(Case):
    def test_files_that_cannot_be_used_change_nothing_and_are_told(self):
        for suffix in (".pem", ".key"):
            shutil.copy(path("server" + suffix), path("fragile" + suffix))
        with open(path("server.pem")) as file:
            good = file.read()
        target = broker_module.Broker(settings=settings(certificate="fragile"))
        self.addCleanup(target.stop)
        first, connection = self.serial(target), self.connect(target)
        cases = ((".pem", good[:len(good) // 2]), (".pem", ""), (".pem", "nonsense\n"),
                 (".key", open(path("client.key")).read()))
        for count, (suffix, text) in enumerate(cases, 1):
            with open(path("fragile" + suffix), "w") as file:
                file.write(text)
            until = time.monotonic() + DEADLINE_S
            while target.log_tail().count("the changed files cannot be used, those of before still are") < count:
                self.assertEqual(self.serial(target), first)
                self.assertLess(time.monotonic(), until)
            self.round_trip(connection)
            self.round_trip(self.connect(target))
            if suffix == ".pem" and count == 3:
                shutil.copy(path("server.pem"), path("fragile.pem"))
                while "read anew" not in target.log_tail():
                    self.assertEqual(self.serial(target), first)
                    self.assertLess(time.monotonic(), until)
        os.unlink(path("fragile.key"))
        self.round_trip(self.connect(target))

    def serial(self, target):
        text = self.s_client(target)[1]
        pem = text[text.index("-----BEGIN"):text.index("-----END CERTIFICATE-----") + 26]
        return openssl("x509", "-noout", "-serial", text=pem).stdout

    def test_a_new_certificate_is_taken_while_messages_flow(self):
        for suffix in (".pem", ".key"):
            shutil.copy(path("server" + suffix), path("live" + suffix))
        target = broker_module.Broker(settings=settings(certificate="live"))
        self.addCleanup(target.stop)
        connection = self.connect(target)
        first, stop, failed = self.serial(target), threading.Event(), []

        def traffic():
            try:
                while not stop.is_set():
                    self.round_trip(connection, (1000,))
            except Exception as problem:  # shown below
                failed.append(problem)
        thread = threading.Thread(target=traffic)
        thread.start()
        try:
            certificate("next", "/CN=localhost")
            # The key comes later: until then the old ones stay.
            shutil.copy(path("next.pem"), path("live.pem"))
            until = time.monotonic() + DEADLINE_S
            while "cannot be used" not in target.log_tail():
                self.assertEqual(self.serial(target), first)
                self.assertLess(time.monotonic(), until)
            shutil.copy(path("next.key"), path("live.key"))
            while self.serial(target) == first:
                self.assertLess(time.monotonic(), until)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(failed, [])
        self.logged(target, "the certificate was read anew")
        self.round_trip(connection)


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
