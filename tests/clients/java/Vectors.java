import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.util.PGobject;

/** pgvector's types as pgvector-java passes them: PGobjects in text, and strings with Types.OTHER or a cast. */
final class Vectors {
  /** What an application registers for its own class of values. */
  public static final class Dense extends PGobject {
    private static final long serialVersionUID = 1;

    public Dense() {
      setType("vector");
    }
  }

  static void run() throws Exception {
    try (Connection connection = Check.connect()) {
      connection.unwrap(PGConnection.class).addDataType("vector", Dense.class);
      Check.run(connection, "CREATE TABLE items (id bigserial PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(5), b bit(3), lang text)");
      insert(connection);
      search(connection);
      arrays(connection);
      errors(connection);
    }
  }

  private static PGobject object(String type, String value) throws Exception {
    PGobject object = new PGobject();
    object.setType(type);
    object.setValue(value);
    return object;
  }

  private static void insert(Connection connection) throws Exception {
    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO items (v, h, s, b, lang) VALUES (?, ?, ?, ?, ?)")) {
      for (int n = 0; n < 10; n++) {
        if (n % 2 == 0) insert.setObject(1, object("vector", "[" + n + ",1,0.5]"));
        else insert.setObject(1, "[" + n + ",1,0.5]", java.sql.Types.OTHER);
        insert.setObject(2, object("halfvec", "[" + n + ",1,0.5]"));
        insert.setObject(3, "{2:" + (n + 1) + "}/5", java.sql.Types.OTHER);
        insert.setObject(4, object("bit", n % 2 == 0 ? "101" : "011"));
        insert.setString(5, n < 5 ? "en" : "de");
        insert.addBatch();
      }
      Check.equal(insert.executeBatch().length, 10);
    }
    Check.run(
        connection,
        "CREATE INDEX ON items USING hnsw (v vector_l2_ops) WITH (m = 8)",
        "CREATE INDEX ON items USING ivfflat (h halfvec_cosine_ops) WITH (lists = 1)",
        "CREATE INDEX ON items USING hnsw (s sparsevec_l1_ops)",
        "CREATE INDEX ON items USING hnsw (b bit_hamming_ops)");
    try (PreparedStatement select = connection.prepareStatement("SELECT v, h, s, b FROM items WHERE id = ?")) {
      for (int n = 0; n < 8; n++) {
        select.setInt(1, n + 1);
        try (ResultSet row = select.executeQuery()) {
          row.next();
          Check.that(row.getObject(1) instanceof Dense, "the registered class");
          Check.equal(row.getObject(1).toString(), "[" + n + ",1,0.5]");
          Check.equal(((PGobject) row.getObject(2)).getType() + row.getString(2), "halfvec[" + n + ",1,0.5]");
          Check.equal(row.getString(3), "{2:" + (n + 1) + "}/5");
          Check.equal(row.getString(4), n % 2 == 0 ? "101" : "011");
        }
      }
    }
  }

  private static void search(Connection connection) throws Exception {
    String query = "SELECT id, v <-> ? AS far FROM items WHERE lang = ? ORDER BY v <-> ? LIMIT ?";
    try (PreparedStatement select = connection.prepareStatement(query)) {
      for (int n = 0; n < 8; n++) {
        PGobject to = object("vector", "[7.25,1,0.5]");
        select.setObject(1, to);
        select.setString(2, n % 2 == 0 ? "en" : "de");
        select.setObject(3, to);
        select.setInt(4, 2);
        Check.equal(Check.rows(select.executeQuery()), n % 2 == 0 ? List.of("5|3.25", "4|4.25") : List.of("8|0.25", "9|0.75"));
      }
    }
    String[][] others = {
      {"v <=> ?::vector", "[9,1,0.5]", "10"}, {"v <#> ?::vector", "[1,1,1]", "10"}, {"v <+> ?", "[0,1,0]", "1"}, {"h <=> ?::halfvec", "[9,1,0.5]", "10"},
      {"s <+> ?::sparsevec", "{2:4}/5", "4"}, {"b <~> ?::bit(3), id", "011", "2"}, {"b <%> ?::bit(3), id", "101", "1"},
    };
    for (String[] other : others) {
      try (PreparedStatement select = connection.prepareStatement("SELECT id FROM items ORDER BY " + other[0] + " LIMIT 1")) {
        for (int n = 0; n < 7; n++) {
          select.setObject(1, other[1], java.sql.Types.OTHER);
          Check.equal(Check.rows(select.executeQuery()), List.of(other[2]));
        }
      }
    }
    Check.equal(
        Check.rows(connection, "SELECT avg(v), sum(h) FROM items GROUP BY lang ORDER BY lang DESC"),
        List.of("[2,1,0.5]|[10,5,2.5]", "[7,1,0.5]|[35,5,2.5]"));
  }

  private static void arrays(Connection connection) throws Exception {
    try (PreparedStatement select = connection.prepareStatement("SELECT ?::real[]::vector, ?::vector[], ?::vector::real[]")) {
      for (int n = 0; n < 7; n++) {
        select.setObject(1, new float[] {1, 2.5f, n});
        select.setArray(2, connection.createArrayOf("vector", new String[] {"[1,2]", "[3,4]"}));
        select.setString(3, "[1,2]");
        try (ResultSet row = select.executeQuery()) {
          row.next();
          Check.equal(row.getString(1), "[1,2.5," + n + "]");
          Check.equal(row.getString(2), "{\"[1,2]\",\"[3,4]\"}");
          Check.equal(row.getArray(3).getArray(), new Float[] {1f, 2f});
        }
      }
    }
  }

  private static void errors(Connection connection) throws Exception {
    String[][] wrong = {{"[1,2]", "22000"}, {"[1,2,x]", "22P02"}, {"[1,2,1e60]", "22003"}, {"[1,NaN,2]", "22000"}, {"1,2,3", "22P02"}};
    for (String[] pair : wrong) {
      try (PreparedStatement insert = connection.prepareStatement("INSERT INTO items (v) VALUES (?)")) {
        for (int n = 0; n < 6; n++) {
          insert.setObject(1, object("vector", pair[0]));
          Check.fails(pair[1], insert::executeUpdate);
        }
      }
    }
    Check.equal(Check.rows(connection, "SELECT count(*) FROM items"), List.of("10"));
  }
}
