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
