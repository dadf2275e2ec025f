"""Says in which way two answers to one statement differ, if they do."""

from answers import Answer, Statement

# The words of these errors are compared too: applications show them, or look into them.
MESSAGES = {"22P02", "22003", "22012", "22007", "22008", "22001", "23502", "23505", "42703", "42P01", "22000"}
VALUE, ERROR, ANSWER, STATE, MESSAGE, TYPE, NAME, TAG = (
    "another value",
    "an error where PostgreSQL answers",
    "an answer where PostgreSQL has an error",
    "another SQLSTATE",
    "another message",
    "another type",
    "another column name",
    "another tag",
)
KINDS = (VALUE, ERROR, ANSWER, STATE, MESSAGE, TYPE, NAME, TAG)


def difference(statement: Statement, reference: Answer, quiver: Answer) -> str | None:
    """The worst kind of difference, None if the answers are equal."""
    if reference == quiver:
        return None
    if reference.sqlstate and quiver.sqlstate:
        if reference.sqlstate != quiver.sqlstate:
            return STATE
        return MESSAGE if reference.sqlstate in MESSAGES and reference.message != quiver.message else None
    if quiver.sqlstate:
        return ERROR
    if reference.sqlstate:
        return ANSWER
    # In binary form, a value of another type has other bytes, which says nothing more.
    same_types = reference.types == quiver.types and reference.parameters == quiver.parameters
    if reference.rows != quiver.rows and (same_types or not statement.binary):
        return VALUE
    if not same_types:
        return TYPE
    return NAME if reference.names != quiver.names else TAG
