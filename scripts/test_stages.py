#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""scripts/test [--only STAGE[,STAGE]]... [--list] [--help]

Runs the stages in order, each with its time, and ends with one line alone:

    N passed, N failed

which counts every meson test, every client test and every stage. Exit code 0 only when nothing failed.
A stage that needs an earlier one's build makes it when it is not there. Builds are kept, so the
second run compiles what changed.

Checks, sanitized unit tests and fuzzing need processors, and tests of clients mostly wait: with more than
one processor the former run beside the latter, as a niced process, and are reported when it is their turn.

  LP_BUILDS      folder of the builds                  (this repository: build, build-clang, ...)
  LP_JOBS        compilers and tests at once           (number of processors)
  LP_FUZZ_S      seconds of fuzzing a target           (12)
  LP_FUZZ_SEED   what it tries; 0: something new       (1)
  LP_TIMES       how often its time a test may take    (1)
"""
import atexit
import concurrent.futures
import contextlib
import fcntl
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILDS = os.environ.get("LP_BUILDS") or ROOT
JOBS = os.environ.get("LP_JOBS") or str(os.cpu_count() or 2)
FUZZ_S = int(os.environ.get("LP_FUZZ_S", "12"))
FUZZ_SEED = int(os.environ.get("LP_FUZZ_SEED", "1"))
TIMES = os.environ.get("LP_TIMES", "1")
RELEASE = os.path.join(BUILDS, "build")
CLANG = os.path.join(BUILDS, "build-clang")
ASAN = os.path.join(BUILDS, "build-asan")
TSAN = os.path.join(BUILDS, "build-tsan")
PYTHON = "/usr/bin/python3"
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
import libfuzzer  # noqa: E402

# A user's own python or compiler may come first in PATH; the tests use Debian's.
ENV = dict(os.environ, PATH="/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin:" + os.environ.get("PATH", ""),
           LP_BUILD=RELEASE, LP_JOBS=JOBS, LEPUS_BIN=os.path.join(RELEASE, "bin"),
           ASAN_OPTIONS="detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1",
           UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1",
           TSAN_OPTIONS="halt_on_error=1:second_deadlock_stack=1")


# What clients see of a network; other suites look at processes and disks.
NETWORK_SUITES = ["tutorials", "pika", "aio_pika", "py_amqp", "librabbitmq", "tools", "amqplib", "rabbitmq_client",
                  "torture", "semantics", "churn", "flow", "tls"]


class Count:
    def __init__(self):
        self.passed = self.failed = 0
        self.failures = []

    def add(self, ok, name):
        self.passed += bool(ok)
        self.failed += not ok
        if not ok:
            self.failures.append(name)
        return ok


count = Count()
compiled = {}  # folder: whether it could be


def run(command, timeout=900, env=None, quiet=False):
    """Run to the end; its whole process group is ended if it takes too long."""
    process = subprocess.Popen(command, cwd=ROOT, env=env or ENV, start_new_session=True, text=True,
                               errors="replace", stdout=subprocess.PIPE if quiet else None,
                               stderr=subprocess.STDOUT if quiet else None)
    try:
        output, _ = process.communicate(timeout=timeout * int(TIMES))
        return process.returncode, output or ""
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return 124, (output or "") + "\nstopped after %d s" % timeout


def last_lines(output, number=40):
    return "\n".join("    " + line for line in output.rstrip().split("\n")[-number:])


def compile_in(folder, options, compilers=None):
    """Configure (again: new test files are found then) and compile, once: sources do not change meanwhile."""
    if folder not in compiled:
        with alone_in(folder):
            compiled[folder] = compile_now(folder, options, compilers)
    return compiled[folder]


@contextlib.contextmanager
def alone_in(folder):
    """Stages beside each other want the same build: meson and ninja take turns in it."""
    os.makedirs(BUILDS, exist_ok=True)
    with open(folder.rstrip("/") + ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def programs_in(folder):
    """scripts/build there: what it does not compile any more it puts into bin."""
    with alone_in(folder):
        return run(["scripts/build", folder], quiet=True)


def compile_now(folder, options, compilers):
    env = dict(ENV, **(compilers or {}))
    made = os.path.isfile(os.path.join(folder, "build.ninja"))
    setup = ["meson", "setup"] + (["--reconfigure"] if made else []) + [folder, ROOT] + options
    code, output = run(setup, env=env, quiet=True)
    if code != 0 and made:
        shutil.rmtree(folder)  # another version's, or a moved checkout's
        code, output = run(["meson", "setup", folder, ROOT] + options, env=env, quiet=True)
    if code == 0:
        code, output = run(["ninja", "-C", folder, "-j", JOBS, "-k", "0"], env=env, quiet=True)
        output = re.sub(r"^\[\d+/\d+\] .*\n", "", output, flags=re.M)
    if code != 0:
        print(last_lines(output, 80))
    return code == 0


def meson_tests(folder, suites):
    """Run the suites of a build; each test counts. True when none failed."""
    log = os.path.join(folder, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.remove(log)
    suite_words = [word for suite in suites for word in ("--suite", suite)]
    code, output = run(["meson", "test", "-C", folder, "--no-rebuild", "--print-errorlogs",
                        "--num-processes", JOBS, "--timeout-multiplier", TIMES] + suite_words, quiet=True)
    if not os.path.exists(log):
        if "No suitable tests" in output or "No tests defined" in output:
            print("    no tests in %s" % ", ".join(suites))
            return True
        print(last_lines(output))
        return False
    failed = 0
    total = 0
    with open(log) as file:
        for line in file:
            result = json.loads(line)
            ok = result["result"] in ("OK", "EXPECTEDFAIL", "SKIP")
            total += 1
            failed += not ok
            count.add(ok, "%s (%s)" % (result["name"], os.path.basename(folder)))
    print("    %d tests, %d failed" % (total, failed))
    if failed or code != 0:
        print(last_lines(output, 80))
    return failed == 0 and code == 0


def stage_setup():
    """missing Debian packages"""
    return run(["scripts/setup", "test"])[0] == 0


def stage_gcc():
    """gcc release build; unit tests; fuzz corpus"""
    return build_release() and meson_tests(RELEASE, ["unit", "net", "fuzz"])


def build_release():
    if RELEASE in compiled or not compile_in(RELEASE, []):
        return compiled[RELEASE]
    code, output = programs_in(RELEASE)
    if code != 0:
        print(last_lines(output))
    return code == 0


def stage_checks():
    """layers, purity, globals, headers, format, tidy, cppcheck"""
    if not os.path.isfile(os.path.join(RELEASE, "compile_commands.json")) and not build_release():
        return False
    code, output = run(["scripts/checks/run"], quiet=True)
    print("\n".join("    " + line for line in output.rstrip().split("\n")))
    return code == 0


class Aside:
    """Stages, one after the other, in a process of their own behind everything else."""

    def __init__(self, names):
        self.began = time.monotonic()
        self.names = names
        self.output = tempfile.NamedTemporaryFile("r", errors="replace")
        # It gets what the others leave: its time for clang-tidy has no limit but ours, and tests have more of it.
        self.process = subprocess.Popen(
            ["nice", "-n", "10", sys.executable, "-u", os.path.abspath(__file__), "--only", ",".join(names)], cwd=ROOT,
            env=dict(ENV, LP_TIDY_S="0", LP_TIMES="4"), stdout=open(self.output.name, "w"), stderr=subprocess.STDOUT,
            start_new_session=True)
        atexit.register(self.end)

    def end(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def section(self, name):
        """What a stage has said, and "passed", "FAILED" or None when it is not over."""
        self.output.seek(0)
        said = self.output.read()
        found = re.search(r"^== %s: .*\n((?:.*\n)*?)   %s: (passed|FAILED) in (.*)$" % (name, name), said, re.M)
        return (found.group(1), found.group(2), found.group(3)) if found else (said, None, None)

    def join(self, name):
        """Prints what the stage said when it is over; whether it passed."""
        deadline = time.monotonic() + 1800
        while self.section(name)[1] is None and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        said, verdict, seconds = self.section(name)
        if said.strip():
            print(said.rstrip())
        if verdict is None:
            print("    did not come to its end (%s)" % self.process.poll())
            self.end()
        else:
            print("    beside others, in %s" % seconds)
        if name == self.names[-1]:
            self.add_counts()
        return verdict == "passed"

    def add_counts(self):
        """Every test counts here, too, but for the stages: main() counts those."""
        self.process.wait()
        self.output.seek(0)
        said = self.output.read()
        total = re.search(r"^(\d+) passed, (\d+) failed$", said, re.M)
        if not total:
            return
        failures = re.findall(r"^failed: (.*)$", said, re.M)
        tests = [name for name in failures if not name.startswith("stage ")]
        count.passed += int(total.group(1)) - (len(self.names) - len(failures) + len(tests))
        count.failed += len(tests)
        count.failures += tests


def stage_clang():
    """clang release build, warnings as errors"""
    return compile_in(CLANG, [], {"CC": "clang", "CXX": "clang++"})


def build_asan():
    return compile_in(ASAN, ["-Db_sanitize=address,undefined", "-Db_lundef=false"],
                      {"CC": "clang", "CXX": "clang++"})


def stage_fresh():
    """what scripts/run builds, where nothing is installed but what that needs, as root"""
    return python_tests("tests/fresh/test_*.py")


def stage_asan():
    """ASan + UBSan build: unit, simulator, fuzz corpus"""
    return build_asan() and meson_tests(ASAN, ["unit", "sim", "net", "fuzz"])


def build_tsan():
    return compile_in(TSAN, ["-Db_sanitize=thread", "-Db_lundef=false"], {"CC": "clang", "CXX": "clang++"})


def stage_tsan():
    """TSan build: stress tests with real threads"""
    return build_tsan() and meson_tests(TSAN, ["stress"])


def stage_sim():
    """simulator, optimised: fixed seeds and fresh ones, each run twice and compared"""
    return build_release() and meson_tests(RELEASE, ["sim", "stress"])


def python_counts(output):
    """(tests, failures) from the closing line of tests/lib/suite.py, or from unittest's own."""
    said = re.findall(r"^(\d+) passed, (\d+) failed\b", output, re.M)
    if said:
        return int(said[-1][0]) + int(said[-1][1]), int(said[-1][1])
    ran = re.search(r"^Ran (\d+) tests?", output, re.M)
    bad = re.findall(r"(?:failures|errors|unexpected successes)=(\d+)", output)
    return int(ran.group(1)) if ran else 1, sum(int(number) for number in bad)


