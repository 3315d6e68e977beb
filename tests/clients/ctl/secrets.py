# SPDX-License-Identifier: Apache-2.0
"""encode, decode, encrypt_conf_value, decrypt_conf_value, list_ciphers, list_hashes."""
import json
import os
import subprocess

import broker as broker_module
from ctl.base import CtlTest

USAGE = "%s value passphrase [--cipher <cipher>] [--hash <hash>] [--iterations <iterations>]"
WRONG = ("Error:\nFailed to decrypt the value. Things to check: is the passphrase correct? Are the cipher and hash "
         "algorithms the same as those used for encryption?\n")
# What rabbitmqctl 4.0.5 made of <<"vector">>, or with the defaults of "secret", and a passphrase of "pass".
MADE = {
    "aes_256_ctr": "yIWdNwmJLtEMWF3kvStBjmCttfdby2sV4DzS1IFV3b2fJFNlooev4bpJ5doB",
    "blowfish_cbc": "t7SDe6rDriPdTKh6SpRqza4M63fBgi+olQbwZWiRndcsd1g+reiiWg==",
    "des_ede3_cbc": "83VgVTMvUjGd1al4WqSKwz5K+nF4JWT6edC80vMcJsCA2rynFECP2g==",
    "rc4": "zMw37jEFZROgsjnrW0TZakUfir9+tAmW1iSbUEc=",
    "chacha20": "3gCDGPwt/pNzgLPydDixOltQpco59XOOjcRWKESKC03wvxIw3PN9S/yzWbEM",
    "sm4_cfb": "UECpr4LG0n4GNzhab9JLQ90/9Yd8lkZxvUKzXjaD+OsLhlRGI7X2jucmE9pP",
    "rc2_cbc": "HRWbi+JH0oeKKViVxE3TpjfJ3rmLIWSL10OLCC3zAikyTDGWQW79jA==",
}
SECRET = "encrypted:F1cRSjOhbIpiJ1vC5gUIVX9EUV/EC6XvgYFiXIcXBp8omOt+t26FUn21dD6C/EDe"


