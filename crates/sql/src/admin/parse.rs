//! From a statement's text to a command about roles or databases.

use super::{AdminCommand, DatabaseOptions, GrantOptions, RoleOptions, RoleSpec, SettingChange};
use crate::session::{Reader, Token};
use quiver_base::{Error, Result, SqlState};

/// Takes a statement if it is about roles or databases, by its first words; `None`: it is somebody else's. `sql` is the text of one
/// statement without its semicolon, `offset` its byte offset in the query string.
pub(crate) fn parse_admin(sql: &str, offset: usize) -> Result<Option<AdminCommand>> {
    let mut words = sql.split_ascii_whitespace().map(str::to_ascii_lowercase);
    let verb = words.next().unwrap_or_default();
    if !matches!(verb.as_str(), "create" | "alter" | "drop" | "grant" | "revoke") {
        return Ok(None);
    }
    let mut reader = Reader::new(sql, offset)?;
    reader.word(&verb);
    let is_role = |kind: &str| matches!(kind, "role" | "user" | "group");
    let kind = match reader.peek() {
        Some(Token::Word(word)) => word.clone(),
        _ => String::new(),
    };
    let command = match verb.as_str() {
        "grant" | "revoke" if grants_roles(sql)? => match verb.as_str() {
            "grant" => grant(&mut reader)?,
            _ => revoke(&mut reader)?,
        },
        "create" if is_role(&kind) => create_role(&mut reader, kind == "user")?,
        // CREATE USER MAPPING is about foreign servers.
        "alter" | "drop" if is_role(&kind) && !reader.words(&["user", "mapping"]) => match verb.as_str() {
            "alter" => alter_role(&mut reader, &kind)?,
            _ => drop_roles(&mut reader)?,
        },
        _ if kind == "database" && verb != "grant" && verb != "revoke" => {
            reader.word("database");
            match verb.as_str() {
                "create" => create_database(&mut reader)?,
                "alter" => alter_database(&mut reader)?,
                _ => drop_database(&mut reader)?,
            }
        }
        _ => return Ok(None),
    };
    reader.end()?;
    Ok(Some(command))
}

/// Privileges are granted ON something; roles are not.
fn grants_roles(sql: &str) -> Result<bool> {
    let mut reader = Reader::new(sql, 0)?;
    let mut before_end = true;
    while before_end && !reader.at_end() {
        if reader.word("on") {
            return Ok(false);
        }
        before_end = !reader.word("to") && !reader.word("from");
        if before_end {
            reader.skip();
        }
    }
    Ok(!before_end)
}

fn role_spec(reader: &mut Reader<'_>) -> Result<RoleSpec> {
    if reader.word("current_user") || reader.word("current_role") {
        Ok(RoleSpec::Current)
    } else if reader.word("session_user") {
        Ok(RoleSpec::Session)
    } else {
        reader.name().map(RoleSpec::Named)
    }
}

fn list<T>(reader: &mut Reader<'_>, item: fn(&mut Reader<'_>) -> Result<T>) -> Result<Vec<T>> {
    let mut items = vec![item(reader)?];
    while reader.symbol(',') {
        items.push(item(reader)?);
    }
    Ok(items)
}

fn text(reader: &mut Reader<'_>) -> Result<String> {
    match reader.peek() {
        Some(Token::Text(text)) => {
            let text = text.clone();
            reader.skip();
            Ok(text)
        }
        _ => Err(reader.syntax_error()),
    }
}

fn number(reader: &mut Reader<'_>) -> Result<i64> {
    let negative = reader.symbol('-');
    let Some(Token::Number(digits)) = reader.peek() else { return Err(reader.syntax_error()) };
    let value: i64 = digits.parse().map_err(|_| reader.syntax_error())?;
    reader.skip();
    Ok(if negative { -value } else { value })
}

