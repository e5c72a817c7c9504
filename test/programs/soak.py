"""One sandbox forks, executes and starts threads for a while; its host processes are watched from outside.

What they hold at the end must be what they held when the work was under way: memory, frames of the memory file,
descriptors, threads and processes. When it is over nothing of it may be left.
"""
import argparse, ctypes, glob, os, statistics, subprocess, sys, tempfile, time

GUEST = r"""
import ctypes, os, subprocess, sys, threading, time

def idle(): pass

started, loops = time.monotonic(), 0
while time.monotonic() - started < SECONDS or loops * 20 < 2000:
    for _ in range(10):
        pid = os.posix_spawn("/bin/true", ["true"], {})
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]): sys.exit("true fails")
    for _ in range(10):
        pid = os.fork()
        if pid == 0: os.execv("/bin/true", ["true"])
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]): sys.exit("true fails")
    if loops % 5 == 0:
        threads = [threading.Thread(target=idle) for _ in range(200)]
        for t in threads: t.start()
        for t in threads: t.join()
    with open("file", "wb") as f: f.write(b"x" * 1000000)
    os.unlink("file")
    loops += 1
    print(loops, flush=True)
"""


def children_of():
    """Children by parent, of all processes."""
    children = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            with open(stat) as f:
                fields = f.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.split("/")[2]))
    return children


def tree(root):
    """A process and all below it."""
    children, found, todo = children_of(), [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += children.get(pid, [])
    return found


def share_descriptors(pid, other):
    """Whether two processes have one table of descriptors: kcmp(2) with KCMP_FILES."""
    SYS_KCMP, KCMP_FILES = 312, 2
    return ctypes.CDLL(None).syscall(SYS_KCMP, pid, other, KCMP_FILES, 0, 0) == 0


def sample(root):
    """What the processes of a sandbox hold. Stubs share the descriptors of the process that makes them."""
    held = {"processes": 0, "threads": 0, "descriptors": 0, "anonymous KiB": 0, "memory file KiB": 0}
    files, tables = set(), []
    for pid in tree(root):
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                rollup = dict(line.split(":", 1) for line in f.read().splitlines()[1:])
            # Pages of the memory file are counted once, below, and not as private while only one process maps them.
            held["anonymous KiB"] += int(rollup["Anonymous"].split()[0])
            held["threads"] += len(os.listdir(f"/proc/{pid}/task"))
            descriptors = os.listdir(f"/proc/{pid}/fd")
            for fd in descriptors:
                if "memfd:" in os.readlink(f"/proc/{pid}/fd/{fd}"):
                    stat = os.stat(f"/proc/{pid}/fd/{fd}")
                    files.add((stat.st_dev, stat.st_ino, stat.st_blocks // 2))
            held["processes"] += 1
            if not any(share_descriptors(pid, other) for other in tables):
                tables.append(pid)
                held["descriptors"] += len(descriptors)
        except (OSError, KeyError):
            continue
    held["memory file KiB"] = sum(blocks for _, _, blocks in {(d, i): (d, i, b) for d, i, b in files}.values())
    return held


# What may come on top of the first third's median: a share, and a number.
SLACK = {
    "processes": (0, 4),
    "threads": (0.1, 20),
    "descriptors": (0.1, 20),
    "anonymous KiB": (0.1, 1024),
    "memory file KiB": (0.1, 4096),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runsc", default="target/release/runsc-rs")
    parser.add_argument("seconds", nargs="?", type=int, default=30)
    options = parser.parse_args()
    runsc = os.path.realpath(options.runsc)
    failures = []
    with tempfile.TemporaryDirectory() as directory:
        script = os.path.join(directory, "guest.py")
        with open(script, "w") as f:
            f.write(GUEST.replace("SECONDS", str(options.seconds)))
        output = open(os.path.join(directory, "output"), "wb+")
        child = subprocess.Popen([runsc, "do", "--", "/usr/bin/python3", script], cwd=directory, stdout=output,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        started, samples, known = time.monotonic(), [], set()
        while child.poll() is None and time.monotonic() - started < options.seconds * 5:
            known.update(tree(child.pid))
            # The start, with its pools that fill up, is left out.
            if time.monotonic() - started > options.seconds / 10:
                samples.append(sample(child.pid))
            time.sleep(0.25)
        # The last looks may have met a sandbox that was coming down.
        samples = samples[:-2]
        if child.poll() is None:
            child.kill()
            failures.append("the work is not done after five times the time")
        status = child.wait()
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
        if status != 0:
            failures.append(f"status {status}: {' / '.join(lines[-5:])}")
        loops = sum(line.isdigit() for line in lines)
        print(f"{loops * 20} programs executed, {(loops + 4) // 5 * 200} threads, in {time.monotonic() - started:.0f} s")
        time.sleep(0.5)
        left = [pid for pid in known if os.path.exists(f"/proc/{pid}") and not is_zombie(pid)]
        if left:
            failures.append(f"{len(left)} processes are left over: {left[:5]}")
    passed = 2 - len(failures)
    third = len(samples) // 3
    for what, (share, number) in SLACK.items():
        if third < 3:
            failures.append(f"{what}: too few samples")
            continue
        first = statistics.median(s[what] for s in samples[:third])
        last = statistics.median(s[what] for s in samples[-third:])
        most = max(s[what] for s in samples)
        print(f"{what:16} first third {first:9.0f}   last third {last:9.0f}   most {most:9.0f}")
        if last > first * (1 + share) + number:
            failures.append(f"{what}: grew from {first:.0f} to {last:.0f}")
        else:
            passed += 1
    for failure in failures:
        print("FAIL soak:", failure)
    print(f"{max(passed, 0)} passed, {len(failures)} failed, 0 skipped")
    return 1 if failures else 0


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


if __name__ == "__main__":
    sys.exit(main())
