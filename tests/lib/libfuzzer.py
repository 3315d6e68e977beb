# SPDX-License-Identifier: Apache-2.0
"""How a fuzz target is run: by scripts/test, which has to do the same each time, and by tests/fuzz/long, which searches."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SANITIZERS = {"UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


def corpus_of(name):
    """The files of a target's corpus in an order that no file system decides."""
    folder = os.path.join(ROOT, "tests", "fuzz", "corpus", name)
    return sorted(os.path.join(folder, file) for file in os.listdir(folder)) if os.path.isdir(folder) else []


def without_randomized_addresses():
    """What to run a program with so that its addresses, which libFuzzer takes for words of the format, are always the
    same; nothing where that is not allowed, as in some containers."""
    words = ["setarch", "--addr-no-randomize"]
    return words if subprocess.run(words + ["true"], stderr=subprocess.DEVNULL).returncode == 0 else []


def run(build, name, seconds, inputs, broke, log, seed=0):
    """The exit code of one run: from the corpus and what is in the folder `inputs`, to which it adds, for so many
    seconds; what broke it goes to files `broke`-..., what it says to the file `log`. With the same seed and no inputs
    but the corpus it does the same again; 0 is another seed each time."""
    line = without_randomized_addresses()
    line += [os.path.join(build, "tests", "fuzz", name), "-seed=%d" % seed, "-max_total_time=%d" % seconds,
             "-timeout=25", "-rss_limit_mb=2048", "-print_final_stats=1", "-artifact_prefix=%s-" % broke,
             "-entropic=0"]  # with it one run of fuzz_connection took as long as seventy without
    corpus = corpus_of(name)
    if corpus:
        names = log + ".corpus"
        with open(names, "w") as file:
            file.write(",".join(corpus))
        line.append("-seed_inputs=@" + names)
    with open(log, "wb") as said:
        return subprocess.run(line + [inputs], env={**SANITIZERS, **os.environ}, stdout=said, stderr=subprocess.STDOUT,
                              timeout=seconds + 300).returncode
