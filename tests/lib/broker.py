# SPDX-License-Identifier: Apache-2.0
"""broker - the broker under test: a child of this process, or one that runs elsewhere.

    LEPUS_BIN           folder of the binaries              (build/bin of this tree)
    LEPUS_SHARDS        shards of a broker that a test starts            (2)
    LEPUS_SETTINGS      KEY=VALUE ... for every broker that a test starts  (none)
    LEPUS_NET           a device of netns.DEVICES, such as `tap`: clients come over
                        it and our own TCP/IP                 (the kernel's)
    LEPUS_EXTERNAL      HOST:PORT of a broker to use instead, or `rabbitmq`: a
                        private one of Debian's package, see lib/rabbitmq.py
    LEPUS_EXTERNAL_CTL  its rabbitmqctl, as a command line  (none: those tests skip)

A started broker listens on a port of 127.0.0.1 that is its own to its end (over a device: there, too), keeps its
data in a temporary folder, and is stopped by process id.
"""
import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import netns
import ports
import rabbitmq

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
START_S = 60.0
STOP_S = 30.0
FANOUT_TRIES = 5


def binaries():
    return os.environ.get("LEPUS_BIN") or os.path.join(ROOT, "build", "bin")


def process_children(parent):
    """{name: [pid]} of the live children of `parent`, from /proc."""
    out = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/stat" % entry) as file:
                stat = file.read()
            with open("/proc/%s/cmdline" % entry, "rb") as file:
                name = os.path.basename(file.read().split(b"\0")[0].decode())
        except (OSError, IndexError):
            continue
        state, ppid = stat.rpartition(")")[2].split()[:2]
        if int(ppid) == parent and state != "Z":
            out.setdefault(name, []).append(int(entry))
    return out


class Broker:
    """A Lepus of our own."""

    external = False
    flavour = "lepus"   # what SEMANTICS notes call the version: lepus | 3.10 | 4.0
    version = (4, 0)    # the RabbitMQ whose texts it uses

    def __init__(self, shards=None, settings=(), data=None, config=None, kernel_only=False):
        self.shards = shards or int(os.environ.get("LEPUS_SHARDS", "2"))
        self.settings = shlex.split(os.environ.get("LEPUS_SETTINGS", "")) + list(settings)
        self.config = config
        self.work = tempfile.mkdtemp(prefix="lepus-test-")
        self.data = data or os.path.join(self.work, "data")
        self.log_path = os.path.join(self.work, "output.log")
        self.port_holder = ports.hold()
        self.host, self.port, self.kernel_port = "127.0.0.1", 0, ports.number(self.port_holder)
        self.client_host = self.host    # what the broker sees of clients on this machine
        self.net = None
        if os.environ.get("LEPUS_NET") and not kernel_only:
            self.net = netns.DEVICES[os.environ["LEPUS_NET"]]()
            self.client_host = self.net.subnet.kernel
        self.listeners = []
        self.process = None
        try:
            self._start_first()
        except BaseException:
            self.clear()
            raise

    def _start_first(self):
        """DPDK's packet sockets make their group's number of process id and interface: two brokers
        beside each other may have the same one, and the later of them is refused."""
        for _ in range(FANOUT_TRIES):
            try:
                return self.start()
            except RuntimeError as problem:
                if "PACKET_FANOUT" not in str(problem):
                    raise
        return self.start()

    def start(self):
        """Start, or start again on the same data and port."""
        program = os.path.join(binaries(), "lepus")
        line = [program, "--data", self.data]
        if self.config:
            line += ["--config", self.config]
        if self.net and self.net.shards_max:
            self.shards = min(self.shards, self.net.shards_max)
        device = self.net.subnet.settings(self.net.device_for(self.shards)) if self.net else []
        for setting in ["listeners.tcp.default=127.0.0.1:%d" % self.kernel_port,
                        "lepus.shards=%d" % self.shards] + device + self.settings:
            line += ["--set", setting]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=log,
                                            stdin=subprocess.DEVNULL)
        self._wait_ready(line)
        threading.Thread(target=self._drain, args=(self.process,), daemon=True).start()

    def _wait_ready(self, line):
        until, seen = time.monotonic() + START_S, b""
        stream = self.process.stdout.fileno()
        while b"lepus: ready on " not in seen or not seen.endswith(b"\n"):
            left = until - time.monotonic()
            ready = left > 0 and select.select([stream], [], [], left)[0]
            data = os.read(stream, 4096) if ready else b""
            if not data:
                self.process.kill()
                self.process.wait()
                raise RuntimeError("not ready: %s\n%s\n%s" % (
                    " ".join(line), seen.decode(errors="replace"), self.log_tail()))
            seen += data
        text = seen.decode(errors="replace")
        with open(self.log_path, "a") as log:
            log.write(text)
        self.listeners = re.search(r"lepus: ready on (.*)", text).group(1).replace(",", " ").split()
        if "tcp:127.0.0.1:%d" % self.kernel_port not in self.listeners:
            raise RuntimeError("no tcp:127.0.0.1:%d in: %s" % (self.kernel_port, text))
        self.port = self.kernel_port
        if self.net:
            self.host, self.port = self.net.subnet.ours, 5672

    def _drain(self, process):
        with open(self.log_path, "ab") as log:
            for line in process.stdout:
                log.write(line)
                log.flush()

    def child(self, name):
        """Process id of `lepus-dataplane` or `lepus-control`, or None."""
        pids = process_children(self.process.pid).get(name)
        return pids[0] if pids else None

    def kill_control(self):
        """kill -9 lepus-control; the pid that was killed, or None when it was down."""
        pid = self.child("lepus-control")
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return None
        return pid

    def kill_all(self):
        """kill -9 the launcher and its children, as a power cut would."""
        pids = [p for ps in process_children(self.process.pid).values() for p in ps]
        self.process.kill()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        until = time.monotonic() + STOP_S
        while any(alive(p) for p in pids) and time.monotonic() < until:
            select.select([], [], [], 0.01)

    def terminate(self):
        """SIGTERM and wait; a non-zero exit is an error."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise RuntimeError("the broker ignored SIGTERM for %d s\n%s"
                               % (STOP_S, self.log_tail())) from None
        if code != 0:
            raise RuntimeError("exit code %d after SIGTERM\n%s" % (code, self.log_tail()))

    def stop(self, failed=False):
        try:
            if self.process.poll() is None:
                self.terminate()
            elif self.process.returncode > 0:
                raise RuntimeError("the broker had exited with %d" % self.process.returncode)
        except RuntimeError:
            failed = True
            raise
        finally:
            if failed:
                print("--- broker's output\n" + self.log_tail(), file=sys.stderr)
            self.clear()

    def clear(self):
        """What a broker that has ended leaves."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.port_holder.close()
        if self.net:
            self.net.close()
            self.net = None

    def running(self):
        return self.process.poll() is None

    def log_tail(self, lines=60):
        with open(self.log_path, errors="replace") as log:
            return "".join(log.readlines()[-lines:])

    def ctl(self, *arguments, check=True):
        """lepusctl against this broker."""
        line = [os.path.join(binaries(), "lepusctl"), "--data", self.data, *arguments]
        return subprocess.run(line, check=check, capture_output=True, text=True, timeout=60)

    def ctl_wrapper(self):
        """A program with rabbitmqctl's command line that controls this broker."""
        path = os.path.join(self.work, "ctl")
        with open(path, "w") as script:
            script.write("#!/bin/sh\nexec %s --data %s \"$@\"\n" % (
                shlex.quote(os.path.join(binaries(), "lepusctl")), shlex.quote(self.data)))
        os.chmod(path, 0o700)
        return path

    has_ctl = True


