# SPDX-License-Identifier: Apache-2.0
"""lepus-bench over TLS."""
import json
import os
import subprocess

import broker as broker_module
from tls.base import Case, VERIFY, certificate, path, setUpModule, tearDownModule  # noqa: F401


class Generator(Case):
    def bench(self, target, *words, code=0, host=None):
        line = [os.path.join(broker_module.binaries(), "lepus-bench"), "--tls", "--host", host or target.host, "--port",
                str(self.port(target)), "--quiet", "--json", "-", "--timeout", "60", *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout) if code == 0 else done.stderr


class Load(Generator):
    """lepus-bench --tls: what it sends arrives whole, once and in order, as without."""

    def test_all_arrives_with_either_version_and_any_size(self):
        target = self.start()
        for version in ("1.2", "1.3"):
            self.bench(target, "--tls-ca", path("ca.pem"), "--tls-version", version, "--messages", "3000",
                       "--size", "16,1024,20000,200000", "--publishers", "4", "--consumers", "4",
                       "--queues", "4", "--confirm", "--window", "20")
        self.bench(target, "--tls-ca", path("ca.pem"), "--messages", "20000", "--size", "16", "--auto-ack",
                   "--idle-connections", "50", host=None if target.net else "localhost")

    def test_a_broker_that_is_not_believed_or_not_named_so_is_refused(self):
        target = self.start()
        said = self.bench(target, "--tls-ca", path("stranger.pem"), "--messages", "1", code=2)
        self.assertIn("the broker's certificate: ", said)
        if not target.net:
            target = self.start("listeners.ssl.default=127.0.0.2:0")
        other = target.net.subnet.ours6 if target.net else "127.0.0.2"
        said = self.bench(target, "--tls-ca", path("ca.pem"), "--messages", "1", code=2, host=other)
        self.assertIn("IP address mismatch", said)

    def test_it_shows_a_certificate(self):
        target = self.start(*VERIFY)
        self.bench(target, "--tls-ca", path("ca.pem"), "--tls-cert", path("client.pem"), "--tls-key",
                   path("client.key"), "--messages", "100")
        self.bench(target, "--tls-ca", path("ca.pem"), "--messages", "100", code=2)
