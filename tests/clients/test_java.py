"""pgjdbc: Java programs that assert for themselves, once for each way in which the driver can send statements."""

import os
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "java"
DRIVER = Path(os.environ.get("QUIVER_PGJDBC", "/usr/share/java/postgresql.jar"))

# Options of the driver's URL. Its own defaults: extended protocol, prepared on the server and binary from the fifth run on.
MODES = {
    "defaults": "",
    "prepared": "prepareThreshold=1",
    "binary": "prepareThreshold=-1",
    "text": "binaryTransfer=false&prepareThreshold=1",
    "unprepared": "prepareThreshold=0",
    "cached": "preferQueryMode=extendedCacheEverything&prepareThreshold=2",
    "simple": "preferQueryMode=simple",
    "strings": "stringtype=unspecified&defaultRowFetchSize=50",
}
GROUPS = ["types", "vectors", "metadata", "batches", "results", "copy", "sessions"]


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    assert DRIVER.exists(), "Debian's libpostgresql-jdbc-java is needed, or QUIVER_PGJDBC names the driver's jar"
    sources = [str(path) for path in sorted(FOLDER.glob("*.java"))]
    command = ["javac", "-Xlint:all", "-Werror", "-encoding", "UTF-8", "-cp", str(DRIVER), "-d", str(folder), *sources]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def run(server, classes, group, options):
    done = subprocess.run(
        ["java", "-XX:TieredStopAtLevel=1", "-Duser.timezone=Europe/Berlin", "-cp", f"{classes}:{DRIVER}", "Main", group, options],
        env={**os.environ, **server.environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("group", GROUPS)
def test_java(server, classes, group, mode):
    run(server, classes, group, MODES[mode])


@pytest.mark.parametrize("mode", ["defaults", "prepared", "simple"])
def test_batches_rewritten_by_the_driver(server, classes, mode):
    run(server, classes, "batches", MODES[mode] + "&reWriteBatchedInserts=true")
