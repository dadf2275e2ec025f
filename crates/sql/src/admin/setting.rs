//! Settings that sessions begin with: ALTER ROLE … SET and ALTER DATABASE … SET.

use super::database::lock_database;
use super::{RoleSpec, SettingChange, actor, denied, lock_role, name_of, put};
use crate::settings::{SetScope, Settings};
use crate::statement::StatementContext;
use quiver_base::{Error, Result};
use quiver_cluster::{CatalogEdit, Database, DefaultSetting};
use std::sync::Arc;

/// ALTER ROLE.
pub(super) async fn of_role(
    ctx: &mut StatementContext<'_>,
    role: Option<&RoleSpec>,
    database: Option<&str>,
    change: &SettingChange,
) -> Result<&'static str> {
    let Some(spec) = role else {
        let Some(database) = database else { return Err(Error::unsupported("ALTER ROLE ALL SET")) };
        of_database(ctx, database, change).await?;
        return Ok("ALTER ROLE");
    };
    let name = name_of(ctx, spec);
    let database = match database {
        Some(name) => lock_database(ctx, name).await?.id.0,
        None => 0,
    };
    let mut role = lock_role(ctx, &name).await?;
    let actor = actor(ctx);
    let manages = actor.create_role && ctx.txn.catalog().is_admin_of(actor.id, role.id);
    if !actor.superuser && actor.id != role.id && !manages {
        return Err(denied("permission denied to alter role"));
    }
    apply(ctx, &mut role.settings, database, change)?;
    put(ctx, role)?;
    Ok("ALTER ROLE")
}

/// ALTER DATABASE.
pub(super) async fn of_database(
    ctx: &mut StatementContext<'_>,
    name: &str,
    change: &SettingChange,
) -> Result<&'static str> {
    let found = lock_database(ctx, name).await?;
    super::database::require_owner(ctx, &found)?;
    let mut changed = Database::clone(&found);
    apply(ctx, &mut changed.settings, 0, change)?;
    ctx.txn.edit(vec![CatalogEdit::PutDatabase(Arc::new(changed))])?;
    Ok("ALTER DATABASE")
}

fn apply(
    ctx: &StatementContext<'_>,
    settings: &mut Vec<DefaultSetting>,
    database: u32,
    change: &SettingChange,
) -> Result<()> {
    let (name, value) = match change {
        SettingChange::ResetAll => {
            settings.retain(|setting| setting.database != database);
            return Ok(());
        }
        SettingChange::Set(name, value) => (name, value.clone()),
        SettingChange::FromCurrent(name) => (name, Some(ctx.settings.show(name)?)),
        SettingChange::Reset(name) => (name, None),
    };
    let known = crate::settings::definition(name).map_or(name.as_str(), |definition| definition.name);
    if let Some(value) = &value {
        // Checked as a session that begins would check it.
        Settings::new("").set(name, value, SetScope::Session)?;
    }
    let same =
        |setting: &DefaultSetting| setting.database == database && setting.name.eq_ignore_ascii_case(known);
    let at = settings.iter().position(same);
    match (at, value) {
        (Some(at), Some(value)) => settings[at].value = value,
        (Some(at), None) => drop(settings.remove(at)),
        (None, Some(value)) => settings.push(DefaultSetting { database, name: known.to_owned(), value }),
        (None, None) => {}
    }
    Ok(())
}
