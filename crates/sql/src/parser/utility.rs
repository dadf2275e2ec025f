//! Statements that sqlparser lacks or knows only in other systems' forms, parsed from its tokens by hand: COPY, VACUUM,
//! ANALYZE, CHECKPOINT, REINDEX, ALTER SEQUENCE, TABLE.

use super::Sorted;
use crate::statement::Statement;
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::Token;

type Parse<T> = Result<T, ParserError>;

/// Marks an error message that is no syntax error: something PostgreSQL has and Quiver does not (0A000).
pub(super) const REFUSED: &str = "\u{1}refused: ";

/// COPY.
#[derive(Clone, Debug)]
pub(crate) struct CopyStatement {
    /// What is read or filled.
    pub source: CopySource,
    /// TO, else FROM.
    pub to: bool,
    /// Where data goes to or comes from.
    pub target: CopyTarget,
    /// Options in either form of the syntax.
    pub options: Vec<CopyOption>,
    /// `WHERE` of a COPY FROM.
    pub selection: Option<Box<ast::Expr>>,
}

/// What is read or filled.
#[derive(Clone, Debug)]
pub(crate) enum CopySource {
    /// A table, and columns of it.
    Table(ast::ObjectName, Vec<ast::Ident>),
    /// A query in parentheses.
    Query(Box<ast::Statement>),
}

/// Where COPY data goes to or comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CopyTarget {
    /// STDIN or STDOUT: the connection.
    Client,
    /// A file of the server, or a program: refused.
    Server,
}

/// A COPY option: its name in lower case and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CopyOption {
    /// Lower case.
    pub name: String,
    /// A word, number or string; columns for FORCE_…; nothing for a bare name.
    pub values: Option<Vec<String>>,
    /// `(*)` was given.
    pub all: bool,
}

/// VACUUM and the like.
#[derive(Clone, Debug)]
pub(crate) enum MaintenanceCommand {
    /// VACUUM, with its tables (none: all).
    Vacuum {
        /// Into one segment a shard.
        full: bool,
        /// Named tables.
        tables: Vec<ast::ObjectName>,
    },
    /// ANALYZE, with its tables (none: all).
    Analyze(Vec<ast::ObjectName>),
    /// CHECKPOINT.
    Checkpoint,
    /// REINDEX.
    Reindex {
        /// INDEX, TABLE, SCHEMA, DATABASE or SYSTEM, upper case.
        kind: String,
        /// What to rebuild.
        name: Option<ast::ObjectName>,
        /// CONCURRENTLY, which only says that it may not run in a block: nothing is locked in any case.
        concurrently: bool,
    },
}

/// ALTER SEQUENCE.
#[derive(Clone, Debug)]
pub(crate) struct AlterSequence {
    /// Which.
    pub name: ast::ObjectName,
    /// IF EXISTS.
    pub if_exists: bool,
    /// What to change.
    pub changes: Vec<SequenceOption>,
}

/// A change of a sequence.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // PostgreSQL's words
pub(crate) enum SequenceOption {
    RenameTo(ast::Ident),
    SetSchema(ast::Ident),
    OwnerTo(ast::Owner),
    Restart(Option<i64>),
    Start(i64),
    Increment(i64),
    Min(Option<i64>),
    Max(Option<i64>),
    Cache(i64),
    Cycle(bool),
    /// `None`: OWNED BY NONE.
    OwnedBy(Option<ast::ObjectName>),
    AsType(ast::DataType),
}

