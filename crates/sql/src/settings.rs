//! Run-time settings (GUCs) of one session: SET, SET LOCAL, RESET, SHOW, and what transactions do to them.

mod table;
#[cfg(test)]
mod tests;
mod value;

pub(crate) use table::{DEFINITIONS, Definition, Effect, Kind, definition};

use crate::decode::{DateOrder, InputStyle, bool_word};
use crate::encode::OutputStyle;
use chrono_tz::Tz;
use hashbrown::HashMap;
use parking_lot::RwLock;
use quiver_base::{Error, Result, SqlState};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use table::RESERVED_PREFIXES;

/// How long a SET lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetScope {
    /// SET: to the end of the session, undone if the transaction rolls back.
    Session,
    /// SET LOCAL: to the end of the transaction.
    Local,
}

/// The settings of a session. Names are case-insensitive; unknown names with a dot are accepted, as in PostgreSQL.
/// A handle: clones share the values.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    state: Arc<RwLock<State>>,
}

#[derive(Debug, Default)]
struct State {
    user: String,
    /// What RESET goes back to where it is not the table's default: what the client asked for when it connected.
    initial: Values,
    /// What counts now.
    current: Values,
    /// What will count after COMMIT: without what SET LOCAL did.
    lasting: Values,
    /// Both as they were when the transaction and its savepoints began, outermost first.
    levels: Vec<(Values, Values)>,
    /// Rises with every change.
    version: u64,
    /// What every statement asks for, read once for each version.
    read: OnceLock<Read>,
}

/// Settings as statements use them.
#[derive(Clone, Debug)]
struct Read {
    style: Style,
    timeouts: [Option<Duration>; TIMEOUTS.len()],
    switches: [bool; SWITCHES.len()],
    numbers: [i64; NUMBERS.len()],
    words: [String; WORDS.len()],
    search_path: Vec<String>,
}

/// How text is read and written.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Style {
    time_zone: Tz,
    date_order: DateOrder,
    iso_intervals: bool,
    escape_bytea: bool,
}

/// Values that differ from the defaults, by lower-case name. Copied when it changes, so that a savepoint costs nothing.
type Values = Arc<HashMap<String, String>>;

