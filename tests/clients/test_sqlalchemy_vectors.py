"""pgvector.sqlalchemy's types over every driver, and in SQLModel: parameters, results, nulls, arrays, distances, indexes."""

import numpy as np
import pytest
import sqlalchemy as sa
import sqlmodel
from pgvector import HalfVector, SparseVector, Vector
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR, avg, sum
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from engines import Database, every_driver

metadata = sa.MetaData()
items = sa.Table(
    "items",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("vector", VECTOR(3)),
    sa.Column("halfvec", HALFVEC(3)),
    sa.Column("sparsevec", SPARSEVEC(3)),
    sa.Column("bit", BIT(5)),
    sa.Column("vectors", pg.ARRAY(VECTOR(3), dimensions=1)),
    sa.Column("halfvecs", pg.ARRAY(HALFVEC(3), dimensions=1)),
    sa.Column("sparsevecs", pg.ARRAY(SPARSEVEC(3), dimensions=1)),
    sa.Index("items_vector", "vector", postgresql_using="hnsw", postgresql_ops={"vector": "vector_l2_ops"}),
    sa.Index("items_halfvec", "halfvec", postgresql_using="hnsw", postgresql_ops={"halfvec": "halfvec_cosine_ops"}),
    sa.Index("items_sparsevec", "sparsevec", postgresql_using="hnsw", postgresql_ops={"sparsevec": "sparsevec_ip_ops"}),
    sa.Index("items_bit", "bit", postgresql_using="hnsw", postgresql_ops={"bit": "bit_jaccard_ops"}),
)
VECTORS = [[1.0, 0.0, 0.0], [0.0, 2.0, 0.5], [-1.0, 0.25, 1.0]]
BITS = ["11100", "10011", "00000"]
QUERY = [1.0, 1.0, 0.0]
DISTANCES = {
    "l2_distance": [1.0, 1.5, 2.358495283014151],
    "max_inner_product": [-1.0, -2.0, 0.75],
    "cosine_distance": [0.2928932188134524, 0.31400565254962866, 1.3692744729379982],
    "l1_distance": [1.0, 2.5, 3.75],
}
ROWS = [
    {
        "id": key, "vector": vector, "halfvec": vector, "sparsevec": SparseVector(vector), "bit": bits,
        "vectors": [vector, QUERY], "halfvecs": [vector], "sparsevecs": [SparseVector(vector)],
    }
    for key, (vector, bits) in enumerate(zip(VECTORS, BITS), 1)
]  # fmt: skip


def fill(connection):
    metadata.create_all(connection)
    connection.execute(sa.insert(items), ROWS)
    connection.execute(sa.insert(items).values(id=4))


def by_distance(distances):
    return [key for _, key in sorted((distance, key) for key, distance in enumerate(distances, 1))]


def as_bits(value):
    """asyncpg has a type of its own for bit strings."""
    return value.as_string().replace(" ", "") if hasattr(value, "as_string") else value


@every_driver
def test_round_trip(server, driver):
    def work(connection):
        fill(connection)
        columns = [items.c.id, items.c.vector, items.c.halfvec, items.c.sparsevec, items.c.bit]
        found = connection.execute(sa.select(*columns).order_by(items.c.id)).mappings().all()
        for wanted, row in zip(ROWS, found):
            assert row["vector"] == wanted["vector"]
            assert row["halfvec"] == wanted["vector"]
            assert row["sparsevec"].to_list() == wanted["vector"]
            assert as_bits(row["bit"]) == wanted["bit"]
        assert [value for value in found[3].values() if value is not None] == [4]
        for value in (np.array([1, 2, 3], dtype=np.float32), Vector([1, 2, 3]), [1, 2, 3]):
            connection.execute(sa.update(items).where(items.c.id == 4).values(vector=value))
            assert connection.scalar(sa.select(items.c.vector).where(items.c.id == 4)) == [1.0, 2.0, 3.0]
        connection.execute(sa.update(items).where(items.c.id == 4).values(halfvec=HalfVector([1, 2, 3]), sparsevec=[0, 0, 7]))
        half, sparse = connection.execute(sa.select(items.c.halfvec, items.c.sparsevec).where(items.c.id == 4)).one()
        assert (half, sparse.to_list()) == ([1.0, 2.0, 3.0], [0.0, 0.0, 7.0])

    Database(server, driver).run(work)


