"""Alembic: upgrade and downgrade, autogenerate, offline SQL, over a schema with vectors."""

import textwrap

import alembic.command
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pgvector.sqlalchemy import VECTOR
from sqlalchemy.dialects.postgresql import JSONB

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


@pytest.fixture(params=["psycopg2"])
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


def differences(connection, metadata):
    return compare_metadata(MigrationContext.configure(connection), metadata)


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