/// Settings in milliseconds that every statement asks for.
const TIMEOUTS: [&str; 4] =
    ["statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "lock_timeout"];
/// Settings that are on or off that every statement asks for.
const SWITCHES: [&str; 3] = ["transaction_read_only", "default_transaction_read_only", "enable_indexscan"];
/// Settings that are whole numbers that every query asks for.
const NUMBERS: [&str; 3] = ["hnsw.ef_search", "ivfflat.probes", "quiver.busy_poll_us"];
/// Settings that are words that every transaction asks for.
const WORDS: [&str; 3] = ["transaction_isolation", "default_transaction_isolation", "transaction_read_only"];

/// The forms of text at some moment, to compare them with those of another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StyleMark(Style);

/// What RESET ALL leaves as it is.
const NOT_RESET: &[&str] =
    &["role", "session_authorization", "is_superuser", "transaction_isolation", "transaction_read_only"];

impl Settings {
    /// The settings of a new session of `user`.
    pub(crate) fn new(user: &str) -> Settings {
        Settings { state: Arc::new(RwLock::new(State { user: user.to_owned(), ..State::default() })) }
    }

    /// Sets a value that RESET goes back to: from the startup packet or the server's configuration.
    pub(crate) fn set_initial(&self, name: &str, value: &str) -> Result<()> {
        self.set(name, value, SetScope::Session)?;
        let mut state = self.state.write();
        state.initial = state.current.clone();
        Ok(())
    }

    /// Sets what no client can set: `is_superuser`, `session_authorization`, `max_connections`.
    pub(crate) fn set_fixed(&self, name: &str, value: &str) {
        let mut state = self.state.write();
        state.put(name, value.to_owned(), SetScope::Session);
        state.initial = state.current.clone();
    }

    /// Sets what statements of their own check: `role`, `session_authorization`, `is_superuser`.
    pub(crate) fn put_identity(&self, name: &str, value: &str, scope: SetScope) {
        self.state.write().put(name, value.to_owned(), scope);
    }

    /// session_user.
    pub(crate) fn session_user(&self) -> String {
        self.state.read().session_user().to_owned()
    }

    /// current_user.
    pub(crate) fn current_user(&self) -> String {
        self.state.read().current_user().to_owned()
    }

    /// The value as SHOW prints it; 42704 for an unknown name.
    pub(crate) fn show(&self, name: &str) -> Result<String> {
        let lower = name.to_ascii_lowercase();
        let lower = if lower == "time zone" { "timezone".to_owned() } else { lower };
        let state = self.state.read();
        match (definition(&lower), state.current.get(&lower)) {
            (Some(definition), kept) => {
                Ok(value::shown(definition, kept.map_or(definition.default, String::as_str)))
            }
            (None, Some(kept)) => Ok(kept.clone()),
            (None, None) => Err(unrecognized(name)),
        }
    }

    /// Checks and sets. Returns the value as SHOW would print it.
    pub(crate) fn set(&self, name: &str, value: &str, scope: SetScope) -> Result<String> {
        let kept = self.checked(name, value)?;
        self.state.write().put(name, kept, scope);
        self.show(name)
    }

    /// RESET, and SET … TO DEFAULT.
    pub(crate) fn reset(&self, name: &str, scope: SetScope) -> Result<()> {
        let lower = name.to_ascii_lowercase();
        if let Some(Definition { effect: Effect::Fixed, name, .. }) = definition(&lower) {
            return Err(cannot_change(name));
        }
        let mut state = self.state.write();
        let known = definition(&lower).is_some() || state.current.contains_key(&lower) || lower.contains('.');
        match (state.initial.get(&lower).cloned(), known) {
            (Some(value), _) => state.put(&lower, value, scope),
            // A name that somebody made up stays known.
            (None, true) if definition(&lower).is_none() => state.put(&lower, String::new(), scope),
            (None, true) => state.remove(&lower, scope),
            (None, false) => return Err(unrecognized(name)),
        }
        Ok(())
    }

    /// RESET ALL.
    pub(crate) fn reset_all(&self) {
        let mut state = self.state.write();
        let State { initial, current, lasting, .. } = &mut *state;
        for values in [current, lasting] {
            let mut reset = HashMap::clone(initial);
            for name in NOT_RESET {
                match values.get(*name) {
                    Some(value) => reset.insert((*name).to_owned(), value.clone()),
                    None => reset.remove(*name),
                };
            }
            *values = Arc::new(reset);
        }
        state.changed();
    }

    fn checked(&self, name: &str, value: &str) -> Result<String> {
        match definition(name) {
            Some(Definition { effect: Effect::Fixed, name, .. }) => Err(cannot_change(name)),
            // SET ROLE and set_config know who may.
            Some(Definition { name: name @ "role", .. }) => Err(cannot_change(name)),
            Some(definition) => value::canonical(definition, value),
            None if matches!(name, "is_superuser" | "session_authorization") => Err(cannot_change(name)),
            None => {
                let prefix = name.split_once('.').map(|(prefix, _)| prefix);
                match prefix {
                    Some(prefix) if RESERVED_PREFIXES.contains(&prefix.to_ascii_lowercase().as_str()) => {
                        Err(Error::new(
                            SqlState::INVALID_NAME,
                            format!("invalid configuration parameter name \"{name}\""),
                        )
                        .with_detail(format!("\"{prefix}\" is a reserved prefix.")))
                    }
                    Some(_) => Ok(value.to_owned()),
                    None => Err(unrecognized(name)),
                }
            }
        }
    }

    /// Name, value as SHOW prints it, and description of every setting, for SHOW ALL and pg_settings.
    pub(crate) fn all(&self) -> Vec<(String, String, String)> {
        let mut all: Vec<_> = DEFINITIONS
            .iter()
            .map(|definition| {
                let shown = self.show(definition.name).unwrap_or_default();
                (definition.name.to_owned(), shown, definition.description.to_owned())
            })
            .collect();
        for (name, kept) in self.state.read().current.iter() {
            if definition(name).is_none() {
                all.push((name.clone(), kept.clone(), String::new()));
            }
        }
        all.sort_by_key(|(name, _, _)| name.to_ascii_lowercase());
        all
    }

    /// A transaction begins.
    pub(crate) fn begin(&self) {
        let mut state = self.state.write();
        let level = (state.current.clone(), state.lasting.clone());
        state.levels.clear();
        state.levels.push(level);
    }

    /// A savepoint begins.
    pub(crate) fn savepoint(&self) {
        let mut state = self.state.write();
        let level = (state.current.clone(), state.lasting.clone());
        state.levels.push(level);
    }

    /// Back to how it was at a savepoint; `depth` 1 is the outermost one. The savepoint itself stays.
    pub(crate) fn rollback_to(&self, depth: usize) {
        let mut state = self.state.write();
        state.levels.truncate(depth + 1);
        if let Some((current, lasting)) = state.levels.last().cloned() {
            (state.current, state.lasting) = (current, lasting);
            state.changed();
        }
    }

    /// Forgets a savepoint and those inside it; values stay.
    pub(crate) fn release(&self, depth: usize) {
        self.state.write().levels.truncate(depth);
    }

    /// The transaction ends: SET LOCAL ends with it, and with ROLLBACK everything it set.
    pub(crate) fn end(&self, committed: bool) {
        let mut state = self.state.write();
        if !committed && let Some((_, lasting)) = state.levels.first().cloned() {
            state.lasting = lasting;
        }
        state.levels.clear();
        if !Arc::ptr_eq(&state.current, &state.lasting) {
            state.current = state.lasting.clone();
            state.changed();
        }
    }

    /// Rises with every change: nothing to tell the client while it stays.
    pub(crate) fn version(&self) -> u64 {
        self.state.read().version
    }

    /// hnsw.ef_search.
    pub(crate) fn ef_search(&self) -> usize {
        self.number("hnsw.ef_search").unsigned_abs() as usize
    }

    /// ivfflat.probes.
    pub(crate) fn probes(&self) -> usize {
        self.number("ivfflat.probes").unsigned_abs() as usize
    }

    /// quiver.busy_poll_us.
    pub(crate) fn busy_poll(&self) -> Duration {
        Duration::from_micros(self.number("quiver.busy_poll_us").unsigned_abs())
    }

    /// Whether a setting that is a boolean is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        match SWITCHES.iter().position(|switch| *switch == name) {
            Some(place) => self.read(|read| read.switches[place]),
            None => self.with(name, is_on),
        }
    }

    /// A setting that is a whole number, in its base unit.
    pub(crate) fn number(&self, name: &str) -> i64 {
        match NUMBERS.iter().position(|number| *number == name) {
            Some(place) => self.read(|read| read.numbers[place]),
            None => self.with(name, whole_number),
        }
    }

    /// A setting in milliseconds; 0 means none.
    pub(crate) fn timeout(&self, name: &str) -> Option<Duration> {
        match TIMEOUTS.iter().position(|timeout| *timeout == name) {
            Some(place) => self.read(|read| read.timeouts[place]),
            None => self.with(name, milliseconds),
        }
    }

    /// The schemas to look in, in order; `"$user"` already replaced, pg_catalog not added. Schemas that do not exist are among them.
    pub(crate) fn search_path(&self) -> Vec<String> {
        self.read(|read| read.search_path.clone())
    }

    /// Whether the schemas to look in are these.
    pub(crate) fn has_search_path(&self, path: &[String]) -> bool {
        self.read(|read| read.search_path == path)
    }

    /// How text from this session is read; `now_us` is the transaction's start.
    pub(crate) fn input_style(&self, now_us: i64) -> InputStyle {
        let Style { time_zone, date_order, .. } = self.read(|read| read.style);
        InputStyle { time_zone, now_us, date_order }
    }

    /// How values are printed for this session, except for names behind oids.
    pub(crate) fn output_style(&self) -> OutputStyle {
        let Style { time_zone, iso_intervals, escape_bytea, .. } = self.read(|read| read.style);
        OutputStyle { time_zone, iso_intervals, escape_bytea, names: None }
    }

    /// How text is read and written now.
    pub(crate) fn style_mark(&self) -> StyleMark {
        StyleMark(self.read(|read| read.style))
    }

    /// Whether text is read and written as it was then.
    pub(crate) fn has_style(&self, mark: &StyleMark) -> bool {
        self.read(|read| read.style == mark.0)
    }

    fn read<R>(&self, look: impl FnOnce(&Read) -> R) -> R {
        let state = self.state.read();
        look(state.read.get_or_init(|| Read::of(&state)))
    }

    /// Looks at the kept value of a setting of the table; the name in lower case.
    pub(crate) fn with<R>(&self, name: &str, look: impl FnOnce(&str) -> R) -> R {
        match WORDS.iter().position(|word| *word == name) {
            Some(place) => self.read(|read| look(&read.words[place])),
            None => look(self.state.read().kept(name)),
        }
    }
}

