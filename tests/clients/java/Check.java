import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Properties;

/** What the checks share: connections by libpq's variables, comparisons, results as text. */
final class Check {
  /** What stands after the ? of the URL of every connection. */
  static String options = "";

  interface Work {
    void run() throws Exception;
  }

  static Connection connect(String... more) throws SQLException {
    String all = options + Arrays.stream(more).map(option -> "&" + option).reduce("", String::concat);
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
    Properties who = new Properties();
    who.setProperty("user", System.getenv("PGUSER"));
    who.setProperty("password", System.getenv("PGPASSWORD"));
    return DriverManager.getConnection(url + "?" + all, who);
  }

  static void equal(Object got, Object wanted) {
    if (!Objects.deepEquals(got, wanted)) throw new AssertionError("wanted " + shown(wanted) + ", got " + shown(got));
  }

  static void that(boolean holds, String what) {
    if (!holds) throw new AssertionError(what);
  }

  static SQLException fails(String state, Work work) throws Exception {
    try {
      work.run();
    } catch (SQLException error) {
      if (!state.equals(error.getSQLState())) throw error;
      return error;
    }
    throw new AssertionError("no error, wanted " + state);
  }

  static void run(Connection connection, String... statements) throws SQLException {
    try (Statement statement = connection.createStatement()) {
      for (String text : statements) statement.execute(text);
    }
  }

  /** Every row of a query, its values joined by |. */
  static List<String> rows(Connection connection, String query) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(query)) {
      return rows(rows);
    }
  }

  /** The rows that are left, of the named columns or of all. */
  static List<String> rows(ResultSet rows, String... columns) throws SQLException {
    List<String> found = new ArrayList<>();
    ResultSetMetaData shape = rows.getMetaData();
    while (rows.next()) {
      List<String> values = new ArrayList<>();
      if (columns.length == 0) for (int n = 1; n <= shape.getColumnCount(); n++) values.add(rows.getString(n));
      for (String column : columns) values.add(rows.getString(column));
      found.add(String.join("|", values.stream().map(String::valueOf).toList()));
    }
    return found;
  }

  private static String shown(Object value) {
    return value instanceof Object[] array ? Arrays.deepToString(array) : value + (value == null ? "" : " (" + value.getClass().getName() + ")");
  }
}
