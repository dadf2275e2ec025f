"""Asks one server a list of statements by the extended protocol and keeps what it answers, in a form that compares.

Statements are pipelined in batches, each with a Sync of its own, so that one that fails leaves the others alone. Knows nothing
of where the statements come from.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg import pq

BATCH = 40
TIMEOUT = "10s"
NAMES = "SELECT oid, format_type(oid, NULL) FROM pg_type"


@dataclass(frozen=True)
class Statement:
    """A statement; `topic` says what it is about, `binary` asks for rows in binary form, `ordered` rows in order."""

    text: str
    topic: str
    binary: bool = False
    parameters: tuple[bytes | None, ...] = ()
    describe: bool = False
    ordered: bool = True


@dataclass(frozen=True)
class Answer:
    """What a client sees. Rows are lists of bytes or None, as the protocol carries them."""

    sqlstate: str | None = None
    message: str | None = None
    tag: str | None = None
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    rows: tuple[tuple[bytes | None, ...], ...] = ()

    def brief(self) -> str:
        if self.sqlstate:
            return f"{self.sqlstate}: {self.message}"
        shown = " | ".join(",".join(shown_value(it) for it in row) for row in self.rows[:4])
        return f"{self.tag} ({', '.join(f'{n} {t}' for n, t in zip(self.names, self.types))}) {shown} {' '.join(self.parameters)}"


def shown_value(value: bytes | None) -> str:
    return "NULL" if value is None else value.decode(errors="backslashreplace")


class Session:
    """One connection to one server."""

    def __init__(self, url: str):
        self.url = url
        self.connect()

    def connect(self) -> None:
        self.pgconn = pq.PGconn.connect(self.url.encode())
        if self.pgconn.status != pq.ConnStatus.OK:
            raise RuntimeError(self.pgconn.get_error_message())
        self.pgconn.exec_(f"SET statement_timeout = '{TIMEOUT}'".encode())
        found = self.pgconn.exec_(NAMES.encode())
        self.names = {int(found.get_value(i, 0)): found.get_value(i, 1).decode() for i in range(found.ntuples)}

    def run(self, statement: Statement) -> Answer:
        return self.read(self.send([statement]))[0]

    def send(self, batch: list[Statement]) -> list[Statement]:
        self.pgconn.enter_pipeline_mode()
        for statement in batch:
            text = statement.text.encode()
            if statement.describe:
                self.pgconn.send_prepare(b"", text)
                self.pgconn.send_describe_prepared(b"")
            else:
                self.pgconn.send_query_params(text, statement.parameters, result_format=int(statement.binary))
            self.pgconn.pipeline_sync()
        return batch

    def read(self, batch: list[Statement]) -> list[Answer]:
        answers = [self.read_one(statement) for statement in batch]
        self.pgconn.exit_pipeline_mode()
        return answers

    def read_one(self, statement: Statement) -> Answer:
        answer = Answer()
        while True:
            result = self.pgconn.get_result()
            if result is None:
                if self.pgconn.status != pq.ConnStatus.OK:
                    raise ConnectionError(f"the connection is gone after: {statement.text}")
                continue
            if result.status == pq.ExecStatus.PIPELINE_SYNC:
                return answer
            if result.status != pq.ExecStatus.PIPELINE_ABORTED:
                answer = self.answer(result, statement)

    def answer(self, result: pq.PGresult, statement: Statement) -> Answer:
        if result.status == pq.ExecStatus.FATAL_ERROR:
            state = result.error_field(pq.DiagnosticField.SQLSTATE) or b"none"
            message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b""
            return Answer(sqlstate=state.decode(), message=message.decode())
        width = result.nfields
        rows = [tuple(result.get_value(i, j) for j in range(width)) for i in range(result.ntuples)]
        return Answer(
            tag=(result.command_status or b"").decode(),
            names=tuple(result.fname(j).decode() for j in range(width)),
            types=tuple(self.type_name(result.ftype(j)) + modifier(result.fmod(j)) for j in range(width)),
            parameters=tuple(self.type_name(result.param_type(i)) for i in range(result.nparams)) if statement.describe else (),
            rows=tuple(rows if statement.ordered else sorted(rows, key=repr)),
        )

    def type_name(self, oid: int) -> str:
        return self.names.get(oid, str(oid))


def modifier(number: int) -> str:
    return "" if number == -1 else f"({number})"


def batches(statements: Iterable[Statement]) -> Iterator[list[Statement]]:
    batch: list[Statement] = []
    for statement in statements:
        batch.append(statement)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def both(reference: Session, quiver: Session, statements: Iterable[Statement]) -> Iterator[tuple[Statement, Answer, Answer]]:
    """Asks both servers at once, batch by batch."""
    for batch in batches(statements):
        reference.send(batch)
        quiver.send(batch)
        yield from zip(batch, reference.read(batch), quiver.read(batch), strict=True)
