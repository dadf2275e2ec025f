import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.*;
import java.time.*;
import java.util.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PGobject;

/**
 * pgjdbc: metadata, batches, fetch size, types in text and binary, transactions, COPY, vectors. One argument, the JDBC URL. Exits
 * with a stack trace at the first thing that is not as PostgreSQL has it.
 */
public final class Clients {
    private static void same(Object wanted, Object got) {
        if (!Objects.deepEquals(wanted, got)) throw new AssertionError("wanted " + wanted + ", got " + got);
    }

    private static void fails(String state, Call call) throws Exception {
        try {
            call.run();
        } catch (SQLException error) {
            same(state, error.getSQLState());
            return;
        }
        throw new AssertionError("wanted an error with " + state);
    }

    private interface Call {
        void run() throws Exception;
    }

    private static List<List<Object>> rows(ResultSet result) throws SQLException {
        List<List<Object>> rows = new ArrayList<>();
        while (result.next()) {
            List<Object> row = new ArrayList<>();
            for (int i = 1; i <= result.getMetaData().getColumnCount(); i++) row.add(result.getObject(i));
            rows.add(row);
        }
        return rows;
    }

    private static PGobject object(String type, String value) throws SQLException {
        PGobject object = new PGobject();
        object.setType(type);
        object.setValue(value);
        return object;
    }

    public static void main(String[] arguments) throws Exception {
        // With binary transfer from the first use on, without, with unnamed statements, with named ones.
        for (String options : List.of("prepareThreshold=-1", "binaryTransfer=false", "preferQueryMode=extendedForPrepared", "prepareThreshold=1")) {
            try (Connection db = DriverManager.getConnection(arguments[0] + "&" + options)) {
                try (Statement statement = db.createStatement()) {
                    statement.execute("DROP TABLE IF EXISTS everything, items, t");
                }
                types(db);
                statements(db);
                transactions(db);
                batches(db);
                fetchSize(db);
                copy(db);
                vectors(db);
                metadata(db);
            }
        }
    }