/// Parses a statement of this file; `None`, and nothing consumed, if it is none.
pub(super) fn parse(parser: &mut Parser<'_>) -> Parse<Option<Sorted>> {
    let Token::Word(first) = &parser.peek_token_ref().token else { return Ok(None) };
    if first.quote_style.is_some() {
        return Ok(None);
    }
    let word = first.value.to_ascii_lowercase();
    let statement = match word.as_str() {
        "copy" => Statement::Copy(Box::new(copy(parser)?)),
        "vacuum" => Statement::Maintenance(vacuum(parser)?),
        "analyze" | "analyse" => {
            parser.next_token();
            options(parser)?;
            word_if(parser, "verbose");
            Statement::Maintenance(MaintenanceCommand::Analyze(tables(parser)?))
        }
        "checkpoint" => {
            parser.next_token();
            Statement::Maintenance(MaintenanceCommand::Checkpoint)
        }
        "reindex" => Statement::Maintenance(reindex(parser)?),
        "alter" => return alter_sequence(parser),
        "table" => return Ok(Some(Sorted::Ast(Box::new(parser.parse_query()?.into())))),
        "create" if is_create_sequence(parser) => return create_sequence(parser).map(Some),
        "create" | "drop" | "grant" | "revoke" | "lock" | "cluster" | "security" | "refresh" => {
            return refuse(parser);
        }
        _ => return Ok(None),
    };
    Ok(Some(Sorted::Ready(statement)))
}

/// Kinds of objects that Quiver does not have: said so, not called a syntax error.
fn refuse(parser: &Parser<'_>) -> Parse<Option<Sorted>> {
    let words: Vec<String> = (0..4)
        .map_while(|n| match parser.peek_nth_token(n).token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
            _ => None,
        })
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let refused = match words.as_slice() {
        ["CREATE", "OR", "REPLACE", kind, ..] | ["CREATE" | "DROP", kind, ..] => match *kind {
            "MATERIALIZED" => Some("MATERIALIZED VIEW"),
            "TRIGGER" | "FUNCTION" | "PROCEDURE" | "AGGREGATE" | "OPERATOR" | "CAST" | "RULE" | "POLICY"
            | "PUBLICATION" | "SUBSCRIPTION" | "TABLESPACE" | "DOMAIN" | "TYPE" | "STATISTICS"
            | "FOREIGN" | "SERVER" | "USER" | "LANGUAGE" | "CONVERSION" | "COLLATION" | "EVENT" => {
                Some(*kind)
            }
            _ => None,
        },
        ["GRANT" | "REVOKE" | "CLUSTER" | "LOCK", ..] => Some(""),
        ["REFRESH", "MATERIALIZED", ..] => Some("MATERIALIZED VIEW"),
        ["SECURITY", "LABEL", ..] => Some("LABEL"),
        _ => None,
    };
    match refused {
        Some("") => Err(ParserError::ParserError(format!("{REFUSED}{} is not supported", words[0]))),
        Some(kind) => Err(ParserError::ParserError(format!("{REFUSED}{} {kind} is not supported", words[0]))),
        None => Ok(None),
    }
}

/// Consumes a word, whatever sqlparser thinks of it as a keyword.
fn word_if(parser: &mut Parser<'_>, expected: &str) -> bool {
    let found = matches!(&parser.peek_token_ref().token,
        Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case(expected));
    if found {
        parser.next_token();
    }
    found
}

fn expect_word(parser: &mut Parser<'_>, expected: &str) -> Parse<()> {
    if word_if(parser, expected) {
        return Ok(());
    }
    parser.expected(expected, parser.peek_token())
}

fn any_word(parser: &mut Parser<'_>) -> Parse<String> {
    let token = parser.next_token();
    match token.token {
        Token::Word(word) if word.quote_style.is_none() => Ok(word.value.to_ascii_lowercase()),
        Token::Word(word) => Ok(word.value),
        _ => parser.expected("a word", token),
    }
}

fn at_end(parser: &Parser<'_>) -> bool {
    parser.peek_token_ref().token == Token::EOF
}

/// A parenthesised list of options, each a name and perhaps a value.
fn options(parser: &mut Parser<'_>) -> Parse<Vec<CopyOption>> {
    if parser.peek_token_ref().token != Token::LParen {
        return Ok(Vec::new());
    }
    parser.next_token();
    let list = parser.parse_comma_separated(option)?;
    parser.expect_token(&Token::RParen)?;
    Ok(list)
}