def failures_of(output, most=25):
    """Each failure's line and what follows it, up to the next test's."""
    lines, left = [], 0
    for line in output.split("\n"):
        if re.match(r"\s*(FAIL(ED|URE)?\b|(ERROR|FAIL): )", line):
            left = most
        elif re.match(r"\s*(ok|skip|#)\s", line):
            left = 0
        if left > 0:
            lines.append(line)
            left -= 1
    return lines


def python_test(script, words=(), env=None, what=""):
    """A program of tests, in Debian's python; each of its tests counts."""
    name = " ".join([os.path.relpath(script, ROOT)] + list(words)) + what
    began = time.monotonic()
    # Tests have deadlines of their own, and suites of clients/run ten minutes each: this ends what hangs in spite of them.
    code, output = run([PYTHON, script] + list(words), timeout=1800, env=env, quiet=True)
    ok = code == 0
    total, bad = python_counts(output)
    bad = max(bad, 0 if ok else 1)
    said = re.findall(r"^\s*(FAIL(?:ED|URE)?\b.*|(?:ERROR|FAIL): .*)$", output, re.M)
    for index in range(max(total, 1)):
        count.add(index >= bad, name + ": " + said[index].strip() if index < len(said) else name)
    print("    %s: %d tests, %d failed, %.1f s" % (name, total, bad, time.monotonic() - began))
    if not ok:
        print("\n".join("    " + line for line in failures_of(output)))
        print(last_lines(output, 80))
    return ok


