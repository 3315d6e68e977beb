# SPDX-License-Identifier: Apache-2.0
"""rabbitmq_ctl - rabbitmqctl as one process that does command after command.

rabbitmqctl starts an Erlang machine for each command, which takes a second, and several on a busy
machine. This starts one, loads rabbitmqctl's own code from its archive, and has it do one command
line after the other: some milliseconds each.
"""
import base64
import os
import select
import shutil
import subprocess
import time
import zipfile

ANSWER_S = 300.0        # for the first, on a machine that is very busy
END = b"\x01"           # begins the line that ends an answer

# A line of stdin holds the words in base64, each behind a dot, for a word may be empty. What
# rabbitmqctl's handle_shutdown would print before it halts is printed here: the next command follows.
PROGRAM = r"""
{ok, _} = application:ensure_all_started(elixir), ok = application:load(rabbitmqctl),
logger:set_primary_config(level, error), io:setopts([{encoding, unicode}]),
Ctl = 'Elixir.RabbitMQCtl', Config = 'Elixir.RabbitMQ.CLI.Core.Config',
Output = 'Elixir.RabbitMQ.CLI.Core.Output',
Print = fun(Said, Command, Options) ->
  Text = Output:format_output(Said, Config:get_formatter(Command, Options), Options),
  Ctl:handle_command_output(Output:print_output(Text, Config:get_printer(Command, Options), Options),
                            Command, Options, fun(Done, _, _) -> Done end) end,
Loop = fun Loop() ->
  case io:get_line("") of
    eof -> halt(0);
    Line ->
      Words = [base64:decode(Word) || <<$., Word/binary>> <- string:lexemes(Line, " \n")],
      Done = try Ctl:exec_command(Words, Print)
             catch Class:Why -> {error, 70, iolist_to_binary(io_lib:format("~p", [{Class, Why}]))} end,
      Code = case Done of
        {error, Number, nil} -> Number;
        {_, Number, Lines} when is_integer(Number) ->
          [io:format("~ts~n", [One]) || One <- if is_list(Lines) -> Lines; true -> [Lines] end], Number;
        _ -> 0 end,
      io:format("~n~c~b~n", [1, Code]), Loop()
  end end, Loop().
"""


class Controller:
    """Of one node. `enter`, `home`, `inside` and `environment` are lib/rabbitmq.py's."""

    def __init__(self, broker):
        self.broker, self.process, self.folder = broker, None, os.path.join(broker.work, "cli")

    def start(self):
        broker = self.broker
        with zipfile.ZipFile(os.path.join(broker.root + broker.home, "escript", "rabbitmqctl")) as archive:
            archive.extractall(self.folder)
            code = {os.path.dirname(name) for name in archive.namelist() if name.endswith(".app")}
        line = [*broker.enter, "erl", "-boot", "start_clean", "-noshell", "-hidden", "-start_epmd", "false",
                "-kernel", "inet_dist_use_interface", "{127,0,0,1}",
                "-pa", *(os.path.join(broker.inside, "cli", folder) for folder in code), "-eval", PROGRAM]
        self.process = subprocess.Popen(
            line, env={**broker.environment, "ERL_LIBS": broker.home + "/plugins"}, cwd=broker.work,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def run(self, *words, check=True):
        """A command; a CompletedProcess as of rabbitmqctl, which says on stderr what went wrong."""
        if self.process is None or self.process.poll() is not None:
            self.start()
        line = ["--script-name", "rabbitmqctl", "-n", self.broker.environment["RABBITMQ_NODENAME"], *words]
        self.process.stdin.write(b" ".join(b"." + base64.b64encode(word.encode()) for word in line) + b"\n")
        self.process.stdin.flush()
        text, code = self.answer(words)
        if code and check:
            raise subprocess.CalledProcessError(code, words, "", text)
        return subprocess.CompletedProcess(words, code, "" if code else text, text if code else "")

    def answer(self, words):
        """(what was printed, exit code)"""
        said, until, stream = b"", time.monotonic() + ANSWER_S, self.process.stdout.fileno()
        while b"\n" + END not in said or not said.endswith(b"\n"):
            left = until - time.monotonic()
            ready = left > 0 and select.select([stream], [], [], left)[0]
            data = os.read(stream, 65536) if ready else b""
            if not data:
                self.end()
                raise RuntimeError("no answer to rabbitmqctl %s\n%s" % (" ".join(words), said.decode()))
            said += data
        text, _, code = said.rpartition(b"\n" + END)
        return text.decode(), int(code)

    def end(self):
        """By process id; without a word, for it keeps nothing."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)
