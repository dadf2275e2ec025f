import java.math.BigDecimal;
import java.sql.Array;
import java.sql.Connection;
import java.sql.Date;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.Time;
import java.sql.Timestamp;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.Calendar;
import java.util.List;
import java.util.TimeZone;
import java.util.UUID;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;

/** Every column type as parameter and result, more often than the driver needs to change to prepared statements and binary. */
final class Types {
  private static final UUID ID = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");

  static void run() throws Exception {
    try (Connection connection = Check.connect()) {
      scalars(connection);
      nulls(connection);
      numbers(connection);
      times(connection);
      arrays(connection);
      texts(connection);
      // The simple protocol describes no statement before it runs.
      if (!Check.options.contains("simple")) shapes(connection);
    }
  }

  private static PGobject object(String type, String value) throws Exception {
    PGobject object = new PGobject();
    object.setType(type);
    object.setValue(value);
    return object;
  }

  /** Bytes as a parameter: the driver cannot write an array of them into a statement's text. */
  private static Object bytes(int... values) throws Exception {
    byte[] bytes = new byte[values.length];
    for (int n = 0; n < values.length; n++) bytes[n] = (byte) values[n];
    return Check.options.contains("simple") ? object("bytea", "\\x" + java.util.HexFormat.of().formatHex(bytes)) : bytes;
  }

  private static final String TABLE =
      "CREATE TABLE t (id int PRIMARY KEY, flag boolean, small smallint, big bigint, real_ real, double_ float8, amount numeric(12,4),"
          + " body text, name varchar(10), fixed char(4), data bytea, day date, clock time, stamp timestamp, moment timestamptz, key uuid,"
          + " span interval, document json, documents jsonb, numbers int[], bits bit(4), bits_ varbit(8))";

  private static void scalars(Connection connection) throws Exception {
    Check.run(connection, TABLE);
    String marks = "?" + ", ?".repeat(21);
    Array numbers = connection.createArrayOf("int4", new Object[] {1, null, 3});
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO t VALUES (" + marks + ")")) {
      for (int id = 0; id < 8; id++) {
        Object[] row = {
          id, true, (short) -32768, Long.MIN_VALUE, 1.5f, 0.1, new BigDecimal("12345678.1250"), "grüße \\ ' \" \n🙂", "short", "ab",
          bytes(0, 1, -1), LocalDate.of(2024, 2, 29), LocalTime.of(23, 59, 59, 999999000), LocalDateTime.of(1999, 12, 31, 23, 59, 59, 123456000),
          OffsetDateTime.of(2024, 7, 1, 12, 30, 0, 0, ZoneOffset.ofHours(2)), ID, new PGInterval(1, 2, 3, 4, 5, 6.5),
          object("json", "{\"a\": 1}"), object("jsonb", "{\"b\": [1, null]}"), numbers, object("bit", "1010"), object("varbit", "101")
        };
        for (int n = 0; n < row.length; n++) insert.setObject(n + 1, row[n]);
        Check.equal(insert.executeUpdate(), 1);
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT * FROM t WHERE id = ?")) {
      for (int id = 0; id < 8; id++) {
        select.setInt(1, id);
        try (ResultSet row = select.executeQuery()) {
          Check.that(row.next(), "a row");
          scalars(row, id);
        }
      }
    }
    Check.run(connection, "DROP TABLE t");
  }