fn option(parser: &mut Parser<'_>) -> Parse<CopyOption> {
    let name = any_word(parser)?;
    let mut result = CopyOption { name, values: None, all: false };
    match parser.peek_token_ref().token {
        Token::Comma | Token::RParen => {}
        Token::Mul => {
            parser.next_token();
            result.all = true;
        }
        Token::LParen => {
            parser.next_token();
            if parser.consume_token(&Token::Mul) {
                result.all = true;
            } else {
                result.values = Some(parser.parse_comma_separated(value)?);
            }
            parser.expect_token(&Token::RParen)?;
        }
        _ => result.values = Some(vec![value(parser)?]),
    }
    Ok(result)
}

fn value(parser: &mut Parser<'_>) -> Parse<String> {
    let token = parser.next_token();
    Ok(match token.token {
        Token::Word(word) if word.quote_style.is_some() => word.value,
        Token::Word(word) => word.value.to_lowercase(),
        Token::Number(number, _) => number,
        Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text,
        _ => return parser.expected("a value", token),
    })
}

fn copy(parser: &mut Parser<'_>) -> Parse<CopyStatement> {
    parser.next_token();
    let mut options_list = Vec::new();
    let source = if parser.consume_token(&Token::LParen) {
        let statement = parser.parse_statement()?;
        parser.expect_token(&Token::RParen)?;
        CopySource::Query(Box::new(statement))
    } else {
        if word_if(parser, "binary") {
            options_list.push(bare("format", Some("binary")));
        }
        let name = parser.parse_object_name(false)?;
        let mut columns = Vec::new();
        if parser.consume_token(&Token::LParen) {
            columns = parser.parse_comma_separated(|parser| parser.parse_identifier())?;
            parser.expect_token(&Token::RParen)?;
        }
        CopySource::Table(name, columns)
    };
    let to = if word_if(parser, "to") {
        true
    } else {
        if matches!(source, CopySource::Query(_)) {
            return parser.expected("TO", parser.peek_token());
        }
        expect_word(parser, "from")?;
        false
    };
    let target = copy_target(parser)?;
    let with = word_if(parser, "with");
    if parser.peek_token_ref().token == Token::LParen {
        options_list.extend(options(parser)?);
    } else {
        let before = options_list.len();
        legacy_options(parser, &mut options_list)?;
        if with && options_list.len() == before {
            return parser.expected("an option", parser.peek_token());
        }
    }
    let selection = match !to && parser.parse_keyword(Keyword::WHERE) {
        true => Some(Box::new(parser.parse_expr()?)),
        false => None,
    };
    Ok(CopyStatement { source, to, target, options: options_list, selection })
}

fn copy_target(parser: &mut Parser<'_>) -> Parse<CopyTarget> {
    if word_if(parser, "stdin") || word_if(parser, "stdout") {
        return Ok(CopyTarget::Client);
    }
    word_if(parser, "program");
    parser.parse_literal_string()?;
    Ok(CopyTarget::Server)
}

fn bare(name: &str, value: Option<&str>) -> CopyOption {
    CopyOption { name: name.to_owned(), values: value.map(|value| vec![value.to_owned()]), all: false }
}

/// The syntax before version 9: `WITH CSV HEADER DELIMITER ','`.
fn legacy_options(parser: &mut Parser<'_>, list: &mut Vec<CopyOption>) -> Parse<()> {
    loop {
        if word_if(parser, "binary") {
            list.push(bare("format", Some("binary")));
        } else if word_if(parser, "csv") {
            list.push(bare("format", Some("csv")));
        } else if word_if(parser, "header") {
            list.push(bare("header", None));
        } else if word_if(parser, "freeze") {
            list.push(bare("freeze", None));
        } else if word_if(parser, "force") {
            let name = match any_word(parser)?.as_str() {
                "quote" => "force_quote",
                "not" => {
                    expect_word(parser, "null")?;
                    "force_not_null"
                }
                "null" => "force_null",
                _ => return parser.expected("QUOTE, NOT NULL or NULL", parser.peek_token()),
            };
            let mut option = bare(name, None);
            if parser.consume_token(&Token::Mul) {
                option.all = true;
            } else {
                option.values = Some(parser.parse_comma_separated(value)?);
            }
            list.push(option);
        } else {
            let name = ["delimiter", "null", "quote", "escape", "encoding"]
                .into_iter()
                .find(|name| word_if(parser, name));
            let Some(name) = name else { return Ok(()) };
            word_if(parser, "as");
            let value = value(parser)?;
            list.push(bare(name, Some(&value)));
        }
    }
}

