# SPDX-License-Identifier: Apache-2.0
"""path_runs.py: runs the programs of bench/gate and reads what they counted, for path_gate.py.

  path          under callgrind: instructions, by function; the functions that ran at all
  path_counted  blocks, copied bytes and lines between shards, by function (counted.c)
  calls         system calls, over both drivers (calls.c)
"""
import os
import re
import subprocess
import sys
import tempfile

# What may run outside the program itself: blocks of memory, and nothing that could wait or ask.
LIBRARY = re.compile(r"_*(mem(cpy|move|set|cmp)|strlen)(_\w+|@\S+)?$")
FORBIDDEN = re.compile(r"(malloc|calloc|realloc|free|pthread_|mutex|sem_|futex|syscall|clock_|gettimeofday|"
                       r"time$|nanosleep|sched_|mmap|munmap|brk)")
FORBIDDEN_CODE = re.compile(r"\b(lock|mfence|xchg\s.*\(|rdtscp?|syscall|sysenter|int\s+\$0x80)\b")
# One full fence a turn, before the flags of sleepers are read: it is what the mesh's wake-up rests on.
FENCES = {"lp_shard_turn": 1}
# libc chooses by processor how to copy; without these it copies alike everywhere.
SAME_COPY = ("glibc.cpu.hwcaps=-AVX2,-AVX,-ERMS,-FSRM,-AVX2_Usable,-AVX_Usable,-AVX_Fast_Unaligned_Load,"
             "-AVX512F,-AVX512VL")
CLONE = re.compile(r"\.(constprop|isra|part|cold)\.?\d*|'\d+$")


class Profile:
    """Self cost by function, from the part of a callgrind file that was measured."""

    def __init__(self, text, program):
        self.cost = {}
        self.outside = set()
        self.rig = 0
        self.program = os.path.realpath(program)
        self.parse(text)

    def parse(self, text):
        names = {}
        at = {"ob": "", "fl": "", "fn": ""}
        skip = False
        for line in text.split("\n"):
            named = re.match(r"(c?)(ob|fl|fi|fe|fn)=\((\d+)\)(?: (.*))?$", line)
            if named:
                kind = {"fi": "fl", "fe": "fl"}.get(named.group(2), named.group(2))
                if named.group(4) is not None:
                    names[kind, named.group(3)] = named.group(4)
                if not named.group(1) and named.group(2) in at:
                    at[kind] = names[kind, named.group(3)]
            elif re.match(r"cfi=|cfl=|cfe=", line):
                entry = re.match(r"cf\w=\((\d+)\)(?: (.*))?$", line)
                if entry.group(2) is not None:
                    names["fl", entry.group(1)] = entry.group(2)
            elif line.startswith("calls="):
                skip = True  # the next line is what the callee cost
            elif re.match(r"[+*\-\d]", line):
                fields = line.split()
                if not skip and len(fields) > 1:
                    self.add(at, int(fields[1]))
                skip = False

    def add(self, at, cost):
        if at["fl"].endswith("tests/lib/rig.c"):
            self.rig += cost
            return
        name = CLONE.sub("", at["fn"])
        self.cost[name] = self.cost.get(name, 0) + cost
        if os.path.realpath(at["ob"]) != self.program:
            self.outside.add(name)


class Run:
    """What a variant took: {metric: of one message}, and {metric: {function: of one message}}."""

    def __init__(self, variant):
        self.variant = variant
        self.price = {}
        self.where = {}
        self.profile = None
        self.skipped = None  # why it could not be run


