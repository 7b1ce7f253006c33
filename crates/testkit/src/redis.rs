//! A real Redis of a test's own, which can be killed and started again.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::ports;

/// A loaded machine may take this long to start a process.
const DEADLINE: Duration = Duration::from_mins(1);
/// Ports are given away between asking and taking now and then.
const ATTEMPTS: usize = 5;

/// Why there is no Redis.
#[derive(Debug, thiserror::Error)]
pub enum RedisServerError {
    /// The program is missing.
    #[error("redis-server cannot be started: run `tests/setup.sh` ({source})")]
    Missing {
        /// The system's reason.
        source: io::Error,
    },
    /// It ended at once, or never answered.
    #[error("redis-server did not come up")]
    NotUp,
}

/// A running server without persistence. It ends when this is dropped, and with the test program
/// when that is killed.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    child: Child,
}

impl RedisServer {
    /// Starts a server on a free port of 127.0.0.1 and waits until it answers. Blocks.
    pub fn start() -> Result<Self, RedisServerError> {
        for _ in 0..ATTEMPTS {
            let [port] = ports::free().map_err(|source| RedisServerError::Missing { source })?;
            if let Some(child) = spawn(port)? {
                return Ok(Self { port, child });
            }
        }
        Err(RedisServerError::NotUp)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, so that nothing answers any more and all data is gone.
    pub fn kill(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Stops it without ending it: connections stay open and nothing answers.
    pub fn suspend(&self) -> io::Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on after [`Self::suspend`].
    pub fn resume(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let id = id.ok_or(io::ErrorKind::NotFound)?;
        Ok(kill_process(id, signal)?)
    }

    /// Starts it again on the same port, empty. Blocks.
    pub fn restart(&mut self) -> Result<(), RedisServerError> {
        self.kill();
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            // The port may still be held by connections that are closing.
            if let Some(child) = spawn(self.port)? {
                self.child = child;
                return Ok(());
            }
        }
        Err(RedisServerError::NotUp)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that answers on `port`; none if it gave up.
fn spawn(port: u16) -> Result<Option<Child>, RedisServerError> {
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "redis-server"])
        .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
        .args(["--save", "", "--appendonly", "no"])
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|source| RedisServerError::Missing { source })?;
    let deadline = Instant::now() + DEADLINE;
    while Instant::now() < deadline && matches!(child.try_wait(), Ok(None)) {
        if answers(port).is_ok() {
            return Ok(Some(child));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    // As in `kill`.
    let _ = child.kill();
    let _ = child.wait();
    Ok(None)
}

fn answers(port: u16) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.write_all(b"PING\r\n")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    if &answer == b"+PONG" {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}
