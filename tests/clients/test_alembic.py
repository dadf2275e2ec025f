"""Alembic: upgrade and downgrade, autogenerate, offline SQL, over a schema with vectors."""

import textwrap
from decimal import Decimal

import alembic.command
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pgvector.sqlalchemy import BIT, HALFVEC, SPARSEVEC, VECTOR
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

ENVIRONMENT = """
from alembic import context
import sqlalchemy

config = context.config
metadata = config.attributes["metadata"]
if context.is_offline_mode():
    context.configure(url=config.get_main_option("sqlalchemy.url"), target_metadata=metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = sqlalchemy.create_engine(config.get_main_option("sqlalchemy.url"))
    with engine.connect() as connection:
        context.configure(connection=connection, target_metadata=metadata)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()
"""

TEMPLATE = '''
"""${message}"""
from alembic import op
import sqlalchemy as sa
import pgvector.sqlalchemy
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade():
    ${upgrades if upgrades else "pass"}


def downgrade():
    ${downgrades if downgrades else "pass"}
'''


def first_schema():
    metadata = sa.MetaData()
    sa.Table(
        "documents",
        metadata,
        sa.Column("id", sa.BigInteger, primary_key=True),
        sa.Column("title", sa.String(100), nullable=False),
        sa.Column("data", JSONB, server_default=sa.text("'{}'::jsonb")),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.func.now()),
        sa.Column("embedding", VECTOR(3)),
        sa.UniqueConstraint("title", name="documents_title"),
        sa.Index(
            "documents_embedding",
            "embedding",
            postgresql_using="hnsw",
            postgresql_with={"m": 16, "ef_construction": 64},
            postgresql_ops={"embedding": "vector_l2_ops"},
        ),
    )
    return metadata


def second_schema():
    metadata = first_schema()
    documents = metadata.tables["documents"]
    documents.append_column(sa.Column("lang", sa.String(2), index=True))
    documents.c.title.nullable = True
    sa.Table("tags", metadata, sa.Column("name", sa.Text, primary_key=True), sa.Column("uses", sa.Integer, nullable=False))
    return metadata


