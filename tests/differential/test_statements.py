"""The same statements to PostgreSQL with pgvector and to Quiver: files of statements, and those that generate.py makes.

    pytest tests/differential                                        the files, and a sample of the generated
    pytest tests/differential --all-statements --differences=all.txt  every generated statement
"""

import collections
import pathlib
import random

import pytest
from answers import Answer, Session, Statement, both
from compare import KINDS, difference
from generate import corpus, tables
from rules import RULES

HERE = pathlib.Path(__file__).parent
# Differences that nobody has worked off yet: kind and topic of each. The list may only become shorter: a run of all statements
# fails if a line of it explains nothing.
OPEN = HERE / "open.txt"
SHOWN = 25
FILES = {it.stem for it in HERE.glob("*.sql")}


class Findings:
    """What a run finds: unexplained differences, and how often each rule explained one."""

    def __init__(self):
        self.count = 0
        lines = OPEN.read_text().splitlines() if OPEN.exists() else []
        self.open = {it for it in lines if it and not it.startswith("#")}
        self.met: collections.Counter = collections.Counter()
        self.explained: collections.Counter = collections.Counter()
        self.kinds: collections.Counter = collections.Counter()
        self.unexplained: list[str] = []

    def look(self, statement: Statement, reference: Answer, quiver: Answer) -> None:
        self.count += 1
        kind = difference(statement, reference, quiver)
        if not kind:
            return
        rule = next((it for it in RULES if it.explains(statement, reference, quiver)), None)
        if rule:
            self.explained[rule.reason] += 1
            return
        line = f"{kind}: {statement.topic}"
        self.met[line] += 1
        if line in self.open:
            return
        self.kinds[kind] += 1
        self.unexplained.append(
            f"{kind} [{statement.topic}]{' binary' if statement.binary else ''}\n    {statement.text}\n"
            f"    PostgreSQL: {reference.brief()}\n    Quiver:     {quiver.brief()}\n"
        )

    def check_open(self, is_ours) -> None:
        """Of the open differences that this run should have met, none is gone."""
        gone = sorted(it for it in self.open if not self.met[it] and is_ours(it.split(": ", 1)[1].split()[0]))
        assert not gone, f"lines of {OPEN.name} that explain nothing, to be removed: {gone}"

    def report(self, request, what: str) -> None:
        lines = [f"{what}: {self.count} statements, {sum(self.kinds.values())} differences without a reason"]
        lines += [f"  {self.kinds[it]:6} {it}" for it in KINDS if self.kinds[it]]
        lines += [f"  {count:6} explained: {reason}" for reason, count in self.explained.most_common()]
        known = collections.Counter()
        for line, count in self.met.items():
            if line in self.open:
                known[line.split(":")[0]] += count
        lines += [f"  {known[it]:6} still open: {it}" for it in KINDS if known[it]]
        print("\n".join(lines))
        if path := request.config.getoption("--open"):
            with open(path, "a") as file:
                file.writelines(f"{it}\n" for it in sorted(self.met))
        if path := request.config.getoption("--differences"):
            with open(path, "a") as file:
                file.write("\n".join([*lines, *self.unexplained]) + "\n")
        if self.unexplained:
            pytest.fail("\n".join([*lines, *self.unexplained[:SHOWN]]), pytrace=False)


def statements(path: pathlib.Path) -> list[Statement]:
    """A statement ends at a semicolon at the end of a line."""
    found, lines = [], []
    for line in path.read_text().splitlines():
        if not lines and (not line.strip() or line.startswith("--")):
            continue
        lines.append(line)
        if line.endswith(";"):
            text = "\n".join(lines)[:-1]
            # Rows come in any order unless the statement says which.
            topic = f"{path.stem} {' '.join(text.split())[:90]}"
            found.append(Statement(text, topic, ordered="order by" in text.lower()))
            lines = []
    assert not lines, f"{path}: the last statement has no end"
    return found


@pytest.mark.parametrize("path", sorted(HERE.glob("*.sql")), ids=lambda it: it.stem)
def test_file(request, reference: Session, quiver: Session, path: pathlib.Path):
    findings = Findings()
    schema = f"of_{path.stem}"
    around = [[f"CREATE SCHEMA {schema}", f"SET search_path = {schema}, public"], [f"DROP SCHEMA {schema} CASCADE", "RESET search_path"]]
    for session in (reference, quiver):
        execute(session, around[0])
    for statement in statements(path):
        findings.look(statement, reference.run(statement), quiver.run(statement))
    for session in (reference, quiver):
        execute(session, around[1])
    findings.report(request, path.name)
    findings.check_open(lambda file: file == path.stem)


def test_generated(request, reference: Session, quiver: Session):
    option = request.config.getoption
    seed, every = option("--seed"), option("--all-statements")
    for session in (reference, quiver):
        execute(session, tables())
    made = list(corpus(reference, seed))
    if wanted := option("--topic"):
        made = [it for it in made if wanted in it.topic]
    elif not every:
        made = random.Random(seed).sample(made, option("--sample"))
    findings = Findings()
    for statement, theirs, ours in both(reference, quiver, made):
        findings.look(statement, theirs, ours)
    for session in (reference, quiver):
        execute(session, [it for it in tables() if it.startswith("DROP")])
    findings.report(request, f"generated with seed {seed}")
    if every:
        dead = [it.reason for it in RULES if not findings.explained[it.reason]]
        assert not dead, f"rules that explain nothing: {dead}"
        findings.check_open(lambda file: file not in FILES)


def execute(session: Session, texts) -> None:
    for text in texts:
        answer = session.run(Statement(text, "setup"))
        assert not answer.sqlstate, f"{text}: {answer.message}"
