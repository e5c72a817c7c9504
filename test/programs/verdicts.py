"""What tests of others share here: run a program natively and in the sandbox, and compare its verdict on each test.

What passes natively must pass inside, and what is skipped natively may not fail inside. A test that does not run inside
although it does natively fails, so that none can skip in silence. Known failures are lines `root-or-user-or-* test reason`
in verdicts-expected.txt; one that passes fails the run.
"""
import argparse, os, shutil, signal, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ORDINARY_ID = 65534
USERS = ["root", "user"]


class Program:
    """A test program: its file, the directory it runs in, its arguments, and what it needs."""

    def __init__(self, name, path, directory=None, arguments=(), limit=120, terminal=False, before=None):
        self.name, self.path, self.directory = name, path, directory
        self.arguments, self.limit, self.terminal, self.before = list(arguments), limit, terminal, before


def cache():
    """The directory for what is dear to make."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(HERE, "../../target"))
    path = os.path.abspath(os.path.join(target, "programs"))
    os.makedirs(path, exist_ok=True)
    return path


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runsc", default="target/release/runsc-rs")
    parser.add_argument("--as", dest="users", default="", help="root, user or both")
    parser.add_argument("--native", action="store_true", help="only natively, and say all verdicts")
    parser.add_argument("names", nargs="*", help="programs whose names contain one of these")
    options = parser.parse_args()
    options.users = options.users.replace(",", " ").split() or (USERS if os.getuid() == 0 else ["user"])
    return options


def expected():
    found = {}
    with open(os.path.join(HERE, "verdicts-expected.txt")) as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                user, test, *reason = line.split(None, 2)
                assert reason, f"verdicts-expected.txt: {user} {test}: expected a reason, found none"
                found[user, test] = reason[0]
    return found


def run(program, user, stage, prefix):
    """Output and status of the program."""
    with tempfile.TemporaryDirectory(prefix="verdicts.") as work:
        os.chmod(work, 0o755)
        command = [os.path.join(stage, program.path)] + program.arguments
        # A shell command that root runs first, in a mount namespace of the program's own.
        if program.before and user == "root":
            command = ["unshare", "-m", "sh", "-c", program.before + ' && exec "$@"', "sh"] + command
        if program.terminal:
            quoted = " ".join("'" + word + "'" for word in command)
            command = ["script", "-qefc", quoted, "/dev/null"]
        command = prefix + command
        if user == "user" and os.getuid() == 0:
            os.chown(work, ORDINARY_ID, ORDINARY_ID)
            command = ["setpriv", f"--reuid={ORDINARY_ID}", f"--regid={ORDINARY_ID}", "--clear-groups"] + command
        # Some are built with sanitizers, of which the one for leaks traces the test from outside when it ends; that is
        # no part of any verdict, and natively depends on Yama.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": work, "TMPDIR": work, "LC_ALL": "C.UTF-8",
                       "ASAN_OPTIONS": "detect_leaks=0"}
        directory = program.directory or os.path.dirname(os.path.join(stage, program.path))
        with open(os.path.join(work, "output"), "wb+") as output:
            process = subprocess.Popen(command, cwd=directory, env=environment, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            try:
                status = process.wait(program.limit)
            except subprocess.TimeoutExpired:
                status = f"not done after {program.limit} s"
            finally:
                # Whatever is left of it, also when this program is told to end.
                try:
                    os.killpg(process.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
                process.wait()
            output.seek(0)
            return output.read().decode(errors="replace").replace("\r", ""), status


def verdicts(program, user, stage, prefix, parse):
    output, status = run(program, user, stage, prefix)
    found = parse(output)
    # 4 is how the kernel's tests say that they skip.
    found[f"{program.name}/status"] = ("ok" if status == 0 else "skip" if status == 4 else "FAIL", f"status {status}")
    return found, output


def compare(options, programs, parse, prepare):
    """Runs and compares `programs`; `parse` gives verdicts of an output by test; `prepare` fills the stage."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    known = expected()
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory(prefix="verdicts.") as stage:
        os.chmod(stage, 0o755)
        prepare(stage)
        prefix = []
        if not options.native:
            prefix = [shutil.copy(options.runsc, os.path.join(stage, "runsc-rs")), "do", "--"]
        subprocess.run(["chmod", "-R", "a+rX", stage], check=True)
        for program in programs:
            if options.names and not any(name in program.name for name in options.names):
                continue
            for user in options.users:
                native, _ = verdicts(program, user, stage, [], lambda text: parse(program.name, text))
                if options.native:
                    for test, (verdict, why) in native.items():
                        print(f"{verdict} {user} {test} {why}".rstrip())
                    passed += sum(verdict == "ok" for verdict, _ in native.values())
                    skipped += sum(verdict != "ok" for verdict, _ in native.values())
                    continue
                inside, output = verdicts(program, user, stage, prefix, lambda text: parse(program.name, text))
                ran = [sum(verdict != "skip" for verdict, _ in run.values()) for run in (native, inside)]
                good = 0
                for test, (want, _) in native.items():
                    got, why = inside.get(test, ("FAIL", "did not run"))
                    keys = [key for key in ((user, test), ("*", test)) if key in known]
                    fine = got == "ok" or (want == "skip" and got == "skip") or want == "FAIL"
                    if not fine and keys:
                        skipped += 1
                    elif not fine:
                        print(f"FAIL {user} {test}: {got} inside, {want} natively {why}".rstrip())
                        failed += 1
                    elif keys and got == "ok":
                        print(f"FAIL {user} {test}: passes, but is listed as an expected failure")
                        failed += 1
                    elif want == "ok":
                        passed, good = passed + 1, good + 1
                    else:
                        skipped += 1
                print(f"{program.name} as {user}: {ran[1]} tests ran, {ran[0]} natively; {good} pass on both sides", flush=True)
                if inside[f"{program.name}/status"][0] == "FAIL" and native[f"{program.name}/status"][0] != "FAIL":
                    print("    " + "\n    ".join(output.splitlines()[-6:]))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


def skip(why):
    """Ends a suite that this machine cannot run."""
    print(f"skip: {why}\n0 passed, 0 failed, 1 skipped")
    sys.exit(0)