def python_tests(*patterns):
    scripts = [script for pattern in patterns for script in sorted(glob.glob(os.path.join(ROOT, pattern)))]
    return all([python_test(script) for script in scripts])


def client_tests(folder, suites, settings="", timing="1"):
    """Some of the client suites, with the binaries of a build and settings for its brokers."""
    env = dict(ENV, LEPUS_BIN=os.path.join(folder, "bin"), LEPUS_SETTINGS=settings,
               LEPUS_TIMING=timing)
    words = [word for suite in suites for word in ("--only", suite)]
    return python_test(os.path.join(ROOT, "tests/clients/run"), words, env,
                       " of %s" % " ".join([os.path.basename(folder)] + ([settings] if settings else [])))


def stage_clients():
    """whole processes, and what clients see of them: tests/process, tests/clients/run; some with epoll"""
    if not build_release():
        return False
    good = python_tests("tests/process/test_*.py", "tests/clients/run")
    return client_tests(RELEASE, ["tutorials", "torture"], "lepus.transport=epoll") and good


def stage_network():
    """our own TCP/IP with the kernel as its peer, as root: taps, DPDK's devices, loss, client suites over a tap"""
    if not build_release():
        return False
    good = python_tests("tests/net/test_*.py")
    if os.geteuid() != 0 or not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        print("    client suites over a tap: skipped, needs root and /dev/net/tun")
        return good
    words = [word for suite in NETWORK_SUITES for word in ("--only", suite)]
    return python_test(os.path.join(ROOT, "tests/clients/run"), ["--net", "tap"] + words) and good


