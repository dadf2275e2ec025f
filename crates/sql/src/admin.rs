//! Statements about what all databases share: roles, memberships, databases, the settings that sessions begin with. Parsed by
//! hand; carried out as edits of the catalog inside the session's transaction.

mod database;
mod membership;
mod parse;
mod role;
mod setting;

pub(crate) use parse::parse_admin;

use crate::outcome::{Notice, Outcome};
use crate::statement::StatementContext;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{BOOTSTRAP_ROLE, CatalogEdit, Role};
use std::sync::Arc;

/// A statement about roles or databases.
#[derive(Clone, Debug)]
pub(crate) enum AdminCommand {
    /// CREATE ROLE, USER, GROUP.
    CreateRole { name: String, options: RoleOptions },
    /// ALTER ROLE name options.
    AlterRole { role: RoleSpec, options: RoleOptions },
    /// ALTER ROLE name RENAME TO name.
    RenameRole { name: String, to: String },
    /// ALTER ROLE {name | ALL} `[IN DATABASE name]` SET or RESET.
    AlterRoleSetting { role: Option<RoleSpec>, database: Option<String>, change: SettingChange },
    /// DROP ROLE.
    DropRoles { roles: Vec<RoleSpec>, if_exists: bool },
    /// GRANT role TO role.
    GrantRoles { roles: Vec<String>, to: Vec<RoleSpec>, options: GrantOptions },
    /// REVOKE role FROM role; with options only these.
    RevokeRoles { roles: Vec<String>, from: Vec<RoleSpec>, options: GrantOptions },
    /// CREATE DATABASE.
    CreateDatabase { name: String, options: DatabaseOptions },
    /// ALTER DATABASE name options.
    AlterDatabase { name: String, options: DatabaseOptions },
    /// ALTER DATABASE name RENAME TO name.
    RenameDatabase { name: String, to: String },
    /// ALTER DATABASE name SET or RESET.
    AlterDatabaseSetting { name: String, change: SettingChange },
    /// DROP DATABASE.
    DropDatabase { name: String, if_exists: bool, force: bool },
}

/// A role as statements name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RoleSpec {
    /// By name.
    Named(String),
    /// CURRENT_USER, CURRENT_ROLE.
    Current,
    /// SESSION_USER.
    Session,
}

/// What CREATE ROLE and ALTER ROLE say; `None`: nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleOptions {
    /// `[NO]SUPERUSER`.
    pub superuser: Option<bool>,
    /// `[NO]INHERIT`.
    pub inherit: Option<bool>,
    /// `[NO]CREATEROLE`.
    pub create_role: Option<bool>,
    /// `[NO]CREATEDB`.
    pub create_database: Option<bool>,
    /// `[NO]LOGIN`.
    pub login: Option<bool>,
    /// `[NO]REPLICATION`.
    pub replication: Option<bool>,
    /// `[NO]BYPASSRLS`.
    pub bypass_rls: Option<bool>,
    /// CONNECTION LIMIT.
    pub connection_limit: Option<i64>,
    /// PASSWORD; `Some(None)`: NULL.
    pub password: Option<Option<String>>,
    /// VALID UNTIL.
    pub valid_until: Option<String>,
    /// IN ROLE: what it becomes a member of.
    pub in_roles: Vec<RoleSpec>,
    /// ROLE: what becomes a member of it.
    pub members: Vec<RoleSpec>,
    /// ADMIN: the same, and may grant it.
    pub admins: Vec<RoleSpec>,
}

/// What GRANT role says; `None`: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GrantOptions {
    /// ADMIN.
    pub admin: Option<bool>,
    /// INHERIT.
    pub inherit: Option<bool>,
    /// SET.
    pub set: Option<bool>,
}

/// What CREATE DATABASE and ALTER DATABASE say; `None`: nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct DatabaseOptions {
    /// OWNER.
    pub owner: Option<RoleSpec>,
    /// CONNECTION LIMIT.
    pub connection_limit: Option<i64>,
    /// ALLOW_CONNECTIONS.
    pub allow_connections: Option<bool>,
    /// IS_TEMPLATE.
    pub is_template: Option<bool>,
}

/// SET or RESET of a stored setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SettingChange {
    /// SET name TO value; `None`: DEFAULT, which is RESET.
    Set(String, Option<String>),
    /// SET name FROM CURRENT.
    FromCurrent(String),
    /// RESET name.
    Reset(String),
    /// RESET ALL.
    ResetAll,
}