@every_driver
def test_arrays(server, driver):
    def work(connection):
        fill(connection)
        columns = [items.c.vectors, items.c.halfvecs, items.c.sparsevecs]
        # As text, which every driver reads alike.
        texts = [sa.cast(column, pg.ARRAY(sa.Text)) for column in columns]
        first = connection.execute(sa.select(*texts).where(items.c.id == 1)).one()
        assert tuple(first) == (["[1,0,0]", "[1,1,0]"], ["[1,0,0]"], ["{1:1}/3"])
        size = sa.func.array_length(items.c.vectors, 1)
        assert connection.scalars(sa.select(size).order_by(items.c.id)).all() == [2, 2, 2, None]
        element = sa.select(items.c.vectors[1]).where(items.c.id == 2)
        assert connection.scalar(element) == [0.0, 2.0, 0.5]
        nearest = sa.select(items.c.id).where(items.c.id < 4).order_by(items.c.halfvecs[1].l2_distance(QUERY)).limit(1)
        assert connection.scalar(nearest) == 1

    Database(server, driver).run(work)


@every_driver
@pytest.mark.parametrize("name", ["vector", "halfvec", "sparsevec"])
def test_distances(server, driver, name):
    def work(connection):
        fill(connection)
        column = items.c[name]
        query = SparseVector(QUERY) if name == "sparsevec" else QUERY
        for method, distances in DISTANCES.items():
            distance = getattr(column, method)(query)
            wanted = by_distance(distances)
            assert connection.scalars(sa.select(items.c.id).order_by(distance).limit(3)).all() == wanted, method
            rows = connection.execute(sa.select(items.c.id, distance.label("d")).where(items.c.id < 4).order_by("d")).all()
            assert rows == [(key, pytest.approx(distances[key - 1], rel=1e-3)) for key in wanted], method
            near = sa.select(items.c.id).where(distance < distances[wanted[0] - 1] + 1e-3)
            assert connection.scalars(near).all() == wanted[:1], method
        other = items.alias()
        pairs = sa.select(items.c.id, other.c.id).where(items.c.id < other.c.id, other.c.id < 4)
        pairs = pairs.order_by(column.l2_distance(other.c[name])).limit(1)
        assert connection.execute(pairs).one() == (2, 3)

    Database(server, driver).run(work)


@every_driver
def test_bits(server, driver):
    methods = {"hamming_distance": [2.0, 2.0, 3.0], "jaccard_distance": [0.5, 0.5, 1.0]}
    if driver == "pg8000":
        # It refuses the operator's % in the text that SQLAlchemy gives it.
        del methods["jaccard_distance"]

    def work(connection):
        fill(connection)
        for method, distances in methods.items():
            distance = getattr(items.c.bit, method)("10101")
            rows = connection.execute(sa.select(items.c.id, distance).order_by(distance, items.c.id).limit(3)).all()
            assert rows == [(key, distances[key - 1]) for key in by_distance(distances)], method
        assert connection.scalar(sa.select(items.c.id).where(items.c.bit == "10011")) == 2

    Database(server, driver).run(work)


@every_driver
def test_aggregates_and_literals(server, driver):
    def work(connection):
        fill(connection)
        assert connection.scalar(sa.select(avg(items.c.vector))) == [0.0, 0.75, 0.5]
        assert connection.scalar(sa.select(sum(items.c.vector))) == [0.0, 2.25, 1.5]
        assert connection.scalar(sa.select(avg(items.c.halfvec)).where(items.c.id < 3)) == [0.5, 1.0, 0.25]
        literal = sa.select(items.c.id).order_by(items.c.vector.l2_distance(sa.literal(QUERY, VECTOR(3), literal_execute=True)))
        assert connection.scalars(literal.limit(2)).all() == [1, 2]
        cast = sa.cast(items.c.vector, HALFVEC(3))
        assert connection.scalars(sa.select(items.c.id).order_by(cast.l2_distance(QUERY)).limit(2)).all() == [1, 2]
        binary = sa.cast(sa.func.binary_quantize(items.c.vector), BIT(3))
        assert as_bits(connection.scalar(sa.select(binary).where(items.c.id == 2))) == "011"
        groups = sa.select(sa.func.count()).where(items.c.vector.in_([VECTORS[0], VECTORS[2]]))
        assert connection.scalar(groups) == 2
        with pytest.raises(DBAPIError), connection.begin_nested():
            connection.execute(sa.insert(items).values(id=9, vector=[1, 2]))
        returned = connection.execute(
            pg.insert(items).values(id=1, halfvec=[3, 2, 1])
            .on_conflict_do_update(index_elements=["id"], set_={"halfvec": [3, 2, 1]})
            .returning(items.c.halfvec)
        )  # fmt: skip
        assert returned.scalar() == [3.0, 2.0, 1.0]

    Database(server, driver).run(work)


