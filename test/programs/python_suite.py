"""CPython's own tests of what an operating system offers, natively and in the sandbox.

Every test that passes natively must pass inside. Exceptions, five at most, stand in python-exceptions.txt. A test that
hangs or ends the interpreter is named, and the rest of its module runs in a new sandbox.
"""
import argparse
import ctypes
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

MODULES = ["test_os", "test_posix", "test_subprocess", "test_signal", "test_threading", "test_select", "test_mmap",
           "test_fcntl", "test_pty", "test_tempfile", "test_shutil", "test_time", "test_epoll", "test_eintr"]
# With the least time for the most tests, and without one that waits for half a minute.
SUBSET = [m for m in MODULES if m not in ("test_subprocess", "test_threading", "test_eintr")]
SLOW = ["test.test_signal.SiginterruptTest.test_siginterrupt_off"]
MOST_EXCEPTIONS = 5
PR_SET_CHILD_SUBREAPER = 36
HERE = os.path.dirname(os.path.abspath(__file__))
HANGS = "FAIL hangs, or ends the interpreter"
USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Options:
    """How modules are run."""

    def __init__(self, limit, leave_out, guest):
        self.limit, self.leave_out, self.guest = limit, leave_out, guest


def lines_of(process, silence, deadline):
    """What a process prints, until it ends, or says nothing for `silence` seconds, or the deadline comes."""
    text, heard = b"", time.monotonic()
    while True:
        # Descendants may keep the pipe open: that the process has ended is an end, too.
        ended = process.poll() is not None
        if select.select([process.stdout], [], [], 0 if ended else 0.5)[0]:
            more = os.read(process.stdout.fileno(), 1 << 16)
            text, heard = text + more, time.monotonic()
            if more:
                continue
        now = time.monotonic()
        if ended or now > deadline or now - heard > silence:
            return text.decode(errors="replace").splitlines()
        time.sleep(0.05)


