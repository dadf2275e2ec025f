//! Host-based rules: who may connect from where to which database, and how they prove who they are. The format is that of
//! PostgreSQL's pg_hba.conf; what Quiver cannot do is refused when the rules are read, not when somebody connects.

use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{Catalog, Role};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// Where rules come from.
#[derive(Clone, Debug)]
pub enum HbaSource {
    /// A file.
    File(PathBuf),
    /// The lines themselves, from the configuration file.
    Lines(Vec<String>),
}

/// Rules in their order: the first that fits decides.
#[derive(Debug)]
pub(crate) struct Hba {
    /// Where they were read, for pg_hba_file_rules.
    pub file: String,
    /// The rules.
    pub rules: Vec<Rule>,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The line it stands in, from 1.
    pub line: usize,
    /// Which connections.
    pub kind: Kind,
    /// Which databases.
    pub databases: Vec<Name>,
    /// Which roles.
    pub users: Vec<Name>,
    /// From where; `None`: `local`, which nobody here comes from.
    pub address: Option<Address>,
    /// What to do.
    pub method: Method,
}

/// The first field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Local,
    Host,
    HostSsl,
    HostNoSsl,
    HostGss,
    HostNoGss,
}

/// A database or role, or several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// This one.
    Exactly(String),
    /// Every one.
    All,
    /// The database that is called like the role.
    SameUser,
    /// A database called like a role that the role is a member of.
    SameRole,
    /// Members of this role.
    MembersOf(String),
    /// Replication connections, of which there are none.
    Replication,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Anywhere.
    All,
    /// In this network: an address and the mask of its bits that count.
    Network(IpAddr, IpAddr),
}

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Not at all.
    Trust,
    /// It is not let in.
    Reject,
    /// SCRAM-SHA-256. `md5` in a file means the same: every stored password is a SCRAM verifier.
    Scram,
}

/// Who wants to connect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub address: IpAddr,
    pub encrypted: bool,
    pub user: &'a str,
    pub database: &'a str,
}

impl Hba {
    /// Reads rules; a line that cannot be carried out is an error that names it.
    pub(crate) fn load(source: &HbaSource) -> Result<Hba> {
        match source {
            HbaSource::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|cause| {
                    let what = format!("could not open file \"{}\": {cause}", path.display());
                    Error::new(SqlState::CONFIG_FILE_ERROR, what)
                })?;
                Hba::parse(&path.display().to_string(), text.lines())
            }
            HbaSource::Lines(lines) => Hba::parse("hba-rules", lines.iter().map(String::as_str)),
        }
    }

    fn parse<'a>(file: &str, lines: impl Iterator<Item = &'a str>) -> Result<Hba> {
        let mut rules = Vec::new();
        for (index, line) in lines.enumerate() {
            let at = |error: String| {
                Error::new(SqlState::CONFIG_FILE_ERROR, format!("{file}, line {}: {error}", index + 1))
            };
            let fields = fields(line).map_err(at)?;
            if !fields.is_empty() {
                rules.push(rule(index + 1, &fields).map_err(at)?);
            }
        }
        if rules.is_empty() {
            return Err(Error::new(SqlState::CONFIG_FILE_ERROR, format!("{file} has no rules")).with_hint(
                "Nobody could connect. A rule is a line such as: host all all 10.0.0.0/8 scram-sha-256",
            ));
        }
        Ok(Hba { file: file.to_owned(), rules })
    }

    /// What the first rule that fits says; 28000 if it rejects, or none fits.
    pub(crate) fn method(&self, candidate: Candidate<'_>, catalog: &Catalog) -> Result<Method> {
        let refused = |what: &str| {
            let Candidate { address, user, database, encrypted } = candidate;
            let encryption = if encrypted { "SSL encryption" } else { "no encryption" };
            Err(Error::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                format!(
                    "{what} for host \"{address}\", user \"{user}\", database \"{database}\", {encryption}"
                ),
            ))
        };
        match self.rules.iter().find(|rule| rule.fits(candidate, catalog)).map(|rule| rule.method) {
            Some(Method::Reject) => refused("pg_hba.conf rejects connection"),
            Some(method) => Ok(method),
            None => refused("no pg_hba.conf entry"),
        }
    }
}

