//! Roles and what belongs to them: attributes, memberships, settings that their sessions begin with.

use super::Catalog;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its oid; 10 is the bootstrap superuser.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// May do everything.
    pub superuser: bool,
    /// Has the privileges of the roles it is a member of.
    pub inherit: bool,
    /// May make, change and drop roles.
    pub create_role: bool,
    /// May make databases.
    pub create_database: bool,
    /// May connect.
    pub login: bool,
    /// Kept and shown; there is no replication protocol.
    pub replication: bool,
    /// Kept and shown; there is no row security.
    pub bypass_rls: bool,
    /// Sessions at once; -1: any number.
    pub connection_limit: i32,
    /// PostgreSQL's `SCRAM-SHA-256$…` verifier.
    pub password: Option<String>,
    /// Until when the password counts, in microseconds since 1970; the largest number: for ever.
    pub valid_until: Option<i64>,
    /// Roles that it is a member of.
    pub member_of: Vec<Membership>,
    /// What its sessions begin with.
    pub settings: Vec<DefaultSetting>,
}

/// A role's membership in another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its oid in pg_auth_members.
    pub id: u32,
    /// The role that has members.
    pub role: u32,
    /// Who granted it.
    pub grantor: u32,
    /// May grant it to others.
    pub admin: bool,
    /// Has its privileges without SET ROLE.
    pub inherit: bool,
    /// May SET ROLE to it.
    pub set: bool,
}

/// A setting of ALTER ROLE … SET or ALTER DATABASE … SET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultSetting {
    /// In this database only; 0: in all.
    pub database: u32,
    /// Its name, in lower case where the setting is a known one.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl Role {
    /// A role as `CREATE ROLE name` makes it.
    pub fn new(id: u32, name: impl Into<String>) -> Role {
        Role {
            id,
            name: name.into(),
            superuser: false,
            inherit: true,
            create_role: false,
            create_database: false,
            login: false,
            replication: false,
            bypass_rls: false,
            connection_limit: -1,
            password: None,
            valid_until: None,
            member_of: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// A superuser that may connect.
    pub(super) fn superuser(id: u32, name: &str) -> Role {
        Role {
            superuser: true,
            create_role: true,
            create_database: true,
            login: true,
            replication: true,
            bypass_rls: true,
            ..Role::new(id, name)
        }
    }
}

impl Catalog {
    /// A role by name.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.values().find(|role| role.name == name).map(AsRef::as_ref)
    }

    /// Whether `member` is `role` or, over any number of steps, a member of it.
    pub fn is_member(&self, member: u32, role: u32) -> bool {
        self.reaches(member, role, |_| true)
    }

    /// Whether `member` may SET ROLE to `role`, as far as memberships go.
    pub fn can_set_role(&self, member: u32, role: u32) -> bool {
        self.reaches(member, role, |membership| membership.set)
    }

    /// Whether `member` may grant `role` to others, as far as memberships go.
    pub fn is_admin_of(&self, member: u32, role: u32) -> bool {
        self.roles.values().any(|holder| {
            holder.member_of.iter().any(|grant| grant.role == role && grant.admin)
                && self.is_member(member, holder.id)
        })
    }

    fn reaches(&self, member: u32, role: u32, counts: impl Fn(&Membership) -> bool) -> bool {
        let mut seen = HashSet::from([member]);
        let mut left = vec![member];
        while let Some(next) = left.pop() {
            if next == role {
                return true;
            }
            let memberships = self.roles.get(&next).into_iter().flat_map(|role| &role.member_of);
            let grants = memberships.filter(|membership| counts(membership));
            left.extend(grants.map(|grant| grant.role).filter(|role| seen.insert(*role)));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn membership_goes_over_steps_and_ends_in_circles() {
        let mut catalog = Catalog::default();
        for (id, of) in [(1, vec![2]), (2, vec![3]), (3, vec![1]), (4, vec![])] {
            let mut role = Role::new(id, format!("r{id}"));
            let grant = |role| Membership {
                id: 0,
                role,
                grantor: 10,
                admin: role == 3,
                inherit: true,
                set: role != 3,
            };
            role.member_of = of.into_iter().map(grant).collect();
            catalog.roles.insert(id, Arc::new(role));
        }
        assert!(catalog.is_member(1, 3) && catalog.is_member(4, 4));
        assert!(!catalog.is_member(1, 4) && !catalog.is_member(4, 1));
        assert!(catalog.can_set_role(1, 2) && !catalog.can_set_role(1, 3));
        assert!(catalog.is_admin_of(1, 3) && !catalog.is_admin_of(4, 3));
        assert_eq!(catalog.role("r4").map(|role| role.id), Some(4));
    }
}
