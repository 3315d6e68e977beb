# SPDX-License-Identifier: Apache-2.0
"""users - users, their passwords and tags, their rights."""
import json

from ctl.base import DONE, CtlTest

ADD_USER = "add_user <username> [<password>] [<password_hash> --pre-hashed-password]"
BLANK = (" attempted to log in with a blank password, which is prohibited by the internal authN "
         "backend. To use TLS/x509 certificate-based authentication, see the "
         "rabbitmq_auth_mechanism_ssl plugin and configure the client to use the EXTERNAL "
         "authentication mechanism. Alternatively change the password for the user to be "
         "non-blank.\n")


def failed(text):
    return "Error:\n%s\n" % text


class Users(CtlTest):
    def tearDown(self):
        for name in ("u1", "u2", "u3", "u4", "u5", "u é"):
            self.run_tool(["delete_user", name])

    def test_users_come_and_go_with_rabbitmqctls_words(self):
        self.all_say([
            ("add_user u1 p1", 'Adding user "u1" ...\n' + DONE),
            ("add_user u1 p1", 'Adding user "u1" ...\n', failed('User "u1" already exists'), 70),
            ("add_user u2 p2 -q",),
            ("add_user u3 p3 -s",),
            ("add_user u4 ''", 'Adding user "u4" ...\n' + DONE),
            ("add_user 'u é' p", 'Adding user "u é" ...\n' + DONE),
            ("delete_user u2", 'Deleting user "u2" ...\n'),
            ("delete_user u2", 'Deleting user "u2" ...\n'),
        ])
        rows = self.does("list_users").rows()
        self.assertIn(("u1", "[]"), rows)
        self.assertIn(("u é", "[]"), rows)
        self.assertNotIn(("u2", "[]"), rows)

    def test_users_in_json(self):
        said = self.does("add_user u1 p1 --formatter json")
        self.assertEqual(json.loads(said.out), {"message": DONE.strip(), "node": "NODE", "status": "ok"})
        for words, message in (("add_user u1 p1", "User u1 already exists"),
                               ("change_password nope p", "User nope does not exists"),
                               ("set_user_tags nope x", "User nope does not exists")):
            said = self.run_tool(words + " --formatter json")
            self.assertEqual((json.loads(said.err), said.out, said.code),
                             ({"message": message, "node": "NODE", "result": "error"}, "", 69))
        for words in ("change_password u1 p2", "set_user_tags u1 monitoring", "delete_user u1"):
            said = self.does(words + " --formatter json")
            self.assertEqual(json.loads(said.out), {"node": "NODE", "result": "ok"})

    def test_mistakes_are_explained_before_anything_is_done(self):
        self.misused("add_user", "not enough arguments.", ADD_USER)
        self.misused("list_users x", "too many arguments.",
                     "list_users [--no-table-headers] [--timeout <timeout>]")
        self.misused("list_users --bogus", "Invalid options for this command:\n--bogus : ",
                     "list_users [--no-table-headers] [--timeout <timeout>]")
        self.misused("list_users --timeout abc",
                     "Invalid options for this command:\n--timeout : abc",
                     "list_users [--no-table-headers] [--timeout <timeout>]")
        self.misused("set_permissions u1 a b", "not enough arguments.",
                     "set_permissions [--vhost <vhost>] <username> <conf> <write> <read>")
        self.misused("list_user_permissions", "not enough arguments.",
                     "list_user_permissions [--no-table-headers] <username> [--timeout <timeout>]")
        self.misused("set_user_tags", "not enough arguments.",
                     "set_user_tags <username> <tag> [...]")

    def test_a_password_in_a_mistake_is_not_repeated(self):
        """Not so in RabbitMQ, which prints it."""
        if not self.is_lepus:
            self.skipTest("Lepus only")
        said = self.run_tool("add_user '' s3cret")
        self.assertEqual(said.code, 65)
        self.assertNotIn("s3cret", said.err)
        self.assertIn("user cannot be an empty string", said.err)

    def test_passwords(self):
        self.user("u1", "p1")
        self.user("u4", "")
        auth = 'Authenticating user "%s" ...\n'
        refused = 'Error:\nError: failed to authenticate user "%s"\nuser \'%s\''
        self.all_say([
            ("authenticate_user u1 p1", auth % "u1" + "Success\n"),
            ("authenticate_user u1 p1 -q", "Success\n"),
            ("authenticate_user u1 bad", auth % "u1",
             refused % ("u1", "u1") + " - invalid credentials\n", 65),
            ("authenticate_user nope bad", auth % "nope",
             refused % ("nope", "nope") + " - invalid credentials\n", 65),
            ("authenticate_user u4 ''", auth % "u4", refused % ("u4", "u4") + BLANK, 65),
            ("change_password u1 p2", 'Changing password for user "u1" ...\n'),
            ("change_password nope p2", 'Changing password for user "nope" ...\n',
             failed('User "nope" does not exist'), 67),
            ("authenticate_user u1 p2 -q", "Success\n"),
            ("clear_password u1", 'Clearing password for user "u1" ...\n'),
            ("clear_password nope", 'Clearing password for user "nope" ...\n',
             failed('{:no_such_user, "nope"}'), 69),
            ("authenticate_user u1 p2", auth % "u1",
             refused % ("u1", "u1") + " - invalid credentials\n", 65),
        ])
        self.assertEqual(json.loads(self.does("authenticate_user guest guest --formatter json").out),
                         {"message": "Success"})

    def test_a_password_may_come_from_standard_input(self):
        self.says("add_user u1", 'Adding user "u1" ...\nPassword: \n' + DONE, stdin="from stdin\n")
        if self.is_lepus:  # RabbitMQ's tool waits for ever when it is quiet
            self.says("authenticate_user u1 -q", "Success\n", stdin="from stdin\n")
        self.says("add_user u2", 'Adding user "u2" ...\nPassword: \n',
                  failed("Password is not provided via argument or stdin"), 65)
        self.says("change_password u1", 'Changing password for user "u1" ...\nPassword: \n',
                  failed("Password is not provided via argument or stdin"), 70)

    def test_a_hashed_password_can_be_given(self):
        said = self.does("hash_password 'a secret'")
        self.assertEqual(said.out.splitlines()[0], "Will hash password a secret")
        hashed = said.out.splitlines()[1]
        self.assertEqual(len(hashed), 48)
        self.says(["add_user", "u5", hashed, "--pre-hashed-password"],
                  'Adding user "u5" ...\n' + DONE)
        self.says(["authenticate_user", "u5", "a secret", "-q"], "Success\n")
        said = self.run_tool("add_user u1 xx --pre-hashed-password")
        self.assertEqual((said.out, said.code), ("", 65))
        self.assertIn("Bad argument: Could not Base64 decode provided password hash value", said.err)

    def test_tags(self):
        self.user("u1")
        self.all_say([
            ("set_user_tags u1 a b", 'Setting tags for user "u1" to [a, b] ...\n'),
            ("set_user_tags u1 administrator monitoring -q",),
            ("set_user_tags nope x", 'Setting tags for user "nope" to [x] ...\n',
             failed('User "nope" does not exist'), 67),
        ])
        self.assertIn(("u1", "[administrator, monitoring]"), self.does("list_users").rows())
        rows = json.loads(self.does("list_users --formatter json").out)
        self.assertIn({"user": "u1", "tags": ["administrator", "monitoring"]}, rows)
        self.says("set_user_tags u1", 'Setting tags for user "u1" to [] ...\n')
        self.assertIn(("u1", "[]"), self.does("list_users").rows())