fn tables(parser: &mut Parser<'_>) -> Parse<Vec<ast::ObjectName>> {
    if at_end(parser) {
        return Ok(Vec::new());
    }
    parser.parse_comma_separated(|parser| {
        let name = parser.parse_object_name(false)?;
        if parser.consume_token(&Token::LParen) {
            parser.parse_comma_separated(|parser| parser.parse_identifier())?;
            parser.expect_token(&Token::RParen)?;
        }
        Ok(name)
    })
}

fn vacuum(parser: &mut Parser<'_>) -> Parse<MaintenanceCommand> {
    parser.next_token();
    let on = |options: &[CopyOption], name: &str| {
        options.iter().any(|option| {
            option.name == name
                && !matches!(&option.values, Some(values) if matches!(values.first().map(String::as_str), Some("false" | "off" | "0")))
        })
    };
    let list = options(parser)?;
    let mut full = on(&list, "full");
    // Statistics are kept up as rows come, so ANALYZE has nothing to add.
    let changes_nothing = ["analyze", "analyse", "freeze", "verbose"];
    loop {
        if word_if(parser, "full") {
            full = true;
        } else if !changes_nothing.iter().any(|word| word_if(parser, word)) {
            break;
        }
    }
    Ok(MaintenanceCommand::Vacuum { full, tables: tables(parser)? })
}

fn reindex(parser: &mut Parser<'_>) -> Parse<MaintenanceCommand> {
    parser.next_token();
    let named = options(parser)?;
    let kind = any_word(parser)?.to_ascii_uppercase();
    if !matches!(kind.as_str(), "INDEX" | "TABLE" | "SCHEMA" | "DATABASE" | "SYSTEM") {
        parser.prev_token();
        return parser.expected("INDEX, TABLE, SCHEMA, DATABASE or SYSTEM", parser.peek_token());
    }
    let concurrently =
        word_if(parser, "concurrently") || named.iter().any(|option| option.name == "concurrently");
    let name = if at_end(parser) { None } else { Some(parser.parse_object_name(false)?) };
    if name.is_none() && matches!(kind.as_str(), "INDEX" | "TABLE" | "SCHEMA") {
        return parser.expected("a name", parser.peek_token());
    }
    Ok(MaintenanceCommand::Reindex { kind, name, concurrently })
}