class Secrets(CtlTest):
    def test_what_there_is(self):
        self.says("list_hashes", "Listing supported hash algorithms ...\n"
                  "[blake2s,blake2b,sm3,shake256,shake128,sha3_512,sha3_384,sha3_256,sha3_224,\n"
                  " sha512,sha384,sha256,sha224,sha,ripemd160,md5,md4]\n")
        said = self.does("list_ciphers")
        self.assertTrue(said.out.startswith("Listing supported ciphers ...\n[chacha20,aes_256_ofb,"), said.out)
        self.assertEqual(json.loads(self.does("--formatter json list_hashes").out)["value"][:2], ["blake2s", "blake2b"])

    def test_what_4_0_5_encrypted_is_read(self):
        self.says(["decrypt_conf_value", '"%s"' % SECRET, "pass"],
                  'Decrypting a rabbitmq.conf string value...\n"secret"\n')
        for cipher, value in MADE.items():
            self.says(["-q", "decode", '{encrypted,<<"%s">>}' % value, "pass", "--cipher", cipher, "--hash", "sha3_512",
                       "--iterations", "7"], '<<"vector">>\n')
        said = self.does(["--formatter", "json", "decrypt_conf_value", '"%s"' % SECRET, "pass"])
        self.assertEqual(json.loads(said.out)["value"], list(b"secret"))

    def test_what_is_encrypted_is_read_again(self):
        for value in ('"a\\"b"', '<<"abc">>', "atom", "{a,[1,2000],<<>>}", "[]"):
            said = self.does(["encode", value, "p w"])
            self.assertTrue(said.out.startswith("Encrypting value to be used in advanced.config...\n{encrypted,<<\""))
            self.says(["-q", "decode", said.out.splitlines()[1], "p w"], value + "\n")
        said = self.does(["encrypt_conf_value", '"abc"', "p", "--cipher", "aes_256_cbc", "--iterations", "20"])
        first, second = said.out.splitlines()
        self.assertEqual(first, "Encrypting value to be used in rabbitmq.conf...")
        self.says(["-q", "decrypt_conf_value", '"%s"' % second, "p", "--cipher", "aes_256_cbc", "--iterations", "20"],
                  '"abc"\n')

    def test_mistakes(self):
        for command in ("encode", "encrypt_conf_value"):
            usage = USAGE % command
            self.misused(command + " a b c", "too many arguments.", usage)
            self.misused(command + " --cipher x a b", "Bad argument: The requested cipher is not supported.", usage, 65)
            self.misused(command + " --hash x a b", "Bad argument: The requested hash is not supported", usage, 65)
            self.misused(command + " --iterations 0 a b",
                         "Bad argument: The requested number of iterations is incorrect", usage, 65)
        for command in ("decode", "decrypt_conf_value"):
            usage = USAGE % command
            self.misused(command, "not enough arguments: Please provide a value to decode and a passphrase", usage)
            self.misused(command + " --cipher x a b", "Bad argument: The requested cipher is not supported", usage, 65)
            self.misused(command + " --iterations 0 a b", "Bad argument: The requested number of iterations is "
                         "incorrect (must be a positive integer)", usage, 65)

    def test_what_cannot_be_done(self):
        for words, banner, error in (
                (["decrypt_conf_value", '"%s"' % SECRET, "other"], "Decrypting a rabbitmq.conf string value...\n", WRONG),
                (["decrypt_conf_value", SECRET, "pass"], "Decrypting a rabbitmq.conf string value...\n", WRONG),
                (["encrypt_conf_value", "Variable", "pass"], "Encrypting value to be used in rabbitmq.conf...\n",
                 "Error:\nError during cipher operation\n")):
            said = self.run_tool(words)
            self.assertEqual((said.code, said.err), (69, error), said)
            self.assertTrue(said.out.startswith(banner))
            if self.is_lepus:   # RabbitMQ shows a stack trace between the two
                self.assertEqual(said.out, banner)

    def test_value_and_passphrase_may_come_from_standard_input(self):
        if not self.is_lepus:
            self.skipTest("rabbitmqctl does not always see the end of its input")
        said = self.does("encrypt_conf_value", stdin='"abc"\npassphrase\n')
        self.assertIn("\nValue to encode: \nPassphrase: \nencrypted:", said.out)
        self.says(["-q", "decrypt_conf_value", '"%s"' % said.out.splitlines()[-1]], '"abc"\n', stdin="passphrase\n")
        self.says("-q encode", "", "Error:\nnot_enough_args\n", 69)

    def test_each_reads_what_the_other_has_encrypted(self):
        if self.is_lepus:
            self.skipTest("needs RabbitMQ's tools beside ours")

        def ours(*words):
            line = [os.path.join(broker_module.binaries(), "lepusctl"), "-q", *words]
            return subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
        ciphers = self.does("-q --formatter json list_ciphers").out
        self.assertEqual(sorted(json.loads(ciphers)["value"]),
                         sorted(json.loads(ours("--formatter", "json", "list_ciphers"))["value"]))
        for cipher, hash_name in (("aes_128_cbc", "sha256"), ("aes_192_cfb8", "md4"), ("des_cbc", "blake2s"),
                                  ("rc4", "sha"), ("aes_ctr", "sha3_224"), ("sm4_ctr", "sm3")):
            more = ["--cipher", cipher, "--hash", hash_name, "--iterations", "3"]
            self.says(["-q", "decode", ours("encode", '<<"to you">>', "p", *more), "p", *more], '<<"to you">>\n')
            theirs = self.does(["-q", "encode", '"to us"', "p", *more]).out.strip()
            self.assertEqual(ours("decode", theirs, "p", *more), '"to us"')