def run_once(module, prefix, user, leave_out, options, deadline):
    """Runs a module: what it told, how it ended, and the end of what it printed otherwise."""
    with tempfile.TemporaryDirectory(prefix="python-suite.") as directory:
        os.chmod(directory, 0o755)
        home = os.path.join(directory, "home")
        os.mkdir(home)
        if user:
            shutil.chown(home, 65534, 65534)
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": home, "TMPDIR": home,
                       "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
        command = user + prefix + ["/usr/bin/python3", "-c", options.guest, module, str(options.limit), *leave_out]
        with open(os.path.join(directory, "stderr"), "wb+") as errors:
            process = subprocess.Popen(command, cwd=home, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
            with process:
                # A test that hangs has as long as it may take, and a little more to end by itself.
                lines = lines_of(process, options.limit + 15, deadline)
                process.kill()
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        return lines, process.returncode, said


def run_module(module, prefix, user, options):
    """Outcomes by test."""
    outcomes, deadline = {}, time.monotonic() + 10 * options.limit
    while time.monotonic() < deadline:
        leave_out = options.leave_out + list(outcomes)
        lines, status, said = run_once(module, prefix, user, leave_out, options, deadline)
        begun, ended, before = None, False, len(outcomes)
        for line in lines:
            kind, _, rest = line.partition(" ")
            test, _, why = rest.partition(" ")
            if kind == "begin":
                begun = test
            elif kind in ("ok", "FAIL", "skip"):
                outcomes[test] = f"{kind} {why}".strip()
                begun = None if test == begun else begun
            ended = ended or kind == "end"
        if ended:
            return outcomes
        why = f"{HANGS} (status {status}): {' / '.join(said[-3:])[-300:]}"
        outcomes[begun or f"test.{module}"] = why
        if begun is None and len(outcomes) == before + 1:
            return outcomes
    return outcomes


def run_again(module, prefix, user, options, native, inside, allowed):
    """Repeats by themselves, once, tests that failed inside but did not hang, as CPython's own runner can: some of them
    judge times, and others run besides them."""
    def failed(test):
        outcome = inside.get(test, "")
        return test not in allowed and outcome.startswith("FAIL") and not outcome.startswith(HANGS)
    failing = {test for test, outcome in native.items() if outcome == "ok" and failed(test)}
    if not failing:
        return
    others = [test for test in {**native, **inside} if test not in failing]
    again = run_module(module, prefix, user, Options(options.limit, others, options.guest))
    for test in failing:
        if again.get(test) == "ok":
            print(f"note {test}: passes when repeated: {inside[test][5:]}")
            inside[test] = "ok"


def parent_of(pid):
    """The parent of a process, or None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return int(f.read().rpartition(")")[2].split()[1])
    except OSError:
        return None


def end_orphans():
    """Kills what tests have left running. This process is the parent of all their orphans."""
    while True:
        children = [pid for pid in os.listdir("/proc") if pid.isdigit() and parent_of(pid) == os.getpid()]
        if not children:
            return
        for pid in map(int, children):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def exceptions():
    """Tests that need not pass, with reasons."""
    found = {}
    with open(os.path.join(HERE, "python-exceptions.txt")) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                test, _, reason = line.strip().partition(" ")
                found[test] = reason.strip()
    return found


class Verdict:
    """What has passed and failed, and which exceptions were needed."""

    def __init__(self, allowed):
        self.passed = self.failed = self.skipped = 0
        self.allowed = allowed

    def fail(self, what):
        print(f"FAIL {what}")
        self.failed += 1

    def compare(self, who, module, native, inside):
        """A test that passes natively passes inside, unless it is an exception, which does not."""
        ok = [test for test, outcome in native.items() if outcome == "ok"]
        good = 0
        for test in ok:
            whole = inside.get(f"test.{module}", "")
            outcome = inside.get(test, f"did not run {whole}".strip())
            if outcome == "ok" and test in self.allowed:
                self.fail(f"{who} {test}: passes, but is listed as an exception")
            elif outcome == "ok":
                good += 1
            elif test in self.allowed:
                self.skipped += 1
            else:
                self.fail(f"{who} {test}: {re.sub(r'^FAIL ', '', outcome)}")
        for test, outcome in native.items():
            if outcome.startswith("FAIL"):
                print(f"note {who} {test}: fails natively: {outcome[5:]}")
        if not ok:
            self.fail(f"{who} {module}: expected tests that pass natively, found none")
        self.passed += good
        self.skipped += len(native) - len(ok)
        return good, len(ok)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runsc", default="target/release/runsc-rs")
    parser.add_argument("--platform", default="auto", help="of the sandbox")
    parser.add_argument("--as", dest="users", default="root,user", help="who runs it: root, user or both")
    parser.add_argument("--subset", action="store_true", help="the modules that take little time")
    parser.add_argument("--limit", type=int, default=60, help="seconds a test may take")
    parser.add_argument("modules", nargs="*")
    options = parser.parse_args()
    modules = options.modules or (SUBSET if options.subset else MODULES)
    # Who is not root is the ordinary user.
    users = {"root": [], "user": USER} if os.getuid() == 0 else {"user": []}
    library = f"/usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}/test"
    with open(os.path.join(HERE, "python_guest.py")) as f:
        how = Options(options.limit, SLOW if options.subset else [], f.read())
    verdict = Verdict(exceptions())
    if len(verdict.allowed) > MOST_EXCEPTIONS or not all(verdict.allowed.values()):
        verdict.fail(f"python-exceptions.txt: expected {MOST_EXCEPTIONS} tests at most, each with a reason")
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="python-suite.") as stage, ThreadPoolExecutor(2) as pool:
        os.chmod(stage, 0o755)
        runsc = shutil.copy(options.runsc, os.path.join(stage, "runsc-rs"))
        sandbox = [runsc, "--platform", options.platform, "do", "--"]
        for module in modules:
            if not os.path.exists(os.path.join(library, module + ".py")):
                print(f"skip {module}: not installed")
                verdict.skipped += 1
                continue
            for who in (w for w in options.users.split(",") if w in users):
                start = time.monotonic()
                # Tests wait more than they work: both at once take half as long.
                both = [pool.submit(run_module, module, prefix, users[who], how) for prefix in ([], sandbox)]
                native, inside = (b.result() for b in both)
                run_again(module, sandbox, users[who], how, native, inside, verdict.allowed)
                good, of = verdict.compare(who, module, native, inside)
                end_orphans()
                took = round(time.monotonic() - start)
                print(f"{who} {module}: {good} of the {of} that pass natively, in {took} s", flush=True)
    print(f"{verdict.passed} passed, {verdict.failed} failed, {verdict.skipped} skipped")
    return 1 if verdict.failed else 0


if __name__ == "__main__":
    sys.exit(main())
