"""The kernel's own tests that build without it, from Debian's linux-source-6.1, natively and in the sandbox."""
import glob, os, re, shutil, subprocess, sys
import verdicts

ARCHIVE = "/usr/src/linux-source-6.1.tar.xz"
TREE = "linux-source-6.1/tools/testing/selftests"
# Directory, and its programs with the seconds that they may take.
PROGRAMS = {
    "capabilities": {"test_execve": 60},
    "clone3": {"clone3": 60, "clone3_clear_sighand": 60, "clone3_set_tid": 60, "clone3_cap_checkpoint_restore": 60},
    "pidfd": {"pidfd_test": 420, "pidfd_fdinfo_test": 60, "pidfd_open_test": 60, "pidfd_poll_test": 120, "pidfd_wait": 60,
              "pidfd_getfd_test": 60, "pidfd_setns_test": 60},
    "nsfs": {"owner": 60, "pidns": 60},
    "openat2": {"openat2_test": 60, "resolve_test": 60, "rename_attack_test": 120},
    "user": {"test_user_copy.sh": 60},
}
# It looks for a race as often as this, which takes minutes in a sandbox: a tenth will do. File, text, and what is put there.
FEWER_ROUNDS = ("openat2/rename_attack_test.c", "#define ROUNDS 400000", "#define ROUNDS 40000")
# It makes the mount on /tmp private, so there must be one.
BEFORE = {"resolve_test": "mount --bind /tmp /tmp"}


def build():
    """Unpacks and builds what is not there yet; gives the directory."""
    root = os.path.join(verdicts.cache(), "selftests")
    made = os.path.join(root, "made")
    if os.path.exists(made) and os.path.getmtime(made) > os.path.getmtime(ARCHIVE):
        return root
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(root)
    wanted = [f"{TREE}/{name}" for name in [*PROGRAMS, "kselftest", "lib.mk", "kselftest.h", "kselftest_harness.h"]]
    subprocess.run(["tar", "-C", root, "-xJf", ARCHIVE, *wanted], check=True)
    path, old, new = FEWER_ROUNDS
    path = os.path.join(root, TREE, path)
    with open(path) as file:
        text = file.read()
    assert old in text, f"{path}: expected {old}"
    with open(path, "w") as file:
        file.write(text.replace(old, new))
    for name in PROGRAMS:
        subprocess.run(["make", "-s", "-k", "-C", os.path.join(root, TREE, name)], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    open(made, "w").close()
    return root


def parse(program, text):
    """Lines of the Test Anything Protocol. What a line says of numbers differs from run to run."""
    found = {}
    for words, number, name in re.findall(r"^(ok|not ok) (\d+)[ -]*(.*)$", text, re.MULTILINE):
        skipped = re.search(r"# SKIP|^SKIP", name)
        verdict = "skip" if skipped else "ok" if words == "ok" else "FAIL"
        # Programs that a test executes begin at 1 again.
        test = f"{program}/{number}"
        while test in found:
            test += "'"
        found[test] = (verdict, name[:100])
    return found


def main():
    options = verdicts.arguments(__doc__.splitlines()[0])
    if not os.path.exists(ARCHIVE):
        verdicts.skip("needs linux-source-6.1")
    root = build()
    programs = []
    for directory, names in PROGRAMS.items():
        for name, limit in names.items():
            if os.path.exists(os.path.join(root, TREE, directory, name)):
                programs.append(verdicts.Program(f"{directory}/{name}", f"{directory}/{name}", limit=limit,
                                                 before=BEFORE.get(name)))
            else:
                print(f"skip {directory}/{name}: does not build here")

    def prepare(stage):
        for directory in PROGRAMS:
            shutil.copytree(os.path.join(root, TREE, directory), os.path.join(stage, directory))
            # Where the tests make files.
            os.chmod(os.path.join(stage, directory), 0o1777)
        # The script of `user` reads it from beside its own directory.
        shutil.copytree(os.path.join(root, TREE, "kselftest"), os.path.join(stage, "kselftest"))

    there = set(glob.glob("/tmp/ksft-*"))
    try:
        return verdicts.compare(options, programs, parse, prepare)
    finally:
        # They leave their directories to whoever looks after /tmp.
        for left in set(glob.glob("/tmp/ksft-*")) - there:
            shutil.rmtree(left, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
