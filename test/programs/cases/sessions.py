# Sessions on a terminal: dash's job control, hang-ups, full-screen programs, terminals within the terminal, signals.
# driver: yes
# needs: dash less vim top script tmux screen
# limit: 120
"""What a person sees of a session on a pseudo-terminal, and how it ends."""
import fcntl, json, os, pty, re, select, signal, struct, subprocess, sys, termios, time

launch = [sys.argv[1], "do", "--"] if len(sys.argv) > 1 else []
PROMPT = b"ready> "
SECONDS = 15


def status(returncode):
    """As a shell shows it, whether a signal or the sandbox that passes it on is what ended."""
    return returncode if returncode >= 0 else 128 - returncode


class Session:
    """A command on a terminal of its own; what it says on standard error comes through a pipe if asked for."""

    def __init__(self, *command, errors=False, prefix=None):
        self.errors, behind = os.pipe() if errors else (-1, -1)
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            if errors:
                os.dup2(behind, 2)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.environ.update(PS1=PROMPT.decode(), TERM="vt100", HISTFILE="", ENV="", LINES="", COLUMNS="")
            for name in ("LINES", "COLUMNS"):
                del os.environ[name]
            argv = [*(launch if prefix is None else prefix), *command]
            os.execvp(argv[0], argv)
        if errors:
            os.close(behind)
        self.got = b""

    def until(self, what, seconds=SECONDS):
        """What comes up to and including `what`; the rest stays for the next time."""
        deadline = time.monotonic() + seconds
        while what not in self.got:
            left = deadline - time.monotonic()
            data = b""
            if left > 0 and select.select([self.terminal], [], [], left)[0]:
                try:
                    data = os.read(self.terminal, 4096)
                except OSError:
                    pass
            if not data:
                print("expected", what, "found", self.got[-300:], flush=True)
                raise TimeoutError
            self.got += data
        end = self.got.index(what) + len(what)
        seen, self.got = self.got[:end], self.got[end:]
        return seen

    def keys(self, what):
        os.write(self.terminal, what if isinstance(what, bytes) else what.encode())

    def ask(self, line):
        """Gives a shell a line, and shows what it prints before it prompts again."""
        self.keys(line + "\n")
        shown = self.until(PROMPT).decode(errors="replace").replace("\r\n", "\n").split("\n", 1)[-1]
        print(shown.replace(PROMPT.decode(), "").strip())

    def asleep(self):
        """Until the shell's child has surely begun."""
        time.sleep(0.5)

    def rest(self):
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and select.select([self.terminal], [], [], 1)[0]:
            try:
                data = os.read(self.terminal, 4096)
            except OSError:
                break
            if not data:
                break
            self.got += data
        return self.got

    def end(self):
        """Its exit status."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            pid, how = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return status(os.waitstatus_to_exitcode(how))
            self.drain()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return "it did not end"

    def drain(self):
        if self.terminal >= 0 and select.select([self.terminal], [], [], 0.02)[0]:
            try:
                self.got += os.read(self.terminal, 4096)
            except OSError:
                time.sleep(0.02)
        else:
            time.sleep(0.02)

    def hang_up(self):
        os.close(self.terminal)
        self.terminal = -1

    def said(self):
        """All that came through the pipe, up to its end."""
        said = b""
        while select.select([self.errors], [], [], SECONDS)[0]:
            data = os.read(self.errors, 4096)
            if not data:
                return said
            said += data
        return said + b" and no end"


def section(name):
    print("==", name, flush=True)


def dash(command=("dash", "-i"), prefix=None):
    s = Session(*command, prefix=prefix)
    s.until(PROMPT)
    s.ask("echo $-| grep -o m")
    s.keys("sleep 60\n")
    s.asleep()
    s.keys("\x03")
    s.until(PROMPT)
    s.ask("echo status $?")
    s.keys("ulimit -c 0; sleep 60\n")
    s.asleep()
    s.keys("\x1c")
    s.until(PROMPT)
    s.ask("echo status $?")
    s.keys("cat\n")
    s.asleep()
    s.keys("\x1a")
    s.until(PROMPT)
    s.ask("echo status $?")
    s.ask("jobs")
    s.keys("fg\n")
    s.until(b"cat\r\n")
    s.keys("typed\n")
    s.until(b"typed\r\ntyped\r\n")
    s.keys("\x04")
    s.until(PROMPT)
    s.ask("sleep 61 & sleep 0.2; jobs | sed 's/ *[0-9]* / /'")
    s.ask("kill -STOP %1; sleep 0.3; jobs | tr -s ' '")
    s.ask("bg %1; sleep 0.2; jobs | tr -s ' '")
    s.ask("kill -TERM %1; sleep 0.3; wait %1; echo status $?")
    # In the background it may not read, but may write, unless it is told otherwise.
    s.ask("cat & sleep 0.4; jobs | tr -s ' '")
    s.ask("kill -9 %1; sleep 0.3; wait %1; echo status $?")
    s.ask("stty tostop; echo unseen & sleep 0.4; jobs | tr -s ' '; stty -tostop")
    s.ask("fg")
    s.keys("\x04")
    print(s.end())


def bundle():
    """The same from a bundle that asks for a terminal. Natively there are no bundles."""
    if not launch:
        return dash()
    environment = [f"PS1={PROMPT.decode()}", "TERM=vt100", "PATH=" + os.environ["PATH"], "ENV="]
    config = {
        "ociVersion": "1.0.2",
        "process": {"terminal": True, "user": {"uid": 0, "gid": 0}, "args": ["dash", "-i"], "cwd": "/", "env": environment},
        "root": {"path": "/", "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts", "options": ["newinstance", "ptmxmode=0666"]},
        ],
    }
    os.mkdir("bundle")
    with open("bundle/config.json", "w") as f:
        json.dump(config, f)
    sandbox = [launch[0], f"--root={os.getcwd()}/state", "run", "--bundle", "bundle", "shell"]
    dash(sandbox, prefix=())


def bash_history():
    """readline takes the terminal out of canonical mode, and puts it back for what it runs."""
    s = Session("bash", "--norc", "--noprofile", "-i")
    s.until(PROMPT)
    s.keys("echo first\n")
    s.until(b"\rfirst\r\n")
    s.until(PROMPT)
    s.keys("\x1b[A")
    s.until(b"echo first")
    s.keys("\x7f\x7f\x7f\x7f\x7fsecond\n")
    s.until(b"\rsecond\r\n")
    s.until(PROMPT)
    s.keys("ech\x03")
    s.until(PROMPT)
    s.ask("stty -a | grep -o ' icanon\\| echo '")
    s.keys("cat\n")
    s.asleep()
    s.keys("one\x15two\n\x04")
    s.until(b"two\r\ntwo\r\n")
    s.until(PROMPT)
    s.keys("sleep 60\n")
    s.asleep()
    s.keys("\x1a")
    print(b"Stopped" in s.until(PROMPT))
    s.keys("exit\n")
    s.until(b"There are stopped jobs")
    s.until(PROMPT)
    s.keys("exit 7\n")
    print(s.end())


def hang_up(*command, words):
    s = Session(*command, errors=True)
    s.until(b"up\r\n")
    s.hang_up()
    print(words(s.said()), s.end())


def hang_ups():
    trap = "trap 'echo hup >&2; exit 3' HUP; echo up; while :; do sleep 0.1; done"
    said = lambda said: b"hup" in said and b"no end" not in said
    hang_up("bash", "-c", trap, words=said)
    hang_up("sh", "-c", "echo up; sleep 60", words=lambda said: said)
    hang_up("sh", "-c", "trap '' HUP; echo up; cat; echo end of file >&2", words=lambda said: b"end of file" in said)
    # What has a handler, or is not the session's leader, goes on, and finds the end of input, or an error just before.
    hang_up("sh", "-c", "trap : HUP; echo up; cat; echo end $? >&2", words=lambda said: b"end" in said)
    hang_up("sh", "-c", "trap '' HUP; echo up; yes; echo end $? >&2", words=lambda said: b"end 1" in said)
    # The shell tells its jobs, each of which is a process group of its own. It is not the first process: that would take
    # all others with it.
    shell = "trap : HUP; bash --norc --noprofile --noediting -i; sleep 1; exit 5"
    job = "(trap 'echo job hup >&2; exit' HUP; echo go; while :; do sleep 0.1; done)"
    for stopped in (False, True):
        s = Session("sh", "-c", shell, errors=True)
        s.keys(job + ("" if stopped else "&") + "\n")
        s.until(b"go\r\n")
        if stopped:
            s.keys("\x1a")
            s.asleep()
        s.hang_up()
        print(b"job hup" in s.said(), s.end())


def modes():
    """A terminal is as it was when all is over, also if the container has left its own raw."""
    s = Session("sh", "-c", "echo up; read x; stty raw -echo; echo down; read x; exit 4", prefix=launch)
    s.until(b"up\r\n")
    raw = not termios.tcgetattr(s.terminal)[3] & termios.ICANON
    s.keys("\n")
    s.until(b"down")
    s.keys("\n")
    print(s.end())
    after = termios.tcgetattr(s.terminal)
    # Natively there is only one terminal.
    print((raw and bool(after[3] & termios.ICANON)) if launch else True)


def size():
    s = Session("bash", "-c", "trap 'stty size' WINCH; echo up; i=0; while [ $((i++)) -lt 40 ]; do sleep 0.1; done")
    s.until(b"up\r\n")
    for rows, columns in ((30, 100), (1, 1), (50, 200)):
        fcntl.ioctl(s.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        s.until(b"%d %d\r\n" % (rows, columns))
        s.asleep()
    print(s.end())


def full_screen():
    s = Session("less", "/etc/services")
    s.until(b"/etc/services")
    s.keys("/ftp\n")
    s.until(b"ftp")
    s.keys("q")
    print("less", s.end())
    s = Session("vim", "-u", "NONE", "-i", "NONE", "-n")
    s.until(b"~")
    s.keys("ihello\x1b:s/l/L/g\n")
    s.until(b"LL")
    s.keys(":q!\n")
    print("vim", s.end())
    s = Session("top", "-d", "1")
    s.until(b"Tasks")
    s.until(b"COMMAND")
    s.keys("q")
    print("top", s.end())
    s = Session("bash", "--norc", "--noprofile", "--noediting", "-i")
    s.until(PROMPT)
    s.keys("vim -u NONE -i NONE -n\n")
    s.until(b"~")
    s.keys("itext\x1b\x1a")
    print(b"Stopped" in s.until(PROMPT))
    s.ask("stty -a | grep -o ' icanon\\| echo '")
    s.keys("fg\n")
    s.until(b"text")
    s.keys(":q!\n")
    s.until(PROMPT)
    s.keys("exit\n")
    print("bash", s.end())


def script():
    s = Session("script", "-qec", "stty size; test -t 0 && echo terminal; exit 6", "/dev/null")
    print(s.rest().replace(b"\r\n", b" "), s.end())
    s = Session("script", "-qc", f"PS1='{PROMPT.decode()}' exec dash -i", "/dev/null")
    s.until(PROMPT)
    s.keys("sleep 60\n")
    s.asleep()
    s.keys("\x03")
    s.until(PROMPT)
    s.ask("echo status $?")
    fcntl.ioctl(s.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    s.asleep()
    s.ask("stty size")
    s.keys("\x04")
    print(s.end())


def plain(*command):
    done = subprocess.run([*launch, *command], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)
    print(done.stdout.decode().strip(), done.stderr.decode().strip(), status(done.returncode))


def tmux():
    plain("sh", "-c", """
        tmux='tmux -S ./socket -f /dev/null'
        PS1='in ' ENV= $tmux new-session -d -x 60 -y 10 dash -i || exit
        # The shell's first prompt: what is typed before is echoed by the terminal.
        for i in $(seq 50); do $tmux capture-pane -p | grep -q '^in' && break; sleep 0.1; done
        $tmux send-keys 'stty size; echo $((6 * 7)) && echo ok' Enter
        for i in $(seq 50); do sleep 0.1; $tmux capture-pane -p | grep -q '^ok' && break; done
        $tmux capture-pane -p | grep -v '^$'
        $tmux send-keys 'sleep 60' Enter; sleep 0.5; $tmux send-keys C-c; sleep 0.5
        $tmux send-keys 'clear; echo status $?' Enter; sleep 0.5
        $tmux capture-pane -p | grep status
        $tmux split-window -d 'sleep 60'
        $tmux list-panes | cut -d' ' -f2
        $tmux resize-window -x 100 -y 20; $tmux kill-pane -t 1; sleep 0.3
        $tmux send-keys 'clear; stty size' Enter; sleep 0.5; $tmux capture-pane -p | grep -v '^$'
        $tmux kill-server; echo killed $?""")
    s = Session("tmux", "-S", "./socket2", "-f", "/dev/null", "new-session", "dash", "-i")
    s.until(PROMPT)
    s.keys("echo $((40 + 2)) yes\n")
    s.until(b"42 yes")
    s.keys("tmux detach\n")
    print(b"[detached" in s.until(b"[detached"), s.end())
    subprocess.run(["tmux", "-S", "./socket2", "kill-server"], capture_output=True)


def screen():
    plain("sh", "-c", """
        export SCREENDIR=$PWD/screens HOME=$PWD; mkdir -pm 700 screens
        screen -c /dev/null -dmS one dash -i || exit
        sleep 0.5
        screen -S one -X stuff 'echo $((6 * 7))^M'; sleep 0.7
        screen -S one -X hardcopy $PWD/copy; sleep 0.5
        grep -o '^42' copy
        screen -S one -X quit; sleep 0.3; screen -ls one | grep -c one""")


def signals():
    """Sent to the command itself, which has no terminal."""
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT):
        for command in ("echo up; sleep 60", f"trap 'echo caught; exit 9' {signo.name[3:]}; echo up; while :; do sleep 0.1; done"):
            os.environ.update(ENV="")
            command = ["sh", "-c", "ulimit -c 0; " + command.replace("sleep 60", "exec sleep 60")]
            with subprocess.Popen([*launch, *command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                  start_new_session=True) as run:
                run.stdout.readline()
                time.sleep(0.1)
                run.send_signal(signo)
                print(signo.name, run.stdout.read(), status(run.wait(SECONDS)))


def under_a_shell():
    """What a shell outside sees of the command: its stops, what Ctrl-C means with and without a terminal inside."""
    quoted = " ".join(launch)
    s = Session("bash", "--norc", "--noprofile", "--noediting", "-i", prefix=())
    s.until(PROMPT)
    s.keys(f"{quoted} sh -c 'echo up; while read x; do echo got $x; done'\n")
    s.until(b"up\r\n")
    with open(f"/proc/{s.pid}/task/{s.pid}/children") as children:
        command = int(children.read().split()[0])
    os.kill(command, signal.SIGTSTP)
    print(b"Stopped" in s.until(PROMPT))
    s.ask("stty -a | grep -o ' icanon\\| echo '")
    s.keys("fg\n")
    s.asleep()
    s.keys("this\n")
    s.until(b"got this")
    s.keys("\x04")
    s.until(PROMPT)
    s.ask("echo status $?; jobs")
    s.keys(f"{quoted} sleep 60\n")
    s.asleep()
    s.keys("\x03")
    s.until(PROMPT)
    s.ask("echo status $?")
    s.keys(f"{quoted} sh -c 'echo up >&2; exec sleep 60' </dev/null | cat\n")
    s.until(b"up\r\n")
    s.asleep()
    s.keys("\x03")
    s.until(PROMPT)
    s.ask("echo status ${PIPESTATUS[@]}")
    s.keys(f"{quoted} sh -c 'trap \"echo caught >&2; exit 8\" INT; echo up >&2; sleep 60; :' </dev/null | cat\n")
    s.until(b"up\r\n")
    s.asleep()
    s.keys("\x03")
    s.until(b"^C")
    s.until(PROMPT)
    s.ask("echo status ${PIPESTATUS[@]}")
    s.ask("stty -a | grep -o ' icanon\\| echo '")
    s.keys("exit\n")
    print(s.end())


for test in (dash, bundle, bash_history, hang_ups, modes, size, full_screen, script, tmux, screen, signals, under_a_shell):
    section(test.__name__)
    try:
        test()
    except (TimeoutError, OSError, subprocess.SubprocessError) as e:
        print("failed:", e)
