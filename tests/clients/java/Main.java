import java.util.Map;

/** Runs one group of checks with the options given: Main NAME [URL OPTIONS]. The database must be empty but for the extension. */
public final class Main {
  private static final Map<String, Check.Work> GROUPS =
      Map.of(
          "types", Types::run,
          "vectors", Vectors::run,
          "metadata", Metadata::run,
          "batches", Batches::run,
          "results", Results::run,
          "copy", Copying::run,
          "sessions", Sessions::run);

  public static void main(String[] arguments) throws Exception {
    Check.options = arguments.length > 1 ? arguments[1] : "";
    GROUPS.get(arguments[0]).run();
  }
}
