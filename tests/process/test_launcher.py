#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The launcher: what it starts, how it keeps it running, how it ends it.

The launcher is the real one; its two children are fake_child.py, which tells
this test about itself. Tests wait for those reports, for lines of output and
for the end of processes, never for a time.
"""
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
BIN = os.environ.get("LEPUS_BIN") or os.path.join(ROOT, "build", "bin")
LEPUS = os.path.join(BIN, "lepus")
WAIT_S = 30


class Launcher:
    def __init__(self, mode="", words=(), data=None, shards="3", before=()):
        self.folder = tempfile.mkdtemp(prefix="lepus-launcher-")
        for name in ("lepus-dataplane", "lepus-control"):
            shutil.copy(os.path.join(HERE, "fake_child.py"), os.path.join(self.folder, name))
            os.chmod(os.path.join(self.folder, name), 0o755)
        self.data = data or os.path.join(self.folder, "data")
        self.events = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.events.bind(os.path.join(self.folder, "events"))
        self.events.settimeout(WAIT_S)
        if before:  # another user runs it
            os.chmod(self.folder, 0o755)
            os.chmod(os.path.join(self.folder, "events"), 0o666)
        env = dict(os.environ, LEPUS_BIN_DIR=self.folder, FAKE_MODE=mode,
                   FAKE_EVENTS=os.path.join(self.folder, "events"))
        env.pop("LEPUS_DATA", None)
        self.process = subprocess.Popen(
            [*before, LEPUS, "--data", self.data, "--set", "lepus.shards=" + shards, *words], env=env,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.seen = ""

    def event(self, name):
        """The next report of a child of this name."""
        while True:
            report = json.loads(self.events.recv(65536))
            if report["name"] == name:
                return report

    def both(self):
        reports = [json.loads(self.events.recv(65536)) for _ in range(2)]
        by_name = {report["name"]: report for report in reports}
        return by_name["lepus-dataplane"], by_name["lepus-control"]

    def line(self, text):
        """Output up to `text`."""
        while text not in self.seen:
            if not select.select([self.process.stdout], [], [], WAIT_S)[0]:
                raise AssertionError("no %r in %r" % (text, self.seen))
            more = os.read(self.process.stdout.fileno(), 4096)
            if not more:
                raise AssertionError("no %r in %r" % (text, self.seen))
            self.seen += more.decode()

    def insist(self, number, text):
        """Signal until it says so: those that follow each other closely are one wish."""
        until = time.monotonic() + WAIT_S
        while text not in self.seen:
            if time.monotonic() > until:
                raise AssertionError("no %r in %r" % (text, self.seen))
            self.process.send_signal(number)
            if select.select([self.process.stdout], [], [], 0.1)[0]:
                self.seen += os.read(self.process.stdout.fileno(), 4096).decode()

    def end(self):
        """(exit status, output, errors)"""
        out, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, self.seen + out.decode(), err.decode()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        self.process.stdout.close()
        self.process.stderr.close()
        self.events.close()
        shutil.rmtree(self.folder)


def option(report, name):
    return [word.partition("=")[2] for word in report["words"] if word.partition("=")[0] == name]


def wait_gone(pidfd):
    if not select.select([pidfd], [], [], WAIT_S)[0]:
        raise AssertionError("still running")
    os.close(pidfd)


class TestLauncher(unittest.TestCase):
    def start(self, *args, **kwargs):
        launcher = Launcher(*args, **kwargs)
        self.addCleanup(launcher.close)
        return launcher

    def test_children_get_their_options_and_no_other_descriptor(self):
        launcher = self.start(words=["--set", "listeners.tcp.default=127.0.0.1:0",
                                     "--set", "lepus.listeners.unix.a=/tmp/a b",
                                     "--set", "heartbeat=7", "--set=lepus.memory=100MiB"])
        dataplane, control = launcher.both()
        for report in (dataplane, control):
            self.assertEqual(report["extra_fds"], [])
            self.assertEqual(option(report, "--shards"), ["3"])
            self.assertEqual(report["group"], report["pid"])
            self.assertGreater(report["region_bytes"], 6 << 20)
        self.assertEqual(option(dataplane, "--listen"), ["tcp:127.0.0.1:0", "unix:/tmp/a b"])
        for name, value in (("transport", "auto"), ("pin", "auto"), ("poll", "adaptive"),
                            ("memory-bytes", "104857600"), ("watermark-bytes", "83886080"),
                            ("heartbeat-s", "7"), ("frame-max", "131072"),
                            ("channel-max", "2047"), ("max-message-size", "16777216"),
                            ("handshake-timeout-ms", "10000"), ("control-timeout-ms", "30000"),
                            ("log-segment-bytes", "67108864"),
                            ("log-first-segment-bytes", "4194304"),
                            ("log-backlog-bytes", str(83886080 // 4 // 3)),
                            ("log-max-delay-us", "0"), ("data", os.path.realpath(launcher.data))):
            self.assertEqual(option(dataplane, "--" + name), [value], name)
        self.assertEqual(option(control, "--data"), [launcher.data])
        self.assertEqual(option(control, "--generation"), ["1"])
        self.assertIn("--fresh", control["words"])
        self.assertIn("heartbeat=7", option(control, "--set"))
        launcher.line("lepus: ready on tcp:127.0.0.1:4321 transport=fake")
        launcher.process.terminate()
        self.assertEqual(launcher.end()[0], 0)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs root, to be somebody else")
    def test_capabilities_of_a_service_are_for_the_dataplane_only(self):
        data = tempfile.mkdtemp(prefix="lepus-nobody-")
        self.addCleanup(shutil.rmtree, data)
        os.chown(data, 65534, 65534)
        launcher = self.start(data=data, before=[
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+net_bind_service",
            "--ambient-caps=+net_bind_service"])
        dataplane, control = launcher.both()
        self.assertEqual(int(dataplane["capabilities"], 16), 1 << 10)
        self.assertEqual(int(control["capabilities"], 16), 0)

    def test_a_bare_port_listens_on_both_families(self):
        launcher = self.start(words=["--set", "listeners.tcp.default=0"])
        dataplane, _ = launcher.both()
        expected = ["tcp:0.0.0.0:0"]
        if os.path.exists("/proc/net/if_inet6"):
            expected.append("tcp:[::]:0")
        self.assertEqual(option(dataplane, "--listen"), expected)

    def test_sigterm_drains_by_control_and_says_goodbye(self):
        launcher = self.start()
        launcher.both()
        launcher.line("ready on")
        launcher.process.terminate()
        code, out, err = launcher.end()
        self.assertEqual((code, err), (0, ""))
        self.assertIn("lepus: stopping: 0 connections closed, goodbye\n", out)

    def test_a_stop_by_lepusctl_is_a_graceful_end(self):
        launcher = self.start()
        dataplane, _ = launcher.both()
        launcher.line("ready on")
        os.kill(dataplane["pid"], signal.SIGUSR1)
        code, out, err = launcher.end()
        self.assertEqual((code, err), (0, ""))
        self.assertIn("lepus: stopping, as lepusctl asked\n", out)

    def test_control_is_started_again_and_the_dataplane_stays(self):
        launcher = self.start()
        dataplane, control = launcher.both()
        launcher.line("ready on")
        for generation in range(2, 7):
            os.kill(control["pid"], signal.SIGKILL)
            control = launcher.event("lepus-control")
            self.assertEqual(option(control, "--generation"), [str(generation)])
            self.assertNotIn("--fresh", control["words"])
            self.assertEqual(control["extra_fds"], [])
        os.kill(dataplane["pid"], 0)
        launcher.process.terminate()
        code, _, err = launcher.end()
        self.assertEqual(code, 0)
        self.assertEqual(err.count("lepus-control was ended by signal 9 (SIGKILL)"), 5)

    def test_ready_is_said_when_control_hears_administrators(self):
        launcher = self.start(mode="control-deaf")
        _, control = launcher.both()
        os.kill(control["pid"], signal.SIGKILL)
        control = launcher.event("lepus-control")
        # The data plane's word was read before the end of the first control process.
        while select.select([launcher.process.stdout], [], [], 0)[0]:
            launcher.seen += os.read(launcher.process.stdout.fileno(), 4096).decode()
        self.assertNotIn("ready on", launcher.seen)
        os.kill(control["pid"], signal.SIGKILL)
        control = launcher.event("lepus-control")
        launcher.line("ready on tcp:127.0.0.1:4321 transport=fake")
        os.kill(control["pid"], signal.SIGKILL)
        self.assertEqual(option(launcher.event("lepus-control"), "--ready-fd"), [])

    def test_ready_is_said_again_when_the_new_dataplane_is_and_not_before(self):
        launcher = self.start(mode="dataplane-recovers")
        dataplane, _ = launcher.both()
        os.kill(dataplane["pid"], signal.SIGUSR2)
        launcher.line("ready on")
        os.kill(dataplane["pid"], signal.SIGKILL)
        launcher.seen = ""
        dataplane, control = launcher.both()
        # What this control process said was read before its end is, and the next one begins after that.
        os.kill(control["pid"], signal.SIGKILL)
        launcher.event("lepus-control")
        while select.select([launcher.process.stdout], [], [], 0)[0]:
            launcher.seen += os.read(launcher.process.stdout.fileno(), 4096).decode()
        self.assertNotIn("ready on", launcher.seen)
        os.kill(dataplane["pid"], signal.SIGUSR2)
        launcher.line("ready on tcp:127.0.0.1:4321 transport=fake")

    def test_a_dead_dataplane_starts_everything_anew(self):
        launcher = self.start()
        dataplane, control = launcher.both()
        launcher.line("ready on")
        os.kill(dataplane["pid"], signal.SIGKILL)
        dataplane2, control2 = launcher.both()
        self.assertNotEqual(dataplane2["pid"], dataplane["pid"])
        self.assertNotEqual(control2["pid"], control["pid"])
        self.assertIn("--fresh", control2["words"])
        self.assertEqual(option(control2, "--generation"), ["2"])
        launcher.process.terminate()
        self.assertEqual(launcher.end()[0], 0)

    def test_a_dataplane_that_keeps_crashing_ends_the_broker(self):
        launcher = self.start(mode="dataplane-crashes")
        code, _, err = launcher.end()
        self.assertEqual(code, 1)
        self.assertEqual(err.count("starting both processes again"), 5)
        self.assertIn("more than 5 times in a minute; giving up\n", err)

    def test_a_dataplane_that_cannot_start_is_not_tried_again(self):
        launcher = self.start(mode="dataplane-fails")
        code, _, err = launcher.end()
        self.assertEqual(code, 1)
        self.assertEqual(err, "lepus: lepus-dataplane ended with exit status 3 before it was "
                              "ready; its own message above says why\n")

    def test_a_control_process_that_cannot_start_ends_the_broker_however_long_that_takes(self):
        for mode in ("control-fails", "control-fails-late"):
            launcher = self.start(mode=mode)
            code, _, err = launcher.end()
            self.assertEqual(code, 1)
            self.assertIn("exit status 4, 5 times in a row from the start; giving up", err)

    def test_the_second_interrupt_ends_it_at_once(self):
        launcher = self.start(mode="stubborn")
        launcher.both()
        launcher.line("ready on")
        launcher.process.send_signal(signal.SIGINT)
        launcher.line("stopping: telling 0 connections")
        launcher.insist(signal.SIGINT, "stopping at once")
        code, out, err = launcher.end()
        self.assertIn("stopping at once", out)
        self.assertIn("SIGKILL", err)
        self.assertEqual(code, 1)

    def test_a_signal_that_comes_twice_at_once_is_one_wish(self):
        """As that of timeout(1), which tells the process and then its group. A machine that stops the launcher for
        a quarter of a second makes them two, so one of five times is enough; without the rule it is none."""
        self.assertIn(0, [self.stopped_twice() for _ in range(5)])

    def stopped_twice(self):
        launcher = self.start()
        launcher.both()
        launcher.line("ready on")
        launcher.process.send_signal(signal.SIGTERM)
        launcher.line("stopping: ")
        launcher.process.send_signal(signal.SIGTERM)
        return launcher.end()[0]

    def test_nothing_is_left_when_the_launcher_is_killed(self):
        launcher = self.start()
        pidfds = [os.pidfd_open(report["pid"]) for report in launcher.both()]
        launcher.process.kill()
        for pidfd in pidfds:
            wait_gone(pidfd)

    def test_one_data_directory_is_for_one_broker(self):
        first = self.start()
        first.both()
        second = self.start(data=first.data)
        code, _, err = second.end()
        self.assertEqual(code, 1)
        self.assertIn("%s is in use by another lepus (process %d)"
                      % (first.data, first.process.pid), err)
        first.process.terminate()
        self.assertEqual(first.end()[0], 0)

    def record(self, folder):
        with open(os.path.join(folder, "lepus.data")) as file:
            return file.read()

    def refused(self, *args, **kwargs):
        code, _, err = self.start(*args, **kwargs).end()
        self.assertNotEqual(code, 0)
        return code, err

    def ran(self, *args, **kwargs):
        """(the data plane's report, output) of a broker that runs until it is stopped."""
        launcher = self.start(*args, **kwargs)
        dataplane, control = launcher.both()
        launcher.line("ready on")
        launcher.process.terminate()
        code, out, _ = launcher.end()
        self.assertEqual(code, 0)
        self.assertEqual(option(dataplane, "--shards"), option(control, "--shards"))
        self.assertEqual(option(dataplane, "--data-id"), option(control, "--data-id"))
        return dataplane, out

    def folder(self):
        folder = tempfile.mkdtemp(prefix="lepus-data-")
        self.addCleanup(shutil.rmtree, folder)
        return folder

    def test_a_data_directory_has_a_format_an_id_and_a_number_of_shards(self):
        data = self.folder()
        first, out = self.ran(data=data)
        text = self.record(data)
        self.assertRegex(text, r"\Alepus 1\nid = [0-9a-f]{32}\nshards = 3\nlogs = 0\n\Z")
        name = text.split()[4]
        self.assertEqual(option(first, "--data-id"), [name])
        self.assertIn("data in %s (%s)\n" % (data, name), out)
        self.ran(data=data)
        self.assertEqual(self.record(data), text)
        other = self.folder()
        self.ran(data=other)
        self.assertNotEqual(self.record(other), text)

    def test_the_number_of_shards_stays_what_it_was_unless_more_are_asked_for(self):
        data = self.folder()
        self.ran(data=data, shards="2")
        text = self.record(data)
        code, err = self.refused(data=data, shards="1")
        self.assertEqual(code, 78)
        self.assertEqual(err, "lepus: %s has the messages of 2 shards, and lepus.shards is 1: set it to 2, or to "
                              "auto (to have fewer, begin with another --data DIR)\n" % data)
        self.assertEqual(self.record(data), text)
        more, _ = self.ran(data=data, shards="5")
        self.assertEqual(option(more, "--shards"), ["5"])
        self.assertEqual(self.record(data), text.replace("shards = 2\n", "shards = 5\n"))
        self.refused(data=data, shards="4")
        auto, out = self.ran(data=data, shards="auto")
        self.assertEqual(option(auto, "--shards"), ["5"])
        if len(os.sched_getaffinity(0)) < 5:
            self.assertEqual(out.count("the data directory has 5 shards, and "), 1)

    def test_a_directory_of_a_newer_lepus_or_with_a_damaged_record_is_refused(self):
        data = self.folder()
        self.ran(data=data)
        whole = self.record(data)
        for text, sentence in (
                (whole.replace("lepus 1", "lepus 2") + "more = 1\n",
                 "was written by a newer version of Lepus (format 2; this one knows 1)"),
                (whole + "x", "is damaged"), (whole[:-3], "is damaged"), ("", "is damaged"),
                (whole.replace("shards = 3", "shards = 0"), "is damaged"),
                (whole.replace("shards = 3", "shards = 65"), "is damaged"),
                (whole.replace("logs = 0", "logs = 4"), "is damaged"),
                (whole.replace("id = ", "id = g"), "is damaged"), ("\0" * 4096, "is damaged")):
            with open(os.path.join(data, "lepus.data"), "w") as file:
                file.write(text)
            code, err = self.refused(data=data)
            self.assertEqual(code, 1)
            self.assertIn(sentence, err)
            self.assertEqual(self.record(data), text)

    def test_logs_that_were_there_and_are_gone_are_missed(self):
        data = self.folder()
        self.ran(data=data)
        for shard in range(2):
            os.makedirs(os.path.join(data, "log", "shard-%d" % shard))
            with open(os.path.join(data, "log", "shard-%d" % shard, "root.log"), "w"):
                pass
        self.ran(data=data)
        self.assertIn("\nlogs = 2\n", self.record(data))
        self.assertIn("%s/topology.db is gone" % data, self.refused(data=data)[1])
        with open(os.path.join(data, "topology.db"), "w"):
            pass   # the fake control process makes none
        self.ran(data=data)
        os.rename(os.path.join(data, "log"), os.path.join(data, "gone"))
        code, err = self.refused(data=data)
        self.assertEqual(code, 1)
        self.assertIn("the log of shard 0 is gone from %s/log" % data, err)
        os.rename(os.path.join(data, "gone"), os.path.join(data, "log"))
        os.rename(os.path.join(data, "log", "shard-1"), os.path.join(data, "gone"))
        self.assertIn("the log of shard 1 is gone", self.refused(data=data)[1])
        text = self.record(data)
        with open(os.path.join(data, "lepus.data"), "w") as file:
            file.write(text.replace("logs = 2", "logs = 0"))   # as the sentence says
        self.ran(data=data)
        os.unlink(os.path.join(data, "lepus.data"))
        self.assertIn("has message logs and no lepus.data", self.refused(data=data)[1])

    def test_the_data_plane_hears_of_the_directory_from_the_root_on(self):
        folder = os.path.realpath(self.folder())
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(folder)
        dataplane, _ = self.ran(data="some/where")
        self.assertEqual(option(dataplane, "--data"), [os.path.join(folder, "some/where")])
        os.chdir(here)

    def test_a_directory_that_cannot_be_used_is_refused(self):
        data = self.folder()
        path = os.path.join(data, "file")
        with open(path, "w"):
            pass
        for folder, sentence in ((path, "Not a directory"), (path + "/below", "Not a directory"),
                                 ("/proc/lepus", "cannot use the data directory /proc/lepus")):
            code, err = self.refused(data=folder)
            self.assertEqual(code, 1)
            self.assertIn(sentence, err)
        if os.geteuid() == 0:
            os.chown(data, 12345, -1)
            code, err = self.refused(data=data)
            self.assertIn("the data directory %s belongs to another user (12345; this is 0)" % data, err)
        else:
            os.chmod(data, 0o500)
            code, err = self.refused(data=data)
            self.assertIn("cannot write %s/lepus.pid: Permission denied" % data, err)
            os.chmod(data, 0o700)
        self.assertEqual(code, 1)

    def test_missing_programs_are_named(self):
        folder = tempfile.mkdtemp(prefix="lepus-empty-")
        self.addCleanup(shutil.rmtree, folder)
        result = subprocess.run(
            [LEPUS, "--data", folder], text=True,
            env=dict(os.environ, LEPUS_BIN_DIR="/nonexistent"), capture_output=True, timeout=WAIT_S)
        self.assertEqual(result.returncode, 1)
        self.assertIn("/nonexistent/lepus-dataplane cannot be run", result.stderr)


class TestCommandLine(unittest.TestCase):
    def run_lepus(self, *words):
        return subprocess.run([LEPUS, *words], text=True, capture_output=True, timeout=WAIT_S)

    def test_mistakes(self):
        for words, code, text in (
                (["--bogus"], 64, '"--bogus" is neither an option nor a command'),
                (["--config"], 64, "--config FILE needs a value"),
                (["--set", "heartbaet=1"], 78, 'did you mean "heartbeat"?'),
                (["--set", "listeners.tcp=none"], 78, "there is no listener"),
                (["--config", "/nonexistent"], 78, "/nonexistent: cannot be opened"),
                (["--set", "lepus.memory=64MiB", "--set",
                  "vm_memory_high_watermark.absolute=128MiB"], 78, "above lepus.memory"),
                (["--set", "lepus.log.segment_bytes=1048577"], 78, "must be a multiple of 4096"),
                (["--set", "lepus.log.segment_bytes=2GiB"], 78, "it must be between 1048576 and 1073741824"),
                (["--set", "lepus.log.segment_bytes=2MiB", "--set", "lepus.log.first_segment_bytes=4MiB"], 78,
                 "lepus.log.first_segment_bytes (4194304) is above lepus.log.segment_bytes (2097152)"),
                (["config", "heartbaet"], 64, 'did you mean "heartbeat"?')):
            result = self.run_lepus(*words)
            self.assertEqual(result.returncode, code, words)
            self.assertIn(text, result.stderr)

    def test_help_version_and_keys(self):
        self.assertIn("Examples", self.run_lepus("--help").stdout)
        self.assertRegex(self.run_lepus("version").stdout, r"^lepus \d+\.\d+")
        table = self.run_lepus("config").stdout
        for key in ("listeners.tcp.$name", "lepus.shards", "management.*", "raft.*"):
            self.assertIn(key, table)
        self.assertIn("Range    0 to 65535 seconds", self.run_lepus("config", "heartbeat").stdout)


if __name__ == "__main__":
    unittest.main()
