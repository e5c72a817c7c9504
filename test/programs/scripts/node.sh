# A Node HTTP server answering its own client.
command -v node >/dev/null || { echo "skip: no node"; exit 0; }
node -e '
    const http = require("http");
    const server = http.createServer((q, r) => r.end("hello " + q.url)).listen(0, "127.0.0.1", () => {
        let left = 20;
        for (let i = 0; i < 20; i++) http.get({ port: server.address().port, path: "/" + i, host: "127.0.0.1" }, (r) => {
            r.resume();
            r.on("end", () => { if (--left === 0) { console.log("twenty answers"); server.close(); } });
        });
    });'
echo "status $?"
