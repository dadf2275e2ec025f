import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.ResultSet;
import java.util.List;

/** DatabaseMetaData: what a tool that knows only JDBC learns of the database. */
final class Metadata {
  static void run() throws Exception {
    try (Connection connection = Check.connect()) {
      Check.run(
          connection,
          "CREATE TABLE books (id bigserial PRIMARY KEY, title varchar(40) NOT NULL, price numeric(8,2) DEFAULT 1.5, tags text[], v vector(3),"
              + " code int GENERATED ALWAYS AS IDENTITY, made timestamptz, CONSTRAINT books_title UNIQUE (title, price))",
          "CREATE INDEX books_made ON books (made DESC)",
          "CREATE INDEX books_v ON books USING hnsw (v vector_l2_ops)",
          "CREATE VIEW cheap AS SELECT id, title FROM books WHERE price < 2",
          "CREATE TABLE pairs (b int, a int, PRIMARY KEY (b, a))",
          "COMMENT ON TABLE books IS 'all of them'",
          "COMMENT ON COLUMN books.title IS 'on the cover'");
      DatabaseMetaData data = connection.getMetaData();
      product(data);
      tables(data);
      columns(data);
      keys(data);
      indexes(data);
      routines(data);
      types(data);
      Check.run(connection, "DROP VIEW cheap");
    }
  }

  private static void product(DatabaseMetaData data) throws Exception {
    Check.equal(data.getDatabaseProductName() + " " + data.getDatabaseMajorVersion(), "PostgreSQL 16");
    Check.that(data.getDatabaseProductVersion().startsWith("16.14"), data.getDatabaseProductVersion());
    Check.equal(data.getMaxColumnNameLength(), 63);
    Check.equal(data.getIdentifierQuoteString(), "\"");
    Check.that(data.supportsTransactions() && data.getSQLKeywords().contains("ilike"), "transactions and keywords");
    Check.that(data.getUserName().equals(System.getenv("PGUSER")), "the user");
    Check.that(data.getStringFunctions().contains("substring"), "functions");
  }

