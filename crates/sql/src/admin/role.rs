//! CREATE, ALTER and DROP ROLE.

use super::membership::add;
use super::{
    Actor, GrantOptions, RoleOptions, RoleSpec, actor, denied, is_bootstrap, limit, lock_role,
    lock_shared_name, name_of, put, skipping,
};
use crate::decode::value_from_text;
use crate::outcome::Notice;
use crate::statement::StatementContext;
use crate::wire::scram::Verifier;
use datafusion::scalar::ScalarValue;
use quiver_base::{Error, Result, SqlState, SqlType};
use quiver_cluster::{CatalogEdit, Role};

/// CREATE ROLE.
pub(super) async fn create(
    ctx: &mut StatementContext<'_>,
    name: &str,
    options: &RoleOptions,
) -> Result<&'static str> {
    let actor = actor(ctx);
    if !actor.create_role {
        return Err(denied("permission denied to create role")
            .with_detail("Only roles with the CREATEROLE attribute may create roles."));
    }
    may_give(&actor, options, "permission denied to create role", "create roles with")?;
    refuse_reserved(name)?;
    lock_shared_name(ctx, "role", name).await?;
    if super::role_id(ctx, name).is_ok() {
        return Err(exists(name));
    }
    let mut role = Role::new(ctx.txn.new_oid(), name);
    apply(ctx, &mut role, options)?;
    let id = role.id;
    put(ctx, role)?;
    let plain = GrantOptions::default();
    for of in &options.in_roles {
        let of = name_of(ctx, of);
        add(ctx, &of, name, plain).await?;
    }
    for (members, admin) in [(&options.members, None), (&options.admins, Some(true))] {
        for member in members {
            let member = name_of(ctx, member);
            add(ctx, name, &member, GrantOptions { admin, ..plain }).await?;
        }
    }
    // As in PostgreSQL 16, who makes a role without being a superuser may grant it and change it.
    if !actor.superuser {
        let creator = ctx.settings.current_user();
        let admin = GrantOptions { admin: Some(true), inherit: Some(false), set: Some(false) };
        super::membership::add_granted_by(ctx, id, &creator, admin, quiver_cluster::BOOTSTRAP_ROLE).await?;
    }
    Ok("CREATE ROLE")
}

/// ALTER ROLE name options.
pub(super) async fn alter(
    ctx: &mut StatementContext<'_>,
    spec: &RoleSpec,
    options: &RoleOptions,
) -> Result<&'static str> {
    let name = name_of(ctx, spec);
    let mut role = lock_role(ctx, &name).await?;
    let actor = actor(ctx);
    let denied_here = "permission denied to alter role";
    let only_password = RoleOptions { password: options.password.clone(), ..RoleOptions::default() };
    let own_password = role.id == actor.id && options.is_like(&only_password);
    if role.superuser && !actor.superuser {
        return Err(denied(denied_here).with_detail(
            "Only roles with the SUPERUSER attribute may alter roles with the SUPERUSER attribute.",
        ));
    }
    if !own_password && !manages(ctx, &actor, role.id) {
        return Err(denied(denied_here).with_detail(format!(
            "Only roles with the CREATEROLE attribute and the ADMIN option on role \"{name}\" may alter this role."
        )));
    }
    may_give(&actor, options, denied_here, "change")?;
    if options.superuser == Some(false) && is_bootstrap(role.id) {
        return Err(
            denied(denied_here).with_detail("The bootstrap superuser must have the SUPERUSER attribute.")
        );
    }
    apply(ctx, &mut role, options)?;
    put(ctx, role)?;
    // ALTER GROUP … ADD USER.
    for member in &options.members {
        let member = name_of(ctx, member);
        add(ctx, &name, &member, GrantOptions::default()).await?;
    }
    Ok("ALTER ROLE")
}

