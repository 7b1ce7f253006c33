//! The live view of `kthena local up` on a terminal, which here is a pseudo terminal.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::machine::{Machine, example, until};

/// Clears from the cursor to the end: what every repainting begins with.
const CLEAR: &str = "\u{1b}[J";

/// What Ctrl-C sends.
const CTRL_C: u8 = 3;

/// A terminal with a program on it.
struct Terminal {
    keys: File,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
    program: Child,
}

impl Terminal {
    /// Starts `command` with a terminal of its own, from which Ctrl-C reaches it as from a keyboard.
    fn with(command: &Command, columns: u16, rows: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let keys = openpt(flags).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let path = ptsname(&keys, Vec::new()).unwrap();
        let keys = File::from(keys);
        resize(&keys, columns, rows);
        let screen = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path.to_str().unwrap())
            .unwrap();
        let mut wrapped = Command::new("setsid");
        wrapped
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::from(screen.try_clone().unwrap()))
            .stdout(Stdio::from(screen.try_clone().unwrap()))
            .stderr(Stdio::from(screen));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        let program = wrapped.spawn().unwrap();
        let shown = Arc::<Mutex<Vec<u8>>>::default();
        let (mut source, sink) = (keys.try_clone().unwrap(), Arc::clone(&shown));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // Reading fails once nobody has the screen open.
            while let Ok(length @ 1..) = source.read(&mut buffer) {
                sink.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self {
            keys,
            shown,
            reader,
            program,
        }
    }

    /// All that was written so far.
    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned()
    }

    /// The last whole frame that was painted after the first `from` bytes.
    fn frame(&self, from: usize) -> Option<Vec<String>> {
        let shown = self.shown();
        let frames: Vec<&str> = shown.get(from..)?.split(CLEAR).collect();
        // The first piece may belong to an older frame, and the last one may not be whole yet.
        let [_, whole @ .., _] = frames.as_slice() else {
            return None;
        };
        let text = whole.last()?.split('\u{1b}').next()?;
        Some(text.lines().map(str::to_owned).collect())
    }

    /// Presses Ctrl-C, and gives all that was shown until the program ended, and whether it ended well.
    fn interrupt(mut self) -> (bool, String) {
        self.keys.write_all(&[CTRL_C]).unwrap();
        let success = until("the program ends", || self.program.try_wait().unwrap()).success();
        self.reader.join().unwrap();
        let shown = String::from_utf8_lossy(&self.shown.lock().unwrap()).into_owned();
        (success, shown)
    }
}

fn resize(keys: &File, columns: u16, rows: u16) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(keys, size).unwrap();
}

#[test]
fn the_live_view_draws_follows_the_window_and_ends_with_ctrl_c() {
    let machine = Machine::new();
    let path = example("quickstart");
    let arguments: [&OsStr; 4] = [
        "up".as_ref(),
        "--port=0".as_ref(),
        "-f".as_ref(),
        path.as_ref(),
    ];
    let terminal = Terminal::with(&machine.command(&arguments), 120, 30);

    let wide = until("a frame with both pods ready and how busy they are", || {
        let frame = terminal.frame(0)?;
        let busy = frame
            .iter()
            .filter(|line| line.contains("KV cache"))
            .count();
        (busy == 2).then_some(frame)
    });
    assert!(
        wide.iter()
            .any(|line| line.starts_with("qwen  2/2 groups ready")),
        "{wide:?}"
    );
    let pod = |frame: &[String]| {
        frame
            .iter()
            .find(|line| line.contains("qwen-0-server-0-0"))
            .cloned()
    };
    assert!(
        pod(&wide).is_some_and(|line| line.contains("ready") && line.len() > 40),
        "{wide:?}"
    );

    let before = terminal.shown().len();
    resize(&terminal.keys, 40, 4);
    let narrow = until("a frame of the new size", || {
        let frame = terminal.frame(before)?;
        (frame.len() < 4).then_some(frame)
    });
    assert!(
        narrow.iter().all(|line| line.chars().count() <= 40),
        "{narrow:?}"
    );
    assert!(pod(&narrow).is_some(), "{narrow:?}");

    let (success, shown) = terminal.interrupt();

    assert!(success, "{shown}");
    assert!(shown.ends_with("stopping\r\n"), "{:?}", &shown[before..]);
    let (hidden, back) = ("\u{1b}[?25l", "\u{1b}[?25h");
    assert_eq!(
        shown.matches(hidden).count(),
        shown.matches(back).count(),
        "the cursor is left hidden"
    );
    assert_eq!(machine.processes(), Vec::<i32>::new());
}