fn create_role(reader: &mut Reader<'_>, is_user: bool) -> Result<AdminCommand> {
    reader.skip();
    let name = reader.name()?;
    let mut options = role_options(reader)?;
    if is_user && options.login.is_none() {
        options.login = Some(true);
    }
    Ok(AdminCommand::CreateRole { name, options })
}

fn role_options(reader: &mut Reader<'_>) -> Result<RoleOptions> {
    let mut options = RoleOptions::default();
    reader.word("with");
    while !reader.at_end() {
        role_option(reader, &mut options)?;
    }
    Ok(options)
}

/// Sets an option that may be given once.
fn once<T>(reader: &Reader<'_>, option: &mut Option<T>, value: T) -> Result<()> {
    if option.is_some() {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "conflicting or redundant options")
            .with_position(reader.position()));
    }
    *option = Some(value);
    Ok(())
}

fn role_option(reader: &mut Reader<'_>, options: &mut RoleOptions) -> Result<()> {
    if reader.word("encrypted") && !matches!(reader.peek(), Some(Token::Word(word)) if word == "password") {
        return Err(reader.syntax_error());
    }
    if reader.word("password") {
        let password = if reader.word("null") { None } else { Some(text(reader)?) };
        return once(reader, &mut options.password, password);
    } else if reader.words(&["connection", "limit"]) {
        let limit = number(reader)?;
        return once(reader, &mut options.connection_limit, limit);
    } else if reader.words(&["valid", "until"]) {
        let until = text(reader)?;
        return once(reader, &mut options.valid_until, until);
    } else if reader.words(&["in", "role"]) || reader.words(&["in", "group"]) {
        options.in_roles = list(reader, role_spec)?;
        return Ok(());
    } else if reader.word("role") || reader.word("user") {
        options.members = list(reader, role_spec)?;
        return Ok(());
    } else if reader.word("admin") {
        options.admins = list(reader, role_spec)?;
        return Ok(());
    } else if reader.word("sysid") {
        // Ignored there too.
        return number(reader).map(drop);
    }
    let (at, word) = (reader.position(), reader.name()?);
    let (flag, value) = match word.strip_prefix("no") {
        Some(flag) => (flag, false),
        None => (word.as_str(), true),
    };
    let option = match flag {
        "superuser" => &mut options.superuser,
        "inherit" => &mut options.inherit,
        "createrole" => &mut options.create_role,
        "createdb" => &mut options.create_database,
        "login" => &mut options.login,
        "replication" => &mut options.replication,
        "bypassrls" => &mut options.bypass_rls,
        _ => {
            let message = format!("unrecognized role option \"{word}\"");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).with_position(at));
        }
    };
    once(reader, option, value)
}

fn alter_role(reader: &mut Reader<'_>, kind: &str) -> Result<AdminCommand> {
    reader.skip();
    let role = if reader.word("all") { None } else { Some(role_spec(reader)?) };
    if let (Some(RoleSpec::Named(name)), true) = (&role, reader.words(&["rename", "to"])) {
        return Ok(AdminCommand::RenameRole { name: name.clone(), to: reader.name()? });
    }
    if kind == "group" {
        return alter_group(reader, role);
    }
    let database = if reader.words(&["in", "database"]) { Some(reader.name()?) } else { None };
    if let Some(change) = setting_change(reader)? {
        return Ok(AdminCommand::AlterRoleSetting { role, database, change });
    }
    match role {
        Some(role) if database.is_none() => {
            Ok(AdminCommand::AlterRole { role, options: role_options(reader)? })
        }
        _ => Err(reader.syntax_error()),
    }
}

/// ALTER GROUP name {ADD | DROP} USER names.
fn alter_group(reader: &mut Reader<'_>, group: Option<RoleSpec>) -> Result<AdminCommand> {
    let Some(RoleSpec::Named(group)) = group else { return Err(reader.syntax_error()) };
    let (roles, options) = (vec![group], GrantOptions::default());
    if reader.words(&["add", "user"]) {
        Ok(AdminCommand::GrantRoles { roles, to: list(reader, role_spec)?, options })
    } else if reader.words(&["drop", "user"]) {
        Ok(AdminCommand::RevokeRoles { roles, from: list(reader, role_spec)?, options })
    } else {
        Err(reader.syntax_error())
    }
}