def stage_rabbitmq():
    """Debian's RabbitMQ does the same: random scripts on both, and the tests of exact answers on it"""
    if not build_release():
        return False
    good = python_test(os.path.join(ROOT, "tests/differential/run"),
                       ["--seed", "5000", "--count", "20", "--steps", "50"])
    good = python_tests("tests/differential/test_*.py") and good
    semantics = os.path.join(ROOT, "tests/clients/test_semantics.py")
    return python_test(semantics, ["--external", "rabbitmq"]) and good


def stage_sanitized():
    """client tests against the ASan + UBSan build and the TSan build, side by side: they mostly wait"""
    for folder, build in ((ASAN, build_asan), (TSAN, build_tsan)):
        if not build() or programs_in(folder)[0] != 0:
            return False
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return all(list(pool.map(lambda folder: client_tests(folder, ["tutorials", "torture", "control_kill"], timing="0"),
                                 (ASAN, TSAN))))


def stage_fuzz():
    """fuzzing from the corpus with a fixed seed, a few seconds a target; tests/fuzz/long searches"""
    if not build_asan():
        return False
    names = [os.path.basename(source)[:-2]
             for source in sorted(glob.glob(os.path.join(ROOT, "tests/fuzz/fuzz_*.c")))]
    good = True
    with concurrent.futures.ThreadPoolExecutor(int(JOBS)) as pool:
        for name, (code, output) in zip(names, pool.map(fuzz, names)):
            runs = re.search(r"number_of_executed_units: (\d+)", output)
            edges = re.findall(r"cov: (\d+)", output)
            print("    %s: %s runs, %s edges" % (name, runs.group(1) if runs else "?", edges[-1] if edges else "?"))
            if code != 0:
                print(last_lines(output))
                print("    again with: %s/tests/fuzz/%s %s/fuzz-found/%s/crash-..." % (ASAN, name, ASAN, name))
            good = count.add(code == 0, name) and good
    return good


def fuzz(name):
    """(exit code, output) of one target: the same inputs each time, so that what passed once does not fail by luck."""
    found = os.path.join(ASAN, "fuzz-found", name)
    os.makedirs(found, exist_ok=True)
    log = os.path.join(found, "log")
    with tempfile.TemporaryDirectory() as inputs:
        code = libfuzzer.run(ASAN, name, FUZZ_S, inputs, os.path.join(found, "crash"), log, FUZZ_SEED)
    with open(log, errors="replace") as file:
        return code, file.read()


def stage_gates():
    """what a message takes, in counts that no clock is needed for, against bench/gate/*limits.txt"""
    if not build_release():
        return False
    code, output = run(["scripts/gates", RELEASE], quiet=True)
    print("\n".join("    " + line for line in output.rstrip().split("\n")))
    return code == 0


STAGES = [(name, globals()["stage_" + name]) for name in
          ("setup", "gcc", "clients", "network", "rabbitmq", "sim", "gates", "checks", "clang", "fresh", "asan", "tsan",
           "sanitized", "fuzz")]
# Those that compute; begun, beside those that mostly wait, as soon as the stage is over that they need.
ASIDES = {"gcc": ("checks", "clang", "fresh", "asan", "tsan"), "tsan": ("fuzz",)}


def arguments(words):
    names = [name for name, _ in STAGES]
    chosen = []
    while words:
        word = words.pop(0)
        if word in ("-h", "--help"):
            print(__doc__)
            print_stages()
            sys.exit(0)
        elif word == "--list":
            print_stages()
            sys.exit(0)
        elif word == "--only" and words:
            chosen += words.pop(0).split(",")
        else:
            sys.exit("%s? See scripts/test --help" % word)
    unknown = [name for name in chosen if name not in names]
    if unknown:
        sys.exit("no such stage: %s (there are: %s)" % (", ".join(unknown), ", ".join(names)))
    return chosen or names


def print_stages():
    for name, function in STAGES:
        print("  %-8s %s" % (name, function.__doc__))


def main():
    chosen = arguments(sys.argv[1:])
    began_all = time.monotonic()
    asides = []
    for name, function in STAGES:
        if name not in chosen:
            continue
        print("== %s: %s" % (name, function.__doc__))
        began = time.monotonic()
        beside = [aside for aside in asides if name in aside.names]
        ok = count.add(beside[0].join(name) if beside else function(), "stage " + name)
        names = [other for other in ASIDES.get(name, ()) if other in chosen]
        if names and int(JOBS) > 1:
            asides.append(Aside(names))
        print("   %s: %s in %.1f s" % (name, "passed" if ok else "FAILED", time.monotonic() - began))
    print("total %.0f s" % (time.monotonic() - began_all))
    for failure in count.failures:
        print("failed: " + failure)
    print("%d passed, %d failed" % (count.passed, count.failed))
    return 1 if count.failed else 0


sys.exit(main())
