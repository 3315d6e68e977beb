# SPDX-License-Identifier: Apache-2.0
"""Who is believed: chains, certificates of clients, logins by them, files that change."""
import os
import shutil
import ssl
import threading
import time

import pika
import pika.exceptions
import broker as broker_module
from tls.base import (  # noqa: F401
    Case, DEADLINE_S, VERIFY, certificate, openssl, path, settings, setUpModule, tearDownModule)


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
        target = self.start("ssl_options.verify=verify_peer", "ssl_options.fail_if_no_peer_cert=false")
        self.round_trip(self.connect(target))
        self.refused(target, self.context("foreign"))

    def test_who_verifies_peers_and_says_no_more_wants_certificates(self):
        target = self.start("ssl_options.verify=verify_peer")
        self.refused(target, self.context())
        self.logged(target, "peer did not return a certificate")
        self.round_trip(self.connect(target, self.context("client")))

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
        target = self.start("ssl_options.verify=verify_peer", "ssl_options.fail_if_no_peer_cert=false",
                            "auth_mechanisms.1=EXTERNAL",
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
