import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.SQLWarning;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/** Transactions, savepoints, errors with all their fields, warnings, timeouts, cancels, settings of the session. */
final class Sessions {
  static void run() throws Exception {
    try (Connection connection = Check.connect()) {
      transactions(connection);
      isolation(connection);
      errors(connection);
      warnings(connection);
      cancels(connection);
      settings(connection);
      plans(connection);
    }
    saves();
  }

  private static void transactions(Connection connection) throws Exception {
    Check.run(connection, "CREATE TABLE t (id int PRIMARY KEY)");
    connection.setAutoCommit(false);
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO t VALUES (?)")) {
      insert.setInt(1, 1);
      insert.executeUpdate();
      Savepoint named = connection.setSavepoint("Odd \"name");
      Savepoint numbered = connection.setSavepoint();
      insert.setInt(1, 2);
      insert.executeUpdate();
      Check.fails("23505", insert::executeUpdate);
      Check.fails("25P02", insert::executeUpdate);
      connection.rollback(numbered);
      insert.setInt(1, 3);
      insert.executeUpdate();
      connection.releaseSavepoint(named);
      connection.commit();
      insert.setInt(1, 4);
      insert.executeUpdate();
      connection.rollback();
    }
    connection.setAutoCommit(true);
    Check.equal(Check.rows(connection, "SELECT id FROM t ORDER BY id"), List.of("1", "3"));
    Check.run(connection, "DROP TABLE t");
  }

  private static void isolation(Connection connection) throws Exception {
    Check.equal(connection.getTransactionIsolation(), Connection.TRANSACTION_READ_COMMITTED);
    connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
    connection.setReadOnly(true);
    connection.setAutoCommit(false);
    Check.equal(Check.rows(connection, "SHOW transaction_isolation"), List.of("repeatable read"));
    Check.fails("25006", () -> Check.run(connection, "CREATE TABLE t (id int)"));
    connection.rollback();
    connection.setReadOnly(false);
    connection.setAutoCommit(true);
    connection.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
    Check.run(connection, "CREATE TABLE t (id int)");
  }

  private static ServerErrorMessage error(Connection connection, String state, String statement) throws Exception {
    return ((PSQLException) Check.fails(state, () -> Check.run(connection, statement))).getServerErrorMessage();
  }

  private static void errors(Connection connection) throws Exception {
    Check.run(connection, "CREATE TABLE e (id int PRIMARY KEY, body text NOT NULL, n int CONSTRAINT small CHECK (n < 5))", "INSERT INTO e VALUES (1, 'a')");
    ServerErrorMessage unique = error(connection, "23505", "INSERT INTO e VALUES (1, 'b')");
    Check.equal(unique.getConstraint() + "," + unique.getTable() + "," + unique.getSchema(), "e_pkey,e,public");
    Check.equal(unique.getDetail(), "Key (id)=(1) already exists.");
    ServerErrorMessage missing = error(connection, "23502", "INSERT INTO e VALUES (2)");
    Check.equal(missing.getColumn() + "," + missing.getTable(), "body,e");
    Check.equal(error(connection, "23514", "INSERT INTO e VALUES (2, 'b', 9)").getConstraint(), "small");
    error(connection, "42P01", "SELECT * FROM missing");
    Check.equal(error(connection, "42601", "SELECT 1 FORM e").getPosition(), 15);
    error(connection, "42703", "SELECT bod FROM e");
    Check.equal(error(connection, "42601", "SELEC 1").getSeverity(), "ERROR");
    error(connection, "22012", "SELECT 1/0");
    error(connection, "22P02", "SELECT 'x'::int");
    error(connection, "22003", "SELECT 3000000000::int");
    error(connection, "42883", "SELECT nothing(1)");
    error(connection, "42P07", "CREATE TABLE e (id int)");
    try (PreparedStatement select = connection.prepareStatement("SELECT 10 / ?")) {
      for (int n = 0; n < 7; n++) {
        select.setInt(1, 0);
        Check.fails("22012", select::executeQuery);
        select.setInt(1, 5);
        Check.equal(Check.rows(select.executeQuery()), List.of("2"));
      }
    }
  }

  private static void warnings(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      statement.execute("DROP TABLE IF EXISTS nothing_here");
      SQLWarning warning = statement.getWarnings();
      Check.equal(warning.getSQLState() + " " + warning.getMessage(), "00000 table \"nothing_here\" does not exist, skipping");
      statement.execute("COMMIT");
      Check.equal(statement.getWarnings().getSQLState(), "25P01");
    }
  }

  private static void cancels(Connection connection) throws Exception {
    try (Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      Check.fails("57014", () -> statement.execute("SELECT pg_sleep(20)"));
      statement.setQueryTimeout(0);
      Thread canceller = new Thread(() -> {
        try {
          Thread.sleep(300);
          statement.cancel();
        } catch (InterruptedException | SQLException error) {
          throw new AssertionError(error);
        }
      });
      canceller.start();
      Check.fails("57014", () -> statement.execute("SELECT pg_sleep(20)"));
      canceller.join();
    }
    Check.that(connection.isValid(5), "the connection goes on");
    connection.unwrap(PGConnection.class).cancelQuery();
    Check.equal(Check.rows(connection, "SELECT 1"), List.of("1"));
  }

  private static void settings(Connection connection) throws Exception {
    connection.setClientInfo("ApplicationName", "it's the test");
    Check.equal(Check.rows(connection, "SHOW application_name"), List.of("it's the test"));
    Check.equal(connection.getSchema(), "public");
    Check.run(connection, "CREATE SCHEMA IF NOT EXISTS other_schema");
    connection.setSchema("other_schema");
    Check.equal(connection.getSchema(), "other_schema");
    connection.setSchema("public");
    Check.run(connection, "DROP SCHEMA other_schema");
    Check.equal(connection.getCatalog(), System.getenv("PGDATABASE"));
    PGConnection driver = connection.unwrap(PGConnection.class);
    Check.equal(driver.getParameterStatus("server_encoding") + driver.getParameterStatus("integer_datetimes"), "UTF8on");
    Check.equal(Check.rows(connection, "SELECT pg_backend_pid()"), List.of("" + driver.getBackendPID()));
    Check.equal(driver.escapeLiteral("it's") + driver.escapeIdentifier("a\"b"), "it''s\"a\"\"b\"");
    Check.equal(driver.getNotifications().length, 0);
    Check.equal(Check.rows(connection, "SHOW extra_float_digits"), List.of("3"));
  }

  /** A statement that the server has prepared goes on after the table has changed, and with parameters of another type. */
  private static void plans(Connection connection) throws Exception {
    Check.run(connection, "CREATE TABLE p (id int)", "INSERT INTO p VALUES (1)");
    try (PreparedStatement select = connection.prepareStatement("SELECT * FROM p WHERE id = ?")) {
      for (int n = 0; n < 7; n++) {
        select.setInt(1, 1);
        Check.equal(Check.rows(select.executeQuery()), List.of("1"));
      }
      Check.run(connection, "ALTER TABLE p ADD COLUMN body text DEFAULT 'x'");
      Check.equal(Check.rows(select.executeQuery()), List.of("1|x"));
      Check.run(connection, "DEALLOCATE ALL");
      Check.equal(Check.rows(select.executeQuery()), List.of("1|x"));
    }
    try (PreparedStatement select = connection.prepareStatement("SELECT ?::text")) {
      for (int n = 0; n < 8; n++) {
        if (n % 2 == 0) select.setInt(1, n);
        else select.setString(1, "" + n);
        Check.equal(Check.rows(select.executeQuery()), List.of("" + n));
      }
    }
    Check.run(connection, "DROP TABLE p");
  }

  /** autosave=always sets a savepoint before every statement. */
  private static void saves() throws Exception {
    try (Connection connection = Check.connect("autosave=always", "cleanupSavepoints=true")) {
      connection.setAutoCommit(false);
      Check.run(connection, "CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)");
      Check.fails("23505", () -> Check.run(connection, "INSERT INTO a VALUES (1)"));
      Check.run(connection, "INSERT INTO a VALUES (2)");
      connection.commit();
      Check.equal(Check.rows(connection, "SELECT count(*) FROM a"), List.of("2"));
    }
  }
}
