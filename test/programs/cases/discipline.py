# What a terminal makes of random bytes, modes and requests: a section for each seed.
# limit: 120
"""Scripts from seeds, so that every run does the same; what each end of a pseudo-terminal reads, counts and is told.

Arguments are seeds to try."""
import errno, fcntl, os, random, select, signal, struct, sys, termios, time, tty

SEEDS = 60
AT_ONCE = 10
STEPS = 40
# The time the kernel has to carry bytes from one end to the other.
PAUSE = 0.005
TIOCPKT, TIOCSIG = 0x5420, 0x40045436
# What Python's module leaves out.
FLAGS = {"EXTPROC": 0o200000, "IUTF8": 0o40000, "XTABS": 0o14000, "IUCLC": 0o1000, "OLCUC": 2, "ONOCR": 0o20}

I_FLAGS = "ISTRIP INLCR IGNCR ICRNL IUCLC IXON IXANY PARMRK IUTF8 IMAXBEL"
O_FLAGS = "OPOST OLCUC ONLCR OCRNL ONOCR ONLRET XTABS"
L_FLAGS = "ISIG ICANON ECHO ECHOE ECHOK ECHONL NOFLSH TOSTOP ECHOCTL ECHOPRT ECHOKE IEXTEN EXTPROC"
CONTROLS = "VINTR VQUIT VERASE VKILL VEOF VSTART VSTOP VSUSP VEOL VREPRINT VWERASE VLNEXT VEOL2"
# What is seldom changed is what makes most of the rest invisible.
SELDOM = {"EXTPROC", "OPOST", "ICANON", "PARMRK"}
QUEUES = {"in": 0, "out": 1, "both": 2}
FLOWS = {"output off": 0, "output on": 1, "input off": 2, "input on": 3}


def value(name):
    return FLAGS[name] if name in FLAGS else getattr(termios, name)


