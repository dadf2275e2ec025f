//! The forms that clients send are understood, and others are nobody's.

#![allow(clippy::unwrap_used)] // tests

use super::*;

fn read(sql: &str) -> SessionCommand {
    parse_command(sql, 0).unwrap().unwrap()
}

#[test]
fn transactions() {
    let SessionCommand::Begin { modes, start } = read("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else {
        panic!("no BEGIN")
    };
    assert_eq!(modes.isolation, Some((Isolation::RepeatableRead, "repeatable read")));
    assert_eq!((modes.read_only, start), (Some(true), false));
    assert!(matches!(read("start transaction"), SessionCommand::Begin { start: true, .. }));
    assert!(matches!(read("END"), SessionCommand::Commit { chain: false }));
    assert!(matches!(read("ABORT WORK AND CHAIN"), SessionCommand::Rollback { chain: true }));
    assert!(matches!(read("SAVEPOINT \"_pg3_1\""), SessionCommand::Savepoint(name) if name == "_pg3_1"));
    assert!(matches!(read("rollback to savepoint A"), SessionCommand::RollbackTo(name) if name == "a"));
    assert!(matches!(read("release a"), SessionCommand::Release(_)));
}

#[test]
fn settings() {
    for (sql, expected_name, expected) in [
        ("SET hnsw.ef_search = 100", "hnsw.ef_search", Some("100")),
        ("SET LOCAL statement_timeout TO '5s'", "statement_timeout", Some("5s")),
        ("SET SESSION x.y = -1.5", "x.y", Some("-1.5")),
        ("SET extra_float_digits = DEFAULT", "extra_float_digits", None),
        ("SET search_path TO a, \"B c\", '$user'", "search_path", Some("a, \"B c\", \"$user\"")),
        ("SET DateStyle = iso, dmy", "datestyle", Some("iso, dmy")),
        ("SET TIME ZONE 'UTC'", "TimeZone", Some("UTC")),
        ("SET TIME ZONE LOCAL", "TimeZone", None),
        ("SET NAMES 'utf8'", "client_encoding", Some("utf8")),
        ("set enable_seqscan to off", "enable_seqscan", Some("off")),
    ] {
        let SessionCommand::Set { name, value, .. } = read(sql) else { panic!("{sql}") };
        assert_eq!((name.as_str(), value.as_deref()), (expected_name, expected), "{sql}");
    }
    for (sql, expected) in
        [("SET ROLE \"X\"", Some("X")), ("set local role none", None), ("SET ROLE 'x'", Some("x"))]
    {
        let SessionCommand::SetRole { name, .. } = read(sql) else { panic!("{sql}") };
        assert_eq!(name.as_deref(), expected, "{sql}");
    }
    for (sql, expected) in
        [("SET SESSION AUTHORIZATION x", Some("x")), ("set session authorization default", None)]
    {
        let SessionCommand::SetAuthorization { name, .. } = read(sql) else { panic!("{sql}") };
        assert_eq!(name.as_deref(), expected, "{sql}");
    }
    assert!(matches!(read("SET LOCAL a.b = 1"), SessionCommand::Set { scope: SetScope::Local, .. }));
    assert!(
        matches!(read("SHOW TRANSACTION ISOLATION LEVEL"), SessionCommand::Show(name) if name == "transaction_isolation")
    );
    assert!(matches!(read("show time zone"), SessionCommand::Show(name) if name == "TimeZone"));
    assert!(matches!(read("RESET ALL"), SessionCommand::ResetAll));
    assert!(matches!(
        read("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED"),
        SessionCommand::SetCharacteristics(_)
    ));
    assert!(parse_command("SET x = 1, 2", 0).is_err());
}

#[test]
fn cursors() {
    for (sql, expected) in [
        ("FETCH FORWARD ALL FROM \"srv\"", Direction::Forward(u64::MAX)),
        ("FETCH 100 FROM srv", Direction::Forward(100)),
        ("FETCH srv", Direction::Forward(1)),
        ("FETCH NEXT FROM srv", Direction::Forward(1)),
        ("FETCH BACKWARD 5 IN srv", Direction::Backward(5)),
        ("FETCH ABSOLUTE -1 FROM srv", Direction::Absolute(-1)),
        ("FETCH -3 FROM srv", Direction::Backward(3)),
        ("FETCH PRIOR srv", Direction::Backward(1)),
        ("FETCH FORWARD 0 FROM srv", Direction::Forward(0)),
    ] {
        let SessionCommand::Fetch { name, direction, moves } = read(sql) else { panic!("{sql}") };
        assert_eq!((name.as_str(), direction, moves), ("srv", expected, false), "{sql}");
    }
    assert!(matches!(read("MOVE ABSOLUTE 7 FROM c"), SessionCommand::Fetch { moves: true, .. }));
    assert!(matches!(read("CLOSE ALL"), SessionCommand::Close(None)));
}

#[test]
fn the_rest() {
    let SessionCommand::Execute { arguments, .. } = read("EXECUTE p (1, f('a,b', 2), '{1,2}'::int[])") else {
        panic!("no EXECUTE")
    };
    assert_eq!(arguments, ["1", "f('a,b', 2)", "'{1,2}'::int[]"]);
    assert!(matches!(read("DEALLOCATE PREPARE ALL"), SessionCommand::Deallocate(None)));
    assert!(matches!(read("/* x */ DISCARD ALL -- y"), SessionCommand::Discard(Discard::All)));
    assert!(matches!(read("UNLISTEN *"), SessionCommand::Unlisten));
    assert!(parse_command("SELECT 1", 0).unwrap().is_none());
    assert!(parse_command("settle", 0).unwrap().is_none());
    let error = parse_command("COMMIT nonsense", 0).unwrap_err();
    assert_eq!((error.message(), error.position()), ("syntax error at or near \"nonsense\"", Some(8)));
}
