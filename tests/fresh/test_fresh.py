#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A machine that has what `scripts/setup run` installs, and nothing else: do the programs compile there, and run?

    tests/fresh/test_fresh.py

Files of the other development packages are covered by empty ones in a mount namespace, where scripts/build then runs, so
whatever includes or links one fails as it would where they are missing. Needs root, else skipped.
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
import amqp_raw
import broker as broker_module

BUILD_S = 1500
COVER = """
while read -r file; do mount --bind /dev/null "$file" || exit; done
cc -E -include cmocka.h -dM -x c /dev/null | grep -q cmocka_unit_test && { echo "nothing is covered"; exit 1; }
exec "$@"
"""


def packages(profile):
    """The packages of a profile in scripts/setup."""
    with open(os.path.join(ROOT, "scripts", "setup")) as file:
        return re.search(r"^%s_packages='(.*?)'" % profile, file.read(), re.M | re.S).group(1).split()


def foreign_files():
    """What the compiler and pkg-config find of the packages that only tests and benchmarks need."""
    more = [name for name in packages("test") + packages("bench")
            if name.endswith("-dev") and name not in packages("run")]
    listed = subprocess.run(["dpkg-query", "-L", *more], stdout=subprocess.PIPE, text=True, check=False).stdout
    return [path for path in sorted(set(listed.split("\n")))
            if (path.startswith("/usr/include/") or path.endswith(".pc")) and os.path.isfile(path)]


def covering(paths, *words):
    return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", COVER, "sh", *words],
                          input="\n".join(paths) + "\n", text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=BUILD_S)


def may_mount():
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "mount", "--bind", "/dev/null", os.path.abspath(__file__)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


@unittest.skipUnless(may_mount(), "needs root, and a mount namespace")
class Fresh(unittest.TestCase):
    def test_the_programs_need_no_more_than_setup_installs(self):
        covered = foreign_files()
        self.assertTrue([path for path in covered if path.endswith("cmocka.h")], "nothing to cover: run scripts/setup test")
        with tempfile.TemporaryDirectory(prefix="lepus-fresh-") as folder:
            done = covering(covered, os.path.join(ROOT, "scripts", "build"), folder)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertNotIn("does not build", done.stdout)
            self.says_hello(self.installed(folder))

    def installed(self, build):
        """Where `meson install` puts them, with what is linked to from bin."""
        root = os.path.join(build, "root")
        subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--quiet"], check=True, timeout=60,
                       env=dict(os.environ, DESTDIR=root, PATH="/usr/sbin:/usr/bin:/sbin:/bin"))
        prefix = os.path.join(root, "usr", "local")
        for name in os.listdir(os.path.join(prefix, "bin")):
            self.assertTrue(os.path.isfile(root + os.readlink(os.path.join(prefix, "bin", name))), name)
        return os.path.join(prefix, "lib", "lepus")

    def says_hello(self, binaries):
        before = os.environ.get("LEPUS_BIN")
        os.environ["LEPUS_BIN"] = binaries
        try:
            broker = broker_module.Broker(shards=1)
            self.addCleanup(broker.stop)
            client = amqp_raw.Raw(broker.host, broker.port).handshake()
            self.addCleanup(client.drop)
            channel = client.channel()
            channel.call("queue.declare", queue="hello")
            channel.publish(b"Hello, Lepus!", routing_key="hello")
            channel.call("basic.consume", queue="hello", no_ack=True)
            self.assertEqual(channel.next("basic.deliver").body, b"Hello, Lepus!")
        finally:
            os.environ.pop("LEPUS_BIN")
            if before is not None:
                os.environ["LEPUS_BIN"] = before


if __name__ == "__main__":
    unittest.main()
