"""Edge literals of every type, those where implementations go wrong; the first of each are plain values.

A literal is the text of a constant of that type without quotes. MILD of the first ones raise no errors in most operators.
"""

EDGES: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["3", "-7", "0", "1", "32767", "-32768"],
    "int4": ["5", "-2", "0", "1", "12", "2147483647", "-2147483648"],
    "int8": ["6", "-4", "0", "1", "64", "9223372036854775807", "-9223372036854775808", "4294967296"],
    "float4": ["1.5", "-2.25", "0", "-0", "3.4028235e38", "1e-45", "NaN", "Infinity", "-Infinity", "16777217"],
    "float8": ["2.5", "-0.75", "0", "-0", "1e15", "123456789.125", "1.7976931348623157e308", "5e-324", "NaN", "Infinity", "-Infinity"],
    "numeric": ["1.5", "-2.25", "0", "10", "1.10", "12345678901234567890.123456789", "-0.00001", "NaN", "Infinity", "9223372036854775808"],
    "text": ["abc", "Bb C", "", " a  ", "12", "ünïcödé 日本", "a%b_c\\", "true", "{1,2}", "2024-02-29"],
    "varchar": ["abc", "aBc", "", "xy ", "42"],
    "varchar(3)": ["abc", "a", ""],
    "bpchar": ["abc", "ab ", "", "7  "],
    "char(5)": ["abc", "ab ", "hello"],
    "bytea": ["\\x616263", "\\x", "\\x00ff", "\\xdeadbeef"],
    "date": ["2024-02-29", "1999-12-31", "2000-01-01", "0001-01-01", "0044-03-15 BC", "infinity", "-infinity", "5874897-12-31"],
    "time": ["12:34:56", "00:00:00", "23:59:59.999999", "24:00:00"],
    "timestamp": ["2024-02-29 12:34:56.789", "1969-12-31 23:59:59.999999", "2000-01-01 00:00:00", "infinity", "-infinity", "294276-12-31 23:59:59.999999", "0044-03-15 00:00:00 BC"],
    "timestamptz": ["2024-02-29 12:34:56.789+00", "2024-03-10 02:30:00-05", "1999-12-31 23:59:60+00", "infinity", "-infinity", "0044-03-15 00:00:00+00 BC"],
    "interval": ["1 day", "-1 mon 2 days 03:04:05.678", "0", "1 year 13 mons", "24:00:00", "-00:00:00.000001", "30 days", "178000000 years"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "json": ['{"a": 1, "b": [1,  2]}', "[1, null, true]", '"x"', "null", "1.50", "[]", '{"a":1,"a":2}'],
    "jsonb": ['{"b": [1,  2], "a": 1}', "[1, null, true, \"a\"]", '"a"', "null", "1.50", "[]", "{}", '{"a": {"b": "c\\u00e9\\n"}}'],
    "bit(3)": ["101", "000", "111"],
    "bit(8)": ["10101010", "00000001", "11111111"],
    "varbit": ["101", "", "0", "1111000011110000"],
    "vector": ["[1,2,3]", "[0,0,0]", "[-1.5,1e10,0.25]", "[1,2]", "[3]", "[1e-10,2,-3]", "[3e38,3e38,3e38]"],
    "halfvec": ["[1,2,3]", "[0,0,0]", "[-1.5,65504,0.25]", "[1,2]", "[0.1,0.2,0.3]"],
    "sparsevec": ["{1:1,3:2}/3", "{}/3", "{2:-1.5}/5", "{1:1e10,2:2,3:3}/3"],
    "bool[]": ["{t,f}", "{}", "{NULL,t}"],
    "int2[]": ["{1,2}", "{}", "{3}"],
    "int4[]": ["{1,2,3}", "{}", "{NULL,1}", "{2147483647}", "{2,1,2}"],
    "int8[]": ["{1,2}", "{}", "{9223372036854775807}"],
    "float4[]": ["{1.5,-0}", "{}", "{NaN,1}", "{1,2,3}"],
    "float8[]": ["{1.5,2}", "{}", "{NULL,Infinity}", "{1,2,3}"],
    "numeric[]": ["{1.5,2}", "{}", "{NULL,3}"],
    "text[]": ["{a,b}", "{}", "{NULL,\"NULL\",\"a b\",\"\"}", "{\"x\\\"y\",\"{\"}"],
    "varchar[]": ["{a,b}", "{}"],
    "date[]": ["{2024-01-01}", "{}"],
    "timestamp[]": ["{\"2024-01-01 00:00:00\"}", "{}"],
    "timestamptz[]": ["{\"2024-01-01 00:00:00+00\"}"],
    "uuid[]": ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "{}"],
    "jsonb[]": ["{1,\"{\\\"a\\\": 1}\"}", "{}"],
    "bytea[]": ["{\"\\\\x61\"}"],
    "interval[]": ["{\"1 day\",\"24:00:00\"}"],
}
MILD = 3

# What Quiver refuses to store, so that no table has it: tried as constants only.
UNSTORED = {
    "numeric": {"NaN", "Infinity"},
    "date": {"infinity", "-infinity"},
    "timestamp": {"infinity", "-infinity", "294276-12-31 23:59:59.999999"},
    "timestamptz": {"infinity", "-infinity"},
}

# How pg_type names a type, where it is not how it is written.
CATALOG_NAMES = {"varchar(3)": None, "char(5)": None, "bit(3)": "bit", "bit(8)": None}


def catalog_name(ty: str) -> str | None:
    """The name in pg_type; None for a type that only its modifier tells from another."""
    if ty in CATALOG_NAMES:
        return CATALOG_NAMES[ty]
    return "_" + ty[:-2] if ty.endswith("[]") else ty


BY_CATALOG_NAME = {name: ty for ty in EDGES if (name := catalog_name(ty))}

# Texts that some types read and others refuse.
INPUTS = ["", " ", "1", " 7 ", "1.5", "-1e3", "0x1F", "1_000", "abc", "t", "yes", "NaN", "inf", "null", "[1,2]", "[ 1 , 2 ]", "{1,2}", "{1:1}/2",
          "[1,2,", "{a,\"b\\\"\"}", "{{1,2},{3,4}}", "{1,2", "2024-02-30", "20240229", "Feb 29 2024", "now-ish", "12:61", "1 day ago", "P1Y2M3DT4H", "1 2",
          "10101", "102", "\\xZZ", "\\x0", "a0eebc999c0b4ef8bb6d6bb9bd380a11", "{\"a\":}", "{\"a\":1}", "99999999999999999999", "1e400", "[1e400]", "[]", "{}"]


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def constant(ty: str, text: str) -> str:
    return f"{quoted(text)}::{ty}"
