//! Servers and their clients, both in the same sandbox.

use super::{Stage, output, text};
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A server that ends with its owner.
struct Server {
    child: Child,
}

impl Server {
    /// Starts it and waits until `answers` says that it is there.
    fn start(command: &mut Command, answers: impl Fn() -> bool) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self { child: command.spawn().with_context(|| name.clone())? };
        let begin = Instant::now();
        while !answers() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{name}: {status}");
            }
            if begin.elapsed() > START_LIMIT {
                bail!("{name}: does not answer");
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        // Servers of several processes take the others with them on SIGTERM only.
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let begin = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begin.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nobody listens on.
fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("a socket on the loopback interface")?;
    Ok(listener.local_addr()?.port())
}

fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

pub(super) fn redis_tcp(stage: &Stage) -> Result<f64> {
    let port = free_port()?;
    redis(stage, port, &["-h", "127.0.0.1", "-p", &port.to_string()])
}

pub(super) fn redis_unix(stage: &Stage) -> Result<f64> {
    let socket = stage.file("redis.sock");
    redis(stage, 0, &["-s", text(&socket)?])
}

/// Times SETs of eight clients. Port 0 is none.
fn redis(stage: &Stage, port: u16, client: &[&str]) -> Result<f64> {
    let socket = stage.file("redis.sock");
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--unixsocket"]).arg(&socket);
    command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(stage.own.path());
    let _server =
        Server::start(&mut command, || UnixStream::connect(&socket).is_ok() && (port == 0 || listens(port)))?;
    let mut command = Command::new("redis-benchmark");
    command.args(client).args(["-t", "set", "-n", &stage.amount, "-c", "8", "-q"]);
    stage.timed_command(&mut command)
}

/// Times requests of a small file over kept connections: seconds for a thousand of them.
pub(super) fn nginx(stage: &Stage) -> Result<f64> {
    let port = free_port()?;
    let own = text(stage.own.path())?;
    fs::create_dir(stage.file("www"))?;
    fs::write(stage.file("www/index.html"), "x".repeat(1000))?;
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let paths = paths.map(|name| format!("{name}_temp_path {own}/{name};")).concat();
    let config = format!(
        "daemon off; {user} worker_processes 1; error_log /dev/null; pid {own}/pid; events {{}}\n\
         http {{ access_log off; {paths} server {{ listen 127.0.0.1:{port}; root {own}/www; }} }}\n"
    );
    fs::write(stage.file("nginx.conf"), config)?;
    let mut command = Command::new("nginx");
    command.args(["-e", "/dev/null", "-p", own, "-c"]).arg(stage.file("nginx.conf"));
    let _server = Server::start(&mut command, || listens(port))?;
    let mut rate = 0.0;
    stage.timed(|| {
        let mut client = Command::new("wrk");
        client.args(["-t", "1", "-c", "8", "-d", &stage.amount]);
        rate = requests_per_second(&output(client.arg(format!("http://127.0.0.1:{port}/")))?)?;
        Ok(())
    })?;
    Ok(1000.0 / rate)
}

/// Finds the rate in what wrk prints.
fn requests_per_second(report: &str) -> Result<f64> {
    if report.contains("Non-2xx") {
        bail!("wrk: answers other than 200");
    }
    let rate = report.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
    let rate: f64 = rate.context("wrk: expected a line Requests/sec")?.trim().parse()?;
    if rate > 0.0 { Ok(rate) } else { bail!("wrk: no request was answered") }
}

/// A server and, in another process, a client that keeps eight requests under way.
const SCRIPT: &str = r"
const http = require('http'), { fork } = require('child_process');
if (process.argv[2] === 'server') {
  http.createServer((q, a) => a.end('hello')).listen(0, '127.0.0.1', function () { process.send(this.address().port) });
} else {
  const server = fork(__filename, ['server']), agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
  server.on('message', port => {
    let left = +process.argv[2], open = 0;
    const next = () => {
      if (left === 0) { if (open === 0) { server.kill(); agent.destroy(); } return; }
      left--; open++;
      http.get({ port, host: '127.0.0.1', agent }, a => { a.resume(); a.on('end', () => { open--; next(); }); });
    };
    for (let i = 0; i < 8; i++) next();
  });
}
";

pub(super) fn make_script(directory: &Path, _amount: &str) -> Result<()> {
    Ok(fs::write(directory.join("http.js"), SCRIPT)?)
}

/// The start of both processes counts.
pub(super) fn node(stage: &Stage) -> Result<f64> {
    let mut command = Command::new("node");
    command.arg(stage.prepared.join("http.js")).arg(&stage.amount);
    stage.timed_command(&mut command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_wrk_is_found() {
        let report = "Running 3s test\n  100 requests in 3.00s\nRequests/sec:    33.25\nTransfer/sec: 1KB\n";
        assert!((requests_per_second(report).unwrap() - 33.25).abs() < 1e-9);
        assert!(requests_per_second("").is_err());
        assert!(requests_per_second("Requests/sec: 0.00\n").is_err());
        assert!(requests_per_second("  Non-2xx or 3xx responses: 5\nRequests/sec: 10\n").is_err());
    }
}
