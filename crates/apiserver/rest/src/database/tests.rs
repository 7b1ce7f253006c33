use super::*;

fn put(key: &str, value: &'static str) -> Write {
    Write {
        key: key.into(),
        value: Some(Bytes::from_static(value.as_bytes())),
    }
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("objects.redb");
    let (mut database, loaded) = Database::open(&path, Storage::File).unwrap();
    assert!(loaded.objects.is_empty());
    database.commit(&[put("b", "2"), put("a", "1")], 7).unwrap();
    let removal = Write {
        key: "b".into(),
        value: None,
    };
    database.commit(&[removal], 8).unwrap();
    drop(database);

    let (_, loaded) = Database::open(&path, Storage::File).unwrap();

    assert_eq!(loaded.revision, 8);
    assert_eq!(loaded.objects, [("a".to_owned(), Bytes::from_static(b"1"))]);
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("objects.redb");
    let _first = Database::open(&path, Storage::File).unwrap();

    let error = Database::open(&path, Storage::File).unwrap_err();

    assert!(matches!(error, DatabaseError::InUse { .. }));
    assert!(
        error
            .to_string()
            .ends_with("objects.redb is in use by another process")
    );
}

#[test]
fn a_file_that_is_no_database_is_an_error_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("objects.redb");
    std::fs::write(&path, "something else entirely, of some length").unwrap();

    assert!(matches!(
        Database::open(&path, Storage::File),
        Err(DatabaseError::Failed { .. })
    ));
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "something else entirely, of some length"
    );
}