class Document(sqlmodel.SQLModel, table=True):
    __tablename__ = "documents"

    id: int | None = sqlmodel.Field(default=None, primary_key=True)
    title: str
    vector: list[float] | None = sqlmodel.Field(default=None, sa_type=VECTOR(3))
    halfvec: list[float] | None = sqlmodel.Field(default=None, sa_type=HALFVEC(3))
    sparsevec: object = sqlmodel.Field(default=None, sa_type=SPARSEVEC(3), nullable=True)
    bit: str | None = sqlmodel.Field(default=None, sa_type=BIT(5))

    model_config = {"arbitrary_types_allowed": True}


@every_driver
def test_sqlmodel(server, driver):
    def work(connection):
        sqlmodel.SQLModel.metadata.create_all(connection, tables=[Document.__table__])
        with sqlmodel.Session(connection) as session:
            for title, vector, bits in zip("abc", VECTORS, BITS):
                document = Document(title=title, vector=vector, halfvec=vector, sparsevec=SparseVector(vector), bit=bits)
                session.add(document)
            session.add(Document(title="d"))
            session.commit()
            first = session.exec(sqlmodel.select(Document).where(Document.title == "b")).one()
            assert (first.vector, first.halfvec, first.sparsevec.to_list()) == (VECTORS[1], VECTORS[1], VECTORS[1])
            assert as_bits(first.bit) == "10011"
            last = session.exec(sqlmodel.select(Document).where(sqlmodel.col(Document.vector).is_(None))).one()
            assert (last.title, last.halfvec, last.sparsevec, last.bit) == ("d", None, None, None)
            for name in ("vector", "halfvec", "sparsevec"):
                query = SparseVector(QUERY) if name == "sparsevec" else QUERY
                for method, distances in DISTANCES.items():
                    distance = getattr(sqlmodel.col(getattr(Document, name)), method)(query)
                    found = session.exec(sqlmodel.select(Document.title).order_by(distance).limit(3)).all()
                    assert found == ["abc"[key - 1] for key in by_distance(distances)], (name, method)
            hamming = sqlmodel.col(Document.bit).hamming_distance("11110")
            assert session.exec(sqlmodel.select(Document.title).order_by(hamming).limit(1)).one() == "a"
            session.delete(last)
            session.commit()
            assert session.exec(sqlmodel.select(sa.func.count(Document.id))).one() == 3

    Database(server, driver).run(work)


class Base(sa.orm.DeclarativeBase):
    pass


class Paper(Base):
    __tablename__ = "papers"

    id: sa.orm.Mapped[int] = sa.orm.mapped_column(primary_key=True)
    vector = sa.orm.mapped_column(VECTOR(3), nullable=False)
    halfvec = sa.orm.mapped_column(HALFVEC(3))
    sparsevec = sa.orm.mapped_column(SPARSEVEC(3))
    bit = sa.orm.mapped_column(BIT(5))


@every_driver
def test_mapped_classes(server, driver):
    def work(connection):
        Base.metadata.create_all(connection)
        with Session(connection) as session:
            papers = [
                Paper(vector=vector, halfvec=vector, sparsevec=SparseVector(vector), bit=bits)
                for vector, bits in zip(VECTORS, BITS)
            ]
            session.add_all(papers)
            session.flush()
            session.expire_all()
            assert [paper.vector for paper in papers] == VECTORS
            assert [paper.halfvec for paper in papers] == VECTORS
            assert [paper.sparsevec.to_list() for paper in papers] == VECTORS
            assert [as_bits(paper.bit) for paper in papers] == BITS
            papers[0].halfvec = [7, 8, 9]
            papers[1].sparsevec = None
            session.flush()
            session.expire_all()
            assert (papers[0].halfvec, papers[1].sparsevec) == ([7.0, 8.0, 9.0], None)
            found = session.scalars(sa.select(Paper).order_by(Paper.sparsevec.l2_distance(SparseVector(QUERY))).limit(1)).one()
            assert found is papers[0]

    Database(server, driver).run(work)