    private static void types(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            statement.execute(
                "CREATE TABLE everything (id int PRIMARY KEY, flag boolean, small smallint, big bigint, r real, d float8, amount numeric(12,4),"
                    + " body text, name varchar(20), data bytea, day date, hour time, stamp timestamp, zoned timestamptz, key uuid,"
                    + " document jsonb, numbers integer[], words text[])");
        }
        UUID key = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        OffsetDateTime zoned = OffsetDateTime.of(2024, 7, 1, 10, 30, 0, 123456000, ZoneOffset.UTC);
        LocalDateTime stamp = LocalDateTime.of(1999, 12, 31, 23, 59, 59, 999999000);
        String marks = "?" + ", ?".repeat(17);
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO everything VALUES (" + marks + ")")) {
            for (int id = 1; id <= 3; id++) {
                insert.setInt(1, id);
                insert.setBoolean(2, true);
                insert.setShort(3, (short) -32768);
                insert.setLong(4, Long.MIN_VALUE);
                insert.setFloat(5, 1.5f);
                insert.setDouble(6, 0.1);
                insert.setBigDecimal(7, new BigDecimal("12345.6780"));
                insert.setString(8, "grüße \\ ' \" \n");
                insert.setString(9, "short");
                insert.setBytes(10, new byte[] {0, 1, -1});
                insert.setObject(11, LocalDate.of(2024, 2, 29));
                insert.setObject(12, LocalTime.of(23, 59, 58, 1000));
                insert.setObject(13, stamp);
                insert.setObject(14, zoned);
                insert.setObject(15, key);
                insert.setObject(16, object("jsonb", "{\"a\": [1, null]}"));
                insert.setArray(17, db.createArrayOf("integer", new Integer[] {1, null, 3}));
                insert.setArray(18, db.createArrayOf("text", new String[] {"a", "b,c", "", "q\"\\"}));
                same(1, insert.executeUpdate());
            }
            for (int i = 2; i <= 18; i++) insert.setObject(i, null);
            insert.setInt(1, 4);
            same(1, insert.executeUpdate());
        }
        try (PreparedStatement select = db.prepareStatement("SELECT * FROM everything WHERE id = ?")) {
            for (int id = 1; id <= 3; id++) {
                select.setInt(1, id);
                try (ResultSet found = select.executeQuery()) {
                    same(true, found.next());
                    same(true, found.getBoolean(2));
                    same((short) -32768, found.getShort(3));
                    same(Long.MIN_VALUE, found.getLong(4));
                    same(1.5f, found.getFloat(5));
                    same(0.1, found.getDouble(6));
                    same(new BigDecimal("12345.6780"), found.getBigDecimal(7));
                    same("grüße \\ ' \" \n", found.getString(8));
                    same("short", found.getString(9));
                    same(true, Arrays.equals(new byte[] {0, 1, -1}, found.getBytes(10)));
                    same(LocalDate.of(2024, 2, 29), found.getObject(11, LocalDate.class));
                    same(LocalTime.of(23, 59, 58, 1000), found.getObject(12, LocalTime.class));
                    same(stamp, found.getObject(13, LocalDateTime.class));
                    same(zoned, found.getObject(14, OffsetDateTime.class));
                    same(key, found.getObject(15));
                    same("{\"a\": [1, null]}", found.getString(16));
                    same(true, Arrays.equals(new Integer[] {1, null, 3}, (Object[]) found.getArray(17).getArray()));
                    same(true, Arrays.equals(new String[] {"a", "b,c", "", "q\"\\"}, (Object[]) found.getArray(18).getArray()));
                    ResultSetMetaData columns = found.getMetaData();
                    same("int4", columns.getColumnTypeName(1));
                    same(Types.NUMERIC, columns.getColumnType(7));
                    same(List.of(12, 4), List.of(columns.getPrecision(7), columns.getScale(7)));
                    same(20, columns.getPrecision(9));
                    same("everything", columns.getTableName(9));
                    same("_text", columns.getColumnTypeName(18));
                }
            }
            select.setInt(1, 4);
            try (ResultSet found = select.executeQuery()) {
                found.next();
                for (int i = 2; i <= 18; i++) same(null, found.getObject(i));
            }
        }
    }

    private static void statements(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            statement.execute("CREATE TABLE t (id serial PRIMARY KEY, body text NOT NULL, n int DEFAULT 7 CHECK (n > 0))");
            same(false, statement.execute("INSERT INTO t (body) VALUES ('a'); SELECT count(*) FROM t"));
            same(1, statement.getUpdateCount());
            same(true, statement.getMoreResults());
            same(List.of(List.of(1L)), rows(statement.getResultSet()));
            fails("42P01", () -> statement.execute("SELECT * FROM missing"));
            fails("42703", () -> statement.execute("SELECT missing"));
            fails("42601", () -> statement.execute("SELEC"));
            fails("22012", () -> statement.execute("SELECT 1 / 0"));
            fails("23502", () -> statement.execute("INSERT INTO t (body) VALUES (NULL)"));
            fails("23514", () -> statement.execute("INSERT INTO t (body, n) VALUES ('x', -1)"));
            fails("23505", () -> statement.execute("INSERT INTO t (id, body) VALUES (1, 'x')"));
        }
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO t (body) VALUES (?)", Statement.RETURN_GENERATED_KEYS)) {
            insert.setString(1, "b");
            same(1, insert.executeUpdate());
            try (ResultSet keys = insert.getGeneratedKeys()) {
                same(true, keys.next());
                same("b", keys.getString("body"));
                same(7, keys.getInt("n"));
            }
        }
        try (PreparedStatement select = db.prepareStatement("SELECT id FROM t WHERE body = ANY(?) AND n = ? ORDER BY id")) {
            same(2, select.getParameterMetaData().getParameterCount());
            same("_text", select.getParameterMetaData().getParameterTypeName(1));
            select.setArray(1, db.createArrayOf("text", new String[] {"a", "b", "c"}));
            select.setLong(2, 7);
            same(2, rows(select.executeQuery()).size());
        }
    }

    private static void transactions(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            db.setAutoCommit(false);
            statement.execute("DELETE FROM t");
            statement.execute("INSERT INTO t (id, body) VALUES (1, 'kept')");
            Savepoint savepoint = db.setSavepoint("here");
            fails("23505", () -> statement.execute("INSERT INTO t (id, body) VALUES (1, 'again')"));
            fails("25P02", () -> statement.execute("SELECT 1"));
            db.rollback(savepoint);
            statement.execute("INSERT INTO t (id, body) VALUES (2, 'kept too')");
            db.releaseSavepoint(savepoint);
            db.commit();
            statement.execute("DELETE FROM t");
            db.rollback();
            db.setAutoCommit(true);
            same(2, rows(statement.executeQuery("SELECT * FROM t")).size());
            db.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
            same(Connection.TRANSACTION_REPEATABLE_READ, db.getTransactionIsolation());
            db.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
            db.setReadOnly(true);
            db.setAutoCommit(false);
            fails("25006", () -> statement.execute("DELETE FROM t"));
            db.rollback();
            db.setReadOnly(false);
            db.setAutoCommit(true);
            same(true, db.isValid(5));
        }
    }

    private static void batches(Connection db) throws Exception {
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO t (id, body) VALUES (?, ?)")) {
            for (int id = 100; id < 400; id++) {
                insert.setInt(1, id);
                insert.setString(2, "row " + id);
                insert.addBatch();
            }
            same(300, Arrays.stream(insert.executeBatch()).sum());
            for (int id : new int[] {1000, 100, 1001}) {
                insert.setInt(1, id);
                insert.setString(2, "x");
                insert.addBatch();
            }
            db.setAutoCommit(false);
            try {
                insert.executeBatch();
                throw new AssertionError("a batch with a duplicate key went through");
            } catch (BatchUpdateException error) {
                same("23505", error.getSQLState());
            }
            db.rollback();
            db.setAutoCommit(true);
        }
        try (Statement statement = db.createStatement()) {
            statement.addBatch("UPDATE t SET n = 8 WHERE id < 110");
            statement.addBatch("DELETE FROM t WHERE id >= 390");
            same(true, Arrays.equals(new int[] {12, 10}, statement.executeBatch()));
            same(List.of(List.of(292L)), rows(statement.executeQuery("SELECT count(*) FROM t")));
        }
    }

    private static void fetchSize(Connection db) throws Exception {
        db.setAutoCommit(false);
        try (PreparedStatement select = db.prepareStatement("SELECT id FROM t WHERE id >= ? ORDER BY id")) {
            select.setFetchSize(50);
            select.setInt(1, 100);
            try (ResultSet found = select.executeQuery()) {
                int id = 100;
                while (found.next()) same(id++, found.getInt(1));
                same(390, id);
            }
            select.setMaxRows(5);
            same(5, rows(select.executeQuery()).size());
        }
        db.commit();
        db.setAutoCommit(true);
        try (Statement scroll = db.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY);
            ResultSet found = scroll.executeQuery("SELECT id FROM t ORDER BY id")) {
            same(true, found.last());
            same(389, found.getInt(1));
            same(true, found.absolute(3));
            same(100, found.getInt(1));
        }
    }

    private static void copy(Connection db) throws Exception {
        CopyManager manager = db.unwrap(PGConnection.class).getCopyAPI();
        same(2L, manager.copyIn("COPY t (id, body) FROM STDIN WITH (FORMAT csv)", new StringReader("5000,\"a, b\"\n5001,c\n")));
        StringWriter out = new StringWriter();
        manager.copyOut("COPY (SELECT id, body FROM t WHERE id >= 5000 ORDER BY id) TO STDOUT", out);
        same("5000\ta, b\n5001\tc\n", out.toString());
    }

    private static void vectors(Connection db) throws Exception {
        try (Statement statement = db.createStatement()) {
            statement.execute("CREATE TABLE items (id bigserial PRIMARY KEY, lang varchar(2), embedding vector(3))");
            statement.execute("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)");
        }
        try (PreparedStatement insert = db.prepareStatement("INSERT INTO items (lang, embedding) VALUES (?, ?)")) {
            String[] vectors = {"[1,0,0]", "[0.9,0.1,0]", "[0,0,1]"};
            for (int i = 0; i < vectors.length; i++) {
                insert.setString(1, i == 1 ? "en" : "de");
                insert.setObject(2, object("vector", vectors[i]));
                insert.addBatch();
            }
            insert.executeBatch();
        }
        try (PreparedStatement near =
            db.prepareStatement("SELECT id, embedding FROM items WHERE lang = ? ORDER BY embedding <-> ?::vector LIMIT 5")) {
            near.setString(1, "de");
            near.setString(2, "[1,0,0]");
            List<List<Object>> found = rows(near.executeQuery());
            same(List.of(1L, 3L), List.of(found.get(0).get(0), found.get(1).get(0)));
            same("[1,0,0]", ((PGobject) found.get(0).get(1)).getValue());
            same("vector", ((PGobject) found.get(0).get(1)).getType());
        }
    }

    private static void metadata(Connection db) throws Exception {
        DatabaseMetaData metadata = db.getMetaData();
        same("PostgreSQL", metadata.getDatabaseProductName());
        same(16, metadata.getDatabaseMajorVersion());
        List<String> tables = new ArrayList<>();
        try (ResultSet found = metadata.getTables(null, "public", "%", new String[] {"TABLE"})) {
            while (found.next()) tables.add(found.getString("TABLE_NAME"));
        }
        same(List.of("everything", "items", "t"), tables);
        List<String> columns = new ArrayList<>();
        try (ResultSet found = metadata.getColumns(null, "public", "t", "%")) {
            while (found.next()) {
                columns.add(found.getString("COLUMN_NAME") + " " + found.getString("TYPE_NAME") + " " + found.getString("IS_NULLABLE")
                    + " " + found.getString("COLUMN_DEF"));
            }
        }
        same(List.of("id serial NO nextval('t_id_seq'::regclass)", "body text NO null", "n int4 YES 7"), columns);
        try (ResultSet found = metadata.getPrimaryKeys(null, "public", "t")) {
            same(true, found.next());
            same(List.of("id", "t_pkey"), List.of(found.getString("COLUMN_NAME"), found.getString("PK_NAME")));
        }
        Set<String> indexes = new TreeSet<>();
        try (ResultSet found = metadata.getIndexInfo(null, "public", "items", false, true)) {
            while (found.next()) indexes.add(found.getString("INDEX_NAME") + " " + found.getBoolean("NON_UNIQUE"));
        }
        same(new TreeSet<>(List.of("items_embedding true", "items_pkey false")), indexes);
        try (ResultSet found = metadata.getImportedKeys(null, "public", "t")) {
            same(false, found.next());
        }
        Set<String> types = new HashSet<>();
        try (ResultSet found = metadata.getTypeInfo()) {
            while (found.next()) types.add(found.getString("TYPE_NAME"));
        }
        same(true, types.containsAll(List.of("int4", "text", "vector", "timestamptz")));
        List<String> schemas = new ArrayList<>();
        try (ResultSet found = metadata.getSchemas()) {
            while (found.next()) schemas.add(found.getString("TABLE_SCHEM"));
        }
        same(true, schemas.containsAll(List.of("public", "pg_catalog", "information_schema")));
    }
}