  private static void scalars(ResultSet row, int id) throws Exception {
    Check.equal(row.getObject("id"), id);
    Check.equal(row.getObject("flag"), true);
    Check.equal(row.getObject("small"), -32768);
    Check.equal(row.getObject("big"), Long.MIN_VALUE);
    Check.equal(row.getObject("real_"), 1.5f);
    Check.equal(row.getObject("double_"), 0.1);
    Check.equal(row.getObject("amount"), new BigDecimal("12345678.1250"));
    Check.equal(row.getObject("body"), "grüße \\ ' \" \n🙂");
    Check.equal(row.getObject("name"), "short");
    Check.equal(row.getObject("fixed"), "ab  ");
    Check.equal(row.getObject("data"), new byte[] {0, 1, -1});
    Check.equal(row.getObject("day"), Date.valueOf("2024-02-29"));
    Check.equal(row.getObject("day", LocalDate.class), LocalDate.of(2024, 2, 29));
    Check.equal(row.getObject("clock", LocalTime.class), LocalTime.of(23, 59, 59, 999999000));
    Check.equal(row.getObject("stamp"), Timestamp.valueOf("1999-12-31 23:59:59.123456"));
    Check.equal(row.getObject("stamp", LocalDateTime.class), LocalDateTime.of(1999, 12, 31, 23, 59, 59, 123456000));
    Check.equal(row.getObject("moment", OffsetDateTime.class).toInstant().toString(), "2024-07-01T10:30:00Z");
    Check.equal(row.getObject("key"), ID);
    Check.equal(row.getObject("span"), new PGInterval(1, 2, 3, 4, 5, 6.5));
    Check.equal(((PGobject) row.getObject("document")).getValue(), "{\"a\": 1}");
    Check.equal(((PGobject) row.getObject("documents")).getValue(), "{\"b\": [1, null]}");
    Check.equal(row.getArray("numbers").getArray(), new Integer[] {1, null, 3});
    Check.equal(row.getString("bits"), "1010");
    Check.equal(row.getString("bits_"), "101");
  }

  private static void nulls(Connection connection) throws Exception {
    Check.run(connection, TABLE);
    int[] kinds = {
      java.sql.Types.BOOLEAN, java.sql.Types.SMALLINT, java.sql.Types.BIGINT, java.sql.Types.REAL, java.sql.Types.DOUBLE,
      java.sql.Types.NUMERIC, java.sql.Types.VARCHAR, java.sql.Types.VARCHAR, java.sql.Types.CHAR, java.sql.Types.BINARY,
      java.sql.Types.DATE, java.sql.Types.TIME, java.sql.Types.TIMESTAMP, java.sql.Types.TIMESTAMP_WITH_TIMEZONE
    };
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO t VALUES (?" + ", ?".repeat(21) + ")")) {
      for (int id = 0; id < 7; id++) {
        insert.setInt(1, id);
        for (int n = 0; n < 21; n++) insert.setNull(n + 2, n < kinds.length ? kinds[n] : java.sql.Types.OTHER);
        insert.executeUpdate();
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT * FROM t ORDER BY id")) {
      for (int n = 0; n < 7; n++) Check.equal(Check.rows(select.executeQuery()).get(3), "3" + "|null".repeat(21));
    }
    Check.run(connection, "DROP TABLE t");
  }

  /** Java's numbers meet columns of other sizes. */
  private static void numbers(Connection connection) throws Exception {
    Check.run(connection, "CREATE TABLE n (a int, b bigint, c numeric, d float8, e numeric(6,2))");
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO n VALUES (?, ?, ?, ?, ?) RETURNING a + b, c, d, e")) {
      for (int n = 0; n < 7; n++) {
        insert.setLong(1, n);
        insert.setInt(2, 10);
        insert.setDouble(3, 2.5);
        insert.setBigDecimal(4, new BigDecimal("0.25"));
        insert.setInt(5, 7);
        Check.equal(Check.rows(insert.executeQuery()), List.of((n + 10) + "|2.5|0.25|7.00"));
      }
    }
    String query = "SELECT a FROM n WHERE b >= ? AND c < ? AND d = ? AND a IN (?, ?) AND e::text = ? ORDER BY a LIMIT ? OFFSET ?";
    try (PreparedStatement select = connection.prepareStatement(query)) {
      for (int n = 0; n < 7; n++) {
        select.setShort(1, (short) 10);
        select.setBigDecimal(2, new BigDecimal("1e3"));
        select.setFloat(3, 0.25f);
        select.setInt(4, 1);
        select.setLong(5, 5);
        select.setString(6, "7.00");
        select.setInt(7, 2);
        select.setInt(8, 1);
        Check.equal(Check.rows(select.executeQuery()), List.of("5"));
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT ?::numeric, ?::float8, ?::float4, ?::int8")) {
      for (String number : new String[] {"0", "-0.0001", "123456789012345678901234567890.5", "1000000", "1e-10", "-1", "10000"}) {
        select.setBigDecimal(1, new BigDecimal(number));
        select.setDouble(2, Double.NaN);
        select.setFloat(3, Float.NEGATIVE_INFINITY);
        select.setLong(4, Long.MAX_VALUE);
        try (ResultSet row = select.executeQuery()) {
          row.next();
          Check.equal(row.getBigDecimal(1).compareTo(new BigDecimal(number)), 0);
          Check.equal(row.getDouble(2), Double.NaN);
          Check.equal(row.getFloat(3), Float.NEGATIVE_INFINITY);
          Check.equal(row.getLong(4), Long.MAX_VALUE);
        }
      }
    }
    Check.run(connection, "DROP TABLE n");
  }

