//! The supervisor's loop: one `poll` over the socket, the agents, the outputs and the ends of all containers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, kill_process, set_child_subreaper,
    setrlimit, waitpid,
};

use super::children::Child;
use super::protocol::{Call, Known, Message, Reply, Request, VERSION};
use super::{ENV_CONTAINER_ID, LOCK, SOCKET, procfs, record};

/// How often strays are looked for and the orphan clock is read while nothing happens.
const TICK: Duration = Duration::from_secs(5);
/// The same, for a while after a container has ended: what it detached may be on its way to us.
const HURRY: Duration = Duration::from_millis(50);
/// How long that while is.
const HURRY_FOR: Duration = Duration::from_secs(2);
/// From SIGTERM to SIGKILL when no agent has come back in time.
const LAST_GRACE: Duration = Duration::from_secs(30);
/// An agent that does not read for so long is dropped.
const WRITE_PATIENCE: Duration = Duration::from_secs(5);

/// Descriptors that the supervisor may use.
const MOST_FILES: u64 = 65_536;

struct Agent {
    stream: UnixStream,
    pending: Vec<u8>,
    gone: bool,
}

struct Server {
    dir: PathBuf,
    listener: UnixListener,
    agents: Vec<Agent>,
    children: BTreeMap<String, Child>,
    orphan_grace: Duration,
    alone_since: Option<Instant>,
    asked_at: Option<Instant>,
    hurry_until: Option<Instant>,
    over: bool,
}

/// Runs until told to shut down, or until it has been without an agent for `orphan_grace`.
pub(crate) fn run(dir: &Path, orphan_grace: Duration) -> io::Result<()> {
    // Alone in its session: a Ctrl-C at the terminal is for the agent.
    let _ = rustix::process::setsid();
    set_child_subreaper(Some(rustix::process::getpid()))?;
    raise_file_limit();
    let lock = File::create(dir.join(LOCK))?;
    lock.try_lock()
        .map_err(|_| io::Error::other("another supervisor runs on this folder"))?;
    // The path of a socket is limited to 107 bytes; relative to the folder it is always short.
    std::env::set_current_dir(dir)?;
    drop(std::fs::remove_file(SOCKET));
    let listener = UnixListener::bind(SOCKET)?;
    let mut server = Server {
        dir: dir.to_owned(),
        listener,
        agents: Vec::new(),
        children: BTreeMap::new(),
        orphan_grace,
        alone_since: Some(Instant::now()),
        asked_at: None,
        hurry_until: None,
        over: false,
    };
    while !server.over {
        server.turn()?;
    }
    server.kill_all();
    drop(std::fs::remove_file(SOCKET));
    Ok(())
}

/// Each container takes two descriptors, and the usual limit of 1,024 would end at five hundred of them.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(MOST_FILES, |most| most.min(MOST_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            ..limit
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            note(&format!("cannot raise the limit of open files: {error}"));
        }
    }
}

/// A line for the supervisor's own log, which is its standard error.
pub(crate) fn note(text: &str) {
    // There is nowhere to report that reporting failed.
    drop(writeln!(io::stderr(), "{} {text}", Timestamp::now()));
}

/// The arguments between the program and `supervise`, with which it can call itself again.
pub(crate) fn verbs() -> Vec<String> {
    std::env::args()
        .skip(1)
        .take_while(|arg| arg != "supervise")
        .collect()
}

/// What one round of `poll` found.
#[derive(Default)]
struct Found {
    knock: bool,
    agents: Vec<usize>,
    ended: Vec<String>,
    output: Vec<String>,
}

impl Server {
    fn turn(&mut self) -> io::Result<()> {
        let found = self.wait()?;
        for id in found.output {
            if let Some(child) = self.children.get_mut(&id) {
                child.drain();
            }
        }
        for index in found.agents {
            self.read(index);
        }
        for id in found.ended {
            self.collect(&id);
        }
        if found.knock {
            self.accept();
        }
        self.agents.retain(|agent| !agent.gone);
        self.sweep();
        self.watch_clock();
        Ok(())
    }

    fn wait(&self) -> io::Result<Found> {
        enum Source<'a> {
            Knock,
            Agent(usize),
            Ended(&'a str),
            Output(&'a str),
        }
        let mut sources = vec![Source::Knock];
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        for (index, agent) in self.agents.iter().enumerate() {
            sources.push(Source::Agent(index));
            fds.push(PollFd::new(&agent.stream, PollFlags::IN));
        }
        for (id, child) in &self.children {
            if !child.has_ended() {
                sources.push(Source::Ended(id));
                fds.push(PollFd::from_borrowed_fd(child.pidfd.as_fd(), PollFlags::IN));
            }
            if let Some(output) = &child.output {
                sources.push(Source::Output(id));
                fds.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
            }
        }
        let pause = if self.hurry_until.is_some() {
            HURRY
        } else {
            TICK
        };
        let pause = to_timespec(pause);
        match poll(&mut fds, Some(&pause)) {
            Err(error) if error != rustix::io::Errno::INTR => return Err(error.into()),
            _ => {}
        }
        let mut found = Found::default();
        for (source, fd) in sources.iter().zip(&fds) {
            if fd.revents().is_empty() {
                continue;
            }
            match source {
                Source::Knock => found.knock = true,
                Source::Agent(index) => found.agents.push(*index),
                Source::Ended(id) => found.ended.push((*id).to_owned()),
                Source::Output(id) => found.output.push((*id).to_owned()),
            }
        }
        Ok(found)
    }

    fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else {
            return;
        };
        if stream.set_write_timeout(Some(WRITE_PATIENCE)).is_ok() {
            self.agents.push(Agent {
                stream,
                pending: Vec::new(),
                gone: false,
            });
        }
    }