def alive(pid):
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class External:
    """A broker that somebody else started; it is never stopped from here."""

    external = True
    data = None
    net = None

    def __init__(self, address):
        from amqp_raw import Raw
        host, _, port = address.rpartition(":")
        self.host, self.port = host.strip("[]") or "127.0.0.1", int(port)
        probe = Raw(self.host, self.port)
        probe.start()
        text, product = probe.server.get("version", "0"), probe.server.get("product", "")
        probe.drop()
        self.version = tuple(int(n) for n in re.findall(r"\d+", text)[:2])
        self.flavour = "lepus" if "lepus" in product.lower() else \
            "4.0" if self.version >= (4, 0) else "3.10"
        if self.flavour == "lepus":
            self.version = (4, 0)
        self.control = shlex.split(os.environ.get("LEPUS_EXTERNAL_CTL", ""))
        self.has_ctl = bool(self.control)

    def ctl(self, *arguments, check=True):
        return subprocess.run(self.control + list(arguments), check=check, capture_output=True,
                              text=True, timeout=60)

    def running(self):
        return True

    def stop(self, failed=False):
        pass


def open_broker(**options):
    """The broker that the environment asks for; options are for a started one."""
    address = os.environ.get("LEPUS_EXTERNAL")
    if address == "rabbitmq":
        return rabbitmq.RabbitMQ(settings=options.get("settings", ()))
    return External(address) if address else Broker(**options)


FLAGS = ("-std=gnu11 -O2 -D_GNU_SOURCE -Wall -Wextra -Wpedantic -Wconversion -Wshadow "
         "-Wstrict-prototypes -Wmissing-prototypes -Wswitch-enum -Wvla -Wundef -Wcast-qual "
         "-Wwrite-strings -Wformat=2 -Wnull-dereference -Wdouble-promotion -Werror").split()


def compile_c(source, folder, *libraries):
    """Compile one C file of the tests into `folder`; the program's path."""
    program = os.path.join(folder, os.path.basename(source)[:-2])
    line = [os.environ.get("CC", "cc"), *FLAGS, "-o", program, source]
    subprocess.run(line + ["-l" + name for name in libraries], check=True)
    return program
