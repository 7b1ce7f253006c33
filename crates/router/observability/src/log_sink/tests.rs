use super::*;

#[test]
fn lines_arrive_whole_in_order_and_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let sink = LogSink::open(LogOutput::File(path.clone())).unwrap();
    let writers: Vec<_> = (0..4).collect();

    std::thread::scope(|scope| {
        for writer in &writers {
            let sink = &sink;
            scope.spawn(move || {
                for number in 0..500 {
                    sink.push(&format!("{writer} {number}\n"));
                }
            });
        }
    });
    assert_eq!(sink.dropped(), 0);
    drop(sink);

    let text = std::fs::read_to_string(path).unwrap();
    for writer in writers {
        let own: Vec<String> = text
            .lines()
            .filter(|line| line.starts_with(&format!("{writer} ")))
            .map(str::to_owned)
            .collect();
        assert_eq!(
            own,
            (0..500)
                .map(|number| format!("{writer} {number}"))
                .collect::<Vec<_>>()
        );
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let sink = LogSink::open(LogOutput::File(folder.path().join("log"))).unwrap();

    sink.push(&"x".repeat(CAPACITY + 1));

    assert_eq!(sink.dropped(), 1);
}

#[test]
fn a_rotated_file_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let sink = LogSink::open(LogOutput::File(path.clone())).unwrap();
    std::fs::rename(&path, folder.path().join("log.1")).unwrap();

    sink.reopen();
    sink.push("after\n");
    drop(sink);

    assert_eq!(std::fs::read_to_string(path).unwrap(), "after\n");
}

#[test]
fn an_output_that_cannot_be_opened_is_an_error() {
    assert!(LogSink::open(LogOutput::File("/nonexistent/folder/log".into())).is_err());
}

/// A disk with so many bytes left.
#[derive(Clone)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (written, left) = &mut *self.0.lock().unwrap();
        let taken = bytes.len().min(*left);
        if taken == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *left -= taken;
        written.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_full_disk_costs_lines_and_tears_no_other() {
    let disk = Disk(Arc::new(Mutex::new((Vec::new(), 9))));
    let sink = LogSink::start(LogOutput::Stdout, Box::new(disk.clone())).unwrap();
    sink.push("first\nsecond\n");
    let until_lost = |count| {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while sink.dropped() < count {
            assert!(std::time::Instant::now() < deadline, "{}", sink.dropped());
            std::thread::yield_now();
        }
    };
    until_lost(1);
    sink.push("third\n");
    until_lost(2);

    disk.0.lock().unwrap().1 = usize::MAX;
    sink.push("fourth\n");
    drop(sink);

    let written = String::from_utf8(disk.0.lock().unwrap().0.clone()).unwrap();
    assert_eq!(written, "first\nsec\nfourth\n");
}