class Permissions(CtlTest):
    def setUp(self):
        self.user("u1")
        self.vhost("v1")

    def test_permissions_are_set_listed_and_cleared(self):
        setting = 'Setting permissions for user "%s" in vhost "%s" ...\n'
        self.all_say([
            ("set_permissions u1 ^a ^b .*", setting % ("u1", "/")),
            ("set_permissions -p v1 u1 '' ^b .*", setting % ("u1", "v1")),
            ("set_permissions nope ^a ^b .*", setting % ("nope", "/"),
             failed("User nope does not exist"), 67),
            ("set_permissions -p nope u1 ^a ^b .*", setting % ("u1", "nope"),
             failed("Virtual host nope does not exist"), 69),
            ("list_permissions -p v1", 'Listing permissions for vhost "v1" ...\n'
             "user\tconfigure\twrite\tread\nu1\t\t^b\t.*\n"),
            ("list_permissions -p v1 -q", "user\tconfigure\twrite\tread\nu1\t\t^b\t.*\n"),
            ("list_permissions -p v1 -s", "u1\t\t^b\t.*\n"),
            ("list_permissions -p v1 --no-table-headers",
             'Listing permissions for vhost "v1" ...\nu1\t\t^b\t.*\n'),
            ("list_permissions -p nope", 'Listing permissions for vhost "nope" ...\n',
             "Virtual host 'nope' does not exist\n", 65),
            ("list_user_permissions nope", 'Listing permissions for user "nope" ...\n',
             failed('{:no_such_user, "nope"}'), 69),
            ("clear_permissions u1", 'Clearing permissions for user "u1" in vhost "/" ...\n'),
            ("list_user_permissions u1", 'Listing permissions for user "u1" ...\n'
             "vhost\tconfigure\twrite\tread\nv1\t\t^b\t.*\n"),
            ("clear_permissions nope", 'Clearing permissions for user "nope" in vhost "/" ...\n'),
            ("clear_permissions -p nope u1",
             'Clearing permissions for user "u1" in vhost "nope" ...\n'),
            ("clear_permissions -p v1 u1 -q",),
            # An empty list that is no stream is a line.
            ("list_permissions -p v1", 'Listing permissions for vhost "v1" ...\n\n'),
            ("list_permissions -p v1 --formatter json", "[]\n"),
        ])

    def test_permissions_in_json(self):
        self.does("set_permissions -p v1 u1 ^a ^b .*")
        self.assertEqual(json.loads(self.does("list_permissions -p v1 --formatter json").out),
                         [{"user": "u1", "configure": "^a", "write": "^b", "read": ".*"}])
        for words, message in (("set_permissions nope a b c", "User nope does not exist"),
                               ("set_permissions -p nope u1 a b c", "Virtual host nope does not exist")):
            said = self.run_tool(words + " --formatter json")
            self.assertEqual((json.loads(said.err), said.out, said.code),
                             ({"message": message, "node": "NODE", "result": "error"}, "", 69))

    def test_permissions_for_all_virtual_hosts_at_once(self):
        setting = 'Setting permissions for user "%s" in all virtual hosts ...\n'
        self.all_say([
            ("set_permissions_globally u1 a b c", setting % "u1"),
            ("set_permissions_globally nope a b c", setting % "nope",
             failed("User nope does not exist"), 67),
        ])
        rows = self.does("list_user_permissions u1").rows()
        self.assertIn(("/", "a", "b", "c"), rows)
        self.assertIn(("v1", "a", "b", "c"), rows)

    def test_a_pattern_that_does_not_compile_is_refused(self):
        """The words about the place are PCRE's, and PCRE 8's differ from PCRE 10's."""
        for pattern in ("(", "*", "["):
            said = self.run_tool(["set_permissions", "u1", ".*", pattern, ".*"])
            self.assertEqual(said.out, 'Setting permissions for user "u1" in vhost "/" ...\n')
            self.assertTrue(said.err.startswith('Error:\n{:invalid_regexp, ~c"%s", ' % pattern),
                            said.err)
            self.assertEqual(said.code, 69)
