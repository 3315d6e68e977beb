# SPDX-License-Identifier: Apache-2.0
"""What rabbitmq-diagnostics says of TLS."""
import json
import os
import socket
import subprocess
import time

import broker as broker_module
from tls.base import Case, DEADLINE_S, VERIFY, certificate, openssl, path, settings, setUpModule, tearDownModule  # noqa: F401


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


class Counters(Case):
    """lepusctl tls_stats: what became of every handshake."""

    def counted(self, target, **expected):
        """Wait until so many are counted; those that are not named stay as they were."""
        until = time.monotonic() + DEADLINE_S
        want = {**self.before, **{name: self.before[name] + more for name, more in expected.items()}}
        while self.stats(target) != want:
            got = self.stats(target)
            self.assertLess(time.monotonic(), until, {name: (got[name], want[name]) for name in got
                                                      if got[name] != want[name]})
        self.before = want

    @staticmethod
    def stats(target):
        return json.loads(target.ctl("--formatter", "json", "tls_stats").stdout)

    def test_every_end_of_a_handshake_is_counted_with_its_reason(self):
        target = self.start(*VERIFY, "ssl_handshake_timeout=2000", "ssl_options.ciphers.1=ECDHE-ECDSA-AES128-GCM-SHA256",
                            "ssl_options.ciphers.2=TLS_AES_128_GCM_SHA256")
        self.before = self.stats(target)
        self.assertEqual(set(self.before.values()), {0})
        connection = self.connect(target, self.context("client"))
        self.counted(target, connections=1, handshakes=1, handshakes_tls_1_3=1, with_certificate=1)
        mine = ["-cert", path("client.pem"), "-key", path("client.key")]
        self.s_client(target, *mine, "-tls1_2")
        self.counted(target, handshakes=1, handshakes_tls_1_2=1, with_certificate=1)
        self.s_client(target, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        self.counted(target, failed=1, failed_version=1, alerts_sent=1)
        self.s_client(target, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384")
        self.counted(target, failed=1, failed_cipher=1, alerts_sent=1)
        self.s_client(target, "-tls1_2")
        self.counted(target, failed=1, failed_no_certificate=1, alerts_sent=1)
        self.s_client(target, "-tls1_2", "-cert", path("foreign.pem"), "-key", path("foreign.key"))
        self.counted(target, failed=1, failed_certificate=1, alerts_sent=1)
        self.refused(target, self.context("client", ca="stranger"))
        self.counted(target, failed=1, failed_alert=1, alerts_received=1)
        with socket.create_connection((target.host, self.port(target))) as plain:
            plain.sendall(b"AMQP\0\0\11\1")
            self.counted(target, failed=1, failed_not_tls=1)
        with socket.create_connection((target.host, self.port(target))) as brief:
            brief.sendall(b"\x16\x03\x01")
        self.counted(target, failed=1, failed_closed=1)
        with socket.create_connection((target.host, self.port(target))) as silent:
            self.counted(target, handshaking=1)
            self.before["handshaking"] = 0
            silent.sendall(b"\x16\x03\x01")
            self.counted(target, failed=1, failed_timeout=1)
        connection.close()
        self.counted(target, connections=-1)
        text = target.ctl("tls_stats").stdout
        self.assertIn("\nfailed_timeout                              1  ... it took longer than ssl_handshake_timeout\n",
                      text)

    def test_a_session_taken_up_again_is_counted(self):
        target = self.start()
        self.before = self.stats(target)
        session = path("counted")
        for words, more in (("-sess_out", {}), ("-sess_in", {"resumed": 1})):
            self.s_client(target, "-tls1_2", words, session)
            self.counted(target, handshakes=1, handshakes_tls_1_2=1, **more)

    def test_a_broker_without_tls_says_so(self):
        plain = broker_module.Broker()
        self.addCleanup(plain.stop)
        self.assertIn("has no TLS listeners. listeners.ssl.default gives it one.", plain.ctl("tls_stats").stdout)
        self.assertEqual(self.stats(plain), {})
