import java.io.ByteArrayOutputStream;
import java.io.StringReader;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.util.List;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;
import org.postgresql.copy.CopyOut;
import org.postgresql.copy.PGCopyInputStream;
import org.postgresql.copy.PGCopyOutputStream;

/** The driver's CopyManager, in text, csv and binary, both ways. */
final class Copying {
  static void run() throws Exception {
    try (Connection connection = Check.connect()) {
      CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
      Check.run(connection, "CREATE TABLE c (id int, body text, v vector(2))");
      Check.equal(copy.copyIn("COPY c FROM STDIN", new StringReader("1\tone\t[1,2]\n2\t\\N\t\\N\n")), 2L);
      Check.equal(copy.copyIn("COPY c (id, body) FROM STDIN WITH (FORMAT csv, HEADER)", new StringReader("id,body\n3,\"a, \"\"b\"\"\"\n"), 7), 1L);
      StringWriter text = new StringWriter();
      Check.equal(copy.copyOut("COPY (SELECT * FROM c ORDER BY id) TO STDOUT", text), 3L);
      Check.equal(text.toString(), "1\tone\t[1,2]\n2\t\\N\t\\N\n3\ta, \"b\"\t\\N\n");
      ByteArrayOutputStream binary = new ByteArrayOutputStream();
      Check.equal(copy.copyOut("COPY c TO STDOUT (FORMAT binary)", binary), 3L);
      Check.that(new String(binary.toByteArray(), 0, 6, StandardCharsets.ISO_8859_1).equals("PGCOPY"), "the head of the file");
      Check.run(connection, "TRUNCATE c");
      Check.equal(copy.copyIn("COPY c FROM STDIN (FORMAT binary)", new java.io.ByteArrayInputStream(binary.toByteArray())), 3L);
      Check.equal(Check.rows(connection, "SELECT count(*), count(v), max(id) FROM c"), List.of("3|1|3"));

      CopyIn in = copy.copyIn("COPY c FROM STDIN");
      byte[] line = "9\tcancelled\t\\N\n".getBytes(StandardCharsets.UTF_8);
      in.writeToCopy(line, 0, line.length);
      Check.that(in.isActive() && in.getFormat() == 0 && in.getFieldCount() == 3, "an open copy of three columns");
      in.cancelCopy();
      Check.equal(Check.rows(connection, "SELECT count(*) FROM c WHERE id = 9"), List.of("0"));
      try (PGCopyOutputStream out = new PGCopyOutputStream(connection.unwrap(PGConnection.class), "COPY c FROM STDIN CSV")) {
        for (int n = 100; n < 600; n++) out.write((n + ",streamed,\"[" + n + ",1]\"\n").getBytes(StandardCharsets.UTF_8));
      }
      try (PGCopyInputStream read = new PGCopyInputStream(connection.unwrap(PGConnection.class), "COPY (SELECT id FROM c WHERE id >= 100 ORDER BY id) TO STDOUT")) {
        String all = new String(read.readAllBytes(), StandardCharsets.UTF_8);
        Check.that(all.startsWith("100\n") && all.endsWith("599\n"), "the ids in order");
      }
      CopyOut out = copy.copyOut("COPY c TO STDOUT");
      int lines = 0;
      while (out.readFromCopy() != null) lines++;
      Check.equal(lines + ":" + out.getHandledRowCount(), "503:503");
      errors(connection, copy);
    }
  }

  private static void errors(Connection connection, CopyManager copy) throws Exception {
    Check.fails("22P02", () -> copy.copyIn("COPY c FROM STDIN", new StringReader("x\ty\t\\N\n")));
    Check.fails("22P04", () -> copy.copyIn("COPY c FROM STDIN", new StringReader("1\n")));
    Check.fails("42P01", () -> copy.copyIn("COPY missing FROM STDIN", new StringReader("")));
    Check.fails("22000", () -> copy.copyIn("COPY c FROM STDIN", new StringReader("1\ta\t[1,2,3]\n")));
    connection.setAutoCommit(false);
    Check.equal(copy.copyIn("COPY c (id) FROM STDIN", new StringReader("7777\n")), 1L);
    connection.rollback();
    connection.setAutoCommit(true);
    Check.equal(Check.rows(connection, "SELECT count(*) FROM c WHERE id = 7777"), List.of("0"));
  }
}