    fn read(&mut self, index: usize) {
        let mut buffer = [0_u8; 16 * 1024];
        let agent = &mut self.agents[index];
        match agent.stream.read(&mut buffer) {
            Ok(0) => agent.gone = true,
            Ok(count) => agent.pending.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => agent.gone = true,
        }
        while let Some(end) = self.agents[index]
            .pending
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let line: Vec<u8> = self.agents[index].pending.drain(..=end).collect();
            match serde_json::from_slice::<Call>(&line) {
                Ok(call) => {
                    let reply = self.answer(call.request);
                    self.agents[index].send(&Message::Reply {
                        seq: call.seq,
                        reply,
                    });
                }
                Err(error) => {
                    note(&format!("a call that cannot be read: {error}"));
                    self.agents[index].gone = true;
                    return;
                }
            }
        }
    }

    fn answer(&mut self, request: Request) -> Reply {
        match request {
            Request::Hello => Reply::Version { version: VERSION },
            Request::Start(launch) => self.start(&launch),
            Request::Term { id } => self.signal(&id, Signal::TERM),
            Request::Kill { id } => self.signal(&id, Signal::KILL),
            Request::Forget { id } => {
                if self.children.get(&id).is_none_or(Child::has_ended) {
                    self.children.remove(&id);
                    record::remove(&self.dir, &id);
                }
                Reply::Done
            }
            Request::List => Reply::Containers(self.known()),
            Request::Shutdown => {
                self.over = true;
                Reply::Done
            }
        }
    }

    fn known(&self) -> Vec<Known> {
        self.children
            .values()
            .map(|child| child.record.known.clone())
            .collect()
    }

    fn start(&mut self, launch: &super::protocol::Launch) -> Reply {
        if let Some(child) = self.children.get(&launch.id) {
            return Reply::Started(child.record.known.clone());
        }
        match Child::start(&self.dir, launch) {
            Ok(child) => {
                let known = child.record.known.clone();
                self.children.insert(launch.id.clone(), child);
                Reply::Started(known)
            }
            Err(error) => Reply::Failed {
                message: error.to_string(),
            },
        }
    }

    fn signal(&mut self, id: &str, signal: Signal) -> Reply {
        if let Some(child) = self.children.get_mut(id) {
            child.signal(signal);
        }
        Reply::Done
    }

    fn collect(&mut self, id: &str) {
        let Some(known) = self
            .children
            .get_mut(id)
            .and_then(|child| child.collect(&self.dir))
        else {
            return;
        };
        self.hurry_until = Some(Instant::now() + HURRY_FOR);
        let message = Message::Ended(known);
        for agent in &mut self.agents {
            agent.send(&message);
        }
    }

    /// Kills what ended containers detached, and collects every ended process that fell to us.
    fn sweep(&mut self) {
        let own = rustix::process::getpid();
        for pid in fallen_to(own) {
            let is_container = self
                .children
                .values()
                .any(|child| !child.has_ended() && child.record.known.pid == pid);
            let Some(number) = Pid::from_raw(pid).filter(|_| !is_container) else {
                continue;
            };
            // A process that has overwritten its environment names nobody: it stays until everything ends.
            let owner = procfs::env(pid, ENV_CONTAINER_ID);
            if owner.is_some_and(|id| self.children.get(&id).is_none_or(Child::has_ended)) {
                let _ = kill_process(number, Signal::KILL);
            }
            let _ = waitpid(Some(number), WaitOptions::NOHANG);
        }
        if self
            .hurry_until
            .is_some_and(|until| Instant::now() >= until)
        {
            self.hurry_until = None;
        }
    }

    /// Ends everything once no agent has been there for too long.
    fn watch_clock(&mut self) {
        if !self.agents.is_empty() {
            self.alone_since = None;
            self.asked_at = None;
            return;
        }
        let alone = self.alone_since.get_or_insert_with(Instant::now).elapsed();
        if alone < self.orphan_grace {
            return;
        }
        let live = self.children.values().any(|child| !child.has_ended());
        match self.asked_at {
            _ if !live => self.over = true,
            Some(at) => self.over = at.elapsed() >= LAST_GRACE,
            None => {
                note("no agent has come back: stopping all containers");
                self.asked_at = Some(Instant::now());
                self.children
                    .values_mut()
                    .for_each(|child| child.signal(Signal::TERM));
            }
        }
    }

    /// Kills and collects until no child is left.
    fn kill_all(&mut self) {
        self.children
            .values_mut()
            .for_each(|child| child.signal(Signal::KILL));
        let ids: Vec<String> = self.children.keys().cloned().collect();
        let until = Instant::now() + WRITE_PATIENCE;
        while Instant::now() < until {
            for id in &ids {
                if self
                    .children
                    .get(id)
                    .is_some_and(|child| !child.has_ended())
                {
                    self.collect(id);
                }
            }
            self.sweep();
            let left = !fallen_to(rustix::process::getpid()).is_empty();
            if !left && self.children.values().all(Child::has_ended) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Agent {
    fn send(&mut self, message: &Message) {
        let Ok(mut line) = serde_json::to_vec(message) else {
            return;
        };
        line.push(b'\n');
        self.gone |= self.stream.write_all(&line).is_err();
    }
}

/// The children of `own`; from the kernel's list where there is one.
fn fallen_to(own: Pid) -> Vec<i32> {
    let own = own.as_raw_nonzero().get();
    match std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")) {
        Ok(list) => list
            .split_ascii_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .collect(),
        Err(_) => procfs::all()
            .iter()
            .filter(|stat| stat.parent == own)
            .map(|stat| stat.pid)
            .collect(),
    }
}

fn to_timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