def whole_schema():
    """Every kind of column, default, constraint and index."""
    metadata = sa.MetaData()
    sa.Table(
        "everything",
        metadata,
        sa.Column("id", sa.Integer, sa.Identity(start=10, increment=5), primary_key=True),
        sa.Column("flag", sa.Boolean, server_default=sa.true()),
        sa.Column("small", sa.SmallInteger, server_default="7", nullable=False),
        sa.Column("big", sa.BigInteger),
        sa.Column("real", sa.REAL),
        sa.Column("double", sa.Double),
        sa.Column("amount", sa.Numeric(12, 3), server_default="1.5"),
        sa.Column("number", sa.Numeric),
        sa.Column("name", sa.String(30), server_default="none", comment="what it is called"),
        sa.Column("any_name", sa.String),
        sa.Column("code", sa.CHAR(4)),
        sa.Column("body", sa.Text),
        sa.Column("data", sa.LargeBinary),
        sa.Column("day", sa.Date, server_default=sa.func.current_date()),
        sa.Column("hour", sa.Time),
        sa.Column("stamp", sa.DateTime),
        sa.Column("zoned", sa.DateTime(timezone=True), server_default=sa.func.now()),
        sa.Column("span", sa.Interval),
        sa.Column("key", sa.Uuid, server_default=sa.func.gen_random_uuid()),
        sa.Column("document", sa.JSON),
        sa.Column("documents", JSONB, server_default=sa.text("'[]'")),
        sa.Column("numbers", ARRAY(sa.Integer), server_default="{}"),
        sa.Column("names", ARRAY(sa.String(5))),
        sa.Column("vector", VECTOR(3)),
        sa.Column("any_vector", VECTOR),
        sa.Column("halfvec", HALFVEC(3)),
        sa.Column("sparsevec", SPARSEVEC(5)),
        sa.Column("bits", BIT(8)),
        sa.Column("vectors", ARRAY(VECTOR(3))),
        sa.CheckConstraint("small > 0", name="small_positive"),
        sa.UniqueConstraint("name", "code", name="everything_name_code"),
        sa.Index("everything_big", "big", unique=True),
        sa.Index("everything_day", "day", sa.text("zoned DESC")),
        *[
            sa.Index(
                f"everything_{column}_{kind}", column, postgresql_using="hnsw", postgresql_ops={column: f"{column}_{kind}_ops"}
            )
            for column in ("vector", "halfvec", "sparsevec")
            for kind in ("l2", "ip", "cosine", "l1")
        ],
        sa.Index("everything_bits", "bits", postgresql_using="hnsw", postgresql_ops={"bits": "bit_jaccard_ops"}),
        sa.Index(
            "everything_lists", "vector", postgresql_using="ivfflat", postgresql_with={"lists": 5},
            postgresql_ops={"vector": "vector_cosine_ops"},
        ),
        sa.Index(
            "everything_partial", "vector", postgresql_using="hnsw", postgresql_ops={"vector": "vector_ip_ops"},
            postgresql_with={"m": 4, "ef_construction": 10}, postgresql_where=sa.text("flag"),
        ),
        comment="one of each",
    )  # fmt: skip
    sa.Table(
        "pairs",
        metadata,
        sa.Column("a", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("b", sa.Text, primary_key=True),
    )
    return metadata


@pytest.fixture(params=["psycopg", "psycopg2", "pg8000"])
def config(server, tmp_path, request):
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(textwrap.dedent(ENVIRONMENT))
    (tmp_path / "script.py.mako").write_text(TEMPLATE.lstrip())
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("sqlalchemy.url", server.url(f"postgresql+{request.param}"))
    config.attributes["metadata"] = first_schema()
    return config


@pytest.fixture
def connection(config):
    engine = sa.create_engine(config.get_main_option("sqlalchemy.url"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        yield connection
    engine.dispose()


def differences(connection, metadata, **options):
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


def test_upgrade_and_downgrade_with_autogenerate(config, connection):
    alembic.command.revision(config, message="first", autogenerate=True, rev_id="a1")
    alembic.command.upgrade(config, "head")
    assert connection.scalar(sa.text("SELECT version_num FROM alembic_version")) == "a1"
    assert differences(connection, first_schema()) == []
    connection.execute(sa.text("INSERT INTO documents (title, embedding) VALUES ('one', '[1,2,3]')"))

    config.attributes["metadata"] = second_schema()
    alembic.command.revision(config, message="second", autogenerate=True, rev_id="b2")
    text = next(ScriptDirectory.from_config(config).walk_revisions()).module.__doc__
    assert text == "second"
    alembic.command.upgrade(config, "head")
    assert differences(connection, second_schema()) == []
    row = connection.execute(sa.text("SELECT title, lang, data::text FROM documents")).one()
    assert tuple(row) == ("one", None, "{}")

    alembic.command.downgrade(config, "-1")
    assert differences(connection, first_schema()) == []
    assert connection.scalar(sa.text("SELECT count(*) FROM documents")) == 1
    alembic.command.downgrade(config, "base")
    assert sa.inspect(connection).get_table_names() == ["alembic_version"]
    assert connection.scalar(sa.text("SELECT count(*) FROM alembic_version")) == 0


def test_a_migration_of_everything_leaves_no_difference(config, connection):
    config.attributes["metadata"] = whole_schema()
    alembic.command.revision(config, message="everything", autogenerate=True, rev_id="a1")
    alembic.command.upgrade(config, "head")
    assert differences(connection, whole_schema(), compare_type=True, compare_server_default=True) == []
    connection.execute(sa.text("INSERT INTO everything (big) VALUES (1), (2)"))
    row = connection.execute(sa.text("SELECT id, flag, small, amount, name, documents, numbers FROM everything WHERE big = 2")).one()
    assert tuple(row) == (15, True, 7, Decimal("1.500"), "none", [], [])
    alembic.command.check(config)
    alembic.command.downgrade(config, "base")
    assert sa.inspect(connection).get_table_names() == ["alembic_version"]


def test_changed_types_and_defaults_are_seen(config, connection):
    whole_schema().create_all(connection)
    changed = whole_schema()
    everything = changed.tables["everything"]
    everything.c.vector.type = VECTOR(4)
    everything.c.halfvec.type = HALFVEC(5)
    everything.c.bits.type = BIT(9)
    everything.c.name.type = sa.String(31)
    everything.c.amount.type = sa.Numeric(12, 4)
    everything.c.small.server_default = sa.DefaultClause("8")
    everything.c.name.comment = "another"
    found = []
    for difference in differences(connection, changed, compare_type=True, compare_server_default=True):
        found += [(part[0], part[3]) for part in difference] if isinstance(difference, list) else [difference[:1]]
    assert sorted(found) == [
        ("modify_comment", "name"), ("modify_default", "small"), ("modify_type", "amount"), ("modify_type", "bits"),
        ("modify_type", "halfvec"), ("modify_type", "name"), ("modify_type", "vector"),
    ]  # fmt: skip


def test_differences_are_seen(config, connection):
    first_schema().create_all(connection)
    kinds = []
    for difference in differences(connection, second_schema()):
        kinds += [part[0] for part in difference] if isinstance(difference, list) else [difference[0]]
    assert sorted(kinds) == ["add_column", "add_index", "add_table", "modify_nullable"]


def test_operations(config, connection):
    from alembic.operations import Operations

    first_schema().create_all(connection)
    op = Operations(MigrationContext.configure(connection))
    op.add_column("documents", sa.Column("score", sa.Integer, server_default="7", nullable=False))
    op.execute("INSERT INTO documents (title) VALUES ('a')")
    assert connection.scalar(sa.text("SELECT score FROM documents")) == 7
    op.alter_column("documents", "score", server_default=None, new_column_name="points")
    op.alter_column("documents", "title", nullable=True)
    op.create_check_constraint("points_positive", "documents", "points > 0")
    op.create_unique_constraint("documents_points", "documents", ["points"])
    op.drop_constraint("points_positive", "documents")
    op.create_index("documents_created", "documents", ["created"])
    op.drop_index("documents_created", "documents")
    op.rename_table("documents", "papers")
    op.bulk_insert(sa.table("papers", sa.column("title"), sa.column("points")), [{"title": "b", "points": 8}])
    columns = {column["name"]: column for column in sa.inspect(connection).get_columns("papers")}
    assert columns["points"]["default"] is None and columns["title"]["nullable"]
    op.drop_column("papers", "points")
    assert connection.scalar(sa.text("SELECT count(*) FROM papers")) == 2
    op.drop_table("papers")
    assert sa.inspect(connection).get_table_names() == []


def test_a_failing_migration_leaves_nothing(config, connection, tmp_path):
    (tmp_path / "versions" / "bad.py").write_text(
        textwrap.dedent("""
        from alembic import op
        import sqlalchemy as sa
        revision, down_revision = "c3", None

        def upgrade():
            op.create_table("half", sa.Column("id", sa.Integer, primary_key=True))
            op.execute("INSERT INTO half VALUES (1)")
            op.execute("SELECT 1 / 0")
        """)
    )
    with pytest.raises(sa.exc.DBAPIError):
        alembic.command.upgrade(config, "head")
    assert "half" not in sa.inspect(connection).get_table_names()
