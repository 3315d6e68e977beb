#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""TLS and encrypted settings, of RabbitMQ and of Lepus: the same certificates, clients and values.

    [LEPUS_RABBITMQ_ROOT=FOLDER] tests/differential/test_beside.py [--only TEXT]
"""
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "clients"), os.path.join(HERE, "..", "lib")]
import broker as broker_module
import pika
import ports
import rabbitmq
import suite
import tls.base as certificates

COLUMNS = ("ssl ssl_protocol ssl_key_exchange ssl_cipher ssl_hash peer_cert_subject peer_cert_issuer "
           "peer_cert_validity auth_mechanism").split()
OLD, NEW = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
# Version, cipher suite, certificate of the client's.
CLIENTS = [None, (NEW, None, None), (NEW, None, "client"), (OLD, "ECDHE-ECDSA-AES128-GCM-SHA256", None),
           (OLD, "ECDHE-ECDSA-AES256-GCM-SHA384", "client"), (OLD, "ECDHE-ECDSA-CHACHA20-POLY1305", "client")]


def ours(*words):
    line = [os.path.join(broker_module.binaries(), "lepusctl"), "-q", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


class Beside(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        if rabbitmq.missing():
            self.skipTest(rabbitmq.missing())

    def rabbit(self, **options):
        other = rabbitmq.RabbitMQ(**options)
        self.addCleanup(other.stop)
        return other


class Tls(Beside):
    @classmethod
    def setUpClass(cls):
        certificates.setUpModule()

    @classmethod
    def tearDownClass(cls):
        certificates.tearDownModule()

    def settings(self, folder, port):
        return ["listeners.ssl.default=127.0.0.1:%d" % port, "ssl_options.certfile=%s/server.pem" % folder,
                "ssl_options.keyfile=%s/server.key" % folder, "ssl_options.cacertfile=%s/ca.pem" % folder,
                "ssl_options.verify=verify_peer", "ssl_options.fail_if_no_peer_cert=false"]

    def readable(self):
        """The certificates where RabbitMQ looks for them: (folder, its name in there)."""
        root = rabbitmq.root()
        folder = tempfile.mkdtemp(prefix="lepus-beside-", dir=root + "/tmp" if root else None)
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        os.chmod(folder, 0o755)
        for name in ("server.pem", "server.key", "ca.pem"):
            shutil.copy(certificates.path(name), folder)
            os.chmod(os.path.join(folder, name), 0o644)
        return folder[len(root):]

    def connect(self, plain, encrypted):
        for client in CLIENTS:
            options = {}
            if client:
                version, ciphers, certificate = client
                context = ssl.create_default_context(cafile=certificates.path("ca.pem"))
                context.minimum_version = context.maximum_version = version
                if ciphers:
                    context.set_ciphers(ciphers)
                if certificate:
                    context.load_cert_chain(certificates.path(certificate + ".pem"),
                                            certificates.path(certificate + ".key"))
                options["ssl_options"] = pika.SSLOptions(context, "localhost")
            connection = pika.BlockingConnection(pika.ConnectionParameters(
                "127.0.0.1", encrypted if client else plain, **options))
            self.addCleanup(lambda it: it.is_open and it.close(), connection)

    def listed(self, target, *words):
        return target.ctl("-q", *words, "list_connections", *COLUMNS).stdout

    def test_listings_tell_the_same_of_connections(self):
        holder = ports.hold()
        self.addCleanup(holder.close)
        port = ports.number(holder)
        theirs = self.rabbit(settings=self.settings(self.readable(), port))
        lepus = broker_module.Broker(settings=self.settings(certificates.FOLDER, 0), kernel_only=True)
        self.addCleanup(lepus.stop)
        self.connect(theirs.port, port)
        self.connect(lepus.port, int(re.search(r"tls:\S+:(\d+)", " ".join(lepus.listeners)).group(1)))
        self.assertEqual(sorted(self.listed(lepus).splitlines()), sorted(self.listed(theirs).splitlines()))
        rows = [sorted(json.dumps(row, sort_keys=True) for row in json.loads(self.listed(it, "--formatter", "json")))
                for it in (lepus, theirs)]
        self.assertEqual(len(rows[0]), len(CLIENTS))
        self.assertEqual(*rows)


class Secrets(Beside):
    def test_each_decrypts_what_the_other_has_encrypted(self):
        theirs = self.rabbit()
        lists = [set(re.findall(r"\w+", text)) for text in (theirs.ctl("-q", "list_ciphers").stdout, ours("list_ciphers"))]
        if theirs.version >= (4, 0):
            self.assertEqual(*lists)
        for number, cipher in enumerate(sorted(lists[0] & lists[1])):
            how = ["--cipher", cipher, "--hash", ("sha256", "sha512", "sha3_384", "sha", "md5")[number % 5],
                   "--iterations", str(1 + number)]
            text = '<<"%s">>' % ("x" * number)
            told = theirs.ctl("-q", "decode", ours("encode", text, "pass", *how), "pass", *how).stdout.strip()
            self.assertEqual(told, text if number else '<<>>', how)
            told = ours("decode", theirs.ctl("-q", "encode", text, "pass", *how).stdout.strip(), "pass", *how)
            self.assertEqual(told, text if number else '<<>>', how)

    def test_both_start_with_the_same_encrypted_password(self):
        if not rabbitmq.home() or "server-3" in rabbitmq.home():
            self.skipTest("rabbitmq.conf takes encrypted values in RabbitMQ 4.0")
        how = ["--cipher", "aes_256_cbc", "--hash", "sha512", "--iterations", "50"]
        setting = "default_pass=" + ours("encrypt_conf_value", '<<"a pass word">>', "pass phrase", *how)
        theirs = self.rabbit(settings=[setting], advanced='[{rabbit, [{config_entry_decoder, [{passphrase, '
                             '<<"pass phrase">>}, {cipher, aes_256_cbc}, {hash, sha512}, {iterations, 50}]}]}].\n')
        key = "lepus.config_entry_decoder."
        lepus = broker_module.Broker(settings=[setting, key + "passphrase=pass phrase", key + "cipher=aes_256_cbc",
                                               key + "hash=sha512", key + "iterations=50"], kernel_only=True)
        self.addCleanup(lepus.stop)
        for target in (theirs, lepus):
            self.assertEqual(target.ctl("authenticate_user", "guest", "a pass word").returncode, 0)


if __name__ == "__main__":
    sys.exit(suite.main([sys.modules["__main__"]]))
