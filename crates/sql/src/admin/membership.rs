//! GRANT role TO role, and REVOKE.

use super::{GrantOptions, RoleSpec, actor, denied, lock_role, name_of, put, role_id};
use crate::outcome::Notice;
use crate::statement::StatementContext;
use quiver_base::{Error, Result, SqlState};
use quiver_cluster::{BOOTSTRAP_ROLE, Membership};

/// GRANT.
pub(super) async fn grant(
    ctx: &mut StatementContext<'_>,
    roles: &[String],
    to: &[RoleSpec],
    options: GrantOptions,
) -> Result<&'static str> {
    for role in roles {
        may_grant(ctx, role, "grant")?;
        for member in to {
            let member = name_of(ctx, member);
            add(ctx, role, &member, options).await?;
        }
    }
    Ok("GRANT ROLE")
}

/// REVOKE.
pub(super) async fn revoke(
    ctx: &mut StatementContext<'_>,
    roles: &[String],
    from: &[RoleSpec],
    options: GrantOptions,
) -> Result<&'static str> {
    for role in roles {
        may_grant(ctx, role, "revoke")?;
        for member in from {
            let member = name_of(ctx, member);
            remove(ctx, role, &member, options).await?;
        }
    }
    Ok("REVOKE ROLE")
}

fn may_grant(ctx: &StatementContext<'_>, role: &str, verb: &str) -> Result<()> {
    let (id, actor) = (role_id(ctx, role)?, actor(ctx));
    let is_superuser = ctx.txn.catalog().roles.get(&id).is_some_and(|role| role.superuser);
    if actor.superuser || (!is_superuser && ctx.txn.catalog().is_admin_of(actor.id, id)) {
        return Ok(());
    }
    Err(denied(format!("permission denied to {verb} role \"{role}\""))
        .with_detail(format!("Only roles with the ADMIN option on role \"{role}\" may {verb} this role.")))
}

/// Makes `member` a member of `role`.
pub(super) async fn add(
    ctx: &mut StatementContext<'_>,
    role: &str,
    member: &str,
    options: GrantOptions,
) -> Result<()> {
    let id = role_id(ctx, role)?;
    let actor = actor(ctx);
    // A superuser grants as the bootstrap superuser, as in PostgreSQL.
    let grantor = if actor.superuser { BOOTSTRAP_ROLE } else { actor.id };
    add_granted_by(ctx, id, member, options, grantor).await
}

/// The same, by the role's oid and in somebody's name.
pub(super) async fn add_granted_by(
    ctx: &mut StatementContext<'_>,
    role: u32,
    member: &str,
    options: GrantOptions,
    grantor: u32,
) -> Result<()> {
    let mut member = lock_role(ctx, member).await?;
    let catalog = ctx.txn.catalog();
    let role_name = catalog.roles.get(&role).map_or_else(String::new, |role| role.name.clone());
    if catalog.is_member(role, member.id) {
        let message = format!("role \"{}\" is a member of role \"{role_name}\"", member.name);
        return Err(Error::new(SqlState::INVALID_GRANT_OPERATION, message));
    }
    let inherit = member.inherit;
    match member.member_of.iter_mut().find(|grant| grant.role == role && grant.grantor == grantor) {
        Some(_) if options == GrantOptions::default() => {
            let grantor = catalog.roles.get(&grantor).map_or_else(String::new, |role| role.name.clone());
            let message = format!(
                "role \"{}\" has already been granted membership in role \"{role_name}\" by role \"{grantor}\"",
                member.name
            );
            ctx.notices.push(Notice::new(SqlState::SUCCESSFUL_COMPLETION, message));
            return Ok(());
        }
        Some(grant) => {
            grant.admin = options.admin.unwrap_or(grant.admin);
            grant.inherit = options.inherit.unwrap_or(grant.inherit);
            grant.set = options.set.unwrap_or(grant.set);
        }
        None => member.member_of.push(Membership {
            id: ctx.txn.new_oid(),
            role,
            grantor,
            admin: options.admin.unwrap_or(false),
            inherit: options.inherit.unwrap_or(inherit),
            set: options.set.unwrap_or(true),
        }),
    }
    put(ctx, member)
}

async fn remove(
    ctx: &mut StatementContext<'_>,
    role: &str,
    member: &str,
    options: GrantOptions,
) -> Result<()> {
    let id = role_id(ctx, role)?;
    let mut member = lock_role(ctx, member).await?;
    let Some(at) = member.member_of.iter().position(|grant| grant.role == id) else {
        let message = format!(
            "role \"{}\" has not been granted membership in role \"{role}\" by role \"{}\"",
            member.name,
            ctx.settings.current_user()
        );
        ctx.notices.push(Notice::warning(SqlState::WARNING, message));
        return Ok(());
    };
    if options == GrantOptions::default() {
        member.member_of.remove(at);
    } else {
        let grant = &mut member.member_of[at];
        grant.admin &= options.admin.is_none();
        grant.inherit &= options.inherit.is_none();
        grant.set &= options.set.is_none();
    }
    put(ctx, member)
}
