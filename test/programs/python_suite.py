"""CPython's own tests of what an operating system offers, natively and in the sandbox.

Every test that passes natively must pass inside. Exceptions, five at most, stand in python-exceptions.txt. A test that
hangs or ends the interpreter is named, and the rest of its module runs in a new sandbox.
"""
import argparse, os, re, shutil, subprocess, sys, tempfile

MODULES = ["test_os", "test_posix", "test_subprocess", "test_signal", "test_threading", "test_select", "test_mmap",
           "test_fcntl", "test_pty", "test_tempfile", "test_shutil", "test_time", "test_epoll", "test_eintr"]
SUBSET = ["test_epoll", "test_fcntl", "test_mmap", "test_posix", "test_select", "test_signal"]
MOST_EXCEPTIONS = 5
HERE = os.path.dirname(os.path.abspath(__file__))

# Runs in the guest: one module, telling before each test that it begins and after it how it went.
GUEST = r"""
import faulthandler, os, sys, unittest
report = os.dup(1)
os.set_inheritable(report, False)
report = os.dup2(report, 200, inheritable=False)
os.dup2(2, 1)
from test import support
support.use_resources = []
# Only a build of its own can be expected to leave no child or descriptor to others.
def tell(kind, test, why=""): os.write(report, f"{kind} {test.id()} {' '.join(str(why).split())[-200:]}\n".encode())
class Result(unittest.TestResult):
    def startTest(self, test): super().startTest(test); faulthandler.dump_traceback_later(LIMIT, exit=True); self.said = None; tell("begin", test)
    def say(self, kind, test, why=""):
        if self.said is None: self.said = kind; tell(kind, test, why)
    def addSuccess(self, test): self.say("ok", test)
    def addError(self, test, err): super().addError(test, err); self.say("FAIL", test, repr(err[1]))
    def addFailure(self, test, err): super().addFailure(test, err); self.say("FAIL", test, repr(err[1]))
    def addSubTest(self, test, subtest, err):
        if err is not None: self.say("FAIL", test, repr(err[1]))
    def addSkip(self, test, reason): self.say("skip", test, reason)
    def addExpectedFailure(self, test, err): self.say("ok", test)
    def addUnexpectedSuccess(self, test): self.say("ok", test)
    def stopTest(self, test): faulthandler.cancel_dump_traceback_later(); super().stopTest(test)
module, done = sys.argv[1], set(sys.argv[2].split(","))
loader = unittest.TestLoader()
suite = loader.loadTestsFromName("test." + module)
def flat(s):
    for t in s:
        if isinstance(t, unittest.TestSuite): yield from flat(t)
        else: yield t
def without(s):
    kept = [without(t) if isinstance(t, unittest.TestSuite) else t for t in s if isinstance(t, unittest.TestSuite) or t.id() not in done]
    return unittest.TestSuite(kept)
without(suite).run(Result())
os.write(report, b"end\n")
os._exit(0)
"""


def run_module(module, prefix, limit):
    """Outcomes by test."""
    outcomes = {}
    for _ in range(40):
        with tempfile.TemporaryDirectory(prefix="python-suite.") as directory:
            os.chmod(directory, 0o755)
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": directory, "TMPDIR": directory,
                           "LC_ALL": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"}
            guest = GUEST.replace("LIMIT", str(limit))
            command = prefix + ["/usr/bin/python3", "-c", guest, module, ",".join(outcomes)]
            with open(os.path.join(directory, "stderr"), "wb+") as errors:
                try:
                    done = subprocess.run(["timeout", "-k", "5", str(limit * 15)] + command, cwd=directory, env=environment,
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
                except OSError as error:
                    return {f"test.{module}": f"FAIL {error}"}
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip().splitlines()
        begun, ended = None, False
        for line in done.stdout.decode(errors="replace").splitlines():
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
        why = f"FAIL hangs, or ends the interpreter (status {done.returncode})"
        if begun is None:
            outcomes[f"test.{module}"] = f"{why}: {' / '.join(said[-3:])[-300:]}"
            return outcomes
        outcomes[begun] = why
    return outcomes


def exceptions():
    """Tests that need not pass, with reasons."""
    found = {}
    with open(os.path.join(HERE, "python-exceptions.txt")) as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                test, _, reason = line.strip().partition(" ")
                found[test] = reason
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runsc", default="target/release/runsc-rs")
    parser.add_argument("--subset", action="store_true", help="some modules that take little time")
    parser.add_argument("--limit", type=int, default=60, help="seconds a test may take")
    parser.add_argument("modules", nargs="*")
    options = parser.parse_args()
    modules = options.modules or (SUBSET if options.subset else MODULES)
    library = f"/usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}/test"
    allowed, used = exceptions(), set()
    passed = failed = skipped = 0
    if len(allowed) > MOST_EXCEPTIONS or not all(allowed.values()):
        print(f"FAIL python-exceptions.txt: expected {MOST_EXCEPTIONS} tests at most, each with a reason")
        failed += 1
    with tempfile.TemporaryDirectory(prefix="python-suite.") as stage:
        os.chmod(stage, 0o755)
        runsc = shutil.copy(options.runsc, os.path.join(stage, "runsc-rs"))
        for module in modules:
            if not os.path.exists(os.path.join(library, module + ".py")):
                print(f"skip {module}: not installed")
                skipped += 1
                continue
            native = run_module(module, [], options.limit)
            inside = run_module(module, [runsc, "do", "--"], options.limit)
            ok = [test for test, outcome in native.items() if outcome == "ok"]
            good = 0
            for test in ok:
                outcome = inside.get(test, "did not run" + "".join(f": {o}" for t, o in inside.items() if t == f"test.{module}"))
                if outcome == "ok":
                    good += 1
                    if test in allowed:
                        print(f"FAIL {test}: passes, but is listed as an exception")
                        failed += 1
                elif test in allowed:
                    skipped += 1
                else:
                    print(f"FAIL {test}: {re.sub(r'^FAIL ', '', outcome)}")
                    failed += 1
            passed += good
            skipped += len(native) - len(ok)
            print(f"{module}: {good} of the {len(ok)} that pass natively", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
