# SPDX-License-Identifier: Apache-2.0
"""Certificates of everybody, made here with openssl, and a broker that shows one."""
import os
import shutil
import ssl
import subprocess
import tempfile
import time
import unittest

import pika
import pika.exceptions
import broker as broker_module
import netns

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
        file.write("subjectAltName=DNS:localhost,DNS:second.example,IP:127.0.0.1,%semail:%s@example\n" % (
            "".join("IP:%s," % ours for ours in netns.Subnet.all_ours()), name))
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
