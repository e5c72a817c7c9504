# python3: threads, subprocess, multiprocessing, asyncio, sqlite3, a socket server.
command -v python3 >/dev/null || { echo "skip: no python3"; exit 0; }
dir=$(mktemp -d)
cat >"$dir/t.py" <<'P'
import asyncio, multiprocessing, os, socket, sqlite3, subprocess, sys, tempfile, threading

def square(x):
    return x * x

async def several():
    async def one(i):
        await asyncio.sleep(0.01)
        return i
    print(await asyncio.gather(*[one(i) for i in range(5)]))
    p = await asyncio.create_subprocess_exec("echo", "async", stdout=asyncio.subprocess.PIPE)
    print((await p.communicate())[0])

def main():
    seen = []
    lock = threading.Lock()
    def work(i):
        with lock:
            seen.append(i)
    threads = [threading.Thread(target=work, args=(i,)) for i in range(20)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    print(sorted(seen))
    print(subprocess.run(["sh", "-c", "echo out; echo err >&2; exit 3"], capture_output=True))
    with multiprocessing.Pool(3) as pool:
        print(pool.map(square, range(10)))
    asyncio.run(several())
    with tempfile.TemporaryDirectory() as d:
        db = sqlite3.connect(os.path.join(d, "t.db"))
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", [(i,) for i in range(1000)])
        db.commit()
        print(db.execute("select count(*), sum(x) from t").fetchall())
        db.close()
    server = socket.create_server(("127.0.0.1", 0))
    def serve():
        c, _ = server.accept()
        c.sendall(c.recv(100).upper())
        c.close()
    t = threading.Thread(target=serve)
    t.start()
    c = socket.create_connection(server.getsockname())
    c.sendall(b"hello")
    print(c.recv(100))
    t.join()

if __name__ == "__main__":
    main()
P
python3 "$dir/t.py"
echo "status $?"
rm -rf "$dir"