impl Rule {
    fn fits(&self, candidate: Candidate<'_>, catalog: &Catalog) -> bool {
        let kind = match self.kind {
            Kind::Local | Kind::HostGss => false,
            Kind::Host | Kind::HostNoGss => true,
            Kind::HostSsl => candidate.encrypted,
            Kind::HostNoSsl => !candidate.encrypted,
        };
        let address = || self.address.is_some_and(|address| address.contains(candidate.address));
        let role = || catalog.roles.values().find(|role| role.name == candidate.user).map(AsRef::as_ref);
        kind && address()
            && self.databases.iter().any(|name| fits_database(name, candidate, role(), catalog))
            && self.users.iter().any(|name| fits_user(name, candidate.user, role(), catalog))
    }
}

fn fits_database(name: &Name, candidate: Candidate<'_>, role: Option<&Role>, catalog: &Catalog) -> bool {
    match name {
        Name::All => true,
        Name::Exactly(name) => name == candidate.database,
        Name::SameUser => candidate.database == candidate.user,
        Name::SameRole => is_member(role, candidate.database, catalog),
        Name::MembersOf(_) | Name::Replication => false,
    }
}

fn fits_user(name: &Name, user: &str, role: Option<&Role>, catalog: &Catalog) -> bool {
    match name {
        Name::All => true,
        Name::Exactly(name) => name == user,
        Name::MembersOf(group) => is_member(role, group, catalog),
        Name::SameUser | Name::SameRole | Name::Replication => false,
    }
}

/// Membership as it is written down: a superuser is not a member of every role here.
fn is_member(role: Option<&Role>, group: &str, catalog: &Catalog) -> bool {
    let group = catalog.roles.values().find(|role| role.name == group);
    role.zip(group).is_some_and(|(role, group)| catalog.is_member(role.id, group.id))
}

impl Address {
    fn contains(self, client: IpAddr) -> bool {
        // A client that came by IPv4 to a socket of IPv6 is a client of IPv4.
        let Address::Network(network, mask) = self else { return true };
        match (network, mask, client.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(mask), IpAddr::V4(client)) => client & mask == network & mask,
            (IpAddr::V6(network), IpAddr::V6(mask), IpAddr::V6(client)) => client & mask == network & mask,
            _ => false,
        }
    }
}

/// A word of a line, and whether it stood in quotes: those name things, however they look.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Word {
    text: String,
    quoted: bool,
}

/// The fields of a line, each a list of words with commas between. A comment begins with `#`.
fn fields(line: &str) -> Result<Vec<Vec<Word>>, String> {
    let mut fields: Vec<Vec<Word>> = Vec::new();
    let mut characters = line.chars().peekable();
    // After a comma the next word belongs to the same field.
    let mut goes_on = false;
    while let Some(&c) = characters.peek() {
        if c == '#' {
            break;
        } else if c.is_whitespace() {
            characters.next();
        } else if c == ',' {
            characters.next();
            goes_on = true;
        } else {
            let word = word(&mut characters)?;
            match fields.last_mut() {
                Some(field) if goes_on => field.push(word),
                _ => fields.push(vec![word]),
            }
            goes_on = false;
        }
    }
    Ok(fields)
}

