//! From a statement's text to a command of the session.

use super::lexer::{Token, first_word};
use super::reader::Reader;
use super::{Direction, Discard, SessionCommand, TransactionModes};
use crate::settings::SetScope;
use crate::statement::{Parsed, Statement};
use quiver_base::{Error, Result};
use quiver_cluster::Isolation;

/// Takes a statement if it is one of the session's, by its first word; `None`: it is somebody else's. `sql` is the text of one
/// statement without its semicolon, `offset` its byte offset in the query string.
pub(crate) fn parse_command(sql: &str, offset: usize) -> Result<Option<SessionCommand>> {
    let read = match first_word(sql).as_str() {
        "begin" | "start" => Reader::begin,
        "commit" | "end" => Reader::commit,
        "rollback" | "abort" => Reader::rollback,
        "savepoint" => Reader::savepoint,
        "release" => Reader::release,
        "set" => Reader::set,
        "reset" => Reader::reset,
        "show" => Reader::show,
        "discard" => Reader::discard,
        "prepare" => Reader::prepare,
        "execute" => Reader::execute,
        "deallocate" => Reader::deallocate,
        "declare" => Reader::declare,
        "fetch" | "move" => Reader::fetch,
        "close" => Reader::close,
        "listen" => Reader::listen,
        "unlisten" => Reader::unlisten,
        "notify" => Reader::notify,
        _ => return Ok(None),
    };
    let mut reader = Reader::new(sql, offset)?;
    let command = read(&mut reader)?;
    reader.end()?;
    Ok(Some(command))
}

