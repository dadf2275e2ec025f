"""SQLAlchemy's ORM over every driver: sessions, identity, relationships, versions, vectors."""

import datetime as dt
import uuid

import pytest
import sqlalchemy as sa
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload
from sqlalchemy.orm.exc import StaleDataError

from engines import Database, every_driver, plain_drivers


class Base(DeclarativeBase):
    pass


class Author(Base):
    __tablename__ = "authors"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(50), unique=True)
    version: Mapped[int] = mapped_column(default=1)
    papers: Mapped[list["Paper"]] = relationship(
        back_populates="author", primaryjoin="foreign(Paper.author_id) == Author.id", cascade="all, delete-orphan"
    )

    __mapper_args__ = {"version_id_col": version}


class Paper(Base):
    __tablename__ = "papers"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=uuid.uuid4)
    author_id: Mapped[int] = mapped_column(index=True)
    title: Mapped[str]
    tags: Mapped[list[str]] = mapped_column(ARRAY(sa.Text), default=list)
    data: Mapped[dict] = mapped_column(JSONB, default=dict)
    written: Mapped[dt.datetime] = mapped_column(sa.DateTime(timezone=True), server_default=sa.func.now())
    embedding: Mapped[list[float] | None] = mapped_column(VECTOR(3))
    author: Mapped[Author] = relationship(
        back_populates="papers", primaryjoin="foreign(Paper.author_id) == Author.id"
    )

    __table_args__ = (
        sa.Index(
            "papers_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_with={"m": 16, "ef_construction": 64},
            postgresql_ops={"embedding": "vector_cosine_ops"},
        ),
    )


def in_session(server, driver, work):
    """Runs a function that takes a Session over tables that are there."""

    def connected(connection):
        Base.metadata.create_all(connection)
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            return work(session)

    return Database(server, driver).run(connected)


def two_authors(session):
    ada = Author(name="Ada", papers=[Paper(title=f"On {n}", embedding=[n, 1, 0], tags=["x", str(n)]) for n in range(5)])
    session.add_all([ada, Author(name="Bob", papers=[Paper(title="Bits", embedding=[-1, -1, 0])])])
    session.commit()


@plain_drivers
def test_unit_of_work(server, driver):
    def work(session):
        two_authors(session)
        ada = session.scalars(sa.select(Author).where(Author.name == "Ada")).one()
        assert (ada.id, ada.version, len(ada.papers)) == (1, 1, 5)
        paper = next(paper for paper in ada.papers if paper.title == "On 3")
        assert isinstance(paper.id, uuid.UUID)
        assert (paper.tags, paper.data, paper.embedding) == (["x", "3"], {}, [3.0, 1.0, 0.0])
        assert abs(dt.datetime.now(dt.timezone.utc) - paper.written) < dt.timedelta(minutes=5)
        paper.data = {"pages": 7}
        ada.name = "Ada L."
        ada.papers.remove(next(paper for paper in ada.papers if paper.title == "On 0"))
        session.commit()
        assert ada.version == 2
        assert session.scalar(sa.select(sa.func.count(Paper.id))) == 5
        assert session.get(Paper, paper.id).data == {"pages": 7}
        session.delete(ada)
        session.commit()
        assert session.scalars(sa.select(Paper.title)).all() == ["Bits"]

    in_session(server, driver, work)


@plain_drivers
def test_loading(server, driver):
    def work(session):
        two_authors(session)
        session.expunge_all()
        eager = sa.select(Author).options(selectinload(Author.papers)).order_by(Author.id)
        assert [(author.name, len(author.papers)) for author in session.scalars(eager)] == [("Ada", 5), ("Bob", 1)]
        joined = (
            sa.select(Author.name, sa.func.count(Paper.id))
            .outerjoin(Author.papers)
            .group_by(Author.name)
            .having(sa.func.count(Paper.id) > 1)
        )
        assert session.execute(joined).all() == [("Ada", 5)]
        assert session.scalars(sa.select(Author).where(Author.papers.any(Paper.title == "Bits"))).one().name == "Bob"
        assert session.query(Paper).filter(Paper.title.like("On %")).count() == 5

    in_session(server, driver, work)


@plain_drivers
def test_rollback_and_errors(server, driver):
    def work(session):
        two_authors(session)
        session.add(Author(name="Ada"))
        with pytest.raises(IntegrityError):
            session.flush()
        session.rollback()
        with session.begin_nested():
            session.add(Author(name="Cy"))
        session.commit()
        assert session.scalars(sa.select(Author.name).order_by(Author.name)).all() == ["Ada", "Bob", "Cy"]
        ada = session.scalars(sa.select(Author).where(Author.name == "Ada")).one()
        session.execute(sa.text("UPDATE authors SET version = 9 WHERE name = 'Ada'"))
        ada.name = "Late"
        with pytest.raises(StaleDataError):
            session.flush()
        session.rollback()

    in_session(server, driver, work)


@every_driver
def test_bulk(server, driver):
    def work(session):
        session.execute(sa.insert(Author), [{"name": f"author {n}"} for n in range(300)])
        ids = session.scalars(
            sa.insert(Author).returning(Author.id, sort_by_parameter_order=True), [{"name": f"b{n}"} for n in range(50)]
        ).all()
        assert len(set(ids)) == 50
        session.execute(sa.update(Author), [{"id": ids[0], "name": "renamed", "version": 1}])
        assert session.get(Author, ids[0]).name == "renamed"
        gone = session.execute(sa.delete(Author).where(Author.name.like("author %")))
        assert gone.rowcount == 300

    in_session(server, driver, work)


@plain_drivers
def test_nearest_neighbours(server, driver):
    def work(session):
        two_authors(session)
        nearest = sa.select(Paper).order_by(Paper.embedding.l2_distance([3.2, 1, 0])).limit(2)
        assert [paper.title for paper in session.scalars(nearest)] == ["On 3", "On 4"]
        distance = Paper.embedding.cosine_distance([-1, -1, 0])
        joined = sa.select(Paper.title, Author.name, distance).join(Paper.author).order_by(distance).limit(1)
        title, name, found = session.execute(joined).one()
        assert (title, name) == ("Bits", "Bob") and found == pytest.approx(0, abs=1e-6)
        filtered = (
            sa.select(Paper.title)
            .where(Paper.tags.contains(["x"]), Paper.author.has(Author.name == "Ada"))
            .order_by(Paper.embedding.l2_distance([0, 1, 0]))
            .limit(1)
        )
        assert session.scalar(filtered) == "On 0"

    in_session(server, driver, work)
