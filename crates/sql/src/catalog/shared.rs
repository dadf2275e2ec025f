//! What all databases share, and who is connected: pg_database, pg_authid and its views, memberships, stored settings, host-based
//! rules, sessions.

use super::context::CatalogContext;
use super::fixed::fixed;
use super::rows::{Cell, Rows};
use crate::wire::hba::{Address, Kind, Method, Name, Rule};
use quiver_base::Result;
use quiver_cluster::{BOOTSTRAP_ROLE, DefaultSetting, Role};

/// UTF8's number in pg_encoding.
const UTF8: i64 = 6;
/// The default tablespace's oid.
const PG_DEFAULT: i64 = 1663;
/// Oids of the two template databases, as in PostgreSQL 16.
const TEMPLATES: [(&str, i64); 2] = [("template1", 1), ("template0", 4)];
/// What is shown in place of a password.
const HIDDEN: &str = "********";

/// The oid of one of PostgreSQL's predefined roles, such as pg_read_all_data.
pub(crate) fn predefined_role(name: &str) -> Option<u32> {
    let table = fixed().tables.get("pg_authid")?;
    let row = table.rows.iter().find(|row| table.value(row, "rolname") == Some(name))?;
    table.value(row, "oid")?.parse().ok()
}

/// pg_database, the templates that PostgreSQL has included: no one can connect to them here.
pub(super) fn pg_database(context: &CatalogContext, rows: &mut Rows<'_>) {
    let mut push = |oid: i64, name: &str, owner: u32, flags: [bool; 2], limit: i32| {
        rows.push([
            ("oid", oid.into()),
            ("datname", name.into()),
            ("datdba", owner.into()),
            ("encoding", UTF8.into()),
            ("datlocprovider", "c".into()),
            ("datistemplate", flags[0].into()),
            ("datallowconn", flags[1].into()),
            ("datconnlimit", limit.into()),
            ("dattablespace", PG_DEFAULT.into()),
            ("datcollate", "C.UTF-8".into()),
            ("datctype", "C.UTF-8".into()),
        ]);
    };
    for (name, oid) in TEMPLATES {
        push(oid, name, BOOTSTRAP_ROLE, [true, false], -1);
    }
    for database in context.catalog.databases.values() {
        let flags = [database.is_template, database.allow_connections];
        push(database.id.0.into(), &database.name, database.owner, flags, database.connection_limit);
    }
}

