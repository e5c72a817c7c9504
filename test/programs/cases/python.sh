# Python with what its libraries ask of a kernel.
# needs: /usr/bin/python3
# limit: 120
export PYTHONDONTWRITEBYTECODE=1
py() { /usr/bin/python3 - "$@"; }
echo "== threads"
py <<'EOF'
import threading, queue
q, done = queue.Queue(10), []
lock, barrier = threading.Lock(), threading.Barrier(8)
def work(n):
    barrier.wait()
    while (item := q.get()) is not None:
        with lock:
            done.append(item * item)
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for t in threads: t.start()
for i in range(5000): q.put(i)
for t in threads: q.put(None)
for t in threads: t.join()
print(len(done), sum(done))
print(threading.Event().wait(0.05))
EOF
echo "== subprocess"
py <<'EOF'
import subprocess, signal
print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True))
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(len(p.communicate(b"x" * 1000000)[0]), p.returncode)
p = subprocess.Popen(["sleep", "60"]); p.send_signal(signal.SIGTERM); print(p.wait())
try: subprocess.run(["sleep", "60"], timeout=0.1)
except subprocess.TimeoutExpired as e: print("timeout")
try: subprocess.run(["/nonexistent"])
except FileNotFoundError as e: print(e.errno)
print(subprocess.check_output("seq 10 | tac | head -n 2", shell=True, start_new_session=True))
print(sum(subprocess.call(["true"]) for _ in range(20)))
EOF
echo "== multiprocessing"
cat >mp.py <<'EOF'
import multiprocessing as mp
def square(n): return n * n
def worker(q, e, v):
    e.wait()
    with v.get_lock(): v.value += 1
    q.put(mp.current_process().name)
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with mp.get_context(method).Pool(2) as pool: print(method, sum(pool.map(square, range(500))))
    q, e, v = mp.Queue(), mp.Event(), mp.Value("i", 0)
    ps = [mp.Process(target=worker, args=(q, e, v), name=f"p{i}") for i in range(4)]
    for p in ps: p.start()
    e.set()
    print(sorted(q.get() for _ in ps))
    for p in ps: p.join()
    print(v.value, [p.exitcode for p in ps])
    from multiprocessing import shared_memory
    s = shared_memory.SharedMemory(create=True, size=4096); s.buf[:4] = b"abcd"
    t = shared_memory.SharedMemory(s.name); print(bytes(t.buf[:4])); t.close(); s.close(); s.unlink()
EOF
/usr/bin/python3 mp.py
echo "== asyncio"
py <<'EOF'
import asyncio, os, signal
async def echo(r, w):
    while data := await r.readline(): w.write(data.upper()); await w.drain()
    w.close()
async def client(port, n):
    r, w = await asyncio.open_connection("127.0.0.1", port)
    w.write(f"line {n}\n".encode()); line = await r.readline(); w.close(); await w.wait_closed()
    return line
async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(sorted(await asyncio.gather(*(client(port, n) for n in range(20))))[:3])
    server.close()
    unix = await asyncio.start_unix_server(echo, "sock")
    r, w = await asyncio.open_unix_connection("sock"); w.write(b"unix\n"); print(await r.readline()); w.close(); unix.close()
    p = await asyncio.create_subprocess_exec("sh", "-c", "cat; exit 5", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print(await p.communicate(b"through"), p.returncode)
    got = asyncio.Event(); asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, got.set)
    os.kill(os.getpid(), signal.SIGUSR1); await asyncio.wait_for(got.wait(), 5); print("signal")
    try: await asyncio.wait_for(asyncio.sleep(60), 0.05)
    except asyncio.TimeoutError: print("timeout")
asyncio.run(main())
EOF
echo "== sqlite"
py <<'EOF'
import sqlite3, threading
for mode in ("delete", "wal"):
    db = sqlite3.connect("test." + mode); print(db.execute(f"pragma journal_mode={mode}").fetchone())
    db.execute("create table t(id integer primary key, name text)"); db.execute("create index i on t(name)")
    for n in range(20):
        with db: db.executemany("insert into t(name) values(?)", ((f"name {n} {i}",) for i in range(100)))
    def reader(): print(sqlite3.connect("test." + mode).execute("select count(*), max(name) from t").fetchone())
    t = threading.Thread(target=reader); t.start(); t.join()
    try:
        with db: db.execute("delete from t"); raise KeyError
    except KeyError: pass
    print(db.execute("select count(*) from t").fetchone(), db.execute("pragma integrity_check").fetchone()); db.close()
EOF
echo "== files"
py <<'EOF'
import mmap, os, fcntl, tempfile, select, socket, struct, resource, time, shutil, glob
with open("m", "w+b") as f:
    f.truncate(100000)
    m = mmap.mmap(f.fileno(), 0); m[5000:5005] = b"hello"; m.flush(); f.seek(5000); print(f.read(5)); m.close()
    fcntl.flock(f, fcntl.LOCK_EX); fcntl.lockf(f, fcntl.LOCK_EX, 10, 0); print("locked")
d = tempfile.mkdtemp(dir="."); os.makedirs(d + "/a/b"); open(d + "/a/b/c", "w").write("x"); shutil.copytree(d, "t2")
print([(len(x), len(y)) for _, x, y in os.walk("t2")], glob.glob("t2/**/c", recursive=True)); shutil.rmtree(d)
a, b = socket.socketpair(); r, w = os.pipe()
socket.send_fds(a, [b"fd"], [w]); data, fds, _, _ = socket.recv_fds(b, 10, 1); os.write(fds[0], b"passed"); print(data, os.read(r, 10))
ep = select.epoll(); ep.register(b, select.EPOLLIN); print(ep.poll(0)); a.send(b"!"); print(len(ep.poll(1)))
pid = os.fork()
if pid == 0: os._exit(9)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), resource.getrlimit(resource.RLIMIT_CORE) is not None)
fd = os.open("s", os.O_RDWR | os.O_CREAT); os.pwrite(fd, b"end", 1 << 20); print(os.fstat(fd).st_size, os.pread(fd, 4, (1 << 20) - 1))
print(os.sendfile(w, fd, 0, 1000), os.copy_file_range(fd, os.open("c", os.O_RDWR | os.O_CREAT), 1000, 0))
t = time.monotonic(); time.sleep(0.05); print(time.monotonic() - t >= 0.05)
EOF