fn word(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<Word, String> {
    let mut word = Word { text: String::new(), quoted: false };
    let mut inside = false;
    while let Some(&c) = characters.peek() {
        match c {
            '"' => {
                word.quoted = true;
                inside = !inside;
            }
            ',' | '#' if !inside => break,
            c if c.is_whitespace() && !inside => break,
            c => word.text.push(c),
        }
        characters.next();
    }
    if inside { Err("unterminated quoted string".to_owned()) } else { Ok(word) }
}

fn rule(line: usize, fields: &[Vec<Word>]) -> Result<Rule, String> {
    let mut fields = fields.iter();
    let mut single = |what: &str| -> Result<&Word, String> {
        match fields.next().map(Vec::as_slice) {
            Some([word]) => Ok(word),
            Some(_) => Err(format!("multiple values in {what}")),
            None => Err(format!("end-of-line before {what} specification")),
        }
    };
    let kind = match single("connection type")?.text.as_str() {
        "local" => Kind::Local,
        "host" => Kind::Host,
        "hostssl" => Kind::HostSsl,
        "hostnossl" => Kind::HostNoSsl,
        "hostgssenc" => Kind::HostGss,
        "hostnogssenc" => Kind::HostNoGss,
        word @ ("include" | "include_if_exists" | "include_dir") => {
            return Err(format!("\"{word}\" is not supported"));
        }
        word => return Err(format!("invalid connection type \"{word}\"")),
    };
    let mut several = |what: &str, is_database: bool| -> Result<Vec<Name>, String> {
        let words = fields.next().ok_or_else(|| format!("end-of-line before {what} specification"))?;
        words.iter().map(|word| name(word, is_database)).collect()
    };
    let (databases, users) = (several("database", true)?, several("role", false)?);
    let mut rest = fields.map(Vec::as_slice);
    let address = match kind {
        Kind::Local => None,
        _ => Some(address(&mut rest)?),
    };
    let method = match rest.next() {
        Some([word]) => method(&word.text)?,
        Some(_) => return Err("multiple values in authentication type".to_owned()),
        None => return Err("end-of-line before authentication method".to_owned()),
    };
    if let Some([option, ..]) = rest.next() {
        return Err(format!("unrecognized authentication option name: \"{}\"", option.text));
    }
    Ok(Rule { line, kind, databases, users, address, method })
}

fn name(word: &Word, is_database: bool) -> Result<Name, String> {
    let text = word.text.as_str();
    if word.quoted {
        return Ok(Name::Exactly(text.to_owned()));
    }
    Ok(match text {
        "all" => Name::All,
        "sameuser" if is_database => Name::SameUser,
        "samerole" | "samegroup" if is_database => Name::SameRole,
        "replication" if is_database => Name::Replication,
        _ if text.starts_with('@') => return Err("names from a file (@) are not supported".to_owned()),
        _ if text.starts_with('/') => return Err("regular expressions are not supported".to_owned()),
        _ => match text.strip_prefix('+').filter(|_| !is_database) {
            Some(group) => Name::MembersOf(group.to_owned()),
            None => Name::Exactly(text.to_owned()),
        },
    })
}

fn method(text: &str) -> Result<Method, String> {
    match text {
        "trust" => Ok(Method::Trust),
        "reject" => Ok(Method::Reject),
        "scram-sha-256" | "md5" => Ok(Method::Scram),
        "password" | "gss" | "sspi" | "ident" | "peer" | "ldap" | "radius" | "cert" | "pam" | "bsd" => {
            Err(format!("authentication method \"{text}\" is not supported"))
        }
        _ => Err(format!("invalid authentication method \"{text}\"")),
    }
}

/// `all`, `10.0.0.0/8`, or an address and a mask in the next field.
fn address<'a>(fields: &mut impl Iterator<Item = &'a [Word]>) -> Result<Address, String> {
    let text = match fields.next() {
        Some([word]) => word.text.as_str(),
        Some(_) => return Err("multiple values specified for host address".to_owned()),
        None => return Err("end-of-line before IP address specification".to_owned()),
    };
    match text {
        "all" => return Ok(Address::All),
        "samehost" | "samenet" => return Err(format!("\"{text}\" is not supported")),
        _ => {}
    }
    let (ip, bits) = match text.split_once('/') {
        Some((ip, bits)) => (ip, Some(bits)),
        None => (text, None),
    };
    let ip: IpAddr =
        ip.parse().map_err(|_| format!("invalid IP address \"{ip}\"; host names are not supported"))?;
    let mask = match (bits, ip) {
        (Some(bits), IpAddr::V4(_)) => bits.parse().ok().and_then(v4_mask).map(IpAddr::V4),
        (Some(bits), IpAddr::V6(_)) => bits.parse().ok().and_then(v6_mask).map(IpAddr::V6),
        (None, _) => match fields.next() {
            Some([word]) => word.text.parse().ok(),
            _ => return Err("end-of-line before netmask specification".to_owned()),
        },
    };
    match mask {
        Some(mask) if mask.is_ipv4() == ip.is_ipv4() => Ok(Address::Network(ip, mask)),
        _ => Err(format!("invalid CIDR mask or netmask in address \"{text}\"")),
    }
}

fn v4_mask(bits: u32) -> Option<Ipv4Addr> {
    (bits <= 32).then(|| Ipv4Addr::from(u32::MAX.checked_shl(32 - bits).unwrap_or(0)))
}

fn v6_mask(bits: u32) -> Option<Ipv6Addr> {
    (bits <= 128).then(|| Ipv6Addr::from(u128::MAX.checked_shl(128 - bits).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