fn attributes(role: &Role) -> [(&'static str, Cell); 11] {
    [
        ("oid", role.id.into()),
        ("rolname", role.name.as_str().into()),
        ("rolsuper", role.superuser.into()),
        ("rolinherit", role.inherit.into()),
        ("rolcreaterole", role.create_role.into()),
        ("rolcreatedb", role.create_database.into()),
        ("rolcanlogin", role.login.into()),
        ("rolreplication", role.replication.into()),
        ("rolbypassrls", role.bypass_rls.into()),
        ("rolconnlimit", role.connection_limit.into()),
        ("rolvaliduntil", role.valid_until.into()),
    ]
}

fn with<const N: usize, const M: usize>(
    cells: [(&'static str, Cell); N],
    more: [(&'static str, Cell); M],
) -> Vec<(&'static str, Cell)> {
    cells.into_iter().chain(more).collect()
}

/// pg_authid: verifiers are for superusers, others see none.
pub(super) fn pg_authid(context: &CatalogContext, rows: &mut Rows<'_>) -> Result<()> {
    if let Some(table) = fixed().tables.get("pg_authid") {
        rows.push_fixed(table)?;
    }
    let sees = acts_as_superuser(context);
    for role in context.catalog.roles.values() {
        let password = role.password.as_deref().filter(|_| sees).into();
        rows.push_all(with(attributes(role), [("rolpassword", password)]));
    }
    Ok(())
}

pub(super) fn acts_as_superuser(context: &CatalogContext) -> bool {
    let role = crate::session::current_role(&context.catalog, &context.settings);
    context.catalog.roles.get(&role).is_some_and(|role| role.superuser)
}

/// pg_roles.
pub(super) fn pg_roles(context: &CatalogContext, rows: &mut Rows<'_>) {
    if let Some(table) = fixed().tables.get("pg_authid") {
        for row in &table.rows {
            let value = |column| table.value(row, column);
            rows.push([
                ("oid", value("oid").and_then(|it| it.parse::<i64>().ok()).into()),
                ("rolname", value("rolname").into()),
                ("rolinherit", true.into()),
                ("rolconnlimit", (-1).into()),
                ("rolpassword", HIDDEN.into()),
            ]);
        }
    }
    for role in context.catalog.roles.values() {
        let config = config(&role.settings, 0);
        rows.push_all(with(attributes(role), [("rolpassword", HIDDEN.into()), ("rolconfig", config)]));
    }
}

/// pg_user, and pg_shadow with the verifiers.
pub(super) fn pg_user(context: &CatalogContext, rows: &mut Rows<'_>) {
    users(context, rows, |_| HIDDEN.into());
}

/// pg_shadow.
pub(super) fn pg_shadow(context: &CatalogContext, rows: &mut Rows<'_>) {
    let sees = acts_as_superuser(context);
    users(context, rows, |role| role.password.as_deref().filter(|_| sees).into());
}

fn users(context: &CatalogContext, rows: &mut Rows<'_>, password: impl Fn(&Role) -> Cell) {
    for role in context.catalog.roles.values().filter(|it| it.login) {
        rows.push([
            ("usename", role.name.as_str().into()),
            ("usesysid", role.id.into()),
            ("usecreatedb", role.create_database.into()),
            ("usesuper", role.superuser.into()),
            ("userepl", role.replication.into()),
            ("usebypassrls", role.bypass_rls.into()),
            ("passwd", password(role)),
            ("valuntil", role.valid_until.into()),
            ("useconfig", config(&role.settings, 0)),
        ]);
    }
}

/// pg_group: roles that may not connect, and their members.
pub(super) fn pg_group(context: &CatalogContext, rows: &mut Rows<'_>) {
    predefined_groups(context, rows);
    for group in context.catalog.roles.values().filter(|it| !it.login) {
        let is_member =
            |role: &&std::sync::Arc<Role>| role.member_of.iter().any(|grant| grant.role == group.id);
        let members = context.catalog.roles.values().filter(is_member).map(|role| role.id.into());
        rows.push([
            ("groname", group.name.as_str().into()),
            ("grosysid", group.id.into()),
            ("grolist", Cell::Ints(members.collect())),
        ]);
    }
}

/// PostgreSQL's predefined roles, with the members that they come with and those granted here.
fn predefined_groups(context: &CatalogContext, rows: &mut Rows<'_>) {
    let tables = &fixed().tables;
    let (Some(roles), Some(grants)) = (tables.get("pg_authid"), tables.get("pg_auth_members")) else {
        return;
    };
    for row in &roles.rows {
        let oid = roles.value(row, "oid").and_then(|it| it.parse::<u32>().ok());
        let own = grants.rows.iter().filter(|grant| grants.value(grant, "roleid") == roles.value(row, "oid"));
        let own = own.filter_map(|grant| grants.value(grant, "member")?.parse::<i64>().ok());
        let is_member = |role: &&std::sync::Arc<Role>| role.member_of.iter().any(|it| Some(it.role) == oid);
        let granted = context.catalog.roles.values().filter(is_member).map(|role| role.id.into());
        rows.push([
            ("groname", roles.value(row, "rolname").into()),
            ("grosysid", oid.into()),
            ("grolist", Cell::Ints(own.chain(granted).collect())),
        ]);
    }
}

/// pg_auth_members.
pub(super) fn pg_auth_members(context: &CatalogContext, rows: &mut Rows<'_>) -> Result<()> {
    if let Some(table) = fixed().tables.get("pg_auth_members") {
        rows.push_fixed(table)?;
    }
    for member in context.catalog.roles.values() {
        for grant in &member.member_of {
            rows.push([
                ("oid", grant.id.into()),
                ("roleid", grant.role.into()),
                ("member", member.id.into()),
                ("grantor", grant.grantor.into()),
                ("admin_option", grant.admin.into()),
                ("inherit_option", grant.inherit.into()),
                ("set_option", grant.set.into()),
            ]);
        }
    }
    Ok(())
}

/// `{name=value,…}` of the settings for one database, or for all (0).
fn config(settings: &[DefaultSetting], database: u32) -> Cell {
    let of_database = settings.iter().filter(|setting| setting.database == database);
    let texts: Vec<String> =
        of_database.map(|setting| format!("{}={}", setting.name, setting.value)).collect();
    if texts.is_empty() { Cell::Null } else { Cell::Texts(texts) }
}

/// pg_db_role_setting.
pub(super) fn pg_db_role_setting(context: &CatalogContext, rows: &mut Rows<'_>) {
    let mut push = |database: u32, role: u32, settings: &[DefaultSetting], of: u32| {
        let config = config(settings, of);
        if config != Cell::Null {
            rows.push([("setdatabase", database.into()), ("setrole", role.into()), ("setconfig", config)]);
        }
    };
    for database in context.catalog.databases.values() {
        push(database.id.0, 0, &database.settings, 0);
    }
    for role in context.catalog.roles.values() {
        let mut databases: Vec<u32> = role.settings.iter().map(|setting| setting.database).collect();
        databases.sort_unstable();
        databases.dedup();
        for database in databases {
            push(database, role.id, &role.settings, database);
        }
    }
}

/// pg_hba_file_rules: the rules in force; none without a file.
pub(super) fn pg_hba_file_rules(context: &CatalogContext, rows: &mut Rows<'_>) {
    let Some(hba) = context.session.backends.upgrade().and_then(|backends| backends.hba.clone()) else {
        return;
    };
    for (index, rule) in hba.rules.iter().enumerate() {
        let (address, mask) = shown_address(rule);
        rows.push([
            ("rule_number", (index + 1).into()),
            ("file_name", hba.file.as_str().into()),
            ("line_number", rule.line.into()),
            ("type", shown_kind(rule.kind).into()),
            ("database", Cell::Texts(rule.databases.iter().map(shown_name).collect())),
            ("user_name", Cell::Texts(rule.users.iter().map(shown_name).collect())),
            ("address", address.into()),
            ("netmask", mask.into()),
            ("auth_method", shown_method(rule.method).into()),
        ]);
    }
}

fn shown_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Local => "local",
        Kind::Host => "host",
        Kind::HostSsl => "hostssl",
        Kind::HostNoSsl => "hostnossl",
        Kind::HostGss => "hostgssenc",
        Kind::HostNoGss => "hostnogssenc",
    }
}

fn shown_method(method: Method) -> &'static str {
    match method {
        Method::Trust => "trust",
        Method::Reject => "reject",
        Method::Scram => "scram-sha-256",
    }
}

fn shown_name(name: &Name) -> String {
    match name {
        Name::Exactly(name) => name.clone(),
        Name::All => "all".to_owned(),
        Name::SameUser => "sameuser".to_owned(),
        Name::SameRole => "samerole".to_owned(),
        Name::MembersOf(group) => format!("+{group}"),
        Name::Replication => "replication".to_owned(),
    }
}

fn shown_address(rule: &Rule) -> (Option<String>, Option<String>) {
    match rule.address {
        None => (None, None),
        Some(Address::All) => (Some("all".to_owned()), None),
        Some(Address::Network(network, mask)) => (Some(network.to_string()), Some(mask.to_string())),
    }
}

/// pg_stat_activity: every session. What others run is for superusers, and for who is the same role.
pub(super) fn activity(context: &CatalogContext, rows: &mut Rows<'_>) {
    let Some(backends) = context.session.backends.upgrade() else { return };
    let is_superuser = acts_as_superuser(context);
    for session in backends.list() {
        let activity = session.activity();
        let sees = is_superuser || session.user == context.session.user;
        let in_transaction = activity.state != "idle";
        rows.push([
            ("datid", session.database_id.0.into()),
            ("datname", session.database.as_str().into()),
            ("pid", session.pid.into()),
            ("usesysid", session.role.into()),
            ("usename", session.user.as_str().into()),
            ("application_name", activity.application_name.into()),
            ("client_port", session.client.map(|client| i32::from(client.port())).into()),
            ("backend_start", session.started_us.into()),
            ("xact_start", Some(session.transaction_start_us()).filter(|_| sees && in_transaction).into()),
            ("query_start", Some(session.statement_start_us()).filter(|_| sees).into()),
            ("state_change", Some(activity.state_change_us).filter(|_| sees).into()),
            ("state", Some(activity.state).filter(|_| sees).into()),
            ("query", if sees { activity.query } else { "<insufficient privilege>".to_owned() }.into()),
            ("backend_type", "client backend".into()),
        ]);
    }
}

/// pg_stat_ssl: which sessions are encrypted, and how.
pub(super) fn ssl(context: &CatalogContext, rows: &mut Rows<'_>) {
    let Some(backends) = context.session.backends.upgrade() else { return };
    for session in backends.list() {
        let encryption = session.encryption.as_ref();
        rows.push([
            ("pid", session.pid.into()),
            ("ssl", encryption.is_some().into()),
            ("version", encryption.map(|it| it.version.clone()).into()),
            ("cipher", encryption.map(|it| it.cipher.clone()).into()),
            ("bits", encryption.map(|it| if it.cipher.contains("128") { 128 } else { 256 }).into()),
        ]);
    }
}