impl Reader<'_> {
    fn begin(&mut self) -> Result<SessionCommand> {
        let start = self.word("start");
        if start {
            self.expect_word("transaction")?;
        } else {
            self.at += 1;
            let _ = self.word("transaction") || self.word("work");
        }
        Ok(SessionCommand::Begin { modes: self.modes()?, start })
    }

    fn modes(&mut self) -> Result<TransactionModes> {
        let mut modes = TransactionModes::default();
        while !self.at_end() {
            if self.words(&["isolation", "level"]) {
                modes.isolation = Some(self.isolation()?);
            } else if self.words(&["read", "only"]) {
                modes.read_only = Some(true);
            } else if self.words(&["read", "write"]) {
                modes.read_only = Some(false);
            } else if self.words(&["not", "deferrable"]) {
                modes.deferrable = Some(false);
            } else if self.word("deferrable") {
                modes.deferrable = Some(true);
            } else {
                return Err(self.syntax_error());
            }
            self.symbol(',');
        }
        Ok(modes)
    }

    fn isolation(&mut self) -> Result<(Isolation, &'static str)> {
        if self.word("serializable") {
            isolation_named("serializable")
        } else if self.words(&["repeatable", "read"]) {
            isolation_named("repeatable read")
        } else if self.words(&["read", "committed"]) {
            isolation_named("read committed")
        } else if self.words(&["read", "uncommitted"]) {
            isolation_named("read uncommitted")
        } else {
            Err(self.syntax_error())
        }
    }

    fn chain(&mut self) -> Result<bool> {
        self.at += 1;
        let _ = self.word("transaction") || self.word("work");
        if self.words(&["and", "no", "chain"]) {
            return Ok(false);
        }
        Ok(self.words(&["and", "chain"]))
    }

    fn commit(&mut self) -> Result<SessionCommand> {
        let chain = self.chain()?;
        if self.word("prepared") {
            return Err(Error::unsupported("COMMIT PREPARED"));
        }
        Ok(SessionCommand::Commit { chain })
    }

    fn rollback(&mut self) -> Result<SessionCommand> {
        let chain = self.chain()?;
        if self.word("prepared") {
            return Err(Error::unsupported("ROLLBACK PREPARED"));
        }
        if self.word("to") {
            self.word("savepoint");
            return Ok(SessionCommand::RollbackTo(self.name()?));
        }
        Ok(SessionCommand::Rollback { chain })
    }

    fn savepoint(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        Ok(SessionCommand::Savepoint(self.name()?))
    }

    fn release(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        self.word("savepoint");
        Ok(SessionCommand::Release(self.name()?))
    }

    fn set(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        let mut scope = SetScope::Session;
        if self.word("local") {
            scope = SetScope::Local;
        } else if self.words(&["session", "characteristics", "as", "transaction"]) {
            return Ok(SessionCommand::SetCharacteristics(self.modes()?));
        } else if !matches!(self.tokens.get(self.at + 1), Some((Token::Word(word), _, _)) if word == "authorization")
        {
            self.word("session");
        }
        let set = |name: &str, value| SessionCommand::Set { name: name.to_owned(), value, scope };
        if self.words(&["transaction"]) {
            return Ok(SessionCommand::SetTransaction(self.modes()?));
        }
        if self.word("constraints") {
            self.at = self.tokens.len();
            return Ok(SessionCommand::SetConstraints);
        }
        if self.words(&["time", "zone"]) {
            return Ok(set("TimeZone", self.time_zone()?));
        }
        if self.word("names") {
            return Ok(set(
                "client_encoding",
                if self.at_end() { None } else { self.values("client_encoding")? },
            ));
        }
        if self.word("role") {
            let name = if self.word("none") { None } else { self.values("role")? };
            return Ok(SessionCommand::SetRole { name, scope });
        }
        if self.words(&["session", "authorization"]) {
            return Ok(SessionCommand::SetAuthorization {
                name: self.values("session_authorization")?,
                scope,
            });
        }
        let name = self.dotted_name()?;
        if !self.symbol('=') && !self.word("to") {
            return Err(self.syntax_error());
        }
        let value = self.values(&name)?;
        Ok(SessionCommand::Set { name, value, scope })
    }

    fn time_zone(&mut self) -> Result<Option<String>> {
        if self.word("default") || self.word("local") {
            return Ok(None);
        }
        if self.word("interval") {
            let text = self.value()?.unwrap_or_default();
            if self.words(&["hour", "to"]) {
                self.expect_word("minute")?;
            }
            return Ok(Some(text.split(':').next().unwrap_or_default().to_owned()));
        }
        self.value()
    }

    fn reset(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        if self.word("all") {
            return Ok(SessionCommand::ResetAll);
        }
        self.setting_name().map(SessionCommand::Reset)
    }

    fn show(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        if self.word("all") {
            return Ok(SessionCommand::ShowAll);
        }
        self.setting_name().map(SessionCommand::Show)
    }

    fn setting_name(&mut self) -> Result<String> {
        if self.words(&["time", "zone"]) {
            Ok("TimeZone".to_owned())
        } else if self.words(&["transaction", "isolation", "level"]) {
            Ok("transaction_isolation".to_owned())
        } else if self.words(&["session", "authorization"]) {
            Ok("session_authorization".to_owned())
        } else {
            self.dotted_name()
        }
    }

    fn discard(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        let what = match self.name()?.as_str() {
            "all" => Discard::All,
            "plans" => Discard::Plans,
            "sequences" => Discard::Sequences,
            "temp" | "temporary" => Discard::Temp,
            _ => {
                self.at -= 1;
                return Err(self.syntax_error());
            }
        };
        Ok(SessionCommand::Discard(what))
    }

    fn prepare(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        if self.word("transaction") {
            return Err(Error::unsupported("PREPARE TRANSACTION"));
        }
        let name = self.name()?;
        let types = if self.peek() == Some(&Token::Symbol('(')) { self.list_of_texts()? } else { Vec::new() };
        self.expect_word("as")?;
        Ok(SessionCommand::Prepare { name, types, statement: Box::new(self.rest_as_statement()?) })
    }

    fn execute(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        let name = self.name()?;
        let arguments =
            if self.peek() == Some(&Token::Symbol('(')) { self.list_of_texts()? } else { Vec::new() };
        Ok(SessionCommand::Execute { name, arguments })
    }

    /// `(a, b(c, d))` as the texts between the outer commas.
    fn list_of_texts(&mut self) -> Result<Vec<String>> {
        self.at += 1;
        let mut texts = Vec::new();
        let mut depth = 0;
        let mut start = self.tokens.get(self.at).map_or(self.sql.len(), |(_, start, _)| *start);
        while let Some((token, begin, end)) = self.tokens.get(self.at) {
            match token {
                Token::Symbol('(' | '[') => depth += 1,
                Token::Symbol(')') if depth == 0 => {
                    texts.push(self.sql[start..*begin].trim().to_owned());
                    self.at += 1;
                    return if texts.iter().any(String::is_empty) {
                        Err(self.syntax_error())
                    } else {
                        Ok(texts)
                    };
                }
                Token::Symbol(')' | ']') => depth -= 1,
                Token::Symbol(',') if depth == 0 => {
                    texts.push(self.sql[start..*begin].trim().to_owned());
                    start = *end;
                }
                _ => {}
            }
            self.at += 1;
        }
        Err(self.syntax_error())
    }

    /// What is left, parsed as one statement that can be planned.
    fn rest_as_statement(&mut self) -> Result<Parsed> {
        let Some((_, start, _)) = self.tokens.get(self.at) else { return Err(self.syntax_error()) };
        let start = *start;
        let before = self.sql[..start].chars().count() as u32;
        let mut statements =
            crate::statement::parse(&self.sql[start..]).map_err(|error| match error.position() {
                Some(position) => error.with_position(position + before),
                None => error,
            })?;
        let mut statement = match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => statement,
            _ => return Err(self.syntax_error()),
        };
        if !matches!(statement.statement, Statement::Plannable(_)) {
            return Err(self.syntax_error());
        }
        statement.offset += self.offset + start;
        self.at = self.tokens.len();
        Ok(statement)
    }

    fn deallocate(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        self.word("prepare");
        if self.word("all") {
            return Ok(SessionCommand::Deallocate(None));
        }
        Ok(SessionCommand::Deallocate(Some(self.name()?)))
    }

    fn declare(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        let name = self.name()?;
        let (mut scroll, mut hold, mut binary) = (None, false, false);
        loop {
            if self.word("binary") {
                binary = true;
            } else if self.words(&["no", "scroll"]) {
                scroll = Some(false);
            } else if self.word("scroll") {
                scroll = Some(true);
            } else if !self.word("insensitive") && !self.word("asensitive") {
                break;
            }
        }
        self.expect_word("cursor")?;
        if self.words(&["with", "hold"]) {
            hold = true;
        } else {
            self.words(&["without", "hold"]);
        }
        self.expect_word("for")?;
        let is_query = match self.peek() {
            Some(Token::Word(word)) => matches!(word.as_str(), "select" | "values" | "with" | "table"),
            token => token == Some(&Token::Symbol('(')),
        };
        if !is_query {
            return Err(self.syntax_error());
        }
        Ok(SessionCommand::Declare {
            name,
            scroll,
            hold,
            binary,
            query: Box::new(self.rest_as_statement()?),
            values: Vec::new(),
        })
    }

    fn fetch(&mut self) -> Result<SessionCommand> {
        let moves = self.word("move");
        if !moves {
            self.at += 1;
        }
        // Without a direction the name comes first; a cursor may be called `first`.
        let direction =
            if self.at + 1 == self.tokens.len() { Direction::Forward(1) } else { self.direction()? };
        let _ = self.word("from") || self.word("in");
        Ok(SessionCommand::Fetch { name: self.name()?, direction, moves })
    }

    fn direction(&mut self) -> Result<Direction> {
        if self.word("next") {
            return Ok(Direction::Forward(1));
        } else if self.word("prior") {
            return Ok(Direction::Backward(1));
        } else if self.word("first") {
            return Ok(Direction::Absolute(1));
        } else if self.word("last") {
            return Ok(Direction::Absolute(-1));
        } else if self.word("absolute") {
            return Ok(Direction::Absolute(self.count()?.ok_or_else(|| self.syntax_error())?));
        } else if self.word("relative") {
            return Ok(Direction::Relative(self.count()?.ok_or_else(|| self.syntax_error())?));
        }
        let backward = self.word("backward");
        let forward = !backward && self.word("forward");
        let count = match self.word("all") {
            true => None,
            false if forward || backward => Some(self.count()?.unwrap_or(1)),
            false if matches!(self.peek(), Some(Token::Word(word)) if word == "from" || word == "in") => {
                Some(1)
            }
            false => match self.count()? {
                Some(count) => Some(count),
                // FETCH name with something after it is no FETCH.
                None => return Err(self.syntax_error()),
            },
        };
        Ok(match count {
            None if backward => Direction::Backward(u64::MAX),
            None => Direction::Forward(u64::MAX),
            Some(count) if (count < 0) != backward => Direction::Backward(count.unsigned_abs()),
            Some(count) => Direction::Forward(count.unsigned_abs()),
        })
    }

    fn count(&mut self) -> Result<Option<i64>> {
        let negative = self.symbol('-');
        if !negative {
            self.symbol('+');
        }
        match self.peek() {
            Some(Token::Number(digits)) => {
                let count: i64 = digits.parse().map_err(|_| self.syntax_error())?;
                self.at += 1;
                Ok(Some(if negative { -count } else { count }))
            }
            _ if negative => Err(self.syntax_error()),
            _ => Ok(None),
        }
    }

    fn close(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        if self.word("all") {
            return Ok(SessionCommand::Close(None));
        }
        Ok(SessionCommand::Close(Some(self.name()?)))
    }

    fn listen(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        self.name()?;
        Ok(SessionCommand::Listen)
    }

    fn unlisten(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        if !self.symbol('*') {
            self.name()?;
        }
        Ok(SessionCommand::Unlisten)
    }

    fn notify(&mut self) -> Result<SessionCommand> {
        self.at += 1;
        self.name()?;
        if self.symbol(',') {
            self.value()?;
        }
        Ok(SessionCommand::Notify)
    }
}

/// An isolation level by the name that settings use. SERIALIZABLE is carried out as REPEATABLE READ, READ UNCOMMITTED as
/// READ COMMITTED.
pub(crate) fn isolation_named(name: &str) -> Result<(Isolation, &'static str)> {
    match name {
        "serializable" => Ok((Isolation::RepeatableRead, "serializable")),
        "repeatable read" => Ok((Isolation::RepeatableRead, "repeatable read")),
        "read uncommitted" => Ok((Isolation::ReadCommitted, "read uncommitted")),
        _ => Ok((Isolation::ReadCommitted, "read committed")),
    }
}
