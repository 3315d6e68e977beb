# SPDX-License-Identifier: Apache-2.0
"""base - a command line in, what it printed and its exit status out."""
import os
import shlex
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import broker as broker_module

DONE = ("Done. Don't forget to grant the user permissions to some virtual hosts! "
        "See 'rabbitmqctl help set_permissions' to learn more.\n")


class Said:
    """What a run of a tool printed; the node's name is NODE in it."""

    def __init__(self, done, node):
        self.out = done.stdout.replace(node, "NODE")
        self.err = done.stderr.replace(node, "NODE")
        self.code = done.returncode

    def __eq__(self, other):
        return (self.out, self.err, self.code) == (other.out, other.err, other.code)

    def __repr__(self):
        return "out: %s\nerr: %s\ncode: %d" % (self.out, self.err, self.code)

    def rows(self):
        """The lines of a listing after its banner and header, as tuples of cells."""
        return [tuple(line.split("\t")) for line in self.out.splitlines() if "\t" in line][1:]


class Expected(Said):
    def __init__(self, out="", err="", code=0):
        self.out, self.err, self.code = out, err, code


class CtlTest(unittest.TestCase):
    """Every test is true of RabbitMQ 4.0's tools as well, unless it says that it is not."""
    maxDiff = None

    @property
    def is_lepus(self):
        return self.broker.flavour == "lepus"

    def node(self):
        if self.is_lepus:
            return "lepus@" + socket.gethostname().split(".")[0]
        return self.broker.environment["RABBITMQ_NODENAME"]

    def line(self, program):
        """How to call a tool, and its environment."""
        if self.is_lepus:
            return ([os.path.join(broker_module.binaries(), program)],
                    {**os.environ, "LEPUS_DATA": self.broker.data})
        return ([*self.broker.enter, os.path.join(self.broker.home, "sbin", program)],
                self.broker.environment)

    def run_tool(self, words, program="rabbitmqctl", stdin="", timeout=60):
        line, environment = self.line(program)
        words = shlex.split(words) if isinstance(words, str) else list(words)
        done = subprocess.run(line + words, env=environment, input=stdin, capture_output=True,
                              text=True, timeout=timeout)
        return Said(done, self.node())

    def does(self, words, program="rabbitmqctl", stdin=""):
        """It must succeed; what it said."""
        said = self.run_tool(words, program, stdin)
        self.assertEqual(said.code, 0, "%s\n%r" % (words, said))
        return said

    def says(self, words, out="", err="", code=0, program="rabbitmqctl", stdin=""):
        """It must say exactly this."""
        said = self.run_tool(words, program, stdin)
        self.assertEqual("%s\n%r" % (words, said),
                         "%s\n%r" % (words, Expected(out, err, code)))

    def all_say(self, table, program="rabbitmqctl"):
        """Rows of words, out, err, code, in this order."""
        for words, *expected in table:
            self.says(words, *expected, program=program)

    def misused(self, words, what, usage, code=64, program="rabbitmqctl"):
        """It must explain a mistake on the command line, with `usage`."""
        given = " ".join(shlex.split(words))
        self.says(words, "", "Error (argument validation): %s\nArguments given:\n\t%s\n\nUsage\n\n"
                  "%s [--node <node>] [--longnames] [--quiet] %s\n" % (what, given, program, usage),
                  code, program=program)

    def vhost(self, name):
        """A virtual host for the time of a test."""
        self.does(["add_vhost", name])
        self.addCleanup(lambda: self.run_tool(["delete_vhost", name]))

    def user(self, name, password="secret"):
        self.does(["add_user", name, password])
        self.addCleanup(lambda: self.run_tool(["delete_user", name]))

    def connect(self, vhost="/", user="guest", password="guest", **options):
        import pika
        parameters = pika.ConnectionParameters(
            self.broker.host, self.broker.port, vhost, pika.PlainCredentials(user, password),
            **options)
        connection = pika.BlockingConnection(parameters)
        self.addCleanup(lambda: connection.is_open and connection.close())
        return connection
