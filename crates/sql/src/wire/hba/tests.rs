//! Rules as they are read and as they decide.
#![allow(clippy::unwrap_used)] // tests

use super::*;
use std::sync::Arc;

fn hba(text: &str) -> Hba {
    Hba::parse("test", text.lines()).unwrap()
}

fn problem(line: &str) -> String {
    Hba::parse("test", std::iter::once(line)).unwrap_err().message().to_owned()
}

/// `boss` is a member of `staff`.
fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (id, name) in [(1, "staff"), (2, "boss"), (3, "guest")] {
        let mut role = Role::new(id, name);
        if name == "boss" {
            role.member_of.push(quiver_cluster::Membership {
                id: 9,
                role: 1,
                grantor: 10,
                admin: false,
                inherit: true,
                set: true,
            });
        }
        catalog.roles.insert(id, Arc::new(role));
    }
    catalog
}

fn decide(hba: &Hba, address: &str, encrypted: bool, user: &str, database: &str) -> Option<Method> {
    let candidate = Candidate { address: address.parse().unwrap(), encrypted, user, database };
    hba.method(candidate, &catalog()).ok()
}

#[test]
fn the_first_rule_that_fits_decides() {
    let hba = hba("# comment\n\
         local all all trust\n\
         host all guest all reject\n\
         hostssl sales,\"all\" +staff 10.0.0.0/8 scram-sha-256 # the rest of the line\n\
         hostnossl sameuser all 127.0.0.1 255.255.255.255 trust\n\
         host samerole all ::1/128 md5\n");
    assert_eq!(decide(&hba, "10.1.2.3", true, "boss", "sales"), Some(Method::Scram));
    assert_eq!(decide(&hba, "::ffff:10.1.2.3", true, "boss", "all"), Some(Method::Scram));
    assert_eq!(decide(&hba, "10.1.2.3", false, "boss", "sales"), None);
    assert_eq!(decide(&hba, "11.1.2.3", true, "boss", "sales"), None);
    assert_eq!(decide(&hba, "10.1.2.3", true, "boss", "other"), None);
    assert_eq!(decide(&hba, "10.1.2.3", true, "guest", "sales"), None);
    assert_eq!(decide(&hba, "127.0.0.1", false, "boss", "boss"), Some(Method::Trust));
    assert_eq!(decide(&hba, "127.0.0.2", false, "boss", "boss"), None);
    assert_eq!(decide(&hba, "::1", false, "boss", "staff"), Some(Method::Scram));
    assert_eq!(decide(&hba, "::2", false, "boss", "staff"), None);
}

#[test]
fn refusals_say_what_postgresql_says() {
    let hba = hba("host all guest all reject");
    let candidate =
        |user| Candidate { address: [127, 0, 0, 1].into(), encrypted: false, user, database: "d" };
    let error = hba.method(candidate("guest"), &catalog()).unwrap_err();
    assert_eq!(error.state(), SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    assert_eq!(
        error.message(),
        "pg_hba.conf rejects connection for host \"127.0.0.1\", user \"guest\", database \"d\", no encryption"
    );
    let error = hba.method(candidate("boss"), &catalog()).unwrap_err();
    assert_eq!(
        error.message(),
        "no pg_hba.conf entry for host \"127.0.0.1\", user \"boss\", database \"d\", no encryption"
    );
}

#[test]
fn what_cannot_be_carried_out_is_refused_by_line() {
    for (line, expected) in [
        ("hosts all all all trust", "test, line 1: invalid connection type \"hosts\""),
        ("host all", "end-of-line before role"),
        ("host all all", "end-of-line before IP address"),
        ("host all all 10.0.0.0", "end-of-line before netmask"),
        ("host all all 10.0.0.0/33 trust", "invalid CIDR mask"),
        ("host all all 10.0.0.0 ffff:: trust", "invalid CIDR mask"),
        ("host all all example.org trust", "host names are not supported"),
        ("host all all all", "end-of-line before authentication method"),
        ("host all all all ldap", "\"ldap\" is not supported"),
        ("host all all all truts", "invalid authentication method"),
        ("host all all all scram-sha-256 map=x", "unrecognized authentication option name"),
        ("host \"all all all trust", "unterminated"),
        ("include other.conf", "\"include\" is not supported"),
        ("# nothing", "has no rules"),
    ] {
        assert!(problem(line).contains(expected), "{line}: {}", problem(line));
    }
}
