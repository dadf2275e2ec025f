//! Settings follow transactions, check values and print them as PostgreSQL does.

#![allow(clippy::unwrap_used)] // tests

use super::*;

fn settings() -> Settings {
    Settings::new("alice")
}

#[test]
fn set_local_ends_with_the_transaction_and_set_is_undone_by_rollback() {
    let settings = settings();
    settings.begin();
    settings.set("hnsw.ef_search", "100", SetScope::Local).unwrap();
    settings.set("work_mem", "8MB", SetScope::Session).unwrap();
    assert_eq!(settings.ef_search(), 100);
    settings.end(true);
    assert_eq!(settings.ef_search(), 40);
    assert_eq!(settings.show("work_mem").unwrap(), "8MB");

    settings.begin();
    settings.set("work_mem", "1GB", SetScope::Session).unwrap();
    settings.end(false);
    assert_eq!(settings.show("work_mem").unwrap(), "8MB");
}

#[test]
fn rollback_to_a_savepoint_brings_its_values_back() {
    let settings = settings();
    settings.begin();
    settings.set("hnsw.ef_search", "50", SetScope::Session).unwrap();
    settings.savepoint();
    settings.set("hnsw.ef_search", "60", SetScope::Session).unwrap();
    settings.rollback_to(1);
    assert_eq!(settings.ef_search(), 50);
    settings.set("hnsw.ef_search", "70", SetScope::Session).unwrap();
    settings.release(1);
    settings.end(true);
    assert_eq!(settings.ef_search(), 70);
}

#[test]
fn units_are_read_and_shown_as_postgresql_does() {
    let settings = settings();
    for (name, value, shown) in [
        ("statement_timeout", "0", "0"),
        ("statement_timeout", "1500", "1500ms"),
        ("statement_timeout", "5s", "5s"),
        ("statement_timeout", "1.5 min", "90s"),
        ("work_mem", "4096", "4MB"),
        ("work_mem", "100kB", "100kB"),
        ("TimeZone", "europe/berlin", "Europe/Berlin"),
        ("TimeZone", "2", "Etc/GMT-2"),
        ("datestyle", "dmy", "ISO, DMY"),
        ("client_encoding", "utf-8", "UTF8"),
        ("enable_seqscan", "FALSE", "off"),
        ("my.own", "x", "x"),
    ] {
        assert_eq!(settings.set(name, value, SetScope::Session).unwrap(), shown, "{name}");
    }
}

#[test]
fn wrong_names_and_values_are_refused_in_postgresql_s_words() {
    let settings = settings();
    for (name, value, state, message) in [
        ("nonsense", "1", "42704", "unrecognized configuration parameter \"nonsense\""),
        ("hnsw.nonsense", "1", "42602", "invalid configuration parameter name \"hnsw.nonsense\""),
        (
            "hnsw.ef_search",
            "0",
            "22023",
            "0 is outside the valid range for parameter \"hnsw.ef_search\" (1 .. 1000)",
        ),
        ("hnsw.ef_search", "x", "22023", "invalid value for parameter \"hnsw.ef_search\": \"x\""),
        ("enable_seqscan", "x", "22023", "parameter \"enable_seqscan\" requires a Boolean value"),
        ("server_version", "17", "55P02", "parameter \"server_version\" cannot be changed"),
        ("TimeZone", "Mars", "22023", "invalid value for parameter \"TimeZone\": \"Mars\""),
        ("client_encoding", "LATIN1", "22023", "invalid value for parameter \"client_encoding\": \"LATIN1\""),
    ] {
        let error = settings.set(name, value, SetScope::Session).unwrap_err();
        assert_eq!((error.state().code(), error.message()), (state, message));
    }
    assert!(settings.show("my.own").is_err());
}

#[test]
fn reset_goes_back_to_what_the_client_connected_with() {
    let settings = settings();
    settings.set_initial("application_name", "psql").unwrap();
    settings.set("application_name", "other", SetScope::Session).unwrap();
    settings.set("search_path", "\"A b\", \"$user\", Public", SetScope::Session).unwrap();
    assert_eq!(settings.search_path(), ["A b", "alice", "public"]);
    settings.reset("application_name", SetScope::Session).unwrap();
    settings.reset_all();
    assert_eq!(settings.show("application_name").unwrap(), "psql");
    assert_eq!(settings.search_path(), ["alice", "public"]);
}