  private static void times(Connection connection) throws Exception {
    Check.run(connection, "CREATE TABLE w (id int, z timestamptz, p timestamp, d date, t time)", "SET TimeZone = 'America/New_York'");
    Calendar utc = Calendar.getInstance(TimeZone.getTimeZone("UTC"));
    OffsetDateTime moment = OffsetDateTime.of(2024, 3, 10, 6, 59, 59, 250000000, ZoneOffset.UTC);
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO w VALUES (?, ?, ?, ?, ?)")) {
      for (int id = 0; id < 7; id++) {
        insert.setInt(1, id);
        if (id % 2 == 0) insert.setObject(2, moment);
        else insert.setTimestamp(2, Timestamp.from(moment.toInstant()), utc);
        insert.setTimestamp(3, Timestamp.valueOf("2024-03-10 02:30:00"));
        insert.setDate(4, Date.valueOf("0044-03-15"));
        insert.setTime(5, Time.valueOf("23:59:58"));
        insert.executeUpdate();
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT z, p, d, t, z::text, p::text, d::text, t::text FROM w WHERE z = ? AND id >= ?")) {
      for (int id = 0; id < 7; id++) {
        select.setObject(1, moment);
        select.setInt(2, id);
        try (ResultSet row = select.executeQuery()) {
          Check.that(row.next(), "a row");
          Check.equal(row.getObject(1, OffsetDateTime.class).toInstant(), moment.toInstant());
          Check.equal(row.getTimestamp(1).toInstant(), moment.toInstant());
          Check.equal(row.getTimestamp(2), Timestamp.valueOf("2024-03-10 02:30:00"));
          Check.equal(row.getDate(3), Date.valueOf("0044-03-15"));
          Check.equal(row.getTime(4), Time.valueOf("23:59:58"));
          Check.equal(row.getString(5), "2024-03-10 01:59:59.25-05");
          Check.equal(row.getString(6), "2024-03-10 02:30:00");
          Check.equal(row.getString(7), "0044-03-15");
          Check.equal(row.getString(8), "23:59:58");
        }
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT ?::timestamptz, ?::date, ?::interval, now() > ?")) {
      for (int n = 0; n < 7; n++) {
        select.setObject(1, moment);
        select.setObject(2, LocalDate.of(1, 1, 1));
        select.setObject(3, new PGInterval("1 mon -2 days 00:00:01.5"));
        select.setObject(4, moment);
        try (ResultSet row = select.executeQuery()) {
          row.next();
          Check.equal(row.getObject(1, OffsetDateTime.class).toInstant(), moment.toInstant());
          Check.equal(row.getObject(2, LocalDate.class), LocalDate.of(1, 1, 1));
          Check.equal(((PGInterval) row.getObject(3)).getDays(), -2);
          Check.equal(row.getBoolean(4), true);
        }
      }
    }
    Check.run(connection, "DROP TABLE w", "RESET TimeZone");
  }

  private static void arrays(Connection connection) throws Exception {
    Object[][] samples = {
      {"int4", new Integer[] {1, null, -3}}, {"int8", new Long[] {Long.MAX_VALUE, 0L}}, {"float8", new Double[] {0.1, Double.NaN}},
      {"float4", new Float[] {1.5f, null}}, {"text", new String[] {"a", "", "q\"\\,{}", "NULL", null}}, {"bool", new Boolean[] {true, false}},
      {"varchar", new String[] {"x"}}, {"int2", new Short[] {1, 2}}, {"uuid", new UUID[] {ID}}, {"numeric", new BigDecimal[] {new BigDecimal("1.5")}},
      {"int4", new Integer[] {}}, {"date", new Date[] {Date.valueOf("2024-01-01")}}, {"timestamp", new Timestamp[] {Timestamp.valueOf("2024-01-01 01:02:03")}},
    };
    for (Object[] sample : samples) {
      String type = (String) sample[0];
      Object[] values = (Object[]) sample[1];
      try (PreparedStatement select = connection.prepareStatement("SELECT ?::" + type + "[], cardinality(?::" + type + "[])")) {
        for (int n = 0; n < 7; n++) {
          Array array = connection.createArrayOf(type, values);
          select.setArray(1, array);
          select.setArray(2, array);
          try (ResultSet row = select.executeQuery()) {
            row.next();
            Check.equal(row.getInt(2), values.length);
            Check.equal(row.getArray(1).getBaseTypeName(), type);
            Check.equal(row.getArray(1).getArray(), values);
          }
        }
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT g FROM generate_series(1, 9) g WHERE g = ANY(?) AND g <> ALL(?) ORDER BY 1")) {
      for (int n = 0; n < 7; n++) {
        select.setObject(1, new int[] {n, 9});
        select.setArray(2, connection.createArrayOf("int4", new Integer[] {2}));
        Check.equal(Check.rows(select.executeQuery()), n == 0 || n == 2 ? List.of("9") : List.of(n + "", "9"));
      }
    }
  }

  private static void texts(Connection connection) throws Exception {
    Check.run(connection, "CREATE TABLE s (a text, b varchar(20), c json, d bytea)");
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO s VALUES (?, ?, ?::json, ?)")) {
      for (int n = 0; n < 7; n++) {
        insert.setCharacterStream(1, new java.io.StringReader("streamed " + n));
        insert.setString(2, "it's " + n);
        insert.setString(3, "[" + n + "]");
        if (Check.options.contains("simple")) insert.setObject(4, bytes(1, 2, n));
        else insert.setBinaryStream(4, new java.io.ByteArrayInputStream(new byte[] {1, 2, (byte) n}));
        insert.executeUpdate();
      }
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT a, b, c, d FROM s WHERE b LIKE ? ESCAPE '!' AND a ILIKE ? AND c::text = ?")) {
      for (int n = 0; n < 7; n++) {
        select.setString(1, "it's%");
        select.setString(2, "STREAM%");
        select.setString(3, "[" + n + "]");
        try (ResultSet row = select.executeQuery()) {
          row.next();
          Check.equal(row.getString(1) + row.getString(2) + row.getString(3), "streamed " + n + "it's " + n + "[" + n + "]");
          Check.equal(row.getBinaryStream(4).readAllBytes(), new byte[] {1, 2, (byte) n});
        }
      }
    }
    Check.equal(Check.rows(connection, "SELECT {fn ucase('ä')}, {d '2024-01-02'}, {fn concat('a', 'b')}, {ts '2024-01-02 03:04:05'}"), List.of("Ä|2024-01-02|ab|2024-01-02 03:04:05"));
    try (PreparedStatement select = connection.prepareStatement("SELECT '{\"a\": 1}'::jsonb ?? ?")) {
      for (int n = 0; n < 7; n++) {
        select.setString(1, n % 2 == 0 ? "a" : "b");
        Check.equal(Check.rows(select.executeQuery()), List.of(n % 2 == 0 ? "t" : "f"));
      }
    }
    Check.run(connection, "DROP TABLE s");
  }

  /** What the driver knows of results and parameters before and after it runs them. */
  private static void shapes(Connection connection) throws Exception {
    Check.run(connection, "CREATE TABLE m (id serial PRIMARY KEY, name varchar(12) NOT NULL, price numeric(8,3), moment timestamptz)");
    try (PreparedStatement select = connection.prepareStatement("SELECT id, name AS n, price, moment, id + 1 FROM m WHERE name = ? AND price > ?")) {
      ResultSetMetaData shape = select.getMetaData();
      Check.equal(shape.getColumnCount(), 5);
      Check.equal(shape.getColumnLabel(2) + " " + shape.getColumnTypeName(2), "n varchar");
      Check.equal(shape.getPrecision(2), 12);
      Check.equal(shape.getPrecision(3) + "," + shape.getScale(3), "8,3");
      Check.equal(shape.getColumnType(4), java.sql.Types.TIMESTAMP);
      Check.equal(shape.getColumnClassName(3), "java.math.BigDecimal");
      Check.equal(shape.getColumnName(5), "?column?");
      Check.equal(select.getParameterMetaData().getParameterCount(), 2);
      Check.equal(select.getParameterMetaData().getParameterTypeName(1), "text");
      Check.equal(select.getParameterMetaData().getParameterTypeName(2), "numeric");
    }
    Check.run(connection, "DROP TABLE m");
  }
}