fn setting_change(reader: &mut Reader<'_>) -> Result<Option<SettingChange>> {
    if reader.word("reset") {
        return Ok(Some(match reader.word("all") {
            true => SettingChange::ResetAll,
            false => SettingChange::Reset(reader.dotted_name()?),
        }));
    }
    if !reader.word("set") {
        return Ok(None);
    }
    let is_zone = reader.words(&["time", "zone"]);
    let name = if is_zone { "TimeZone".to_owned() } else { reader.dotted_name()? };
    if reader.words(&["from", "current"]) {
        return Ok(Some(SettingChange::FromCurrent(name)));
    }
    if !is_zone && !reader.symbol('=') && !reader.word("to") {
        return Err(reader.syntax_error());
    }
    let value = reader.values(&name)?;
    Ok(Some(SettingChange::Set(name, value)))
}

fn drop_roles(reader: &mut Reader<'_>) -> Result<AdminCommand> {
    reader.skip();
    let if_exists = reader.words(&["if", "exists"]);
    Ok(AdminCommand::DropRoles { roles: list(reader, role_spec)?, if_exists })
}

fn grant(reader: &mut Reader<'_>) -> Result<AdminCommand> {
    let roles = list(reader, |reader| reader.name())?;
    reader.expect_word("to")?;
    let to = list(reader, role_spec)?;
    let mut options = GrantOptions::default();
    if reader.word("with") {
        loop {
            let option = grant_option(reader)?;
            let value = !reader.word("false");
            if value && !reader.word("option") && !reader.word("true") {
                return Err(reader.syntax_error());
            }
            set_option(&mut options, option, value);
            if !reader.symbol(',') {
                break;
            }
        }
    }
    granted_by(reader)?;
    Ok(AdminCommand::GrantRoles { roles, to, options })
}

fn revoke(reader: &mut Reader<'_>) -> Result<AdminCommand> {
    let mut options = GrantOptions::default();
    for (word, option) in [("admin", 0), ("inherit", 1), ("set", 2)] {
        if reader.words(&[word, "option", "for"]) {
            set_option(&mut options, option, true);
        }
    }
    let roles = list(reader, |reader| reader.name())?;
    reader.expect_word("from")?;
    let from = list(reader, role_spec)?;
    granted_by(reader)?;
    let _ = reader.word("cascade") || reader.word("restrict");
    Ok(AdminCommand::RevokeRoles { roles, from, options })
}

fn grant_option(reader: &mut Reader<'_>) -> Result<usize> {
    let words = ["admin", "inherit", "set"];
    words.iter().position(|word| reader.word(word)).ok_or_else(|| reader.syntax_error())
}

fn set_option(options: &mut GrantOptions, option: usize, value: bool) {
    let place = match option {
        0 => &mut options.admin,
        1 => &mut options.inherit,
        _ => &mut options.set,
    };
    *place = Some(value);
}

fn granted_by(reader: &mut Reader<'_>) -> Result<()> {
    match reader.words(&["granted", "by"]) {
        true => Err(Error::unsupported("GRANTED BY")),
        false => Ok(()),
    }
}

fn create_database(reader: &mut Reader<'_>) -> Result<AdminCommand> {
    let name = reader.name()?;
    let options = database_options(reader, true)?;
    Ok(AdminCommand::CreateDatabase { name, options })
}