/// Runs a statement.
pub(crate) async fn execute(ctx: &mut StatementContext<'_>, command: &AdminCommand) -> Result<Outcome> {
    use AdminCommand as C;
    let tag = match command {
        C::CreateRole { name, options } => role::create(ctx, name, options).await?,
        C::AlterRole { role, options } => role::alter(ctx, role, options).await?,
        C::RenameRole { name, to } => role::rename(ctx, name, to).await?,
        C::AlterRoleSetting { role, database, change } => {
            setting::of_role(ctx, role.as_ref(), database.as_deref(), change).await?
        }
        C::DropRoles { roles, if_exists } => role::drop(ctx, roles, *if_exists).await?,
        C::GrantRoles { roles, to, options } => membership::grant(ctx, roles, to, *options).await?,
        C::RevokeRoles { roles, from, options } => membership::revoke(ctx, roles, from, *options).await?,
        C::CreateDatabase { name, options } => database::create(ctx, name, options).await?,
        C::AlterDatabase { name, options } => database::alter(ctx, name, options).await?,
        C::RenameDatabase { name, to } => database::rename(ctx, name, to).await?,
        C::AlterDatabaseSetting { name, change } => setting::of_database(ctx, name, change).await?,
        C::DropDatabase { name, if_exists, force } => database::drop(ctx, name, *if_exists, *force).await?,
    };
    Ok(Outcome::Done(tag.to_owned()))
}

/// Who acts, as far as memberships and attributes decide what may be done.
struct Actor {
    id: u32,
    superuser: bool,
    create_role: bool,
    create_database: bool,
}

fn actor(ctx: &StatementContext<'_>) -> Actor {
    let (catalog, id) = (ctx.txn.catalog(), ctx.current_role());
    let role = catalog.roles.get(&id);
    Actor {
        id,
        superuser: role.is_some_and(|role| role.superuser),
        create_role: role.is_some_and(|role| role.superuser || role.create_role),
        create_database: role.is_some_and(|role| role.superuser || role.create_database),
    }
}

/// 42501.
fn denied(what: impl Into<String>) -> Error {
    Error::new(SqlState::INSUFFICIENT_PRIVILEGE, what)
}

/// 42704.
fn no_role(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"))
}

fn name_of(ctx: &StatementContext<'_>, spec: &RoleSpec) -> String {
    match spec {
        RoleSpec::Named(name) => name.clone(),
        RoleSpec::Current => ctx.settings.current_user(),
        RoleSpec::Session => ctx.settings.session_user(),
    }
}

/// A role that was made by somebody, or is one of the first two. The lock keeps others from changing it meanwhile.
async fn lock_role(ctx: &mut StatementContext<'_>, name: &str) -> Result<Role> {
    lock_shared_name(ctx, "role", name).await?;
    ctx.txn.catalog().role(name).cloned().ok_or_else(|| no_role(name))
}

/// Locks a name that all databases share, and looks at the catalog again: it may have changed while this waited.
async fn lock_shared_name(ctx: &mut StatementContext<'_>, kind: &str, name: &str) -> Result<()> {
    ctx.txn.lock_shared_name(kind, name).await?;
    ctx.txn.refresh_catalog()
}

/// The oid of a role, be it one of PostgreSQL's predefined ones.
fn role_id(ctx: &StatementContext<'_>, name: &str) -> Result<u32> {
    let own = ctx.txn.catalog().role(name).map(|role| role.id);
    own.or_else(|| crate::catalog::predefined_role(name)).ok_or_else(|| no_role(name))
}

fn put(ctx: &mut StatementContext<'_>, role: Role) -> Result<()> {
    ctx.txn.edit(vec![CatalogEdit::PutRole(Arc::new(role))])
}

fn skipping(ctx: &mut StatementContext<'_>, message: String) {
    ctx.notices.push(Notice::new(SqlState::SUCCESSFUL_COMPLETION, message));
}

fn is_bootstrap(id: u32) -> bool {
    id == BOOTSTRAP_ROLE
}

fn limit(given: i64) -> Result<i32> {
    i32::try_from(given).ok().filter(|limit| *limit >= -1).ok_or_else(|| {
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid connection limit: {given}"))
    })
}
