"""Go's own tests of starting processes and of credentials, natively and in the sandbox.

They skip themselves where they take the machine for a container, by `/.dockerenv`, by the number of `/`'s inode, or by a
switch of Debian's kernels. The first and last are taken out, so that they run natively whatever the machine; the others
count, since a test that skips inside but not natively fails.
"""
import json, os, re, shutil, subprocess, sys
import verdicts

NAMES = "CloneNEWUSER|EmptyCredGroups|GroupCleanup|Unshare|AmbientCaps|Setuid|AllThreads|Pdeathsig|Foreground|Ctty"


def source():
    root = subprocess.run(["go", "env", "GOROOT"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()
    return os.path.realpath(os.path.join(root, "src"))


def overlay(directory):
    """A file for `go -overlay` that has the tests without the two checks."""
    path = os.path.join(source(), "syscall/exec_linux_test.go")
    with open(path) as file:
        text = file.read()
    for old, new in [('os.Stat("/.dockerenv")', 'os.Stat("/.no-such-file")'),
                     ("errRead != nil || len(data) < 1 || data[0] == '0'", "errRead == nil && (len(data) < 1 || data[0] == '0')")]:
        assert old in text, f"{path}: expected {old}"
        text = text.replace(old, new)
    edited = os.path.join(directory, "exec_linux_test.go")
    with open(edited, "w") as file:
        file.write(text)
    with open(os.path.join(directory, "overlay.json"), "w") as file:
        json.dump({"Replace": {path: edited}}, file)
    return file.name


def build():
    directory = os.path.join(verdicts.cache(), "go")
    os.makedirs(directory, exist_ok=True)
    for name, package, cgo in [("syscall", "syscall", 1), ("syscall-static", "syscall", 0), ("os-exec", "os/exec", 1)]:
        environment = dict(os.environ, GOCACHE=os.path.join(directory, "cache"), CGO_ENABLED=str(cgo))
        subprocess.run(["go", "test", "-c", "-overlay", overlay(directory), "-o", os.path.join(directory, name), package],
                       cwd=source(), env=environment, check=True)
    return directory


def parse(program, text):
    """`--- PASS: TestX/sub (0.01s)`, which may follow other output on the line."""
    found = {}
    for verdict, test in re.findall(r"--- (PASS|FAIL|SKIP): (\S+) \(", text):
        found[f"{program}/{test}"] = ({"PASS": "ok", "FAIL": "FAIL", "SKIP": "skip"}[verdict], "")
    return found


def main():
    options = verdicts.arguments(__doc__.splitlines()[0])
    if not shutil.which("go") or not os.path.exists(os.path.join(source(), "syscall/exec_linux_test.go")):
        verdicts.skip("needs golang-go and golang-1.19-src")
    directory = build()

    def prepare(stage):
        for name in ("syscall", "syscall-static", "os-exec"):
            shutil.copy(os.path.join(directory, name), stage)

    flags = ["-test.v", "-test.timeout=100s"]
    programs = [
        verdicts.Program("syscall", "syscall", os.path.join(source(), "syscall"), flags + ["-test.run", NAMES], terminal=True),
        verdicts.Program("syscall-static", "syscall-static", os.path.join(source(), "syscall"),
                         flags + ["-test.run", NAMES], terminal=True),
        verdicts.Program("os-exec", "os-exec", os.path.join(source(), "os/exec"), flags),
    ]
    return verdicts.compare(options, programs, parse, prepare)


if __name__ == "__main__":
    sys.exit(main())
