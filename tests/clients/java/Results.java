import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.List;

/** Fetch sizes (portals), scrollable results, cursors that outlive a commit. */
final class Results {
  static void run() throws Exception {
    try (Connection connection = Check.connect()) {
      Check.run(connection, "CREATE TABLE r (id int PRIMARY KEY, body text, v vector(2))");
      Check.run(connection, "INSERT INTO r SELECT g, 'row ' || g, ('[' || g || ',0]')::vector FROM generate_series(1, 1000) g");
      fetch(connection);
      interleaved(connection);
      scroll(connection);
      limits(connection);
      updatable(connection);
    }
  }

  private static void fetch(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    try (PreparedStatement select = connection.prepareStatement("SELECT id, body, v FROM r WHERE id > ? ORDER BY id")) {
      select.setFetchSize(70);
      for (int round = 0; round < 7; round++) {
        select.setInt(1, round * 100);
        try (ResultSet rows = select.executeQuery()) {
          int seen = 0;
          while (rows.next()) {
            seen++;
            Check.equal(rows.getInt(1), round * 100 + seen);
            Check.equal(rows.getString(3), "[" + rows.getInt(1) + ",0]");
            if (seen == 200) rows.setFetchSize(1000);
          }
          Check.equal(seen, 1000 - round * 100);
        }
      }
      // Closed before its end, and then the transaction ends.
      ResultSet rows = select.executeQuery();
      rows.next();
      rows.close();
    }
    connection.commit();
    connection.setAutoCommit(true);
  }

  private static void interleaved(Connection connection) throws Exception {
    connection.setAutoCommit(false);
    try (Statement outer = connection.createStatement(); PreparedStatement inner = connection.prepareStatement("SELECT body FROM r WHERE id = ?");
        PreparedStatement change = connection.prepareStatement("UPDATE r SET body = 'changed' WHERE id = ?")) {
      outer.setFetchSize(10);
      int seen = 0;
      try (ResultSet rows = outer.executeQuery("SELECT id, body FROM r WHERE id <= 95 ORDER BY id DESC")) {
        while (rows.next()) {
          seen++;
          // The portal keeps the snapshot of its start.
          Check.equal(rows.getString(2), "row " + rows.getInt(1));
          inner.setInt(1, rows.getInt(1));
          Check.equal(Check.rows(inner.executeQuery()), List.of((seen > 1 ? "changed" : "row " + rows.getInt(1))));
          change.setInt(1, rows.getInt(1) - 1);
          change.executeUpdate();
        }
      }
      Check.equal(seen, 95);
    }
    connection.rollback();
    connection.setAutoCommit(true);
    Check.equal(Check.rows(connection, "SELECT count(*) FROM r WHERE body = 'changed'"), List.of("0"));
    connection.setAutoCommit(false);
    try (Statement statement = connection.createStatement(ResultSet.TYPE_FORWARD_ONLY, ResultSet.CONCUR_READ_ONLY, ResultSet.HOLD_CURSORS_OVER_COMMIT)) {
      statement.setFetchSize(100);
      ResultSet rows = statement.executeQuery("SELECT id FROM r ORDER BY id");
      rows.next();
      connection.commit();
      int seen = 1;
      while (rows.next()) seen++;
      Check.equal(seen, 1000);
    }
    connection.setAutoCommit(true);
  }

  private static void scroll(Connection connection) throws Exception {
    try (PreparedStatement select = connection.prepareStatement("SELECT id FROM r WHERE id <= ? ORDER BY id", ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_READ_ONLY)) {
      select.setInt(1, 50);
      ResultSet rows = select.executeQuery();
      Check.that(rows.last() && rows.getRow() == 50 && rows.getInt(1) == 50, "the last row");
      Check.that(rows.absolute(10) && rows.relative(-3) && rows.getInt(1) == 7, "row 7");
      Check.that(rows.previous() && rows.getInt(1) == 6, "row 6");
      rows.beforeFirst();
      Check.that(rows.next() && rows.isFirst(), "the first row");
    }
  }

  private static void limits(Connection connection) throws Exception {
    // The simple protocol has no way to ask for some rows of a result.
    if (!Check.options.contains("simple")) maxRows(connection);
    try (Statement statement = connection.createStatement()) {
      Check.equal(statement.executeLargeUpdate("UPDATE r SET body = body WHERE id > 990 AND id <= 1000"), 10L);
      Check.equal(statement.executeUpdate("DELETE FROM r WHERE id = -1"), 0);
    }
  }

  private static void maxRows(Connection connection) throws Exception {
    try (PreparedStatement select = connection.prepareStatement("SELECT id FROM r")) {
      select.setMaxRows(12);
      for (int round = 0; round < 7; round++) Check.equal(Check.rows(select.executeQuery()).size(), 12);
    }
  }

  /** Rows changed through a result: the driver finds the table and its key by the columns that the result describes. */
  private static void updatable(Connection connection) throws Exception {
    Check.run(connection, "CREATE TABLE u (id int PRIMARY KEY, body text, n int)");
    Check.run(connection, "INSERT INTO u VALUES (1, 'one', 10), (2, 'two', 20), (3, 'three', 30)");
    try (Statement statement = connection.createStatement(ResultSet.TYPE_SCROLL_INSENSITIVE, ResultSet.CONCUR_UPDATABLE);
        ResultSet rows = statement.executeQuery("SELECT id, body, n FROM u ORDER BY id")) {
      Check.equal(((org.postgresql.PGResultSetMetaData) rows.getMetaData()).getBaseColumnName(2), "body");
      Check.equal(((org.postgresql.PGResultSetMetaData) rows.getMetaData()).getBaseTableName(2), "u");
      rows.next();
      rows.updateInt("n", 11);
      rows.updateRow();
      rows.next();
      rows.deleteRow();
      rows.moveToInsertRow();
      rows.updateInt(1, 4);
      rows.updateString(2, "four");
      rows.insertRow();
    }
    try (Statement statement = connection.createStatement()) {
      Check.equal(
          Check.rows(statement.executeQuery("SELECT concat_ws(' ', id, body, n) FROM u ORDER BY id")), List.of("1 one 11", "3 three 30", "4 four"));
    }
  }
}