def ended_well(words, **options):
    done = subprocess.run(words, capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit("%s failed:\n%s" % (" ".join(words), (done.stdout + done.stderr).strip()))
    return done.stdout


class Rig:
    """The programs of a build folder."""

    def __init__(self, build):
        self.build = build
        self.path = os.path.join(build, "bench", "gate", "path")
        self.counted = self.path + "_counted"
        self.calls = os.path.join(build, "bench", "gate", "calls")
        if not os.path.exists(self.path):
            sys.exit("%s is not there: run scripts/build --all first" % self.path)
        ended_well(["ninja", "-C", build, "-j", os.environ.get("LP_JOBS", str(os.cpu_count())),
                    "bench/gate/path_counted"])
        lines = [line.split() for line in ended_well([self.path, "--list"]).strip().split("\n")]
        self.count = {name: int(count) for name, count in lines}
        self.calling = ended_well([self.calls, "--list"]).split()

    def variants(self):
        return list(self.count) + self.calling

    def run(self, variant):
        run = Run(variant)
        if variant in self.calling:
            self.run_calls(run)
        else:
            self.run_counted(run)
            self.run_callgrind(run)
        return run

    def run_calls(self, run):
        text = ended_well([self.calls, run.variant])
        if text.startswith("none: "):
            run.skipped = text[6:].strip()
            return
        calls, messages = re.match(r"calls (\d+) of \d+ messages (\d+)", text).groups()
        run.price["calls"] = int(calls) / int(messages)

    def run_callgrind(self, run):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "callgrind")
            ended_well(["valgrind", "--tool=callgrind", "--toggle-collect=lp_shard_turn",
                        "--dump-before=path_measured*", "--callgrind-out-file=" + out, self.path, run.variant],
                       env=dict(os.environ, GLIBC_TUNABLES=SAME_COPY))
            with open(out, errors="replace") as file:
                run.profile = Profile(file.read(), self.path)
        count = self.count[run.variant]
        run.where["instructions"] = {name: cost / count for name, cost in run.profile.cost.items()}
        run.price["instructions"] = sum(run.profile.cost.values()) / count

    def run_counted(self, run):
        count = self.count[run.variant]
        lines = ended_well([self.counted, run.variant]).split("\n")
        words = lines[0].split()
        total = {words[i]: int(words[i + 1]) for i in range(0, len(words), 2)}
        if total["taken"] == 0:
            sys.exit("path_counted %s: no block was taken, which cannot be. Are lp_memory_alloc() and "
                     "lp_pool_alloc()\nno longer functions that are called? counted.c counts what the linker "
                     "can --wrap." % run.variant)
        run.price.update({"blocks": max(total["taken"], total["given"]) / count, "copied": total["copied"] / count,
                          "lines": total["lines"] / count})
        sites = [line.split()[1:] for line in lines if line.startswith("site ")]
        for name, site in zip(self.functions([site[0] for site in sites]), sites):
            for metric, value in zip(site[1::2], site[2::2]):
                where = run.where.setdefault(metric, {})
                where[name] = where.get(name, 0) + int(value) / count

    def functions(self, addresses):
        """The function that each address of path_counted is in, looked at from inside inlined ones."""
        text = subprocess.run(["addr2line", "-a", "-i", "-f", "-e", self.counted], check=True, capture_output=True,
                              text=True, input="\n".join(addresses)).stdout
        names = []
        for frames in re.split(r"^0x[0-9a-f]+\n", text, flags=re.M)[1:]:
            inside = [name for name in frames.split("\n")[::2] if name and not name.startswith("counted_")]
            names.append(CLONE.sub("", inside[0]) if inside else "?")
        return names


def forbidden_functions(profile):
    """Names that a message must not reach."""
    return sorted(name for name in profile.cost
                  if (name in profile.outside and not LIBRARY.match(name))
                  or (name not in profile.outside and not name.startswith(("lp_", "amqp091_", "classic_", "engine_"))
                      and FORBIDDEN.match(name)))


def code_of(program):
    """{function: its instructions} of the program."""
    text = ended_well(["objdump", "-d", "--no-show-raw-insn", program])
    code = {}
    name = None
    for line in text.split("\n"):
        head = re.match(r"[0-9a-f]+ <(.*)>:$", line)
        if head:
            name = re.sub(r"\.(constprop|isra|part|cold)\.?\d*", "", head.group(1))
        elif name and "\t" in line:
            code.setdefault(name, []).append(line.split("\t", 1)[1])
    return code


def forbidden_code(code, names):
    found = []
    for name in sorted(names):
        hits = [line.strip() for line in code.get(name, []) if FORBIDDEN_CODE.search(line)]
        if len(hits) > FENCES.get(name, 0):
            found.append("%s: %s" % (name, "; ".join(hits)))
    return found