fn alter_sequence(parser: &mut Parser<'_>) -> Parse<Option<Sorted>> {
    let second = parser.peek_nth_token(1).token;
    if !matches!(&second, Token::Word(word) if word.quote_style.is_none() && word.value.eq_ignore_ascii_case("sequence"))
    {
        return Ok(None);
    }
    parser.next_token();
    parser.next_token();
    let if_exists = parser.parse_keywords(&[Keyword::IF, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let mut changes = Vec::new();
    while !at_end(parser) {
        changes.push(sequence_option(parser)?);
    }
    if changes.is_empty() {
        return parser.expected("a change", parser.peek_token());
    }
    let alter = AlterSequence { name, if_exists, changes };
    Ok(Some(Sorted::Ready(Statement::AlterSequence(Box::new(alter)))))
}

fn is_create_sequence(parser: &Parser<'_>) -> bool {
    let is = |at, keyword| matches!(&parser.peek_nth_token(at).token, Token::Word(word) if word.keyword == keyword);
    is(1, Keyword::SEQUENCE)
}

/// CREATE SEQUENCE: sqlparser knows the options in one order only.
fn create_sequence(parser: &mut Parser<'_>) -> Parse<Sorted> {
    parser.expect_keywords(&[Keyword::CREATE, Keyword::SEQUENCE])?;
    let if_not_exists = parser.parse_keywords(&[Keyword::IF, Keyword::NOT, Keyword::EXISTS]);
    let name = parser.parse_object_name(false)?;
    let (mut data_type, mut owned_by, mut options) = (None, None, Vec::new());
    let number = |value: i64| ast::Expr::value(ast::Value::Number(value.to_string(), false));
    while !at_end(parser) {
        use ast::SequenceOptions as Ast;
        match sequence_option(parser)? {
            SequenceOption::Start(value) => options.push(Ast::StartWith(number(value), true)),
            SequenceOption::Increment(value) => options.push(Ast::IncrementBy(number(value), true)),
            SequenceOption::Min(value) => options.push(Ast::MinValue(value.map(number))),
            SequenceOption::Max(value) => options.push(Ast::MaxValue(value.map(number))),
            SequenceOption::Cache(value) => options.push(Ast::Cache(number(value))),
            SequenceOption::Cycle(cycle) => options.push(Ast::Cycle(!cycle)),
            SequenceOption::AsType(ty) => data_type = Some(ty),
            SequenceOption::OwnedBy(column) => owned_by = column,
            _ => return parser.expected("an option of CREATE SEQUENCE", parser.peek_token()),
        }
    }
    Ok(Sorted::Ast(Box::new(ast::Statement::CreateSequence {
        temporary: false,
        if_not_exists,
        name,
        data_type,
        sequence_options: options,
        owned_by,
    })))
}

fn sequence_option(parser: &mut Parser<'_>) -> Parse<SequenceOption> {
    let word = any_word(parser)?;
    Ok(match word.as_str() {
        "rename" => {
            expect_word(parser, "to")?;
            SequenceOption::RenameTo(parser.parse_identifier()?)
        }
        "set" => {
            expect_word(parser, "schema")?;
            SequenceOption::SetSchema(parser.parse_identifier()?)
        }
        "owner" => {
            expect_word(parser, "to")?;
            SequenceOption::OwnerTo(parser.parse_owner()?)
        }
        "restart" => {
            let with = word_if(parser, "with");
            let number = matches!(parser.peek_token_ref().token, Token::Number(..) | Token::Minus);
            SequenceOption::Restart(if with || number { Some(integer(parser)?) } else { None })
        }
        "start" => {
            word_if(parser, "with");
            SequenceOption::Start(integer(parser)?)
        }
        "increment" => {
            word_if(parser, "by");
            SequenceOption::Increment(integer(parser)?)
        }
        "minvalue" => SequenceOption::Min(Some(integer(parser)?)),
        "maxvalue" => SequenceOption::Max(Some(integer(parser)?)),
        "cache" => SequenceOption::Cache(integer(parser)?),
        "cycle" => SequenceOption::Cycle(true),
        "as" => SequenceOption::AsType(parser.parse_data_type()?),
        "no" => match any_word(parser)?.as_str() {
            "minvalue" => SequenceOption::Min(None),
            "maxvalue" => SequenceOption::Max(None),
            "cycle" => SequenceOption::Cycle(false),
            _ => return parser.expected("MINVALUE, MAXVALUE or CYCLE", parser.peek_token()),
        },
        "owned" => {
            expect_word(parser, "by")?;
            match word_if(parser, "none") {
                true => SequenceOption::OwnedBy(None),
                false => SequenceOption::OwnedBy(Some(parser.parse_object_name(false)?)),
            }
        }
        _ => {
            parser.prev_token();
            return parser.expected("a sequence option", parser.peek_token());
        }
    })
}

fn integer(parser: &mut Parser<'_>) -> Parse<i64> {
    let negative = parser.consume_token(&Token::Minus);
    let token = parser.next_token();
    let Token::Number(text, _) = &token.token else { return parser.expected("a number", token) };
    let text = if negative { format!("-{text}") } else { text.clone() };
    text.parse().or_else(|_| parser.expected("a bigint", token))
}
