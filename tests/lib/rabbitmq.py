#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""rabbitmq - Debian's RabbitMQ as a private broker: what Lepus is compared with.

    broker = RabbitMQ()         # or missing(): why there is none
    broker.port, broker.ctl("list_queues"), broker.stop()

It listens on ports of 127.0.0.1 that are its own to its end, has an epmd, a cookie, a HOME and a data
folder of its own, runs as whoever asks for it, and is ended by process id. The
package's service, /etc/rabbitmq and /var/lib/rabbitmq are left alone.

    LEPUS_RABBITMQ_ROOT    a file system to change into first (as root): another
                           Debian's, made by debootstrap, with a newer RabbitMQ in it
"""
import glob
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import ports
import rabbitmq_ctl

START_S = 300.0     # it takes three; machines may be busy
STOP_S = 60.0
READY = b"Server startup complete"


def root():
    return os.environ.get("LEPUS_RABBITMQ_ROOT", "").rstrip("/")


def home():
    """The folder of the package as its processes see it, or None."""
    found = sorted(glob.glob(root() + "/usr/lib/rabbitmq/lib/rabbitmq_server-*"))
    return found[-1][len(root()):] if found else None


def missing():
    """A sentence that says why RabbitMQ cannot be started, or None."""
    if not home():
        return "no RabbitMQ on this machine: apt-get install rabbitmq-server (scripts/setup test)"
    if not os.path.exists(root() + "/usr/bin/erl"):
        return "RabbitMQ is here and Erlang is not: apt-get install erlang-base"
    return None


class RabbitMQ:
    """A RabbitMQ of our own, with the members that lib/broker.py's Broker has."""

    external = False
    net = None
    has_ctl = True

    def __init__(self, settings=(), advanced=""):
        reason = missing()
        if reason:
            raise RuntimeError(reason)
        self.root, self.home = root(), home()
        self.version = tuple(int(n) for n in re.findall(r"\d+", os.path.basename(self.home))[:2])
        self.flavour = "4.0" if self.version >= (4, 0) else "3.10"
        self.settings = list(settings)
        self.advanced = advanced    # text of an advanced.config
        self.enter = ["chroot", root()] if root() else []
        self.work = tempfile.mkdtemp(prefix="lepus-rabbitmq-", dir=root() + "/tmp" if root() else None)
        self.inside = self.work[len(root()):]
        self.data = os.path.join(self.work, "data")
        self.log_path = os.path.join(self.work, "output.log")
        self.holders = [ports.hold() for _ in range(3)]
        self.host = "127.0.0.1"
        self.port, self.dist_port, self.epmd_port = map(ports.number, self.holders)
        self.environment = self._environment()
        self.process = self.epmd = None
        self.controller = rabbitmq_ctl.Controller(self)
        self._prepare()
        try:
            self.start()
        except RuntimeError:
            self.stop(failed=True)
            raise

    def _prepare(self):
        """The folders and files that it reads."""
        for folder in ("home", "data", "log"):
            os.makedirs(os.path.join(self.work, folder))
        cookie = os.path.join(self.work, "home", ".erlang.cookie")
        with open(cookie, "w") as file:
            file.write("COOKIE%s" % os.urandom(12).hex())
        os.chmod(cookie, 0o400)
        with open(os.path.join(self.work, "plugins"), "w") as file:
            file.write("[].\n")
        if self.advanced:
            with open(os.path.join(self.work, "advanced.config"), "w") as file:
                file.write(self.advanced)
        with open(os.path.join(self.work, "rabbitmq.conf"), "w") as file:
            # A full disk is not what is tested, and it would block every publisher.
            file.write("\n".join(["disk_free_limit.absolute = 1MB"] + [
                "%s = %s" % tuple(s.split("=", 1)) for s in self.settings]) + "\n")

    def _environment(self):
        here = lambda name: os.path.join(self.inside, name)
        local = "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": here("home"),
            "ERL_EPMD_PORT": str(self.epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_CRASH_DUMP": here("log/erl_crash.dump"),
            "RABBITMQ_NODENAME": "lepus-%d@localhost" % self.port,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1", "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_CTL_DIST_PORT_MIN": "0", "RABBITMQ_CTL_DIST_PORT_MAX": "0",
            "RABBITMQ_MNESIA_BASE": here("data"), "RABBITMQ_LOG_BASE": here("log"),
            "RABBITMQ_LOGS": "-", "RABBITMQ_CONF_ENV_FILE": here("none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": here("plugins"),
            "RABBITMQ_CONFIG_FILE": here("rabbitmq"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": here("advanced.config" if self.advanced else "none.config"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": local, "RABBITMQ_CTL_ERL_ARGS": local,
            # The script then becomes the node instead of waiting for it: one process id.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def start(self):
        """Start, or start again on the same data and ports."""
        if self.epmd is None or self.epmd.poll() is not None:
            self.epmd = subprocess.Popen(
                [*self.enter, "epmd", "-port", str(self.epmd_port), "-address", "127.0.0.1"],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
            self._answers(self.epmd_port)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.enter, os.path.join(self.home, "sbin", "rabbitmq-server")],
                env=self.environment, cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        self._wait_ready()
        threading.Thread(target=self._drain, args=(self.process,), daemon=True).start()

    def _answers(self, port):
        until = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self.epmd.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("epmd does not answer on port %d" % port) from None
                select.select([], [], [], 0.01)

    def _wait_ready(self):
        until, seen = time.monotonic() + START_S, b""
        stream = self.process.stdout.fileno()
        while READY not in seen:
            left = until - time.monotonic()
            ready = left > 0 and select.select([stream], [], [], left)[0]
            data = os.read(stream, 65536) if ready else b""
            with open(self.log_path, "ab") as log:
                log.write(data)
            if not data:
                raise RuntimeError("RabbitMQ did not start\n" + self.log_tail())
            seen = seen[-len(READY):] + data

    def _drain(self, process):
        with open(self.log_path, "ab") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill_all(self):
        """kill -9; start() begins again on the same data."""
        self.process.kill()
        self.process.wait()

    def _end(self):
        """End node and epmd; what was wrong with that, or None."""
        problem = None
        self.controller.end()
        if self.running():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                problem = "RabbitMQ ignored SIGTERM for %d s" % STOP_S
                self.process.kill()
                self.process.wait()
        if self.epmd and self.epmd.poll() is None:
            self.epmd.terminate()
            self.epmd.wait()
        return problem

    def stop(self, failed=False):
        problem = self._end()
        if problem or failed:
            print("--- RabbitMQ's output\n" + self.log_tail(), file=sys.stderr)
        shutil.rmtree(self.work, ignore_errors=True)
        for holder in self.holders:
            holder.close()
        if problem:
            raise RuntimeError(problem)

    def log_tail(self, lines=60):
        try:
            with open(self.log_path, errors="replace") as log:
                return "".join(log.readlines()[-lines:])
        except OSError:
            return ""

    def ctl(self, *arguments, check=True):
        """rabbitmqctl against this broker."""
        return self.controller.run(*arguments, check=check)

    def ctl_wrapper(self):
        """A program with rabbitmqctl's command line that controls this broker."""
        path = os.path.join(self.work, "ctl")
        words = ["env", "-i", *("%s=%s" % item for item in self.environment.items()), *self.enter,
                 os.path.join(self.home, "sbin", "rabbitmqctl")]
        with open(path, "w") as script:
            script.write("#!/bin/sh\nexec %s \"$@\"\n" % " ".join(map(shlex.quote, words)))
        os.chmod(path, 0o700)
        return path


def main():
    """Run one until interrupted: for `--external` runs, or to try something by hand."""
    broker = RabbitMQ(sys.argv[1:])
    print("RabbitMQ %s on %s:%d, control it with %s; Ctrl-C ends it"
          % (".".join(map(str, broker.version)), broker.host, broker.port, broker.ctl_wrapper()),
          flush=True)
    try:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        broker.process.wait()
    except KeyboardInterrupt:
        pass
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