class Script:
    def __init__(self, seed):
        self.random, self.lines, self.caught = random.Random(seed), [], []
        self.master, self.slave = os.openpty()
        for fd in (self.master, self.slave):
            os.set_blocking(fd, False)
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        for signo in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH):
            signal.signal(signo, lambda signo, _: self.caught.append(signo))

    def say(self, *words):
        self.lines.append(" ".join(str(word) for word in words))

    def bytes(self):
        pick = self.random
        controls = termios.tcgetattr(self.slave)[6]
        kinds = [
            lambda: bytes(pick.choices(b"abcXYZ_ 09", k=pick.randint(1, 6))),
            lambda: b"\n",
            lambda: b"\r",
            lambda: b"\t",
            lambda: b"\x08",
            lambda: controls[value(pick.choice(CONTROLS.split()))],
            lambda: bytes([pick.randrange(256)]),
            lambda: "é€ßÄ".encode(),
            lambda: b"\xff",
            lambda: b"\x7f",
        ]
        weights = [8, 3, 1, 2, 1, 4, 1, 1, 0.3, 2]
        return b"".join(kind() for kind in pick.choices(kinds, weights, k=pick.randint(1, 6)))

    def attempt(self, what, call):
        try:
            got = call()
        except OSError as e:
            got = errno.errorcode[e.errno]
        except termios.error as e:
            got = errno.errorcode[e.args[0]]
        self.say(what, "->", got)

    def write(self):
        name, fd = self.random.choice([("master", self.master)] * 3 + [("slave", self.slave)])
        data = self.bytes()
        if self.random.random() < 0.03:
            data *= 30
        self.attempt(f"write {name} {data!r}", lambda: os.write(fd, data))

    def read(self):
        name, fd = self.random.choice([("master", self.master), ("slave", self.slave)])
        size = self.random.choice([1, 2, 5, 30, 4096, 4096, 4096])
        self.attempt(f"read {name} {size}", lambda: os.read(fd, size))

    def modes(self):
        pick = self.random
        fd = pick.choice([self.slave, self.slave, self.master])
        modes = termios.tcgetattr(fd)
        changed = []
        for _ in range(pick.randint(1, 3)):
            index, flags = pick.choice([(0, I_FLAGS), (1, O_FLAGS), (3, L_FLAGS), (3, L_FLAGS)])
            flag = pick.choice(flags.split())
            if flag in SELDOM and pick.random() < 0.6:
                continue
            modes[index] ^= value(flag)
            changed.append(flag)
        if pick.random() < 0.2:
            control = pick.choice(CONTROLS.split())
            to = pick.choice([b"\0", b"q", b"b", b"\xff", b"\x01", b"\r", b"X"])
            modes[6][value(control)] = to
            changed.append(f"{control}={to}")
        if not modes[3] & termios.ICANON:
            least, tenths = pick.choice([(1, 0), (0, 0), (4, 0), (3, 1)])
            modes[6][termios.VMIN], modes[6][termios.VTIME] = least, tenths
        when = pick.choice([termios.TCSANOW, termios.TCSADRAIN, termios.TCSAFLUSH])
        self.attempt(f"modes {when} {changed}", lambda: termios.tcsetattr(fd, when, modes))

    def request(self):
        pick = self.random
        name, fd = pick.choice([("master", self.master), ("slave", self.slave), ("slave", self.slave)])
        kind = pick.choice(["flush", "flow", "packet", "type", "size", "signal", "reset", "raw"])
        if kind == "flush":
            queue = pick.choice(list(QUEUES))
            self.attempt(f"flush {name} {queue}", lambda: termios.tcflush(fd, QUEUES[queue]))
        elif kind == "flow":
            flow = pick.choice(list(FLOWS))
            self.attempt(f"flow {name} {flow}", lambda: termios.tcflow(fd, FLOWS[flow]))
        elif kind == "packet":
            on = struct.pack("i", pick.randrange(2))
            self.attempt(f"packet {on}", lambda: fcntl.ioctl(self.master, TIOCPKT, on))
        elif kind == "type":
            for c in self.bytes()[:4]:
                self.attempt(f"type {c}", lambda: fcntl.ioctl(self.slave, termios.TIOCSTI, bytes([c])))
                self.look()
        elif kind == "size":
            size = struct.pack("HHHH", pick.randrange(3), 80, 0, 0)
            self.attempt(f"size {name}", lambda: fcntl.ioctl(fd, termios.TIOCSWINSZ, size))
        elif kind == "signal":
            signo = pick.choice([signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGHUP])
            self.attempt(f"signal {int(signo)}", lambda: fcntl.ioctl(self.master, TIOCSIG, int(signo)))
        elif kind == "raw":
            if pick.random() < 0.3:
                self.attempt("raw", lambda: tty.setraw(self.slave))
        else:
            modes = termios.tcgetattr(self.slave)
            modes[0], modes[1] = termios.ICRNL | termios.IXON, termios.OPOST | termios.ONLCR
            modes[3] = 0o105073
            self.attempt("reset", lambda: termios.tcsetattr(self.slave, termios.TCSANOW, modes))

    def state(self):
        seen = []
        for fd in (self.master, self.slave):
            seen.append(struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))[0])
            poll = select.poll()
            poll.register(fd, select.POLLIN | select.POLLOUT | select.POLLPRI)
            seen.append(dict(poll.poll(0)).get(fd, 0))
        return seen

    def look(self):
        """Waits until nothing is on its way any more, and tells what there is."""
        before, seen = None, self.state()
        while seen != before:
            time.sleep(PAUSE)
            before, seen = seen, self.state()
        caught, self.caught[:] = self.caught[:], []
        self.say("  in, events:", *seen, "caught", sorted(int(signo) for signo in caught))

    def run(self):
        steps = [self.write, self.read, self.modes, self.request]
        for _ in range(STEPS):
            self.random.choices(steps, [9, 5, 3, 3])[0]()
            self.look()
        for fd in (self.master, self.slave) * 2:
            self.attempt("the rest", lambda: os.read(fd, 8192))
        self.say(termios.tcgetattr(self.slave))
        return "\n".join(self.lines) + "\n"


def transcripts(seeds):
    """What all of them say, which they do at the same time: most of it is waiting."""
    running = []
    for seed in seeds:
        out, into = os.pipe()
        if os.fork() == 0:
            os.setsid()
            said = Script(seed).run()
            with open(into, "w") as pipe:
                pipe.write(said)
            os._exit(0)
        os.close(into)
        running.append(out)
    said = [open(out).read() for out in running]
    for _ in running:
        os.wait()
    return said


def agreed(seeds):
    """Where the kernel carries bytes by a thread of its own, that may once come too late for what is looked at; the same
    thing is hardly late twice. So a transcript counts that comes twice."""
    seen = {seed: [] for seed in seeds}
    agreed = {}
    for _ in range(6):
        open_seeds = [seed for seed in seeds if seed not in agreed]
        for seed, said in zip(open_seeds, transcripts(open_seeds)):
            if said in seen[seed]:
                agreed[seed] = said
            seen[seed].append(said)
    return agreed


seeds = [int(word) for word in sys.argv[1:]] or list(range(SEEDS))
for first in range(0, len(seeds), AT_ONCE):
    for seed, said in agreed(seeds[first : first + AT_ONCE]).items():
        print(f"== seed-{seed}\n{said}", end="", flush=True)