fn is_on(kept: &str) -> bool {
    bool_word(kept).unwrap_or(false)
}

fn whole_number(kept: &str) -> i64 {
    kept.parse().unwrap_or(0)
}

fn milliseconds(kept: &str) -> Option<Duration> {
    kept.parse().ok().filter(|ms| *ms > 0).map(Duration::from_millis)
}

impl Read {
    fn of(state: &State) -> Read {
        let names = value::split_identifiers(state.kept("search_path")).unwrap_or_default();
        let schema = |name: String| if name == "$user" { state.current_user().to_owned() } else { name };
        Read {
            style: Style {
                time_zone: value::zone("TimeZone", state.kept("timezone")).unwrap_or(Tz::UTC),
                date_order: value::date_order(state.kept("datestyle")),
                iso_intervals: state.kept("intervalstyle") == "iso_8601",
                escape_bytea: state.kept("bytea_output") == "escape",
            },
            search_path: names.into_iter().map(schema).collect(),
            timeouts: TIMEOUTS.map(|name| milliseconds(state.kept(name))),
            switches: SWITCHES.map(|name| is_on(state.kept(name))),
            numbers: NUMBERS.map(|name| whole_number(state.kept(name))),
            words: WORDS.map(|name| state.kept(name).to_owned()),
        }
    }
}

