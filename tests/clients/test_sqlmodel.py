"""SQLModel: models with vectors, over psycopg and psycopg2."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, Session, SQLModel, col, create_engine, func, select


class Product(SQLModel, table=True):
    __tablename__ = "products"

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True, max_length=50)
    code: uuid.UUID = Field(default_factory=uuid.uuid4, unique=True)
    price: Decimal = Field(max_digits=10, decimal_places=2)
    stock: int = 0
    added: dt.datetime = Field(
        default_factory=lambda: dt.datetime.now(dt.timezone.utc), sa_column=sa.Column(sa.DateTime(timezone=True))
    )
    tags: list[str] = Field(default_factory=list, sa_column=sa.Column(ARRAY(sa.Text)))
    data: dict[str, Any] = Field(default_factory=dict, sa_column=sa.Column(JSONB))
    embedding: Any = Field(default=None, sa_type=VECTOR(3))


def products():
    return [
        Product(name="pen", price=Decimal("1.20"), tags=["ink"], data={"color": "blue"}, embedding=[1, 0, 0]),
        Product(name="pencil", price=Decimal("0.80"), stock=5, embedding=[0.8, 0.2, 0]),
        Product(name="desk", price=Decimal("250"), stock=1, embedding=[0, 0, 1]),
    ]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_models(server, driver):
    engine = create_engine(server.url(f"postgresql+{driver}"))
    SQLModel.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(products())
        session.commit()
        pen = session.exec(select(Product).where(Product.name == "pen")).one()
        assert (pen.id, pen.price, pen.tags, pen.data) == (1, Decimal("1.20"), ["ink"], {"color": "blue"})
        assert isinstance(pen.code, uuid.UUID) and pen.embedding == [1.0, 0.0, 0.0]
        pen.stock += 10
        session.add(pen)
        session.commit()
        session.refresh(pen)
        assert pen.stock == 10
        nearest = select(Product).order_by(col(Product.embedding).l2_distance([1, 0, 0])).limit(2)
        assert [product.name for product in session.exec(nearest)] == ["pen", "pencil"]
        distance = col(Product.embedding).cosine_distance([0, 0, 1])
        cheap = select(Product.name).where(Product.price < 100).order_by(distance, Product.name).limit(1)
        assert session.exec(cheap).first() == "pen"
        total = select(func.sum(Product.stock), func.count()).where(col(Product.name).startswith("pe"))
        assert session.exec(total).one() == (15, 2)
        session.delete(pen)
        session.commit()
        assert session.get(Product, 1) is None
    engine.dispose()
