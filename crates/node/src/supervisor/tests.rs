use jiff::Timestamp;
use proptest::prelude::*;

use super::logfile::{LONGEST_LINE, LogFile, rotated};
use super::procfs::{Stat, parse_stat};
use super::protocol::Known;
use super::reap::belongs;
use super::record::{self, Record};

#[test]
fn a_stat_line_is_read_though_the_program_has_an_odd_name() {
    let line = "77 (a) b (c) S 1 70 70 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 9 9";

    let stat = parse_stat(77, line).unwrap();

    assert_eq!(
        stat,
        Stat {
            pid: 77,
            parent: 1,
            group: 70,
            start_ticks: 4711,
            zombie: false
        }
    );
}

fn stat(pid: i32, group: i32, start_ticks: u64) -> Stat {
    Stat {
        pid,
        parent: 1,
        group,
        start_ticks,
        zombie: false,
    }
}

fn recorded(pid: i32, start_ticks: u64) -> Record {
    let known = Known {
        id: "u.c.1".to_owned(),
        pid,
        started_at: Timestamp::UNIX_EPOCH,
        ended: None,
    };
    Record {
        known,
        start_ticks,
        boot: "b".to_owned(),
    }
}

#[rstest::rstest]
#[case::the_process_itself(stat(50, 50, 100), &[stat(50, 50, 100)], true)]
#[case::a_member_of_its_group(stat(51, 50, 120), &[stat(50, 50, 100)], true)]
#[case::a_member_of_a_group_without_leader(stat(51, 50, 120), &[], true)]
#[case::another_process_of_that_number(stat(50, 50, 900), &[stat(50, 50, 900)], false)]
#[case::a_member_of_the_other_process_s_group(stat(51, 50, 901), &[stat(50, 50, 900)], false)]
#[case::a_stranger(stat(60, 60, 120), &[stat(50, 50, 100)], false)]
fn only_our_own_processes_are_ours(
    #[case] candidate: Stat,
    #[case] others: &[Stat],
    #[case] ours: bool,
) {
    let mut all = others.to_vec();
    all.push(candidate);

    assert_eq!(belongs(&candidate, &recorded(50, 100), &all), ours);
}

#[test]
fn a_record_is_read_back_and_a_broken_one_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    record::write(dir.path(), &recorded(5, 6)).unwrap();
    std::fs::write(dir.path().join("containers/broken.json"), "{").unwrap();

    assert_eq!(record::all(dir.path()), vec![recorded(5, 6)]);
}

/// The text in a log file, without times.
fn texts(path: &std::path::Path) -> Vec<(char, String)> {
    let content = std::fs::read_to_string(path).unwrap_or_default();
    content
        .lines()
        .map(|line| {
            let mut parts = line.splitn(3, ' ').skip(1);
            let tag = parts.next().unwrap().chars().next().unwrap();
            (tag, parts.next().unwrap().to_owned())
        })
        .collect()
}

#[test]
fn long_lines_are_written_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.log");
    let mut log = LogFile::open(&path, 1 << 20, 2).unwrap();

    log.write(
        "a".repeat(LONGEST_LINE + 3).as_bytes(),
        Timestamp::UNIX_EPOCH,
    )
    .unwrap();
    log.write(b"b\nlast", Timestamp::UNIX_EPOCH).unwrap();
    log.finish(Timestamp::UNIX_EPOCH).unwrap();

    let expected = [
        ('P', "a".repeat(LONGEST_LINE)),
        ('F', "aaab".to_owned()),
        ('F', "last".to_owned()),
    ];
    assert_eq!(texts(&path), expected);
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_lines(text in "[a-z\n]{0,200}", cuts in prop::collection::vec(0..200_usize, 0..8)) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = LogFile::open(&path, 1 << 20, 2).unwrap();
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.sort_unstable();
        let mut from = 0;
        for to in cuts.into_iter().chain([text.len()]) {
            log.write(&text.as_bytes()[from..to], Timestamp::UNIX_EPOCH).unwrap();
            from = to;
        }
        log.finish(Timestamp::UNIX_EPOCH).unwrap();

        let lines: Vec<String> = texts(&path).into_iter().map(|(_, line)| line).collect();
        prop_assert_eq!(lines, text.lines().map(str::to_owned).collect::<Vec<_>>());
    }

    #[test]
    fn rotation_keeps_the_youngest_lines_within_the_limit(
        count in 1..200_usize,
        files in 1..4_u32,
        at_once in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let mut log = LogFile::open(&path, 400, files).unwrap();
        let lines: Vec<String> = (0..count).map(|line| format!("line {line}\n")).collect();
        let writes = if at_once { vec![lines.concat()] } else { lines };
        for text in writes {
            log.write(text.as_bytes(), Timestamp::UNIX_EPOCH).unwrap();
        }
        let mut kept: Vec<String> = Vec::new();
        for age in (1..10).rev() {
            kept.extend(texts(&rotated(&path, age)).into_iter().map(|(_, line)| line));
        }
        kept.extend(texts(&path).into_iter().map(|(_, line)| line));

        let expected: Vec<String> = (count - kept.len()..count).map(|line| format!("line {line}")).collect();
        prop_assert_eq!(kept, expected);
        let sizes = std::fs::read_dir(dir.path()).unwrap().map(|one| one.unwrap().metadata().unwrap().len());
        prop_assert!(sizes.max() <= Some(400));
        let found = std::fs::read_dir(dir.path()).unwrap().count();
        prop_assert!(found <= files as usize);
    }
}
