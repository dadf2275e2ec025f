"""One value, or a few, of every column type: the SQL type, the text of the value, and what Python drivers make of it."""

import datetime as dt
import uuid
from decimal import Decimal

UTC = dt.timezone.utc
ONE_ID = uuid.UUID("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")

# (name of the column, its type, the value in Python)
SAMPLES = [
    ("c_bool", "boolean", True),
    ("c_int2", "smallint", -32768),
    ("c_int4", "integer", 2147483647),
    ("c_int8", "bigint", -9223372036854775807),
    ("c_float4", "real", 1.5),
    ("c_float8", "double precision", 0.1),
    ("c_numeric", "numeric(20,4)", Decimal("12345678901234.5678")),
    ("c_numeric_neg", "numeric(10,2)", Decimal("-0.05")),
    ("c_text", "text", "grüße, 世界 \\ ' \" \n\t🙂"),
    ("c_varchar", "varchar(20)", "short"),
    ("c_char", "char(5)", "ab   "),
    ("c_bytea", "bytea", b"\x00\x01\xfe\xff\\'"),
    ("c_date", "date", dt.date(2024, 2, 29)),
    ("c_time", "time", dt.time(23, 59, 59, 999999)),
    ("c_timestamp", "timestamp", dt.datetime(1999, 12, 31, 23, 59, 59, 123456)),
    ("c_timestamptz", "timestamptz", dt.datetime(2024, 7, 1, 10, 30, tzinfo=UTC)),
    ("c_interval", "interval", dt.timedelta(days=3, hours=4, microseconds=5)),
    ("c_uuid", "uuid", ONE_ID),
    ("c_int4s", "integer[]", [1, -2, 3]),
    ("c_int8s", "bigint[]", [9007199254740993]),
    ("c_float8s", "double precision[]", [0.25, -1.5e10]),
    ("c_texts", "text[]", ["plain", "", 'quo"te', "comma,", "back\\slash", "NULL"]),
    ("c_bools", "boolean[]", [True, False]),
    ("c_uuids", "uuid[]", [ONE_ID]),
    ("c_stamps", "timestamptz[]", [dt.datetime(2024, 1, 1, tzinfo=UTC)]),
    ("c_empty", "integer[]", []),
]

# The object that json and jsonb columns hold.
DOCUMENT = {"name": "ü", "list": [1, 2.5, None, True], "inner": {"a": {}}}


def create_table(name: str = "samples") -> str:
    """The statement that creates a table with a column of every type, and one for json and jsonb each."""
    columns = ", ".join(f"{column} {kind}" for column, kind, _ in SAMPLES)
    return f"CREATE TABLE {name} (id integer PRIMARY KEY, {columns}, c_json json, c_jsonb jsonb)"


def column_names() -> list[str]:
    return ["id"] + [column for column, _, _ in SAMPLES] + ["c_json", "c_jsonb"]


def column_values() -> list:
    """The values of all columns but id, c_json and c_jsonb."""
    return [value for _, _, value in SAMPLES]
