# An interactive shell on a terminal: line editing, Ctrl-C, Ctrl-Z, fg, the window's size.
# driver: yes
# limit: 60
"""Types at a shell on a pseudo-terminal as a person would, and prints what it says, section by section."""
import fcntl, os, pty, re, select, signal, struct, sys, termios, time

launch = [sys.argv[1], "do", "--"] if len(sys.argv) > 1 else []
PROMPT = b"ready> "


def size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


pid, terminal = pty.fork()
if pid == 0:
    time.sleep(0.1)
    os.environ.update(PS1=PROMPT.decode(), TERM="dumb", HISTFILE="")
    shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
    os.execvp((launch + shell)[0], launch + shell)
size(terminal, 24, 80)


def until(what, seconds=15):
    """What comes up to and including `what`."""
    got, deadline = b"", time.monotonic() + seconds
    while what not in got:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            print("expected", what, "found", got[-300:])
            sys.stdout.flush()
            os.kill(pid, signal.SIGKILL)
            sys.exit(1)
        try:
            data = os.read(terminal, 4096)
        except OSError:
            data = b""
        if not data:
            print("expected", what, "found the end after", got[-300:])
            sys.exit(1)
        got += data
    return got


def say(command):
    os.write(terminal, command.encode() + b"\n")


def shown(got):
    """Without the prompt, the line typed, and what differs from run to run."""
    text = got.decode(errors="replace").replace("\r\n", "\n").replace(PROMPT.decode(), "")
    # When the shell tells of a job's end is its own affair.
    lines = [line for line in text.split("\n")[1:] if not re.match(r"\[\d\]|bash: warning", line)]
    print("\n".join(lines).strip())


def ask(command):
    say(command)
    shown(until(PROMPT))


def section(name):
    print("==", name, flush=True)


section("start")
until(PROMPT)
ask("echo hello")
ask("test -t 0 && test -t 1 && echo terminal")
ask("tty | sed 's/[0-9]*$/N/'")
ask("ps -o stat= -p $$ | cut -c1-2")
section("editing")
os.write(terminal, b"echo onex\x7f two\n")
got = until(PROMPT)
print(re.findall(rb"\r\none two\r\n", got))
os.write(terminal, b"cat\nline\n\x04")
print(until(PROMPT).count(b"line"))
section("interrupt")
say("sleep 60; echo never")
time.sleep(0.5)
os.write(terminal, b"\x03")
until(PROMPT)
ask("echo status $?")
say("(trap 'echo caught; exit 3' INT; echo set; while :; do sleep 0.05; done)")
until(b"set\r\n")
os.write(terminal, b"\x03")
print(b"caught" in until(PROMPT))
ask("echo status $?")
section("quit")
say("ulimit -c 0; sleep 60")
time.sleep(0.5)
os.write(terminal, b"\x1c")
until(PROMPT)
ask("echo status $?")
section("stop")
say("cat")
time.sleep(0.5)
os.write(terminal, b"\x1a")
print(b"Stopped" in until(PROMPT))
ask("jobs | sed 's/^/:/' | tr -s ' '")
say("fg")
until(b"cat\r\n")
os.write(terminal, b"again\n")
print(until(b"again\r\nagain\r\n").endswith(b"again\r\nagain\r\n"))
os.write(terminal, b"\x1a")
until(PROMPT)
ask("kill -9 %1; sleep 0.3; wait %1; echo status $?")
section("background")
ask("cat & sleep 0.5")
ask("jobs | sed 's/^/:/' | tr -s ' '")
ask("kill -9 %1; sleep 0.3; wait %1; echo status $?")
ask("sh -c 'sleep 0.1; echo from behind' & wait")
section("size")
ask("stty size")
size(terminal, 40, 132)
ask("sleep 0.3; stty size")
say("bash -c 'trap \"stty size; exit\" WINCH; echo up; while :; do sleep 0.05; done'")
until(b"up\r\n")
size(terminal, 30, 100)
print(b"30 100" in until(PROMPT))
section("modes")
ask("stty -echo; stty -a | grep -o -- '-echo ' ; stty echo")
ask("stty -icanon min 1; head -c 0; stty icanon; stty -a | grep -c ' icanon'")
ask("stty | head -n 1")
section("end")
say("exit 5")
deadline = time.monotonic() + 15
while time.monotonic() < deadline:
    try:
        if not os.read(terminal, 4096):
            break
    except OSError:
        break
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
