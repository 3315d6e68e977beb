# SPDX-License-Identifier: Apache-2.0
"""The rows about TLS: the same messages over it and without it, 1.3 with AES-256-GCM and a certificate of P-256; and
what others notice of a storm of handshakes. Lepus and RabbitMQ have the same certificate, made here."""
import contextlib
import os
import re
import shutil
import subprocess
import tempfile

import peers

BULK = "--size 16384 --auto-ack --backlog 200 "
SMALL = "--size 100 --auto-ack --backlog 1000 "
SLOW = "--size 100 --auto-ack --rate 1000 --publishers 100 "
PACED = "--size 100 --auto-ack --rate 1000 "
STORM = 4   # clients at once, each connection after the other
P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
RSA = ["-newkey", "rsa:2048"]   # what a signature costs most with, of the usual ones


@contextlib.contextmanager
def certificates(name, key=P256):
    """A folder with ca.pem, server.pem and server.key, and its name as the broker sees it."""
    root = peers.rabbitmq.root() if name == "rabbitmq" else ""
    folder = tempfile.mkdtemp(prefix="lepus-bench-tls-", dir=root + "/tmp" if root else None)
    curve = [*key, "-nodes"]
    run = lambda *words: subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)
    try:
        os.chmod(folder, 0o755)
        run("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=ca")
        run("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost")
        with open(os.path.join(folder, "server.ext"), "w") as file:
            file.write("subjectAltName=IP:127.0.0.1\n")
        run("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out",
            "server.pem", "-days", "2", "-extfile", "server.ext")
        os.chmod(os.path.join(folder, "server.key"), 0o644)
        yield folder, folder[len(root):]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def tls_port(peer, asked):
    """Lepus says which one it took; RabbitMQ was told."""
    listeners = getattr(peer.broker, "listeners", [])
    found = [one for one in listeners if one.startswith("tls:")]
    return int(found[0].rpartition(":")[2]) if found else asked


@contextlib.contextmanager
def encrypted(bench, name, key=P256):
    """A broker with a TLS listener, its port, and the folder with its certificate's authority."""
    with certificates(name, key) as (folder, inside), peers.ports.hold() as holder:
        asked = peers.ports.number(holder)
        settings = ["listeners.ssl.default=127.0.0.1:%d" % asked, "ssl_options.certfile=%s/server.pem" % inside,
                    "ssl_options.keyfile=%s/server.key" % inside, "ssl_options.cacertfile=%s/ca.pem" % inside]
        with bench.fresh(name, settings=settings) as peer:
            yield peer, tls_port(peer, asked), folder


def storm_begin(bench, port):
    """Newcomers who connect, shake hands and go, on the generator's processor, less urgent than it."""
    seconds = sum(float(word) for word in bench.timing().split()[1::2])
    line = ["nice", "-n", "19", "openssl", "s_time", "-connect", "127.0.0.1:%d" % port, "-new",
            "-time", "%d" % max(round(seconds), 1)]
    with peers.on_processor(bench.options.load_cpu):
        return [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=peers.ENV)
                for _ in range(STORM)]


def storm_end(clients):
    """Handshakes a second, of all of them."""
    found = [re.search(r"(\d+) connections in (\d+) real seconds", client.communicate()[0]) for client in clients]
    return sum(int(one.group(1)) / max(int(one.group(2)), 1) for one in found if one)


def storm(bench, name):
    """A plain connection, paced: first alone, then beside newcomers over TLS."""
    with encrypted(bench, name, RSA) as (peer, port, _):
        quiet = bench.load(peer, PACED + bench.timing())["delivery_us"]
        clients = storm_begin(bench, port)
        try:
            beside = bench.load(peer, PACED + bench.timing())["delivery_us"]
        finally:
            rate = storm_end(clients)
    return {"p50": quiet["p50"], "p99": quiet["p99"], "storm_p50": beside["p50"], "storm_p99": beside["p99"],
            "more_p99": beside["p99"] / quiet["p99"], "handshakes": rate}


def tls(bench, name):
    said = {}
    with encrypted(bench, name) as (peer, port, folder):
        over = "--port %d --tls-ca %s/ca.pem --tls-version 1.3 " % (port, folder)
        for key, args in (("small", SMALL), ("bulk", BULK), ("slow", SLOW)):
            said[key] = bench.load(peer, args + bench.timing())
            said[key + "_tls"] = bench.load(peer, over + args + bench.timing())
    out = {}
    for key in ("small", "bulk", "slow"):
        out[key] = said[key]["broker_cpu_us"]
        out[key + "_tls"] = said[key + "_tls"]["broker_cpu_us"]
        out[key + "_ratio"] = out[key + "_tls"] / out[key]
    out["p50"], out["p50_tls"] = said["slow"]["delivery_us"]["p50"], said["slow_tls"]["delivery_us"]["p50"]
    return out
