"""pgjdbc: a Java program that asserts for itself."""

import os
import shutil
import subprocess
from pathlib import Path

PROGRAM = Path(__file__).parent / "java" / "Clients.java"
DRIVER = os.environ.get("QUIVER_JDBC_JAR", "/usr/share/java/postgresql.jar")


def test_jdbc(server):
    java = shutil.which("java")
    assert java and Path(DRIVER).exists(), "a JDK and Debian's libpostgresql-jdbc-java are needed"
    url = f"jdbc:postgresql://{server.host}:{server.port}/{server.database}?user={server.user}&password={server.password}"
    done = subprocess.run(
        [java, "-cp", DRIVER, str(PROGRAM), url], capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