  private static void tables(DatabaseMetaData data) throws Exception {
    String[] shown = {"TABLE_NAME", "TABLE_TYPE", "REMARKS"};
    Check.equal(Check.rows(data.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"}), shown), List.of("books|TABLE|all of them", "pairs|TABLE|null", "cheap|VIEW|null"));
    Check.equal(Check.rows(data.getTables(null, null, "book_", new String[] {"TABLE"}), "TABLE_SCHEM", "TABLE_NAME"), List.of("public|books"));
    Check.equal(Check.rows(data.getTables(null, "public", "books%", new String[] {"SEQUENCE", "INDEX"}), "TABLE_NAME", "TABLE_TYPE"),
        List.of("books_made|INDEX", "books_pkey|INDEX", "books_title|INDEX", "books_v|INDEX", "books_code_seq|SEQUENCE", "books_id_seq|SEQUENCE"));
    Check.equal(Check.rows(data.getTables(null, "pg_catalog", "pg_class", null), "TABLE_NAME", "TABLE_TYPE"), List.of("pg_class|SYSTEM TABLE"));
    List<String> schemas = Check.rows(data.getSchemas(), "TABLE_SCHEM");
    Check.that(schemas.containsAll(List.of("information_schema", "pg_catalog", "public")), schemas.toString());
    Check.equal(Check.rows(data.getSchemas(null, "publi_"), "TABLE_SCHEM"), List.of("public"));
    Check.that(Check.rows(data.getCatalogs()).contains(System.getenv("PGDATABASE")), "the database");
    Check.that(Check.rows(data.getTableTypes()).containsAll(List.of("TABLE", "VIEW", "INDEX")), "kinds of tables");
    Check.equal(Check.rows(data.getClientInfoProperties(), "NAME").get(0), "ApplicationName");
  }

  private static void columns(DatabaseMetaData data) throws Exception {
    String[] shown = {"COLUMN_NAME", "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "IS_NULLABLE", "COLUMN_DEF", "ORDINAL_POSITION", "IS_AUTOINCREMENT", "REMARKS"};
    Check.equal(
        Check.rows(data.getColumns(null, "public", "books", "%"), shown),
        List.of(
            "id|bigserial|19|0|NO|nextval('books_id_seq'::regclass)|1|YES|null",
            "title|varchar|40|0|NO|null|2|NO|on the cover",
            "price|numeric|8|2|YES|1.5|3|NO|null",
            "tags|_text|2147483647|0|YES|null|4|NO|null",
            "v|vector|2147483647|0|YES|null|5|NO|null",
            "code|int4|10|0|NO|null|6|YES|null",
            "made|timestamptz|35|6|YES|null|7|NO|null"));
    Check.equal(Check.rows(data.getColumns(null, null, "cheap", "t%"), "COLUMN_NAME", "DATA_TYPE"), List.of("title|12"));
    Check.equal(
        Check.rows(data.getColumns(null, "public", "books", null), "DATA_TYPE"),
        List.of("-5", "12", "2", "2003", "1111", "4", "93"));
    Check.equal(Check.rows(data.getColumns(null, "pg_catalog", "pg_am", "am%"), "COLUMN_NAME", "TYPE_NAME"), List.of("amname|name", "amhandler|regproc", "amtype|char"));
    Check.equal(Check.rows(data.getVersionColumns(null, "public", "books"), "COLUMN_NAME", "TYPE_NAME"), List.of("ctid|tid"));
  }

  private static void keys(DatabaseMetaData data) throws Exception {
    String[] shown = {"COLUMN_NAME", "KEY_SEQ", "PK_NAME"};
    Check.equal(Check.rows(data.getPrimaryKeys(null, "public", "books"), shown), List.of("id|1|books_pkey"));
    Check.equal(Check.rows(data.getPrimaryKeys(null, null, "pairs"), shown), List.of("b|1|pairs_pkey", "a|2|pairs_pkey"));
    Check.equal(Check.rows(data.getImportedKeys(null, "public", "books")), List.of());
    Check.equal(Check.rows(data.getExportedKeys(null, "public", "books")), List.of());
    Check.equal(Check.rows(data.getBestRowIdentifier(null, "public", "pairs", DatabaseMetaData.bestRowSession, false), "COLUMN_NAME", "TYPE_NAME"), List.of("b|int4", "a|int4"));
    Check.equal(Check.rows(data.getCrossReference(null, null, "books", null, null, "pairs")), List.of());
  }

  private static void indexes(DatabaseMetaData data) throws Exception {
    String[] shown = {"INDEX_NAME", "NON_UNIQUE", "COLUMN_NAME", "ORDINAL_POSITION", "ASC_OR_DESC", "TYPE", "FILTER_CONDITION"};
    Check.equal(
        Check.rows(data.getIndexInfo(null, "public", "books", false, true), shown),
        List.of(
            "books_pkey|f|id|1|A|3|null",
            "books_title|f|title|1|A|3|null",
            "books_title|f|price|2|A|3|null",
            "books_made|t|made|1|D|3|null",
            "books_v|t|v|1|null|3|null"));
    Check.equal(Check.rows(data.getIndexInfo(null, "public", "pairs", true, false), "INDEX_NAME", "COLUMN_NAME"), List.of("pairs_pkey|b", "pairs_pkey|a"));
  }

  private static void routines(DatabaseMetaData data) throws Exception {
    Check.equal(Check.rows(data.getFunctions(null, null, "l2_distance"), "FUNCTION_NAME").size(), 3);
    Check.equal(Check.rows(data.getProcedures(null, "public", "no_such%")), List.of());
    Check.equal(
        Check.rows(data.getFunctionColumns(null, "pg_catalog", "lower", "%"), "COLUMN_NAME", "TYPE_NAME", "COLUMN_TYPE").contains("returnValue|text|4"), true);
    Check.equal(Check.rows(data.getProcedureColumns(null, null, "no_such", "%")), List.of());
    Check.equal(Check.rows(data.getUDTs(null, null, "no_such", null)), List.of());
  }

  private static void types(DatabaseMetaData data) throws Exception {
    List<String> types = Check.rows(data.getTypeInfo(), "TYPE_NAME", "DATA_TYPE");
    Check.that(types.containsAll(List.of("int4|4", "text|12", "timestamptz|93", "numeric|2", "vector|1111", "halfvec|1111", "sparsevec|1111", "bit|-7", "uuid|1111", "jsonb|1111", "bytea|-2")), types.toString());
    try (ResultSet vector = data.getUDTs(null, "public", "vector", null)) {
      Check.equal(Check.rows(vector), List.of());
    }
    Check.equal(Check.rows(data.getTablePrivileges(null, "public", "pairs"), "GRANTEE").stream().distinct().toList(), List.of(System.getenv("PGUSER")));
    Check.that(Check.rows(data.getColumnPrivileges(null, "public", "pairs", "a"), "PRIVILEGE").contains("SELECT"), "may read");
  }
}
