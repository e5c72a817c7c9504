# Node.js: a just-in-time compiler, a pool of threads, epoll, and an HTTP server that answers its own client.
# needs: node
# limit: 120
echo "== http"
cat >http.js <<'EOF'
const http = require("http"), crypto = require("crypto");
const server = http.createServer((q, s) => {
  let body = ""; q.on("data", d => body += d);
  q.on("end", () => { s.setHeader("X-Path", q.url); s.end(body ? crypto.createHash("sha256").update(body).digest("hex") : "hello " + q.url); });
});
const ask = (port, path, body) => new Promise((ok, no) => {
  const q = http.request({ port, path, host: "127.0.0.1", method: body ? "POST" : "GET" }, s => {
    let t = ""; s.on("data", d => t += d); s.on("end", () => ok(`${s.statusCode} ${s.headers["x-path"]} ${t}`)); });
  q.on("error", no); q.end(body);
});
server.listen(0, "127.0.0.1", async () => {
  const { port } = server.address();
  console.log(await ask(port, "/one"));
  console.log(await ask(port, "/post", "x".repeat(300000)));
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => ask(port, "/" + i)));
  console.log(all.length, new Set(all).size);
  server.close();
});
EOF
node http.js
echo "== files"
node -e '
const fs = require("fs"), zlib = require("zlib"), { pipeline } = require("stream/promises");
(async () => {
  fs.writeFileSync("a", "line\n".repeat(100000));
  await pipeline(fs.createReadStream("a"), zlib.createGzip(), fs.createWriteStream("a.gz"));
  await pipeline(fs.createReadStream("a.gz"), zlib.createGunzip(), fs.createWriteStream("b"));
  console.log(fs.readFileSync("a").equals(fs.readFileSync("b")));
  await Promise.all([...Array(50)].map((_, i) => fs.promises.writeFile("f" + i, String(i))));
  console.log((await fs.promises.readdir(".")).filter(n => n.startsWith("f")).length);
})()'
echo "== workers"
cat >worker.js <<'EOF'
const { Worker, isMainThread, parentPort, workerData } = require("worker_threads");
if (isMainThread) {
  const run = n => new Promise(ok => new Worker(__filename, { workerData: n }).on("message", ok));
  Promise.all([1, 2, 3].map(run)).then(r => console.log(r.join(" ")));
} else { let s = 0; for (let i = 0; i < 1e6; i++) s = (s + i * workerData) % 1000003; parentPort.postMessage(s); }
EOF
node worker.js
echo "== children"
node -e '
const { execFileSync, spawn } = require("child_process");
console.log(execFileSync("sh", ["-c", "echo from child"]).toString().trim());
const p = spawn("cat"); p.stdout.on("data", d => console.log(String(d))); p.on("close", c => console.log("closed", c)); p.stdin.end("piped");
const q = spawn("sleep", ["60"]); q.on("exit", (c, s) => console.log(c, s)); setTimeout(() => q.kill(), 50);'