impl State {
    /// The value of a setting of the table; the name in lower case.
    fn kept(&self, name: &str) -> &str {
        match self.current.get(name) {
            Some(kept) => kept,
            None => definition(name).map_or("", |definition| definition.default),
        }
    }

    fn changed(&mut self) {
        self.version += 1;
        self.read = OnceLock::new();
    }

    fn session_user(&self) -> &str {
        self.current.get("session_authorization").unwrap_or(&self.user)
    }

    fn current_user(&self) -> &str {
        let role = self.current.get("role").filter(|role| *role != "none");
        role.map_or_else(|| self.session_user(), String::as_str)
    }

    fn put(&mut self, name: &str, kept: String, scope: SetScope) {
        let lower = name.to_ascii_lowercase();
        if scope == SetScope::Session {
            Arc::make_mut(&mut self.lasting).insert(lower.clone(), kept.clone());
        }
        Arc::make_mut(&mut self.current).insert(lower, kept);
        self.changed();
    }

    fn remove(&mut self, lower: &str, scope: SetScope) {
        if scope == SetScope::Session {
            Arc::make_mut(&mut self.lasting).remove(lower);
        }
        Arc::make_mut(&mut self.current).remove(lower);
        self.changed();
    }
}

fn unrecognized(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

fn cannot_change(name: &str) -> Error {
    Error::new(SqlState::CANT_CHANGE_RUNTIME_PARAM, format!("parameter \"{name}\" cannot be changed"))
}