/// ALTER ROLE … RENAME TO.
pub(super) async fn rename(ctx: &mut StatementContext<'_>, name: &str, to: &str) -> Result<&'static str> {
    let role = lock_role(ctx, name).await?;
    if name == ctx.settings.session_user() {
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "session user cannot be renamed"));
    }
    if name == ctx.settings.current_user() {
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, "current user cannot be renamed"));
    }
    refuse_reserved(to)?;
    lock_shared_name(ctx, "role", to).await?;
    if super::role_id(ctx, to).is_ok() {
        return Err(exists(to));
    }
    let actor = actor(ctx);
    if (role.superuser && !actor.superuser) || !manages(ctx, &actor, role.id) {
        return Err(denied("permission denied to rename role"));
    }
    put(ctx, Role { name: to.to_owned(), ..role })?;
    Ok("ALTER ROLE")
}

/// DROP ROLE.
pub(super) async fn drop(
    ctx: &mut StatementContext<'_>,
    roles: &[RoleSpec],
    if_exists: bool,
) -> Result<&'static str> {
    let actor = actor(ctx);
    if !actor.create_role {
        return Err(denied("permission denied to drop role"));
    }
    for spec in roles {
        let RoleSpec::Named(name) = spec else {
            let message = "cannot use special role specifier in DROP ROLE";
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        };
        match lock_role(ctx, name).await {
            Ok(role) => drop_one(ctx, &actor, &role)?,
            Err(error) if if_exists && error.state() == SqlState::UNDEFINED_OBJECT => {
                skipping(ctx, format!("role \"{name}\" does not exist, skipping"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok("DROP ROLE")
}

fn drop_one(ctx: &mut StatementContext<'_>, actor: &Actor, role: &Role) -> Result<()> {
    let in_use = |what: &str| Err(Error::new(SqlState::OBJECT_IN_USE, format!("{what} cannot be dropped")));
    if role.id == actor.id {
        return in_use("current user");
    }
    if role.name == ctx.settings.session_user() {
        return in_use("session user");
    }
    if (role.superuser && !actor.superuser) || !manages(ctx, actor, role.id) {
        return Err(denied("permission denied to drop role"));
    }
    let cannot = |why: &str| {
        Error::new(
            SqlState::DEPENDENT_OBJECTS_STILL_EXIST,
            format!("cannot drop role {} because {why}", role.name),
        )
    };
    if is_bootstrap(role.id) {
        return Err(cannot("it is required by the database system"));
    }
    let owned = owned_by(ctx, role.id);
    if !owned.is_empty() {
        let message = format!("role \"{}\" cannot be dropped because some objects depend on it", role.name);
        return Err(
            Error::new(SqlState::DEPENDENT_OBJECTS_STILL_EXIST, message).with_detail(owned.join("\n"))
        );
    }
    let catalog = ctx.txn.catalog();
    for member in catalog.roles.values() {
        if member.member_of.iter().any(|grant| grant.role == role.id) {
            let mut changed = Role::clone(member);
            changed.member_of.retain(|grant| grant.role != role.id);
            put(ctx, changed)?;
        }
    }
    ctx.txn.edit(vec![CatalogEdit::DropRole(role.id)])
}

/// What a role owns, as DETAIL lists it: what is in this database by name.
fn owned_by(ctx: &StatementContext<'_>, role: u32) -> Vec<String> {
    let catalog = ctx.txn.catalog();
    let mut lines = Vec::new();
    for database in catalog.databases.values() {
        if database.owner == role {
            lines.push(format!("owner of database {}", database.name));
        }
        let schemas = database.schemas.values().filter(|schema| schema.owner == role);
        let tables = database.tables.values().filter(|table| table.owner == role);
        let sequences = database.sequences.values().filter(|sequence| sequence.owner == role);
        let names: Vec<String> = schemas
            .map(|schema| format!("owner of schema {}", schema.name))
            .chain(tables.map(|table| format!("owner of table {}", table.name)))
            .chain(sequences.map(|sequence| format!("owner of sequence {}", sequence.name)))
            .collect();
        if database.id == ctx.session.database_id {
            lines.extend(names);
        } else if !names.is_empty() {
            let objects = if names.len() == 1 { "object" } else { "objects" };
            lines.push(format!("{} {objects} in database {}", names.len(), database.name));
        }
    }
    lines
}

/// Whether somebody may change a role.
fn manages(ctx: &StatementContext<'_>, actor: &Actor, role: u32) -> bool {
    actor.superuser || (actor.create_role && ctx.txn.catalog().is_admin_of(actor.id, role))
}

/// Nobody can give what he does not have.
fn may_give(actor: &Actor, options: &RoleOptions, message: &str, verb: &str) -> Result<()> {
    let attributes = [
        (options.superuser, actor.superuser, "SUPERUSER"),
        (options.replication, actor.superuser, "REPLICATION"),
        (options.bypass_rls, actor.superuser, "BYPASSRLS"),
        (options.create_database, actor.create_database, "CREATEDB"),
    ];
    for (given, may, attribute) in attributes {
        let asks = if verb == "change" { given.is_some() } else { given == Some(true) };
        if asks && !may {
            return Err(denied(message).with_detail(format!(
                "Only roles with the {attribute} attribute may {verb} the {attribute} attribute."
            )));
        }
    }
    Ok(())
}

fn refuse_reserved(name: &str) -> Result<()> {
    if matches!(name, "public" | "none") {
        return Err(Error::new(SqlState::RESERVED_NAME, format!("role name \"{name}\" is reserved")));
    }
    if name.starts_with("pg_") {
        return Err(Error::new(SqlState::RESERVED_NAME, format!("role name \"{name}\" is reserved"))
            .with_detail("Role names starting with \"pg_\" are reserved."));
    }
    Ok(())
}

fn exists(name: &str) -> Error {
    Error::new(SqlState::DUPLICATE_OBJECT, format!("role \"{name}\" already exists"))
}

fn apply(ctx: &mut StatementContext<'_>, role: &mut Role, options: &RoleOptions) -> Result<()> {
    let flags = [
        (&mut role.superuser, options.superuser),
        (&mut role.inherit, options.inherit),
        (&mut role.create_role, options.create_role),
        (&mut role.create_database, options.create_database),
        (&mut role.login, options.login),
        (&mut role.replication, options.replication),
        (&mut role.bypass_rls, options.bypass_rls),
    ];
    for (flag, given) in flags {
        *flag = given.unwrap_or(*flag);
    }
    if let Some(given) = options.connection_limit {
        role.connection_limit = limit(given)?;
    }
    if let Some(password) = &options.password {
        role.password = verifier(ctx, password.as_deref())?;
    }
    if let Some(text) = &options.valid_until {
        role.valid_until = Some(timestamp(ctx, text)?);
    }
    Ok(())
}

/// What is kept of a password: a SCRAM verifier, given as such or made.
fn verifier(ctx: &mut StatementContext<'_>, password: Option<&str>) -> Result<Option<String>> {
    let Some(password) = password else { return Ok(None) };
    if password.is_empty() {
        let message = "empty string is not a valid password, clearing password";
        ctx.notices.push(Notice::new(SqlState::SUCCESSFUL_COMPLETION, message));
        return Ok(None);
    }
    let digest = password.strip_prefix("md5").filter(|digest| digest.len() == 32);
    if digest.is_some_and(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(Error::unsupported("a password as an MD5 hash")
            .with_hint("Give the password itself, or a SCRAM-SHA-256 verifier."));
    }
    if Verifier::parse(password).is_some() {
        return Ok(Some(password.to_owned()));
    }
    Ok(Some(Verifier::of_password(password).to_string()))
}

fn timestamp(ctx: &StatementContext<'_>, text: &str) -> Result<i64> {
    let style = ctx.settings.input_style(ctx.session.transaction_start_us());
    match value_from_text(&SqlType::Timestamptz(None), text, &style)? {
        ScalarValue::TimestampMicrosecond(Some(value), _) => Ok(value),
        _ => Err(Error::internal("a time stamp that is none")),
    }
}

impl RoleOptions {
    /// Whether the same things are said, whatever the password.
    fn is_like(&self, other: &RoleOptions) -> bool {
        let said = |options: &RoleOptions| {
            let flags = [
                options.superuser,
                options.inherit,
                options.create_role,
                options.create_database,
                options.login,
                options.replication,
                options.bypass_rls,
            ];
            (flags, options.connection_limit, options.valid_until.clone(), options.members.clone())
        };
        said(self) == said(other)
    }
}