fn alter_database(reader: &mut Reader<'_>) -> Result<AdminCommand> {
    let name = reader.name()?;
    if reader.words(&["rename", "to"]) {
        return Ok(AdminCommand::RenameDatabase { name, to: reader.name()? });
    }
    if reader.words(&["owner", "to"]) {
        let options = DatabaseOptions { owner: Some(role_spec(reader)?), ..DatabaseOptions::default() };
        return Ok(AdminCommand::AlterDatabase { name, options });
    }
    for refused in [&["set", "tablespace"][..], &["refresh", "collation"]] {
        if reader.words(refused) {
            return Err(Error::unsupported(format!("ALTER DATABASE {}", refused.join(" ").to_uppercase())));
        }
    }
    if let Some(change) = setting_change(reader)? {
        return Ok(AdminCommand::AlterDatabaseSetting { name, change });
    }
    let options = database_options(reader, false)?;
    Ok(AdminCommand::AlterDatabase { name, options })
}

/// Options, each with or without `=`. What cannot differ here is taken if it asks for what every database has.
fn database_options(reader: &mut Reader<'_>, is_new: bool) -> Result<DatabaseOptions> {
    let mut options = DatabaseOptions::default();
    reader.word("with");
    while !reader.at_end() {
        let at = reader.position();
        let name = if reader.words(&["connection", "limit"]) {
            "connection_limit".to_owned()
        } else {
            reader.name()?
        };
        reader.symbol('=');
        match name.as_str() {
            "owner" if is_new => {
                let owner = if reader.word("default") { RoleSpec::Current } else { role_spec(reader)? };
                once(reader, &mut options.owner, owner)?;
            }
            "connection_limit" => {
                let limit = number(reader)?;
                once(reader, &mut options.connection_limit, limit)?;
            }
            "allow_connections" => {
                let allow = boolean(reader)?;
                once(reader, &mut options.allow_connections, allow)?;
            }
            "is_template" => {
                let template = boolean(reader)?;
                once(reader, &mut options.is_template, template)?;
            }
            _ if is_new => fixed_option(reader, &name, at)?,
            _ => return Err(unrecognized(&name, at)),
        }
    }
    Ok(options)
}

fn boolean(reader: &mut Reader<'_>) -> Result<bool> {
    let value = reader.value()?.unwrap_or_default();
    crate::decode::bool_word(&value).ok_or_else(|| reader.syntax_error())
}

fn unrecognized(name: &str, at: u32) -> Error {
    Error::new(SqlState::SYNTAX_ERROR, format!("database option \"{name}\" not recognized")).with_position(at)
}

/// An option of which there is one value only.
fn fixed_option(reader: &mut Reader<'_>, name: &str, at: u32) -> Result<()> {
    let allowed: &[&str] = match name {
        "template" => &["template0", "template1"],
        "encoding" => &["utf8", "utf-8", "unicode", "6"],
        "locale" | "lc_collate" | "lc_ctype" => &["c", "c.utf-8", "c.utf8", "posix"],
        "locale_provider" => &["libc"],
        "tablespace" => &["pg_default"],
        "strategy" => &["wal_log", "file_copy"],
        "oid" | "collation_version" | "icu_locale" | "icu_rules" => &[],
        _ => return Err(unrecognized(name, at)),
    };
    if reader.word("default") {
        return Ok(());
    }
    let value = reader.value()?.unwrap_or_default();
    if allowed.contains(&value.to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Error::unsupported(format!("{} \"{value}\"", name.to_uppercase()))
        .with_detail("Every database is made empty, in UTF8, and sorts text by code point (C.UTF-8)."))
}

fn drop_database(reader: &mut Reader<'_>) -> Result<AdminCommand> {
    let if_exists = reader.words(&["if", "exists"]);
    let name = reader.name()?;
    let with = reader.word("with");
    let mut force = false;
    if reader.symbol('(') {
        reader.expect_word("force")?;
        while reader.symbol(',') {
            reader.expect_word("force")?;
        }
        if !reader.symbol(')') {
            return Err(reader.syntax_error());
        }
        force = true;
    } else if with {
        return Err(reader.syntax_error());
    }
    Ok(AdminCommand::DropDatabase { name, if_exists, force })
}
