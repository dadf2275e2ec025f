//! Applying edits: a new catalog that shares with the old one what did not change. Infallible, since a log entry that holds
//! edits is applied on every replica: an edit whose database is gone does nothing.

use super::{Catalog, CatalogEdit, Database};
use quiver_base::DatabaseId;
use std::sync::Arc;

impl Catalog {
    /// The catalog after `edits`; its version is one higher.
    #[must_use]
    pub fn with_edits(&self, edits: &[CatalogEdit]) -> Catalog {
        let mut next = self.clone();
        next.version += 1;
        for edit in edits {
            next.apply(edit);
        }
        next
    }

    fn apply(&mut self, edit: &CatalogEdit) {
        match edit {
            CatalogEdit::PutDatabase(database) => self.put_database(database),
            CatalogEdit::DropDatabase(id) => {
                self.databases.remove(id);
            }
            CatalogEdit::PutRole(role) => {
                self.roles.insert(role.id, role.clone());
            }
            CatalogEdit::DropRole(id) => {
                self.roles.remove(id);
            }
            CatalogEdit::PutSchema(database, schema) => self.change(*database, |database| {
                database.schemas.insert(schema.id, schema.clone());
            }),
            CatalogEdit::DropSchema(database, id) => self.change(*database, |database| {
                database.schemas.remove(id);
            }),
            CatalogEdit::PutTable(database, table) => self.change(*database, |database| {
                database.tables.insert(table.id, table.clone());
            }),
            CatalogEdit::DropTable(database, id) => self.change(*database, |database| {
                database.tables.remove(id);
            }),
            CatalogEdit::PutSequence(database, sequence) => self.change(*database, |database| {
                database.sequences.insert(sequence.id, sequence.clone());
            }),
            CatalogEdit::DropSequence(database, id) => self.change(*database, |database| {
                database.sequences.remove(id);
            }),
            CatalogEdit::PutView(database, view) => self.change(*database, |database| {
                database.views.insert(view.id, view.clone());
            }),
            CatalogEdit::DropView(database, id) => self.change(*database, |database| {
                database.views.remove(id);
            }),
            CatalogEdit::PutExtension(database, name, schema) => self.change(*database, |database| {
                database.extensions.insert(name.clone(), *schema);
            }),
            CatalogEdit::DropExtension(database, name) => self.change(*database, |database| {
                database.extensions.remove(name);
            }),
            CatalogEdit::PutComment(database, object, text) => self.change(*database, |database| {
                match text {
                    Some(text) => database.comments.insert(*object, text.clone()),
                    None => database.comments.remove(object),
                };
            }),
            CatalogEdit::RaiseCounters { next_oid, next_shard } => {
                self.next_oid = self.next_oid.max(*next_oid);
                self.next_shard = self.next_shard.max(*next_shard);
            }
        }
    }

    /// Of a database that is there only what is said about it as a whole changes: what is in it may have changed since the edit
    /// was made.
    fn put_database(&mut self, database: &Arc<Database>) {
        let put = match self.databases.get(&database.id) {
            Some(present) => Arc::new(Database {
                name: database.name.clone(),
                owner: database.owner,
                connection_limit: database.connection_limit,
                allow_connections: database.allow_connections,
                is_template: database.is_template,
                settings: database.settings.clone(),
                ..Database::clone(present)
            }),
            None => database.clone(),
        };
        self.databases.insert(put.id, put);
    }

    fn change(&mut self, database: DatabaseId, change: impl FnOnce(&mut Database)) {
        if let Some(database) = self.databases.get_mut(&database) {
            change(Arc::make_mut(database));
        }
    }

    /// The catalog with a sequence's durable position moved. The version stays: nothing that a plan depends on changed.
    pub(crate) fn with_sequence_position(
        &self,
        database: DatabaseId,
        sequence: quiver_base::TableId,
        next: i64,
        exhausted: bool,
    ) -> Catalog {
        let mut changed = self.clone();
        changed.change(database, |database| {
            if let Some(sequence) = database.sequences.get_mut(&sequence) {
                let sequence = Arc::make_mut(sequence);
                sequence.next = next;
                sequence.exhausted = exhausted;
            }
        });
        changed
    }
}
